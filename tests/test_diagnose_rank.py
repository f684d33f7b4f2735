"""From evidence to the ranked list, what is said of it, and what was not checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.pair import default_pair, list_pairs, make_pair
from logdrift.core.diagnose import Evidence, diagnose
from logdrift.core.diagnose.causes import CAUSES
from logdrift.core.diagnose.discount import EXPLAINED_BY, discounted
from logdrift.core.diagnose.knobs import SideState
from logdrift.core.diagnose.rank import ranked
from logdrift.core.report.causes import causes_document
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.strict_json import dump
from logdrift.core.report.why import explain_session
from logdrift.core.report.why_document import why_document
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import open_session
from tests.common import NAN, SAMPLE
from tests.made_sessions import FACTS, capture, write_session
from tests.planted.made import draw, made, noise, same

SIDES = (
    SideState(
        "a",
        CaptureInfo(
            "trainer/prefill",
            "trainer",
            "transformers",
            "bfloat16",
            "prefill",
            1,
            "trainer",
        ),
    ),
    SideState(
        "b",
        CaptureInfo(
            "vllm/prefill", "vllm", "vllm", "bfloat16", "prefill", 1, "rollout"
        ),
    ),
)


def piece(cause: str, score: float, signature: str = "size") -> Evidence:
    return Evidence(
        cause=cause,
        score=score,
        signature=signature,
        sentence=f"{cause} by {signature}.",
    )


def order(*evidence: Evidence) -> list[tuple[str, float]]:
    return [(r.cause, round(r.score, 4)) for r in ranked(discounted(evidence), SIDES)]


def test_independent_findings_strengthen_each_other() -> None:
    assert order(piece("ids", 0.5, "own list"), piece("ids", 0.5, "facts")) == [
        ("ids", 0.75)
    ]


def test_what_is_explained_counts_less() -> None:
    found = order(
        piece("temperature", 0.9, "slope"),
        piece("weights", 0.8, "size"),
        piece("head_dtype", 0.9, "lattice"),
    )
    # The slope leaves a tenth of the others, and the lattice's 0.09 its part of size.
    assert found == [
        ("temperature", 0.9),
        ("head_dtype", 0.09),
        ("weights", pytest.approx(0.8 * 0.1 * (1 - 0.09), abs=1e-4)),
    ]


def test_facts_that_name_a_cause_keep_what_its_size_says() -> None:
    found = dict(
        order(
            piece("weights", 0.88, "facts"),
            piece("weights", 0.5, "size"),
            piece("config", 0.6, "growth"),
        )
    )
    assert found["weights"] == pytest.approx(1 - 0.12 * 0.5)


def test_rounding_of_the_right_size_takes_weight_from_facts_but_not_from_other_quantities() -> (
    None
):
    found = dict(order(piece("noise", 0.9), piece("config", 0.88, "facts")))
    assert found["noise"] > found["config"]
    found = dict(order(piece("noise", 0.9), piece("temperature", 0.97, "facts")))
    assert found["temperature"] > found.get("noise", 0)
    found = dict(order(piece("noise", 0.9), piece("compute_dtype", 0.88, "facts")))
    assert found["compute_dtype"] > found.get("noise", 0)


def test_an_overridden_config_is_no_noise_however_little_it_moves() -> None:
    """It was read from the resolved configuration, and shows on longer sequences; a
    digest of the file may be harmless.
    """
    overridden = Evidence(
        cause="config",
        score=0.88,
        signature="facts",
        sentence="vllm runs with rope_theta=150000.",
        numbers={"reason": "overrides"},
    )
    assert order(piece("noise", 0.83), overridden)[0] == ("config", 0.88)
    digest = Evidence(
        cause="config",
        score=0.88,
        signature="facts",
        sentence="config.json differs.",
        numbers={"reason": "config"},
    )
    assert order(piece("noise", 0.83), digest)[0] == ("noise", 0.83)


def test_a_line_speaks_for_the_one_of_its_two_causes_that_was_observed() -> None:
    line = piece("temperature", 0.97, "slope"), piece("config", 0.6, "slope")
    expected = [("temperature", 0.97), ("config", 0.6)]
    assert order(*line) == expected
    assert order(*line, piece("temperature", 0.97, "facts")) == [
        ("temperature", 0.9991)
    ]
    assert order(*line, piece("config", 0.88, "facts"))[0] == ("config", 0.952)
    assert order(*line, piece("temperature", 0.86, "experiment"))[1] == (
        "config",
        0.084,
    )


def test_ties_are_in_the_order_of_checking_and_faint_ones_are_left_out() -> None:
    found = order(
        piece("attention", 0.5, "facts"),
        piece("weights", 0.5, "facts"),
        piece("kv_cache", 0.01, "facts"),
    )
    assert [cause for cause, _ in found] == ["weights", "attention"]


def test_what_explains_does_not_run_in_a_circle() -> None:
    """Discounting is one pass: a signature must come before those that it explains."""
    names = list(EXPLAINED_BY)
    for name, others in EXPLAINED_BY.items():
        assert name not in others
        for other in others & set(names):
            assert not (name in EXPLAINED_BY[other] and other in EXPLAINED_BY[name]), (
                name,
                other,
            )


@pytest.fixture(scope="module")
def sample() -> Any:
    return open_session(SAMPLE)


def test_no_pair_of_real_engines_is_more_than_noise(sample: Any) -> None:
    """The shipped sample: three engines in bfloat16, decode and prefill, and a float32
    reference.
    """
    for a, b in list_pairs(sample):
        found = diagnose(sample, make_pair(sample, a, b))
        assert found.noise, (
            a,
            b,
            found.verdict,
            [(r.cause, r.score) for r in found.causes],
        )
        assert found.causes[0].score >= 0.5


def test_json_is_strict_and_keeps_schema_1(sample: Any) -> None:
    pair = default_pair(sample)
    assert pair is not None
    report = json.loads(dump(explain_session(sample, [pair]).to_json()))
    assert report["schema"] == 1
    for entry in report["diagnosis"]:
        assert {"cause", "score", "evidence", "next_experiment", "pair"} == set(entry)
        assert 0 <= entry["score"] <= 1
        for evidence in entry["evidence"]:
            assert {"signature", "score", "sentence", "numbers", "tokens"} == set(
                evidence
            )
    codes = {cause.code for cause in CAUSES} | {"noise"}
    assert {entry["cause"] for entry in report["diagnosis"]} <= codes
    assert {each["cause"] for each in report["pairs"][0]["not_checked"]} <= codes


def test_text_fits_80_columns_and_shows_the_users_tokens(tmp_path: Path) -> None:
    text = draw(0, (60,) * 6)
    session = made(
        tmp_path / "s", text, {"trainer": same, "rollout": lambda rows, ids: rows / 0.7}
    )
    shown = paint_text(
        why_document(
            explain_session(session, [("trainer/prefill", "rollout/prefill")]).pairs
        ),
        Canvas(),
    )
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert (
        "likely" in shown
    )  # nothing tells the temperatures, and a logit scale draws the same line
    assert (
        "temperature in the log-probabilities; a logit scale looks the same"
        in " ".join(shown.split())
    )
    assert "Not checked" in shown
    assert "Δ" in shown
    assert all(
        len(line) <= 80 for line in paint_text(causes_document(), Canvas()).splitlines()
    )
    assert paint_text(
        why_document(
            explain_session(session, [("trainer/prefill", "rollout/prefill")]).pairs
        ),
        Canvas(encoding="ascii"),
    ).isascii()


def test_hostile_pieces_never_reach_the_terminal(tmp_path: Path) -> None:
    rows = [[NAN, *np.linspace(-1, -3, 29)]]
    other = [[NAN, *np.linspace(-9, -1, 29)]]
    hostile = dict.fromkeys(range(30), b"\x1b[2J\x07")
    session = write_session(
        tmp_path / "s",
        [1],
        [capture("trainer/prefill", rows), capture("vllm/prefill", other)],
        pieces=hostile,
    )
    shown = paint_text(
        why_document(
            explain_session(session, [("trainer/prefill", "vllm/prefill")]).pairs
        ),
        Canvas(),
    )
    assert all(char.isprintable() for line in shown.splitlines() for char in line)


def short(folder: Path, a: list[float], b: list[float], **changes: Any) -> Any:
    session = write_session(
        folder,
        [1],
        [capture("trainer/prefill", [a]), capture("vllm/prefill", [b], **changes)],
    )
    return diagnose(session, make_pair(session, "trainer", "vllm"))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([NAN, -1.0], [NAN, -1.1]),
        ([NAN], [NAN]),
        ([NAN, NAN], [NAN, -1.0]),
        ([NAN, -np.inf], [NAN, -1.0]),
        ([NAN, -np.inf, -1.0], [NAN, -np.inf, -1.0]),
        ([NAN, -1.0, -1.0, -1.0], [NAN, -1.0, -1.0, -1.0]),
        ([NAN] + [-1.0] * 99, [NAN] + [-2.0] * 99),
        ([NAN] + [-1.0] * 50 + [-np.inf] * 49, [NAN] + [-2.0] * 99),
    ],
)
def test_corners_do_not_fail(tmp_path: Path, a: list[float], b: list[float]) -> None:
    found = short(tmp_path / "s", a, b)
    json.loads(dump(found.to_json()))
    assert found.verdict


def test_nothing_scored_is_said(tmp_path: Path) -> None:
    found = short(tmp_path / "s", [NAN, NAN], [NAN, -1.0])
    assert found.tokens == 0
    assert "nothing to explain" in found.verdict
    assert not found.noise


def test_facts_lead_where_the_numbers_have_no_shape(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(-9, -3, 60)
    a = [NAN, *base]
    b = [NAN, *(base + rng.normal(0, 0.3, 60))]
    for change, cause in (
        ({"weights_digest": "sha256:" + "9" * 64}, "weights"),
        ({"quantization": "fp8"}, "weights"),
        ({"kv_cache_dtype": "fp8_e4m3"}, "kv_cache"),
        ({"config_overrides": {"rope_theta": 5e5}}, "config"),
        (
            {"dtype": "float16", "head_dtype": "float16", "logits_dtype": "float16"},
            "compute_dtype",
        ),
        ({"head_dtype": "float32"}, "head_dtype"),
        ({"prefill_logprobs": "temperature_scaled", "temperature": 0.7}, "temperature"),
        ({"prefill_logprobs": "processed", "temperature": 0.7}, "processed"),
    ):
        found = short(tmp_path / f"{cause}{len(str(change))}", a, b, facts=change)
        assert found.causes[0].cause == cause, (
            change,
            [(r.cause, r.score) for r in found.causes],
        )


def test_an_unknown_fact_is_not_checked_with_what_would_make_it_checkable(
    tmp_path: Path,
) -> None:
    unknown = dict.fromkeys(
        ("weights_digest", "kv_cache_dtype", "attention_backend", "dtype")
    )
    found = short(tmp_path / "s", [NAN, -1.0, -2.0], [NAN, -1.1, -2.2], facts=unknown)
    said = {
        (each.cause, name)
        for each in found.unchecked
        for name in unknown
        if f" {name} of" in each.why
    }
    assert said == {
        ("weights", "weights_digest"),
        ("kv_cache", "kv_cache_dtype"),
        ("attention", "attention_backend"),
        ("compute_dtype", "dtype"),
    }
    assert all(each.fix for each in found.unchecked)
    whys = " ".join(each.why for each in found.unchecked)
    assert "float32 reference" in whys
    assert "repeats" in whys
    assert "top-k" in whys
    assert FACTS["dtype"]  # the other side has it


def test_what_a_path_does_not_need_is_not_missed(sample: Any) -> None:
    """SGLang's prompt log-probabilities are raw, so the temperature that nobody
    observed changes nothing.
    """
    facts = sample.manifest.capture("sglang/prefill").facts
    assert facts.temperature is None
    found = diagnose(sample, make_pair(sample, "trainer/prefill", "sglang/prefill"))
    assert {each.cause for each in found.unchecked} == {"weights"}


def test_where_nothing_was_observed_every_cause_that_facts_tell_is_not_checked(
    tmp_path: Path,
) -> None:
    text = draw()
    sides = {"trainer": same, "rollout": noise(0.02)}
    found = diagnose(
        session := made(tmp_path / "s", text, sides),
        make_pair(session, "trainer", "rollout"),
    )
    assert {each.cause for each in found.unchecked} >= {
        "ids",
        "temperature",
        "processed",
        "weights",
        "config",
        "padding",
        "head_dtype",
        "compute_dtype",
        "attention",
        "compile",
        "batch",
        "chunked_prefill",
        "tensor_parallel",
    }
    assert "prefix_cache" not in {each.cause for each in found.unchecked}, (
        "prompts are not kept on the path prefill"
    )
    steps = ("capture", "logdrift", "state")
    assert all(each.fix.startswith(steps) for each in found.unchecked)


def test_repeats_make_a_floor_that_noise_is_held_against(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(-9, -3, 80)
    rows = {k: [[NAN, *(base + rng.normal(0, 0.5, 80))]] for k in ("a", "b", "b2")}
    captures = [
        capture("trainer/prefill", rows["a"]),
        capture("vllm/prefill", rows["b"]),
        capture("vllm/prefill#2", rows["b2"]),
    ]
    session = write_session(tmp_path / "s", [1], captures)
    found = diagnose(session, make_pair(session, "trainer", "vllm"))
    # Half a nat is far beyond bfloat16, but the engine differs from itself as much.
    assert found.noise
    assert "repeats of one side" in found.verdict
    without = write_session(tmp_path / "t", [1], captures[:2])
    assert not diagnose(without, make_pair(without, "trainer", "vllm")).noise


def test_two_paths_of_one_backend_are_called_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(-9, -3, 60)
    rows = [[NAN, *(base + rng.normal(0, 0.4, 60))]]
    session = write_session(
        tmp_path / "s",
        [1],
        [capture("vllm/decode", [[NAN, *base]]), capture("vllm/prefill", rows)],
    )
    found = diagnose(session, make_pair(session, "vllm/decode", "vllm/prefill"))
    assert found.causes[0].cause == "decode_path"


def test_the_swapped_pair_tells_the_same(tmp_path: Path) -> None:
    sides = {"trainer": noise(0.02, 1), "rollout": lambda rows, ids: rows / 0.8}
    session = made(tmp_path / "s", draw(1, (70,) * 8), sides)
    one, other = (
        diagnose(session, make_pair(session, *p))
        for p in (("trainer", "rollout"), ("rollout", "trainer"))
    )
    found = [(r.cause, round(r.score, 6)) for r in one.causes]
    assert found == [(r.cause, round(r.score, 6)) for r in other.causes]


def test_evidence_from_elsewhere_is_weighed_with_the_rest(tmp_path: Path) -> None:
    """An identity check that names a tensor beats the noise that its size would pass
    for.
    """
    sides = {"trainer": noise(0.02, 1), "rollout": noise(0.02, 2)}
    session = made(tmp_path / "s", draw(1, (70,) * 8), sides)
    pair = make_pair(session, "trainer", "rollout")
    assert diagnose(session, pair).noise
    found = diagnose(
        session,
        pair,
        [
            Evidence(
                cause="weights",
                score=0.97,
                signature="identity",
                sentence="layer 3 down_proj differs.",
            )
        ],
    )
    assert found.causes[0].cause == "weights"
    assert found.causes[0].evidence[0].sentence == "layer 3 down_proj differs."


def test_what_one_side_calls_impossible_is_no_noise(tmp_path: Path) -> None:
    base = list(np.linspace(-9, -3, 40))
    for size in (0.0, 0.01):
        b = [NAN, *(value + size for value in base[:30]), *([-np.inf] * 10)]
        found = short(tmp_path / f"s{size}", [NAN, *base], b)
        assert not found.noise
        assert found.causes[0].cause == "processed"
