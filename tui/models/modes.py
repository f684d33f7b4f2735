"""What tokens can be coloured by: each mode with its words, numbers and scale.

A diverging mode has levels -4..-1 and 1..4 (B more, A more), a sequential one 5..8; 0
is a token within the threshold or without a number, `BROKEN` one that is NaN on a side,
in every mode. The steps lie at one, two, four and eight times the threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logdrift.core.compare import token_values as values
from logdrift.core.compare.pair import Pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.numbers import number
from logdrift.tui.palette import BROKEN, ROLE_INSIDE, ROLE_STARTS, STEPS

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_NATS = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0)
_TIMES = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
_EXCESS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
_LAGS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Half a version is behind what is the newest, and before the next one."""
_RANKS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


def _always(pair: Pair, floor: float | None) -> str | None:
    return None


def _scored(pair: Pair) -> int:
    has_score = pair.scored | pair.broken
    return int(np.count_nonzero(has_score))


def _scored_a(pair: Pair) -> int:
    scored = ~np.isnan(pair.logprob_a)
    has_number = scored | pair.broken
    return int(np.count_nonzero(has_number))


def _scored_b(pair: Pair) -> int:
    scored = ~np.isnan(pair.logprob_b)
    has_number = scored | pair.broken
    return int(np.count_nonzero(has_number))


def _needs_floor(pair: Pair, floor: float | None) -> str | None:
    if floor is not None:
        return None
    return "no capture of this pair was repeated, so there is no floor"


def _needs_entropy(pair: Pair, floor: float | None) -> str | None:
    if values.has_entropy(pair):
        return None
    return "neither side has entropies"


def _versioned(pair: Pair) -> int:
    """Tokens whose version is known."""
    lags = values.lag(Stretch(pair, 0, pair.tokens))
    known = ~np.isnan(lags) | pair.broken
    return int(np.count_nonzero(known))


def _role_levels(of: Stretch) -> Array:
    """The level of each token's role; another one for the first token of a message."""
    roles = values.message_roles(of).astype(np.int8)
    starts = values.message_starts(of)
    levels = np.where(starts, roles + ROLE_STARTS, roles + ROLE_INSIDE)
    return np.where(roles > 0, levels, 0).astype(np.int8)


def _needs_roles(pair: Pair, floor: float | None) -> str | None:
    if pair.sequences.roles is not None:
        return None
    return "the session does not know the roles of its tokens"


def _needs_versions(pair: Pair, floor: float | None) -> str | None:
    versions = pair.versions
    if versions is None:
        return "neither side tells with which weights it sampled"
    if versions.lags is None:
        return "the versions of the weights are names, not numbers"
    return None


class Mode(NamedTuple):
    """One way to colour tokens.

    ``head`` names the mode on the legend and ``bound_text`` writes a bound there;
    ``words`` describe it in the list of modes. ``values`` gives the number of each
    token, ``missing`` the reason why a pair has no such numbers, or None.
    ``thresholds`` are the choices, in the mode's own unit; empty where the explorer's
    threshold on |delta| (nats) holds.
    """

    name: str
    title: str
    words: str
    head: str
    values: Callable[[Stretch], Array]
    diverging: bool = True
    thresholds: tuple[float, ...] = ()
    default: float = 0.0
    bound_text: Callable[[float], str] = lambda bound: number(bound, 2)
    missing: Callable[[Pair, float | None], str | None] = _always
    tokens: Callable[[Pair], int] = _scored
    """How many tokens of a pair could have a level."""
    classes: Callable[[Stretch], Array] | None = None
    """The level of each token itself, i8[n], where tokens have kinds and no sizes: what
    is divergent is then said by ``values`` alone.
    """

    def levels(self, of: Stretch, threshold: float) -> npt.NDArray[np.int8]:
        """The level of each token, i8[n]: that of NaN whatever the mode shows."""
        if self.classes is None:
            levels = self._size_levels(of, threshold)
        else:
            levels = self.classes(of)
        levels = np.where(of.broken, BROKEN, levels)
        return levels.astype(np.int8)

    def _size_levels(self, of: Stretch, threshold: float) -> Array:
        """The level of each token by the size of its number, [n]."""
        numbers = self.values(of)
        with np.errstate(invalid="ignore"):
            sizes = np.abs(numbers)
            sizes = np.nan_to_num(sizes, nan=0.0, posinf=np.inf)
            lower_ends = bounds(threshold)
            steps = np.searchsorted(lower_ends, sizes, "left")
            steps = steps.astype(np.int8)
            if self.diverging:
                is_negative = numbers < 0
                levels = np.where(is_negative, -steps, steps)
            else:
                # A sequential number below zero has no level, however large it is.
                is_positive = numbers > 0
                beyond = (steps > 0) & is_positive
                raised = steps + np.int8(STEPS)
                levels = np.where(beyond, raised, 0)
        return levels

    def beyond(self, of: Stretch, threshold: float) -> npt.NDArray[np.int64]:
        """Flat positions of the tokens with a level, ascending."""
        numbers = self.values(of)
        with np.errstate(invalid="ignore"):
            if self.diverging:
                numbers = np.abs(numbers)
            beyond = numbers > threshold
        indices = np.flatnonzero(beyond | of.broken)
        return indices + of.start


