"""What observed or told facts exclude: where both sides gave raw log-probabilities, no
temperature, truncation or penalty explains a gap.
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
    a = _temperature(case, 0)
    b = _temperature(case, 1)
    return a is None or b is None or a != b


def temperature_told(case: Case) -> bool:
    """Both sides' temperatures are known, so nothing is left to look for."""
    return None not in [_temperature(case, side) for side in (0, 1)]


def truncation_told(case: Case) -> bool:
    """Both sides are known to truncate nothing."""
    return not any(truncation_possible(case, side) for side in (0, 1))


def _meaning(case: Case, side: int) -> str | None:
    info = case.infos[side]
    facts = case.facts[side]
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
    return case.session.sampling_of(case.infos[side])


def _truncation(case: Case, side: int) -> tuple[float | None, int | None, float | None]:
    """top_p, top_k and min_p as told for this side, else as the session's plan has
    them; None where nothing tells.
    """
    facts = case.facts[side]
    sampling = _sampling(case, side)
    top_p = facts.top_p
    top_k = facts.top_k
    min_p = facts.min_p
    if sampling is not None:
        if top_p is None:
            top_p = sampling.top_p
        if top_k is None:
            top_k = sampling.top_k
        if min_p is None:
            min_p = sampling.min_p
    return top_p, top_k, min_p
