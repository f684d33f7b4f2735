"""Reading a session: rows are read when they are asked for, nothing is unpickled.

A session that is still being written opens too.

A `Session` is a snapshot of the manifest; `Session.refresh` gives a newer one when
there is one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from logdrift.core.errors import InputError
from logdrift.core.session.contents import Capture as Capture
from logdrift.core.session.contents import Pieces as Pieces
from logdrift.core.session.contents import Sequences as Sequences
from logdrift.core.session.contents import encoded_pieces
from logdrift.core.session.files import NO_ID, PIECES_BYTES, read_json
from logdrift.core.session.layout import (
    MANIFEST,
    PIECES,
    SAMPLED_PATHS,
    STREAMS,
    CaptureInfo,
    Manifest,
    Part,
    read_manifest,
)
from logdrift.core.session.lock import LockHolder, read_lock
from logdrift.core.session.parts import (
    CAPTURE_PART,
    SEQUENCES_PART,
    Tensors,
    check_capture,
    column_of,
    entropy_column,
    join_sequences,
    nan_column,
    stored_part,
    versions_column,
)
from logdrift.core.session.schema import checked
from logdrift.core.session.verify import Trust

if TYPE_CHECKING:
    from logdrift.core.plan import CapturePlan, SamplingSpec
    from logdrift.core.session.loaded import Loaded

State = Literal["running", "complete", "partial", "failed"]

_CAPTURE_AGAIN = "capture it again with --resume, or copy the session again"
_COPY_AGAIN = "copy the session again from where it is whole"


class Session:
    """A snapshot of a session folder. Arrays are read when first asked for.

    ``patient`` (the default): nothing of a part is read before its digest was compared.
    A session that is not patient lets the main thread, which draws a screen, read at
    once: the digests are compared in the background, `verify` waits for them, and
    `capture` refuses a part once it is known to be damaged.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        stamp: tuple[int, int] = (0, 0),
        patient: bool = True,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.patient = patient
        self._stamp = stamp
        self._captures: dict[str, Capture] = {}
        self._trusts: dict[str, Trust] = {}
        self._loaded: dict[str, Loaded] = {}

    @property
    def name(self) -> str:
        path = os.path.realpath(self.folder)
        return Path(path).name

    @property
    def captures(self) -> tuple[CaptureInfo, ...]:
        return self.manifest.captures

    @cached_property
    def plan(self) -> CapturePlan | None:
        """The plan, or None where it was not made by a capture (imported sessions)."""
        from logdrift.core.plan import CapturePlan

        if self.manifest.plan:
            return CapturePlan.from_json(self.manifest.plan)
        return None

    @property
    def is_import(self) -> bool:
        """Whether its sequences were imported; backends may have scored them since."""
        plan = self.manifest.plan
        return not plan or bool(plan.get("of_import"))

    def sampling_of(self, info: CaptureInfo) -> SamplingSpec | None:
        """The settings by which a capture was sampled or scored; None where no plan
        made its numbers, as those of another tool.
        """
        plan = self.plan
        if plan is None or info.path == "recorded":
            return None
        names = {spec.name for spec in plan.backends}
        if self.is_import and info.backend not in names:
            return None
        return plan.sampling

    @cached_property
    def sequences(self) -> Sequences:
        """All finished sequences; lengths and offsets are checked against each
        other.
        """
        listed = self.manifest.sequences.parts
        stored = [stored_part(self.folder, part, SEQUENCES_PART) for part in listed]
        trust = self._trust("", listed, stored, _COPY_AGAIN)
        wait = self._before_read(trust)
        wait()
        parts = []
        for tensors in stored:
            arrays = {name: tensor[:] for name, tensor in tensors.items()}
            parts.append(arrays)
        return join_sequences(self.folder, listed, parts)

    @cached_property
    def pieces(self) -> Pieces:
        """Raises InputError for a file that is not an object of texts."""
        path = self.folder / PIECES
        try:
            data = read_json(path, PIECES_BYTES, flat=True)
        except (FileNotFoundError, NotADirectoryError):
            return Pieces({})
        encoded = checked(encoded_pieces, data, str(path))
        encoded.pop(NO_ID, None)
        return Pieces(encoded)

    def capture(self, label: str) -> Capture:
        """The arrays of a capture. Raises InputError for an unknown label, a part that
        does not fit the sequences, and one that is known to be damaged.
        """
        if label not in self._captures:
            info = self.manifest.capture(label)
            self._captures[label] = self._open_capture(info)
        problem = self._problem("") or self._problem(label)
        if problem is not None:
            raise problem
        return self._captures[label]

    def loaded(self, label: str) -> Loaded | None:
        """What the capture's backend loaded, by name; None where the session has only
        digests of it.

        Raises InputError for an unknown label and a file that is missing or damaged.
        """
        from logdrift.core.session.loaded import read_loaded

        entry = self.manifest.capture(label).loaded
        if entry is None:
            return None
        loaded = self._loaded.get(entry.file)
        if loaded is None:
            loaded = read_loaded(self.folder, entry)
            self._loaded[entry.file] = loaded
        return loaded

    def _open_capture(self, info: CaptureInfo) -> Capture:
        parts = [stored_part(self.folder, part, CAPTURE_PART) for part in info.parts]
        sequences = self.sequences
        check_capture(self.folder, info, parts, sequences)
        remedy = _CAPTURE_AGAIN
        if info.path in SAMPLED_PATHS:
            remedy = _COPY_AGAIN
        trust = self._trust(info.label, info.parts, parts, remedy)
        before_read = self._before_read(trust)
        versions, version_names = versions_column(info.parts, parts, before_read)
        return Capture(
            info=info,
            sequences=min(info.sequences, len(sequences)),
            logprob=column_of("logprob", parts, before_read),
            rank=column_of("rank", parts, before_read),
            top_ids=column_of("top_ids", parts, before_read),
            top_logprobs=column_of("top_logprobs", parts, before_read),
            entropy=entropy_column(parts, before_read),
            nan=nan_column(parts, before_read),
            versions=versions,
            version_names=version_names,
        )

    def _trust(
        self,
        label: str,
        parts: Sequence[Part],
        stored: Sequence[Tensors],
        remedy: str,
    ) -> Trust:
        files = []
        for part, tensors in zip(parts, stored, strict=True):
            any_tensor, *_ = tensors.values()
            files.append((any_tensor.file, part.digest))
        trust = Trust(files, remedy)
        self._trusts[label] = trust
        return trust

    def _before_read(self, trust: Trust) -> Callable[[], None]:
        """What is called before a part is read."""
        if self.patient:
            return trust.wait
        return trust.wait_off_screen

    def verify(self, *labels: str) -> None:
        """Wait until the sequences and these captures are known to be as they were
        written.

        Raises InputError that names the damaged part. Not for an event loop: about a
        second for a gigabyte.
        """
        _ = self.sequences
        self._trusts[""].wait()
        for label in labels:
            self.capture(label)
            self._trusts[label].wait()

    def damage(self, label: str = "") -> str | None:
        """What is known by now to be wrong with a capture, or, without a label, with
        the sequences; None for nothing.
        """
        problem = self._problem(label)
        if problem is None:
            return None
        return str(problem)

    def _problem(self, label: str) -> InputError | None:
        """The error of `damage`, which names the file."""
        trust = self._trusts.get(label)
        if trust is None:
            return None
        return trust.problem

    @property
    def damaged(self) -> frozenset[str]:
        """Labels of the captures that are known by now to be damaged; "" stands for the
        sequences.
        """
        # A thread that opens another capture may add to them meanwhile.
        trusts = list(self._trusts.items())
        labels = [label for label, trust in trusts if trust.problem is not None]
        return frozenset(labels)

    @property
    def lock(self) -> LockHolder | None:
        """The process that writes this session at this moment; None: no one does."""
        return read_lock(self.folder)

    @property
    def state(self) -> State:
        """``running`` while a live writer holds it, else what the manifest says of
        sequences and captures.
        """
        if self.lock is not None:
            return "running"
        statuses = {capture.status for capture in self.captures}
        if "failed" in statuses:
            return "failed"
        info = self.manifest.sequences
        finished = sum(part.sequences for part in info.parts)
        has_all_sequences = finished >= info.planned
        if has_all_sequences and statuses <= {"complete"}:
            return "complete"
        return "partial"

    @property
    def is_growing(self) -> bool:
        """Whether a live writer holds it and something is missing: a whole session is
        also held while its engines are asked (identity, layers), which adds nothing.
        """
        statuses = {capture.status for capture in self.captures}
        return self.lock is not None and statuses != {"complete"}

    def refresh(self) -> Session:
        """This session as it is now: itself where the manifest has not changed, a new
        snapshot otherwise.
        """
        if _stamp(self.folder) == self._stamp:
            return self
        return open_session(self.folder, patient=self.patient)


def open_session(folder: Path | str, *, patient: bool = True) -> Session:
    """Open a session folder; ``patient`` is explained in `Session`.

    Raises InputError in one line where it is not one, or of a newer format.
    """
    path = Path(folder)
    stamp = _stamp(path)
    manifest = read_manifest(path)
    manifest = _without_ghosts(path, manifest)
    return Session(path, manifest, stamp, patient)


def _without_ghosts(folder: Path, manifest: Manifest) -> Manifest:
    """Captures that a killed supervisor left as ``running`` are pending: no process
    runs them.
    """
    statuses = [capture.status for capture in manifest.captures]
    if "running" not in statuses:
        return manifest
    if read_lock(folder) is not None:
        return manifest
    captures = []
    for capture in manifest.captures:
        if capture.status == "running":
            capture = capture._replace(status="pending")
        captures.append(capture)
    return manifest._replace(captures=tuple(captures))


def _stamp(folder: Path) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        status = (folder / MANIFEST).stat()
        modified = status.st_mtime_ns
        with contextlib.suppress(OSError):
            # Where processes record, the manifest stays and their files are replaced.
            modified += os.stat(folder / STREAMS).st_mtime_ns
        return modified, status.st_ino
    return 0, 0
