"""A report dictionary of schema 1 as the records that it is written from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.compare.buckets import Bucket, Buckets
from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.decomposition import Decomposition, ReferenceErrors, Term
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
from tests.common import Fields
from tests.made_metrics import COVERED


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


def typed_mismatch(data: Mapping[str, Any]) -> Fields:
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
        split = ReferenceErrors(
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
