"""What is known of an engine before it is started: the record that each engine's own
``core/engines/NAME/about.py`` fills in.

Standard library only: every part of logdrift may import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from logdrift.core.engines.knobs import KnobTable

PATHS = ("decode", "prefill", "forced_decode", "recorded")


@dataclass(frozen=True, slots=True)
class PathNeed:
    """A path of an engine that works with one value of an option alone, which is also
    its default.
    """

    path: str
    option: str
    value: str
    otherwise: str
    """What another value would do."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What may be asked of an engine before it is started.

    ``package`` is the module whose import proves that an interpreter holds the engine;
    ``distributions`` are the names under which it may be installed. ``needs`` are its
    paths that not every option allows.
    """

    name: str
    module: str
    attribute: str
    package: str
    distributions: tuple[str, ...]
    paths: tuple[str, ...]
    default_role: Literal["reference", "trainer", "rollout"]
    needs: tuple[PathNeed, ...] = ()
    knobs: KnobTable = field(default_factory=dict)

    def refusal(self, path: str, options: Mapping[str, Any]) -> str | None:
        """Why ``path`` does not work with these options of a backend, known before it
        is started; None where it does.
        """
        for need in self.needs:
            have = options.get(need.option, need.value)
            if need.path == path and have != need.value:
                return (
                    f"{path} needs {need.option}={need.value}: with {have}"
                    f" {need.otherwise}"
                )
        return None
