"""The ids of an imported session against the tokenizer of its model: in an engine's
interpreter, since this one has no tokenizer.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from logdrift.core.capture.start import run_prepare
from logdrift.core.capture.tokenizing import ready_engines
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import BackendSpec
from logdrift.core.protocol import ModelSource, RetokeniseJob, error_in
from logdrift.core.session.layout import Manifest, read_manifest
from logdrift.core.session.lock import acquire, release
from logdrift.core.session.retokenised import Retokenised, with_rows
from logdrift.core.session.scratch import brief_folder
from logdrift.core.session.writer import write_manifest

_UNCHECKED = "the ids were not checked against the tokenizer of the model: %s"
_NO_ENVIRONMENT = "no environment is ready (logdrift env create transformers)"


def check_ids(folder: Path, model: Path) -> str | None:
    """Write down in a session which of its sequences have other ids than the tokenizer
    of ``model`` makes of their text; why that could not be done, None where it was.
    """
    manifest = read_manifest(folder)
    engines = ready_engines()
    if not engines:
        return _noted(folder, manifest, _NO_ENVIRONMENT)
    try:
        known = _asked(folder, manifest, engines[0], model)
    except LogdriftError as error:
        return _noted(folder, manifest, str(error))
    sequences = manifest.sequences._replace(retokenised=known)
    checked = manifest._replace(sequences=sequences)
    _write(folder, checked)
    return None


def _asked(
    folder: Path, manifest: Manifest, spec: BackendSpec, model: Path
) -> Retokenised | None:
    parts = manifest.sequences.parts
    files = [str(folder / part.file) for part in parts]
    source = model
    if not model.is_dir():
        source = model.parent
    job = RetokeniseJob(
        model=ModelSource(str(source)),
        files=tuple(files),
    )
    with brief_folder() as scratch:
        log = scratch / "tokenizer.log"
        messages = run_prepare(spec, job, log)
    return _counted(messages)


def _counted(messages: Sequence[dict[str, Any]]) -> Retokenised | None:
    known = None
    first = 0
    for message in messages:
        if message["type"] == "failed":
            raise error_in(message)
        if message["type"] == "retokenised":
            rows = message["rows"]
            known = with_rows(known, first, rows)
            first += len(rows)
    return known


def _noted(folder: Path, manifest: Manifest, why: str) -> str:
    """The reason as a note, kept with the session."""
    sentence = _UNCHECKED % why
    notes = (*manifest.notes, sentence)
    noted = manifest._replace(notes=notes)
    _write(folder, noted)
    return sentence


def _write(folder: Path, manifest: Manifest) -> None:
    token = uuid.uuid4().hex
    acquire(folder, token)
    try:
        write_manifest(folder, manifest, token)
    finally:
        release(folder)
