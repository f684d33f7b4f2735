"""What the explorer's header shows: session, pair, numbers, progress. The answer stands
below it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from logdrift.core.session.visible import visible
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.pairs import PairView

_PROBLEMS = 3
"""Lines of problems at most: the text below them has to be seen."""


class Heading(NamedTuple):
    """The contents of the header.

    ``running`` is the share captured so far, None when nothing is being written.
    ``k3`` is in nats, ``ess`` between 0 and 1.
    """

    name: str
    sequences: int
    tokens: int
    pair: tuple[str, str] | None = None
    refused: bool = False
    """Whether the gate refuses the pair, so that its numbers mean nothing."""
    infinite: int = 0
    running: float | None = None
    state: str = "complete"
    problems: tuple[str, ...] = ()
    k3: float | None = None
    ess: float | None = None
    measured: bool = False
    """Whether k3 and ess are known: None then means that there is no such number."""
    left: str = ""
    """How long the running capture will take, where that can be said."""
    broken: int = 0
    """Tokens that are NaN on a side."""


def heading_of(explorer: Explorer) -> Heading:
    """The heading now."""
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
    numbers = explorer.numbers
    if numbers is not None:
        heading = heading._replace(k3=numbers.k3, ess=numbers.ess, measured=True)
    return heading


def _with_judgement(heading: Heading, view: PairView) -> Heading:
    """The heading with what is known of the pair's numbers."""
    if view.gate is not None:
        broken = np.count_nonzero(view.pair.broken)
        refused = not view.comparable
        heading = heading._replace(refused=refused, broken=int(broken))
    if view.stats is not None:
        infinite = view.stats.infinite or 0
        heading = heading._replace(infinite=infinite)
    return heading


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
