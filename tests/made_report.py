"""A report dictionary with every key of schema 1, for tests of what is drawn from it:
the numbers are made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.compare.buckets import Bucket, Buckets
from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.decomposition import Decomposition, Split, Term
from logdrift.core.compare.distribution import TopK
from logdrift.core.compare.errors import ErrorStats
from logdrift.core.compare.floor import Floor, SelfGap
from logdrift.core.compare.gate import Gate, Reason
from logdrift.core.compare.limits import JudgedLimit, Limit
from logdrift.core.compare.measured import MeasuredPair
from logdrift.core.compare.metrics import Metrics, ScopeErrors, SequenceErrors
from logdrift.core.compare.mismatch import Mismatch
from logdrift.core.compare.probability import Probability
from logdrift.core.compare.uncertainty import Intervals
from logdrift.core.facts import Facts
from logdrift.core.report.records import PairReport, SessionReport, WorstToken
from logdrift.core.session.layout import CaptureInfo, ModelInfo, Part
from tests.made_metrics import COVERED

FLOOR = {"label": "vllm/prefill#2", "mae": 0.0021, "rmse": 0.0032}


def made_pair(
    a: str = "trainer/prefill", b: str = "vllm/decode", **changes: Any
) -> dict[str, Any]:
    """A pair with all groups, all numbers different."""
    return {
        "a": a,
        "b": b,
        "scope": "completion",
        "tokens": 1490,
        "sequences": 24,
        "gate": {
            "verdict": "caution",
            "reasons": [
                {
                    "code": "dtype",
                    "severity": "caution",
                    "text": "other compute dtype: a gap of 0.02 to 0.04 is expected",
                },
                {
                    "code": "sampling",
                    "severity": "info",
                    "text": "sampled at temperature 0.7",
                },
            ],
        },
        "errors": {
            "mean": -0.00112,
            "mae": 0.0433,
            "rmse": 0.0665,
            "pearson": 0.999706,
            "max_abs": 0.613,
            "p50": 0.0271,
            "p90": 0.104,
            "p99": 0.2117,
            "p999": 0.513,
            "exact_fraction": 0.0127,
            "infinite": 3,
        },
        "ci95": {
            "mae": [0.0401, 0.0467],
            "rmse": [0.0592, 0.0741],
            "mean": [-0.0045, 0.00234],
            "k3": [0.00191, 0.00263],
            "method": "sequences",
            "units": 24,
            "resamples": 2000,
        },
        "floor": {
            "mae": 0.00205,
            "rmse": 0.0031,
            "a": None,
            "b": FLOOR,
            "batch_a": None,
            "batch_b": {"label": "vllm/prefill#alone", "mae": 0.0368, "rmse": 0.0586},
        },
        "probability": {
            "mae": 0.00817,
            "max": 0.146,
            "std": 0.0123,
            "mean": -0.000716,
            "pearson": 0.999512,
            "mult_prob_error": 1.04519,
        },
        "mismatch": {
            "k1": 0.00113,
            "k2": 0.00221,
            "k3": 0.00224,
            "k3_reverse": 0.00219,
            "chi2_token": 0.00447,
            "chi2_sequence": 0.171,
            "ess_token": 0.9955,
            "ess_sequence": 0.8557,
            "ess_token_clamped": 0.9961,
            "ratio_std_clamped": 0.0659,
            "sequence_mae": 0.0429,
            "ppl_a": 3.31415,
            "ppl_b": 3.31787,
            "ppl_ratio": 0.99888,
            "log_ppl_diff": -0.00119,
            "log_ppl_abs_diff": 0.00671,
            "ratio_mean": 1.00109,
            "ratio_min": 0.54885,
            "ratio_max": 1.42887,
            "ratio_p99": 1.19753,
            "ratio_std": 0.0667,
            "log_ratio_sequence_mean": -0.0697,
            "log_ratio_sequence_std": 0.381,
            "log_ratio_sequence_max_abs": 1.07,
            "sequence_mult_prob_error_mean": 1.04632,
            "sequence_mult_prob_error_max": 1.08941,
            "sequence_mult_prob_error_min": 1.01237,
            "clip_fraction": {"0.1": 0.1034, "0.2": 0.0168, "0.3": 0.00537},
            "extreme_fraction": {"2": 0.000671},
            "js": 0.000553,
            "sampled_by_b": True,
        },
        "what_if": [
            {
                "rule": "TIS",
                "name": "token",
                "low": None,
                "high": 2.0,
                "level": "token",
                "tokens": 0.00134,
                "sequences": 0.0417,
            },
            {
                "rule": "IcePop",
                "name": "mask",
                "low": 0.5,
                "high": 5.0,
                "level": "token",
                "tokens": 0.00268,
                "sequences": 0.0833,
            },
            {
                "rule": "MIS",
                "name": "geometric",
                "low": 0.99,
                "high": 1.001,
                "level": "geometric",
                "tokens": None,
                "sequences": None,
            },
        ],
        "topk": {
            "k": 20,
            "tokens": 1488,
            "same_top1": 0.9691,
            "overlap": 0.9542,
            "ranked": 1487,
            "kl_infinite": 5,
            "rank_flips": 0.1127,
            "kl_lower_bound_mean": 0.00181,
            "kl_lower_bound_p99": 0.0194,
            "kl_lower_bound_max": 0.0471,
            "tail_mass_a": 0.1172,
            "tail_mass_b": 0.1169,
        },
        "buckets": {
            "by_probability": [
                {
                    "low": 0.0,
                    "high": 1e-4,
                    "tokens": 0,
                    "mean": None,
                    "mae": None,
                    "rmse": None,
                    "max_abs": None,
                },
                {
                    "low": 1e-4,
                    "high": 0.01,
                    "tokens": 91,
                    "mean": -0.0061,
                    "mae": 0.0918,
                    "rmse": 0.131,
                    "max_abs": 0.599,
                },
                {
                    "low": 0.01,
                    "high": 0.1,
                    "tokens": 280,
                    "mean": 0.0014,
                    "mae": 0.0791,
                    "rmse": 0.101,
                    "max_abs": 0.357,
                },
                {
                    "low": 0.1,
                    "high": 0.5,
                    "tokens": 477,
                    "mean": 0.0023,
                    "mae": 0.0512,
                    "rmse": 0.0673,
                    "max_abs": 0.241,
                },
                {
                    "low": 0.5,
                    "high": 0.99,
                    "tokens": 411,
                    "mean": -0.0019,
                    "mae": 0.0188,
                    "rmse": 0.0291,
                    "max_abs": 0.137,
                },
                {
                    "low": 0.99,
                    "high": 1.0,
                    "tokens": 231,
                    "mean": 0.0001,
                    "mae": 0.000762,
                    "rmse": 0.00151,
                    "max_abs": 0.0091,
                },
            ],
            "by_position": [
                {
                    "low": 0.0,
                    "high": 1.0,
                    "tokens": 24,
                    "mean": -0.0081,
                    "mae": 0.0529,
                    "rmse": 0.0812,
                    "max_abs": 0.213,
                },
                {
                    "low": 1.0,
                    "high": 2.0,
                    "tokens": 24,
                    "mean": 0.0092,
                    "mae": 0.0493,
                    "rmse": 0.0761,
                    "max_abs": 0.197,
                },
                {
                    "low": 2.0,
                    "high": 64.0,
                    "tokens": 1421,
                    "mean": -0.0013,
                    "mae": 0.0431,
                    "rmse": 0.0661,
                    "max_abs": 0.613,
                },
                {
                    "low": 64.0,
                    "high": 128.0,
                    "tokens": 21,
                    "mean": 0.0041,
                    "mae": 0.0387,
                    "rmse": 0.0553,
                    "max_abs": 0.181,
                },
            ],
            "by_entropy": None,
        },
        "scopes": [
            {
                "scope": "prompt",
                "tokens": 1194,
                "mean": 0.00213,
                "mae": 0.0517,
                "rmse": 0.0819,
                "max_abs": 0.733,
                "k3": 0.00337,
            },
            {
                "scope": "completion",
                "tokens": 1490,
                "mean": -0.00112,
                "mae": 0.0433,
                "rmse": 0.0665,
                "max_abs": 0.613,
                "k3": 0.00224,
            },
            {
                "scope": "all",
                "tokens": 2684,
                "mean": 0.000326,
                "mae": 0.0471,
                "rmse": 0.0738,
                "max_abs": 0.733,
                "k3": 0.00274,
            },
        ],
        "thresholds": [
            {
                "framework": "verl",
                "name": "rollout_probs_diff_mean",
                "metric": "probability.mae",
                "value": 0.00817,
                "low": None,
                "high": 0.005,
                "limit": 0.005,
                "ok": False,
                "level": "normal",
                "meaning": "Mean gap of probabilities: normally below.",
                "note": None,
                "source": "https://verl.readthedocs.io/en/latest/faq/faq.html",
            },
            {
                "framework": "NeMo-RL",
                "name": "token_mult_prob_error",
                "metric": "probability.mult_prob_error",
                "value": 1.04519,
                "low": None,
                "high": 1.05,
                "limit": 1.05,
                "ok": True,
                "source": "docs/guides/grpo.md",
            },
            {
                "framework": "verl",
                "name": "rollout_is_mean",
                "metric": "mismatch.ratio_mean",
                "value": None,
                "low": 0.5,
                "high": 2.0,
                "limit": None,
                "ok": None,
                "level": "fault",
                "meaning": "Mean ratio.",
                "note": "not computed for this pair",
                "source": None,
            },
        ],
        "worst": [
            {
                "sequence": 10,
                "position": 27,
                "token_id": 61,
                "piece": "M",
                "delta": -0.599,
                "times_floor": 292.7,
                "logprob_a": -7.78,
                "logprob_b": -7.18,
                "rank_a": 79,
                "rank_b": 64,
                "before": "mers.id,id;",
                "after": "ATCH (C).COUN",
            },
            {
                "sequence": 2,
                "position": 15,
                "token_id": 3,
                "piece": " no",
                "delta": None,
                "times_floor": None,
                "logprob_a": None,
                "logprob_b": -3.02,
                "rank_a": None,
                "rank_b": 6,
                "before": "",
                "after": "",
            },
        ],
        "worst_sequences": [
            {
                "sequence": 10,
                "tokens": 64,
                "mae": 0.0711,
                "mean": -0.0118,
                "max_abs": 0.599,
                "log_ratio": -0.753,
            },
            {
                "sequence": 14,
                "tokens": 71,
                "mae": 0.0682,
                "mean": 0.0043,
                "max_abs": 0.357,
                "log_ratio": 0.307,
            },
        ],
        **changes,
    }


def decomposition() -> dict[str, Any]:
    """One entry with everything."""
    return {
        "rollout": "vllm/decode",
        "trainer": "trainer/prefill",
        "decode_vs_prefill": {"mean": 0.00121, "mae": 0.0368, "rmse": 0.0586},
        "prefill_vs_trainer": {"mean": -0.00233, "mae": 0.0445, "rmse": 0.071},
        "total": {"mean": -0.00112, "mae": 0.0433, "rmse": 0.0665},
        "reference": {
            "label": "reference/prefill",
            "trainer": {"mean": 0.00031, "mae": 0.0358, "rmse": 0.0565},
            "rollout": {"mean": -0.00081, "mae": 0.0334, "rmse": 0.0493},
        },
    }


def typed_pair(data: Mapping[str, Any]) -> PairReport:
    """A pair of `made_pair` as the record that it is the JSON of; what it lacks is
    unknown.
    """
    labels = {"a": data.get("a") or "", "b": data.get("b") or ""}
    gate = data.get("gate") or {"verdict": "", "reasons": []}
    reasons = tuple(Reason(**reason) for reason in gate["reasons"])
    topk = data.get("topk")
    floor = data.get("floor")
    metrics = Metrics(
        scope=data.get("scope") or "all",
        tokens=data.get("tokens") or 0,
        sequences=data.get("sequences") or 0,
        finished=data.get("sequences") or 0,
        errors=ErrorStats(**(data.get("errors") or {})),
        ci95=Intervals(**(data.get("ci95") or {})),
        floor=None if floor is None else typed_floor(floor),
        probability=Probability(**(data.get("probability") or {})),
        mismatch=Mismatch(**typed_mismatch(data.get("mismatch") or {})),
        what_if=tuple(WhatIf(**rule) for rule in data.get("what_if") or []),
        topk=None if topk is None else TopK(**topk),
        buckets=typed_buckets(data.get("buckets") or {}),
        scopes=tuple(typed_scope(scope) for scope in data.get("scopes") or []),
        worst_sequences=tuple(
            SequenceErrors(**item) for item in data.get("worst_sequences") or []
        ),
        coverage=COVERED,
        computed=data.get("computed") or {},
    )
    return PairReport(
        measured=MeasuredPair(
            **labels, gate=Gate(gate["verdict"], reasons), metrics=metrics
        ),
        limits=tuple(typed_limit(limit) for limit in data.get("thresholds") or []),
        worst=tuple(WorstToken(**token) for token in data.get("worst") or []),
    )


def typed_mismatch(data: Mapping[str, Any]) -> dict[str, Any]:
    """Empty tables of shares in the place of those that are not there."""
    shares = ("clip_fraction", "extreme_fraction")
    return {**data, **{name: data.get(name) or {} for name in shares}}


def typed_floor(data: Mapping[str, Any]) -> Floor:
    rest = {"against": "", "max_abs": 0.0, "tokens": 0, "infinite": 0}
    sides = ("a", "b", "batch_a", "batch_b")
    gaps = {
        side: None if data.get(side) is None else SelfGap(**{**rest, **data[side]})
        for side in sides
    }
    return Floor(mae=data.get("mae"), rmse=data.get("rmse"), **gaps)


def typed_buckets(data: Mapping[str, Any]) -> Buckets:
    def buckets(name: str) -> tuple[Bucket, ...]:
        return tuple(Bucket(**bucket) for bucket in data.get(name) or [])

    return Buckets(
        by_probability=buckets("by_probability"),
        by_position=buckets("by_position"),
        by_entropy=buckets("by_entropy") or None,
    )


def typed_scope(data: Mapping[str, Any]) -> ScopeErrors:
    errors = {key: data.get(key) for key in ("mean", "mae", "rmse", "max_abs")}
    return ScopeErrors(
        scope=data["scope"],
        tokens=data.get("tokens") or 0,
        errors=ErrorStats(**errors),
        k3=data.get("k3"),
    )


def typed_limit(data: Mapping[str, Any]) -> JudgedLimit:
    limit = Limit(
        framework=data["framework"],
        name=data["name"],
        metric=data.get("metric") or "errors.mae",
        low=data.get("low"),
        high=data.get("limit"),
        level=data.get("level") or "fault",
        meaning=data.get("meaning") or "",
        source=data.get("source") or "",
    )
    return JudgedLimit(
        limit=limit,
        value=data.get("value"),
        ok=data.get("ok"),
        note=data.get("note"),
    )


def typed_split(data: Mapping[str, Any]) -> Decomposition:
    def term(name: str) -> Term | None:
        return None if data.get(name) is None else Term(**data[name])

    reference = data.get("reference")
    split = None
    if reference is not None:
        split = Split(
            label=reference["label"],
            tokens=0,
            trainer=Term(**reference["trainer"]),
            rollout=Term(**reference["rollout"]),
            rmse=0.0,
            expected_rmse=0.0,
            correlation=None,
        )
    return Decomposition(
        rollout=data["rollout"],
        trainer=data["trainer"],
        prefill=None,
        scope="completion",
        tokens=0,
        total=term("total"),
        decode_vs_prefill=term("decode_vs_prefill"),
        prefill_vs_trainer=term("prefill_vs_trainer"),
        correlation=None,
        share_decode_vs_prefill=None,
        share_prefill_vs_trainer=None,
        reference=split,
    )


def typed_capture(data: Mapping[str, Any]) -> CaptureInfo:
    facts = data.get("facts")
    part = Part("part", 0, data.get("sequences") or 0, data.get("tokens") or 0)
    return CaptureInfo(
        label=data["label"],
        backend=data.get("backend") or "",
        engine=data.get("engine") or "",
        dtype=data.get("dtype") or "",
        path=data.get("path") or "",
        role=data.get("role") or "",
        status=data["status"],
        facts=None if facts is None else Facts(**facts),
        parts=(part,),
        failure=data.get("failure"),
    )


def typed_report(data: Mapping[str, Any]) -> SessionReport:
    """A report dictionary as the record that it is the JSON of."""
    model = data.get("model") or {"id": ""}
    return SessionReport(
        session=data.get("session") or "",
        title=data.get("title"),
        created=data.get("created") or "",
        state=data.get("state") or "",
        model=ModelInfo(**model),
        sequences=data.get("sequences") or 0,
        sequences_planned=data.get("sequences_planned") or 0,
        tokens=data.get("tokens") or 0,
        completion_tokens=data.get("completion_tokens") or 0,
        captures=tuple(map(typed_capture, data.get("captures") or [])),
        pairs=tuple(map(typed_pair, data.get("pairs") or [])),
        splits=tuple(map(typed_split, data.get("decomposition") or [])),
    )
