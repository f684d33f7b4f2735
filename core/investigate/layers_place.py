"""Where layers are looked for: two backends that can be hooked, the tokens of one
sequence, and the standard that both are measured against.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import numpy as np

from logdrift.core.capture import trust
from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError
from logdrift.core.plan import BackendSpec, CapturePlan
from logdrift.core.session.below import folder_at
from logdrift.core.session.layers import FOLDER
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

WHOLE = 512
"""Tokens of a sequence up to which it is hooked from its start and can be replayed."""
BEFORE = 64
"""Positions that are hooked before a position beyond `WHOLE`."""
HEAD_IDS = 512
"""Ids at which logits are compared, besides the tokens of the sequence.

They are spread evenly over the vocabulary.
"""


@dataclass(frozen=True)
class _Window:
    """The part of a sequence that is hooked: positions ``first`` to ``last``.

    ``ids`` are those of the sequence from its start on. ``notes`` say what the window
    leaves out.
    """

    ids: list[int]
    first: int
    last: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HookedPlace:
    """Where layers are looked for: a pair of captures with the backends that are asked,
    and the tokens of a sequence. ``standard`` is what the others are measured against.
    """

    session: Session
    pair: tuple[str, str]
    sequence: int
    position: int | None
    specs: tuple[BackendSpec, BackendSpec]
    window: _Window
    standard: BackendSpec

    @classmethod
    def of(
        cls,
        session: Session,
        pair: tuple[str, str],
        sequence: int,
        position: int | None,
    ) -> HookedPlace:
        """Raises what `find_layers` raises before it starts an engine."""
        specs = hookable_specs(session, pair)
        trust.require(session.folder, session.manifest)
        window = window_of(session, sequence, position)
        standard = standard_of(session.plan, specs)
        _check_writable(session)
        return cls(
            session=session,
            pair=pair,
            sequence=sequence,
            position=position,
            specs=specs,
            window=window,
            standard=standard,
        )

    @property
    def head_ids(self) -> list[int]:
        """The ids at which logits are compared, in order."""
        return _head_ids(self.session, self.specs, self.window.ids)

    @property
    def file_name(self) -> str:
        """Name of the answer's files, without ending."""
        backend_a, backend_b = (spec.name for spec in self.specs)
        where = "all" if self.position is None else str(self.position)
        return f"{backend_a}-{backend_b}-{self.sequence}-{where}"


def hookable_specs(
    session: Session, pair: tuple[str, str]
) -> tuple[BackendSpec, BackendSpec]:
    """The backends of a pair of labels. InputError where they cannot be hooked."""
    info_a, info_b = (session.manifest.capture(label) for label in pair)
    if info_a.backend == info_b.backend:
        raise InputError(
            f"{pair[0]} and {pair[1]} are both of backend {info_a.backend!r}: its"
            " layers are the same"
        )
    spec_a = _hookable(session, info_a)
    spec_b = _hookable(session, info_b)
    return spec_a, spec_b


def _hookable(session: Session, info: CaptureInfo) -> BackendSpec:
    """The backend of a capture. InputError where its layers cannot be asked for."""
    backends = () if session.plan is None else session.plan.backends
    by_name = {spec.name: spec for spec in backends}
    spec = by_name.get(info.backend)
    if spec is None:
        raise InputError(
            f"session {session.name} has no plan for backend {info.backend!r}: it"
            " cannot be started again"
        )
    engine = ENGINES.get(info.engine)
    if engine is None or "layers" not in engine.answers:
        raise InputError(
            f"backend {info.backend!r}: {info.engine} runs no model here that could"
            " be hooked"
        )
    return spec


def window_of(session: Session, sequence: int, position: int | None) -> _Window:
    """What of a sequence is hooked. InputError where it has no such position."""
    count = len(session.sequences)
    if not 0 <= sequence < count:
        raise InputError(
            f"session {session.name} has no sequence {sequence}: it has 0 to"
            f" {count - 1}"
        )
    ids = session.sequences.ids(sequence).tolist()
    if position is None:
        ids = ids[:WHOLE]
        last = len(ids) - 1
        return _Window(ids, first=0, last=last)
    if not 1 <= position < len(ids):
        raise InputError(
            f"sequence {sequence} has no scored token {position}: it has 1 to"
            f" {len(ids) - 1}"
        )
    ids = ids[:position]
    last = position - 1
    if last < WHOLE:
        return _Window(ids, first=0, last=last)
    note = (
        f"position {position} is beyond the {WHOLE} that are replayed: {BEFORE + 1}"
        " positions, relative errors alone"
    )
    first = last - BEFORE
    return _Window(ids, first=first, last=last, notes=(note,))


def standard_of(
    plan: CapturePlan | None, specs: tuple[BackendSpec, BackendSpec]
) -> BackendSpec:
    """The backend that the others are measured against: see `find_layers`."""
    backends = () if plan is None else plan.backends
    precise = [spec for spec in backends if _is_precise(spec)]
    references = [spec for spec in precise if spec.role == "reference"]
    replaying = [spec for spec in specs if ENGINES[spec.engine].replays]
    by_preference = [*references, *precise, *replaying, *specs]
    return by_preference[0]


def _is_precise(spec: BackendSpec) -> bool:
    """Whether a backend replays layers of the session's model in float32."""
    if not ENGINES[spec.engine].replays:
        return False
    return spec.dtype == "float32" and spec.model is None


def _head_ids(
    session: Session, specs: tuple[BackendSpec, BackendSpec], ids: list[int]
) -> list[int]:
    """The ids at which logits are compared, in order."""
    size = _smallest_vocabulary(session, specs) or max(ids) + 1
    number = min(size, HEAD_IDS)
    spread = np.linspace(0, size - 1, number).astype(int)
    in_vocabulary = [token_id for token_id in ids if token_id < size]
    return sorted({*spread.tolist(), *in_vocabulary})


def _smallest_vocabulary(
    session: Session, specs: tuple[BackendSpec, BackendSpec]
) -> int | None:
    """Size in ids; None where it is unknown."""
    names = {spec.name for spec in specs}
    sizes = [session.manifest.model.vocab_size]
    for info in session.captures:
        facts = info.facts
        if info.backend in names and facts is not None:
            sizes.append(facts.vocab_size)
    known_sizes = [size for size in sizes if size]
    return min(known_sizes, default=None)


def _check_writable(session: Session) -> None:
    try:
        with (
            folder_at(session.folder, FOLDER, create=True),
            tempfile.TemporaryFile(dir=session.folder / FOLDER),
        ):
            pass
    except OSError as error:
        raise InputError(
            f"session {session.name} cannot be written ({error.strerror}): copy its"
            " folder, and ask the copy"
        ) from None
