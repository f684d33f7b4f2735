"""Making a new session folder, after everything that can be refused was checked."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.capture import trust
from logdrift.core.capture.models import (
    check_own_vocabulary,
    resolve_model,
    resolve_own_model,
)
from logdrift.core.capture.prompt import Prompt
from logdrift.core.capture.prompts import read_prompts
from logdrift.core.capture.reader import reader_of
from logdrift.core.capture.recorded import (
    Recorded,
    recorded_of,
    ways_of,
    write_recorded,
)
from logdrift.core.capture.start import interpreter_of, run_prepare
from logdrift.core.capture.text_dumps import notes_on
from logdrift.core.digests import (
    config_digest,
    limited_weights_digest,
    tokenizer_digest,
)
from logdrift.core.errors import CannotWrite, InputError, LogdriftError
from logdrift.core.numbers import counted
from logdrift.core.paths import refuse_shipped
from logdrift.core.plan import BackendSpec, CapturePlan, SamplingSpec, SavedPlan
from logdrift.core.plan.backend import backend_error
from logdrift.core.protocol import ModelSource, PrepareJob, error_in
from logdrift.core.session.layout import (
    MANIFEST,
    PROMPTS,
    CaptureInfo,
    Manifest,
    ModelInfo,
    Part,
    SequencesInfo,
    read_manifest,
    sequence_part,
)
from logdrift.core.session.lock import acquire, release
from logdrift.core.session.retokenised import with_rows
from logdrift.core.session.tensors import read_tensors
from logdrift.core.session.writer import sequence_tensors, write_manifest, write_part
from logdrift.core.version import __version__

_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The prompts as the tokenizing worker returned them."""

    token_ids: list[list[int]]
    prompt_lengths: list[int]
    vocab_size: int | None
    max_length: int
    roles: list[list[int] | None]
    retokenised: list[Any]

    def role_arrays(self) -> list[npt.NDArray[np.uint8] | None]:
        """The roles of the ids of each prompt, None where not known."""
        arrays: list[npt.NDArray[np.uint8] | None] = []
        for roles in self.roles:
            array = None
            if roles is not None:
                array = np.asarray(roles, np.uint8)
            arrays.append(array)
        return arrays

    def arrays(self) -> list[npt.NDArray[np.int32]]:
        """The ids of each prompt."""
        return [np.asarray(ids, np.int32) for ids in self.token_ids]


def create_session(
    plan: CapturePlan, folder: Path, say: Callable[[str], None] = lambda text: None
) -> None:
    """Write a session folder whose captures are all pending.

    `logdrift.core.capture.supervisor.run_session` fills it. ``say`` prints notes and
    what is being done. Raises InputError for anything wrong with folder, plan,
    prompts, model or interpreters (the disk is then unchanged), LogdriftError where
    the disk or the tokenising worker fails.
    """
    _check_folder(folder)
    prompts = read_prompts(plan.prompts_file, plan.texts, plan.final_turn)
    notes = notes_on(prompt.dump for prompt in prompts if prompt.dump is not None)
    for note in notes:
        say(f"note: {note}")
    plan = _with_paths(plan, prompts, say)
    recorded = recorded_of(prompts)
    if recorded is not None:
        _check_name_of(recorded, plan)
    for spec in plan.backends:
        interpreter_of(spec)
    model = resolve_model(plan.model)
    own_models = _own_models(plan.backends)
    say(f"reading {counted(len(prompts), 'prompt')} with the tokenizer of {plan.model}")
    prepared = _prepare(plan, model, prompts)
    largest_id = max(map(max, prepared.token_ids))
    for spec, own_model in own_models:
        check_own_vocabulary(spec, own_model, largest_id)
    manifest = _manifest(plan, model, prepared, prompts)
    manifest = replace(manifest, notes=notes)
    trust.remember(manifest)
    with _whole_or_nothing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if plan.generator is not None:
            _write_prompts(folder, prepared)
        else:
            manifest = _write_sequences(folder, plan, manifest, prompts, prepared)
        if recorded is not None:
            manifest = _write_recorded(folder, plan, manifest, recorded)
        write_manifest(folder, manifest)


def _own_models(specs: Sequence[BackendSpec]) -> list[tuple[BackendSpec, str]]:
    """The backends with a model of their own, each with what its engine loads."""
    own_models = []
    for spec in specs:
        if spec.model is not None:
            model = resolve_own_model(spec)
            own_models.append((spec, model))
    return own_models


def _check_folder(folder: Path) -> None:
    refuse_shipped(folder)
    if not folder.exists():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    remedy = "give another --out"
    if (folder / MANIFEST).exists():
        remedy = f"go on with --resume, or {remedy}"
    raise InputError(f"{folder} exists already", field="session", remedy=remedy)


