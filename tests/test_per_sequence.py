"""One number a sequence, against the plain definition in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.compare.per_sequence import (
    REDUCTIONS,
    order,
    reduction,
)
from logdrift.core.compare.segments import reduce_segments
from logdrift.core.session.reader import open_session
from logdrift.tui.models.state import SORTS
from tests.common import INF, NAN
from tests.made_sessions import capture, write_session


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = make_session(
        tmp_path_factory.mktemp("per") / "gen", 4000, 31, 4, captures=3
    )
    return make_pair(open_session(folder), "trainer/prefill", "vllm/decode")


def plain(pair: Pair, name: str, sequence: int, threshold: float) -> float:
    start, stop = pair.sequences.bounds(sequence)
    delta = pair.delta[start:stop][pair.scored[start:stop]].astype(np.float64)
    finite = delta[np.isfinite(delta)]
    return {
        "number": lambda: float(sequence),
        "worst": lambda: np.abs(delta).max(),
        "mean": lambda: np.abs(delta).mean(),
        "bias": lambda: finite.mean(),
        "sum": lambda: finite.sum(),
        "k3": lambda: (np.exp(finite) - 1 - finite).mean(),
        "beyond": lambda: (np.abs(delta) > threshold).mean(),
        "infinite": lambda: np.isinf(delta).sum(),
        "length": lambda: stop - start,
    }[name]()


@pytest.mark.parametrize("name", SORTS)
@pytest.mark.parametrize("threshold", [0.05, 0.5])
def test_each_number_is_that_of_its_definition(
    pair: Pair, name: str, threshold: float
) -> None:
    found = reduction(name).values(pair, threshold)
    wanted = [plain(pair, name, sequence, threshold) for sequence in range(pair.count)]
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-12)
    assert len({round(value, 9) for value in wanted}) > 1 or name == "infinite"


def test_every_sort_of_a_saved_view_is_known() -> None:
    assert tuple(entry.name for entry in REDUCTIONS) == SORTS
    with pytest.raises(KeyError):
        reduction("colour")


def test_nothing_scored_is_nan_and_infinite_deltas_are_counted_apart(
    tmp_path: Path,
) -> None:
    made = write_session(
        tmp_path / "s",
        [1, 1, 1],
        [
            capture(
                "trainer/prefill",
                [[NAN, -1.0, -INF], [NAN, NAN, NAN], [NAN, -1.0, -2.0]],
            ),
            capture(
                "vllm/decode", [[NAN, -1.5, -2.0], [NAN, -1.0, -1.0], [NAN, -1.0, -2.0]]
            ),
        ],
    )
    pair = make_pair(made, "trainer/prefill", "vllm/decode")
    found = {entry.name: entry.values(pair, 0.1).tolist() for entry in REDUCTIONS}
    assert found["bias"][0] == 0.5
    assert found["sum"][0] == 0.5
    expected = [1, 0, 0]
    assert found["infinite"] == expected
    assert found["worst"][0] == INF
    assert found["beyond"][0] == 1.0
    assert found["beyond"][2] == 0.0
    assert all(
        np.isnan(found[name][1])
        for name in ("worst", "mean", "bias", "sum", "k3", "beyond")
    )


def test_the_largest_comes_first_and_what_is_unknown_last() -> None:
    values = np.array([0.5, NAN, -3.0, 2.0])
    expected = [3, 0, 2, 1, 4]
    assert order(values, 5, signed=False).tolist() == expected
    assert order(values, 5, signed=True).tolist() == [2, 3, 0, 1, 4]


def test_an_empty_segment_is_nothing() -> None:
    offsets = np.array([0, 2, 2, 3])
    assert reduce_segments(np.add, np.array([1.0, 2.0, 5.0]), offsets).tolist() == [
        3.0,
        0.0,
        5.0,
    ]
    assert reduce_segments(np.add, np.empty(0), np.array([0, 0])).tolist() == [0.0]
