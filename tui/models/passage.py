"""One sequence as the token view shows it: its tokens, their levels, matches, marks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.flow import FragmentCache
from logdrift.tui.models.modes import Legend

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Passage:
    """The n tokens of one sequence. ``title`` and ``aside`` stand above them.

    ``levels`` i8[n] are as `logdrift.tui.models.modes` gives them, ``matched`` bool[n] the
    tokens of what was searched for, ``notes`` the tokens that the reader marked;
    ``greyed`` where levels mean nothing.
    """

    sequence: int
    title: str
    aside: str
    ids: npt.NDArray[np.int32]
    prompt: int
    levels: npt.NDArray[np.int8]
    fragments: FragmentCache
    legend: Legend | None = None
    matched: npt.NDArray[np.bool_] | None = None
    notes: frozenset[int] = field(default_factory=frozenset)
    greyed: bool = False


def passage_of(explorer: Explorer) -> Passage:
    """The sequence under the cursor."""
    sequences = explorer.session.sequences
    start, stop = explorer.bounds
    prompt = int(sequences.prompt_lengths[explorer.sequence])
    levels, aside = _levels(explorer, start, stop)
    marks = (mark.position for mark in explorer.state.marks)
    return Passage(
        sequence=explorer.sequence,
        title=f"Sequence {explorer.sequence} · {stop - start} tokens ({prompt} prompt)",
        aside=aside,
        ids=sequences.token_ids[start:stop],
        prompt=prompt,
        levels=levels,
        fragments=explorer.fragments,
        legend=explorer.legend(),
        matched=explorer.matched(start, stop),
        notes=frozenset(mark - start for mark in marks if start <= mark < stop),
        greyed=explorer.greyed,
    )


def _levels(
    explorer: Explorer, start: int, stop: int
) -> tuple[npt.NDArray[np.int8], str]:
    """The level of each token, and in words how many have one."""
    pair = explorer.pair
    if pair is None or explorer.sequence >= pair.count:
        return np.zeros(stop - start, np.int8), "no scores"
    if not (pair.scored | pair.broken)[start:stop].any():
        return np.zeros(stop - start, np.int8), "no scores"
    colours = explorer.levels
    levels = colours.of(start, stop)
    bound = colours.mode.step(colours.threshold)
    return levels, f"{np.count_nonzero(levels)} beyond {bound}"
