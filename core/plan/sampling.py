"""How completions are sampled."""

from __future__ import annotations

from dataclasses import dataclass

from logdrift.core.errors import InputError


@dataclass(frozen=True, slots=True)
class SamplingSpec:
    """How completions are sampled. ``top_k`` 0 and ``top_p`` 1 mean no truncation;
    sequence ``i`` uses seed + i.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        temperature_ok = 0.0 <= self.temperature <= 2.0
        self._check("temperature", temperature_ok, "give 0 to 2")
        top_p_ok = 0.0 < self.top_p <= 1.0
        self._check("top_p", top_p_ok, "give a number above 0, up to 1")
        self._check("top_k", self.top_k >= 0, "give 0 (off) or more")
        min_p_ok = 0.0 <= self.min_p <= 1.0
        self._check("min_p", min_p_ok, "give 0 to 1")
        self._check("repetition_penalty", self.repetition_penalty > 0, "give > 0")
        self._check("max_tokens", self.max_tokens >= 1, "give 1 or more")

    def _check(self, name: str, holds: bool, remedy: str) -> None:
        if holds:
            return
        field = f"sampling.{name}"
        value = getattr(self, name)
        raise InputError(f"{field} is {value}", field=field, remedy=remedy)
