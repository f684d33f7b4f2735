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
    for candidates in (trainers, started, ready_engines()):
        if candidates:
            return candidates[0]
    return specs[0]


def ready_engines() -> list[BackendSpec]:
    """A backend for each engine whose environment is ready, the trainer's first."""
    ready = []
    interpreters = available()
    for engine, interpreter in interpreters.items():
        if isinstance(interpreter, LogdriftError):
            continue
        spec = BackendSpec(name=engine, engine=engine)
        ready.append(spec)
    ready.sort(key=_is_no_trainer)
    return ready


def _is_no_trainer(spec: BackendSpec) -> bool:
    return spec.engine != TRAINER
