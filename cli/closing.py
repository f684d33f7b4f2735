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
from logdrift.core.report.one_side import into_command, lone_capture
from logdrift.core.session.reader import Session, open_session


def closing_lines(folder: Path) -> list[str]:
    """The lines, without a line end."""
    try:
        session = open_session(folder)
        about, command = _about(session)
    except LogdriftError as error:
        # The session is there: what cannot be said of it is no failure of the command.
        about, command = [str(error)], _command("report", folder)
    return [*about, f"next: {command}"]


def _command(name: str, folder: Path) -> str:
    return f"logdrift {name} {shlex.quote(str(folder))}"


def _about(session: Session) -> tuple[list[str], str]:
    """What is said of a session, and the command that goes on from it."""
    labels = default_pair(session)
    if labels is None:
        return _about_one_side(session)
    a, b = labels
    pair = make_pair(session, a, b)
    answer = answer_of_pair(session, pair)
    tokens = counted(answer.tokens, "token")
    size = f"{a} → {b}: MAE {fixed(answer.mae)} nats over {tokens}"
    name = "open" if answer.meaning == "good" else "why"
    return [size, answer.sentence], _command(name, session.folder)


def _about_one_side(session: Session) -> tuple[list[str], str]:
    """`_about` of a session that has no two sides."""
    lone = lone_capture(session.captures)
    if lone is None:
        nothing = "nothing to compare: fewer than two captures have a finished sequence"
        return [nothing], _command("open", session.folder)
    one_side = (
        f"nothing to compare: {lone.label} is the only side, so let another engine"
        " score its ids"
    )
    return [one_side], into_command(session, lone)
