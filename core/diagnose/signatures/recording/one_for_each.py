"""One number for a whole sequence: its sum or mean stands at every token."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.diagnose.case import Case, positions_of
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.signatures.recording.suspect import (
    FAR,
    SHORTEST,
    Bools,
    RecordingFault,
    SequenceRows,
    Suspect,
    Values,
    fault,
    rows_of,
    suspects,
)
from logdrift.core.diagnose.support import PROOF
from logdrift.core.diagnose.view import count_of

_FAR_TOKENS = 3
"""Tokens of a sequence that must be far from the other side's. By judgement."""
_SEQUENCES = 2
"""Sequences that must be so, each with a number of its own."""
_MOST = 0.99
"""The largest score. By judgement."""


def one_for_each(case: Case) -> Iterator[RecordingFault]:
    """Sequences in which one side has one number at every token, another one in each,
    where the other side's values vary.
    """
    rows = rows_of(case.view.sequence)
    for side in suspects(case):
        flat = _flat(side, rows)
        first_values = side.values[rows.starts]
        if _is_one_for_each(first_values[flat]):
            mask = np.repeat(flat, rows.lengths)
            yield fault(case, mask, _evidence(case, side, rows, flat))
            return


def _flat(side: Suspect, rows: SequenceRows) -> Bools:
    """bool[r]: the side has one number in the whole row, and is far off there."""
    low = np.minimum.reduceat(side.values, rows.starts)
    high = np.maximum.reduceat(side.values, rows.starts)
    far = np.add.reduceat((side.gap > FAR).astype(np.int64), rows.starts)
    flat: Bools = (rows.lengths >= SHORTEST) & (low == high) & (far >= _FAR_TOKENS)
    return flat


def _is_one_for_each(values: Values) -> bool:
    """Whether the numbers of flat rows, f64[k], are mostly different from row to row:
    one and the same number was filled in.
    """
    different = len(np.unique(values))
    return different >= _SEQUENCES and 2 * different >= len(values)


def _evidence(case: Case, side: Suspect, rows: SequenceRows, flat: Bools) -> Evidence:
    mask = np.repeat(flat, rows.lengths)
    tokens = count_of(mask)
    sequences = int(flat.sum())
    first = side.values[rows.starts][flat][0]
    return Evidence(
        cause="filled",
        score=_MOST * PROOF.ceiling(tokens),
        signature="one value for each sequence",
        sentence=(
            f"{side.label} has one number at all tokens of a sequence in"
            f" {sequences:,} of {len(rows.starts):,} sequences (first {first:.4g}),"
            f" where {side.other_label} has different ones: a sum or a mean over the"
            " sequence. Record one value for each token."
        ),
        numbers={
            "side": side.label,
            "sequences": sequences,
            "tokens": tokens,
            "share": tokens / len(mask),
        },
        positions=positions_of(case.view.at[mask]),
    )
