"""Nothing of a token's bytes may reach a terminal as anything but printable cells that
can be counted.
"""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from logdrift.core.session.visible import visible, visible_bytes

FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me", "Mc"}


def assert_printable(shown: str) -> None:
    assert not [c for c in shown if unicodedata.category(c) in FORBIDDEN], ascii(shown)
    shown.encode("utf-8")


def test_every_code_point_is_shown_as_printable_cells() -> None:
    wrong = []
    for code in range(0x110000):
        shown = visible(chr(code))
        ok = shown and not any(unicodedata.category(c) in FORBIDDEN for c in shown)
        if not ok or cell_len(shown) < 1:
            wrong.append(f"U+{code:04X}")
    assert wrong == []


def test_the_cells_of_every_code_point_do_not_depend_on_its_neighbours() -> None:
    wrong = []
    for code in range(0x110000):
        shown = visible(chr(code))
        if len(shown) > 1:
            continue  # escaped: ASCII, like <U+200D>
        cells = cell_len(shown)
        around = (
            cell_len(f"a{shown}a") - 2,
            cell_len(shown * 2) - cells,
            cell_len(f"👩{shown}") - 2,
            cell_len(f"क{shown}") - 1,
        )
        if set(around) != {cells}:
            wrong.append(f"U+{code:04X} {cells} {around}")
    assert wrong == []


def test_the_cells_agree_with_the_width_that_old_and_new_terminals_use() -> None:
    # East Asian Width of Python's own tables against Rich's newer ones: where they
    # differ, so do terminals.
    wrong = []
    for code in range(0x110000):
        char = chr(code)
        if visible(char) == char and cell_len(char) != (
            2 if unicodedata.east_asian_width(char) in "WF" else 1
        ):
            wrong.append(f"U+{code:04X}")
    assert wrong == []


@given(st.binary(max_size=64))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_shown_as_printable_text(piece: bytes) -> None:
    shown = visible_bytes(piece)
    assert_printable(shown)
    assert bool(shown) == bool(piece)


@given(st.lists(st.binary(max_size=12), max_size=8))
@settings(max_examples=500, deadline=None)
def test_the_cells_of_tokens_add_up(pieces: list[bytes]) -> None:
    shown = [visible_bytes(piece) for piece in pieces]
    assert cell_len("".join(shown)) == sum(cell_len(text) for text in shown)


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        (b" the", " the"),
        (b"\n", "↵"),
        (b"\t\r", "⇥␍"),
        (b"\x1b[31m", "<0x1B>[31m"),
        (b"\x9b", "<0x9B>"),
        (b"\xf0\x9f", "<0xF0><0x9F>"),
        (b"\xc2\x9b", "<U+009B>"),
        ("\u202e".encode(), "<U+202E>"),
        ("\u200d".encode(), "<U+200D>"),
        ("\ufeff".encode(), "<U+FEFF>"),
        ("e\u0301".encode(), "e<U+0301>"),
        ("👍🏽".encode(), "👍<U+1F3FD>"),
        ("中文".encode(), "中文"),
        (b"\xed\xa0\x80", "<0xED><0xA0><0x80>"),
    ],
)
def test_what_is_shown(piece: bytes, shown: str) -> None:
    assert visible_bytes(piece) == shown
