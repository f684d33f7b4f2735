"""What a token is in its sequence: prompt or completion, masked, of which message and
turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logdrift.core.compare.turns import Messages, messages_in
from logdrift.core.session.message_roles import UNKNOWN, role_name

if TYPE_CHECKING:
    from logdrift.core.session.contents import Sequences


class TokenRole(NamedTuple):
    """``number`` counts the tokens of the prompt, or of the completion, from 1, and
    ``of`` is how many there are.

    ``message`` is the role of the message, "" where it is not known. ``turn`` of
    ``turns`` is the turn of the assistant that the token belongs to, from 1; 0 where
    there is one alone, and for a token of another message.
    """

    in_prompt: bool
    masked: bool
    number: int
    of: int
    turn: int = 0
    turns: int = 0
    message: str = ""

    def words(self) -> str:
        """As the inspector says it: ``completion 12 of 40, turn 2 of 3``."""
        part = "completion"
        if self.in_prompt:
            part = "prompt"
        words = f"{part} {self.number:,} of {self.of:,}"
        if self.message:
            words += f", {self.message}"
        if self.turn:
            words += f", turn {self.turn} of {self.turns}"
        if self.masked:
            words += ", masked: does not count"
        return words


def role_of(sequences: Sequences, sequence: int, index: int) -> TokenRole:
    """The role of token ``index`` of a sequence."""
    start, stop = sequences.bounds(sequence)
    prompt = int(sequences.prompt_lengths[sequence])
    in_prompt = index < prompt
    number = index
    tokens = prompt
    if not in_prompt:
        number = index - prompt
        tokens = stop - start - prompt
    role = TokenRole(
        in_prompt=in_prompt,
        masked=bool(sequences.mask[start + index] == 0),
        number=number + 1,
        of=tokens,
    )
    return _of_message(role, messages_in(sequences, sequence), index)


def _of_message(role: TokenRole, messages: Messages, index: int) -> TokenRole:
    """The role with what is known of the message that has token ``index``."""
    message = messages.at(index)
    code = int(messages.roles[message])
    if code != UNKNOWN and messages.are_told:
        role = role._replace(message=role_name(code))
    turns = int(messages.turns_of_sequence[0])
    if turns > 1:
        turn = int(messages.turns[message])
        role = role._replace(turn=turn, turns=turns)
    return role
