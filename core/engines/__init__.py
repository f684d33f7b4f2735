"""The engines logdrift can run: one folder each, one line here each.

``core/engines/NAME/about.py`` holds what is true of an engine, standard library only,
and is importable everywhere. ``backend.py`` and the modules beside it run inside the
interpreter that holds the engine, where `logdrift.core.worker.main` imports them.
"""

from __future__ import annotations

import importlib

from logdrift.core.engines.about import PATHS, Engine, PathNeed
from logdrift.core.engines.knobs import Knob

__all__ = ["ENGINES", "PATHS", "Engine", "PathNeed", "knobs_of"]

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


def knobs_of(cause: str) -> dict[str, tuple[Knob, ...]]:
    """The knobs of a cause by engine, inference engines before trainers; only engines
    that have one.
    """
    engines = sorted(ENGINES.values(), key=lambda e: e.default_role != "rollout")
    return {e.name: e.knobs[cause] for e in engines if cause in e.knobs}
