"""Format ``vllm``: what vLLM's offline ``LLM`` gives, and TensorRT-LLM's, as JSON; one
capture a file.
"""

from __future__ import annotations

from logdrift.core.session.importers.job import ImportJob, Sentences
from logdrift.core.session.importers.openai import run as run_openai
from logdrift.core.session.importers.start import Start


def guess(start: Start) -> bool:
    """Outputs of requests with token ids."""
    return start.answer_kind == "vllm"


def run(job: ImportJob) -> Sentences:
    """As the format ``openai``: files of any server can be joined."""
    return run_openai(job)
