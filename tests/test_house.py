"""Rules of the house that no linter has: what CONTRIBUTING.md promises of the code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
PRODUCT = ("core", "tui", "cli")


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
        for path in _files(*PRODUCT, "tests", "benchmarks")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.rstrip().endswith(marks)
    ]
    assert kept == []
