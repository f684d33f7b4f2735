"""What the explorer's header shows: session, pair, verdict, numbers, progress."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from logdrift.core.session.visible import visible
from logdrift.tui.models.answer import AnswerLine
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.pairs import PairView

_PROBLEMS = 3
"""Lines of problems at most: the text below them has to be seen."""


class Heading(NamedTuple):
    """The contents of the header.

    ``running`` is the share captured so far, None when nothing is being written.
    ``mae``, ``k3`` and ``floor`` are in nats, ``ess`` is between 0 and 1.
    """

    name: str
    sequences: int
    tokens: int
    pair: tuple[str, str] | None = None
    verdict: str | None = None
    reason: str | None = None
    mae: float | None = None
    infinite: int = 0
    running: float | None = None
    state: str = "complete"
    problems: tuple[str, ...] = ()
    k3: float | None = None
    ess: float | None = None
    floor: float | None = None
    measured: bool = False
    """Whether k3, ess and floor are known: None then means that there is no such
    number.
    """
    left: str = ""
    """How long the running capture will take, where that can be said."""
    broken: int = 0
    """Tokens that are NaN on a side."""


def heading_of(explorer: Explorer, *, with_reason: bool) -> Heading:
    """The heading now; ``with_reason``: why the gate refuses the pair is part of it."""
    sequences = explorer.session.sequences
    heading = Heading(
        name=visible(explorer.session.name),
        sequences=len(sequences),
        tokens=sequences.tokens,
        pair=explorer.labels,
        running=_share(explorer),
        state=explorer.progress,
        left=_time_left(explorer),
        problems=_problems(explorer),
    )
    if explorer.view is not None:
        heading = _with_judgement(heading, explorer.view)
    if with_reason:
        reason = _reason(explorer)
        heading = heading._replace(reason=reason)
    numbers = explorer.numbers
    if numbers is not None:
        heading = heading._replace(
            k3=numbers.k3, ess=numbers.ess, floor=numbers.floor, measured=True
        )
    return heading


def _with_judgement(heading: Heading, view: PairView) -> Heading:
    """The heading with the verdict and the statistics of the pair, if known."""
    if view.gate is not None:
        verdict = view.gate.verdict
        broken = np.count_nonzero(view.pair.broken)
        heading = heading._replace(verdict=verdict, broken=int(broken))
    if view.stats is not None:
        stats = view.stats
        infinite = stats.infinite or 0
        heading = heading._replace(mae=stats.mae, infinite=infinite)
    return heading


def refusal_of(explorer: Explorer) -> AnswerLine | None:
    """The gate's reason, shown until the answer of a refused pair is worked out.

    None where the gate does not refuse the pair.
    """
    labels = explorer.labels
    reason = _reason(explorer)
    if reason is None or labels is None:
        return None
    words = reason.rstrip(".")
    return AnswerLine(
        labels=labels,
        sentence=f"not comparable: {words}.",
        meaning="bad",
        says_more=False,
    )


def _reason(explorer: Explorer) -> str | None:
    """The first reason of a gate that refuses the pair."""
    view = explorer.view
    if view is None:
        return None
    gate = view.gate
    if gate is None or gate.verdict != "not_comparable":
        return None
    return visible(gate.reasons[0].text)


def _problems(explorer: Explorer) -> tuple[str, ...]:
    """Why another pair is shown, and which captures failed."""
    problems: list[str] = []
    if explorer.problem:
        problems.append(explorer.problem)
    for info in explorer.session.captures:
        if info.status == "failed":
            lines = info.failure_lines or ["no reason given"]
            reason = lines[-1]
            words = f"✗ {info.label} failed: {reason}  (L: log)"
            problems.append(visible(words))
    return tuple(problems[:_PROBLEMS])


def _share(explorer: Explorer) -> float | None:
    """The share of the capture that is done, 0 to 1."""
    if explorer.progress == "complete":
        return 1.0
    if explorer.live is not None:
        return explorer.live.share
    from logdrift.core.session.progress import progress

    return progress(explorer.session)


def _time_left(explorer: Explorer) -> str:
    live = explorer.live
    if explorer.progress == "complete" or live is None or live.left is None:
        return ""
    from logdrift.core.numbers import duration

    return duration(live.left)
