"""The noise floor against plain loops over the captures' rows, and what stands in where
nothing was repeated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.floor import Floor, SelfGap, noise_floor, times_floor
from logdrift.core.compare.pair import make_pair
from logdrift.core.session.reader import Session, open_session
from tests.common import INF, NAN, SAMPLE, Fields
from tests.made_sessions import capture, write_session

# Sums of tens of float64 in another order.
REL = 1e-13
PROMPTS = (2, 1, 3)

Rows = list[list[float]]


def rows(seed: int, noise: float = 0.0) -> Rows:
    """Three sequences of 6, 4 and 3 tokens; the last has an empty completion. ``noise``
    on top of one base.
    """
    base = np.random.default_rng(0)
    extra = np.random.default_rng(seed)
    out = []
    for n in (6, 4, 3):
        values = -base.exponential(2.0, n) - noise * extra.exponential(1.0, n)
        out.append([NAN, *(float(np.float32(v)) for v in values[1:])])
    return out


def made(folder: Path, captures: dict[str, Rows], **changes: Fields) -> Session:
    infos = [
        capture(label, values, **changes.get(label, {}))
        for label, values in captures.items()
    ]
    return write_session(folder / "made", PROMPTS, infos)


def by_loops(
    repeats: Sequence[Rows], first: Rows, scope: str, count: int = 3
) -> tuple[float, float, float, int, int]:
    deltas = []
    infinite = 0
    for repeat in repeats:
        for s in range(count):
            for i, (x, y) in enumerate(zip(repeat[s], first[s], strict=True)):
                inside = scope == "all" or (i >= PROMPTS[s]) == (scope == "completion")
                if not inside or math.isnan(x) or math.isnan(y):
                    continue
                # Deltas are float32, as the session's are.
                d = 0.0 if x == y else float(np.float32(x) - np.float32(y))
                infinite += math.isinf(d)
                deltas += [abs(d)] if math.isfinite(d) else []
    n = len(deltas)
    return (
        math.fsum(deltas) / n,
        math.sqrt(math.fsum(d * d for d in deltas) / n),
        max(deltas),
        n,
        infinite,
    )


def check(
    gap: SelfGap | None, repeats: Sequence[Rows], first: Rows, scope: str, **more: Any
) -> None:
    assert gap is not None
    mae, rmse, largest, tokens, infinite = by_loops(repeats, first, scope, **more)
    assert gap.tokens == tokens
    assert gap.infinite == infinite
    assert gap.max_abs == largest
    assert (gap.mae, gap.rmse) == pytest.approx((mae, rmse), rel=REL)


@pytest.mark.parametrize("scope", ["completion", "prompt", "all"])
def test_both_sides_and_the_larger_of_them(tmp_path: Path, scope: Any) -> None:
    t1 = rows(1)
    t2 = rows(2, 0.01)
    v1 = rows(3)
    v2 = rows(4, 0.1)
    session = made(
        tmp_path,
        {
            "trainer/prefill": t1,
            "trainer/prefill#2": t2,
            "vllm/prefill": v1,
            "vllm/prefill#2": v2,
        },
    )
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/prefill"), scope
    )
    assert floor is not None
    assert floor.a is not None
    assert floor.b is not None
    check(floor.a, [t2], t1, scope)
    check(floor.b, [v2], v1, scope)
    assert floor.a.label == "trainer/prefill#2"
    assert floor.a.against == "trainer/prefill"
    assert floor.b.mae > floor.a.mae > 0
    assert floor.mae == floor.b.mae
    assert floor.rmse == floor.b.rmse
    expected = (None, None, False)
    assert (floor.batch_a, floor.batch_b, floor.reproducible) == expected


def test_several_repeats_are_pooled(tmp_path: Path) -> None:
    v1 = rows(3)
    v2 = rows(4, 0.1)
    v3 = rows(5, 0.3)
    names = {
        "trainer/prefill": rows(1),
        "vllm/prefill": v1,
        "vllm/prefill#2": v2,
        "vllm/prefill#3": v3,
    }
    session = made(tmp_path, names)
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/prefill"), "all"
    )
    assert floor is not None
    assert floor.b is not None
    check(floor.b, [v2, v3], v1, "all")
    assert floor.b.label == "vllm/prefill#2, vllm/prefill#3"


def test_a_side_without_repeats_is_null_and_not_zero(tmp_path: Path) -> None:
    session = made(
        tmp_path,
        {
            "trainer/prefill": rows(1),
            "vllm/prefill": rows(3),
            "vllm/prefill#2": rows(3),
        },
    )
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/prefill"), "all"
    )
    assert floor is not None
    assert floor.a is None
    assert floor.b is not None
    expected = (0.0, 0.0, False)
    assert (floor.mae, floor.b.mae, floor.reproducible) == expected
    data = json.loads(json.dumps(floor.to_json(), allow_nan=False))
    assert list(data) == ["mae", "rmse", "a", "b", "batch_a", "batch_b"]
    assert data["a"] is None
    assert data["b"]["label"] == "vllm/prefill#2"


def test_no_repeat_at_all_is_no_floor(tmp_path: Path) -> None:
    session = made(
        tmp_path,
        {"trainer/prefill": rows(1), "vllm/decode": rows(3), "vllm/prefill": rows(4)},
    )
    assert (
        noise_floor(
            session, make_pair(session, "trainer/prefill", "vllm/decode"), "all"
        )
        is None
    )


def test_what_stands_in_for_decoding(tmp_path: Path) -> None:
    """Decoding is not repeated: forced decoding speaks for it, else prefill, and the
    label says which.
    """
    p1 = rows(5)
    p2 = rows(6, 0.2)
    f1 = rows(7)
    f2 = rows(8, 0.4)
    prefill = {
        "trainer/prefill": rows(1),
        "vllm/decode": rows(3),
        "vllm/prefill": p1,
        "vllm/prefill#2": p2,
    }
    session = made(tmp_path / "p", prefill)
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/decode"), "completion"
    )
    assert floor is not None
    assert floor.b is not None
    assert floor.b.label == "vllm/prefill#2"
    assert floor.b.against == "vllm/prefill"
    check(floor.b, [p2], p1, "completion")
    session = made(
        tmp_path / "f",
        {**prefill, "vllm/forced_decode": f1, "vllm/forced_decode#2": f2},
    )
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/decode"), "completion"
    )
    assert floor is not None
    assert floor.b is not None
    assert floor.b.label == "vllm/forced_decode#2"
    check(floor.b, [f2], f1, "completion")
    # A path that can be repeated is spoken for by nothing else.
    session = made(tmp_path / "n", {**prefill, "vllm/forced_decode": f1})
    floor = noise_floor(
        session,
        make_pair(session, "trainer/prefill", "vllm/forced_decode"),
        "completion",
    )
    assert floor is None


def test_alone_against_together(tmp_path: Path) -> None:
    v1 = rows(3)
    alone = rows(4, 0.05)
    names = {
        "trainer/prefill": rows(1),
        "vllm/prefill": v1,
        "vllm/prefill#2": v1,
        "vllm/prefill#alone": alone,
    }
    infos = [
        capture(
            label.replace("#alone", ""),
            values,
            **({"batch": "alone"} if label.endswith("#alone") else {}),
        )
        for label, values in names.items()
    ]
    infos[3] = infos[3][0]._replace(label="vllm/prefill#alone"), infos[3][1]
    session = write_session(tmp_path / "made", PROMPTS, infos)
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/prefill"), "all"
    )
    assert floor is not None
    assert floor.b is not None
    assert floor.batch_a is None
    assert floor.b.label == "vllm/prefill#2"
    assert floor.b.mae == 0.0
    assert floor.mae == 0.0
    check(floor.batch_b, [alone], v1, "all")
    assert floor.batch_b is not None
    assert floor.batch_b.label == "vllm/prefill#alone"
    assert floor.batch_b.against == "vllm/prefill"
    # Without a repeat the batch's shape is still known, and the floor of repeats is
    # not.
    fewer = write_session(tmp_path / "fewer", PROMPTS, [infos[0], infos[1], infos[3]])
    only = noise_floor(
        fewer, make_pair(fewer, "trainer/prefill", "vllm/prefill"), "all"
    )
    assert only is not None
    assert only.mae is None
    assert only.rmse is None
    assert only.b is None
    assert only.batch_b == floor.batch_b
    assert times_floor(1.0, only) is None


def test_impossible_and_unscored_tokens(tmp_path: Path) -> None:
    v1 = rows(3)
    v2 = rows(4, 0.1)
    v1[0][2], v2[0][2] = -INF, -INF
    v2[0][3] = -INF
    v2[1][2] = NAN
    session = made(
        tmp_path, {"trainer/prefill": rows(1), "vllm/prefill": v1, "vllm/prefill#2": v2}
    )
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/prefill"), "all"
    )
    assert floor is not None
    assert floor.b is not None
    check(floor.b, [v2], v1, "all")
    assert floor.b.infinite == 1


def test_a_repeat_that_is_not_finished_counts_what_it_has(tmp_path: Path) -> None:
    v1 = rows(3)
    v2 = rows(4, 0.1)
    session = made(
        tmp_path,
        {"trainer/prefill": rows(1), "vllm/prefill": v1, "vllm/prefill#2": v2[:2]},
    )
    pair = make_pair(session, "trainer/prefill", "vllm/prefill")
    floor = noise_floor(session, pair, "all")
    assert floor is not None
    check(floor.b, [v2], v1, "all", count=2)
    # And a pair that is not finished counts only its own sequences.
    session = made(
        tmp_path / "short",
        {"trainer/prefill": rows(1)[:1], "vllm/prefill": v1, "vllm/prefill#2": v2},
    )
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/prefill"), "all"
    )
    assert floor is not None
    check(floor.b, [v2], v1, "all", count=1)


def test_a_scope_without_tokens_has_no_floor(tmp_path: Path) -> None:
    v1 = [[NAN, -1.0, -2.0]]
    infos = [
        capture(label, v1)
        for label in ("trainer/prefill", "vllm/prefill", "vllm/prefill#2")
    ]
    session = write_session(tmp_path / "made", [3], infos)
    pair = make_pair(session, "trainer/prefill", "vllm/prefill")
    assert noise_floor(session, pair, "completion") is None
    assert noise_floor(session, pair, "prompt") is not None


def test_masked_tokens_do_not_count(tmp_path: Path) -> None:
    v1 = rows(3)
    v2 = rows(3)
    v2[0][4] -= 1.0
    masks = [[1, 1, 1, 1, 0, 1], [1] * 4, [1] * 3]
    infos = [
        capture(n, v)
        for n, v in (
            ("trainer/prefill", rows(1)),
            ("vllm/prefill", v1),
            ("vllm/prefill#2", v2),
        )
    ]
    for name, mask, largest in (("masked", masks, 0.0), ("whole", None, 1.0)):
        session = write_session(tmp_path / name, PROMPTS, infos, masks=mask)
        floor = noise_floor(
            session, make_pair(session, "trainer/prefill", "vllm/prefill"), "all"
        )
        # float32 log-probabilities of about 2 nats are 2.4e-7 apart.
        assert floor is not None
        assert floor.b is not None
        assert floor.b.max_abs == pytest.approx(largest, abs=1e-6)


def test_reproducible_on_both_sides(tmp_path: Path) -> None:
    names = {
        "trainer/prefill": rows(1),
        "trainer/prefill#2": rows(1),
        "vllm/prefill": rows(3),
        "vllm/prefill#2": rows(3),
    }
    session = made(tmp_path, names)
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/prefill"), "all"
    )
    assert floor is not None
    assert floor.reproducible
    assert floor.mae == 0.0
    assert times_floor(0.5, floor) is None


def test_times_the_floor() -> None:
    floor = Floor(0.02, 0.03, None, None, None, None)
    assert times_floor(-0.05, floor) == pytest.approx(2.5, rel=1e-15)
    assert times_floor(0.0, floor) == 0.0
    assert times_floor(-INF, floor) is None
    assert times_floor(NAN, floor) is None
    assert times_floor(0.1, None) is None
    assert times_floor(0.1, Floor(None, None, None, None, None, None)) is None


def test_the_sample_repeats_exactly() -> None:
    """The floor of the shipped sample against the raw log-probabilities of the two
    captures.
    """
    session = open_session(SAMPLE)
    floor = noise_floor(
        session, make_pair(session, "trainer/prefill", "vllm/decode"), "completion"
    )
    assert floor is not None
    assert floor.a is not None
    assert floor.b is not None
    for backend, gap in (("trainer", floor.a), ("vllm", floor.b)):
        first, repeat = (
            session.capture(f"{backend}/prefill{mark}").logprob.whole()
            for mark in ("", "#2")
        )
        assert np.array_equal(first, repeat, equal_nan=True) == (gap.max_abs == 0.0)
    assert floor.reproducible
    offsets = session.sequences.offsets
    prompts = session.sequences.prompt_lengths
    scored = sum(
        int(offsets[s + 1] - offsets[s] - prompts[s]) for s in range(len(prompts))
    )
    assert floor.b.label == "vllm/prefill#2"
    assert floor.b.tokens == scored
    one_sided = noise_floor(
        session,
        make_pair(session, "reference/prefill", "trainer/prefill"),
        "completion",
    )
    assert one_sided is not None
    assert one_sided.a is None
    assert not one_sided.reproducible
