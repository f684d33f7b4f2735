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
    known: dict[str, Found] = {}
    for engine, interpreter in interpreters.items():
        known[engine] = _by_files(engine, interpreter)
    yield known
    for engine, interpreter in interpreters.items():
        if not isinstance(interpreter, Interpreter):
            continue
        if known[engine].probed:
            continue
        try:
            health = check(interpreter, cancel=cancel)
        except LogdriftError:
            return
        if health.problem is not None:
            problem = str(health.problem)
            found = Found(problem=problem, probed=True)
            yield {engine: found}
            continue
        versions = _versions(engine, health.versions)
        words = f"{versions} · {health.device} · {_paths(engine)}"
        found = Found(words, probed=True)
        python = str(interpreter.python)
        _PROBED[engine, python] = found
        yield {engine: found}


def _by_files(engine: str, interpreter: object) -> Found:
    from logdrift.core.capture.environments import Interpreter

    if not isinstance(interpreter, Interpreter):
        problem = str(interpreter)
        return Found(problem=problem)
    python = str(interpreter.python)
    paths = _paths(engine)
    not_asked = Found(f"found, looking at it · {paths}")
    return _PROBED.get((engine, python), not_asked)


def _paths(engine: str) -> str:
    known = ENGINES[engine].paths
    paths = [path for path in known if path != "recorded"]
    return ", ".join(paths)


def _versions(engine: str, versions: Mapping[str, str]) -> str:
    own = "version unknown"
    for name in ENGINES[engine].distributions:
        if name in versions:
            own = versions[name]
            break
    torch = versions.get("torch", "unknown")
    return f"{own} · torch {torch}"
