"""Which captures of a session an experiment is compared with."""

from __future__ import annotations

from logdrift.core.diagnose.experiments import ChangedSide
from logdrift.core.facts import Batch
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Capture, Session

_MACHINE = (
    "engine_version",
    "torch_version",
    "transformers_version",
    "device",
    "device_name",
    "threads",
    "weights_digest",
)
"""Facts that no knob changes.

Where they differ, the experiment ran on another machine or with another version.
"""


def repeats_of(session: Session, label: str) -> list[Capture]:
    """A capture of the session and its complete repeats, itself first.

    Repeats are of the same backend and path, in the same kind of batch.
    """
    info = session.manifest.capture(label)
    repeats = []
    for capture in _same_kind(session, info.backend, info.path, info.batch):
        if capture.status == "complete":
            repeats.append(capture)
    repeats.sort(key=lambda capture: (capture.label != label, capture.repeat))
    return [session.capture(capture.label) for capture in repeats]


def first_along(session: Session, side: ChangedSide) -> list[Capture]:
    """The session's unchanged captures along the path of a changed side.

    That path stands for decode, which cannot be repeated. Empty where the session has
    no such capture, or where its first is not complete.
    """
    info = session.manifest.capture(side.label)
    along_path = _same_kind(session, info.backend, side.path, side.batch)
    for capture in along_path:
        if capture.repeat == 1:
            if capture.status != "complete":
                return []
            return repeats_of(session, capture.label)
    return []


def _same_kind(
    session: Session, backend: str, path: str, batch: Batch
) -> list[CaptureInfo]:
    """The captures of a backend along a path in this kind of batch."""
    return [
        capture
        for capture in session.captures
        if capture.backend == backend
        and capture.path == path
        and capture.batch == batch
    ]


def machine_differs(unchanged: Capture, changed: Capture) -> str:
    """How machine and software differ between two captures, in words.

    Empty where no difference is known.
    """
    old = unchanged.info.facts
    new = changed.info.facts
    if old is None or new is None:
        return ""
    differences = []
    for name in _MACHINE:
        before = getattr(old, name)
        now = getattr(new, name)
        if before is None or now is None:
            continue
        if before != now:
            differences.append(f"{name} was {before}, is {now}")
    return ", ".join(differences)
