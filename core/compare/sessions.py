"""Two sessions against each other: the same tokens after the same tokens, scored before
and after a change.

Sequences are matched by their ids, not by their place. Where an engine has sampled
another completion to the same prompt, the tokens up to the first that differs still
have the same context in both sessions, so these are compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.changes import Changes, change_stats
from logdrift.core.compare.distribution import token_topk
from logdrift.core.compare.gate import Reason, Severity
from logdrift.core.compare.loaded.difference import Difference, sentence
from logdrift.core.compare.pair import Pair, Scope
from logdrift.core.compare.unit_totals import TOPK, PairTokens
from logdrift.core.errors import InputError
from logdrift.core.session.layout import ModelInfo
from logdrift.core.session.reader import Sequences

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Match:
    """M pairs of sequences that begin alike, in the order of the new session.

    ``old`` and ``new`` i64[M] are sequence numbers, ``lengths`` i64[M] the tokens (from
    the first on) that are the same in both; ``whole`` of the M are the same to their
    end in both.
    """

    old: Positions
    new: Positions
    lengths: Positions
    whole: int

    def positions(self, sequences: Sequences, which: Positions) -> Positions:
        """Flat positions, in one session, of all common tokens, i64[sum of lengths];
        ``which`` is `old` or `new`.
        """
        starts = np.cumsum(self.lengths) - self.lengths
        starts_in_session = sequences.offsets[which]
        shifts = np.repeat(starts_in_session - starts, self.lengths)
        flat: Positions = np.arange(len(shifts), dtype=np.int64) + shifts
        return flat


def match_sequences(
    old: Sequences, new: Sequences, old_count: int, new_count: int
) -> Match:
    """Match the first ``old_count`` sequences of one session with the first
    ``new_count`` of another.

    Sequences with the same ids and prompt length come first; of what is left, those
    with the same prompt ids, up to the first id that differs. Several alike
    (duplicates, samples of one prompt) are taken in order, each once.
    """
    partners: _Partners = {}
    _match_alike(old, new, range(old_count), range(new_count), partners, whole=True)
    exact = len(partners)
    taken = {partner.old for partner in partners.values()}
    rest_old = [index for index in range(old_count) if index not in taken]
    rest_new = [index for index in range(new_count) if index not in partners]
    _match_alike(old, new, rest_old, rest_new, partners, whole=False)
    in_order = sorted(partners)
    return Match(
        old=_indices([partners[index].old for index in in_order]),
        new=_indices(in_order),
        lengths=_indices([partners[index].shared for index in in_order]),
        whole=exact,
    )


def _indices(numbers: list[int]) -> Positions:
    return np.array(numbers, np.int64)


class _Partner(NamedTuple):
    """The old sequence that a new one is matched with, and how many ids they share."""

    old: int
    shared: int


_Partners = dict[int, _Partner]
"""By the number of the new sequence."""


def _match_alike(
    old: Sequences,
    new: Sequences,
    old_indices: Iterable[int],
    new_indices: Iterable[int],
    partners: _Partners,
    *,
    whole: bool,
) -> None:
    """Add matches to ``partners``; ``whole`` sequences must be alike, else prompts."""
    waiting: dict[tuple[int, bytes], deque[int]] = {}
    for index in old_indices:
        key = _key(old, index, whole)
        waiting.setdefault(key, deque()).append(index)
    for index in new_indices:
        alike = waiting.get(_key(new, index, whole))
        if alike:
            partner = alike.popleft()
            shared = _common(old.ids(partner), new.ids(index))
            partners[index] = _Partner(partner, shared)


def _key(sequences: Sequences, index: int, whole: bool) -> tuple[int, bytes]:
    """What sequences that are alike have in common: prompt length and ids."""
    prompt = int(sequences.prompt_lengths[index])
    ids = sequences.ids(index)
    if not whole:
        ids = ids[:prompt]
    return prompt, ids.tobytes()


def _common(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]) -> int:
    """How many ids from the first on are the same."""
    length = min(len(a), len(b))
    differs = a[:length] != b[:length]
    if differs.any():
        return int(differs.argmax())
    return length


@dataclass(frozen=True)
class SessionComparison:
    """A pair of captures in two sessions, over the n tokens of the scope that all four
    captures scored.

    ``old_at`` and ``new_at`` i64[n] are flat positions in the two sessions, in order;
    ``common`` is the number of matched tokens, scored or not, of all scopes.
    """

    match: Match
    common: int
    old_at: Positions
    new_at: Positions
    old: PairTokens
    new: PairTokens
    changes: Changes

    def moved(self, count: int, worse: bool) -> Positions:
        """Indices into the n tokens: the ``count`` whose |delta| grew (``worse``) or
        shrank most, the most first.

        Ties by position. A token whose |delta| did not move in that direction is never
        among them.
        """
        by = growth(self.old.delta, self.new.delta)
        if not worse:
            by = -by
        moved = np.flatnonzero(by > 0)
        rest = len(moved) - count
        if rest > 0:
            border = np.partition(by[moved], rest)[rest]
            moved = moved[by[moved] >= border]
        by_size = np.lexsort((moved, -by[moved]))
        most: Positions = moved[by_size][:count]
        return most


def growth(
    old: npt.NDArray[np.float32], new: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """|new| - |old| of two deltas f32[n]; 0 where both are infinite."""
    with np.errstate(invalid="ignore"):
        by = np.abs(new) - np.abs(old)
    both_infinite = np.isnan(by)
    known = np.where(both_infinite, np.float32(0), by)
    return known.astype(np.float32, copy=False)


def compare_sessions(
    old: Pair, new: Pair, scope: Scope, *, resamples: int = 2000, seed: int = 0
) -> SessionComparison:
    """Compare one pair of captures before (``old``) and after (``new``) a change, over
    ``scope``.

    Raises InputError where the two have no sequence, or no scored token of the scope,
    in common.
    """
    match = match_sequences(old.sequences, new.sequences, old.count, new.count)
    if not len(match.new):
        raise InputError(
            "nothing in common: no prompt of one session has the ids of a prompt of the"
            " other: capture both from the same prompts"
        )
    old_common = match.positions(old.sequences, match.old)
    new_common = match.positions(new.sequences, match.new)
    old_scored = old.scope_mask(scope)[old_common]
    new_scored = new.scope_mask(scope)[new_common]
    scored = old_scored & new_scored
    if not scored.any():
        raise _nothing_scored(len(match.new), scope)
    old_at = old_common[scored]
    new_at = new_common[scored]
    old_tokens = _tokens(old, old_at)
    new_tokens = _tokens(new, new_at)
    lengths = _scored_lengths(match, scored)
    changes = change_stats(
        old_tokens, new_tokens, lengths, resamples=resamples, seed=seed
    )
    return SessionComparison(
        match=match,
        common=len(old_common),
        old_at=old_at,
        new_at=new_at,
        old=old_tokens,
        new=new_tokens,
        changes=changes,
    )


def _nothing_scored(matched: int, scope: Scope) -> InputError:
    if scope == "all":
        what = "token"
        remedy = "give another --pair"
    else:
        what = f"{scope} token"
        remedy = "try --scope all"
    return InputError(
        f"nothing in common: {matched:,} sequences begin alike, but no {what} of theirs"
        f" is the same and scored by all four captures: {remedy}"
    )


def _scored_lengths(match: Match, scored: npt.NDArray[np.bool_]) -> Positions:
    """How many common tokens of each matched sequence are scored, i64[M]."""
    matched = len(match.new)
    sequence = np.repeat(np.arange(matched), match.lengths)
    return np.bincount(sequence[scored], minlength=matched)


def judge_sessions(
    old: ModelInfo, new: ModelInfo, tokenizer: tuple[Difference, ...] = ()
) -> tuple[Reason, ...]:
    """Whether the models of two sessions let the same ids be compared, worst first;
    empty where nothing is wrong.

    ``tokenizer``: what their tokenizers differ in by name, where that is known.

    Digests that were not observed say nothing here: the gate of each pair has already
    said so.
    """
    reasons = []
    for field in _FIELDS_OF_MODEL:
        value_old = getattr(old, field.name)
        value_new = getattr(new, field.name)
        if value_old is None or value_new is None or value_old == value_new:
            continue
        text = field.text
        differences: tuple[Difference, ...] = ()
        if tokenizer and field.code == "tokenizer":
            text += f" Old against new: {sentence(tokenizer)}."
            differences = tokenizer
        reasons.append(Reason(field.code, field.severity, text, differences))
    return tuple(reasons)


class _FieldOfModel(NamedTuple):
    """A field of `ModelInfo`, and the reason where it differs."""

    name: str
    code: str
    severity: Severity
    text: str


_FIELDS_OF_MODEL = (
    _FieldOfModel(
        name="vocab_size",
        code="vocabulary",
        severity="not_comparable",
        text=(
            "the two sessions are of models with different vocabularies, so the same"
            " ids mean different texts: compare sessions of one model."
        ),
    ),
    _FieldOfModel(
        name="tokenizer_digest",
        code="tokenizer",
        severity="not_comparable",
        text=(
            "the two sessions have different tokenizers, so the same ids mean"
            " different texts: compare sessions of one model."
        ),
    ),
    _FieldOfModel(
        name="weights_digest",
        code="weights",
        severity="caution",
        text=(
            "the two sessions have different weights: what changed may be the model and"
            " not the way it is computed."
        ),
    ),
)


def _tokens(pair: Pair, at: Positions) -> PairTokens:
    return PairTokens(
        delta=pair.delta[at],
        logprob_a=pair.logprob_a[at],
        logprob_b=pair.logprob_b[at],
        topk=_topk_values(pair, at),
    )


def _topk_values(pair: Pair, at: Positions) -> dict[str, npt.NDArray[np.float64]]:
    """A value for each of `TOPK` and each token ``at`` a flat position, NaN where it is
    not known; {} where no token has one.
    """
    keep = np.zeros(pair.tokens, np.bool_)
    keep[at] = True
    token_ids = pair.sequences.token_ids[: pair.tokens]
    per_token = token_topk(pair.a, pair.b, token_ids, keep)
    if not per_token.usable.any():
        return {}
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap = per_token.common / per_token.k
    same_top1 = per_token.same_top1.astype(np.float64)
    # One value per kept token in the order of the flat positions, which in one of the
    # sessions is not that of ``at``.
    place = np.cumsum(keep)[at] - 1
    topk = {}
    for path, values in zip(TOPK, (same_top1, overlap, per_token.kl), strict=True):
        known = np.where(per_token.usable, values, np.nan)
        topk[path] = known[place]
    return topk
