"""Turns of a conversation: stretches of tokens of one message, from the roles of tokens
and the mask.

Where the roles are not known, the mask tells: a stretch of a completion that counts was
sampled, so it is the assistant's, and what does not count came from elsewhere, such as
a tool.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.scopes import completion_mask
from logdrift.core.session.contents import Sequences
from logdrift.core.session.message_roles import ASSISTANT, MESSAGE_ROLES, UNKNOWN

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Codes = npt.NDArray[np.uint8]
    Positions = npt.NDArray[np.int64]
    Numbers = npt.NDArray[np.int32]

_PROMPT = len(MESSAGE_ROLES)
_MASKED = _PROMPT + 1
"""Kinds of tokens whose role is not known, beside the numbers of the roles."""


@dataclass(frozen=True, eq=False)
class Messages:
    """The M stretches of N tokens that are of one role each, in S sequences.

    starts i64[M+1] are the first tokens, flat, and N at the end. roles u8[M] are those
    of `message_roles`. turns i32[M] count the assistant's messages of each sequence
    from 1; 0 for those of others. first i64[S+1] is the first message of each sequence.
    """

    starts: Positions
    roles: Codes
    turns: Numbers
    first: Positions
    are_told: bool = True
    """The session knows roles: they are not guessed from the mask."""

    @cached_property
    def turn_of_token(self) -> Numbers:
        """i32[N]: the turn of each token, 0 where it is in none."""
        return np.repeat(self.turns, np.diff(self.starts))

    @cached_property
    def turns_of_sequence(self) -> Numbers:
        """i32[S]: how many turns each sequence has."""
        is_turn = self.turns > 0
        so_far = np.cumsum(is_turn)
        before = np.concatenate(([0], so_far))
        before_sequence = before[self.first]
        counts = np.diff(before_sequence)
        return counts.astype(np.int32)

    @cached_property
    def turn_starts(self) -> Positions:
        """The first token of each turn, flat and ascending."""
        starts = self.starts[:-1]
        is_turn = self.turns > 0
        of_turns: Positions = starts[is_turn]
        return of_turns

    @property
    def has_turns(self) -> bool:
        """Whether any sequence has more than one turn."""
        is_later = self.turns > 1
        return bool(is_later.any())

    def at(self, position: int) -> int:
        """The message that holds a flat position."""
        begun = np.searchsorted(self.starts, position, "right")
        return int(begun) - 1


def messages_of(sequences: Sequences, count: int | None = None) -> Messages:
    """The messages of the first ``count`` sequences (None: of all)."""
    if count is None:
        count = len(sequences)
    offsets = sequences.offsets[: count + 1]
    kinds = _kinds(sequences, count)
    tokens = len(kinds)
    starts = _starts(kinds, offsets)
    first = np.searchsorted(starts, offsets)
    of_message = kinds[starts]
    is_turn = of_message == ASSISTANT
    is_known = of_message < _PROMPT
    roles = np.where(is_known, of_message, UNKNOWN)
    return Messages(
        starts=np.append(starts, tokens),
        roles=roles.astype(np.uint8),
        turns=_numbered(is_turn, first),
        first=first,
        are_told=sequences.roles is not None,
    )


def _starts(kinds: Codes, offsets: Positions) -> Positions:
    """The first token of each message: its kind is another one than before, or a
    sequence begins.
    """
    tokens = len(kinds)
    begins = np.ones(tokens, np.bool_)
    begins[1:] = kinds[1:] != kinds[:-1]
    is_filled = np.diff(offsets) > 0
    of_sequences = offsets[:-1][is_filled]
    begins[of_sequences] = True
    return np.flatnonzero(begins)


def messages_in(sequences: Sequences, sequence: int) -> Messages:
    """The messages of one sequence, its tokens counted from 0."""
    start, stop = sequences.bounds(sequence)
    tokens = slice(start, stop)
    one = slice(sequence, sequence + 1)
    length = stop - start
    roles = sequences.roles
    if roles is not None:
        roles = roles[tokens]
    alone = replace(
        sequences,
        token_ids=sequences.token_ids[tokens],
        offsets=np.array([0, length]),
        prompt_lengths=sequences.prompt_lengths[one],
        mask=sequences.mask[tokens],
        finish=sequences.finish[one],
        roles=roles,
    )
    return messages_of(alone)


def roles_of_tokens(sequences: Sequences, count: int) -> Codes:
    """u8[N]: the role of each token."""
    tokens = int(sequences.offsets[count])
    if sequences.roles is None:
        return np.zeros(tokens, np.uint8)
    roles = sequences.roles[:tokens]
    return known_roles(roles)


def known_roles(roles: Codes) -> Codes:
    """The same, unknown for a number that only a newer version has."""
    is_known = roles < len(MESSAGE_ROLES)
    known = np.where(is_known, roles, UNKNOWN)
    return known.astype(np.uint8)


def _kinds(sequences: Sequences, count: int) -> Codes:
    """u8[N]: the role of each token, or what it is where that is not known."""
    roles = roles_of_tokens(sequences, count)
    tokens = len(roles)
    mask = sequences.mask[:tokens]
    sampled_or_not = np.where(mask == 1, ASSISTANT, _MASKED)
    in_completion = completion_mask(sequences, count)
    by_place = np.where(in_completion, sampled_or_not, _PROMPT)
    is_unknown = roles == UNKNOWN
    kinds = np.where(is_unknown, by_place, roles)
    return kinds.astype(np.uint8)


def _numbered(is_turn: Array, first: Positions) -> Numbers:
    """Numbers of the turns among M messages, from 1 in each sequence; 0 for others."""
    so_far = np.cumsum(is_turn)
    before = np.concatenate(([0], so_far))
    messages = np.diff(first)
    at_start = before[first[:-1]]
    before_sequence = np.repeat(at_start, messages)
    in_sequence = so_far - before_sequence
    numbers = np.where(is_turn, in_sequence, 0)
    return numbers.astype(np.int32)
