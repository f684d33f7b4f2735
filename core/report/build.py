"""Making the report of a session: its pairs measured, judged, and their worst
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

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
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.compare.published import PUBLISHED
from logdrift.core.report.contexts import (
    CONTEXT,
    context_around,
    text_between,
)
from logdrift.core.report.records import (
    PairReport,
    SessionReport,
    WorstToken,
)
from logdrift.core.report.strict_json import Json
from logdrift.core.report.usual import usual_range
from logdrift.core.session.reader import Capture, Session

if TYPE_CHECKING:
    from logdrift.core.report.why import WhyReport

Bools = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

WORST = 20
"""Tokens with the largest differences that a report lists for each pair."""


def build_report(
    session: Session,
    pairs: Sequence[PairLabels] | None = None,
    scope: Scope | None = None,
    limits: Sequence[Limit] = PUBLISHED,
    *,
    why: bool = False,
) -> Json:
    """The JSON of `report_on`, as `logdrift report --json` has it but for non-finite
    floats.
    """
    report = report_on(session, pairs, scope, limits, why=why)
    return report.to_json()


def report_on(
    session: Session,
    pairs: Sequence[PairLabels] | None = None,
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
    if scope is None:
        scope = default_scope(session.sequences)
    labels = pairs or list_pairs(session)
    splits = decompositions(session, scope)
    manifest = session.manifest
    sequences = session.sequences
    completion = completion_mask(sequences, len(sequences))
    completion_tokens = np.count_nonzero(completion)
    explained = _why(session, labels) if why else None
    reports = []
    for a, b in labels:
        pair = make_pair(session, a, b)
        report = report_on_pair(pair, scope, limits, splits)
        reports.append(report)
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
        completion_tokens=int(completion_tokens),
        retokenised=manifest.sequences.retokenised,
        captures=tuple(session.captures),
        pairs=tuple(reports),
        splits=tuple(splits),
        why=explained,
    )


def _why(session: Session, labels: Sequence[PairLabels]) -> WhyReport:
    # Imported here: a report without causes loads no module of the diagnosis.
    from logdrift.core.report.why import explain_session

    return explain_session(session, labels)


def with_pair_answer(session: Session, report: PairReport) -> PairReport:
    """The report with the answer of its pair: a few times the work of its numbers."""
    from logdrift.core.report.answers import answer_of_pair

    if report.answer is not None:
        return report
    a, b = report.labels
    pair = make_pair(session, a, b)
    answer = answer_of_pair(session, pair)
    return replace(report, answer=answer)


def with_answer(
    report: SessionReport, session: Session, main: PairLabels | None
) -> SessionReport:
    """``report`` with the answer of its ``main`` pair (None: of the first); the report
    itself stays as it is.
    """
    pair = report.main_pair(main)
    if pair is None:
        return report
    if main is not None and pair.labels != main:
        return report
    answered = with_pair_answer(session, pair)
    return report.with_pair(answered)


def report_pair(
    pair: Pair,
    scope: Scope,
    limits: Sequence[Limit] = PUBLISHED,
    splits: Sequence[Decomposition] | None = None,
) -> Json:
    """The JSON of `report_on_pair`: one entry of ``pairs``."""
    report = report_on_pair(pair, scope, limits, splits)
    return report.to_json()


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
    metrics = measured.metrics
    verdict = measured.gate.verdict
    judged = judge_limits(metrics, limits, verdict)
    mask = pair.scope_mask(scope)
    positions = worst_positions(pair, mask, WORST)
    floor = metrics.floor
    worst = [_worst_token(pair, floor, at) for at in positions.tolist()]
    return PairReport(
        measured=measured,
        limits=tuple(judged),
        worst=tuple(worst),
        usual=usual_range(pair.a.info, pair.b.info),
    )


def worst_positions(pair: Pair, mask: Bools, count: int) -> Positions:
    """Flat positions, i64[<= count], of the largest |delta| under ``mask`` (bool[T]).

    Largest first, ties by position; a token with delta 0 is never among them.
    """
    none = np.float32(0)
    every_size = np.abs(pair.delta)
    size = np.where(mask, every_size, none)
    least = _nth_largest(size, count)
    is_large = (size >= least) & (size > 0)
    positions = np.flatnonzero(is_large)
    largest_first = -size[positions]
    order = np.lexsort((positions, largest_first))
    largest: Positions = positions[order[:count]]
    return largest


def _nth_largest(size: Singles, n: int) -> np.float32:
    """The ``n``-th largest of the sizes; 0 where there are not more than ``n``."""
    place = len(size) - n
    if place <= 0:
        return np.float32(0)
    partitioned = np.partition(size, place)
    nth: np.float32 = partitioned[place]
    return nth


def _worst_token(pair: Pair, floor: Floor | None, at: int) -> WorstToken:
    sequence = pair.sequence_of(at)
    start, stop = pair.sequences.bounds(sequence)
    first = max(start, at - CONTEXT)
    end = min(stop, at + 1 + CONTEXT)
    token_id = int(pair.sequences.token_ids[at])
    delta = float(pair.delta[at])
    return WorstToken(
        sequence=sequence,
        position=at - start,
        token_id=token_id,
        piece=pair.session.pieces.text(token_id),
        delta=delta,
        times_floor=times_floor(delta, floor),
        logprob_a=float(pair.logprob_a[at]),
        logprob_b=float(pair.logprob_b[at]),
        rank_a=_rank(pair.a, at),
        rank_b=_rank(pair.b, at),
        before=text_between(pair, first, at),
        after=text_between(pair, at + 1, end),
        context=context_around(pair, at),
    )


def _rank(capture: Capture, at: int) -> int | None:
    """The rank of a token, from 1; None where the capture has none (stored as 0)."""
    ranks = capture.rank.rows(at, at + 1)
    return int(ranks[0]) or None
