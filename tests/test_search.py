"""Text and ids are found where they are, also across tokens, never across sequences."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.errors import InputError
from logdrift.core.session.reader import Pieces, Sequences
from logdrift.core.session.search import TextIndex, find_ids, parse_ids, text_index

PIECES = [
    b"Par",
    b"is",
    b" is",
    b"",
    "中".encode()[:2],
    "中".encode()[2:],
    b"\n",
    b"p",
    b"PAR",
]


def made(rows: list[list[int]]) -> Sequences:
    ids = np.array([i for row in rows for i in row], np.int32)
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    return Sequences(
        ids,
        offsets,
        np.zeros(len(rows), np.int32),
        np.ones(len(ids), np.uint8),
        np.zeros(len(rows), np.uint8),
    )


def indexed(rows: list[list[int]]) -> TextIndex:
    pieces = Pieces(
        {str(i): base64.b64encode(piece).decode() for i, piece in enumerate(PIECES)}
    )
    return text_index(made(rows), pieces)


def test_text_is_found_across_tokens_but_not_across_sequences() -> None:
    index = indexed([[0, 1, 2], [0], [1, 0, 1]])
    found = index.find("Paris")
    assert found.starts.tolist() == [0, 5]
    assert found.ends.tolist() == [2, 7]
    assert index.find("Paris is").starts.tolist() == [0]
    assert len(index.find("isPar")) == 1
    assert len(index.find("London")) == 0


def test_lower_case_finds_upper_case_and_upper_case_only_itself() -> None:
    index = indexed([[0, 8, 7]])
    assert index.find("par").starts.tolist() == [0, 1]
    assert index.find("PAR").starts.tolist() == [1]


def test_a_character_cut_by_tokens_an_empty_piece_and_a_newline() -> None:
    index = indexed([[3, 4, 5, 3, 6]])
    found = index.find("中")
    assert found.starts.tolist() == [1]
    assert found.ends.tolist() == [3]
    assert index.find("↵").starts.tolist() == [4]
    assert index.find(".").starts.tolist() == [], "the text is no pattern"


def test_a_token_counts_once() -> None:
    assert indexed([[7, 7, 1]]).find("p").starts.tolist() == [0, 1]
    assert indexed([[0, 0]]).find("a").starts.tolist() == [0, 1]
    with pytest.raises(InputError):
        indexed([[7]]).find("")


@given(
    st.lists(
        st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=8),
        min_size=1,
        max_size=4,
    ),
    st.text("PARaris 中\n", min_size=1, max_size=4),
)
def test_found_is_what_a_search_of_each_sequence_finds(
    rows: list[list[int]], query: str
) -> None:
    found = indexed(rows).find(query)
    wanted = query.encode()
    at = 0
    for row in rows:
        text = b"".join(PIECES[i] for i in row)
        folded, key = (
            (text.lower(), wanted.lower()) if query == query.lower() else (text, wanted)
        )
        here = [s - at for s in found.starts.tolist() if at <= s < at + len(row)]
        assert bool(here) == (key in folded)
        for start in here:
            end = int(found.ends[found.starts == at + start][0]) - at
            part = b"".join(PIECES[i] for i in row[start:end])
            assert key in (part.lower() if query == query.lower() else part)
        at += len(row)


def test_ids_one_after_the_other() -> None:
    sequences = made([[1, 2, 3], [1, 2], [3, 1]])
    expected = [0, 3, 6]
    assert find_ids(sequences, [1]).starts.tolist() == expected
    found = find_ids(sequences, [1, 2])
    assert found.starts.tolist() == [0, 3]
    assert found.ends.tolist() == [2, 5]
    assert len(find_ids(sequences, [2, 3])) == 1, (
        "2 ends the second sequence, 3 starts the third"
    )
    assert (
        len(find_ids(sequences, [9]))
        == len(find_ids(sequences, [1] * 20))
        == len(find_ids(sequences, []))
        == 0
    )


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("#30010", [30010]),
        (" #1  #2 ", [1, 2]),
        ("#", None),
        ("#x", None),
        ("12", None),
        ("", None),
        ("#1 a", None),
    ],
)
def test_what_is_an_id(query: str, ids: list[int] | None) -> None:
    assert parse_ids(query) == ids
