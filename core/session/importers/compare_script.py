"""Format ``engine-outputs``: lines of the public script that compares an engine with a
trainer's prefill; one capture a file.
"""

from __future__ import annotations

from logdrift.core.session.importers.job import ImportJob, Sentences
from logdrift.core.session.importers.openai import run as run_openai
from logdrift.core.session.importers.start import Start


def guess(start: Start) -> bool:
    """Lines with ``gen_logprobs`` beside ids of their own."""
    return start.answer_kind == "engine-outputs"


def run(job: ImportJob) -> Sentences:
    """As the format ``openai``: files of any server can be joined."""
    return run_openai(job)
