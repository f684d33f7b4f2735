"""An engine in one room: nothing outside its folder compares its name or lists engines,
what everybody may import of it needs no engine, and it has the paths that it lists.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from logdrift.core.engines import ENGINES
from tests.common import REPOSITORY

FREE = ("about.py", "faults.py", "knobs.py")
"""Files of an engine's folder that every part of logdrift may import."""
MAY_NAME_AN_ENGINE = (
    # Formats of files: they are called after the server that writes them.
    "core/session/importers/",
    # Captures made with a known engine, to plant a fault in them.
    "core/planted/drawn.py",
    "core/planted/inside/",
)
PATH_METHODS = {
    "decode": "generate",
    "prefill": "score",
    "forced_decode": "forced_decode",
}


def product_files() -> Iterator[tuple[str, ast.Module]]:
    for top in ("core", "cli", "tui"):
        for file in sorted((REPOSITORY / top).rglob("*.py")):
            name = file.relative_to(REPOSITORY).as_posix()
            if not name.startswith("core/engines/"):
                yield name, ast.parse(file.read_text(encoding="utf-8"))


def names_of_engines(tree: ast.Module) -> list[int]:
    """Lines whose string constant is an engine's name."""
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [node.lineno for node in constants if node.value in ENGINES]


def test_no_other_part_of_the_product_names_an_engine() -> None:
    naming = {
        name: lines
        for name, tree in product_files()
        if (lines := names_of_engines(tree))
    }
    others = {n: at for n, at in naming.items() if not n.startswith(MAY_NAME_AN_ENGINE)}
    assert not others
    for allowed in MAY_NAME_AN_ENGINE:
        assert any(name.startswith(allowed) for name in naming), "no longer needed"


def test_an_engine_is_one_line_of_the_table() -> None:
    table = (REPOSITORY / "core/engines/__init__.py").read_text(encoding="utf-8")
    for name in ENGINES:
        lines = [line.strip() for line in table.splitlines() if name in line]
        assert lines == [f'"{name}",']


def imports_of(file: Path) -> set[str]:
    """Modules that a file imports, wherever in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return modules


@pytest.mark.parametrize("engine", ENGINES)
def test_what_everybody_imports_of_an_engine_is_standard_library(engine: str) -> None:
    common = {f"logdrift.core.engines.{part}" for part in ("about", "faults", "knobs")}
    for name in FREE:
        file = REPOSITORY / "core" / "engines" / engine / name
        own = {f"logdrift.core.engines.{engine}.{Path(part).stem}" for part in FREE}
        for module in imports_of(file) if file.exists() else ():
            known = module in common | own
            assert known or module.partition(".")[0] in sys.stdlib_module_names, file


def loaded_by(statement: str) -> set[str]:
    """Modules of a fresh interpreter after a statement."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_table_of_engines_loads_no_engine_and_nothing_else_of_logdrift() -> None:
    loaded = loaded_by("import logdrift.core.engines") - loaded_by("")
    packages = {"logdrift", "logdrift.core", "logdrift.core.version"}
    table = "logdrift.core.engines"
    rooms = {f"{table}.{engine}" for engine in ENGINES}
    free = {f"{room}.{Path(f).stem}" for room in (table, *rooms) for f in FREE}
    own = {name for name in loaded if name.partition(".")[0] == "logdrift"}
    assert own <= packages | {table} | rooms | free
    assert {n.partition(".")[0] for n in loaded - own} <= sys.stdlib_module_names


@pytest.mark.parametrize("engine", ENGINES)
def test_a_backend_has_the_paths_that_its_engine_lists_and_no_other(
    engine: str,
) -> None:
    """Read, not imported: a backend imports its engine."""
    module, _, name = ENGINES[engine].backend.partition(":")
    file = REPOSITORY / Path(*module.split(".")[1:]).with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    backend = next(
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    methods = {node.name for node in backend.body if isinstance(node, ast.FunctionDef)}
    paths = {path for path, method in PATH_METHODS.items() if method in methods}
    assert paths == set(ENGINES[engine].paths)
    assert {"open", "resolved_config", "inspect", "close"} <= methods


@pytest.mark.parametrize("engine", ENGINES)
def test_functions_that_an_engine_names_are_there(engine: str) -> None:
    about = ENGINES[engine]
    named = [about.backend, *about.answers.values()]
    for path in [*named, about.debuggers] if about.debuggers else named:
        module, _, name = path.partition(":")
        file = REPOSITORY / Path(*module.split(".")[1:]).with_suffix(".py")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        definitions = (ast.FunctionDef, ast.ClassDef)
        assert name in {n.name for n in tree.body if isinstance(n, definitions)}, path
