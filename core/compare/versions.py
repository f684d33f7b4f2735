"""With which weights the tokens of a pair were sampled, and how old these were."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.session.contents import Capture
from logdrift.core.session.weight_versions import UNKNOWN_VERSION

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Places = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TokenVersions:
    """The versions of N tokens, as the capture ``label`` (``side`` A or B) tells them.

    of_token i32[N] are places in ``names``, -1 unknown. ``other`` is the version of the
    other side, which scored the same tokens with one of its own; None where it is not
    known.
    """

    label: str
    side: str
    names: tuple[str, ...]
    of_token: Places
    other: str | None = None

    @cached_property
    def numbers(self) -> Numbers | None:
        """The versions as numbers, in the order of ``names``; None where one of them is
        none.
        """
        if not all(map(_is_number, self.names)):
            return None
        numbers = list(map(int, self.names))
        return np.array(numbers, np.int64)

    @cached_property
    def order(self) -> Numbers:
        """The places of ``names``, the oldest version first; as they occur where they
        are no numbers.
        """
        if self.numbers is None:
            return np.arange(len(self.names))
        return np.argsort(self.numbers, kind="stable")

    @cached_property
    def newest(self) -> int | None:
        """The newest version of both sides, where they are numbers."""
        if self.numbers is None:
            return None
        newest = int(self.numbers.max())
        other = self.other
        if other is None or not _is_number(other):
            return newest
        return max(newest, int(other))

    @cached_property
    def lags(self) -> Numbers | None:
        """How many versions each token is behind the newest one, i64[N], -1 where its
        version is not known; None where versions are no numbers.
        """
        numbers = self.numbers
        if numbers is None or self.newest is None:
            return None
        behind = self.newest - numbers
        # What -1 refers to is the last entry.
        lag_of_place = np.append(behind, -1)
        lags: Numbers = lag_of_place[self.of_token]
        return lags

    @property
    def is_single(self) -> bool:
        """All tokens whose version is known have the same."""
        return len(self.names) < 2

    def in_words(self, position: int) -> str:
        """The version of one token: ``12, 4 behind the newest``."""
        place = int(self.of_token[position])
        if place == UNKNOWN_VERSION:
            return "unknown"
        name = self.names[place]
        if self.lags is None:
            return name
        lag = int(self.lags[position])
        if lag == 0:
            return f"{name}, the newest"
        return f"{name}, {lag:,} behind the newest"


_EXACT = 15
"""Digits of a number that every program reads exactly."""


def _is_number(name: str) -> bool:
    """A whole number."""
    is_whole = name.isascii() and name.isdigit()
    return is_whole and len(name) <= _EXACT


def token_versions(a: Capture, b: Capture, tokens: int) -> TokenVersions | None:
    """The versions of the side of a pair that knows them, B where both do: it is the
    one that sampled. None where neither does.
    """
    sides = (("B", b, a), ("A", a, b))
    for side, capture, other in sides:
        names = capture.version_names
        if capture.versions is None or not names:
            continue
        of_capture = capture.versions.whole()
        return TokenVersions(
            label=capture.info.label,
            side=side,
            names=names,
            of_token=of_capture[:tokens],
            other=_one_version(other),
        )
    return None


def _one_version(capture: Capture) -> str | None:
    """The version of a capture that has one."""
    if capture.versions is not None:
        if len(capture.version_names) == 1:
            return capture.version_names[0]
        return None
    facts = capture.info.facts
    if facts is None:
        return None
    return facts.weight_version


def version_changes(of_token: Places, start: int, stop: int) -> list[int]:
    """The indices, counted from ``start``, of the tokens of a sequence whose version is
    not the one of the last token before that has one.
    """
    places = of_token[start:stop]
    is_known = places != UNKNOWN_VERSION
    known = np.flatnonzero(is_known)
    versions = places[known]
    is_other = versions[1:] != versions[:-1]
    changed = known[1:][is_other]
    indices: list[int] = changed.tolist()
    return indices


def names_in(versions: TokenVersions, start: int, stop: int) -> list[str]:
    """The versions of the tokens of a sequence, each once, in order."""
    places = versions.of_token[start:stop]
    is_known = places != UNKNOWN_VERSION
    known = places[is_known].tolist()
    different = dict.fromkeys(known)
    return [versions.names[place] for place in different]
