"""No test is left out in silence: a missing engine fails, and of what a machine may
lack only the shells fish and zsh are skipped (docs/decisions.md).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.common import REPOSITORY
from tests.conftest import _NEEDS_ENGINE, _interpreter

LEAVES_OUT = {"skip", "skipif", "skipTest", "importorskip", "xfail"}
MAY_SKIP = {"tests/test_completion.py": ["skip"]}
"""fish and zsh: their scripts are checked without them everywhere."""


def _left_out(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in LEAVES_OUT:
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (name.name for name in node.names if name.name in LEAVES_OUT)


def test_only_a_missing_shell_may_skip_a_test() -> None:
    found = {
        path.relative_to(REPOSITORY).as_posix(): list(_left_out(path))
        for path in sorted((REPOSITORY / "tests").rglob("*.py"))
    }
    assert {file: names for file, names in found.items() if names} == MAY_SKIP


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang"])
def test_a_missing_engine_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """The three are those whose environments `make test` builds, and `.ci/run` runs."""
    assert f"{engine}_python" in _NEEDS_ENGINE
    made = (
        (REPOSITORY / "Makefile").read_text().partition("\ntest: ")[2].split("\n\n")[0]
    )
    assert engine in made.partition("env create ")[2].splitlines()[0].split()
    assert "-m " not in made.partition("-m pytest")[2], "no test is deselected"
    assert "make test" in (REPOSITORY / ".ci" / "run").read_text().splitlines()
    for name in ("CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path))
    for name in ("LOGDRIFT_CACHE", "LOGDRIFT_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(pytest.fail.Exception, match=f"no interpreter for {engine}"):
        _interpreter(engine)
