"""The layout of token text: nothing lost, nothing too wide, positions that agree with
each other.
"""

from __future__ import annotations

import base64
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from logdrift.core.session.joining import PART, shown_together
from logdrift.core.session.reader import Pieces
from logdrift.core.session.visible import visible
from logdrift.tui.models.flow import (
    MAX_FRAGMENT,
    Flow,
    FragmentCache,
    distinct,
    flow,
    fragments_of,
)

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b" the",
                b" of",
                b"ing",
                b"\n",
                b".\n    ",
                b"\n\n",
                "中文".encode(),
                b"\xf0\x9f",
                b"",
                b" ",
                b"\x1b[31m",
            ]
        ),
        st.binary(max_size=40),
    ),
    min_size=1,
    max_size=60,
)


def laid_out(
    pieces: list[bytes], marks: list[bool], prompt: int, width: int
) -> tuple[Flow, FragmentCache]:
    cache = FragmentCache(
        Pieces(
            {str(i): base64.b64encode(piece).decode() for i, piece in enumerate(pieces)}
        )
    )
    ids = np.arange(len(pieces), dtype=np.int32)
    return flow(ids, np.array(marks, bool), prompt, cache, width), cache


@given(st.data(), PIECES, st.integers(MAX_FRAGMENT + 1, 120))
@settings(max_examples=300, deadline=None)
def test_every_token_stands_once_in_order_and_no_line_is_too_wide(
    data: st.DataObject, pieces: list[bytes], width: int
) -> None:
    marks = data.draw(
        st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces))
    )
    prompt = data.draw(st.integers(0, len(pieces)))
    found, cache = laid_out(pieces, marks, prompt, width)
    assert found.lines[0] == 0
    assert found.lines[-1] == len(found.kind)
    shown = cache.joined(np.arange(len(pieces), dtype=np.int32)).tolist()
    assert found.token.tolist() == [
        i for i in range(len(pieces)) for _ in cache[shown[i]]
    ]
    assert [found.fragments[k] for k in found.kind] == [
        f for i in range(len(pieces)) for f in cache[shown[i]]
    ]
    for line in range(found.height):
        start = found.lines[line]
        stop = found.lines[line + 1]
        assert start < stop
        first = [i for i in range(start, stop) if i == int(found.first[found.token[i]])]
        cells = sum(found.fragments[found.kind[i]].cells for i in range(start, stop))
        assert cells + sum(marks[int(found.token[i])] for i in first) <= width
        assert not any(
            found.fragments[found.kind[i]].ends_line for i in range(start, stop - 1)
        )
        tokens = {int(found.token[i]) < prompt for i in range(start, stop)}
        assert len(tokens) == 1, "prompt and completion share a line"


@given(PIECES, st.integers(MAX_FRAGMENT + 1, 90))
@settings(max_examples=200, deadline=None)
def test_a_token_is_found_where_it_is_said_to_stand(
    pieces: list[bytes], width: int
) -> None:
    found, _ = laid_out(
        pieces, [i % 3 == 0 for i in range(len(pieces))], len(pieces) // 3, width
    )
    for token in range(len(pieces)):
        line = found.line_of(token)
        first, last = found.tokens_of(line)
        assert first <= token <= last
        assert found.token_at(line, found.column_of(token)) == token
        assert found.line_of(token) <= found.last_line_of(token) < found.height


def test_a_newline_ends_a_line_and_words_stay_whole() -> None:
    words = [b"Once", b" upon", b" a", b" time", b".\n", b" there", b" was"]
    found, _ = laid_out(words, [False] * 7, 0, 34)
    shown = [
        "".join(found.fragments[k].text for k in found.kind[a:b])
        for a, b in zip(found.lines, found.lines[1:], strict=False)
    ]
    assert shown == ["Once upon a time.↵", " there was"]


def test_a_word_made_of_several_tokens_moves_to_the_next_line_as_one() -> None:
    words = [b"x" * 25, b" Mad", b"rid", b"ista"]
    found, _ = laid_out(words, [False] * 4, 0, 34)
    assert found.lines == [0, 1, 4]


def test_a_token_of_10000_characters_is_cut_into_lines() -> None:
    found, _ = laid_out([b"a" * 10_000, b"\x1b" * 50], [True, False], 0, 58)
    assert found.height > 10_000 // 58
    assert sum(found.fragments[k].cells for k in found.kind) == 10_000 + 50 * 6


def test_fragments_are_cut_by_cells_not_characters() -> None:
    found = fragments_of("中" * 40)
    expected = [32, 32, 16]
    assert [f.cells for f in found] == expected
    assert all(f.cells == cell_len(f.text) for f in found)


def test_an_empty_piece_can_still_be_pointed_at() -> None:
    found = [f.text for f in fragments_of("")]
    assert found == ["∅"]


def shown(pieces: list[bytes]) -> list[str]:
    found, _ = laid_out(pieces, [False] * len(pieces), 0, 200)
    return [
        "".join(found.fragments[k].text for k in found.kind[found.token == i])
        for i in range(len(pieces))
    ]


def test_a_character_that_spans_tokens_stands_on_the_one_that_completes_it() -> None:
    smile = "😀".encode()
    zhong = "中".encode()
    assert shown([b"a", smile[:2], smile[2:], b"b"]) == ["a", PART, "😀", "b"]
    assert shown([smile[:1], smile[1:2], smile[2:3], smile[3:]]) == [
        PART,
        PART,
        PART,
        "😀",
    ]
    expected = [PART, "中", "中"]
    assert shown([zhong[:1], zhong[1:] + zhong[:2], zhong[2:]]) == expected
    assert shown([zhong[:2], zhong[2:] + b" ok " + smile[:1], smile[1:]]) == [
        PART,
        "中 ok ",
        "😀",
    ]


def test_bytes_that_make_no_character_stay_escaped() -> None:
    smile = "😀".encode()
    expected = ["<0xF0><0x9F>", "b", "<0x98><0x80>"]
    assert shown([smile[:2], b"b", smile[2:]]) == expected
    assert shown([b"\xff", smile[:2], b"\xff"]) == ["<0xFF>", "<0xF0><0x9F>", "<0xFF>"]
    assert shown([smile[:2]]) == ["<0xF0><0x9F>"]


def test_what_is_joined_is_made_visible() -> None:
    joiner = "\u200d".encode()
    assert shown([joiner[:1], joiner[1:]]) == [PART, "<U+200D>"]


@given(st.text(max_size=12), st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_cut_anywhere_the_text_is_the_same(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "replace")
    pieces = []
    at = 0
    for cut in cuts * len(data):
        if at < len(data):
            pieces.append(data[at : at + cut])
            at += cut
    together = "".join(shown_together(pieces))
    assert together.replace(PART, "") == visible(data.decode()).replace(PART, "")
    assert len(shown_together(pieces)) == len(pieces)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_distinct_ids_are_those_of_numpy(count: int) -> None:
    ids = np.random.default_rng(count).integers(-20, 300, count).astype(np.int32)
    assert distinct(ids).tolist() == np.unique(ids).tolist()


def test_the_first_screen_imports_no_masked_arrays() -> None:
    """The first call of numpy.unique does: 8 ms of every start."""
    code = (
        "import sys, numpy as np; from logdrift.tui.models.flow import FragmentCache, flow;"
        " from logdrift.core.session.reader import Pieces\nflow(np.arange(9,"
        " dtype=np.int32), np.zeros(9, bool), 3, FragmentCache(Pieces({})),"
        " 40)\nprint('numpy.ma' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
