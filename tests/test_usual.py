"""What is usual for a dtype stands in one table, and no other module writes it out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from logdrift.core.compare.usual import USUAL
from tests.common import REPOSITORY

HOME = REPOSITORY / "core" / "compare" / "usual.py"
MODULES = [
    path
    for folder in ("core", "cli", "tui")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
    if path != HOME
]


def texts(path: Path) -> Iterator[str]:
    """Every text in the code of a module, those of docstrings included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("dtype", USUAL)
def test_no_other_module_repeats_a_range(dtype: str) -> None:
    words = USUAL[dtype].words
    repeated = [
        str(path.relative_to(REPOSITORY))
        for path in MODULES
        if any(words in text for text in texts(path))
    ]
    assert not repeated


@pytest.mark.parametrize("dtype", USUAL)
def test_every_range_says_where_it_comes_from(dtype: str) -> None:
    assert USUAL[dtype].source
