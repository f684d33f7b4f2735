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

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.changes import TOPK, Changes, PairTokens, change_stats
from logdrift.core.compare.distribution import token_topk
from logdrift.core.compare.gate import Reason, Severity
from logdrift.core.compare.loaded import Difference, sentence
from logdrift.core.compare.pair import Pair, Scope
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
        shifts = np.repeat(sequences.offsets[which] - starts, self.lengths)
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
    partners: dict[int, tuple[int, int]] = {}
    _match_alike(old, new, range(old_count), range(new_count), partners, whole=True)
    exact = len(partners)
    taken = {index for index, _ in partners.values()}
    rest_old = [index for index in range(old_count) if index not in taken]
    rest_new = [index for index in range(new_count) if index not in partners]
    _match_alike(old, new, rest_old, rest_new, partners, whole=False)
    rows = [
        (partners[index][0], index, partners[index][1]) for index in sorted(partners)
    ]
    columns = np.asarray(rows, np.int64).reshape(-1, 3).T
    return Match(old=columns[0], new=columns[1], lengths=columns[2], whole=exact)


def _match_alike(
    old: Sequences,
    new: Sequences,
    old_indices: Iterable[int],
    new_indices: Iterable[int],
    partners: dict[int, tuple[int, int]],
    *,
    whole: bool,
) -> None:
    """Add to ``partners``, by the number of the new sequence, the number of the old one
    and how many ids they share; ``whole`` sequences must be alike, else prompts.
    """
    waiting: dict[tuple[int, bytes], deque[int]] = {}
    for index in old_indices:
        waiting.setdefault(_key(old, index, whole), deque()).append(index)
    for index in new_indices:
        alike = waiting.get(_key(new, index, whole))
        if alike:
            partner = alike.popleft()
            partners[index] = partner, _common(old.ids(partner), new.ids(index))


def _key(sequences: Sequences, index: int, whole: bool) -> tuple[int, bytes]:
    prompt = int(sequences.prompt_lengths[index])
    ids = sequences.ids(index)
    return prompt, (ids if whole else ids[:prompt]).tobytes()


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
        found = np.flatnonzero(by > 0)
        if count < len(found):
            border = np.partition(by[found], len(found) - count)[len(found) - count]
            found = found[by[found] >= border]
        order: Positions = found[np.lexsort((found, -by[found]))][:count]
        return order


def growth(
    old: npt.NDArray[np.float32], new: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """|new| - |old| of two deltas f32[n]; 0 where both are infinite."""
    with np.errstate(invalid="ignore"):
        by = np.abs(new) - np.abs(old)
    return np.where(np.isnan(by), np.float32(0), by).astype(np.float32, copy=False)


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
    old_at = match.positions(old.sequences, match.old)
    new_at = match.positions(new.sequences, match.new)
    scored = old.scope_mask(scope)[old_at] & new.scope_mask(scope)[new_at]
    if not scored.any():
        if scope == "all":
            what = ""
        else:
            what = f"{scope} "
        raise InputError(
            f"nothing in common: {len(match.new):,} sequences begin alike, but no"
            f" {what}token of theirs is the same and scored by all four captures:"
            f" {'give another --pair' if scope == 'all' else 'try --scope all'}"
        )
    sequence = np.repeat(np.arange(len(match.new)), match.lengths)[scored]
    lengths = np.bincount(sequence, minlength=len(match.new))
    common = len(old_at)
    old_at = old_at[scored]
    new_at = new_at[scored]
    sides = _side(old, old_at), _side(new, new_at)
    changes = change_stats(*sides, lengths, resamples=resamples, seed=seed)
    return SessionComparison(match, common, old_at, new_at, *sides, changes)


def judge_sessions(
    old: ModelInfo, new: ModelInfo, tokenizer: tuple[Difference, ...] = ()
) -> tuple[Reason, ...]:
    """Whether the models of two sessions let the same ids be compared, worst first;
    empty where nothing is wrong.

    ``tokenizer``: what their tokenizers differ in by name, where that is known.

    Digests that were not observed say nothing here: the gate of each pair has already
    said so.
    """
    found = []
    for name, code, severity, text in _MODELS:
        a = getattr(old, name)
        b = getattr(new, name)
        if a is not None and b is not None and a != b:
            named = tokenizer if code == "tokenizer" else ()
            if named:
                said = f" Old against new: {sentence(named)}."
            else:
                said = ""
            found.append(Reason(code, severity, text + said, named))
    return tuple(found)


_MODELS: tuple[tuple[str, str, Severity, str], ...] = (
    (
        "vocab_size",
        "vocabulary",
        "not_comparable",
        (
            "the two sessions are of models with different vocabularies, so the same"
            " ids mean different texts: compare sessions of one model."
        ),
    ),
    (
        "tokenizer_digest",
        "tokenizer",
        "not_comparable",
        (
            "the two sessions have different tokenizers, so the same ids mean"
            " different texts: compare sessions of one model."
        ),
    ),
    (
        "weights_digest",
        "weights",
        "caution",
        (
            "the two sessions have different weights: what changed may be the model and"
            " not the way it is computed."
        ),
    ),
)


def _side(pair: Pair, at: Positions) -> PairTokens:
    keep = np.zeros(pair.tokens, np.bool_)
    keep[at] = True
    # One value per kept token in the order of the flat positions, which in one of the
    # sessions is not that of ``at``.
    place = np.cumsum(keep)[at] - 1
    found = token_topk(pair.a, pair.b, pair.sequences.token_ids[: pair.tokens], keep)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (found.same_top1.astype(np.float64), found.common / found.k, found.kl)
    topk = {
        name: np.where(found.usable, v, np.nan)[place]
        for name, v in zip(TOPK, values, strict=True)
    }
    return PairTokens(
        pair.delta[at],
        pair.logprob_a[at],
        pair.logprob_b[at],
        topk if found.usable.any() else {},
    )
