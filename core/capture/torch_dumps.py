"""Format ``slime``: rollout and train dumps of slime and miles (``torch.save``).

It stands here, above the other formats, because torch reads these files, in the
environment of Transformers: logdrift itself never opens a pickle, and torch's
restricted reader (``weights_only``) builds plain data alone. Train dumps of miles are
one file a rank; those of one folder are put together.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from logdrift.core.capture.environments import (
    NoInterpreter,
    engine_environment,
    find_interpreter,
)
from logdrift.core.capture.jobs import clean_environment, end_group
from logdrift.core.engines import TRAINER
from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.binary import is_torch_archive
from logdrift.core.session.importers.cp_slices import SlicedSequence
from logdrift.core.session.importers.job import ImportJob, session_of_records
from logdrift.core.session.importers.place import in_file, list_item
from logdrift.core.session.importers.records import ImportContext, Record
from logdrift.core.session.importers.samples import CAPTURES, record_of
from logdrift.core.session.importers.start import Start

# Run by path in the interpreter that holds torch.
_PROGRAM = Path(__file__).parents[1] / "worker" / "torch_dump.py"
_NO_LOGPROBS = (
    "has neither rollout_log_probs nor log_probs",
    "let the rollout return log-probabilities, or import the train dump",
)
_OTHERS = (
    "%s of {n} {sample|samples} {is|are} left out: {it is|they are} of another model"
)
_LAST_WORDS = 2000
"""Bytes of what the program printed when it failed."""


def guess(start: Start) -> bool:
    """A dump of torch, or a folder of them."""
    dumps = dumps_in(start.path)
    return any(map(is_torch_archive, dumps[:1]))


def run(job: ImportJob) -> tuple[str, ...]:
    """Make the session of all dumps."""
    context = job.context()
    records = _records(job.files, context)
    return session_of_records(job, records, context)


def _records(files: Sequence[str], context: ImportContext) -> Iterator[Record]:
    for file in files:
        path = Path(file)
        yield from read(path, context)


def dumps_in(path: Path) -> list[Path]:
    """A file itself, or the dumps in a folder, steps and ranks in order."""
    if not path.is_dir():
        return [path]
    dumps = path.glob("*.pt")
    return sorted(dumps, key=_by_numbers)


def _by_numbers(path: Path) -> list[tuple[int, str]]:
    """Sorts ``9_1.pt`` before ``10_0.pt``."""
    parts = path.stem.split("_")
    return [(len(part), part) for part in parts]


def read(path: Path, context: ImportContext) -> Iterator[Record]:
    """The samples of a dump, or of all dumps in a folder. Raises InputError naming the
    file and the sample.
    """
    files = dumps_in(path)
    if not files:
        raise in_file(path).error("no .pt file in it", "give a dump, or its folder")
    for file in files:
        _check(file)
    for message in _messages(files):
        file = files[message["file"]]
        fields = message["fields"]
        if CAPTURES.keys().isdisjoint(fields):
            raise in_file(file).error(*_NO_LOGPROBS)
        record = None
        with context.one_line():
            record = _record(message, file, context)
        if record is not None:
            yield record


def _record(message: JsonObject, file: Path, context: ImportContext) -> Record | None:
    """The record of a sample; None for one without a response. Raises InputError."""
    samples = in_file(file).part("samples")
    place = list_item(samples, message["index"])
    for key in message["others"]:
        sentence = _OTHERS % key
        context.notes.count(sentence)
    sample = _sample(message, place)
    fields = message["fields"]
    return record_of(sample, fields, place, context)


def _check(file: Path) -> None:
    """Raise InputError for what is no dump of torch."""
    try:
        with file.open("rb") as dump:
            dump.read(1)
    except OSError as error:
        raise in_file(file).error(f"cannot be read: {error.strerror}") from None
    if not is_torch_archive(file):
        raise in_file(file).error(
            "is not a dump of torch.save", "give the .pt file of slime or miles"
        )


def _sample(message: JsonObject, place: Place) -> JsonObject:
    """The sample of a message; of ranks, put together."""
    if "sample" in message:
        whole: JsonObject = message["sample"]
        return whole
    row = dict(message["row"])
    ids = row.get("tokens") or []
    response = row.get("response_lengths") or 0
    tokens = len(ids)
    padded = tokens
    if message["qkv_format"] != "thd":
        padded = message["max_seq_len"] or tokens
    cp_size = message["cp_size"]
    sequence = SlicedSequence(tokens, response, cp_size, padded)
    all_slices = message["slices"]
    for key, slices in all_slices.items():
        by_rank = {int(rank): of_rank for rank, of_rank in slices.items()}
        values = sequence.whole(by_rank, place, key)
        row[key] = values
    return row


@dataclass(frozen=True, slots=True)
class _Program:
    """A running reader of dumps, and the file that it prints errors to."""

    process: subprocess.Popen[str]
    errors: IO[bytes]

    def last_words(self) -> str:
        """What it printed last when it failed."""
        self.errors.seek(0)
        printed = self.errors.read()
        last = printed[-_LAST_WORDS:]
        text = last.decode("utf-8", "replace")
        lines = text.splitlines()
        return lines[-1] if lines else "no output"


def _messages(files: Sequence[Path]) -> Iterator[JsonObject]:
    """What the program says of the samples. Raises InputError for a dump that is
    refused, and where there is no interpreter with torch.
    """
    with tempfile.TemporaryFile() as errors:
        program = _Program(_start(files, errors), errors)
        process = program.process
        try:
            assert process.stdout is not None
            for line in process.stdout:
                message = json.loads(line)
                if "refused" in message:
                    raise refusal(message, files)
                yield message
            if process.wait() != 0:
                raise in_file(files[0]).error(
                    f"torch could not read it: {program.last_words()}"
                )
        finally:
            end_group(process)


def _start(files: Sequence[Path], errors: IO[bytes]) -> subprocess.Popen[str]:
    place = in_file(files[0])
    try:
        interpreter = find_interpreter(TRAINER)
    except NoInterpreter:
        raise place.error(
            "is a dump of torch, which logdrift reads with torch in the environment of"
            f" {TRAINER}, and there is none",
            f"make it with logdrift env create {TRAINER}",
        ) from None
    paths = [str(file.absolute()) for file in files]
    env = {
        **clean_environment(),
        **engine_environment(TRAINER, "cpu", "/"),
        **interpreter.env,
        "CUDA_VISIBLE_DEVICES": "",
    }
    try:
        return subprocess.Popen(
            [str(interpreter.python), "-I", str(_PROGRAM), *paths],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=env,
            cwd="/",
            text=True,
        )
    except OSError as error:
        raise InputError(
            f"{interpreter.python} cannot be started: {error.strerror}"
        ) from None


def refusal(message: JsonObject, files: Sequence[Path]) -> InputError:
    """Why the program refused a dump, in words."""
    place = in_file(files[message.get("file", 0)])
    reason = message["refused"]
    if reason == "globals":
        names = ", ".join(message["names"])
        return place.error(
            f"asks for {names} when it is loaded, which is no plain data: nothing of it"
            " is run",
            "leave such objects out where the dump is made, or write jsonl there"
            " (docs/import.md, From a trainer)",
        )
    if reason == "damaged":
        return place.error(
            f"is damaged, or no dump that torch reads ({message['kind']})",
            "copy it again once it is written",
        )
    if reason == "columns":
        return place.error(
            f"rollout_data: {message['column']} is missing, or has another length than"
            " tokens"
        )
    if reason == "samples":
        return place.error("samples is not a list of objects")
    found = message["type"]
    if message["keys"]:
        found = f"an object of {', '.join(message['keys'])}"
    return place.error(
        f"is {found}: a dump of slime or miles has samples or rollout_data",
        "write jsonl where the file was made (docs/import.md, From a trainer)",
    )
