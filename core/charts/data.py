"""What charts are made from: a pair and what several charts need of it, a sequence, a
threshold, and another session to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from logdrift.core.charts.reduce import nan_outside
from logdrift.core.compare.pair import Pair, Scope, default_scope
from logdrift.core.session.reader import Session

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.compare.floor import Floor

    Array = npt.NDArray[Any]

Reach = Literal["one", "all"]
"""This sequence, or all of them."""


class NothingToDraw(Exception):
    """Why there is no picture, in one line."""


@dataclass(frozen=True, eq=False)
class ChangeData:
    """Two sessions over the same n tokens, for before and after: ``old`` and ``new``
    delta f32[n] in nats.

    ``at`` i64[n] are flat positions in the session that is shown (the new one); names
    are those of the sessions.
    """

    old_name: str
    new_name: str
    old: Array
    new: Array
    at: Array


@dataclass(frozen=True, eq=False)
class PairData:
    """What several charts of one pair need, made when first asked for and kept while
    the pair is shown.
    """

    session: Session
    pair: Pair

    @cached_property
    def scope(self) -> Scope:
        """The scope of the report: completions, where there are any."""
        return default_scope(self.pair.sequences)

    @cached_property
    def counted(self) -> Array:
        """bool[N]: scored tokens of the scope."""
        return self.pair.scope_mask(self.scope)

    @cached_property
    def offsets(self) -> Array:
        """i64[S+1] of the pair's sequences."""
        pair = self.pair
        count = pair.count + 1
        offsets = pair.sequences.offsets[:count]
        compared = np.minimum(offsets, pair.tokens)
        return np.asarray(compared)

    @cached_property
    def position(self) -> Array:
        """i64[N] from 0 at the start of each sequence."""
        starts = self.offsets[:-1]
        start = self._for_each_token(starts)
        flat = np.arange(self.pair.tokens)
        return np.asarray(flat - start)

    def _for_each_token(self, values: Array) -> Array:
        """A value of each sequence [S], repeated for its tokens [N]."""
        lengths = np.diff(self.offsets)
        return np.repeat(values, lengths)

    @cached_property
    def from_scope(self) -> Array:
        """i64[N] from 0 at the start of the completion, or of the sequence where there
        is no completion.
        """
        if self.scope != "completion":
            return self.position
        pair = self.pair
        prompts = pair.sequences.prompt_lengths
        prompt = self._for_each_token(prompts[: pair.count])
        return self.position - prompt

    @cached_property
    def delta(self) -> Array:
        """f32[N] of scored tokens, NaN elsewhere."""
        pair = self.pair
        return nan_outside(pair.scored, pair.delta)

    @cached_property
    def size(self) -> Array:
        """|delta| f32[N]."""
        return np.abs(self.delta)

    @cached_property
    def floor(self) -> Floor | None:
        """The noise floor of the pair; None where nothing was repeated."""
        from logdrift.core.compare.floor import noise_floor

        return noise_floor(self.session, self.pair, self.scope)

    @cached_property
    def flips(self) -> Array:
        """bool[N]: the rank of a scored token differs for certain
        (`logdrift.core.compare.distribution.rank_flips`).
        """
        return self._flips(0, self.pair.tokens)

    def flips_in(self, start: int, stop: int) -> Array:
        """`flips` of tokens ``start`` to ``stop`` alone, which is much less work."""
        flips = self._flips(start, stop)
        return flips[start:stop]

    def _flips(self, start: int, stop: int) -> Array:
        from logdrift.core.compare.distribution import rank_flips

        pair = self.pair
        part = slice(start, stop)
        ranks_a = pair.a.rank
        ranks_b = pair.b.rank
        rank_a = ranks_a.rows(start, stop)
        rank_b = ranks_b.rows(start, stop)
        # Equal ranks are no flip however each side counts ties: only the others need
        # their lists looked at.
        differs = rank_a != rank_b
        is_unknown = rank_a == 0
        maybe = np.zeros(pair.tokens, np.bool_)
        undecided = differs | is_unknown
        maybe[part] = pair.scored[part] & undecided
        flips = np.zeros(pair.tokens, np.bool_)
        if maybe.any():
            token_ids = pair.sequences.token_ids
            token_ids = token_ids[: pair.tokens]
            flips[maybe] = rank_flips(pair.a, pair.b, token_ids, maybe)
        return flips

    @cached_property
    def entropy(self) -> Array | None:
        """f32[N] in nats, of A where it has one, else of B."""
        pair = self.pair
        for side in (pair.a, pair.b):
            if side.entropy is not None:
                entropy = side.entropy.whole()
                return entropy[: pair.tokens]
        return None


@dataclass(frozen=True, eq=False)
class ChartSource:
    """What is looked at: a pair, one of its sequences, the threshold in nats, and
    another session if there is one.

    ``order`` i64[n] are the sequences that are listed, in the order of the list; None
    for all by their number.
    """

    data: PairData | None
    sequence: int
    threshold: float
    change: ChangeData | None = None
    order: Array | None = None

    def part(self, reach: Reach) -> tuple[int, int]:
        """(start, stop) of the flat tokens within reach."""
        assert self.data is not None
        pair = self.data.pair
        sequence = self.sequence
        if reach == "all":
            return 0, pair.tokens
        if sequence >= pair.count:
            raise NothingToDraw("this sequence is not captured on both sides yet")
        offsets = self.data.offsets
        start = int(offsets[sequence])
        stop = int(offsets[sequence + 1])
        return start, stop
