"""What a search has found: its matches, and which of them is at the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from logdrift.tui.models.places import beside

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.session.search import Matches

    Flags = npt.NDArray[np.bool_]


class FoundText:
    """The ``matches`` of a ``query``; none of either while nothing is searched for.

    Positions are flat indices into all tokens of the session.
    """

    def __init__(self) -> None:
        self.query = ""
        self.matches: Matches | None = None

    def keep(self, query: str, matches: Matches) -> None:
        """Remember what a search has found."""
        self.query = query
        self.matches = matches

    def forget(self) -> bool:
        """End the search; False where there was none."""
        searching = self.matches is not None
        self.query = ""
        self.matches = None
        return searching

    def first(self, position: int) -> int | None:
        """The position of the match at a position or after it; the first after the
        last.

        None where nothing was found.
        """
        if self.matches is None:
            return None
        count = len(self.matches)
        if not count:
            return None
        index = self._index(position) % count
        start = self.matches.starts[index]
        return int(start)

    def next(self, position: int, step: int) -> int | None:
        """The next match after a position (``step`` -1: before it), None for none."""
        if self.matches is None:
            return None
        starts = self.matches.starts
        return beside(starts, position, step)

    def number(self, position: int) -> int:
        """The number of the match at a position, from 1."""
        return self._index(position) + 1

    def _index(self, position: int) -> int:
        """How many matches start before a position."""
        assert self.matches is not None
        starts = self.matches.starts
        count = np.searchsorted(starts, position, "left")
        return int(count)

    def covered(self, start: int, stop: int) -> Flags | None:
        """Which tokens belong to a match, bool[stop - start]; None without a search.

        Matches that start before ``start`` are not marked: a match does not cross the
        border of a sequence.
        """
        matches = self.matches
        if matches is None:
            return None
        count = stop - start
        bounds = [start, stop]
        first, last = np.searchsorted(matches.starts, bounds, "left")
        begins = matches.starts[first:last]
        ends = matches.ends[first:last]
        ends = np.minimum(ends, stop)
        size = count + 1
        change = np.zeros(size, np.int64)
        first_tokens = begins - start
        np.add.at(change, first_tokens, 1)
        tokens_after = ends - start
        np.add.at(change, tokens_after, -1)
        change_at_token = change[:-1]
        open_matches = np.cumsum(change_at_token)
        return open_matches > 0
