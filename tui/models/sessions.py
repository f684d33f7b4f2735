"""The list of sessions: one frozen record for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from logdrift.core.compare.pair import default_pair
from logdrift.core.errors import LogdriftError, words_inside
from logdrift.core.numbers import counted
from logdrift.core.session.progress import live, progress
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.visible import visible
from logdrift.tui.models.session_answers import (
    SessionAnswer,
    first_damage,
    session_answer,
)


@dataclass(frozen=True)
class SessionRow:
    """One line of the sessions screen. ``problem``: why the folder does not open;
    ``damage``: what is wrong with one of its captures; ``doing``: what one wants to
    know of a session that is not complete. ``answer`` comes last.
    """

    folder: Path
    name: str
    title: str = ""
    model: str = ""
    backends: str = ""
    tokens: int = 0
    state: str = ""
    progress: float | None = None
    left: float | None = None
    doing: str = ""
    mae: float | None = None
    verdict: str | None = None
    created: str = ""
    problem: str | None = None
    damage: str = ""
    answer: SessionAnswer | None = None

    @property
    def minute(self) -> str:
        """When it was created, as far as it is shown."""
        return self.created[:16]

    @property
    def size(self) -> float | None:
        """The MAE that is shown, in nats: the answer's, once there is one."""
        if self.answer is not None and self.answer.mae is not None:
            return self.answer.mae
        return self.mae


def can_be_done(name: str, row: SessionRow | None) -> bool:
    """Whether a command of the list has something to do with the selected session,
    None for no session.
    """
    needed = _NEEDED.get(name)
    if needed is None:
        return True
    return row is not None and needed(row)


def _opens(row: SessionRow) -> bool:
    return row.problem is None


def _runs(row: SessionRow) -> bool:
    return row.state == "running"


def _is_idle(row: SessionRow) -> bool:
    return not _runs(row)


def _can_be_added_to(row: SessionRow) -> bool:
    return _opens(row) and _is_idle(row)


def _lacks_captures(row: SessionRow) -> bool:
    return _can_be_added_to(row) and row.state != "complete"


_NEEDED: Mapping[str, Callable[[SessionRow], bool]] = {
    "why": _opens,
    "worst": _opens,
    "report": _opens,
    "mark": _opens,
    "save_page": _opens,
    "add_backend": _can_be_added_to,
    "rename": _is_idle,
    "delete": _is_idle,
    "resume": _lacks_captures,
    "cancel_capture": _runs,
}
"""What a session must be for a command; one without an entry needs none."""


def session_row(folder: Path, *, numbers: bool) -> SessionRow:
    """Open one folder for the list; ``numbers`` also works out MAE and verdict of its
    default pair.
    """
    name = visible(folder.name)
    try:
        session = open_session(folder)
        row = _plain_row(folder, name, session)
        if numbers:
            row = _with_numbers(row, session)
    except Exception as error:
        return damaged_row(folder, error)
    return row


def _with_numbers(row: SessionRow, session: Session) -> SessionRow:
    """The row with MAE and verdict of the default pair."""
    pair = default_pair(session)
    if pair is None:
        return row
    # The numbers come second: the list is drawn without what they need.
    from logdrift.tui.models.pairs import pair_row

    a, b = pair
    judgement = pair_row(session, a, b)
    damage = judgement.problem or first_damage(session)
    return replace(
        row,
        mae=judgement.mae,
        verdict=judgement.verdict,
        damage=damage,
    )


def answered_row(row: SessionRow) -> SessionRow:
    """The row with the answer of its default pair: a diagnosis."""
    if row.problem is not None or row.verdict is None:
        return row
    try:
        answer = session_answer(open_session(row.folder))
    except Exception as error:
        return replace(row, damage=_words(error, row.folder))
    return replace(row, answer=answer)


def damaged_row(folder: Path, error: Exception) -> SessionRow:
    """The row of a session that does not open."""
    name = visible(folder.name)
    return SessionRow(folder, name, problem=_words(error, folder))


def _words(error: Exception, folder: Path) -> str:
    if isinstance(error, LogdriftError):
        return visible(words_inside(error, folder))
    # Files from anywhere, with anything in them: what no check of the reader found.
    kind = type(error).__name__
    return visible(f"damaged: {kind}: {error}")


def _plain_row(folder: Path, name: str, session: Session) -> SessionRow:
    manifest = session.manifest
    parts = manifest.sequences.parts
    tokens = [part.tokens for part in parts]
    model = manifest.model.id
    model_name = Path(model).name or model
    names = [info.backend for info in session.captures]
    backends = dict.fromkeys(names)
    second = manifest.created[:19]
    second = second.replace("T", " ")
    row = SessionRow(
        folder=folder,
        name=name,
        title=visible(manifest.title),
        model=visible(model_name),
        backends=visible(", ".join(backends)),
        tokens=sum(tokens),
        created=visible(second),
    )
    holder = session.lock
    if holder is None:
        return replace(
            row,
            state=session.state,
            progress=progress(session),
            doing=_missing(session, session.state),
        )
    now = live(session, holder)
    return replace(
        row, state="running", progress=now.share, left=now.left, doing=now.doing
    )


def _missing(session: Session, state: str) -> str:
    """Why a session that no capture writes is not whole."""
    captures = session.captures
    if state == "failed":
        failed = next(info for info in captures if info.status == "failed")
        reasons = failed.failure_lines or ["no reason given"]
        return visible(f"{failed.label} failed: {reasons[0]}")
    if state == "partial":
        statuses = [info.status for info in captures]
        complete = statuses.count("complete")
        return f"{complete} of {counted(len(statuses), 'capture')} complete"
    return ""
