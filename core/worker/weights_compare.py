"""A loaded tensor beside the stored one, entry by entry.

A stored tensor in another dtype than the loaded one is converted by torch, to nearest,
ties to even, as every engine's loader does, so the comparison stays exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.worker.weights_files import (
    Files,
    difference,
    digest,
    dtype_name,
    equal_bits,
)
from logdrift.core.worker.weights_kind import Kinds
from logdrift.core.worker.weights_map import Piece

Tensor = Any


@dataclass(frozen=True)
class WeightsComparison:
    """``disk`` are the files that are compared with, ``own`` those that the backend was
    given itself (None: the same), ``dtype`` the one in which the model computes.
    """

    disk: Files
    own: Files | None
    dtype: Any
    kinds: Kinds

    def nearest(self, ways: Sequence[Tensor], piece: Piece) -> dict[str, Any]:
        """A loaded tensor against the stored one in its dtype, bit by bit, and how much
        it differs. Of several ways in which it may be meant, the nearest one.
        """
        entries = [self._one_way(part, piece.name) for part in ways]
        return min(entries, key=_distance)

    def _one_way(self, part: Tensor, stored: str) -> dict[str, Any]:
        file = self.disk.tensor(stored)
        found: dict[str, Any] = {
            "how": "digest",
            "dtype": dtype_name(part.dtype),
            "file_dtype": dtype_name(file.dtype),
            "digest": digest(part),
        }
        wanted, found["note"] = self._as_loaded(part, file)
        if equal_bits(part, wanted):
            return {**found, "same": True}
        l2, share = difference(part, wanted)
        if share == 0.0:
            return {**found, "same": True}  # zeros of another sign
        kind = self.kinds.of(part, wanted, file)
        return {
            **found,
            "same": False,
            "l2": l2,
            "share": share,
            "kind": kind,
            "own": self._equals_own(part, stored),
        }

    def _as_loaded(self, part: Tensor, file: Tensor) -> tuple[Tensor, str | None]:
        """The stored tensor as it must look when loaded, and a word where it went
        through another dtype first.
        """
        wanted = file.to(part.dtype)
        has_other_dtype = self.dtype is not None and self.dtype != part.dtype
        if not has_other_dtype or equal_bits(part, wanted):
            return wanted, None
        rounded = file.to(self.dtype).to(part.dtype)
        if equal_bits(part, rounded):
            return rounded, f"rounded to {dtype_name(self.dtype)} first"
        return wanted, None

    def _equals_own(self, part: Tensor, stored: str) -> bool | None:
        if self.own is None or self.own.shapes.get(stored) != self.disk.shapes[stored]:
            return None
        wanted, _ = self._as_loaded(part, self.own.tensor(stored))
        return equal_bits(part, wanted)


def _distance(entry: Mapping[str, Any]) -> tuple[bool, float]:
    """Orders entries of one stored tensor: those that are the same come first."""
    return not entry["same"], entry.get("l2") or 0.0
