"""A session with one side alone: how the other one is scored on its ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logdrift.core.session.layout import CaptureInfo
    from logdrift.core.session.reader import Session

_OTHER_SIDES = {"rollout": "transformers@trainer"}
_ROLLOUT = "vllm@rollout"
_UNKNOWN = ("", "unknown")


NOTHING = "Nothing to compare: fewer than two captures have a finished sequence."


def lone_capture(captures: Sequence[CaptureInfo]) -> CaptureInfo | None:
    """The only capture of a session, with finished sequences; None where there are
    more, be they unfinished, or none.
    """
    if len(captures) == 1 and captures[0].sequences:
        return captures[0]
    return None


def nothing_to_compare(captures: Sequence[CaptureInfo]) -> str:
    """What a session without a pair lacks, in sentences."""
    lone = lone_capture(captures)
    if lone is None:
        return NOTHING
    return (
        f"Nothing to compare: {lone.label} is the only side. Another engine scores the"
        " session's ids with logdrift capture --into SESSION --model MODEL --backend"
        f" {other_side(lone.role)}"
    )


def only_side(lone: CaptureInfo) -> str:
    """What a screen says of it, where a backend is added with one key."""
    return f"{lone.label} is the only side: add a backend that scores the other"


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
    import shlex  # not for the first screen

    words = into_words(session, lone)
    return shlex.join(["logdrift", *words])
