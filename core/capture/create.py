"""Making a new session folder, after everything that can be refused was checked."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from logdrift.core.capture import trust
from logdrift.core.capture.models import (
    check_own_vocabulary,
    resolve_model,
    resolve_own_model,
)
from logdrift.core.capture.prepared import Prepared, prepare_prompts
from logdrift.core.capture.prompt import Prompt
from logdrift.core.capture.prompts import read_prompts
from logdrift.core.capture.recorded import (
    Recorded,
    recorded_of,
    ways_of,
    write_recorded,
)
from logdrift.core.capture.start import interpreter_of
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
from logdrift.core.session.layout import (
    MANIFEST,
    PROMPTS,
    CaptureInfo,
    Manifest,
    ModelInfo,
    Part,
    SequencesInfo,
    sequence_part,
)
from logdrift.core.session.retokenised import with_rows
from logdrift.core.session.scratch import new_folder
from logdrift.core.session.writer import sequence_tensors, write_manifest, write_part
from logdrift.core.version import __version__


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
    prepared = prepare_prompts(plan, model, prompts)
    largest_id = max(map(max, prepared.token_ids))
    for spec, own_model in own_models:
        check_own_vocabulary(spec, own_model, largest_id)
    manifest = _manifest(plan, model, prepared, prompts)
    manifest = manifest._replace(notes=notes)
    trust.remember(manifest)
    with _nothing_to_resume(folder), new_folder(folder) as scratch:
        if plan.generator is not None:
            _write_prompts(scratch, prepared)
        else:
            manifest = _write_sequences(scratch, plan, manifest, prompts, prepared)
        if recorded is not None:
            manifest = _write_recorded(scratch, plan, manifest, recorded)
        write_manifest(scratch, manifest)


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
def _nothing_to_resume(folder: Path) -> Iterator[None]:
    """Where the disk refuses, say so of the folder: the writer of a single file has
    another remedy.
    """
    try:
        yield
    except LogdriftError as error:
        disk = error.__cause__
        if not isinstance(disk, OSError):
            raise
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


def _manifest(
    plan: CapturePlan, model: str, prepared: Prepared, prompts: Sequence[Prompt]
) -> Manifest:
    now = datetime.now(timezone.utc)
    saved_plan = SavedPlan(_without_prompts(plan), prepared.max_length)
    generator = plan.generator
    return Manifest(
        id=uuid.uuid4().hex,
        title=plan.title,
        created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        logdrift_version=__version__,
        model=model_info(plan, model, prepared.vocab_size),
        plan=saved_plan.to_json(),
        sequences=SequencesInfo(
            planned=len(prompts),
            generated_by=None if generator is None else generator.name,
            sampled=ways_of(prompts),
        ),
        captures=pending_captures(plan.backends),
    )


def model_info(plan: CapturePlan, model: str, vocab_size: int | None) -> ModelInfo:
    """What is known of the plan's model: digests where it is a local folder."""
    info = ModelInfo(
        id=plan.model,
        revision=plan.revision,
        vocab_size=vocab_size,
    )
    folder = Path(model)
    if not folder.is_dir():
        return info
    return info._replace(
        config_digest=config_digest(folder),
        tokenizer_digest=tokenizer_digest(folder),
        weights_digest=limited_weights_digest(folder),
    )


def pending_captures(specs: Sequence[BackendSpec]) -> tuple[CaptureInfo, ...]:
    """Every capture that backends give, none begun."""
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


def _write_prompts(folder: Path, prepared: Prepared) -> None:
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
    prepared: Prepared,
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
    sequences = manifest.sequences._replace(parts=tuple(parts), retokenised=retokenised)
    return manifest._replace(sequences=sequences)


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
    return manifest._replace(captures=captures, notes=notes)
