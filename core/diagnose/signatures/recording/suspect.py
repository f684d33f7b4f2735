"""What all faults of recording are looked for in: one side's values under suspicion,
sequence by sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.evidence import Evidence

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]

FAR = 0.5
"""Nats by which two sides must miss each other before a token counts as far off: eight
times the usual MAE of bfloat16.
"""
SHORTEST = 8
"""Tokens of a stretch that must fit once it is moved. Values of a text vary by 2 nats
and more, so eight tokens that fit to 0.1 by chance have a probability below 1e-8.
"""
FITS = 0.35
"""A stretch fits another place when it is this much closer there than in its own.
Independent values of one text are as far from each other in any place: their ratio is 1
with a standard error of 0.3 over eight tokens.
"""
NEAR_ZERO = 0.02
"""Nats below which values of certain tokens repeat by themselves. By judgement."""


@dataclass(frozen=True, eq=False)
class RecordingFault:
    """Evidence of a fault of recording with all tokens that it explains, flat positions
    i64[m].
    """

    evidence: Evidence
    at: Array


@dataclass(frozen=True, eq=False)
class Suspect:
    """One side's values under suspicion, f64[n] nats over the case's tokens, beside the
    other side's.
    """

    label: str
    values: Values
    other_label: str
    other: Values

    @property
    def gap(self) -> Values:
        """|delta|, f64[n]."""
        return np.abs(self.values - self.other)


def suspects(case: Case) -> tuple[Suspect, Suspect]:
    """Both sides, B first: as a rule the rollout's numbers were recorded and the
    trainer's computed.
    """
    label_a, label_b = case.labels
    view = case.view
    a = Suspect(label=label_a, values=view.a, other_label=label_b, other=view.b)
    b = Suspect(label=label_b, values=view.b, other_label=label_a, other=view.a)
    return b, a


def fault(case: Case, mask: Bools, evidence: Evidence) -> RecordingFault:
    """The fault that explains the tokens of ``mask`` bool[n]."""
    return RecordingFault(evidence=evidence, at=case.view.at[mask])


def begins(sequence: Array) -> Bools:
    """bool[n]: the first token of its ``sequence`` i64[n] among the case's tokens."""
    changes = np.diff(sequence) != 0
    first: Bools = np.concatenate([[True], changes])
    return first


@dataclass(frozen=True, eq=False)
class SequenceRows:
    """The sequences of a case's tokens: ``starts`` i64[r] are the numbers of their
    first tokens, ``lengths`` i64[r] how many they have.
    """

    starts: Array
    lengths: Array

    @property
    def of_tokens(self) -> Array:
        """The row of each token, i64[n]."""
        rows = np.arange(len(self.starts))
        return np.repeat(rows, self.lengths)


def rows_of(sequence: Array) -> SequenceRows:
    """The rows of tokens whose sequences are ``sequence`` i64[n], in order."""
    starts = np.flatnonzero(begins(sequence))
    bounds = np.append(starts, len(sequence))
    return SequenceRows(starts=starts, lengths=np.diff(bounds))