@contextlib.contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[None]:
    """Remove a folder that was made here and could not be filled.

    A half-written session could neither be resumed nor started again.
    """
    created = not folder.exists()
    try:
        yield
    except (KeyboardInterrupt, LogdriftError, OSError) as error:
        if created:
            shutil.rmtree(folder, ignore_errors=True)
        disk = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(disk, OSError):
            raise
        # There is nothing to resume, whatever the writer of a single file says.
        reason = f"cannot write {folder}: {disk.strerror}"
        remedy = "nothing was begun; fix the disk first"
        raise CannotWrite(reason, field="session", remedy=remedy) from disk


def _with_paths(
    plan: CapturePlan, prompts: Sequence[Prompt], say: Callable[[str], None]
) -> CapturePlan:
    """The plan with all paths: a backend generates where completions are not given."""
    if prompts[0].has_completion:
        return _scoring(plan.with_paths(generate=False), say)
    return plan.with_paths(generate=True)


def _scoring(plan: CapturePlan, say: Callable[[str], None]) -> CapturePlan:
    """The plan for prompts with completions, without its sampling, which is unused."""
    sampling = asdict(plan.sampling)
    default = asdict(SamplingSpec())
    unused = [name for name in sampling if sampling[name] != default[name]]
    if unused:
        names = ", ".join(f"sampling.{name}" for name in unused)
        verb = "changes" if len(unused) == 1 else "change"
        say(
            f"note: {names} {verb} nothing, since every prompt has its"
            " completion: state in the lines of the prompts how these were sampled"
            " (docs/plan.md)"
        )
    return replace(plan, sampling=SamplingSpec())


def _check_name_of(recorded: Recorded, plan: CapturePlan) -> None:
    name = recorded.info.backend
    if any(spec.name == name for spec in plan.backends):
        raise backend_error(
            name,
            "name",
            f"the logprobs of the prompts are {recorded.info.label}",
            "give the backend another name with @NAME",
        )


def _prepare(plan: CapturePlan, model: str, prompts: Sequence[Prompt]) -> _Prepared:
    """Tokenise and check the prompts in the interpreter of a backend.

    Raises InputError for a prompt, LogdriftError where the worker fails.
    """
    spec = reader_of(plan.backends)
    lines = [prompt.to_json() for prompt in prompts]
    job = PrepareJob(
        model=ModelSource(model, plan.revision),
        sampling=plan.sampling,
        prompts=tuple(lines),
        trust_remote_code=plan.trust_remote_code,
    )
    with tempfile.TemporaryDirectory(prefix="logdrift-") as scratch:
        log = Path(scratch) / "prepare.log"
        for message in run_prepare(spec, job, log):
            kind = message["type"]
            if kind == "failed":
                raise error_in(message)
            if kind == "prepared":
                return _Prepared(
                    token_ids=message["token_ids"],
                    prompt_lengths=message["prompt_lengths"],
                    vocab_size=message["vocab_size"],
                    max_length=message["max_length"],
                    roles=message["roles"],
                    retokenised=message["retokenised"],
                )
        raise LogdriftError(
            f"the interpreter of backend {spec.name!r} ended while reading the prompts"
            f" ({_last_line(log)}): see logdrift env check {spec.engine}",
            field=f"backend[{spec.name}].engine",
        )


def _last_line(log: Path) -> str:
    printed = log.read_text(errors="replace")
    lines = printed.strip().splitlines()
    if not lines:
        return "it printed nothing"
    return lines[-1][:_LONGEST_LINE]


def _manifest(
    plan: CapturePlan, model: str, prepared: _Prepared, prompts: Sequence[Prompt]
) -> Manifest:
    now = datetime.now(timezone.utc)
    saved_plan = SavedPlan(_without_prompts(plan), prepared.max_length)
    generator = plan.generator
    return Manifest(
        id=uuid.uuid4().hex,
        title=plan.title,
        created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        logdrift_version=__version__,
        model=_model_info(plan, model, prepared),
        plan=saved_plan.to_json(),
        sequences=SequencesInfo(
            planned=len(prompts),
            generated_by=None if generator is None else generator.name,
            sampled=ways_of(prompts),
        ),
        captures=_captures(plan.backends),
    )


def _model_info(plan: CapturePlan, model: str, prepared: _Prepared) -> ModelInfo:
    """What is known of the session's model: digests where it is a local folder."""
    info = ModelInfo(
        id=plan.model,
        revision=plan.revision,
        vocab_size=prepared.vocab_size,
    )
    folder = Path(model)
    if not folder.is_dir():
        return info
    return replace(
        info,
        config_digest=config_digest(folder),
        tokenizer_digest=tokenizer_digest(folder),
        weights_digest=limited_weights_digest(folder),
    )


def _captures(specs: Sequence[BackendSpec]) -> tuple[CaptureInfo, ...]:
    captures = []
    for spec in specs:
        for name in spec.labels():
            info = CaptureInfo(
                label=name.label,
                backend=spec.name,
                engine=spec.engine,
                dtype=spec.dtype,
                path=name.path,
                repeat=name.repeat,
                role=spec.role,
                batch=name.batch,
            )
            captures.append(info)
    return tuple(captures)


