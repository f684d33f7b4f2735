"""Each signature on drawn logits with one fault in them, and nothing named where there
is only noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.session.reader import Session
from logdrift.core.session.sent_ids import ids_digest
from logdrift.tui.models.answer_parts import cause_part, size_part
from tests.common import Fields
from tests.planted.made import (
    VOCABULARY,
    Text,
    bfloat16,
    draw,
    made,
    noise,
    same,
    top_p,
)

TEXT = draw()


def why(session: Session, a: str = "trainer", b: str = "rollout") -> Diagnosis:
    return diagnose(session, make_pair(session, a, b))


def first(found: Diagnosis) -> str | None:
    return found.causes[0].cause if found.causes else None


def evidence(found: Diagnosis, cause: str, signature: str) -> Any:
    ranked = next(r for r in found.causes if r.cause == cause)
    return next(e for e in ranked.evidence if e.signature == signature)


def both(change: Any, size: float) -> Fields:
    """Noise of ``size`` on each side, and the change on the rollout's."""
    side = noise(size, 2)
    return {
        "trainer": noise(size, 1),
        "rollout": lambda rows, ids: change(side(rows, ids), ids),
    }


def test_equal_numbers_are_noise_and_nothing_else(tmp_path: Path) -> None:
    found = why(made(tmp_path / "s", TEXT, {"trainer": same, "rollout": same}))
    assert found.noise
    assert [r.cause for r in found.causes] == ["noise"]
    assert found.causes[0].score == 1.0
    assert found.next_experiment is None


@pytest.mark.parametrize(
    ("dtype", "size"), [("bfloat16", 0.03), ("float16", 0.004), ("float32", 3e-6)]
)
def test_noise_of_the_usual_size_is_nothing_to_fix(
    tmp_path: Path, dtype: str, size: float
) -> None:
    facts = {"dtype": dtype, "head_dtype": dtype, "logits_dtype": dtype}
    sides = {"trainer": noise(size, 1), "rollout": noise(size, 2)}
    found = why(
        made(tmp_path / "s", TEXT, sides, facts={"trainer": facts, "rollout": facts})
    )
    assert found.noise, found.verdict
    assert found.size["dtype"] == dtype
    assert found.verdict.startswith("numerical noise, nothing to fix")


def test_two_sides_with_the_same_numbers_are_said_to_be_equal(tmp_path: Path) -> None:
    sides = {"trainer": noise(0.03, 1), "rollout": noise(0.03, 1)}
    found = why(made(tmp_path / "s", TEXT, sides))
    assert found.noise
    assert found.answer.sentence.endswith(
        "; MAE 0; both sides are equal bit for bit, nothing to fix."
    )
    assert "numerical noise" not in found.verdict
    brief = [
        part.short for part in (size_part(found.answer, 0.0), cause_part(found.answer))
    ]
    assert brief == ["MAE 0.0000", "equal bit for bit"]


def test_noise_of_that_size_in_float32_is_not(tmp_path: Path) -> None:
    facts = {"dtype": "float32", "head_dtype": "float32", "logits_dtype": "float32"}
    sides = {"trainer": noise(0.03, 1), "rollout": noise(0.03, 2)}
    found = why(
        made(tmp_path / "s", TEXT, sides, facts={"trainer": facts, "rollout": facts})
    )
    assert not found.noise
    assert first(found) == "weights"
    assert not found.causes[0].separable
    assert "--identity" in found.causes[0].otherwise


@pytest.mark.parametrize("size", [1e-6, 0.03])
@pytest.mark.parametrize("temperature", [0.7, 0.95, 1.2])
def test_temperature(tmp_path: Path, temperature: float, size: float) -> None:
    found = why(
        made(tmp_path / "s", TEXT, both(lambda rows, ids: rows / temperature, size))
    )
    assert first(found) == "temperature"
    numbers = evidence(found, "temperature", "slope").numbers
    # A slope of 1/T, within five of its standard errors and the tilt of unequal noise
    # (noise^2 / 2).
    assert (
        abs(numbers["slope"] - 1 / temperature)
        < 5 * numbers["error"] + numbers["r2"] * size**2
    )


