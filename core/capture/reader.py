"""Which interpreter reads prompts: the one of a backend, or any that holds a tokenizer.

Every engine's interpreter has Transformers; logdrift's own has not.
"""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.capture.environments import available
from logdrift.core.engines import TRAINER
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import BackendSpec


def reader_of(specs: Sequence[BackendSpec]) -> BackendSpec:
    """The backend with whose interpreter prompts are read, a trainer's where there is
    one.

    Where all backends ask running servers, it is one that stands for an engine whose
    environment is there; where none is, one of theirs, which reads ids alone.
    """
    started = [spec for spec in specs if spec.server is None]
    trainers = [spec for spec in started if spec.engine == TRAINER]
    by_preference = [*trainers, *started, *_of_environments(), *specs]
    return by_preference[0]


def _of_environments() -> list[BackendSpec]:
    found = []
    for engine, interpreter in available().items():
        if not isinstance(interpreter, LogdriftError):
            spec = BackendSpec(name=engine, engine=engine)
            found.append(spec)
    return found
