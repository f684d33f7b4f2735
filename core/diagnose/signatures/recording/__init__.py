"""Faults of recording: the numbers themselves are sound or senseless, but they do not
belong where they stand.

In dumps these are the usual causes, and they look like anything else once they are
averaged: so they are judged before anything is said about the model, and the tokens
that they explain are left out of what is judged after them. One file a fault.
"""

from __future__ import annotations

import numpy as np

from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.evidence import LIKELY
from logdrift.core.diagnose.signatures.recording.chunks import repeated_stretches
from logdrift.core.diagnose.signatures.recording.filled import filled
from logdrift.core.diagnose.signatures.recording.moved import moved
from logdrift.core.diagnose.signatures.recording.one_for_each import one_for_each
from logdrift.core.diagnose.signatures.recording.other_rows import other_rows
from logdrift.core.diagnose.signatures.recording.suspect import RecordingFault
from logdrift.core.diagnose.signatures.recording.units import units

__all__ = ["RecordingFault", "recording_faults"]

_DETECTORS = (units, one_for_each, moved, other_rows, repeated_stretches, filled)
"""In the order of looking: values in another place also repeat where nothing was filled
in.
"""
_FEWEST = 3
"""Tokens below which nothing is looked for."""


def recording_faults(case: Case) -> list[RecordingFault]:
    """Every fault of recording that the numbers show, the clearest first.

    Each is looked for in the tokens that those before it leave.
    """
    faults: list[RecordingFault] = []
    left = case
    for detect in _DETECTORS:
        if len(left.view.at) < _FEWEST or left.view.mae == 0:
            break
        new = list(detect(left))
        faults += new
        explained = [fault.at for fault in faults if fault.evidence.score >= LIKELY]
        if new and explained:
            left = case.without(np.concatenate(explained))
    return sorted(faults, key=lambda fault: -fault.evidence.score)
