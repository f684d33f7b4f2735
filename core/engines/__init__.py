"""The engines logdrift can run: one folder each, one line here each.

``core/engines/NAME/about.py`` holds what is true of an engine, standard library only,
and is importable everywhere. ``backend.py`` and the modules beside it run inside the
interpreter that holds the engine, where `logdrift.core.worker.running` imports them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable

from logdrift.core.engines.about import PATHS, Engine, PathNeed
from logdrift.core.engines.knobs import Knob

__all__ = [
    "ENGINES",
    "PATHS",
    "ROLLOUTS",
    "TRAINER",
    "Engine",
    "PathNeed",
    "all_names",
    "knobs_of",
]

_FOLDERS = (
    "transformers",
    "vllm",
    "sglang",
)


def _about(folder: str) -> Engine:
    about = importlib.import_module(f"{__name__}.{folder}.about").ABOUT
    assert isinstance(about, Engine)
    return about


ENGINES: dict[str, Engine] = {folder: _about(folder) for folder in _FOLDERS}
"""By name, in the order in which they are listed everywhere."""

ROLLOUTS = tuple(e.name for e in ENGINES.values() if e.default_role == "rollout")
"""The engines that sample."""
TRAINER = next(e.name for e in ENGINES.values() if e.default_role == "trainer")
"""The engine of trainers and references, which the environment of every other engine
holds as well.
"""
_ROLLOUTS_FIRST = (*ROLLOUTS, *(name for name in ENGINES if name not in ROLLOUTS))


def knobs_of(cause: str) -> dict[str, tuple[Knob, ...]]:
    """The knobs of a cause by engine, inference engines before trainers; only engines
    that have one.
    """
    return {
        name: ENGINES[name].knobs[cause]
        for name in _ROLLOUTS_FIRST
        if cause in ENGINES[name].knobs
    }


def all_names(names: Callable[[Engine], Iterable[str]]) -> tuple[str, ...]:
    """What ``names`` gives of every engine, inference engines first, without
    repeats.
    """
    engines = [ENGINES[name] for name in _ROLLOUTS_FIRST]
    return tuple(dict.fromkeys(name for engine in engines for name in names(engine)))
