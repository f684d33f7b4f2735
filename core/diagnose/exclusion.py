"""What observed or told facts exclude: numbers that look like a temperature of 1 or a
top-p of 1 do not come from it.
"""

from __future__ import annotations

from logdrift.core.diagnose.case import Case
from logdrift.core.plan import SamplingSpec


def truncation_possible(case: Case, side: int) -> bool:
    """Whether side 0 or 1 may give log-probabilities after top-p, top-k or min-p, as
    far as its facts and the plan tell.
    """
    if _meaning(case, side) == "raw":
        return False
    top_p, top_k, min_p = _truncation(case, side)
    if None in (top_p, top_k, min_p):
        return True
    return not (top_p == 1 and top_k in (0, -1) and min_p == 0)


def penalty_possible(case: Case, side: int) -> bool:
    """Whether side 0 or 1 may give log-probabilities after penalties."""
    if _meaning(case, side) == "raw":
        return False
    sampling = _sampling(case, side)
    return sampling is None or sampling.repetition_penalty != 1


def temperature_possible(case: Case) -> bool:
    """Whether the sides may give log-probabilities at different temperatures."""
    known = [_temperature(case, side) for side in (0, 1)]
    return None in known or known[0] != known[1]


def temperature_told(case: Case) -> bool:
    """Both sides' temperatures are known, so nothing is left to look for."""
    return None not in [_temperature(case, side) for side in (0, 1)]


def truncation_told(case: Case) -> bool:
    """Both sides are known to truncate nothing."""
    return not any(truncation_possible(case, side) for side in (0, 1))


def _meaning(case: Case, side: int) -> str | None:
    info, facts = case.infos[side], case.facts[side]
    if info.path == "prefill":
        return facts.prefill_logprobs
    return facts.decode_logprobs


def _temperature(case: Case, side: int) -> float | None:
    """The temperature that the numbers of a side are of; None where nothing tells."""
    meaning = _meaning(case, side)
    if meaning == "raw":
        return 1.0
    if meaning is None:
        return None
    return case.facts[side].temperature


def _sampling(case: Case, side: int) -> SamplingSpec | None:
    """How the session's completions were sampled, where this side sampled or scored
    with those settings.
    """
    plan = case.session.plan
    return (
        plan.sampling
        if plan is not None and case.infos[side].path != "recorded"
        else None
    )


def _truncation(case: Case, side: int) -> tuple[float | None, int | None, float | None]:
    """top_p, top_k and min_p as told for this side, else as the session's plan has
    them; None where nothing tells.
    """
    facts, sampling = case.facts[side], _sampling(case, side)
    if sampling is None:
        return facts.top_p, facts.top_k, facts.min_p
    return (
        sampling.top_p if facts.top_p is None else facts.top_p,
        sampling.top_k if facts.top_k is None else facts.top_k,
        sampling.min_p if facts.min_p is None else facts.min_p,
    )
