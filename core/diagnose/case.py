"""What every signature sees: the pair, the gate's findings, the reference, and fits
that several of them use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.floor import Floor, noise_floor
from logdrift.core.compare.gate import Gate, judge
from logdrift.core.compare.pair import Pair
from logdrift.core.compare.usual import USUAL
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.fits import (
    FittedLine,
    Lattice,
    ValueGrid,
    bfloat16_grid,
    fit_lattice,
    fit_line,
)
from logdrift.core.diagnose.view import (
    Positions,
    View,
    against,
    count_of,
    dtype_told,
    reference_of,
)
from logdrift.core.facts import Facts
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Capture, Session

Array = npt.NDArray[Any]

SHOWN = 12
"""Token positions that a piece of evidence names at most."""


@dataclass(frozen=True, eq=False)
class Case:
    """One pair under diagnosis. Everything is computed when first asked for and
    kept.
    """

    session: Session
    pair: Pair
    left_out: Positions | None = None
    """Flat positions of tokens that an earlier finding explains, i64; None for none."""
    memo: dict[str, Any] = field(default_factory=dict, repr=False)
    """What functions outside of this class keep here."""

    @cached_property
    def view(self) -> View:
        return View(self.pair, self.left_out)

    def without(self, at: Positions) -> Case:
        """The case that is left once the tokens at the flat positions ``at`` are
        explained.
        """
        return Case(self.session, self.pair, left_out=np.unique(at))

    @cached_property
    def gate(self) -> Gate:
        return judge(self.session, self.pair)

    @cached_property
    def floor(self) -> Floor | None:
        return noise_floor(self.session, self.pair, "all")

    @property
    def infos(self) -> tuple[CaptureInfo, CaptureInfo]:
        pair = self.pair
        return pair.a.info, pair.b.info

    @property
    def labels(self) -> tuple[str, str]:
        info_a, info_b = self.infos
        return info_a.label, info_b.label

    @cached_property
    def facts(self) -> tuple[Facts, Facts]:
        a, b = (info.facts or Facts() for info in self.infos)
        return a, b

    @cached_property
    def reference(self) -> Capture | None:
        return reference_of(self.session, self.pair)

    @property
    def with_reference(self) -> bool:
        """One side of the pair is itself the reference."""
        roles = [info.role for info in self.infos]
        return "reference" in roles

    @property
    def reference_words(self) -> str:
        """``the float32 reference``, or with the assumption that its dtype is that."""
        reference = self.reference
        if reference is None or dtype_told(reference.info):
            return "the float32 reference"
        return (
            f"the reference {reference.info.label} (its dtype was not stated: float32"
            " is assumed)"
        )

    @cached_property
    def _distances(self) -> tuple[Array, Array] | None:
        """|delta| of each side to the reference, f64[m] nats each, over the tokens that
        all three scored.
        """
        if self.reference is None:
            return None
        a = against(self.session, self.reference, self.pair.a)
        b = against(self.session, self.reference, self.pair.b)
        both = np.intersect1d(a.at, b.at, assume_unique=True)
        common = np.intersect1d(both, self.view.at, assume_unique=True)
        if not len(common):
            return None
        delta_a = a.pair.delta[common].astype(np.float64)
        delta_b = b.pair.delta[common].astype(np.float64)
        return np.abs(delta_a), np.abs(delta_b)

    @cached_property
    def errors(self) -> tuple[float, float] | None:
        """MAE of each side against the reference over the tokens that all three scored;
        None without one.
        """
        if self._distances is None:
            return None
        a, b = (float(distances.mean()) for distances in self._distances)
        return a, b

    @cached_property
    def errors_spread(self) -> float:
        """Standard error of the logarithm of the ratio of `errors`, a side at float32's
        own rounding counting as exact; inf where there are none.
        """
        distances = self._distances
        if distances is None or len(distances[0]) < 2:
            return float("inf")
        exact = USUAL["float32"].beyond
        squares = 0.0
        for side in distances:
            if float(side.mean()) > exact:
                squares += _relative_error(side) ** 2
        return float(np.sqrt(squares))

    @cached_property
    def sent_alike(self) -> bool:
        """Both sides are known to have been given the session's own ids: every part has
        a digest of them, and the gate, which compares those, has nothing against it.
        """
        info_a, info_b = self.infos
        digests = [part.ids_digest for part in (*info_a.parts, *info_b.parts)]
        if not digests or None in digests:
            return False
        codes = [reason.code for reason in self.gate.reasons]
        return "ids" not in codes

    @cached_property
    def line(self) -> FittedLine | None:
        shared = self.view.shared
        sequence = self.view.sequence_of(shared.at)
        return fit_line(shared, sequence)

    @cached_property
    def lattices(self) -> tuple[Lattice, Lattice]:
        view = self.view
        lattice_a = fit_lattice(view.lists_a.values)
        lattice_b = fit_lattice(view.lists_b.values)
        return lattice_a, lattice_b

    @cached_property
    def grids(self) -> tuple[ValueGrid, ValueGrid]:
        """How many values of each side, chosen or listed, are bfloat16 numbers."""
        view = self.view
        pair = self.pair
        chosen_a = pair.logprob_a[view.at].ravel()
        chosen_b = pair.logprob_b[view.at].ravel()
        listed_a = view.lists_a.values.ravel()
        listed_b = view.lists_b.values.ravel()
        values_a = np.concatenate([chosen_a, listed_a])
        values_b = np.concatenate([chosen_b, listed_b])
        return bfloat16_grid(values_a), bfloat16_grid(values_b)


def _relative_error(values: Array) -> float:
    """The standard error of a mean over the mean, of ``values`` f64[n]."""
    spread = float(values.std(ddof=1))
    error = spread / float(np.sqrt(len(values)))
    return error / float(values.mean())


Judge = Callable[[Case], Iterator[Evidence]]
"""What one signature finds in a case."""


def worst(case: Case, mask: np.ndarray | None = None) -> tuple[int, ...]:
    """Flat positions of the largest |delta| (of ``mask`` bool[n] over the view's
    tokens), largest first.
    """
    if mask is None:
        size = case.view.size
    else:
        size = np.where(mask, case.view.size, -1.0)
    count = min(SHOWN, count_of(size > 0))
    if not count:
        return ()
    largest = np.argpartition(-size, count - 1)[:count]
    order = np.argsort(-size[largest], kind="stable")
    in_order = largest[order]
    return positions_of(case.view.at[in_order])


def positions_of(at: Positions) -> tuple[int, ...]:
    """The first `SHOWN` of the flat positions ``at`` i64[m], for
    `Evidence.positions`.
    """
    return tuple(int(i) for i in at[:SHOWN])


def place_of(case: Case, at: int) -> str:
    """``sequence 3, token 41``."""
    pair = case.pair
    sequence = pair.sequence_of(at)
    start, _ = pair.sequences.bounds(sequence)
    return f"sequence {sequence}, token {at - start}"


def number_of_tokens(lag: int) -> str:
    """``1 token``, ``2 tokens``, whichever way the lag goes."""
    return f"{abs(lag)} token{'s' if abs(lag) > 1 else ''}"
