"""Finding the first layer that differs: both backends of a pair are asked for their
residual stream, a Transformers one replays them, and the result is saved in the session
(``why/layers``).
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.capture import trust
from logdrift.core.diagnose.layers import Layers, compare_sides
from logdrift.core.diagnose.layers.errors import MeasuredLayers
from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.investigate.ask import ask
from logdrift.core.plan import BackendSpec, CapturePlan
from logdrift.core.session.below import folder_at
from logdrift.core.session.layers import FOLDER, STREAM_FILE, save_layers
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session
from logdrift.core.session.tensors import read_tensors

WHOLE = 512
"""A sequence up to this many tokens is looked at from its start, so that it can be
replayed.
"""
BEFORE = 64
"""Positions before the one asked for, where that one lies further back."""
HEAD_IDS = 512
"""Logits are compared at so many ids, spread evenly over the vocabulary, and at the
tokens of the sequence.
"""


@dataclass(frozen=True)
class _Ask:
    """One question, as often as it is asked."""

    session: Session
    arguments: dict[str, Any]
    folder: Path
    report: Callable[[str], None]
    cancel: threading.Event

    def of(self, spec: BackendSpec, **more: Any) -> tuple[dict[str, Any], Path]:
        out = self.folder / spec.name
        said = ask(
            self.session,
            eager(spec),
            "layers",
            {**self.arguments, **more},
            out,
            report=lambda text: self.report(f"{spec.name}: {text}"),
            cancel=self.cancel,
        )
        return said, out


def find_layers(
    session: Session,
    pair: tuple[str, str],
    sequence: int,
    position: int | None = None,
    *,
    report: Callable[[str], None] = lambda text: None,
    cancel: threading.Event | None = None,
) -> Layers:
    """Ask both backends of the pair of capture labels, judge, save, and return what was
    found.

    ``position`` is the token whose score is to be explained: the stream is taken up to
    the position before it, which predicts it. The standard is the session's float32
    Transformers reference, else a Transformers side of the pair, else side A. Raises
    InputError for labels, sequences or positions that are not there, LogdriftError
    where a backend fails.
    """
    specs = _specs(session, pair)
    trust.require(session.folder, session.manifest)
    ids, first, last, notes = _window(session, sequence, position)
    standard = _standard(session.plan, specs)
    if not ENGINES[standard.engine].replays:
        notes.append(
            "no Transformers backend takes part, so nothing could be replayed: add"
            " transformers:float32@reference"
        )
    _check_writable(session)
    folder = Path(tempfile.mkdtemp(prefix=".work-", dir=session.folder / FOLDER))
    try:
        asked = _Ask(
            session,
            {
                "token_ids": ids,
                "first": first,
                "last": last,
                "prefix": position is None,
                "head_ids": _head_ids(session, specs, ids),
            },
            folder,
            report,
            cancel or threading.Event(),
        )
        measured, base, kept = _measure(asked, specs, standard)
        try:
            others = [m for m in measured if m.backend != standard.name]
            sides, arrays = compare_sides(others, base, kept[0]["first"])
        except ValueError as error:
            raise LogdriftError(
                f"the two models are not built alike: {error}"
            ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    notes += _notes(session, pair, kept)
    where = "all" if position is None else str(position)
    name = f"{specs[0].name}-{specs[1].name}-{sequence}-{where}"
    found = Layers(
        name,
        *pair,
        sequence,
        position,
        kept[0]["first"],
        kept[0]["last"],
        standard.name,
        any(m.replay is not None for m in measured),
        sides,
        tuple(notes),
    )
    save_layers(session.folder, name, found.to_json(), arrays)
    return found


def eager(spec: BackendSpec) -> BackendSpec:
    """The backend as hooks need it: one scoring pass, nothing compiled."""
    return replace(
        spec,
        paths=("prefill",),
        repeats=1,
        alone=False,
        options={**spec.options, **ENGINES[spec.engine].hook_options},
    )


def _specs(session: Session, pair: tuple[str, str]) -> tuple[BackendSpec, BackendSpec]:
    infos: list[CaptureInfo] = [session.manifest.capture(label) for label in pair]
    if infos[0].backend == infos[1].backend:
        raise InputError(
            f"{pair[0]} and {pair[1]} are both of backend {infos[0].backend!r}: its"
            " layers are the same"
        )
    plan = session.plan
    known = {} if plan is None else {spec.name: spec for spec in plan.backends}
    for info in infos:
        if info.backend not in known:
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
    return known[infos[0].backend], known[infos[1].backend]


def _window(
    session: Session, sequence: int, position: int | None
) -> tuple[list[int], int, int, list[str]]:
    """Ids up to the last position wanted, the first and the last position, and what to
    say about them.
    """
    count = len(session.sequences)
    if not 0 <= sequence < count:
        raise InputError(
            f"session {session.name} has no sequence {sequence}: it has 0 to"
            f" {count - 1}"
        )
    ids = session.sequences.ids(sequence).tolist()
    if position is None:
        last = min(len(ids), WHOLE) - 1
        return ids[: last + 1], 0, last, []
    if not 1 <= position < len(ids):
        raise InputError(
            f"sequence {sequence} has no scored token {position}: it has 1 to"
            f" {len(ids) - 1}"
        )
    last = position - 1
    if last < WHOLE:
        return ids[:position], 0, last, []
    note = (
        f"position {position} is beyond the {WHOLE} that are replayed: {BEFORE + 1}"
        " positions, relative errors alone"
    )
    return ids[:position], last - BEFORE, last, [note]


def _standard(
    plan: CapturePlan | None, specs: tuple[BackendSpec, BackendSpec]
) -> BackendSpec:
    backends = () if plan is None else plan.backends
    reference = [
        s
        for s in backends
        if ENGINES[s.engine].replays and s.dtype == "float32" and s.model is None
    ]
    chosen = [s for s in reference if s.role == "reference"] or reference
    chosen += [s for s in specs if ENGINES[s.engine].replays]
    return (chosen or list(specs))[0]


def _head_ids(
    session: Session, specs: tuple[BackendSpec, BackendSpec], ids: list[int]
) -> list[int]:
    sizes = [session.manifest.model.vocab_size]
    for info in session.captures:
        if info.backend in {spec.name for spec in specs} and info.facts is not None:
            sizes.append(info.facts.vocab_size)
    known = [size for size in sizes if size]
    size = min(known) if known else max(ids) + 1
    spread = np.linspace(0, size - 1, min(size, HEAD_IDS)).astype(int).tolist()
    return sorted({*spread, *(i for i in ids if i < size)})


def _measure(
    asked: _Ask, specs: tuple[BackendSpec, BackendSpec], standard: BackendSpec
) -> tuple[list[MeasuredLayers], MeasuredLayers, list[dict[str, Any]]]:
    """Everybody but the standard first; then the standard, which replays them where it
    can.
    """
    others = [spec for spec in specs if spec.name != standard.name]
    said = []
    for spec in others:
        said.append(asked.of(spec))
        # What fitted the first is asked of all, so that positions are the same.
        asked.arguments.update({key: said[0][0][key] for key in ("first", "last")})
    replays = {}
    if ENGINES[standard.engine].replays and asked.arguments["first"] == 0:
        replays = {f"replay-{i}": str(_file(out)) for i, (_, out) in enumerate(said)}
    own, out = asked.of(standard, replay=replays)
    measured = [
        _measured(
            spec, each, where, out / f"replay-{i}.safetensors" if replays else None
        )
        for i, (spec, (each, where)) in enumerate(zip(others, said, strict=True))
    ]
    return (
        measured,
        _measured(standard, own, out, None),
        [each for each, _ in said] + [own],
    )


def _file(out: Path) -> Path:
    return out.resolve() / STREAM_FILE


def _measured(
    spec: BackendSpec, said: Mapping[str, Any], out: Path, replay: Path | None
) -> MeasuredLayers:
    facts = said["facts"]
    dtype = facts.get("dtype") or (spec.dtype if spec.dtype != "auto" else "bfloat16")
    heads = [facts[name] for name in ("head_dtype", "logits_dtype") if facts.get(name)]
    order = ("float32", "float16", "bfloat16")
    head = max((h for h in heads if h in order), key=order.index, default=None)
    return MeasuredLayers(
        spec.name,
        dtype,
        read_tensors(_file(out)),
        read_tensors(replay) if replay is not None else None,
        head,
    )


def _notes(
    session: Session, pair: tuple[str, str], said: list[dict[str, Any]]
) -> list[str]:
    """What makes the engine that was hooked another than the one that was captured."""
    notes = ["hooks measure the eager engine on the prefill path, one sequence alone"]
    for label in pair:
        info = session.manifest.capture(label)
        mode = info.facts.execution_mode if info.facts is not None else None
        if mode not in (None, "eager"):
            notes.append(
                f"{label} was captured with {mode}: what only compiled code or graphs"
                " do is not seen here"
            )
        if info.path != "prefill":
            notes.append(
                f"{label} was captured on path {info.path}: what only decoding does is"
                " not seen here"
            )
    notes += [
        f"a head could not be read: {each['head_error']}"
        for each in said
        if each.get("head_error")
    ]
    return notes


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