def bounds(threshold: float) -> npt.NDArray[np.float64]:
    """The lower ends of the steps, f64[STEPS]: a number beyond the n-th has level n."""
    steps = threshold * 2.0 ** np.arange(STEPS)
    return steps.astype(np.float64)


MODES: tuple[Mode, ...] = (
    Mode(
        name="delta",
        title="Δ",
        words="log p A − log p B, nats",
        head="Δ",
        values=values.delta,
    ),
    Mode(
        name="floor",
        title="Δ over floor",
        words="Δ as a multiple of the mean |Δ| between repeats",
        head="Δ/floor",
        values=values.over_floor,
        thresholds=_TIMES,
        default=3.0,
        bound_text=lambda bound: f"{number(bound, 2)}×",
        missing=_needs_floor,
    ),
    Mode(
        name="size",
        title="|Δ|",
        words="how far apart, nats, whichever side gives more",
        head="|Δ|",
        values=values.size,
        diverging=False,
    ),
    Mode(
        name="ratio",
        title="ratio",
        words="p A / p B, or p B / p A where B gives more: what clips cut",
        head="ratio",
        values=values.ratio_excess,
        thresholds=_EXCESS,
        default=0.2,
        bound_text=lambda bound: f"{number(1 + bound, 2)}×",
    ),
    Mode(
        name="rank",
        title="rank change",
        words="lower rank over higher rank: more than 1× is another rank",
        head="rank",
        values=values.rank_change,
        thresholds=_RANKS,
        default=1.0,
        bound_text=lambda bound: f"{bound:.0f}×",
    ),
    Mode(
        name="entropy",
        title="entropy",
        words="how open the next token was, nats (A's, else B's)",
        head="entropy",
        values=values.entropy,
        diverging=False,
        thresholds=_NATS,
        default=1.0,
        missing=_needs_entropy,
    ),
    Mode(
        name="logprob_a",
        title="−log p A",
        words="how little A expected the token, nats",
        head="−log p A",
        values=values.surprise_a,
        diverging=False,
        thresholds=_NATS,
        default=1.0,
        tokens=_scored_a,
    ),
    Mode(
        name="logprob_b",
        title="−log p B",
        words="how little B expected the token, nats",
        head="−log p B",
        values=values.surprise_b,
        diverging=False,
        thresholds=_NATS,
        default=1.0,
        tokens=_scored_b,
    ),
    Mode(
        name="role",
        title="role",
        words="from whose message a token is; n goes on by Δ",
        head="role",
        values=values.delta,
        missing=_needs_roles,
        classes=_role_levels,
    ),
    Mode(
        name="lag",
        title="lag",
        words="how many versions its weights were behind the newest ones",
        head="behind",
        values=values.lag,
        diverging=False,
        thresholds=_LAGS,
        default=0.5,
        bound_text=lambda bound: f"{bound:g}",
        missing=_needs_versions,
        tokens=_versioned,
    ),
)
_BY_NAME = {mode.name: mode for mode in MODES}


def mode_of(name: str) -> Mode:
    """The mode of that name, the first one for an unknown name."""
    return _BY_NAME.get(name, MODES[0])


class Legend(NamedTuple):
    """The line above a text that explains its colours.

    ``steps`` are (level, bound as text), the smallest first. ``beyond`` of ``scored``
    tokens of the pair have a level, None while they are not counted. ``missing`` is the
    reason why the mode has no numbers for the pair, else None.
    """

    head: str
    diverging: bool
    steps: tuple[tuple[int, str], ...]
    beyond: int | None = None
    scored: int = 0
    missing: str | None = None
    broken: int = 0
    """Tokens among ``beyond`` that are NaN on a side."""
    by_role: bool = False
    """The colours are those of roles, and ``steps`` mean nothing."""


def legend(
    mode: Mode,
    threshold: float,
    beyond: int | None,
    scored: int,
    missing: str | None,
    broken: int = 0,
) -> Legend:
    """The legend of a mode at a threshold."""
    if mode.diverging:
        first = 1
    else:
        first = STEPS + 1
    lower_ends = bounds(threshold).tolist()
    texts = [mode.bound_text(bound) for bound in lower_ends]
    return Legend(
        head=mode.head,
        diverging=mode.diverging,
        steps=tuple(enumerate(texts, first)),
        beyond=beyond,
        scored=scored,
        missing=missing,
        broken=broken,
        by_role=mode.classes is not None,
    )
