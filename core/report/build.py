"""Making the report of a session: its pairs measured, judged, and their worst tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.decomposition import Decomposition, decompositions
from logdrift.core.compare.floor import Floor, times_floor
from logdrift.core.compare.limits import Limit, judge_limits
from logdrift.core.compare.measured import measure_pair, splits_for
from logdrift.core.compare.pair import (
    Pair,
    Scope,
    completion_mask,
    default_scope,
    list_pairs,
    make_pair,
)
from logdrift.core.compare.published import PUBLISHED
from logdrift.core.report.records import (
    CONTEXT,
    PairReport,
    SessionReport,
    WorstToken,
)
from logdrift.core.session.reader import Session

if TYPE_CHECKING:
    from logdrift.core.report.why import WhyReport

WORST = 20


def build_report(
    session: Session,
    pairs: Sequence[tuple[str, str]] | None = None,
    scope: Scope | None = None,
    limits: Sequence[Limit] = PUBLISHED,
    *,
    why: bool = False,
) -> dict[str, Any]:
    """The JSON of `report_on`, as `logdrift report --json` has it but for non-finite
    floats.
    """
    return report_on(session, pairs, scope, limits, why=why).to_json()


def report_on(
    session: Session,
    pairs: Sequence[tuple[str, str]] | None = None,
    scope: Scope | None = None,
    limits: Sequence[Limit] = PUBLISHED,
    *,
    why: bool = False,
) -> SessionReport:
    """The report on ``pairs`` (default: all of `list_pairs`), held against ``limits``.

    ``scope`` None means the completion, which is what reinforcement learning trains on,
    or all tokens where the session has no completions. ``why`` asks for the causes as
    well: several times the work of the numbers. Raises InputError for unknown labels
    and scopes.
    """
    chosen = default_scope(session.sequences) if scope is None else scope
    labels = pairs or list_pairs(session)
    splits = decompositions(session, chosen)
    manifest = session.manifest
    sequences = session.sequences
    completion = completion_mask(sequences, len(sequences))
    reports = [
        report_on_pair(make_pair(session, a, b), chosen, limits, splits)
        for a, b in labels
    ]
    if why:
        reports = [with_pair_answer(session, report) for report in reports]
    return SessionReport(
        session=session.name,
        title=manifest.title,
        created=manifest.created,
        state=session.state,
        model=manifest.model,
        sequences=len(sequences),
        sequences_planned=manifest.sequences.planned,
        tokens=sequences.tokens,
        completion_tokens=int(np.count_nonzero(completion)),
        captures=tuple(session.captures),
        pairs=tuple(reports),
        splits=tuple(splits),
        why=_why(session, labels) if why else None,
    )


def _why(session: Session, labels: Sequence[tuple[str, str]]) -> WhyReport:
    # The numbers are reported without a single cause.
    from logdrift.core.report.why import explain_session

    return explain_session(session, labels)


def with_pair_answer(session: Session, report: PairReport) -> PairReport:
    """The report with the answer of its pair: a few times the work of its numbers."""
    from logdrift.core.report.answers import answer_of_pair

    if report.answer is not None:
        return report
    pair = make_pair(session, *report.labels)
    return replace(report, answer=answer_of_pair(session, pair))


def with_answer(
    report: SessionReport, session: Session, main: tuple[str, str] | None
) -> SessionReport:
    """``report`` with the answer of its ``main`` pair (None: of the first); the report
    itself stays as it is.
    """
    pair = report.main_pair(main)
    if pair is None or (main is not None and pair.labels != main):
        return report
    return report.with_pair(with_pair_answer(session, pair))


def report_pair(
    pair: Pair,
    scope: Scope,
    limits: Sequence[Limit] = PUBLISHED,
    splits: Sequence[Decomposition] | None = None,
) -> dict[str, Any]:
    """The JSON of `report_on_pair`: one entry of ``pairs``."""
    return report_on_pair(pair, scope, limits, splits).to_json()


def report_on_pair(
    pair: Pair,
    scope: Scope,
    limits: Sequence[Limit] = PUBLISHED,
    splits: Sequence[Decomposition] | None = None,
) -> PairReport:
    """The report on one pair. InputError for an unknown scope.

    ``splits`` are the decompositions of the session; None: they are made where a limit
    asks for one.
    """
    if splits is None:
        splits = splits_for(pair.session, scope, limits)
    measured = measure_pair(pair, scope, splits)
    worst = worst_positions(pair, pair.scope_mask(scope), WORST)
    floor = measured.metrics.floor
    return PairReport(
        measured=measured,
        limits=tuple(judge_limits(measured.metrics, limits, measured.gate.verdict)),
        worst=tuple(_worst_token(pair, floor, int(position)) for position in worst),
    )


def worst_positions(
    pair: Pair, mask: npt.NDArray[np.bool_], count: int
) -> npt.NDArray[np.int64]:
    """Flat positions of the ``count`` largest |delta| under ``mask``, ties by position;
    never one of 0.
    """
    size = np.where(mask, np.abs(pair.delta), np.float32(0))
    positions = np.flatnonzero(size >= _border(size, count))
    positions = positions[size[positions] > 0]
    order: npt.NDArray[np.int64] = positions[np.lexsort((positions, -size[positions]))][
        :count
    ]
    return order


def _border(size: npt.NDArray[np.float32], count: int) -> np.float32:
    """The count-th largest: ties at it are settled by position."""
    if count >= len(size):
        return np.float32(0)
    at = len(size) - count
    border: np.float32 = np.partition(size, at)[at]
    return border


def _worst_token(pair: Pair, floor: Floor | None, at: int) -> WorstToken:
    sequence = pair.sequence_of(at)
    start, stop = pair.sequences.bounds(sequence)
    ids = pair.sequences.token_ids
    text = pair.session.pieces.text
    before = ids[max(start, at - CONTEXT) : at]
    after = ids[at + 1 : min(stop, at + 1 + CONTEXT)]
    delta = float(pair.delta[at])
    return WorstToken(
        sequence=sequence,
        position=at - start,
        token_id=int(ids[at]),
        piece=text(int(ids[at])),
        delta=delta,
        times_floor=times_floor(delta, floor),
        logprob_a=float(pair.logprob_a[at]),
        logprob_b=float(pair.logprob_b[at]),
        rank_a=_rank(pair.a.rank.rows(at, at + 1)),
        rank_b=_rank(pair.b.rank.rows(at, at + 1)),
        before="".join(text(int(token)) for token in before),
        after="".join(text(int(token)) for token in after),
    )


def _rank(row: npt.NDArray[np.int32]) -> int | None:
    return int(row[0]) or None
