"""Session folder, format 1: names of files, and the manifest as named tuples.

The format is a promise (docs/session-format.md). Missing keys have defaults, so old
sessions stay readable; a newer format is refused by name.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from logdrift.core.errors import InputError, Place
from logdrift.core.facts import Batch, Facts
from logdrift.core.session.below import refuse_links
from logdrift.core.session.files import (
    MANIFEST_BYTES,
    RESTORE,
    JsonObject,
    OtherDigest,
    parse_json,
    read_file,
)
from logdrift.core.session.part_records import Part as Part
from logdrift.core.session.part_records import capture_part as capture_part
from logdrift.core.session.part_records import (
    check_folders,
    check_parts_of,
    file_name,
    folder_of,
    read_part,
)
from logdrift.core.session.part_records import sequence_part as sequence_part
from logdrift.core.session.schema import (
    COUNT,
    anything,
    built,
    checked,
    fields,
    flag,
    items,
    maybe,
    number,
    one_of,
    record,
    table,
    text,
    whole,
)

if TYPE_CHECKING:
    from logdrift.core.session.retokenised import Retokenised

FORMAT = 1
MANIFEST = "session.json"
PIECES = "pieces.json"
EVENTS = "events.jsonl"
LOCK = "lock"
PROMPTS = "prompts.safetensors"
LOGS = "logs"
STREAMS = "streams"
"""What processes that record at once have written (`logdrift.core.session.streams`)."""
_TOP = (
    MANIFEST,
    PIECES,
    EVENTS,
    LOCK,
    PROMPTS,
    LOGS,
    STREAMS,
    "sequences",
    "captures",
    "facts",
    "why",
    "why/experiments",
    "why/identity",
    "why/layers",
)
"""What a session's folder holds: none of it may be a link that leads out. Parts are
looked at one by one.
"""

Status = Literal["pending", "running", "complete", "failed"]

_NO_PLAN: JsonObject = {}

SAMPLED_PATHS = ("decode", "recorded")
"""Paths whose captures hold the sampling itself, here or elsewhere. None of them can be
captured again: sampling gives other ids.
"""


class ModelInfo(NamedTuple):
    """What the session's numbers belong to. Digests are ``sha256:...`` or None where
    not observed.
    """

    id: str
    revision: str | None = None
    vocab_size: int | None = None
    config_digest: str | None = None
    tokenizer_digest: str | None = None
    weights_digest: str | None = None


class Sampled(NamedTuple):
    """How ``sequences`` of the completions that were given had been sampled.

    ``facts`` by name (`logdrift.core.told.TELLABLE`) are what their author stated: no
    engine was observed.
    """

    sequences: int
    facts: JsonObject


class SequencesInfo(NamedTuple):
    """``planned`` sequences in all, ``generated_by`` the backend that sampled them
    (None: they were given).

    ``ahead`` are finished parts behind one that is not, as in a capture. ``sampled``
    says how given ones were sampled, an entry for each way; empty where
    nothing was told. ``retokenised`` is None where no tokenizer was asked.
    """

    planned: int = 0
    generated_by: str | None = None
    parts: tuple[Part, ...] = ()
    sampled: tuple[Sampled, ...] = ()
    retokenised: Retokenised | None = None
    ahead: tuple[Part, ...] = ()

    @property
    def finished(self) -> tuple[Part, ...]:
        """All finished parts."""
        return (*self.parts, *self.ahead)

    def to_json(self) -> dict[str, Any]:
        data = self._asdict()
        data["parts"] = [part._asdict() for part in self.parts]
        data["ahead"] = [part._asdict() for part in self.ahead]
        data["sampled"] = [sampled._asdict() for sampled in self.sampled]
        if self.retokenised is not None:
            data["retokenised"] = self.retokenised.to_json()
        return data


class LoadedFile(NamedTuple):
    """The file that says by name what a backend loaded
    (`logdrift.core.session.loaded`); ``digest`` is of its bytes.
    """

    file: str
    digest: str


class CaptureInfo(NamedTuple):
    """One capture: which backend along which path, how far it got, and the facts as
    observed.

    ``batch`` is ``alone`` where every sequence was scored in a batch of its own,
    ``together`` where sequences shared one. ``parts`` follow one another; ``ahead`` are
    finished parts behind the first that is not: they are listed once it is, and are
    not captured again. ``loaded`` is None where
    config and tokenizer are known by their digests alone.
    """

    label: str
    backend: str
    engine: str
    dtype: str
    path: str
    repeat: int = 1
    role: str = "rollout"
    status: Status = "pending"
    facts: Facts | None = None
    parts: tuple[Part, ...] = ()
    failure: str | None = None
    batch: Batch = "together"
    loaded: LoadedFile | None = None
    ahead: tuple[Part, ...] = ()

    @property
    def sequences(self) -> int:
        """Finished sequences, from the first one on without a gap."""
        return sum(part.sequences for part in self.parts)

    @property
    def finished_sequences(self) -> int:
        """Finished sequences, those ahead of a gap included."""
        return sum(part.sequences for part in self.finished)

    @property
    def finished_tokens(self) -> int:
        """Their tokens, as `tokens` counts them."""
        return sum(part.tokens for part in self.finished)

    @property
    def fills_batches(self) -> bool:
        """Whether the engine filled its batches from all that it was asked."""
        if self.facts is None or self.batch != "together":
            return False
        return self.facts.reproducible is False

    @property
    def batch_sizes(self) -> list[int]:
        """Sequences that the engine had together: those of each part, or all."""
        sizes = [part.sequences for part in self.parts]
        if self.fills_batches:
            return [sum(sizes)]
        return sizes

    @property
    def failure_lines(self) -> list[str]:
        """Why it failed, line by line; empty where no reason was written down."""
        if self.failure is None:
            return []
        return self.failure.strip().splitlines()

    @property
    def tokens(self) -> int:
        """Tokens of `sequences`, their first ones (which have no score) included."""
        return sum(part.tokens for part in self.parts)

    @property
    def finished(self) -> tuple[Part, ...]:
        """All finished parts."""
        return (*self.parts, *self.ahead)

    def to_json(self) -> dict[str, Any]:
        data = self._asdict()
        data["parts"] = [part._asdict() for part in self.parts]
        data["ahead"] = [part._asdict() for part in self.ahead]
        if self.facts is not None:
            data["facts"] = self.facts.to_json()
        if self.loaded is not None:
            data["loaded"] = self.loaded._asdict()
        return data


class Manifest(NamedTuple):
    """``session.json``: the list of everything that is finished.

    ``notes`` are sentences about where the numbers came from: what an import left out
    or joined.
    """

    id: str
    model: ModelInfo
    title: str = ""
    created: str = ""
    logdrift_version: str = ""
    plan: JsonObject = _NO_PLAN
    sequences: SequencesInfo = SequencesInfo()
    captures: tuple[CaptureInfo, ...] = ()
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def capture(self, label: str) -> CaptureInfo:
        """The capture called ``label``; InputError names those there are."""
        for capture in self.captures:
            if capture.label == label:
                return capture
        labels = [capture.label for capture in self.captures]
        listed = ", ".join(labels) or "none"
        raise InputError(f"no capture {label!r}: the session has {listed}")

    def to_json(self) -> dict[str, Any]:
        data = self._asdict()
        data["model"] = self.model._asdict()
        data["sequences"] = self.sequences.to_json()
        data["captures"] = [capture.to_json() for capture in self.captures]
        return {"format": self.format, **data}

    @classmethod
    def from_json(cls, data: JsonObject) -> Manifest:
        """Raises InputError for another format, a missing key, a value of another type,
        a file name that leaves the folder, and parts that do not follow one another.
        """
        version: Any = data.get("format")
        is_number = type(version) is int
        if not is_number or version < 1:
            raise InputError("not a logdrift session: no format number in session.json")
        if version > FORMAT:
            raise InputError(
                f"session format {version} is newer than this logdrift knows"
                f" ({FORMAT})",
                remedy="upgrade logdrift",
            )
        manifest: Manifest = checked(_manifest, data, MANIFEST)
        check_parts(manifest)
        return manifest


def check_parts(manifest: Manifest) -> None:
    """Refuse (InputError) parts that leave sequences out, score them twice, or share a
    file, and two captures of one label.

    Numbers would stand where they do not belong: two captures with one file agree
    exactly.
    """
    _check_labels(manifest)
    owners: dict[PurePosixPath, str] = {}
    sequences = manifest.sequences
    check_parts_of("sequences", sequences.parts, sequences.ahead, owners)
    folders = {folder_of(info.label): info.label for info in manifest.captures}
    for info in manifest.captures:
        check_parts_of(info.label, info.parts, info.ahead, owners)
        check_folders(info.label, info.finished, folders)


def _check_labels(manifest: Manifest) -> None:
    labels = [info.label for info in manifest.captures]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"session.json lists two captures {label!r}")


_sampled_facts = fields(
    {
        "temperature": number,
        "top_p": number,
        "min_p": number,
        "top_k": COUNT,
        "dtype": text,
        "engine": text,
        "engine_version": text,
        "torch_version": text,
        "weight_version": text,
    }
)
_sampled = built(record(Sampled, sequences=COUNT, facts=_sampled_facts), Sampled)


def _retokenised(value: Any) -> Any:
    # Imported here: of few sessions is it known.
    from logdrift.core.session.retokenised import RETOKENISED

    return RETOKENISED(value)


_given_sequences = built(
    record(
        SequencesInfo,
        planned=COUNT,
        parts=items(read_part),
        ahead=items(read_part),
        sampled=items(_sampled),
        retokenised=maybe(_retokenised),
    ),
    SequencesInfo,
)
_loaded = built(record(LoadedFile, file=file_name, digest=text), LoadedFile)
_model = built(record(ModelInfo, vocab_size=maybe(COUNT)), ModelInfo)


def _sequences(value: Any) -> Any:
    """No sequences where there is null."""
    if value is None:
        return SequencesInfo()
    return _given_sequences(value)


def _facts(value: Any) -> Facts | None:
    """None where nothing was observed."""
    if not value:
        return None
    by_name = table(anything)(value)
    return Facts.from_json(by_name)


_capture = built(
    record(
        CaptureInfo,
        label=file_name,
        repeat=whole(1, 2**31 - 1),
        status=one_of(*get_args(Status)),
        batch=one_of(*get_args(Batch)),
        facts=_facts,
        parts=items(read_part),
        ahead=items(read_part),
        loaded=maybe(_loaded),
    ),
    CaptureInfo,
)
_planned_backend = fields({"name": text, "options": maybe(table(anything))})
_plan_keys = fields(
    {
        "sampling": maybe(table(anything)),
        "backends": maybe(items(_planned_backend)),
        "max_length": COUNT,
        "repeats_of_experiment": COUNT,
        "of_import": flag,
    }
)


def _plan(value: Any) -> JsonObject:
    """As it is, for whoever resumes. What is read of it besides
    `logdrift.core.plan.CapturePlan` has its type.
    """
    if value is None:
        return {}
    _plan_keys(anything(value))
    return dict(value)


_manifest = built(
    record(
        Manifest,
        model=_model,
        plan=_plan,
        sequences=_sequences,
        captures=items(_capture),
        format=whole(1, FORMAT),
    ),
    Manifest,
)


def _with_streams(folder: Path, data: JsonObject) -> JsonObject:
    # Imported here: few sessions are written by several processes at once.
    from logdrift.core.session.streams import joined

    return joined(folder, data)


def read_manifest(folder: Path) -> Manifest:
    """Read ``session.json``. Raises InputError in one line that names the folder."""
    path = folder / MANIFEST
    words = f"session {folder}"
    session = Place(words, file=str(folder))
    for name in _TOP:
        refuse_links(folder, name)
    try:
        content = read_file(path, MANIFEST_BYTES)
        data = parse_json(content)
    except FileNotFoundError:
        if os.path.isdir(folder):
            hint = "no session.json in it"
        else:
            hint = "no such folder"
        raise session.error(hint) from None
    except NotADirectoryError:
        raise session.error("a session is a folder, this is a file") from None
    except OtherDigest as error:
        raise session.error(f"session.json is damaged: {error}", RESTORE) from None
    except (ValueError, RecursionError) as error:
        raise session.error(f"session.json is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise session.error("session.json is not an object")
    try:
        if os.path.isdir(folder / STREAMS):
            data = _with_streams(folder, data)
        return Manifest.from_json(data)
    except InputError as error:
        raise error.within(words, file=session.file) from None
