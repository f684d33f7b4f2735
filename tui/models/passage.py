"""One sequence as the token view shows it: its tokens, their levels, matches, marks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import counted
from logdrift.core.session.visible import visible
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.flow import FragmentCache
from logdrift.tui.models.modes import Legend

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.session.retokenised import RetokenisedPlace


def no_passage() -> None:
    """Nothing follows."""


@dataclass(eq=False, repr=False)
class Passage:
    """The n tokens of one sequence. ``title`` and ``aside`` stand above them.

    ``ids`` i32[n] are the tokens; the first ``prompt`` of them are the prompt.
    ``levels`` i8[n] are those of `logdrift.tui.models.modes`. ``matched`` bool[n] marks
    the tokens of what was searched for, ``notes`` holds the indices of the tokens that
    the reader marked. ``greyed``: the pair cannot be compared, its levels mean nothing.
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
    masked: npt.NDArray[np.bool_] | None = None
    """The tokens that do not count, None where all do."""
    boundaries: bool = True
    """Whether tokens within a word are told apart."""
    changes: frozenset[int] = frozenset()
    """The indices of the tokens that were sampled with other weights than the one
    before.
    """
    unlike: int | None = None
    """The index of the first token that the text of the sequence gives another id."""
    following: Callable[[], Passage | None] = no_passage
    """The next listed sequence, made when it is asked for."""


def passage_of(explorer: Explorer, sequence: int | None = None) -> Passage:
    """A sequence; without a number the one under the cursor."""
    sequences = explorer.session.sequences
    if sequence is None:
        sequence = explorer.sequence
    start, stop = sequences.bounds(sequence)
    count = stop - start
    prompt = int(sequences.prompt_lengths[sequence])
    levels, aside = _levels(explorer, start, stop)
    masked = sequences.mask[start:stop] == 0
    notes: set[int] = set()
    for mark in explorer.state.marks:
        if start <= mark.position < stop:
            notes.add(mark.position - start)
    versions = _versions(explorer, start, stop)
    title = _title(sequence, count, prompt, int(np.count_nonzero(masked)))
    unlike = _unlike(explorer, sequence)
    if unlike is not None:
        title += f" · ≠ its text's ids ({unlike.kind})"
    return Passage(
        sequence=sequence,
        title=title + versions.words,
        aside=aside,
        ids=sequences.token_ids[start:stop],
        prompt=prompt,
        levels=levels,
        fragments=explorer.fragments,
        legend=explorer.legend(),
        matched=explorer.found.covered(start, stop),
        notes=frozenset(notes),
        greyed=explorer.greyed,
        masked=masked if masked.any() else None,
        boundaries=explorer.state.boundaries,
        changes=versions.changes,
        unlike=None if unlike is None else unlike.index,
        following=partial(_following, explorer, sequence),
    )


def _following(explorer: Explorer, sequence: int) -> Passage | None:
    """The sequence listed behind this one, None for the last."""
    following = explorer.listing.neighbour(sequence, 1)
    if following is None or following == sequence:
        return None
    return passage_of(explorer, following)


def _unlike(explorer: Explorer, sequence: int) -> RetokenisedPlace | None:
    """Where the ids of a sequence are first other ones than its text gives."""
    known = explorer.session.manifest.sequences.retokenised
    if known is None:
        return None
    for place in known.places:
        if place.sequence == sequence:
            return place
    return None


class _Versions(NamedTuple):
    """Where the weights of a sequence change, and which ones it was sampled with."""

    changes: frozenset[int] = frozenset()
    words: str = ""


def _versions(explorer: Explorer, start: int, stop: int) -> _Versions:
    pair = explorer.pair
    if pair is None or pair.versions is None or start >= pair.tokens:
        return _Versions()
    from logdrift.core.compare.versions import names_in, version_changes

    of_token = pair.versions.of_token
    names = names_in(pair.versions, start, stop)
    if not names:
        return _Versions()
    return _Versions(
        changes=frozenset(version_changes(of_token, start, stop)),
        words=f" · weights {visible(', '.join(names))}",
    )


def _title(sequence: int, count: int, prompt: int, masked: int) -> str:
    """The number of a sequence, and how many tokens of which kind it has."""
    tokens = counted(count, "token")
    kinds = f"{prompt:,} prompt"
    if masked:
        kinds += f", {masked:,} masked"
    return f"Sequence {sequence} · {tokens} ({kinds})"


def _levels(
    explorer: Explorer, start: int, stop: int
) -> tuple[npt.NDArray[np.int8], str]:
    """The level of each token, and in words how many have one."""
    pair = explorer.pair
    has_scores = pair is not None and _has_scores(pair, start, stop)
    if not has_scores:
        count = stop - start
        no_levels = np.zeros(count, np.int8)
        return no_levels, "no scores"
    colours = explorer.levels
    levels = colours.of(start, stop)
    if colours.mode.classes is not None:
        return levels, ""
    beyond = np.count_nonzero(levels)
    bound = colours.mode.bound_text(colours.threshold)
    return levels, f"{beyond:,} beyond {bound}"


def _has_scores(pair: Pair, start: int, stop: int) -> bool:
    """Whether a token from ``start`` to ``stop`` has scores, be they NaN."""
    if start >= pair.tokens:
        return False
    scored = pair.scored[start:stop]
    broken = pair.broken[start:stop]
    has_scores = scored | broken
    return bool(has_scores.any())
