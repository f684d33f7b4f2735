"""What a token is in its sequence: prompt or completion, masked, of which turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.session.contents import Sequences


class TokenRole(NamedTuple):
    """``number`` counts the tokens of the prompt, or of the completion, from 1, and
    ``of`` is how many there are.

    ``turn`` of ``turns`` is the assistant's turn that the token belongs to, from 1: the
    stretches of a completion that the mask lets count. 0 where a completion is one
    stretch, and for a masked token.
    """

    in_prompt: bool
    masked: bool
    number: int
    of: int
    turn: int = 0
    turns: int = 0

    def words(self) -> str:
        """As the inspector says it: ``completion 12 of 40, turn 2 of 3``."""
        part = "completion"
        if self.in_prompt:
            part = "prompt"
        words = f"{part} {self.number:,} of {self.of:,}"
        if self.turn:
            words += f", turn {self.turn} of {self.turns}"
        if self.masked:
            words += ", masked: does not count"
        return words


def role_of(sequences: Sequences, sequence: int, index: int) -> TokenRole:
    """The role of token ``index`` of a sequence."""
    start, stop = sequences.bounds(sequence)
    prompt = int(sequences.prompt_lengths[sequence])
    masked = sequences.mask[start + index] == 0
    if index < prompt:
        return TokenRole(in_prompt=True, masked=masked, number=index + 1, of=prompt)
    counts = sequences.mask[start + prompt : stop] != 0
    place = index - prompt
    turn, turns = _turn(counts, place)
    return TokenRole(
        in_prompt=False,
        masked=masked,
        number=place + 1,
        of=stop - start - prompt,
        turn=turn,
        turns=turns,
    )


def _turn(counts: npt.NDArray[np.bool_], place: int) -> tuple[int, int]:
    """The number of the stretch of True around ``place``, and how many there are."""
    before = np.concatenate(([False], counts[:-1]))
    begins = counts & ~before
    turns = int(np.count_nonzero(begins))
    if turns < 2 or not counts[place]:
        return 0, 0
    begun = begins[: place + 1]
    return int(np.count_nonzero(begun)), turns
