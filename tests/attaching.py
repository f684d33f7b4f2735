"""A backend of logdrift attached to one of the small servers of `tests.served`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from logdrift.core.engines.vllm.server import VllmServer
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.worker.base import BackendSettings
from tests.served import MODEL, Answer, Formula, Served, Twist, serving

TOP_K = 4
IDS = [np.arange(start, start + 9, dtype=np.int32) for start in (1, 5, 20)]


def settings_of(
    served: Served, sampling: SamplingSpec | None = None, **options: Any
) -> BackendSettings:
    quick = {"patience": 5, **options}
    spec = BackendSpec("mu", "vllm", server=served.address, options=quick)
    return BackendSettings(
        model=MODEL,
        revision=None,
        spec=spec,
        sampling=sampling or SamplingSpec(max_tokens=5),
        paths=("decode", "prefill"),
        top_k=TOP_K,
        max_length=40,
        max_prompts=8,
    )


@contextmanager
def attached(
    served: Served, sampling: SamplingSpec | None = None, **options: Any
) -> Iterator[VllmServer]:
    backend = VllmServer(settings_of(served, sampling, **options))
    try:
        yield backend
    finally:
        backend.close()


@contextmanager
def asking(
    answer: Answer, sampling: SamplingSpec | None = None, **options: Any
) -> Iterator[VllmServer]:
    """A backend that has looked at a server with these answers."""
    with serving(answer) as served, attached(served, sampling, **options) as backend:
        backend.open()
        yield backend


def quiet(sequences: int, tokens: int) -> None:
    """Progress that nobody watches."""


def refusal(twist: Twist, path: str = "score", **options: Any) -> LogdriftError:
    """How a server that twists its answers is refused, once it was opened."""
    formula = Formula()
    with serving(formula) as served, attached(served, **options) as backend:
        backend.open()
        formula.twist = twist
        work: dict[str, Callable[[], object]] = {
            "score": lambda: backend.score(IDS, quiet),
            "generate": lambda: backend.generate(IDS, [1, 2, 3], quiet),
        }
        with pytest.raises(LogdriftError) as caught:
            work[path]()
    line = str(caught.value)
    assert served.address in line
    assert "\n" not in line
    return caught.value
