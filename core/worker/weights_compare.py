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
        expected, note = self._as_loaded(part, file)
        entry: dict[str, Any] = {
            "how": "digest",
            "dtype": dtype_name(part.dtype),
            "file_dtype": dtype_name(file.dtype),
            "digest": digest(part),
            "note": note,
        }
        if equal_bits(part, expected):
            return {**entry, "same": True}
        l2, share = difference(part, expected)
        if share == 0.0:
            return {**entry, "same": True}  # zeros of another sign
        return {
            **entry,
            "same": False,
            "l2": l2,
            "share": share,
            "kind": self.kinds.of(part, expected, file),
            "own": self._equals_own(part, stored),
        }

    def _as_loaded(self, part: Tensor, file: Tensor) -> tuple[Tensor, str | None]:
        """The stored tensor as it must look when loaded, and a word where it went
        through another dtype first.
        """
        expected = file.to(part.dtype)
        computes_in = self.dtype
        has_other_dtype = computes_in is not None and computes_in != part.dtype
        if not has_other_dtype or equal_bits(part, expected):
            return expected, None
        rounded = file.to(computes_in).to(part.dtype)
        if equal_bits(part, rounded):
            return rounded, f"rounded to {dtype_name(computes_in)} first"
        return expected, None

    def _equals_own(self, part: Tensor, stored: str) -> bool | None:
        own = self.own
        if own is None:
            return None
        if own.shapes.get(stored) != self.disk.shapes[stored]:
            return None
        expected, _ = self._as_loaded(part, own.tensor(stored))
        return equal_bits(part, expected)


def _distance(entry: Mapping[str, Any]) -> tuple[bool, float]:
    """Orders entries of one stored tensor: those that are the same come first."""
    differs = not entry["same"]
    return differs, entry.get("l2") or 0.0