def _without_prompts(plan: CapturePlan) -> CapturePlan:
    """The plan as it is saved, without its prompts.

    Their ids are in the session, and their text may not be meant to be passed on.
    """
    return replace(plan, prompts_file=None, texts=())


def _write_prompts(folder: Path, prepared: _Prepared) -> None:
    """Write the prompts for which a backend will sample completions."""
    ids = prepared.arrays()
    count = len(ids)
    tensors = sequence_tensors(
        token_ids=ids,
        prompt_lengths=prepared.prompt_lengths,
        finish=["unknown"] * count,
        roles=prepared.role_arrays(),
    )
    write_part(
        folder,
        PROMPTS,
        tensors,
        first_sequence=0,
        sequences=count,
        tokens=sum(map(len, ids)),
    )


def _write_sequences(
    folder: Path,
    plan: CapturePlan,
    manifest: Manifest,
    prompts: Sequence[Prompt],
    prepared: _Prepared,
) -> Manifest:
    """Write sequences whose completions are given; the manifest with their parts."""
    ids = prepared.arrays()
    masks = [_mask(prompt) for prompt in prompts]
    roles = prepared.role_arrays()
    parts: list[Part] = []
    for first in range(0, len(ids), plan.part_sequences):
        chunk = slice(first, first + plan.part_sequences)
        rows = ids[chunk]
        tensors = sequence_tensors(
            token_ids=rows,
            prompt_lengths=prepared.prompt_lengths[chunk],
            finish=["unknown"] * len(rows),
            masks=masks[chunk],
            roles=roles[chunk],
        )
        part = write_part(
            folder,
            sequence_part(len(parts)),
            tensors,
            first_sequence=first,
            sequences=len(rows),
            tokens=sum(map(len, rows)),
        )
        parts.append(part)
    retokenised = with_rows(None, 0, prepared.retokenised)
    sequences = replace(manifest.sequences, parts=tuple(parts), retokenised=retokenised)
    return replace(manifest, sequences=sequences)


def _mask(prompt: Prompt) -> npt.NDArray[np.uint8] | None:
    if prompt.mask is None:
        return None
    return np.asarray(prompt.mask, np.uint8)


def _write_recorded(
    folder: Path, plan: CapturePlan, manifest: Manifest, recorded: Recorded
) -> Manifest:
    """Write the capture that the prompts hold; the manifest with it."""
    info = write_recorded(folder, recorded, plan.part_sequences)
    captures = (info, *manifest.captures)
    notes = (*manifest.notes, *recorded.notes)
    return replace(manifest, captures=captures, notes=notes)


def add_backends(folder: Path, specs: Sequence[BackendSpec]) -> None:
    """Add backends that score the sequences a session already has.

    Their path decode is left out, since it would sample other ids. Raises InputError
    where a name is taken, an interpreter or a backend's own model is missing, or that
    model does not know the session's ids.
    """
    token = uuid.uuid4().hex
    acquire(folder, token)
    try:
        manifest = read_manifest(folder)
        trust.require(folder, manifest)
        plan = CapturePlan.from_json(manifest.plan)
        _check_free(specs, manifest)
        added = [_without_decode(spec) for spec in specs]
        extended = replace(plan, backends=(*plan.backends, *added))
        for spec in added:
            interpreter_of(spec)
            if spec.model is not None:
                model = resolve_own_model(spec)
                largest_id = _largest_id(folder, manifest)
                check_own_vocabulary(spec, model, largest_id)
        backends = extended.to_json()["backends"]
        new_captures = _captures(added)
        manifest = replace(
            manifest,
            plan={**manifest.plan, "backends": backends},
            captures=(*manifest.captures, *new_captures),
        )
        trust.remember(manifest)
        write_manifest(folder, manifest)
    finally:
        release(folder)


def _without_decode(spec: BackendSpec) -> BackendSpec:
    paths = tuple(path for path in spec.paths if path != "decode")
    return replace(spec, paths=paths or ("prefill",))


def _check_free(specs: Sequence[BackendSpec], manifest: Manifest) -> None:
    """Refuse names that the session has already.

    Its manifest has all of them: the backend of recorded logprobs is in no plan.
    """
    taken = {info.backend for info in manifest.captures}
    for spec in specs:
        if spec.name in taken:
            raise InputError(
                f"the session has a backend {spec.name!r}",
                field=f"backend[{spec.name}].name",
                remedy="give the new one another name with @NAME",
            )


def _largest_id(folder: Path, manifest: Manifest) -> int:
    sequences = manifest.sequences
    files = [part.file for part in sequences.parts]
    prompts = folder / PROMPTS
    if sequences.generated_by is not None and prompts.exists():
        files.append(PROMPTS)
    largest = 0
    for file in files:
        tensors = read_tensors(folder / file)
        token_ids = tensors["token_ids"]
        largest_here = token_ids.max(initial=0)
        largest = max(largest, int(largest_here))
    return largest
