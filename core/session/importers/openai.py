"""Format ``openai``: answers of an OpenAI-compatible server, or of llama.cpp; one
capture a file.
"""

from __future__ import annotations

from logdrift.core.session.importers.answer_files import captures_of
from logdrift.core.session.importers.job import ImportJob, Sentences, session_of_records
from logdrift.core.session.importers.join import side_by_side
from logdrift.core.session.importers.start import Start


def guess(start: Start) -> bool:
    """Answers with choices, or llama.cpp's own."""
    return start.answer_kind in ("openai", "llama.cpp")


def run(job: ImportJob) -> Sentences:
    """Make the session of all files, joined by ids."""
    context = job.context()
    captures = captures_of(job.files, context)
    records = side_by_side(captures, context, job.out)
    return session_of_records(job, records, context)
