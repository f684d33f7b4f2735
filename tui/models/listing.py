"""The list of sequences: in which order, and which of them a filter keeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare import per_sequence
from logdrift.core.compare.pair import Pair
from logdrift.core.session.visible import visible

if TYPE_CHECKING:
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]


@dataclass(eq=False, repr=False)
class Listing:
    """The sequences that are listed, and in which order.

    ``order`` i64[n] are those of the session's ``count`` sequences that ``filter``
    keeps. ``values`` f64[S] is the number they are sorted by, headed ``title``; None
    where they are listed by their own number. ``greyed``: the pair cannot be compared.
    """

    pair: Pair | None
    count: int
    order: Positions
    sort: str = "number"
    title: str = "#"
    values: npt.NDArray[np.float64] | None = None
    filter: str = ""
    greyed: bool = False

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def _rows(self) -> Positions:
        """The row of each sequence, i64[count], -1 where the filter hides it."""
        rows = np.full(self.count, -1, np.int64)
        places = np.arange(len(self.order))
        rows[self.order] = places
        return rows

    def place_of(self, sequence: int) -> int:
        """The row of a sequence, -1 where the filter hides it."""
        if sequence >= self.count:
            return -1
        return int(self._rows[sequence])

    @property
    def chosen_order(self) -> Positions | None:
        """The order, None where all sequences are listed by their number."""
        if self.values is None and not self.filter:
            return None
        return self.order

    def neighbour(self, sequence: int, step: int) -> int | None:
        """The sequence listed ``step`` rows after this one, None at the end of the
        list.

        Of a sequence that the filter hides, the neighbours are the ends of the list.
        """
        place = self.place_of(sequence)
        if place >= 0:
            place += step
        elif step > 0:
            place = 0
        else:
            place = len(self) - 1
        if 0 <= place < len(self):
            return int(self.order[place])
        return None


NO_SEQUENCES = Listing(None, 0, np.arange(0))


def list_sequences(
    pair: Pair | None,
    count: int,
    *,
    sort: str,
    threshold: float,
    filter: str = "",
    keep: Flags | None = None,
    greyed: bool = False,
) -> Listing:
    """The listing of ``count`` sequences, sorted by a reduction of the pair.

    ``threshold`` is in nats. ``keep``, bool[S], are the sequences that ``filter``
    keeps. All are listed without it, and while its length is not ``count``: the session
    has grown since the filter was worked out.
    """
    reduction = per_sequence.reduction(sort)
    values = None
    order = np.arange(count)
    if pair is not None and reduction.name != "number":
        values = reduction.values(pair, threshold)
        order = per_sequence.order(values, count, reduction.signed)
    shown_filter = ""
    if filter and keep is not None and len(keep) == count:
        order = order[keep[order]]
        shown_filter = visible(filter)
    return Listing(
        pair=pair,
        count=count,
        order=order,
        sort=reduction.name,
        title=reduction.title,
        values=values,
        filter=shown_filter,
        greyed=greyed,
    )


def sequences_with(positions: Positions, offsets: Positions) -> Flags:
    """The sequences, bool[S], that hold at least one of the flat positions.

    Positions after the last token are left out: a mark may be on a token that is not
    captured yet.
    """
    count = len(offsets) - 1
    keep = np.zeros(count, np.bool_)
    captured = positions[positions < offsets[-1]]
    starts_before = np.searchsorted(offsets, captured, "right")
    sequences = starts_before - 1
    last = count - 1
    kept = np.minimum(sequences, last)
    keep[kept] = True
    return keep
