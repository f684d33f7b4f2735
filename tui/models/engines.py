"""What is known of each engine's environment: found by its files first, which is quick,
then by starting its interpreter and asking.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError

_PROBED: dict[tuple[str, str], Found] = {}
"""What interpreters that work answered, for as long as the program runs."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of an engine's environment. ``problem``: why it cannot be used."""

    words: str = ""
    problem: str | None = None
    probed: bool = False


def look_for_engines(cancel: threading.Event) -> Iterator[Mapping[str, Found]]:
    """What is known of the engines, as it comes to be known: of all of them at once,
    then of each whose interpreter was asked. Ends early after ``cancel``.
    """
    from logdrift.core.capture.environments import Interpreter, available, check

    interpreters = available()
    known = {engine: _by_files(engine, it) for engine, it in interpreters.items()}
    yield known
    for engine, interpreter in interpreters.items():
        if not isinstance(interpreter, Interpreter) or known[engine].probed:
            continue
        try:
            health = check(interpreter, cancel=cancel)
        except LogdriftError:
            return
        if health.problem is not None:
            yield {engine: Found(problem=str(health.problem), probed=True)}
            continue
        versions = _versions(engine, health.versions)
        words = f"{versions} · {health.device} · {_paths(engine)}"
        _PROBED[engine, str(interpreter.python)] = Found(words, probed=True)
        yield {engine: Found(words, probed=True)}


def _by_files(engine: str, interpreter: object) -> Found:
    from logdrift.core.capture.environments import Interpreter

    if not isinstance(interpreter, Interpreter):
        return Found(problem=str(interpreter))
    not_asked = Found(f"found, looking at it · {_paths(engine)}")
    return _PROBED.get((engine, str(interpreter.python)), not_asked)


def _paths(engine: str) -> str:
    return ", ".join(path for path in ENGINES[engine].paths if path != "recorded")


def _versions(engine: str, versions: Mapping[str, str]) -> str:
    own = "version unknown"
    for name in ENGINES[engine].distributions:
        if name in versions:
            own = versions[name]
            break
    return f"{own} · torch {versions.get('torch', 'unknown')}"
