"""Finding the first layer that differs between the two backends of a pair.

Both are asked for their residual stream, a Transformers backend replays their layers,
and the result is saved in the session (``why/layers``).
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
import numpy.typing as npt

from logdrift.core.capture import trust
from logdrift.core.diagnose.layers import Layers, LayerSide, compare_sides
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
"""Tokens of a sequence up to which it is hooked from its start and can be replayed."""
BEFORE = 64
"""Positions that are hooked before a position beyond `WHOLE`."""
HEAD_IDS = 512
"""Ids at which logits are compared, besides the tokens of the sequence.

They are spread evenly over the vocabulary.
"""
_FROM_PRECISE = ("float32", "float16", "bfloat16")
"""Dtypes, the most precise first."""


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
class _Answer:
    """What a backend answered, and the folder with its arrays.

    ``replayed``: replays of the other backends are among them.
    """

    spec: BackendSpec
    values: Mapping[str, Any]
    folder: Path
    replayed: bool = False

    @property
    def stream(self) -> Path:
        return self.folder.resolve() / STREAM_FILE

    def measured(self, replay: Path | None = None) -> MeasuredLayers:
        """The arrays, with the standard's ``replay`` of them where there is one."""
        replayed = None
        if replay is not None:
            replayed = read_tensors(replay)
        return MeasuredLayers(
            backend=self.spec.name,
            dtype=self._dtype(),
            arrays=read_tensors(self.stream),
            replay=replayed,
            head_dtype=self._head_dtype(),
        )

    def _dtype(self) -> str:
        facts = self.values["facts"]
        observed: str | None = facts.get("dtype")
        if observed:
            return observed
        if self.spec.dtype == "auto":
            return "bfloat16"
        return self.spec.dtype

    def _head_dtype(self) -> str | None:
        """The less precise of head and logits, as far as they are known."""
        facts = self.values["facts"]
        dtypes = (facts.get("head_dtype"), facts.get("logits_dtype"))
        known = [dtype for dtype in dtypes if dtype in _FROM_PRECISE]
        return max(known, key=_FROM_PRECISE.index, default=None)


@dataclass(frozen=True)
class _Question:
    """The question for layers that is put to one backend after another."""

    session: Session
    arguments: dict[str, Any]
    folder: Path
    report: Callable[[str], None]
    cancel: threading.Event

    def put_to(
        self, spec: BackendSpec, replay: Mapping[str, str] | None = None
    ) -> _Answer:
        """Ask a backend. ``replay``: files with the streams that it is to replay."""
        arguments = dict(self.arguments)
        if replay is not None:
            arguments["replay"] = replay
        out = self.folder / spec.name
        values = ask(
            self.session,
            eager(spec),
            "layers",
            arguments,
            out,
            report=lambda text: self.report(f"{spec.name}: {text}"),
            cancel=self.cancel,
        )
        return _Answer(spec=spec, values=values, folder=out, replayed=bool(replay))


def find_layers(
    session: Session,
    pair: tuple[str, str],
    sequence: int,
    position: int | None = None,
    *,
    report: Callable[[str], None] = lambda text: None,
    cancel: threading.Event | None = None,
) -> Layers:
    """Ask both backends of the pair of capture labels, compare, save and return.

    ``position`` is the token whose score is to be explained: the stream is taken up to
    the position before it, which predicts it. The standard is the session's float32
    Transformers reference, else a Transformers side of the pair, else side A. Raises
    InputError for labels, sequences or positions that do not exist, LogdriftError
    where a backend fails.
    """
    specs = _specs(session, pair)
    trust.require(session.folder, session.manifest)
    window = _window(session, sequence, position)
    standard = _standard(session.plan, specs)
    _check_writable(session)
    head_ids = _head_ids(session, specs, window.ids)
    with _work_folder(session) as folder:
        question = _Question(
            session=session,
            arguments={
                "token_ids": window.ids,
                "first": window.first,
                "last": window.last,
                "prefix": position is None,
                "head_ids": head_ids,
            },
            folder=folder,
            report=report,
            cancel=cancel or threading.Event(),
        )
        answers, own = _ask_all(question, specs, standard)
        others = _with_replays(answers, own)
        all_answers = [*answers, own]
        first, last = _answered_window(all_answers)
        sides, arrays = _compared(others, own.measured(), first)
    notes = [
        *window.notes,
        *_notes_on_standard(standard),
        *_notes(session, pair, all_answers),
    ]
    name = _file_name(specs, sequence, position)
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


