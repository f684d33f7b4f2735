"""From one position on in all sequences: a sliding window, or a chunk's boundary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.fits import standard_ranks
from logdrift.core.diagnose.needs import LONG
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.place.measures import (
    LARGE_JUMP,
    Array,
    Bools,
    jumps,
    median,
    order,
    ratio,
)

_LOUDER = Ramp(starts=3, full=10)
"""How many times as large |delta| is just behind the step as just before. By
judgement.
"""
_RANKS = Ramp(starts=5, full=12)
"""The largest two-sample statistic of ranks over all positions, in its standard errors:
the largest of hundreds of positions exceeds 3 by chance, 5 hardly. By judgement.
"""
_STAYS = Ramp(starts=0.1, full=0.4)
"""|delta| of the last third behind the step over that just behind it. By judgement."""
_SHARED = Ramp(starts=0.5, full=0.9)
"""Share of the sequences that jump by `LARGE_JUMP` within `_NEAR` tokens of the step.
By judgement.
"""
_NEAR = 2
_AROUND = 12
"""Tokens on each side whose medians are compared."""
_SEARCHED = 16
"""Tokens on each side of the best split in which the sharpest place is looked for."""
_WINDOW = 8
_FEWEST = 4
"""`_sharpest` compares `_WINDOW` positions on each side, if each has so many tokens."""
_CHUNKS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
"""Sizes of chunks that engines take by default or by a round number."""
_MOST = 0.97
_LEAST = 0.02
"""The largest score, and the smallest that is worth saying. By judgement."""


@dataclass(frozen=True, eq=False)
class _Step:
    """A step at ``position``: ``z`` is the statistic of ranks, ``before`` and
    ``behind`` are medians of |delta| in nats, ``late`` that of the last third behind
    it; ``sequences`` reach it, ``share`` of them jump there. ``beyond`` bool[n]: the
    tokens from it on.
    """

    position: int
    z: float
    before: float
    behind: float
    late: float
    sequences: int
    share: float
    beyond: Bools

    @property
    def score(self) -> float:
        """How much it looks like a step, 0 to 1."""
        jump = ratio(self.behind, self.before)
        louder = _LOUDER.score(jump)
        z = self.z if np.isfinite(self.z) else 0.0
        ranks = _RANKS.score(z)
        lasting = ratio(self.late, self.behind)
        stays = _STAYS.score(lasting)
        shared = _SHARED.score(self.share)
        return _MOST * louder * ranks * stays * shared


def step(case: Case) -> Iterator[Evidence]:
    """From one position on in all sequences that reach it: a sliding window, or a
    boundary between chunks.

    The largest two-sample statistic of the ranks of |delta| over all split positions; a
    step must also be sharp: the tokens just behind it against those just before.
    """
    sharpest = _step(case)
    if sharpest is None or sharpest.score <= _LEAST:
        return
    code, kind = _meaning(case, sharpest.position)
    yield Evidence(
        cause=code,
        score=sharpest.score,
        signature="step",
        sentence=(
            f"the gap begins at token {sharpest.position} of every sequence that is"
            f" long enough ({sharpest.sequences:,}): {sharpest.before:.2g} nats just"
            f" before, {sharpest.behind:.2g} just behind, and it stays: {kind}."
        ),
        numbers={
            "position": sharpest.position,
            "before": sharpest.before,
            "behind": sharpest.behind,
            "z": sharpest.z,
            "sequences": sharpest.sequences,
            "kind": "window",
        },
        positions=worst(case, sharpest.beyond),
    )


def _step(case: Case) -> _Step | None:
    """The sharpest step; None where the sequences are too short for one."""
    view = case.view
    z = _statistic(case)
    if z is None:
        return None
    split = int(np.argmax(z))
    if not np.isfinite(z[split]):
        return None
    size = view.size
    position = _sharpest(view.position, size, split)
    beyond: Bools = view.position >= position
    rows = np.unique(view.sequence[beyond])
    from_step = view.position - position + 0.5
    around = np.abs(from_step) < _AROUND
    around &= np.isin(view.sequence, rows)
    late = _last_third(case, beyond)
    return _Step(
        position=position,
        z=float(z[position]),
        before=median(size[around & ~beyond]),
        behind=median(size[around & beyond]),
        late=median(size[late]),
        sequences=len(rows),
        share=_share_that_jumps(case, rows, position),
        beyond=beyond,
    )


def _statistic(case: Case) -> Array | None:
    """For each position the difference of mean standardised ranks of |delta| from there
    on and before, in its standard errors, f64[P]; -inf where a side has too few tokens.
    None for short sequences.
    """
    view = case.view
    last = int(view.position.max(initial=0))
    if last < 2 * LONG or len(view.at) < 4 * LONG:
        return None
    length = last + 1
    ranks = standard_ranks(view.size)
    total = np.bincount(view.position, ranks, length)
    number = np.bincount(view.position, minlength=length)
    after = _from_here_on(number)
    after_sum = _from_here_on(total)
    before = number.sum() - after
    before_sum = total.sum() - after_sum
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = after_sum / after - before_sum / before
        weight = after * before / number.sum()
        z = mean * np.sqrt(weight)
    fewest = LONG // 2
    too_few = (after < fewest) | (before < fewest) | (number == 0)
    statistic: Array = np.where(too_few, -np.inf, z)
    return statistic


def _from_here_on(values: Array) -> Array:
    """The sum of each value and all behind it, of the shape of ``values``."""
    sums: Array = np.cumsum(values[::-1])[::-1]
    return sums


def _share_that_jumps(case: Case, rows: Array, position: int) -> float:
    """Share of the sequences ``rows`` with a large jump near ``position``."""
    view = case.view
    near = np.abs(view.position - position) <= _NEAR
    jumps_near = jumps(case)[near]
    largest = np.full(case.pair.count, -np.inf)
    np.maximum.at(largest, view.sequence[near], jumps_near)
    if not len(rows):
        return 0.0
    jumped = largest[rows] > LARGE_JUMP
    return float(np.mean(jumped))


def _last_third(case: Case, beyond: Bools) -> Bools:
    """bool[n]: tokens of the last third of what each sequence has ``beyond``."""
    number, count = order(case)
    first = _first_beyond(case, number, beyond)
    third = (count - first) // 3
    last: Bools = beyond & (number >= count - third)
    return last


def _first_beyond(case: Case, number: Array, beyond: Bools) -> Array:
    """For each token the ``number`` of its sequence's first token ``beyond``, i64[n]; 0
    where there is none.
    """
    sequence = case.view.sequence
    none = np.iinfo(np.int64).max
    first = np.full(case.pair.count, none)
    np.minimum.at(first, sequence[beyond], number[beyond])
    first_or_0: Array = np.where(first == none, 0, first)[sequence]
    return first_or_0


def _sharpest(position: Array, size: Array, split: int) -> int:
    """The position near ``split`` at which the mean log of |delta| (``size`` f64[n])
    jumps most.
    """
    level = np.log(size + 1e-7)
    largest = -np.inf
    sharpest = split
    lowest = max(2, split - _SEARCHED)
    highest = split + _SEARCHED
    for at in range(lowest, highest + 1):
        from_here = position >= at
        just_before = (position >= at - _WINDOW) & ~from_here
        just_behind = from_here & (position < at + _WINDOW)
        below = level[just_before]
        above = level[just_behind]
        if min(len(below), len(above)) < _FEWEST:
            continue
        jump = float(above.mean() - below.mean())
        if jump > largest:
            largest = jump
            sharpest = at
    return sharpest


def _meaning(case: Case, position: int) -> tuple[str, str]:
    """The cause that a step at ``position`` is of, and its words."""
    if _is_boundary(case, position):
        return "chunked_prefill", "a boundary between pieces of a prompt"
    return "config", "a sliding window or a limit of the positions"


def _is_boundary(case: Case, position: int) -> bool:
    """Whether ``position`` is a multiple of a chunk: one that a side was observed to
    have, or a usual one.
    """
    sizes = list(_CHUNKS)
    for facts in case.facts:
        if facts.chunk_size and facts.chunked_prefill is not False:
            sizes.append(facts.chunk_size)
    return any(position % size == 0 for size in sizes)
