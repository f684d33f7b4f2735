"""Lists of most likely ids as tables: the same as one list after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.errors import InputError, Place
from logdrift.core.session.importers.columns import Row
from logdrift.core.session.importers.likely import ListedIds, likely_table
from logdrift.core.session.importers.lists import each_once, most_likely
from tests.common import refused

PLACE = Place("a.jsonl line 1", file="a.jsonl", line=1)
_NUMBERS = st.sampled_from([-0.25, -0.5, -1.0, -2.0, -9.5, -math.inf, math.nan])
_ENTRIES = st.tuples(st.integers(0, 6), _NUMBERS)
_ROWS = st.lists(
    st.tuples(st.lists(_ENTRIES, max_size=5), st.integers(0, 6), st.booleans()),
    max_size=6,
)


def listed(rows: Sequence[Row], targets: Sequence[int], sure: Sequence[bool]) -> Any:
    return ListedIds(
        counts=[len(row) for row in rows],
        ids=[token_id for row in rows for token_id, _ in row],
        logprobs=np.asarray([v for row in rows for _, v in row], np.float32),
        targets=np.asarray(targets, np.int32),
        sure=np.asarray(sure, np.bool_),
        place=PLACE,
        name=lambda index: f"list {index}",
    )


def alternatives(rows: Sequence[Row]) -> tuple[Any, Any]:
    """Tables of rows, made one by one: the most likely first, NaN left out."""
    ordered = [_most_likely_first(row) for row in rows]
    shape = (len(rows), max(map(len, ordered), default=0))
    ids = np.full(shape, -1, np.int32)
    logprobs = np.full(shape, np.nan, np.float32)
    for index, row in enumerate(ordered):
        for place, (token_id, logprob) in enumerate(row):
            ids[index, place] = token_id
            logprobs[index, place] = logprob
    return ids, logprobs


def _most_likely_first(row: Row) -> Row:
    known = [entry for entry in row if not math.isnan(entry[1])]
    return sorted(known, key=lambda entry: entry[1], reverse=True)


@given(_ROWS)
def test_a_table_is_what_its_lists_are_one_by_one(
    drawn: list[tuple[Row, int, bool]],
) -> None:
    rows = [row for row, _, _ in drawn]
    targets = [target for _, target, _ in drawn]
    sure = [is_sure for _, _, is_sure in drawn]
    try:
        kept = [
            each_once(row, PLACE, "list")
            if is_sure
            else most_likely(row, target, PLACE, "list")
            for row, target, is_sure in drawn
        ]
    except InputError:
        with refused(r"a.jsonl line 1: list \d lists id"):
            likely_table(listed(rows, targets, sure))
        return
    ids, logprobs = alternatives(kept)
    table = likely_table(listed(rows, targets, sure))
    np.testing.assert_array_equal(table.ids, ids)
    np.testing.assert_array_equal(table.logprobs, logprobs)
    shorter = [len(one) < len(row) for one, row in zip(kept, rows, strict=True)]
    assert table.merged == sum(shorter)


@pytest.mark.parametrize(
    ("rows", "alone"),
    [
        ([[(5, -0.5)], [(6, -0.25)]], True),
        ([[(5, -0.5)], []], True),
        ([[(5, -0.5)], [(7, -0.25)]], False),
        ([[(5, -0.5), (7, -1.0)], [(6, -0.25)]], False),
        ([[], []], False),
    ],
)
def test_lists_that_hold_the_token_alone_are_known(
    rows: list[Row], alone: bool
) -> None:
    table = likely_table(listed(rows, [5, 6], [True, True]))
    assert table.holds_targets_alone(np.asarray([5, 6], np.int32)) is alone
