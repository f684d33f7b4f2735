"""Format ``sglang``: native answers of SGLang's ``/generate``; one capture a file."""

from __future__ import annotations

from logdrift.core.session.importers.job import ImportJob, Sentences
from logdrift.core.session.importers.openai import run as run_openai
from logdrift.core.session.importers.start import Start


def guess(start: Start) -> bool:
    """Answers with SGLang's ``meta_info``."""
    return start.answer_kind == "sglang"


def run(job: ImportJob) -> Sentences:
    """As the format ``openai``: each file may hold answers of any server."""
    return run_openai(job)