@given(st.floats(0.5, 2.0).filter(lambda t: abs(t - 1) > 0.03), st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_any_temperature_and_either_side(
    tmp_path_factory: pytest.TempPathFactory, temperature: float, seed: int
) -> None:
    text = draw(seed, (80,) * 6)
    session = made(
        tmp_path_factory.mktemp("t") / "s",
        text,
        both(lambda rows, ids: rows / temperature, 0.01),
    )
    one = why(session)
    other = why(session, "rollout", "trainer")
    assert first(one) == first(other) == "temperature"
    slopes = [
        evidence(found, "temperature", "slope").numbers["slope"]
        for found in (one, other)
    ]
    assert slopes[0] * slopes[1] == pytest.approx(1.0, rel=1e-6)


def test_a_scale_where_both_sides_say_raw_is_the_configuration(tmp_path: Path) -> None:
    raw = {"prefill_logprobs": "raw", "temperature": 1.0}
    session = made(
        tmp_path / "s",
        TEXT,
        both(lambda rows, ids: rows * 0.9, 0.01),
        facts={"trainer": raw, "rollout": raw},
    )
    found = why(session)
    assert [r.cause for r in found.causes] == [
        "config"
    ]  # observed: both sides are at one temperature


@pytest.mark.parametrize("size", [1e-6, 0.03])
def test_soft_cap(tmp_path: Path, size: float) -> None:
    found = why(
        made(
            tmp_path / "s", TEXT, both(lambda rows, ids: 10 * np.tanh(rows / 10), size)
        )
    )
    assert first(found) == "config"
    assert evidence(found, "config", "bend").numbers["kind"] == "softcap"


@pytest.mark.parametrize("size", [1e-6, 0.02])
def test_truncation(tmp_path: Path, size: float) -> None:
    found = why(made(tmp_path / "s", TEXT, both(top_p, size)))
    assert first(found) == "processed"
    truncated = evidence(found, "processed", "truncated support")
    assert truncated.numbers["side"] == "rollout/prefill"
    assert truncated.numbers["impossible"] > 0
    # Renormalised over at least 0.8: nothing rises by more than -log 0.8, but for
    # noise.
    assert truncated.numbers["shift_max"] <= -np.log(0.8) + 8 * size


def penalty(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    out = rows.copy()
    for t in range(1, len(ids)):
        seen = np.unique(ids[:t])
        out[t, seen] = np.where(
            out[t, seen] > 0, out[t, seen] / 1.2, out[t, seen] * 1.2
        )
    return out


@pytest.mark.parametrize("size", [1e-6, 0.03])
def test_penalty(tmp_path: Path, size: float) -> None:
    found = why(made(tmp_path / "s", TEXT, both(penalty, size)))
    assert first(found) == "processed"
    assert (
        evidence(found, "processed", "seen before").numbers["side"] == "rollout/prefill"
    )


def test_bias_of_the_normaliser_alone(tmp_path: Path) -> None:
    def wider(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        out = rows.copy()
        out[:, VOCABULARY // 2 :] = np.maximum(
            out[:, VOCABULARY // 2 :], out.max(axis=1, keepdims=True) - 3
        )
        return out

    text = Text(
        [ids % (VOCABULARY // 2) for ids in TEXT.ids],
        [
            np.where(np.arange(VOCABULARY) < VOCABULARY // 2, x, x - 60)
            for x in TEXT.logits
        ],
    )
    found = why(
        made(
            tmp_path / "s",
            text,
            {
                "trainer": same,
                "rollout": lambda rows, ids: np.where(
                    np.arange(VOCABULARY) < VOCABULARY // 2,
                    rows,
                    rows.max(axis=1, keepdims=True) - 8,
                ),
            },
        )
    )
    assert first(found) == "processed"
    assert evidence(found, "processed", "common shift").numbers["one_way"] > 0.95


@pytest.mark.parametrize("lag", [1, -1, 2])
def test_off_by_one(tmp_path: Path, lag: int) -> None:
    def moved(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return np.roll(rows, lag, axis=0)

    scored = [np.roll(ids, lag) for ids in TEXT.ids]
    found = why(
        made(
            tmp_path / "s",
            TEXT,
            {"trainer": same, "rollout": moved},
            scored={"rollout": scored},
        )
    )
    assert first(found) == "alignment"
    numbers = evidence(found, "alignment", "moved stretch").numbers
    assert numbers["lag"] == lag
    assert numbers["moved"] == 0
    assert numbers["sequences"] == len(TEXT.ids)


def listed(sequence: int, at: int) -> int:
    """The next position from ``at`` on whose token is among the three most likely: so
    it stands in any list.
    """
    ids = TEXT.ids[sequence]
    rows = TEXT.logits[sequence]
    while (rows[at] > rows[at, ids[at]]).sum() > 2:
        at += 1
    return at


@pytest.mark.parametrize("top_k", [20, 1])
def test_an_edited_id(tmp_path: Path, top_k: int) -> None:
    """Its own list gives it away; without lists the jump does."""
    scored = [ids.copy() for ids in TEXT.ids]
    edits = tuple(
        (sequence, listed(sequence, at)) for sequence, at in ((1, 40), (11, 170))
    )
    for sequence, at in edits:
        scored[sequence][at] = (scored[sequence][at] + 7) % VOCABULARY

    def disturbed(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        out = noise(1e-3, len(ids))(rows, ids)
        for sequence, at in edits:
            if ids is TEXT.ids[sequence]:
                fade = np.exp(-np.arange(len(ids) - at - 1) / 20)[:, None]
                out[at + 1 :] += noise(1.0, 5)(np.zeros_like(out[at + 1 :]), ids) * fade
        return out

    session = made(
        tmp_path / "s",
        TEXT,
        {"trainer": noise(1e-3), "rollout": disturbed},
        scored={"rollout": scored},
        top_k=top_k,
    )
    found = why(session)
    assert first(found) == "ids"
    places = {int(session.sequences.offsets[sequence]) + at for sequence, at in edits}
    shown = {at for e in found.causes[0].evidence for at in e.positions}
    assert any(abs(place - at) <= 8 for place in places for at in shown)
    if top_k > 1:
        own = evidence(found, "ids", "own list")
        assert set(own.positions) == places
        assert own.numbers["tokens"] == 2


def fading(strength: float) -> Any:
    def change(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return (
            rows
            + noise(1.0, 7)(np.zeros_like(rows), ids)
            * (strength / np.arange(1, len(ids) + 1))[:, None]
        )

    return change


@pytest.mark.parametrize("size", [1e-6, 0.03])
def test_another_beginning(tmp_path: Path, size: float) -> None:
    found = why(made(tmp_path / "s", TEXT, both(fading(4.0), size)))
    assert first(found) == "ids"
    assert evidence(found, "ids", "start").numbers["ratio"] > 3


@pytest.mark.parametrize("window", [64, 200])
def test_a_window(tmp_path: Path, window: int) -> None:
    def change(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return (
            rows
            + noise(1.0, 7)(np.zeros_like(rows), ids)
            * (np.arange(len(ids)) >= window)[:, None]
        )

    found = why(made(tmp_path / "s", TEXT, both(change, 0.02)))
    assert first(found) == "config"
    assert evidence(found, "config", "step").numbers["position"] == pytest.approx(
        window, abs=2
    )


def test_a_step_at_a_chunk_is_chunked_prefill(tmp_path: Path) -> None:
    def change(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return (
            rows
            + noise(1.0, 7)(np.zeros_like(rows), ids)
            * (np.arange(len(ids)) >= 128)[:, None]
        )

    facts = {
        "rollout": {"chunked_prefill": True, "chunk_size": 128, "padding": "none"},
        "trainer": {"padding": "none"},
    }
    found = why(made(tmp_path / "s", TEXT, both(change, 0.02), facts=facts))
    assert first(found) == "chunked_prefill"


def test_growth_with_the_position(tmp_path: Path) -> None:
    def change(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        size = 0.3 * np.log1p(np.arange(len(ids)) / 20)
        return rows + noise(1.0, 7)(np.zeros_like(rows), ids) * size[:, None]

    found = why(made(tmp_path / "s", TEXT, both(change, 1e-4)))
    assert first(found) == "config"
    assert evidence(found, "config", "growth").numbers["first_tokens"] < 0.35


def test_padded_rows(tmp_path: Path) -> None:
    def change(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return (
            rows if len(ids) == 300 else rows + noise(0.8, 7)(np.zeros_like(rows), ids)
        )

    session = made(tmp_path / "s", TEXT, both(change, 0.02))
    assert first(why(session)) == "padding"
    none = {name: {"padding": "none"} for name in ("trainer", "rollout")}
    # Where both sides were seen not to pad, it cannot be that.
    assert "padding" not in [
        r.cause
        for r in why(made(tmp_path / "t", TEXT, both(change, 0.02), facts=none)).causes
    ]


def test_sixteen_bit_log_probabilities(tmp_path: Path) -> None:
    final = {"rollout": lambda values, ids: bfloat16(values)}
    found = why(
        made(tmp_path / "s", TEXT, {"trainer": same, "rollout": same}, final=final)
    )
    assert first(found) == "log_softmax_dtype"
    assert evidence(found, "log_softmax_dtype", "value grid").numbers["share_b"] == 1.0


def from_token(place: Any) -> Any:
    """Other logits behind token ``place(ids)`` of each sequence."""
    loud = noise(1.0, 9)

    def change(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        at = place(ids)
        return np.concatenate([rows[:at], loud(rows[at:], ids)])

    return change


def test_onsets_at_blocks_of_the_cache_are_of_the_cache(tmp_path: Path) -> None:
    known = {"trainer": {"prefix_cache": False}, "rollout": {"prefix_cache": True}}
    on_blocks = from_token(lambda ids: 16 * (1 + int(ids[1]) % 4) + 1)
    found = why(made(tmp_path / "s", TEXT, both(on_blocks, 0.003), facts=known))
    assert first(found) == "prefix_cache"
    anywhere = from_token(lambda ids: 16 + int(ids[1]) % 47)
    found = why(made(tmp_path / "t", TEXT, both(anywhere, 0.003), facts=known))
    assert "prefix_cache" not in {r.cause for r in found.causes}
    no_cache = {name: {"prefix_cache": False} for name in known}
    found = why(made(tmp_path / "u", TEXT, both(on_blocks, 0.003), facts=no_cache))
    assert "prefix_cache" not in {r.cause for r in found.causes}


def rounded(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return bfloat16(rows)


def test_sixteen_bit_logits_alone_are_the_head(tmp_path: Path) -> None:
    known = {name: {"dtype": "float32"} for name in ("trainer", "rollout")}
    found = why(
        made(tmp_path / "s", TEXT, {"trainer": same, "rollout": rounded}, facts=known)
    )
    assert first(found) == "head_dtype"
    assert evidence(found, "head_dtype", "lattice").numbers["side"] == "rollout/prefill"
    unknown = why(made(tmp_path / "t", TEXT, {"trainer": same, "rollout": rounded}))
    assert {r.cause for r in unknown.causes[:2]} == {"head_dtype", "compute_dtype"}
    assert any(
        u.cause == "compute_dtype" and "dtype of trainer/prefill" in u.why
        for u in unknown.unchecked
    )


def test_a_gap_within_one_step_is_nothing_but_the_rounding_of_logits(
    tmp_path: Path,
) -> None:
    """Logits that all lie between 16 and 32 have one step."""
    text = draw(3, (80,) * 6)
    inside = Text(text.ids, [np.clip(24 + x / 2, 16.5, 31.5) for x in text.logits])
    found = why(made(tmp_path / "s", inside, {"trainer": same, "rollout": rounded}))
    assert first(found) == "head_dtype"
    assert evidence(found, "head_dtype", "lattice").numbers["within_step"] > 0.9
    assert evidence(found, "head_dtype", "lattice").numbers["step"] == 0.125


def test_sixteen_bit_logits_with_more_noise_than_they_make_are_the_body(
    tmp_path: Path,
) -> None:
    body = noise(0.2, 3)
    sides = {
        "reference": same,
        "trainer": noise(1e-5),
        "rollout": lambda rows, ids: rounded(body(rows, ids), ids),
    }
    session = made(
        tmp_path / "s", TEXT, sides, facts={"reference": {"dtype": "float32"}}
    )
    assert first(why(session)) == "compute_dtype"


def test_noise_on_both_bodies_and_one_rounded_head(tmp_path: Path) -> None:
    one = noise(0.05, 3)
    other = noise(0.05, 4)
    sides = {
        "reference": same,
        "trainer": one,
        "rollout": lambda rows, ids: rounded(other(rows, ids), ids),
    }
    session = made(
        tmp_path / "s", TEXT, sides, facts={"reference": {"dtype": "float32"}}
    )
    assert first(why(session)) == "head_dtype"


def test_three_ways_name_the_side_that_is_off(tmp_path: Path) -> None:
    facts = {name: {"dtype": "bfloat16"} for name in ("trainer", "rollout")} | {
        "reference": {"dtype": "float32"}
    }
    sides = {"reference": same, "trainer": noise(0.02, 1), "rollout": noise(0.08, 2)}
    session = made(tmp_path / "s", TEXT, sides, facts=facts)
    found = why(session)
    assert first(found) == "weights"
    assert found.size["suspect"] == "rollout/prefill"
    assert "rollout/prefill is" in found.causes[0].evidence[0].sentence
    alike = {"reference": same, "trainer": noise(0.08, 1), "rollout": noise(0.08, 2)}
    # Twice that noise, but alike on both sides: two correct runs of a model that is far
    # from float32.
    assert why(made(tmp_path / "t", TEXT, alike, facts=facts)).noise


def test_another_tensor_is_no_likeness(tmp_path: Path) -> None:
    def other(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return np.random.default_rng(len(ids)).normal(0, 3, rows.shape)

    found = why(made(tmp_path / "s", TEXT, {"trainer": same, "rollout": other}))
    assert first(found) == "weights"
    assert evidence(found, "weights", "no likeness").score > 0.9


def test_rare_flips_in_a_mixture_of_experts(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)

    def flips(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return (
            rows + rng.normal(0, 4, rows.shape) * (rng.random(len(ids)) < 0.01)[:, None]
        )

    facts = {
        name: {"dtype": "bfloat16", "model_class": "MixtralForCausalLM"}
        for name in ("trainer", "rollout")
    }
    text = draw(4, (200,) * 10)
    found = why(made(tmp_path / "s", text, both(flips, 0.02), facts=facts))
    assert "routing" in [r.cause for r in found.causes[:2]]
    dense = {
        name: {**f, "model_class": "LlamaForCausalLM"} for name, f in facts.items()
    }
    assert "routing" not in [
        r.cause
        for r in why(made(tmp_path / "t", text, both(flips, 0.02), facts=dense)).causes
    ]


@given(st.integers(0, 1000), st.sampled_from([1e-6, 1e-3, 0.02, 0.04]))
@settings(max_examples=15, deadline=None)
def test_pure_noise_raises_no_shape(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: float
) -> None:
    text = draw(seed, (60,) * 8 + (150,) * 2)
    sides = {"trainer": noise(size, seed + 1), "rollout": noise(size, seed + 2)}
    found = why(made(tmp_path_factory.mktemp("n") / "s", text, sides))
    assert found.noise
    assert all(r.score < 0.3 for r in found.causes if r.cause != "noise"), found.causes


def test_numbers_overrule_a_fact_that_they_contradict(tmp_path: Path) -> None:
    """One side says that its logits are float32, and they lie on the same 16-bit
    lattice as the other's.
    """
    facts = {
        "trainer": {"dtype": "bfloat16", "logits_dtype": "bfloat16"},
        "rollout": {"dtype": "bfloat16", "logits_dtype": "float32"},
    }
    sides = {
        "reference": same,
        "trainer": lambda rows, ids: rounded(one(rows, ids), ids),
        "rollout": lambda rows, ids: rounded(other(rows, ids), ids),
    }
    one = noise(0.03, 3)
    other = noise(0.03, 4)
    session = made(
        tmp_path / "s", TEXT, sides, facts={**facts, "reference": {"dtype": "float32"}}
    )
    assert why(session).noise
    bodies = {"reference": same, "trainer": sides["trainer"], "rollout": other}
    assert (
        first(
            why(
                made(
                    tmp_path / "t",
                    TEXT,
                    bodies,
                    facts={**facts, "reference": {"dtype": "float32"}},
                )
            )
        )
        == "head_dtype"
    )


def test_a_beginning_that_both_were_sent_alike_is_doubted(tmp_path: Path) -> None:
    """A tensor that matters to the first tokens looks like another start token; digests
    of what was sent say which is likely.
    """

    def fading(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return (
            rows
            + noise(1.0, 9)(np.zeros_like(rows), ids)
            * np.exp(-np.arange(len(rows)) / 3.0)[:, None]
        )

    session = made(tmp_path / "s", TEXT, both(fading, 0.01))
    doubted = session.manifest._replace(
        captures=tuple(_sent(session, info) for info in session.captures),
    )
    before = why(session)
    after = why(Session(session.folder, doubted))
    assert first(before) == "ids"
    assert before.causes[0].score > 0.9
    assert evidence(after, "ids", "start").score == pytest.approx(
        evidence(before, "ids", "start").score / 2
    )


def _sent(session: Session, info: Any) -> Any:
    """The capture with digests of the session's own ids."""
    ids = session.sequences.token_ids
    return info._replace(
        parts=tuple(part._replace(ids_digest=ids_digest(ids[:])) for part in info.parts)
    )
