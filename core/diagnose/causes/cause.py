"""What the table knows of one cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from logdrift.core.engines import knobs_of
from logdrift.core.engines.knobs import Knob

Group = Literal["broken", "recording", "semantics", "model", "numerics"]
MEASURED = "measured: the small model, CPU engines, docs/why.md"
"""The `Cause.source` of sizes that logdrift measured itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One line of the table.

    ``number`` is its place in the order of checking, given by the table. ``sentence``
    says what it is, ``signature`` how it shows. ``separable``: numbers alone can name
    it; otherwise ``otherwise`` says what tells it. ``size`` is what was measured or
    published, MAE in nats unless it says something else; ``source`` says by whom,
    ``link`` is where the cause itself was reported. ``fix`` is what to do about it as
    an imperative, empty where an experiment or a check must tell first. What proves it
    on an engine stands in that engine's folder (`logdrift.core.engines.knobs`).
    """

    code: str
    group: Group
    title: str
    sentence: str
    signature: str
    size: str
    source: str
    link: str
    separable: bool
    otherwise: str
    fix: str = ""
    number: int = -1

    @property
    def knobs(self) -> Mapping[str, tuple[Knob, ...]]:
        """By engine, inference engines first; an engine without one cannot show it."""
        return knobs_of(self.code)

    @property
    def combined(self) -> bool:
        """Some engine's only knob for it changes more than one thing."""
        return any(
            all(knob.combined for knob in knobs)
            for knobs in self.knobs.values()
            if knobs
        )
