"""An importer of a third party: one module, and `LINE`, its line in the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from logdrift.core.session.importers.columns import scores_of
from logdrift.core.session.importers.formats import Format
from logdrift.core.session.importers.job import ImportJob, session_of_lines
from logdrift.core.session.importers.place import on_line
from logdrift.core.session.importers.records import ImportContext, Record
from logdrift.core.session.importers.start import Start

LINE = Format("pairs", "pair files", "lines of id:logprob pairs", "tests.toy_importer")


def guess(start: Start) -> bool:
    """By the ending."""
    return start.path.suffix == ".pairs"


def run(job: ImportJob) -> tuple[str, ...]:
    """Each line is a sequence."""
    return session_of_lines(job, read)


def read(path: Path, context: ImportContext) -> Iterator[Record]:
    """``5:-1.5 7:-0.25``: the completion of a sequence."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        place = on_line(path, number)
        pairs = [pair.partition(":") for pair in line.split()]
        for token_id, colon, _ in pairs:
            if not colon:
                raise place.error(
                    f"{token_id} has no log-probability", "write id:value"
                )
        ids = np.asarray([int(token_id) for token_id, _, _ in pairs], np.int32)
        values = [float(value) for _, _, value in pairs]
        scores = scores_of(values, place, "value", first=True)
        yield Record(place, ids, 0, {"toy/decode": scores})
