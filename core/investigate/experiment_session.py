"""The session of an experiment: the sequences of the session it belongs to, file for
file, what stays unchanged, and the changed captures still to be made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from logdrift.core.capture import trust
from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.experiments import ChangedSide, merged
from logdrift.core.errors import CannotWrite, InputError
from logdrift.core.plan import BackendSpec, CapturePlan, SavedPlan, label_of
from logdrift.core.session.below import refuse_links, temporary_name
from logdrift.core.session.layout import (
    MANIFEST,
    PIECES,
    CaptureInfo,
    Manifest,
    read_manifest,
)
from logdrift.core.session.reader import Session
from logdrift.core.session.writer import replace_file, write_manifest


def control_name(side: ChangedSide) -> str:
    """The folder of an unchanged backend that is captured again."""
    return f"control-{side.backend}-{side.path}-{side.batch}"


def label_for(side: ChangedSide, repeat: int) -> str:
    """The label of a changed capture: repeats as ``NAME/PATH#2``, alone as
    ``NAME/PATH#alone-2``.
    """
    label = label_of(side.backend, side.path, batch=side.batch)
    if repeat == 1:
        return label
    separator = "-" if side.batch == "alone" else "#"
    return f"{label}{separator}{repeat}"


def prepare_session(
    session: Session,
    pair: Pair,
    folder: Path,
    sides: Sequence[ChangedSide],
    repeats: int,
) -> bool:
    """Make the session of an experiment, or go on with the one that is there; returns
    whether it is complete. Raises InputError, LogdriftError where the disk refuses.
    """
    if (folder / MANIFEST).exists():
        return _go_on(session, pair, folder, sides, repeats)
    manifest = _manifest(session, pair, sides, repeats)
    for file in _files(manifest):
        refuse_links(session.folder, file)
        _take_over(session.folder / file, folder / file)
    folder.mkdir(parents=True, exist_ok=True)
    pieces = session.folder / PIECES
    if pieces.exists():
        # A copy: the supervisor adds to it.
        replace_file(folder, PIECES, pieces.read_bytes())
    trust.remember(manifest)
    write_manifest(folder, manifest)
    return False


def _go_on(
    session: Session,
    pair: Pair,
    folder: Path,
    sides: Sequence[ChangedSide],
    repeats: int,
) -> bool:
    """Ask an experiment that was begun for as many repeats; whether it is complete."""
    manifest = read_manifest(folder)
    # An experiment that came with a session from elsewhere has a plan of its own, which
    # this user has not confirmed.
    has_enough = _repeats_in(manifest) >= repeats
    if not has_enough or not trust.is_ours(manifest):
        fresh = _manifest(session, pair, sides, repeats)
        manifest = _with_captures_of(manifest, fresh)
        trust.remember(manifest)
        write_manifest(folder, manifest)
    statuses = {capture.status for capture in manifest.captures}
    return statuses <= {"complete"}


def _with_captures_of(begun: Manifest, fresh: Manifest) -> Manifest:
    """The fresh manifest of an experiment, with what was captured of it already."""
    by_label = {capture.label: capture for capture in begun.captures}
    captures = []
    for pending in fresh.captures:
        capture = by_label.get(pending.label, pending)
        captures.append(capture)
    return fresh._replace(
        id=begun.id,
        created=begun.created,
        captures=tuple(captures),
    )


def _repeats_in(manifest: Manifest) -> int:
    return SavedPlan.from_json(manifest.plan).experiment_repeats


def _files(manifest: Manifest) -> Iterator[str]:
    """What the session of an experiment takes over."""
    for part in manifest.sequences.finished:
        yield part.file
    for capture in manifest.captures:
        for part in capture.finished:
            yield part.file
    for capture in manifest.captures:
        if capture.loaded is not None:
            yield capture.loaded.file


def _take_over(source: Path, target: Path) -> None:
    """Finished files are never written again, so a link is as good as a copy."""
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            _link_or_copy(source, target)
    except OSError as error:
        raise CannotWrite(f"cannot write {target}: {error.strerror}") from None


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except FileExistsError:
        raise
    except OSError:
        temporary = target.with_name(temporary_name(target.name))
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)


def _manifest(
    session: Session, pair: Pair, sides: Sequence[ChangedSide], repeats: int
) -> Manifest:
    """A manifest with the session's sequences, what stays unchanged, and the changed
    captures pending.
    """
    if session.plan is None:
        raise InputError(
            f"session {session.name} was imported: no backend of it can be captured"
            " again"
        )
    base = session.manifest
    specs = _specs(session.plan, sides, repeats)
    title = _title(sides)
    backends = [spec.to_json() for spec in specs.values()]
    plan = {
        **base.plan,
        "backends": backends,
        "title": title,
        "repeats_of_experiment": repeats,
    }
    now = time.gmtime()
    unchanged = _kept(pair, sides)
    pending = _pending(sides, specs, repeats)
    return Manifest(
        id=uuid.uuid4().hex,
        model=base.model,
        title=f"experiment of {session.name}: {title}",
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
        logdrift_version=base.logdrift_version,
        plan=plan,
        sequences=base.sequences._replace(generated_by=None),
        captures=(*unchanged, *pending),
    )


def _title(sides: Sequence[ChangedSide]) -> str:
    if not any(side.changes for side in sides):
        return "unchanged, again"
    return " and ".join(side.text for side in sides)


def _kept(pair: Pair, sides: Sequence[ChangedSide]) -> Iterator[CaptureInfo]:
    """The captures of the pair that stay as they are."""
    changed = {side.which for side in sides}
    new_labels = {label_for(side, 1) for side in sides}
    infos = {"a": pair.a.info, "b": pair.b.info}
    for which, info in infos.items():
        if which not in changed and info.label not in new_labels:
            yield info


def _pending(
    sides: Sequence[ChangedSide], specs: dict[str, BackendSpec], repeats: int
) -> Iterator[CaptureInfo]:
    for side in sides:
        spec = specs[side.backend]
        for repeat in range(1, repeats + 1):
            yield CaptureInfo(
                label=label_for(side, repeat),
                backend=spec.name,
                engine=spec.engine,
                dtype=spec.dtype,
                path=side.path,
                repeat=repeat,
                role=spec.role,
                batch=side.batch,
            )


def _specs(
    plan: CapturePlan, sides: Sequence[ChangedSide], repeats: int
) -> dict[str, BackendSpec]:
    """The changed backends by name. InputError for a change that no backend can
    have.
    """
    planned = {spec.name: spec for spec in plan.backends}
    changed: dict[str, BackendSpec] = {}
    for side in sides:
        name = side.backend
        spec = changed.get(name)
        if spec is None:
            spec = replace(planned[name], paths=())
        values, options = merged(spec.options, side.changes)
        paths = dict.fromkeys((*spec.paths, side.path))
        changed[name] = replace(
            spec,
            **values,
            options=options,
            paths=tuple(paths),
            repeats=repeats,
            alone=False,
        )
    return changed
