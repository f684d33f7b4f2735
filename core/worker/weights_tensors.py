"""A loaded tensor beside the stored one, wide enough to calculate with, and what
rounding alone makes of such two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from logdrift.core.worker.weights_files import UNITS

Tensor = Any

FEW = 0.25
"""Share of rows, or of the smaller side as a rank, that still counts as few."""
NOISE = 1.5
"""How far above its expectation the rounding of a merged tensor may be that is left
when the adapter is taken away.
"""


@dataclass(frozen=True)
class ComparedTensors:
    """The tensors that are compared, on the CPU and of one shape.

    ``loaded``, ``expected`` (the stored tensor in the loaded dtype) and ``stored`` are
    wide enough to calculate with: float32 for 16-bit numbers, else float64.
    ``as_loaded`` and ``as_stored`` are the first and the last in their own dtypes.
    """

    loaded: Tensor
    expected: Tensor
    stored: Tensor
    as_loaded: Tensor
    as_stored: Tensor

    @classmethod
    def of(cls, loaded: Tensor, expected: Tensor, stored: Tensor) -> ComparedTensors:
        is_16_bit = UNITS[loaded.dtype] >= UNITS[torch.float16]
        dtype = torch.float32 if is_16_bit else torch.float64

        def wide(tensor: Tensor) -> Tensor:
            on_cpu = tensor.detach().cpu()
            return on_cpu.to(dtype)

        return cls(
            loaded=wide(loaded),
            expected=wide(expected),
            stored=wide(stored),
            as_loaded=loaded.cpu(),
            as_stored=stored.cpu(),
        )

    @property
    def unit(self) -> float:
        """The rounding unit of the loaded dtype."""
        return UNITS[self.as_loaded.dtype]

    @property
    def are_finite(self) -> bool:
        for tensor in (self.loaded, self.expected):
            is_finite = torch.isfinite(tensor)
            if not bool(is_finite.all()):
                return False
        return True

    @property
    def gap(self) -> Tensor:
        """Loaded minus expected."""
        return self.loaded - self.expected

    @property
    def rounding(self) -> float:
        """L2 of rounding the loaded and the expected tensor once."""
        return rounding_of(self.loaded, self.expected, self.unit)


def rounding_of(a: Tensor, b: Tensor, unit: float) -> float:
    """L2 of rounding both tensors once: half a unit in the last place, uniform, in a
    random binade: 0.41 units each.
    """
    energy_a = a.square().sum()
    energy_b = b.square().sum()
    energy = energy_a + energy_b
    size = float(energy.sqrt())
    return 0.41 * unit * size
