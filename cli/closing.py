"""How a command that made a session ends: the size of the gap, the answer in a
sentence, and what to type next.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from logdrift.core.compare.pair import default_pair, make_pair
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import counted, fixed
from logdrift.core.report.answers import answer_of_pair
from logdrift.core.session.reader import Session, open_session


def closing_lines(folder: Path) -> list[str]:
    """The lines, without a line end."""
    try:
        session = open_session(folder)
        about, command = _about(session)
    except LogdriftError as error:
        # The session is there: what cannot be said of it is no failure of the command.
        about, command = [str(error)], "report"
    return [*about, f"next: logdrift {command} {shlex.quote(str(folder))}"]


def _about(session: Session) -> tuple[list[str], str]:
    """What is said of a session, and the command that goes on from it."""
    labels = default_pair(session)
    if labels is None:
        nothing = "nothing to compare: fewer than two captures have a finished sequence"
        return [nothing], "open"
    a, b = labels
    pair = make_pair(session, a, b)
    answer = answer_of_pair(session, pair)
    tokens = counted(answer.tokens, "token")
    size = f"{a} → {b}: MAE {fixed(answer.mae)} nats over {tokens}"
    command = "open" if answer.meaning == "good" else "why"
    return [size, answer.sentence], command
