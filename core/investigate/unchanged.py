"""Which captures of a session an experiment is compared with."""

from __future__ import annotations

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.experiments import ChangedSide
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
"""Facts that no knob changes: where they differ from the session's, another machine or
version did the experiment.
"""


def repeats_of(session: Session, label: str) -> list[Capture]:
    """A capture of the session and its complete repeats in the same kind of batch,
    itself first.
    """
    info = session.manifest.capture(label)
    wanted = (info.backend, info.path, info.batch, "complete")
    same = [
        capture
        for capture in session.captures
        if (capture.backend, capture.path, capture.batch, capture.status) == wanted
    ]
    same.sort(key=lambda capture: (capture.label != label, capture.repeat))
    return [session.capture(capture.label) for capture in same]


def first_along(session: Session, side: ChangedSide) -> list[Capture]:
    """The session's own unchanged captures along the path that stands for one that
    cannot be repeated; empty where they are not complete.
    """
    backend = session.manifest.capture(side.label).backend
    wanted = (backend, side.path, side.batch, 1)
    for capture in session.captures:
        if (capture.backend, capture.path, capture.batch, capture.repeat) == wanted:
            complete = capture.status == "complete"
            if complete:
                return repeats_of(session, capture.label)
            return []
    return []


def pair_of(session: Session, a: Capture, b: Capture) -> Pair:
    """The pair of two captures over the sequences that both have."""
    sequences = session.sequences
    count = min(a.sequences, b.sequences, len(sequences))
    tokens = min(int(sequences.offsets[count]), a.tokens, b.tokens)
    return Pair(
        session=session, a=a, b=b, sequences=sequences, count=count, tokens=tokens
    )


def machine_differs(unchanged: Capture, changed: Capture) -> str:
    """What the machine or its software has otherwise than when the unchanged capture
    was made; empty: nothing known.
    """
    old = unchanged.info.facts
    new = changed.info.facts
    if old is None or new is None:
        return ""
    differences = []
    for name in _MACHINE:
        before = getattr(old, name)
        now = getattr(new, name)
        if before is not None and now is not None and before != now:
            differences.append(f"{name} was {before}, is {now}")
    return ", ".join(differences)
