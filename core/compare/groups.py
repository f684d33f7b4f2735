"""Where the gap sits: errors by turn, by role, by version of the weights and by how old
these were.

Unlike a bucket, a group has a name: it is no range of a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare import estimators
from logdrift.core.compare.aligned import AlignedPair
from logdrift.core.compare.turns import roles_of_tokens
from logdrift.core.session.message_roles import MESSAGE_ROLES

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

BEYOND = 0.1
"""Nats of |delta|: the threshold with which the explorer opens."""


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """Tokens of one name, and their finite deltas' statistics in nats.

    ``tokens`` counts all of them, impossible ones (delta +-inf) included, and
    ``sequences`` those that have any. ``k3`` estimates KL(B || A) where B sampled the
    tokens; ``beyond`` is the share of tokens with |delta| above `BEYOND`. None where
    there is nothing to compute from.
    """

    name: str
    tokens: int
    sequences: int
    mean: float | None = None
    mae: float | None = None
    rmse: float | None = None
    max_abs: float | None = None
    k3: float | None = None
    beyond: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Groups = tuple[TokenGroup, ...]


@dataclass(frozen=True, slots=True)
class GroupedTokens:
    """The divisions by name; None where a session does not know them.

    ``by_turn`` counts the assistant's messages of a sequence from 1, and is there where
    any sequence has two. ``by_lag`` is how many versions the weights of a token are
    behind the newest ones.
    """

    by_turn: Groups | None = None
    by_role: Groups | None = None
    by_version: Groups | None = None
    by_lag: Groups | None = None


def grouped_tokens(pair: AlignedPair, mask: Array) -> GroupedTokens:
    """Divide the tokens of ``mask``, bool[N], of a pair."""
    if not _tells_more(pair):
        return GroupedTokens()
    tokens = _Tokens.of(pair, mask)
    return GroupedTokens(
        by_turn=_by_turn(pair, tokens),
        by_role=_by_role(pair, tokens),
        by_version=_by_version(pair, tokens),
        by_lag=_by_lag(pair, tokens),
    )


def _tells_more(pair: AlignedPair) -> bool:
    """Whether the session knows of its tokens more than their place."""
    has_roles = pair.sequences.roles is not None
    has_versions = pair.versions is not None
    return has_roles or has_versions or pair.messages.has_turns


@dataclass(frozen=True, slots=True, eq=False)
class _Tokens:
    """n tokens: their flat positions i64[n], sequences i64[n] and deltas f32[n]."""

    positions: Array
    sequences: Array
    delta: Array

    @classmethod
    def of(cls, pair: AlignedPair, mask: Array) -> _Tokens:
        positions = np.flatnonzero(mask)
        offsets = pair.sequences.offsets
        begun = np.searchsorted(offsets, positions, "right")
        return cls(
            positions=positions,
            sequences=begun - 1,
            delta=pair.delta[positions],
        )

    def divided(self, places: Array, names: Sequence[str]) -> Groups:
        """The groups of those names that have tokens; ``places`` int[N] says which
        group a token is in, below 0 for none.
        """
        own_places = places[self.positions]
        if not len(own_places):
            return ()
        order = np.argsort(own_places, kind="stable")
        in_order = own_places[order]
        found, starts = np.unique(in_order, return_index=True)
        tokens = np.split(order, starts[1:])
        groups = []
        for place, chosen in zip(found, tokens, strict=True):
            if place < 0:
                continue
            name = names[place]
            group = self._group(name, chosen)
            groups.append(group)
        return tuple(groups)

    def _group(self, name: str, chosen: Array) -> TokenGroup:
        delta = self.delta[chosen].astype(np.float64)
        sequences = np.unique(self.sequences[chosen])
        group = TokenGroup(
            name=name,
            tokens=len(delta),
            sequences=len(sequences),
        )
        is_finite = np.isfinite(delta)
        if not is_finite.any():
            return group
        is_beyond = np.abs(delta) > BEYOND
        share = float(is_beyond.mean())
        measured = _with_sizes(group, delta[is_finite])
        return replace(measured, beyond=share)


def _with_sizes(group: TokenGroup, delta: Array) -> TokenGroup:
    """The group with the numbers of its finite deltas f64[n], n > 0, in nats."""
    size = np.abs(delta)
    mean_square = np.square(delta).mean()
    with np.errstate(over="ignore"):
        k3 = estimators.k3(delta).mean()
    return replace(
        group,
        mean=float(delta.mean()),
        mae=float(size.mean()),
        rmse=float(np.sqrt(mean_square)),
        max_abs=float(size.max()),
        k3=float(k3),
    )


def _by_turn(pair: AlignedPair, tokens: _Tokens) -> Groups | None:
    messages = pair.messages
    if not messages.has_turns:
        return None
    most = messages.turns.max()
    numbers = range(int(most) + 1)
    names = list(map(str, numbers))
    turns = messages.turn_of_token
    in_turn = np.where(turns > 0, turns, -1)
    return tokens.divided(in_turn, names)


def _by_role(pair: AlignedPair, tokens: _Tokens) -> Groups | None:
    if pair.sequences.roles is None:
        return None
    roles = roles_of_tokens(pair.sequences, pair.count)
    places = roles.astype(np.int32)
    return tokens.divided(places, MESSAGE_ROLES)


def _by_version(pair: AlignedPair, tokens: _Tokens) -> Groups | None:
    versions = pair.versions
    if versions is None:
        return None
    order = versions.order
    count = len(order)
    # What -1, an unknown version, refers to is the last entry.
    rank = np.full(count + 1, -1)
    rank[order] = np.arange(count)
    names = [versions.names[place] for place in order]
    places = rank[versions.of_token]
    return tokens.divided(places, names)


def _by_lag(pair: AlignedPair, tokens: _Tokens) -> Groups | None:
    versions = pair.versions
    if versions is None or versions.lags is None:
        return None
    lags = versions.lags
    different, places = np.unique(lags, return_inverse=True)
    names = list(map(str, different))
    known = np.where(lags >= 0, places, -1)
    return tokens.divided(known, names)
