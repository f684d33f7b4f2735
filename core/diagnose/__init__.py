"""Why two captures differ: causes ranked by evidence from the captured tokens and facts, without another run.

Pure functions over NumPy arrays, like `core.compare`: no I/O, no engine. docs/why.md explains every signature.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.compare.pair import Pair
from core.diagnose.case import Case
from core.diagnose.causes import NOISE
from core.diagnose.evidence import Diagnosis, Evidence, Ranked, Unchecked
from core.diagnose.identity import without_doubts
from core.diagnose.knobs import state_of
from core.diagnose.noise import judge_size
from core.diagnose.rank import discounted, ranked
from core.diagnose.signatures import SIGNATURES, broken
from core.diagnose.signatures.facts import facts
from core.diagnose.signatures.size import size as size_evidence
from core.diagnose.unchecked import unchecked
from core.session.reader import Session

__all__ = ["Diagnosis", "Evidence", "Ranked", "Unchecked", "diagnose"]


def diagnose(session: Session, pair: Pair, more: Iterable[Evidence] = ()) -> Diagnosis:
    """Rank the causes of the gap between the two captures of ``pair``, over all tokens that both scored.

    ``more`` is evidence from elsewhere, of the signatures ``identity`` (weights as loaded) or ``experiment``; it is
    weighed with the rest. Nothing is read but the session's arrays and facts.
    """
    case = Case(session, pair)
    # Equal numbers have no shape, and missing ones none either: then the facts alone speak.
    differ = case.view.mae > 0 or (case.view.impossible and len(case.view.at))
    signatures = SIGNATURES if differ else ((size_evidence,) if len(case.view.at) else (facts,))
    known = tuple(more)
    nan = tuple(broken.nan(case))
    if nan and not len(case.view.at):
        signatures = ()  # the facts differ as they may, and there is no gap that they could explain
    evidence = [*nan, *known, *(each for signature in signatures for each in signature(case))]
    evidence = without_doubts(known, evidence)
    causes = ranked(
        discounted(evidence), (state_of(session, "a", case.infos[0]), state_of(session, "b", case.infos[1]))
    )
    if nan:
        causes = broken.put_first(case, causes)
    size = judge_size(case)
    noise = bool(causes) and causes[0].cause == NOISE
    return Diagnosis(
        a=case.labels[0],
        b=case.labels[1],
        tokens=len(case.view.at),
        verdict=_verdict(case, causes, size.sentence),
        noise=noise,
        causes=causes,
        unchecked=(*broken.gaps(case), *unchecked(case, known)),
        checked=tuple(each for each in known if each.signature == "identity" and each.score == 0),
        size={
            "mae": case.view.mae if len(case.view.at) else None,
            "dtype": size.dtype,
            "limit": size.limit,
            "suspect": size.suspect,
            "kind": size.verdict,
        },
    )


def _verdict(case: Case, causes: tuple[Ranked, ...], sentence: str) -> str:
    if causes and causes[0].cause == broken.OVERFLOW:
        return broken.verdict_of(case)
    if not len(case.view.at):
        return "no token has a finite score on both sides: there is nothing to explain."
    if not causes:
        return f"no cause fits: {sentence}"
    first = causes[0]
    if first.cause == NOISE:
        mae = case.view.mae
        limit = f" What moves less than about {mae:.2g} nats would not show." if mae > 0 else ""
        if broken.gaps(case):
            return f"numerical noise in the tokens that both sides scored: {sentence}{limit} {_gaps(case)}"
        return f"numerical noise, nothing to fix: {sentence}{limit}"
    shared = "" if first.separable else f"; numbers alone do not tell it from others: {first.otherwise}"
    return f"{first.sureness}: {first.title}{shared}."


def _gaps(case: Case) -> str:
    return " ".join(f"{gap.why}: {gap.mend}." for gap in broken.gaps(case))
