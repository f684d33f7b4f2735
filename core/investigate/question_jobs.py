"""Identity and layers in the background: the engines are asked in a process of its own,
which outlives the terminal and is ended from wherever one stands.

Each has its folder in the session, ``why/identity`` or ``why/layers``: see
`logdrift.core.investigate.detached`. The answers are saved there as well.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from logdrift.core.capture import trust
from logdrift.core.capture.background import start_detached
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.investigate.detached import cancel_work, note, work_noted
from logdrift.core.investigate.identity import chosen_backends, identify
from logdrift.core.investigate.layers import (
    asked_for_layers,
    check_layers,
    find_layers,
)
from logdrift.core.session import lock
from logdrift.core.session.below import folder_at
from logdrift.core.session.experiments import check_writable
from logdrift.core.session.identity import IDENTITY
from logdrift.core.session.layers import FOLDER as LAYERS
from logdrift.core.session.reader import Session, open_session

Question = Literal["identity", "layers"]
FOLDERS: Mapping[Question, str] = {"identity": IDENTITY, "layers": LAYERS}
"""Below the session: where a question is worked on and its answers are saved."""
LOG = "questions.log"
_WORK = {"identity": "identity check", "layers": "comparison of layers"}


def start_identity(session: Session, backends: Sequence[str] = ()) -> int:
    """Ask these backends (all of the plan without any) what they loaded, in a process
    of its own; returns its pid once it has begun.

    Raises InputError for an unknown backend, a session without a plan, one that is
    shipped or being captured, `Stranger` where the user has not confirmed it.
    """
    specs = chosen_backends(session, backends)
    check_writable(session)
    trust.require(session.folder, session.manifest)
    names = [spec.name for spec in specs]
    return _start(session, {"question": "identity", "backends": names})


def start_layers(
    session: Session, pair: tuple[str, str], sequence: int, position: int | None = None
) -> int:
    """Ask both backends of a pair of labels for their layers at a token, in a process
    of its own; returns its pid once it has begun.

    ``position`` None asks about the whole sequence. Raises what `check_layers` raises,
    InputError where the session is being captured.
    """
    check_layers(session, pair, sequence, position)
    return _start(
        session,
        {
            "question": "layers",
            "pair": list(pair),
            "sequence": sequence,
            "position": position,
        },
    )


def cancel_question(session_folder: Path, question: Question) -> None:
    """End what asks this question, with its engines; saved answers stay. Raises
    InputError where nothing runs here, LogdriftError where it does not end.
    """
    cancel_work(session_folder, FOLDERS[question], _WORK[question])


def _start(session: Session, job: Mapping[str, Any]) -> int:
    if session.lock is not None:
        reason = f"session {session.name} is in use: it is being captured or asked"
        raise InputError(reason, remedy="wait for it")
    below = FOLDERS[job["question"]]
    folder = session.folder.resolve()
    module = "logdrift.core.investigate.question_jobs"
    words = [module, json.dumps({**job, "folder": str(folder)})]
    with folder_at(session.folder, below, create=True):
        return start_detached(words, session.folder / below, LOG)


def main(argv: list[str]) -> int:
    """``python -m logdrift.core.investigate.question_jobs JSON``: the detached form.
    Everything it has to say is in the folder.
    """
    job = json.loads(argv[0])
    folder = Path(job["folder"])
    below = folder / FOLDERS[job["question"]]
    token = uuid.uuid4().hex
    try:
        lock.acquire(below, token)
    except LogdriftError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    try:
        return work_noted(below, lambda: _ask(open_session(folder), job, below))
    finally:
        lock.release(below)


def _ask(session: Session, job: Mapping[str, Any], below: Path) -> None:
    """Put the question, and note each step of each backend."""
    if job["question"] == "identity":
        specs = chosen_backends(session, job["backends"])
        on_event = _noted(below, [spec.name for spec in specs])
        identify(session, specs, on_event)
        return
    pair = (job["pair"][0], job["pair"][1])
    on_event = _noted(below, asked_for_layers(session, pair))

    def report(text: str) -> None:
        backend, _, stage = text.partition(": ")
        on_event({"type": "stage", "backend": backend, "stage": stage})

    find_layers(
        session,
        pair,
        job["sequence"],
        job["position"],
        report=report,
        cancel=threading.Event(),
    )


def _noted(below: Path, names: Sequence[str]) -> Callable[[Mapping[str, Any]], None]:
    """Notes events with the place of their backend among those that are asked, behind
    the plan of them.
    """
    note(below, {"type": "plan", "backends": list(names)})

    def on_event(event: Mapping[str, Any]) -> None:
        place = names.index(event["backend"]) + 1
        note(below, {**event, "place": place, "of": len(names)})

    return on_event


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
