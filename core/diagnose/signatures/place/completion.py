"""Prompts agree and generated tokens do not: the path of decoding."""

from __future__ import annotations

from collections.abc import Iterator

from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.needs import LONG
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.place.measures import median, ratio

_LARGER = Ramp(starts=4, full=20)
"""Median |delta| of completions over that of prompts. By judgement."""
_TWO_PATHS = 0.7
_ONE_PATH = 0.1
"""The largest score. Where both sides took one path a prompt is only earlier text:
growth and onsets say that better. By judgement.
"""
_LEAST = 0.02


def completion(case: Case) -> Iterator[Evidence]:
    """Prompts agree and generated tokens do not: the path of decoding, or what only a
    sampler does.
    """
    view = case.view
    inside = view.in_completion
    if min(inside.sum(), (~inside).sum()) < LONG:
        return
    prompt = median(view.size[~inside])
    generated = median(view.size[inside])
    one_path = case.infos[0].path == case.infos[1].path
    most = _ONE_PATH if one_path else _TWO_PATHS
    score = most * _LARGER.score(ratio(generated, prompt))
    if score <= _LEAST:
        return
    yield Evidence(
        cause="decode_path",
        score=score,
        signature="completion",
        sentence=(
            f"generated tokens differ by {generated:.2g} nats (median), prompts by"
            f" {prompt:.2g}: decode steps against one pass."
        ),
        numbers={"prompt": prompt, "completion": generated},
        positions=worst(case, inside),
    )
