"""Two backends' chat templates against each other: the first line that differs."""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.compare.loaded.difference import (
    NOT_THERE,
    Difference,
    ValuesOfSides,
)
from logdrift.core.json_values import shown
from logdrift.core.session.loaded import Loaded

_BEFORE = 20
"""Characters of a line that are shown before the first that differs."""


def template_differences(a: Loaded, b: Loaded) -> tuple[Difference, ...]:
    """The first line that differs in each chat template, by its number from 1. No score
    of given ids depends on it.
    """
    if a.templates is None or b.templates is None:
        return ()
    sides = ValuesOfSides(a.templates, b.templates)
    differences = []
    for name in sides.names:
        template_a, template_b = sides.values_at(name)
        if template_a != template_b:
            difference = _template_difference(name, template_a, template_b)
            differences.append(difference)
    return tuple(differences)


def _template_difference(name: str, a: str | None, b: str | None) -> Difference:
    if name == "default":
        what = "chat_template"
    else:
        what = f"chat_template {name}"
    if a is None or b is None:
        length_a = _length(a)
        length_b = _length(b)
        return Difference(what, length_a, length_b, counts=False)
    return _first_line(what, a, b)


def _length(template: str | None) -> str:
    if template is None:
        return NOT_THERE
    length = len(template)
    return f"{length:,} characters"


def _first_line(what: str, a: str, b: str) -> Difference:
    """The first line that differs, each from shortly before its first other
    character.
    """
    lines_a = a.split("\n")
    lines_b = b.split("\n")
    index = _first_unequal(lines_a, lines_b)
    line_a = _line(lines_a, index)
    line_b = _line(lines_b, index)
    if line_a is None or line_b is None:
        column = 0
    else:
        column = _first_unequal(line_a, line_b)
    number = index + 1
    return Difference(
        name=f"{what} line {number}",
        a=_shown_line(line_a, column),
        b=_shown_line(line_b, column),
        counts=False,
    )


def _first_unequal(a: Sequence[str], b: Sequence[str]) -> int:
    """The first place in which two texts or lists of lines differ; the length of the
    shorter where none does.
    """
    parts = zip(a, b, strict=False)
    for place, (part_a, part_b) in enumerate(parts):
        if part_a != part_b:
            return place
    length_a = len(a)
    length_b = len(b)
    return min(length_a, length_b)


def _line(lines: Sequence[str], index: int) -> str | None:
    if index < len(lines):
        return lines[index]
    return None


def _shown_line(line: str | None, column: int) -> str:
    """A line from shortly before ``column``; its absence where there is none."""
    if line is None:
        return NOT_THERE
    start = max(0, column - _BEFORE)
    if start == 0:
        return shown(line)
    rest = line[start:]
    return shown(f"…{rest}")
