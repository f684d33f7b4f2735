"""Format ``miles``: the columns that miles' dashboard keeps of each rollout,
``dashboard_columns/rollout_N.parquet``.

A row is a sequence: ``tokens`` of prompt and response, ``response_length``, and
``loss_mask`` and ``rollout_log_probs`` of the response. It is the engine's side alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.importers.foreign import refuse_line
from logdrift.core.session.importers.job import ImportJob, Sentences, session_of_records
from logdrift.core.session.importers.parquet_rows import ParquetFile, is_parquet
from logdrift.core.session.importers.place import in_file
from logdrift.core.session.importers.records import ImportContext, Records
from logdrift.core.session.importers.samples import record_of
from logdrift.core.session.importers.start import Start, in_order

_COLUMNS = ("tokens", "response_length", "loss_mask", "rollout_log_probs")
_NUMBERS = "rollout_log_probs"


def guess(start: Start) -> bool:
    """A parquet file, or a folder of miles' ones."""
    files = files_in(start.path)
    return any(map(is_parquet, files[:1]))


def files_in(path: Path) -> Sequence[Path]:
    """A file itself, or the rollouts in a folder, in their order."""
    if not path.is_dir():
        return [path]
    rollouts = path.glob("rollout_*.parquet")
    return in_order(rollouts)


def run(job: ImportJob) -> Sentences:
    """Make the session of all rollouts."""
    context = job.context()
    records = _records(job.files, context)
    return session_of_records(job, records, context)


def _records(files: Sequence[str], context: ImportContext) -> Records:
    for file in files:
        path = Path(file)
        yield from read(path, context)


def read(path: Path, context: ImportContext) -> Records:
    """The sequences of a rollout, or of all in a folder. Raises InputError naming file
    and row.
    """
    files = files_in(path)
    if not files:
        raise in_file(path).error(
            "no rollout_*.parquet in it", "give miles' folder dashboard_columns"
        )
    for file in files:
        yield from _rollout(file, context)


def _rollout(file: Path, context: ImportContext) -> Records:
    place = in_file(file)
    if not file.exists():
        raise place.error("cannot be read: No such file or directory")
    if not is_parquet(file):
        raise place.error("is no parquet file")
    parquet = ParquetFile(file)
    known = parquet.columns
    missing = [name for name in _COLUMNS if name not in known]
    if missing:
        raise _other_columns(parquet, file, missing)
    for there, row in parquet.rows(_COLUMNS):
        with context.one_line():
            record = record_of(row, [_NUMBERS], there, context)
            if record is not None:
                yield record


def _other_columns(parquet: ParquetFile, file: Path, missing: list[str]) -> InputError:
    """What to say of a file that another tool wrote, as TRL's completions."""
    place = in_file(file)
    as_line = dict.fromkeys(parquet.columns, "")
    try:
        refuse_line(as_line, place)
    except InputError as error:
        return error
    columns = ", ".join(parquet.columns)
    return place.error(
        f"lacks the column {missing[0]}: it has {columns}",
        "give dashboard_columns/rollout_N.parquet of miles",
    )
