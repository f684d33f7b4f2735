"""What the explorer's header shows: session, pair, verdict, numbers, progress."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from logdrift.core.session.visible import visible
from logdrift.tui.models.answer import AnswerLine
from logdrift.tui.models.explorer import Explorer

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
    view = explorer.view
    numbers = explorer.numbers
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
    if view is not None and view.gate is not None:
        broken = np.count_nonzero(view.pair.broken)
        verdict = view.gate.verdict
        heading = heading._replace(verdict=verdict, broken=int(broken))
    if with_reason:
        heading = heading._replace(reason=_reason(explorer))
    if view is not None and view.stats is not None:
        infinite = view.stats.infinite or 0
        heading = heading._replace(mae=view.stats.mae, infinite=infinite)
    if numbers is not None:
        heading = heading._replace(
            k3=numbers.k3, ess=numbers.ess, floor=numbers.floor, measured=True
        )
    return heading


def refusal_of(explorer: Explorer) -> AnswerLine | None:
    """The gate's reason, shown until the answer of a refused pair is worked out.

    None where the gate does not refuse the pair.
    """
    reason = _reason(explorer)
    if reason is None or explorer.labels is None:
        return None
    return AnswerLine(
        labels=explorer.labels,
        sentence=f"not comparable: {reason.rstrip('.')}.",
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
            problems.append(visible(f"✗ {info.label} failed: {reason}  (L: log)"))
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
