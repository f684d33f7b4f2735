"""The rank of the difference between a loaded tensor and the stored one, where it is
small, as that of a merged adapter is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from logdrift.core.worker.weights_files import energy_of
from logdrift.core.worker.weights_tensors import FEW, NOISE, ComparedTensors

Tensor = Any

_RANKS = 128
"""The largest rank that is looked for: adapters have 4 to 128."""
_SVD = 1e-5
"""Share of the energy of a float32 matrix that its singular values, summed in float32,
may miss.
"""
WORK = 3e11
"""Multiplications that all ranks of one model may cost: half a minute of one core; what
is left is not looked at.
"""


@dataclass(frozen=True)
class RankSearch:
    """The ``rank`` of a difference, where it is small; ``done``: it was looked for."""

    rank: int | None
    done: bool


_NOT_SEARCHED = RankSearch(rank=None, done=False)


class LowRanks:
    """Looks for low ranks in one model, within a budget of ``work`` multiplications."""

    def __init__(self, work: float = WORK) -> None:
        self._work = work

    def search(self, tensors: ComparedTensors) -> RankSearch:
        """Look for few directions that hold the whole difference but for rounding, as
        those of a merged adapter do.
        """
        shape = tensors.loaded.shape
        shorter_side = min(shape, default=0)
        if len(shape) != 2 or shorter_side < 2:
            return _NOT_SEARCHED
        few = int(FEW * shorter_side)
        largest_rank = min(_RANKS, few)
        directions = min(largest_rank + 8, shorter_side)
        entries = tensors.loaded.numel()
        cost = 12.0 * entries * directions
        if largest_rank < 1 or cost > self._work:
            return _NOT_SEARCHED
        self._work -= cost
        rank = _rank(tensors, directions)
        if rank is not None and rank > largest_rank:
            rank = None
        return RankSearch(rank=rank, done=True)


def _rank(tensors: ComparedTensors, directions: int) -> int | None:
    """How many of the first ``directions`` hold the whole difference but for rounding;
    None where these do not, or where all of it may be rounding.
    """
    gap = tensors.gap.float()
    energy = energy_of(gap.double())
    energies = _energies(gap, directions)
    held = energies.cumsum(0)
    left = energy - held
    rounding = NOISE * tensors.rounding
    missed = _SVD * energy
    noise = max(rounding**2, missed)
    if energy <= 4 * noise:
        return None
    enough = (left <= noise).nonzero()
    if not len(enough):
        return None
    return int(enough[0]) + 1


def _energies(gap: Tensor, directions: int) -> Tensor:
    """f64[directions]: the part of the squared L2 of ``gap`` that each of its first
    directions holds.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, singular_values, _ = torch.svd_lowrank(gap, q=directions, niter=2)
    return singular_values.double().square()
