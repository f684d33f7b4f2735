"""Small fits that the signatures share: the `line` between both sides' alternatives,
the `lattice` that values lie on, and the `statistics` of ranks and correlations.
"""

from __future__ import annotations

from logdrift.core.diagnose.fits.lattice import (
    MIN_GAPS,
    ON_LATTICE,
    Lattice,
    ValueGrid,
    bfloat16_grid,
    fit_lattice,
    gaps_on_step,
    row_steps,
    values_on_step,
)
from logdrift.core.diagnose.fits.line import FittedLine, fit_line
from logdrift.core.diagnose.fits.statistics import correlation, middle, standard_ranks

__all__ = [
    "MIN_GAPS",
    "ON_LATTICE",
    "FittedLine",
    "Lattice",
    "ValueGrid",
    "bfloat16_grid",
    "correlation",
    "fit_lattice",
    "fit_line",
    "gaps_on_step",
    "middle",
    "row_steps",
    "standard_ranks",
    "values_on_step",
]
