"""Rules of the house that no linter has: what CONTRIBUTING.md promises of the code."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import tomllib

from tests import conftest
from tests.common import REPOSITORY

PRODUCT = ("core", "tui", "cli")
TOOLS = ("tests", "benchmarks", "endurance")


def _files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((REPOSITORY / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def test_types_of_what_the_tests_share_are_checked() -> None:
    """mypy's list of modules is the tests' folder without the tests themselves."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    shared = {
        f"tests.{path.stem}"
        for path in (REPOSITORY / "tests").glob("*.py")
        if not path.name.startswith(("test_", "__"))
    }
    assert set(settings["tool"]["mypy"]["modules"]) == shared


def test_nothing_is_kept_from_the_formatter() -> None:
    marks = ("# fmt: " + "skip", "# fmt: " + "off")
    kept = [
        f"{_name(path)}:{number}"
        for path in _files(*PRODUCT, *TOOLS)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.rstrip().endswith(marks)
    ]
    assert kept == []


def _nested(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.IfExp):
            parts = (node.test, node.body, node.orelse)
            if any(isinstance(n, ast.IfExp) for part in parts for n in ast.walk(part)):
                yield node.lineno


def test_no_conditional_expression_stands_in_another() -> None:
    nested = [
        f"{_name(path)}:{line}"
        for path in _files(*PRODUCT, *TOOLS)
        for line in _nested(path)
    ]
    assert nested == []


def test_a_class_has_its_name_alone() -> None:
    """One word for one thing: what is called alike is looked up in vain."""
    homes = Counter[str]()
    for path in _files(*PRODUCT):
        tree = ast.parse(path.read_text("utf-8"))
        homes.update(n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef))
    found = [name for name, count in homes.items() if count > 1]
    assert found == []


def test_files_that_are_ordered_by_name_are_there() -> None:
    """A renamed file would be tested as if it were quick, and waited for at the end."""
    folder = Path(__file__).parent
    for name in (*conftest._ENGINES_AT_WORK, *conftest._LONG):
        assert (folder / f"{name}.py").exists(), name
