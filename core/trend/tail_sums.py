"""Sums over a line of noisy points from which what every shape of a change explains is
told at once, for many draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FEWEST = 3
"""Steps on either side of a change: one or two may be outliers."""
TINY = 1e-12
_SHORTEST = 4
"""Steps of the shortest growth: within fewer it is hardly told from a jump."""


@dataclass(frozen=True, slots=True, eq=False)
class TailSums:
    """Sums from each place to the end, and 0 behind it, f64[draws, n+1]: of the weights
    times 1, x and x^2, and of the weighted numbers times 1 and x.
    """

    places: Array
    ones: Array
    firsts: Array
    seconds: Array
    numbers: Array
    number_firsts: Array

    @classmethod
    def of(cls, weights: Array, numbers: Array, places: Array) -> TailSums:
        """Of draws of ``weights`` and centred ``numbers``, f64[draws, n]."""
        from_first = places - places[0]
        span = float(from_first[-1]) or 1.0
        x = from_first / span
        weighted = weights * numbers
        return cls(
            places=x,
            ones=_from_end(weights),
            firsts=_from_end(weights * x),
            seconds=_from_end(weights * x**2),
            numbers=_from_end(weighted),
            number_firsts=_from_end(weighted * x),
        )

    @property
    def starts(self) -> Array:
        """The points at which a change may begin."""
        return np.arange(FEWEST, len(self.places) - FEWEST + 1)

    @property
    def lengths(self) -> Iterator[int]:
        """Within how many points a new level is reached, the last one: never."""
        count = len(self.places)
        yield 1
        length = _SHORTEST
        while length < count - 2 * FEWEST:
            yield length
            length *= 2
        yield count

    def stops(self, length: int) -> Array:
        """The points at which the new level is reached, for each of `starts`."""
        last = len(self.places) - 1
        stops: Array = np.minimum(self.starts + length - 1, last)
        return stops

    def explained(self, length: int) -> Array:
        """What shapes of a length explain, f64[draws, starts]: (sum w y h)^2 over
        sum w (h - mean of h)^2 for the shape h, which is 0 before its start and rises
        to its stop from the place before.
        """
        starts = self.starts
        stops = self.stops(length)
        foot = self.places[starts - 1]
        top = self.places[stops]
        behind = stops + 1
        rise = top - foot
        products = _risen(self.number_firsts, self.numbers, starts, foot)
        products = products - _risen(self.number_firsts, self.numbers, behind, top)
        means = _risen(self.firsts, self.ones, starts, foot)
        means = means - _risen(self.firsts, self.ones, behind, top)
        squares = self._squares(starts, foot) - self._squares(behind, foot)
        squares = squares + rise**2 * self.ones[:, behind]
        spread = squares - means**2 / self.ones[:, :1]
        safe = np.maximum(spread, TINY)
        explained: Array = products**2 / safe
        return explained

    @property
    def stays(self) -> Iterator[int]:
        """For how many points a level that is left again may last."""
        length = FEWEST
        while length < len(self.places) - 2 * FEWEST:
            yield length
            length *= 2

    def explained_stay(self, length: int) -> Array:
        """What a level that lasts for ``length`` points explains, as `explained`, for
        each start that leaves `FEWEST` points behind it.
        """
        starts = self.starts[: 1 - length or None]
        ends = starts + length
        products = self.numbers[:, starts] - self.numbers[:, ends]
        sizes = self.ones[:, starts] - self.ones[:, ends]
        spread = sizes - sizes**2 / self.ones[:, :1]
        safe = np.maximum(spread, TINY)
        explained: Array = products**2 / safe
        return explained

    def _squares(self, at: Array, foot: Array) -> Array:
        """Sums of w (x - foot)^2 from some places on."""
        cross = 2 * foot * self.firsts[:, at]
        squares: Array = self.seconds[:, at] - cross + foot**2 * self.ones[:, at]
        return squares


def _risen(firsts: Array, sums: Array, at: Array, foot: Array) -> Array:
    """Sums of something times (x - foot) from some places on."""
    risen: Array = firsts[:, at] - foot * sums[:, at]
    return risen


def _from_end(values: Array) -> Array:
    draws, _ = values.shape
    backwards = values[:, ::-1]
    sums = backwards.cumsum(1)[:, ::-1]
    return np.concatenate([sums, np.zeros((draws, 1))], 1)
