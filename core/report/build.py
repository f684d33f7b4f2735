"""The report as one dictionary: JSON schema 1. The text report is drawn from it, so
both say the same.

The schema is a promise (docs/report.md): keys are added, never renamed or removed. What
a session cannot tell is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.decomposition import Decomposition, decompositions
from logdrift.core.compare.floor import times_floor
from logdrift.core.compare.limits import Limit, judge_limits
from logdrift.core.compare.measured import measure_pair
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.pair import (
    Pair,
    Scope,
    completion_mask,
    default_scope,
    list_pairs,
    make_pair,
)
from logdrift.core.compare.published import PUBLISHED
from logdrift.core.report.records import CONTEXT
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

SCHEMA = 1
WORST = 20


def build_report(
    session: Session,
    pairs: Sequence[tuple[str, str]] | None = None,
    scope: Scope | None = None,
    limits: Sequence[Limit] = PUBLISHED,
    *,
    why: bool = False,
) -> dict[str, Any]:
    """Everything of schema 1, for ``pairs`` (default: all of `list_pairs`), held
    against ``limits``.

    ``scope`` None means the completion, which is what reinforcement learning trains on,
    or all tokens where the session has no completions. ``why`` asks for the causes as
    well (``diagnosis``, else None): several times the work of the numbers. Raises
    InputError for unknown labels and scopes. Numbers may be non-finite here:
    `logdrift.core.report.strict_json` turns those into null.
    """
    chosen = default_scope(session.sequences) if scope is None else scope
    wanted = pairs or list_pairs(session)
    splits = decompositions(session, chosen)
    manifest = session.manifest
    sequences = session.sequences
    completion = int(np.count_nonzero(completion_mask(sequences, len(sequences))))
    return {
        "schema": SCHEMA,
        "session": session.name,
        "title": manifest.title,
        "created": manifest.created,
        "state": session.state,
        "model": asdict(manifest.model),
        "sequences": len(sequences),
        "sequences_planned": manifest.sequences.planned,
        "tokens": sequences.tokens,
        "completion_tokens": completion,
        "captures": [_capture(info) for info in session.captures],
        "pairs": [
            _answered(session, make_pair(session, a, b), chosen, limits, splits, why)
            for a, b in wanted
        ],
        "decomposition": [split.to_json() for split in splits],
        "diagnosis": _diagnosis(session, wanted) if why else None,
    }


def _answered(
    session: Session,
    pair: Pair,
    scope: Scope,
    limits: Sequence[Limit],
    splits: Sequence[Decomposition],
    why: bool,
) -> dict[str, Any]:
    """One entry of ``pairs``, with its answer where the causes are asked for."""
    report = report_pair(pair, scope, limits, splits)
    if not why:
        return report
    from logdrift.core.report.answers import answer_json

    return {**report, "answer": answer_json(session, report["a"], report["b"])}


def _diagnosis(
    session: Session, pairs: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    # The numbers are reported without a single cause.
    from logdrift.core.report.why import explain_session

    report = explain_session(session, pairs).to_json()
    diagnosis: list[dict[str, Any]] = report["diagnosis"]
    return diagnosis


def _capture(info: CaptureInfo) -> dict[str, Any]:
    return {
        "label": info.label,
        "backend": info.backend,
        "role": info.role,
        "engine": info.engine,
        "dtype": info.dtype,
        "path": info.path,
        "repeat": info.repeat,
        "batch": info.batch,
        "sequences": info.sequences,
        "tokens": info.tokens,
        "status": info.status,
        "failure": info.failure,
        "facts": info.facts.to_json() if info.facts is not None else None,
    }


def report_pair(
    pair: Pair,
    scope: Scope,
    limits: Sequence[Limit] = PUBLISHED,
    splits: Sequence[Decomposition] | None = None,
) -> dict[str, Any]:
    """One entry of ``pairs``. InputError for an unknown scope.

    ``splits`` are the decompositions of the report; None: they are made where a limit
    asks for one.
    """
    if splits is None:
        asked = any(limit.metric.startswith("decomposition.") for limit in limits)
        splits = decompositions(pair.session, scope) if asked else ()
    measured = measure_pair(pair, scope, splits)
    metrics, gate = measured.metrics, measured.gate
    judged = judge_limits(metrics, limits, gate.verdict)
    worst = worst_positions(pair, pair.scope_mask(scope), WORST)
    return {
        "a": measured.a,
        "b": measured.b,
        "scope": scope,
        "tokens": metrics.tokens,
        "sequences": metrics.finished,
        "gate": asdict(gate),
        "answer": None,
        **metrics.to_json(),
        "thresholds": [limit.to_json() for limit in judged],
        "worst": [_token(pair, metrics, int(position)) for position in worst],
    }


def worst_positions(
    pair: Pair, mask: npt.NDArray[np.bool_], count: int
) -> npt.NDArray[np.int64]:
    """Flat positions of the ``count`` largest |delta| under ``mask``, ties by position;
    never one of 0.
    """
    size = np.where(mask, np.abs(pair.delta), np.float32(0))
    if count < len(size):
        # At least the count-th largest: ties at the border are settled by position
        # below.
        border = np.partition(size, len(size) - count)[len(size) - count]
        found = (
            np.flatnonzero(size >= border) if border > 0 else np.flatnonzero(size > 0)
        )
    else:
        found = np.flatnonzero(size > 0)
    order: npt.NDArray[np.int64] = found[np.lexsort((found, -size[found]))][:count]
    return order


def _token(pair: Pair, metrics: Metrics, at: int) -> dict[str, Any]:
    sequence = pair.sequence_of(at)
    start, stop = pair.sequences.bounds(sequence)
    ids = pair.sequences.token_ids
    text = pair.session.pieces.text

    def joined(low: int, high: int) -> str:
        return "".join(
            text(int(ids[i])) for i in range(max(start, low), min(stop, high))
        )

    return {
        "sequence": sequence,
        "position": at - start,
        "token_id": int(ids[at]),
        "piece": text(int(ids[at])),
        "delta": float(pair.delta[at]),
        "times_floor": times_floor(float(pair.delta[at]), metrics.floor),
        "logprob_a": float(pair.logprob_a[at]),
        "logprob_b": float(pair.logprob_b[at]),
        "rank_a": _rank(pair.a.rank.rows(at, at + 1)),
        "rank_b": _rank(pair.b.rank.rows(at, at + 1)),
        "before": joined(at - CONTEXT, at),
        "after": joined(at + 1, at + 1 + CONTEXT),
    }


def _rank(row: npt.NDArray[np.int32]) -> int | None:
    return int(row[0]) or None
