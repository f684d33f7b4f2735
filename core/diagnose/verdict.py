"""The one sentence that answers *why*: a cause and how sure, rounding, or that it
cannot be told and what to give next.
"""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.diagnose.answer import next_step, refuted_of
from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import LIKELY, Ranked, Unchecked
from logdrift.core.diagnose.exclusion import temperature_told
from logdrift.core.diagnose.noise import are_equal, judge_size
from logdrift.core.diagnose.signatures import broken
from logdrift.core.diagnose.support import TOKENS
from logdrift.core.numbers import counted

_NAMED = 3
"""Causes that remain possible and are named."""


def verdict_of(
    whole: Case, case: Case, causes: Sequence[Ranked], missing: Sequence[Unchecked]
) -> str:
    """The verdict on a pair: ``whole`` with all its tokens, ``case`` without those that
    a fault of recording explains; with what experiments refuted at its end.
    """
    refuted = refuted_of(causes)
    if refuted:
        more = f" Refuted: {'; '.join(refuted)}."
    else:
        more = ""
    return _without_refuted(whole, case, causes, missing) + more


def _without_refuted(
    whole: Case, case: Case, causes: Sequence[Ranked], missing: Sequence[Unchecked]
) -> str:
    if causes and causes[0].cause == broken.OVERFLOW:
        return broken.verdict_of(whole)
    if not len(whole.view.at):
        return "no token has a finite score on both sides: there is nothing to explain."
    first = causes[0] if causes else None
    if first is not None and first.score >= LIKELY:
        if first.cause == NOISE:
            return _rounding(first, whole, case)
        return _cause(first, whole, case)
    tokens = len(whole.view.at)
    if tokens < TOKENS.likely:
        return (
            f"too few tokens to tell: {counted(tokens, 'token')} on both sides, and"
            f" {TOKENS.likely} are needed to call a cause likely: capture more tokens."
        )
    return _cannot_be_told(case, causes, missing)


def _rounding(first: Ranked, whole: Case, case: Case) -> str:
    sentence = judge_size(case).sentence
    mae = case.view.mae
    limit = ""
    if mae > 0:
        limit = (
            " A fault that moves log-probabilities by less than this gap, about"
            f" {mae:.2g} nats, would be hidden in it."
        )
    gaps = broken.gaps(whole)
    if not gaps:
        proof = _proven(first)
        return f"{first.title}{proof}: {sentence}{limit}"
    sentences = [f"{gap.why}: {gap.fix}." for gap in gaps]
    holes = " ".join(sentences)
    kind = "numerical noise"
    if are_equal(case):
        kind = "equal bit for bit"
    return f"{kind} in the tokens that both sides scored: {sentence}{limit} {holes}"


def _cause(first: Ranked, whole: Case, case: Case) -> str:
    doubt = ""
    if not first.separable:
        doubt = f"; it cannot be told from others by numbers alone: {first.otherwise}"
    elif first.cause == "temperature" and not temperature_told(case):
        doubt = f"; {first.otherwise}"
    left = ""
    remaining = len(case.view.at)
    removed = len(whole.view.at) - remaining
    if removed and remaining:
        tokens = counted(removed, "token")
        left = f" Without those {tokens} the MAE is {case.view.mae:.2g}."
    proof = _proven(first)
    return f"{first.sureness}: {first.title}{proof}{doubt}.{left}"


def _proven(first: Ranked) -> str:
    """What an experiment or an identity check has shown of the cause, as a clause;
    empty where neither was made.
    """
    if first.shown == "proven":
        return f", proven: {first.proof}"
    for piece in first.evidence:
        if piece.signature == "identity" and piece.score >= LIKELY:
            sentence = piece.sentence.rstrip(".")
            return f", proven: {sentence}"
    return ""


def _cannot_be_told(
    case: Case, causes: Sequence[Ranked], missing: Sequence[Unchecked]
) -> str:
    size = judge_size(case)
    possible = [ranked.title for ranked in causes if ranked.cause != NOISE]
    remains = " No cause fits."
    if possible:
        first_of_them = _either(possible[:_NAMED])
        remains = f" Possible: {first_of_them}."
    step = next_step(causes, missing)
    if step:
        step = f" Do next: {step}."
    return f"cannot be told from this: {size.sentence}{remains}{step}"


def _either(names: Sequence[str]) -> str:
    *first_names, last = names
    if not first_names:
        return last
    return f"{', '.join(first_names)} or {last}"
