"""Two captures side by side: their scores for the same tokens, and the difference.

Positions are flat indices into the session's tokens, so captures are joined by position
on ids that the session holds itself. Everything is computed when first asked for and
kept.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.scopes import SCOPES, Scope, completion_mask
from logdrift.core.compare.segments import reduce_segments
from logdrift.core.errors import InputError
from logdrift.core.session.reader import Capture, Sequences, Session

if TYPE_CHECKING:
    from typing import Self

    # For annotations alone: importing it costs a tenth of opening a session.
    import numpy.typing as npt

    from logdrift.core.compare.turns import Messages
    from logdrift.core.compare.versions import TokenVersions

    Array = npt.NDArray[Any]
    Floats = npt.NDArray[np.float32]
    Bools = npt.NDArray[np.bool_]
    Positions = npt.NDArray[np.int64]

_KEPT_THRESHOLDS = 8


class AlignedPair:
    """Captures ``a`` and ``b`` over the ``count`` sequences that both have finished.

    Arrays have N = ``tokens`` entries, entry ``i`` for ``sequences.token_ids[i]``; S =
    ``count``.
    """

    def __init__(
        self,
        *,
        session: Session,
        a: Capture,
        b: Capture,
        sequences: Sequences,
        count: int,
        tokens: int,
    ) -> None:
        self.session = session
        self.a = a
        self.b = b
        self.sequences = sequences
        self.count = count
        self.tokens = tokens
        self._beyond: dict[float, Positions] = {}

    @classmethod
    def of_labels(cls, session: Session, a: str, b: str) -> Self:
        """The captures of two labels; they may have no common sequence yet.

        InputError for an unknown label.
        """
        first = session.capture(a)
        second = session.capture(b)
        return cls.of_captures(session, first, second)

    @classmethod
    def of_captures(cls, session: Session, a: Capture, b: Capture) -> Self:
        """Two captures over the sequences that both have; one may be of another session
        with the same tokens, which may have more sequences than ``session``.
        """
        sequences = session.sequences
        count = min(a.sequences, b.sequences, len(sequences))
        tokens = int(sequences.offsets[count])
        return cls(
            session=session,
            a=a,
            b=b,
            sequences=sequences,
            count=count,
            tokens=min(tokens, a.tokens, b.tokens),
        )

    def between(self, a: Capture, b: Capture) -> Self:
        """Two other captures of the same sequences, over the tokens that all have."""
        return type(self)(
            session=self.session,
            a=a,
            b=b,
            sequences=self.sequences,
            count=self.count,
            tokens=min(self.tokens, a.tokens, b.tokens),
        )

    @property
    def offsets(self) -> Positions:
        """The first token of each sequence and the end of the last, int64[S+1]."""
        return self.sequences.offsets[: self.count + 1]

    def positions(self, scope: Scope) -> Positions:
        """The position of each token, int64[N], from 0 at the start of its completion
        for that scope, else of its sequence.
        """
        offsets = self.offsets
        starts = offsets[:-1]
        if scope == "completion":
            prompts = self.sequences.prompt_lengths
            starts = starts + prompts[: self.count]
        lengths = np.diff(offsets)
        start_of_token = np.repeat(starts, lengths)
        flat = np.arange(self.tokens, dtype=np.int64)
        positions: Positions = flat - start_of_token[: self.tokens]
        return positions

    @cached_property
    def logprob_a(self) -> Floats:
        """f32[N] in nats; NaN where ``a`` has no score."""
        return _logprobs(self.a, self.tokens)

    @cached_property
    def logprob_b(self) -> Floats:
        """f32[N] in nats; NaN where ``b`` has no score."""
        return _logprobs(self.b, self.tokens)

    @cached_property
    def delta(self) -> Floats:
        """log p_A - log p_B, f32[N] in nats.

        NaN where either has no score, 0 where both are -inf, +-inf where one is. One
        float32 subtraction rounds exactly as subtracting in float64 and storing
        float32 does.
        """
        a = self.logprob_a
        b = self.logprob_b
        with np.errstate(invalid="ignore"):
            delta = a - b
        impossible_a = np.isneginf(a)
        impossible_b = np.isneginf(b)
        both_impossible = impossible_a & impossible_b
        delta[both_impossible] = 0.0
        return delta

    @cached_property
    def counted(self) -> Bools:
        """bool[N]: the session's mask counts the token."""
        mask = self.sequences.mask
        counted: Bools = mask[: self.tokens] == 1
        return counted

    @cached_property
    def scored(self) -> Bools:
        """bool[N]: both have a score and the session's mask counts the token."""
        has_a = ~np.isnan(self.logprob_a)
        has_b = ~np.isnan(self.logprob_b)
        return self.counted & has_a & has_b

    @cached_property
    def nan_a(self) -> Bools:
        """bool[N]: ``a`` computed the score and it is NaN.

        The mask need not count the token.
        """
        return _broken(self.a, self.tokens)

    @cached_property
    def nan_b(self) -> Bools:
        """bool[N]: ``b`` computed the score and it is NaN, as `nan_a`."""
        return _broken(self.b, self.tokens)

    @cached_property
    def broken(self) -> Bools:
        """bool[N]: counted tokens that are NaN on either side."""
        nan = self.nan_a | self.nan_b
        return self.counted & nan

    @cached_property
    def missing_a(self) -> Bools:
        """bool[N]: counted tokens that ``b`` scored and ``a`` should have scored.

        -inf is a score. A token that is NaN is broken and not missing. Prompts are
        missing only in a capture that scores prompts.
        """
        return self._missing(self.a, self.logprob_a, self.nan_a, self.logprob_b)

    @cached_property
    def missing_b(self) -> Bools:
        """bool[N]: as `missing_a`, of tokens that ``b`` should have scored."""
        return self._missing(self.b, self.logprob_b, self.nan_b, self.logprob_a)

    def _missing(
        self, side: Capture, own: Floats, broken: Bools, other: Floats
    ) -> Bools:
        has_none = np.isnan(own) & ~broken
        other_scored = ~np.isnan(other)
        missing = self.counted & has_none & other_scored
        # Nothing stands before a first token: a side that scored it knew a prompt that
        # the session does not have.
        offsets = self.offsets
        lengths = np.diff(offsets)
        is_filled = lengths > 0
        first_tokens = offsets[:-1][is_filled]
        missing[first_tokens] = False
        if not self._scores_prompts(side, own, broken):
            missing &= self.in_completion
        return missing

    def _scores_prompts(self, side: Capture, own: Floats, broken: Bools) -> bool:
        """Whether ``side`` was given prompts to score.

        Decode steps score none, and of others (recorded, imported) many were given
        completions alone.
        """
        if side.info.path in ("decode", "forced_decode"):
            return False
        in_prompt = ~self.in_completion
        answered = ~np.isnan(own) | broken
        answered_prompt = in_prompt & answered
        return bool(answered_prompt.any())

    @cached_property
    def in_completion(self) -> Bools:
        """bool[N]: the token lies behind its sequence's prompt."""
        return completion_mask(self.sequences, self.count)

    @cached_property
    def messages(self) -> Messages:
        """The messages of the pair's sequences, and which of them are turns."""
        # Imported here: the first screen is drawn without it.
        from logdrift.core.compare.turns import messages_of

        return messages_of(self.sequences, self.count)

    @cached_property
    def versions(self) -> TokenVersions | None:
        """With which weights the tokens were sampled; None where neither side tells."""
        if self.a.versions is None and self.b.versions is None:
            return None
        from logdrift.core.compare.versions import token_versions

        return token_versions(self.a, self.b, self.tokens)

    def scope_mask(self, scope: Scope) -> Bools:
        """bool[N]: scored tokens of the scope. InputError for an unknown scope."""
        if scope == "all":
            return self.scored
        return self.scored & self.place_mask(scope)

    def place_mask(self, scope: Scope) -> Bools:
        """bool[N]: all tokens of the scope, whoever scored them. InputError for an
        unknown scope.
        """
        if scope == "all":
            return np.ones(self.tokens, np.bool_)
        if scope == "prompt":
            return ~self.in_completion
        if scope == "completion":
            return self.in_completion
        raise InputError(f"scope {scope!r} is unknown: use {', '.join(SCOPES)}")

    @cached_property
    def _magnitude(self) -> Floats:
        """|delta| of scored tokens, 0 for all others, f32[N]."""
        size = np.abs(self.delta)
        zero = np.float32(0)
        return np.where(self.scored, size, zero)

    def count_per_sequence(self, mask: Bools) -> Positions:
        """How many tokens of each sequence ``mask``, bool[N], keeps: int64[S]."""
        ones = mask.astype(np.int64)
        return self._per_sequence(np.add, ones)

    @cached_property
    def _scored_counts(self) -> Positions:
        return self.count_per_sequence(self.scored)

    @cached_property
    def worst(self) -> Floats:
        """The largest |delta| of each sequence, f32[S] in nats.

        NaN for a sequence with nothing scored.
        """
        largest = self._per_sequence(np.maximum, self._magnitude)
        has_scores = self._scored_counts > 0
        worst = np.where(has_scores, largest, np.nan)
        return worst.astype(np.float32)

    @cached_property
    def mean_abs(self) -> Floats:
        """The mean |delta| of each sequence, f32[S] in nats.

        NaN for a sequence with nothing scored.
        """
        sizes = self._magnitude.astype(np.float64)
        total = self._per_sequence(np.add, sizes)
        counts = self._scored_counts
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_scored = total / counts
        has_scores = counts > 0
        mean = np.where(has_scores, mean_scored, np.nan)
        return mean.astype(np.float32)

    def _per_sequence(self, reduce: np.ufunc, values: Array) -> Array:
        return reduce_segments(reduce, values, self.offsets)

    def sequence_of(self, position: int) -> int:
        """The sequence that holds a flat position.

        IndexError outside of the pair's tokens.
        """
        if not 0 <= position < self.tokens:
            raise IndexError(
                f"position {position} is outside of the {self.tokens} tokens of the"
                " pair"
            )
        offsets = self.sequences.offsets
        sequences_begun = np.searchsorted(offsets, position, "right")
        return int(sequences_begun) - 1

    def divergences(self, threshold: float) -> Positions:
        """Flat positions of scored tokens with |delta| > ``threshold``, int64
        ascending.

        Tokens that are `broken` are among them: no threshold excuses these. The last
        few thresholds are kept.
        """
        positions = self._beyond.get(threshold)
        if positions is None:
            if len(self._beyond) >= _KEPT_THRESHOLDS:
                oldest = next(iter(self._beyond))
                del self._beyond[oldest]
            positions = self._positions_beyond(threshold)
            self._beyond[threshold] = positions
        return positions

    def _positions_beyond(self, threshold: float) -> Positions:
        limit = np.float64(threshold)
        is_larger = self._magnitude > limit
        beyond = self.scored & is_larger
        a_flags_nan = self.a.nan is not None
        b_flags_nan = self.b.nan is not None
        if a_flags_nan or b_flags_nan:
            beyond |= self.broken
        return np.flatnonzero(beyond)


def _logprobs(capture: Capture, tokens: int) -> Floats:
    if tokens == 0:
        return np.empty(0, np.float32)
    logprob = capture.logprob.whole()
    return logprob[:tokens]


def _broken(capture: Capture, tokens: int) -> Bools:
    if tokens == 0 or capture.nan is None:
        return np.zeros(tokens, np.bool_)
    flags = capture.nan.whole()[:tokens]
    is_flagged = flags == 1
    # A flag beside a number says nothing.
    has_none = np.isnan(_logprobs(capture, tokens))
    broken: Bools = is_flagged & has_none
    return broken
