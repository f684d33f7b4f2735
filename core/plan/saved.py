"""What a session's manifest keeps under ``plan``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logdrift.core.plan.capture import CapturePlan


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan, and what followed from it when the session was made.

    ``max_length`` is the longest sequence (prompt and completion) that can occur, in
    tokens; 0: unknown. ``experiment_repeats`` is how often an experiment captures its
    backends; 0 for a session that is none. ``of_import``: the sequences were imported,
    and the plan says only how backends that were added score them, so its sampling is
    not saved.
    """

    plan: CapturePlan
    max_length: int = 0
    experiment_repeats: int = 0
    of_import: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it under ``plan``."""
        data = {**self.plan.to_json(), "max_length": self.max_length}
        if self.experiment_repeats:
            data["repeats_of_experiment"] = self.experiment_repeats
        if self.of_import:
            del data["sampling"]
            data["of_import"] = True
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SavedPlan:
        """Inverse of `to_json`. Raises InputError where a value is of another type."""
        return cls(
            plan=CapturePlan.from_json(data),
            max_length=data.get("max_length", 0),
            experiment_repeats=data.get("repeats_of_experiment", 0),
            of_import=data.get("of_import", False),
        )
