"""Why two captures differ: causes ranked by evidence from the captured tokens and
facts, without another run.

Pure functions over NumPy arrays, like `logdrift.core.compare`: no I/O, no engine.
docs/why.md explains every signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.answer import Answer, answer_of
from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.diagnosis import Diagnosis
from logdrift.core.diagnose.discount import discounted
from logdrift.core.diagnose.evidence import (
    LIKELY,
    Evidence,
    Number,
    Ranked,
    Unchecked,
)
from logdrift.core.diagnose.identity import was_checked, without_doubts
from logdrift.core.diagnose.knobs import state_of
from logdrift.core.diagnose.noise import judge_size, noise_title
from logdrift.core.diagnose.rank import ranked
from logdrift.core.diagnose.signatures import FACTS, IDENTICAL, broken, judged
from logdrift.core.diagnose.signatures.recording import (
    RecordingFault,
    recording_faults,
)
from logdrift.core.diagnose.support import TOKENS
from logdrift.core.diagnose.unchecked import unchecked
from logdrift.core.diagnose.verdict import verdict_of
from logdrift.core.session.reader import Session

__all__ = ["Answer", "Diagnosis", "Evidence", "Ranked", "Unchecked", "diagnose"]


def diagnose(session: Session, pair: Pair, more: Iterable[Evidence] = ()) -> Diagnosis:
    """Rank the causes of the gap between the two captures of ``pair``, over all tokens
    that both scored.

    ``more`` is evidence from elsewhere, of the signatures ``identity`` (weights as
    loaded) or ``experiment``; it is weighed with the rest. Nothing is read but the
    session's arrays and facts.
    """
    whole = Case(session, pair)
    elsewhere = tuple(more)
    nan = tuple(broken.nan(whole))
    faults = recording_faults(whole)
    case = _without_faults(whole, faults)
    measured, lacking = _measured(case)
    tokens = len(whole.view.at)
    only_nan = bool(nan) and not tokens
    evidence = [
        *nan,
        *elsewhere,
        *(fault.evidence for fault in faults),
        *_observed(case, only_nan=only_nan),
        *measured,
    ]
    causes = _titled(case, _ranked(whole, without_doubts(elsewhere, evidence)))
    if nan:
        causes = broken.put_first(whole, causes)
    missing = (*broken.gaps(whole), *unchecked(case, lacking, elsewhere))
    label_a, label_b = case.labels
    paths = [info.path for info in case.infos]
    return Diagnosis(
        answer=answer_of(whole, whole.gate, causes, missing),
        a=label_a,
        b=label_b,
        tokens=tokens,
        verdict=verdict_of(whole, case, causes, missing),
        noise=_is_noise(causes),
        causes=causes,
        imported="recorded" in paths,
        unchecked=missing,
        size=_size(whole, case),
        checked=tuple(filter(was_checked, elsewhere)),
    )


def _titled(case: Case, causes: Iterable[Ranked]) -> tuple[Ranked, ...]:
    """The causes; noise is no entry of their table, and is called by its size."""
    title = noise_title(case)
    return tuple(
        replace(cause, title=title) if cause.cause == NOISE else cause
        for cause in causes
    )


def _is_noise(causes: Sequence[Ranked]) -> bool:
    """Whether noise is the likeliest cause, and likely."""
    if not causes:
        return False
    first = causes[0]
    return first.cause == NOISE and first.score >= LIKELY


def _without_faults(whole: Case, faults: Sequence[RecordingFault]) -> Case:
    """The case without the tokens that faults of recording likely explain."""
    explained = [fault.at for fault in faults if fault.evidence.score >= LIKELY]
    if explained:
        return whole.without(np.concatenate(explained))
    return whole


def _observed(case: Case, *, only_nan: bool) -> Iterator[Evidence]:
    """What the gate found in the facts. Where every number is NaN the facts differ as
    they may, and there is no gap that they could explain.
    """
    if only_nan:
        return iter(())
    return FACTS(case)


def _measured(case: Case) -> tuple[list[Evidence], list[Unchecked]]:
    """What the numbers say, and what could not be asked of them. Equal numbers have no
    shape, and missing ones none either.
    """
    view = case.view
    if not len(view.at):
        return [], []
    if view.mae > 0 or view.impossible:
        return judged(case)
    identical = list(IDENTICAL.evidence(case))
    return identical, []


def _ranked(whole: Case, evidence: Iterable[Evidence]) -> tuple[Ranked, ...]:
    """The causes by what is left of the evidence."""
    info_a, info_b = whole.infos
    sides = (
        state_of(whole.session, "a", info_a),
        state_of(whole.session, "b", info_b),
    )
    tokens = len(whole.view.at)
    ceiling = TOKENS.ceiling(tokens)
    return ranked(discounted(evidence), sides, ceiling)


def _size(whole: Case, case: Case) -> dict[str, Number]:
    """The numbers that the size of the gap was judged by, for `Diagnosis.size`."""
    size = judge_size(case)
    mae = None
    if len(whole.view.at):
        mae = whole.view.mae
    return {
        "mae": mae,
        "dtype": size.dtype,
        "limit": size.limit,
        "suspect": size.suspect,
        "kind": size.verdict,
        "left_tokens": len(case.view.at),
        "left_mae": case.view.mae,
    }
