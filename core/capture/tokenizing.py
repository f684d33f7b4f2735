"""Whose interpreter makes ids of text: logdrift's own holds no tokenizer, and that of
every engine holds Transformers.
"""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.capture.environments import available
from logdrift.core.engines import TRAINER
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import BackendSpec


def tokenizing_backend(specs: Sequence[BackendSpec]) -> BackendSpec:
    """The backend of a plan whose interpreter reads the prompts: a trainer's, else any
    that is started.

    Where all backends ask running servers, any engine serves whose environment is
    ready. Without one it is a server's own backend, which can read prompts of ids.
    """
    started = [spec for spec in specs if spec.server is None]
    trainers = [spec for spec in started if spec.engine == TRAINER]
    by_preference = [*trainers, *started, *ready_engines(), *specs]
    return by_preference[0]


def ready_engines() -> list[BackendSpec]:
    """A backend for each engine whose environment is ready, the trainer's first."""
    ready = []
    for engine, interpreter in available().items():
        if not isinstance(interpreter, LogdriftError):
            ready.append(BackendSpec(name=engine, engine=engine))
    ready.sort(key=_is_no_trainer)
    return ready


def _is_no_trainer(spec: BackendSpec) -> bool:
    return spec.engine != TRAINER
