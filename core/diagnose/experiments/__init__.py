"""One-knob experiments: which change to which engine would tell, most telling first.
Pure: nothing is run here.

The knobs themselves stand in each engine's folder (``core/engines/NAME/knobs.py``), by
that engine's own options; `propose` decides from the facts of both sides which of them
mean something here, and orders them; `choose` picks those that are run.
`logdrift.core.investigate.experiments` runs them, `logdrift.core.diagnose.outcomes`
judges what came of it.
"""

from __future__ import annotations

from logdrift.core.diagnose.experiments.changes import merged
from logdrift.core.diagnose.experiments.choose import ALL, chosen, controls, deciding
from logdrift.core.diagnose.experiments.experiment import (
    EVERY_OPTION,
    ChangedSide,
    Experiment,
    LeftOut,
    Proposal,
)
from logdrift.core.diagnose.experiments.propose import propose

__all__ = [
    "ALL",
    "EVERY_OPTION",
    "ChangedSide",
    "Experiment",
    "LeftOut",
    "Proposal",
    "chosen",
    "controls",
    "deciding",
    "merged",
    "propose",
]
