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

import numpy.typing as npt

from logdrift.core.diagnose.layers import Layers, LayerSide, compare_sides
from logdrift.core.diagnose.layers.errors import MeasuredLayers
from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError
from logdrift.core.investigate.ask import ask
from logdrift.core.investigate.layers_place import (
    HookedPlace,
    hookable_specs,
    standard_of,
)
from logdrift.core.plan import BackendSpec
from logdrift.core.session.layers import FOLDER, STREAM_FILE, save_layers
from logdrift.core.session.reader import Session
from logdrift.core.session.tensors import read_tensors

_FROM_PRECISE = ("float32", "float16", "bfloat16")
"""Dtypes, the most precise first."""


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
            say=lambda text: self.report(f"{spec.name}: {text}"),
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
    place = HookedPlace.of(session, pair, sequence, position)
    with _work_folder(session) as folder:
        question = _Question(
            session=session,
            arguments=_arguments(place),
            folder=folder,
            report=report,
            cancel=cancel or threading.Event(),
        )
        answers, own = _ask_all(question, place.specs, place.standard)
        layers, arrays = _compared(place, answers, own)
    save_layers(session.folder, layers.name, layers.to_json(), arrays)
    return layers


def _arguments(place: HookedPlace) -> dict[str, Any]:
    """The arguments of the question for layers."""
    window = place.window
    return {
        "token_ids": window.ids,
        "first": window.first,
        "last": window.last,
        "prefix": place.position is None,
        "head_ids": place.head_ids,
    }


def check_layers(
    session: Session, pair: tuple[str, str], sequence: int, position: int | None = None
) -> None:
    """Raise for what `find_layers` would refuse before it starts an engine."""
    HookedPlace.of(session, pair, sequence, position)


def asked_for_layers(session: Session, pair: tuple[str, str]) -> tuple[str, ...]:
    """The backends that `find_layers` starts, in their order. Raises InputError."""
    specs = hookable_specs(session, pair)
    standard = standard_of(session.plan, specs)
    names = [spec.name for spec in specs if spec.name != standard.name]
    return (*names, standard.name)


def _compared(
    place: HookedPlace, answers: list[_Answer], own: _Answer
) -> tuple[Layers, dict[str, npt.NDArray[Any]]]:
    """The layers of a place by all answers, and what is saved of them.

    ``own`` is the answer of the standard. Raises LogdriftError where two models have
    other layers.
    """
    others = _with_replays(answers, own)
    all_answers = [*answers, own]
    first, last = _answered_window(all_answers)
    sides, arrays = _sides(others, own.measured(), first)
    notes = [
        *place.window.notes,
        *_notes_on_standard(place.standard),
        *_notes(place.session, place.pair, all_answers),
    ]
    layers = Layers(
        place.file_name,
        *place.pair,
        sequence=place.sequence,
        position=place.position,
        first=first,
        last=last,
        standard=place.standard.name,
        replay=any(other.replay is not None for other in others),
        sides=sides,
        notes=tuple(notes),
    )
    return layers, arrays


def _sides(
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
