"""Pairs: joined by position, differences as defined, and jumps from divergence to
divergence.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import (
    Pair,
    default_pair,
    list_pairs,
    make_pair,
    parse_pair,
)
from logdrift.core.session.reader import open_session
from tests.common import INF, NAN, refused
from tests.divergences import count_beyond, next_divergence
from tests.made_sessions import capture, write_session


def expected_delta(a: float, b: float) -> float:
    """The definition, for one token."""
    if math.isnan(a) or math.isnan(b):
        return NAN
    if a == b:
        return 0.0
    return float(np.float32(a - b))


rows = st.lists(
    st.lists(
        st.tuples(
            *[st.sampled_from([NAN, -INF]) | st.floats(-30, 0, width=32)] * 2,
            st.integers(0, 1),
        ),
        min_size=0,
        max_size=7,
    ),
    min_size=1,
    max_size=6,
)


def pair_of(
    folder: Path,
    table: list[list[tuple[float, float, int]]],
    prompts: list[int] | None = None,
) -> Pair:
    a, b = ([[token[side] for token in row] for row in table] for side in (0, 1))
    masks = [[token[2] for token in row] for row in table]
    chosen = prompts or [len(row) // 2 for row in table]
    session = write_session(
        folder,
        chosen,
        [capture("trainer/prefill", a), capture("vllm/decode", b)],
        masks=masks,
    )
    return make_pair(session, "trainer/prefill", "vllm/decode")


@settings(max_examples=60, deadline=None)
@given(rows)
def test_everything_against_a_loop(table: list[list[tuple[float, float, int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = pair_of(Path(folder) / "s", table)
        flat = [token for row in table for token in row]
        deltas = [expected_delta(a, b) for a, b, _ in flat]
        np.testing.assert_array_equal(pair.delta, np.asarray(deltas, np.float32))
        scored = [
            mask == 1 and not math.isnan(delta)
            for delta, (_, _, mask) in zip(deltas, flat, strict=True)
        ]
        assert pair.scored.tolist() == scored
        behind = [i >= len(row) // 2 for row in table for i in range(len(row))]
        assert pair.scope_mask("all").tolist() == scored
        assert pair.scope_mask("completion").tolist() == [
            s and c for s, c in zip(scored, behind, strict=True)
        ]
        assert pair.scope_mask("prompt").tolist() == [
            s and not c for s, c in zip(scored, behind, strict=True)
        ]
        at = 0
        for sequence, row in enumerate(table):
            sizes = [abs(deltas[i]) for i in range(at, at + len(row)) if scored[i]]
            assert all(
                pair.sequence_of(i) == sequence for i in range(at, at + len(row))
            )
            at += len(row)
            if not sizes:
                assert math.isnan(pair.worst[sequence])
                assert math.isnan(pair.mean_abs[sequence])
                continue
            assert pair.worst[sequence] == np.float32(max(sizes))
            # float32 storage of a float64 mean: half a unit in the last of 24 bits.
            assert pair.mean_abs[sequence] == pytest.approx(
                sum(sizes) / len(sizes), rel=2**-23
            )


@settings(max_examples=60, deadline=None)
@given(rows, st.floats(0, 5))
def test_divergences_against_a_loop(
    table: list[list[tuple[float, float, int]]], threshold: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = pair_of(Path(folder) / "s", table)
        size = [
            abs(float(d)) if s else 0.0
            for d, s in zip(pair.delta, pair.scored, strict=True)
        ]
        beyond = [i for i, d in enumerate(size) if d > threshold]
        assert pair.divergences(threshold).tolist() == beyond


def test_delta_is_that_of_float64_stored_as_float32(tmp_path: Path) -> None:
    session = open_session(make_session(tmp_path / "s", 4000, 40, 5))
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    wanted = (
        pair.logprob_a.astype(np.float64) - pair.logprob_b.astype(np.float64)
    ).astype(np.float32)
    np.testing.assert_array_equal(pair.delta, wanted)
    assert pair.delta.dtype == np.float32


def test_divergences_are_found_once_per_threshold(tmp_path: Path) -> None:
    session = open_session(make_session(tmp_path / "s", 4000, 40, 5))
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    assert pair.divergences(0.1) is pair.divergences(0.1)
    for threshold in np.linspace(0, 1, 50):
        pair.divergences(float(threshold))
    assert len(pair._beyond) <= 8


def test_captures_that_cover_different_numbers_of_sequences(tmp_path: Path) -> None:
    full = [[-1.0, -2.0], [-1.0, -2.0, -3.0], [-4.0, -5.0], [-0.5]]
    session = write_session(
        tmp_path / "s",
        [1, 1, 1, 0],
        [
            capture("trainer/prefill", full),
            capture("vllm/decode", full[:2], status="running"),
            capture("late/prefill", [], status="pending"),
        ],
    )
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    assert pair.count == 2
    assert pair.tokens == 5
    assert len(pair.delta) == 5
    assert len(pair.worst) == 2
    nothing = make_pair(session, "trainer/prefill", "late/prefill")
    assert nothing.count == 0
    assert nothing.tokens == 0
    assert count_beyond(nothing, 0.1) == 0
    assert next_divergence(nothing, -1, 0.1) is None
    assert len(nothing.worst) == 0
    with pytest.raises(IndexError):
        nothing.sequence_of(0)
    expected = [("trainer/prefill", "vllm/decode")]
    assert list_pairs(session) == expected


def test_pairs_come_in_the_order_in_which_they_are_wanted(tmp_path: Path) -> None:
    row = [[-1.0, -2.0]]
    labels = [
        "reference/prefill",
        "trainer/prefill",
        "vllm/decode",
        "vllm/prefill",
        "vllm/prefill#2",
        "sglang/prefill",
    ]
    session = write_session(
        tmp_path / "s", [1], [capture(label, row) for label in labels]
    )
    assert list_pairs(session) == [
        ("trainer/prefill", "vllm/decode"),
        ("trainer/prefill", "vllm/prefill"),
        ("trainer/prefill", "sglang/prefill"),
        ("reference/prefill", "trainer/prefill"),
        ("reference/prefill", "vllm/decode"),
        ("reference/prefill", "vllm/prefill"),
        ("reference/prefill", "sglang/prefill"),
        ("vllm/decode", "vllm/prefill"),
        ("vllm/prefill#2", "vllm/prefill"),
        ("vllm/prefill", "sglang/prefill"),
    ]
    assert default_pair(session) == ("trainer/prefill", "vllm/decode")


def test_sequences_scored_alone_stand_for_nothing_but_themselves(
    tmp_path: Path,
) -> None:
    """Whatever the order in the manifest: offered against the same path together, as a
    repeat is, and nowhere else.
    """
    row = [[-1.0, -2.0]]
    labels = [
        "vllm/prefill#alone",
        "vllm/prefill#2",
        "vllm/prefill",
        "trainer/prefill#alone",
        "trainer/prefill",
    ]
    session = write_session(
        tmp_path / "s", [1], [capture(label, row) for label in labels]
    )
    assert list_pairs(session) == [
        ("trainer/prefill", "vllm/prefill"),
        ("vllm/prefill#alone", "vllm/prefill"),
        ("vllm/prefill#2", "vllm/prefill"),
        ("trainer/prefill#alone", "trainer/prefill"),
    ]
    assert (
        default_pair(session)
        == parse_pair(session, "trainer:vllm")
        == ("trainer/prefill", "vllm/prefill")
    )
    assert parse_pair(session, "vllm/prefill#alone:vllm") == (
        "vllm/prefill#alone",
        "vllm/prefill",
    )


def test_sessions_without_a_trainer_or_without_a_second_capture(tmp_path: Path) -> None:
    row = [[-1.0, -2.0]]
    engines = write_session(
        tmp_path / "e",
        [1],
        [capture("vllm/decode", row), capture("sglang/prefill", row)],
    )
    expected = [("vllm/decode", "sglang/prefill")]
    assert list_pairs(engines) == expected
    assert default_pair(engines) == ("vllm/decode", "sglang/prefill")
    single = write_session(tmp_path / "o", [1], [capture("vllm/decode", row)])
    assert list_pairs(single) == []
    assert default_pair(single) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("trainer/prefill:vllm/prefill", ("trainer/prefill", "vllm/prefill")),
        ("trainer:vllm/decode", ("trainer/prefill", "vllm/decode")),
        (" trainer : vllm ", ("trainer/prefill", "vllm/decode")),
        ("vllm/prefill#2:vllm/prefill", ("vllm/prefill#2", "vllm/prefill")),
        ("reference:sglang", ("reference/prefill", "sglang/prefill")),
    ],
)
def test_pairs_by_label_and_by_name(
    tmp_path: Path, text: str, wanted: tuple[str, str]
) -> None:
    labels = [
        "reference/prefill",
        "trainer/prefill",
        "vllm/prefill",
        "vllm/prefill#2",
        "vllm/decode",
        "sglang/prefill",
    ]
    session = write_session(
        tmp_path / "s", [1], [capture(label, [[-1.0, -2.0]]) for label in labels]
    )
    assert parse_pair(session, text) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer", "write it as A:B, for example trainer/prefill:vllm/decode"),
        ("a:b:c", "write it as A:B"),
        (":vllm", "write it as A:B"),
        (
            "trainer:nobody",
            (
                "no capture 'nobody': the session has trainer/prefill, vllm/decode,"
                " sglang/prefill"
            ),
        ),
        ("trainer:trainer/prefill", "both sides are trainer/prefill"),
        ("trainer:rollout", "ambiguous: the backends vllm, sglang"),
    ],
)
def test_a_wrong_pair_is_told_what_is_right(
    tmp_path: Path, text: str, said: str
) -> None:
    labels = ["trainer/prefill", "vllm/decode", "sglang/prefill"]
    session = write_session(
        tmp_path / "s", [1], [capture(label, [[-1.0, -2.0]]) for label in labels]
    )
    with refused(said):
        parse_pair(session, text)


def test_an_unknown_scope_is_refused(tmp_path: Path) -> None:
    with refused("use all, prompt, completion"):
        pair_of(tmp_path / "s", [[(-1.0, -2.0, 1)]]).scope_mask("tail")  # type: ignore[arg-type]