def check_layers(
    session: Session, pair: tuple[str, str], sequence: int, position: int | None = None
) -> None:
    """Raise for what `find_layers` would refuse before it starts an engine."""
    _specs(session, pair)
    trust.require(session.folder, session.manifest)
    _window(session, sequence, position)
    _check_writable(session)


def asked_for_layers(session: Session, pair: tuple[str, str]) -> tuple[str, ...]:
    """The backends that `find_layers` starts, in their order. Raises InputError."""
    specs = _specs(session, pair)
    standard = _standard(session.plan, specs)
    names = [spec.name for spec in specs if spec.name != standard.name]
    return (*names, standard.name)


def _compared(
    others: list[MeasuredLayers], standard: MeasuredLayers, first: int
) -> tuple[tuple[LayerSide, ...], dict[str, npt.NDArray[Any]]]:
    """What the layers of the others say, and what is saved of them.

    ``first`` is the position of the first row. Raises LogdriftError where two models
    have other layers.
    """
    try:
        return compare_sides(others, standard, first)
    except ValueError as error:
        reason = f"the two models are not built alike: {error}"
        raise LogdriftError(reason) from None


def _file_name(
    specs: tuple[BackendSpec, BackendSpec], sequence: int, position: int | None
) -> str:
    """Name of an answer's files, without ending."""
    backend_a, backend_b = (spec.name for spec in specs)
    where = "all" if position is None else str(position)
    return f"{backend_a}-{backend_b}-{sequence}-{where}"


def _notes_on_standard(standard: BackendSpec) -> list[str]:
    """That nothing was replayed, where the standard cannot do that."""
    engine = ENGINES[standard.engine]
    if engine.replays:
        return []
    return [
        "no Transformers backend takes part, so nothing could be replayed: add"
        " transformers:float32@reference"
    ]


@contextlib.contextmanager
def _work_folder(session: Session) -> Iterator[Path]:
    """A temporary folder for arrays, on the session's own disk."""
    parent = session.folder / FOLDER
    folder = Path(tempfile.mkdtemp(prefix=".work-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def eager(spec: BackendSpec) -> BackendSpec:
    """The backend as hooks need it: one scoring pass, nothing compiled."""
    engine = ENGINES[spec.engine]
    return replace(
        spec,
        paths=("prefill",),
        repeats=1,
        alone=False,
        options={**spec.options, **engine.hook_options},
    )


def _specs(session: Session, pair: tuple[str, str]) -> tuple[BackendSpec, BackendSpec]:
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


def _window(session: Session, sequence: int, position: int | None) -> _Window:
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


def _standard(
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


def _ask_all(
    question: _Question, specs: tuple[BackendSpec, BackendSpec], standard: BackendSpec
) -> tuple[list[_Answer], _Answer]:
    """The answers of the other backends, then that of the standard.

    The standard replays the streams of the others where it can.
    """
    answers: list[_Answer] = []
    for spec in specs:
        if spec.name != standard.name:
            answers.append(question.put_to(spec))
            # What fitted the first is asked of all, so that positions are the same.
            first, last = _answered_window(answers)
            question.arguments.update(first=first, last=last)
    replays: dict[str, str] = {}
    from_the_start = question.arguments["first"] == 0
    if from_the_start and ENGINES[standard.engine].replays:
        for index, answer in enumerate(answers):
            replays[_replay(index)] = str(answer.stream)
    own = question.put_to(standard, replay=replays)
    return answers, own


def _with_replays(answers: Sequence[_Answer], own: _Answer) -> list[MeasuredLayers]:
    """What the others measured, with what the standard replayed of it."""
    if not own.replayed:
        return [answer.measured() for answer in answers]
    measured = []
    for index, answer in enumerate(answers):
        file = own.folder / f"{_replay(index)}.safetensors"
        measured.append(answer.measured(file))
    return measured


def _replay(index: int) -> str:
    return f"replay-{index}"


def _answered_window(answers: Sequence[_Answer]) -> tuple[int, int]:
    """The first and the last position that the answers are about."""
    values = answers[0].values
    return values["first"], values["last"]


def _notes(
    session: Session, pair: tuple[str, str], answers: Sequence[_Answer]
) -> list[str]:
    """How the hooked engine differs from the captured one, a sentence each."""
    notes = ["hooks measure the eager engine on the prefill path, one sequence alone"]
    for label in pair:
        info = session.manifest.capture(label)
        mode = None
        if info.facts is not None:
            mode = info.facts.execution_mode
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
    for answer in answers:
        error = answer.values.get("head_error")
        if error:
            notes.append(f"a head could not be read: {error}")
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
