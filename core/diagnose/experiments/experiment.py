"""What an experiment is: one knob, changed on one side of a pair or on both at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from logdrift.core.diagnose.causes import CAUSES, NOISE
from logdrift.core.diagnose.knobs import Which
from logdrift.core.facts import Batch
from logdrift.core.session.schema import Unfit, items, one_of, record, shown, text


@dataclass(frozen=True, slots=True)
class ChangedSide:
    """One capture that an experiment makes again: ``label`` of the session, with
    ``changes`` to its backend.

    ``path`` and ``batch`` are those of the new capture. ``given`` is a capture that the
    session has already and that is the changed one; nothing needs to run then.
    """

    which: Which
    label: str
    backend: str
    engine: str
    path: str
    batch: Batch
    changes: Mapping[str, Any]
    given: str | None = None

    @property
    def text(self) -> str:
        """``vllm: dtype=float32``."""
        settings = (_setting(name, value) for name, value in self.changes.items())
        return f"{self.backend}: {', '.join(settings)}"

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {
            "changes": dict(self.changes)
        }


@dataclass(frozen=True, slots=True)
class Experiment:
    """One knob changed on one side, or on both at once, everything else equal.

    ``seconds`` is an estimate from how long the unchanged captures took, None where
    that is unknown. ``telling`` (0 to 1) is the score of the cause times what the
    change would explain. ``still``: no number may move. ``rescored``: what is compared
    with the changed capture is the pair's own capture, even where that went another
    path. ``proves`` is the cause that success is evidence for: `NOISE` for one more
    precise format on both sides that had the same one.
    """

    id: str
    cause: str
    title: str
    sides: tuple[ChangedSide, ...]
    combined: bool = False
    seconds: float | None = None
    telling: float = 0.0
    still: bool = False
    rescored: bool = False
    note: str = ""
    proves: str = ""

    @property
    def backend(self) -> str:
        """The changed backend, or both, joined by ``+``."""
        return "+".join(dict.fromkeys(side.backend for side in self.sides))

    @property
    def path(self) -> str:
        return "+".join(dict.fromkeys(side.path for side in self.sides))

    @property
    def changes(self) -> Mapping[str, Any]:
        """Fields of a `BackendSpec`, or options, by exact name; by backend where two
        backends take other ones.
        """
        changes = [dict(side.changes) for side in self.sides]
        if all(other == changes[0] for other in changes):
            return changes[0]
        return {side.backend: dict(side.changes) for side in self.sides}

    @property
    def runs(self) -> bool:
        """Some engine has to be started."""
        return any(side.given is None for side in self.sides)

    def to_json(self) -> dict[str, Any]:
        out = {name: getattr(self, name) for name in self.__slots__}
        return {
            **out,
            "sides": [side.to_json() for side in self.sides],
            "backend": self.backend,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Experiment:
        """Inverse of `to_json`; unknown keys are left out. Raises
        `logdrift.core.session.schema.Unfit` for what is none.
        """
        return cls(**_experiment_kind(data))


def _folder_name(value: Any) -> str:
    """What `_identifier` gives."""
    if re.fullmatch(r"[\w-]{1,200}", text(value)):
        return str(value)
    raise Unfit(f"is {shown(value)}: letters, digits, '_' and '-' are expected")


def _sides(value: Any) -> tuple[ChangedSide, ...]:
    if sides := items(_side_kind)(value):
        return tuple(ChangedSide(**side) for side in sides)
    raise Unfit("has no sides")


_side_kind = record(ChangedSide, which=one_of("a", "b"), batch=one_of(*get_args(Batch)))
_CODES = (*(cause.code for cause in CAUSES), NOISE)
_experiment_kind = record(
    Experiment,
    id=_folder_name,
    sides=_sides,
    cause=one_of(*_CODES),
    proves=one_of(*_CODES, ""),
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A knob that means nothing here, and why."""

    cause: str
    backend: str
    setting: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}


EVERY_OPTION = "(every option)"
"""Of a `LeftOut` for a backend that cannot be changed at all."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """``experiments`` most telling first, and the knobs that were left out.
    ``deciding`` are the ids of those that can prove or refute what is likely
    (`deciding`).
    """

    experiments: tuple[Experiment, ...]
    left_out: tuple[LeftOut, ...]
    deciding: frozenset[str] = frozenset()

    @property
    def why_none(self) -> str:
        """Why nothing is proposed, in one line; empty where something is."""
        if self.experiments:
            return ""
        for left in self.left_out:
            if left.setting == EVERY_OPTION:
                return left.reason
        return "no cause has an option that means something on either engine"


def _setting(name: str, value: Any) -> str:
    if value is None:
        return f"no {name}"
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"
