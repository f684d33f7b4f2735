"""A session with one side alone: how the other one is scored on its ids."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

_OTHER_SIDES = {"rollout": "transformers@trainer"}
_ROLLOUT = "vllm@rollout"
_UNKNOWN = ("", "unknown")


def lone_capture(session: Session) -> CaptureInfo | None:
    """The only capture that has a finished sequence; None where there are more, or
    none.
    """
    finished = [info for info in session.captures if info.sequences]
    if len(finished) == 1:
        return finished[0]
    return None


def other_side(role: str) -> str:
    """The spec of a backend for the side that faces this role."""
    return _OTHER_SIDES.get(role, _ROLLOUT)


def into_words(session: Session, lone: CaptureInfo) -> Sequence[str]:
    """The command that scores the session's ids for the other side, as words behind
    ``logdrift``. ``MODEL`` stands where only the user knows.
    """
    words = ["capture", "--into", str(session.folder)]
    if session.is_import:
        model = session.manifest.model.id
        known = model not in _UNKNOWN
        words += ["--model", model if known else "MODEL"]
    return [*words, "--backend", other_side(lone.role)]


def into_command(session: Session, lone: CaptureInfo) -> str:
    """`into_words` as they are typed, ``logdrift`` in front."""
    words = into_words(session, lone)
    return shlex.join(["logdrift", *words])
