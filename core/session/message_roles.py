"""From whose message a token is: system, user, assistant or tool.

A backend has a role too (reference, trainer, rollout): that is another word for another
thing.
"""

from __future__ import annotations

MESSAGE_ROLES = ("unknown", "system", "user", "assistant", "tool")
"""By the number that a part of the sequences stores for a token. The order is a promise
of the session format.
"""
UNKNOWN, SYSTEM, USER, ASSISTANT, TOOL = range(len(MESSAGE_ROLES))

_OTHER_NAMES = {
    "developer": SYSTEM,
    "human": USER,
    "model": ASSISTANT,
    "function": TOOL,
    "ipython": TOOL,
    "environment": TOOL,
}
"""Other names in chat templates and frameworks: OpenAI's developer and function,
Gemma's model, Llama's ipython.
"""


def role_code(name: str | None) -> int:
    """The number of a message's role; `UNKNOWN` for None and a name that is none of
    these.
    """
    if name in MESSAGE_ROLES:
        return MESSAGE_ROLES.index(name)
    return _OTHER_NAMES.get(str(name), UNKNOWN)


def role_name(code: int) -> str:
    """The name of a number; a number that a newer version has written is unknown."""
    if 0 <= code < len(MESSAGE_ROLES):
        return MESSAGE_ROLES[code]
    return MESSAGE_ROLES[UNKNOWN]


def is_known(name: str) -> bool:
    """Whether the name means one of the roles."""
    return name in MESSAGE_ROLES or name in _OTHER_NAMES
