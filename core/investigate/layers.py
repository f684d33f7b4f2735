"""Finding the first layer that differs: both backends of a pair are asked for their
residual stream, a Transformers one replays them, and the result is saved in the session
(``why/layers``).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
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
class _Answer:
    """What a backend answered, and the folder with its arrays; ``replayed``: with
    replays of the others among them.
    """

    spec: BackendSpec
    values: Mapping[str, Any]
    folder: Path
    replayed: bool = False

    @property
    def stream(self) -> Path:
        return self.folder.resolve() / STREAM_FILE

    def measured(self, replay: Path | None = None) -> MeasuredLayers:
        """The arrays, with the replay of the standard where there is one."""
        return MeasuredLayers(
            backend=self.spec.name,
            dtype=self._dtype(),
            arrays=read_tensors(self.stream),
            replay=None if replay is None else read_tensors(replay),
            head_dtype=self._head_dtype(),
        )

    def _dtype(self) -> str:
        observed: str | None = self.values["facts"].get("dtype")
        if self.spec.dtype == "auto":
            asked = "bfloat16"
        else:
            asked = self.spec.dtype
        return observed or asked

    def _head_dtype(self) -> str | None:
        """The less precise of head and logits, as far as they are known."""
        facts = self.values["facts"]
        order = ("float32", "float16", "bfloat16")
        dtypes = [facts.get("head_dtype"), facts.get("logits_dtype")]
        known = [dtype for dtype in dtypes if dtype in order]
        return max(known, key=order.index, default=None)


@dataclass(frozen=True)
class _Question:
    """One question, as often as it is asked."""

    session: Session
    arguments: dict[str, Any]
    folder: Path
    report: Callable[[str], None]
    cancel: threading.Event

    def put_to(self, spec: BackendSpec, **more: Any) -> _Answer:
        out = self.folder / spec.name
        values = ask(
            self.session,
            eager(spec),
            "layers",
            {**self.arguments, **more},
            out,
            report=lambda text: self.report(f"{spec.name}: {text}"),
            cancel=self.cancel,
        )
        return _Answer(spec, values, out, replayed=bool(more.get("replay")))


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
    with _work_folder(session) as folder:
        question = _Question(
            session=session,
            arguments={
                "token_ids": ids,
                "first": first,
                "last": last,
                "prefix": position is None,
                "head_ids": _head_ids(session, specs, ids),
            },
            folder=folder,
            report=report,
            cancel=cancel or threading.Event(),
        )
        answers, own = _ask_all(question, specs, standard)
        others = _with_replays(answers, own)
        first, last = _window_of([*answers, own])
        try:
            sides, arrays = compare_sides(others, own.measured(), first)
        except ValueError as error:
            raise LogdriftError(
                f"the two models are not built alike: {error}"
            ) from None
    notes += _notes(session, pair, [*answers, own])
    where = "all" if position is None else str(position)
    name = f"{specs[0].name}-{specs[1].name}-{sequence}-{where}"
    layers = Layers(
        name,
        *pair,
        sequence=sequence,
        position=position,
        first=first,
        last=last,
        standard=standard.name,
        replay=any(other.replay is not None for other in others),
        sides=sides,
        notes=tuple(notes),
    )
    save_layers(session.folder, name, layers.to_json(), arrays)
    return layers


@contextlib.contextmanager
def _work_folder(session: Session) -> Iterator[Path]:
    """A folder for arrays that are only needed meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix=".work-", dir=session.folder / FOLDER))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    if plan is None:
        known = {}
    else:
        known = {spec.name: spec for spec in plan.backends}
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


def _ask_all(
    question: _Question, specs: tuple[BackendSpec, BackendSpec], standard: BackendSpec
) -> tuple[list[_Answer], _Answer]:
    """The answers of all others first; then that of the standard, which replays them
    where it can.
    """
    answers: list[_Answer] = []
    replays: dict[str, str] = {}
    for spec in specs:
        if spec.name != standard.name:
            answers.append(question.put_to(spec))
            # What fitted the first is asked of all, so that positions are the same.
            first, last = _window_of(answers)
            question.arguments.update(first=first, last=last)
    if ENGINES[standard.engine].replays and question.arguments["first"] == 0:
        replays = {_replay(at): str(answer.stream) for at, answer in enumerate(answers)}
    return answers, question.put_to(standard, replay=replays)


def _with_replays(answers: Sequence[_Answer], own: _Answer) -> list[MeasuredLayers]:
    """What the others measured, with what the standard replayed of it."""
    measured = []
    for at, answer in enumerate(answers):
        replay = own.folder / f"{_replay(at)}.safetensors"
        measured.append(answer.measured(replay if own.replayed else None))
    return measured


def _replay(index: int) -> str:
    return f"replay-{index}"


def _window_of(answers: Sequence[_Answer]) -> tuple[int, int]:
    """The first and the last position that were looked at."""
    values = answers[0].values
    return values["first"], values["last"]


def _notes(
    session: Session, pair: tuple[str, str], answers: Sequence[_Answer]
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
        f"a head could not be read: {answer.values['head_error']}"
        for answer in answers
        if answer.values.get("head_error")
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
