"""Rows of other sequences: they were shuffled between the sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from logdrift.core.diagnose.case import Case, positions_of
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.fits import correlation
from logdrift.core.diagnose.signatures.recording.suspect import (
    FAR,
    FITS,
    SHORTEST,
    Array,
    RecordingFault,
    Values,
    fault,
    rows_of,
)
from logdrift.core.diagnose.support import PROOF
from logdrift.core.diagnose.view import count_of

_LIKE = 0.8
"""Correlation of a row with the other row that it is said to be of: of 16 independent
values it is 0 with a deviation of 0.25.
"""
_FINGERPRINT = 64
"""Values of a row that are compared."""
_SUSPECTS = 256
_CANDIDATES = 4096
"""Rows that are compared with all others, and how many others: limits of the time it
takes (0.1 s).
"""
_MOST = 0.99
"""The largest score. By judgement."""


@dataclass(frozen=True, eq=False)
class _Fingerprints:
    """Rows of at least two `SHORTEST` tokens.

    starts i64[r]: the number of their first token among the case's; a, b f64[r,
    `_FINGERPRINT`] nats: their first values, NaN behind the end; contexts u64 of that
    shape.
    """

    starts: Array
    a: Values
    b: Values
    contexts: Array


def other_rows(case: Case) -> Iterator[RecordingFault]:
    """Sequences whose values fit another sequence of the other side, and not their
    own.
    """
    prints = _fingerprints(case)
    if len(prints.starts) < 2:
        return
    own = _distance(prints.a, prints.b)
    owners: dict[int, int] = {}
    for row in _suspects(own).tolist():
        owner = _owner(prints, row, own[row])
        if owner is not None:
            owners[row] = owner
    if owners:
        sequence = case.view.sequence
        first_tokens = prints.starts[list(owners)]
        mask = np.isin(sequence, sequence[first_tokens])
        evidence = _evidence(case, prints, own, owners)
        yield fault(case, mask, evidence)


def _suspects(own: Values) -> Array:
    """Rows that are far from their own (``own`` f64[r] nats), at most `_SUSPECTS` of
    them, evenly spread, i64[s].
    """
    far = np.flatnonzero(own > FAR)
    if not len(far):
        return far
    count = min(len(far), _SUSPECTS)
    last = len(far) - 1
    spread = np.linspace(0, last, count).astype(np.int64)
    return far[spread]


def _owner(prints: _Fingerprints, row: int, own: float) -> int | None:
    """The row of A whose values B's ``row`` has, which is ``own`` nats from its own;
    None where it fits none.

    Where two sequences have one text, the scores of one are those of the other.
    """
    candidates = slice(0, _CANDIDATES)
    values = prints.b[row]
    contexts = prints.contexts
    other_text = contexts[candidates] != contexts[row]
    theirs = np.where(other_text, prints.a[candidates], np.nan)
    distances = _distance(theirs, values)
    nearest = int(np.argmin(distances))
    nearest_values = theirs[nearest]
    if correlation(nearest_values, values) <= _LIKE:
        return None
    spread = _spread(nearest_values)
    close = min(FITS * own, FITS * spread, FAR)
    if distances[nearest] < close:
        return nearest
    return None


def _evidence(
    case: Case, prints: _Fingerprints, own: Values, owners: dict[int, int]
) -> Evidence:
    view = case.view
    rows = list(owners)
    owning_rows = list(owners.values())
    sequences = view.sequence[prints.starts[rows]]
    owning = view.sequence[prints.starts[owning_rows]]
    mask = np.isin(view.sequence, sequences)
    tokens = count_of(mask)
    named = []
    for sequence, owner in zip(sequences[:3], owning[:3], strict=True):
        named.append(f"{sequence} holds those of {owner}")
    if len(rows) > 3:
        named.append("...")
    shown = ", ".join(named)
    mean_distance = own[rows].mean()
    return Evidence(
        cause="other_rows",
        score=_MOST * PROOF.ceiling(tokens),
        signature="other sequence",
        sentence=(
            f"{case.labels[1]} has the scores of other sequences in {len(rows):,} of"
            f" {len(prints.starts):,} sequences ({shown}): rows were shuffled between"
            " the sides. Join them by an id, not by their order."
        ),
        numbers={
            "sequences": len(rows),
            "of": len(prints.starts),
            "own": float(mean_distance),
        },
        positions=positions_of(view.at[prints.starts[rows]]),
    )


def _spread(values: Values) -> float:
    """Mean distance of ``values`` f64[k] from their median, those that are NaN aside:
    what fits no better than one number fits nothing.
    """
    finite = values[np.isfinite(values)]
    if len(finite):
        distances = np.abs(finite - np.median(finite))
        return float(distances.mean())
    return 0.0


def _fingerprints(case: Case) -> _Fingerprints:
    """Of all rows that are long enough."""
    view = case.view
    rows = rows_of(view.sequence)
    keep = rows.lengths >= 2 * SHORTEST
    starts = rows.starts[keep]
    lengths = rows.lengths[keep]
    column = np.arange(_FINGERPRINT)
    inside = column[None, :] < lengths[:, None]
    last = max(len(view.sequence) - 1, 0)
    place = starts[:, None] + column[None, :]
    place = np.minimum(place, last)
    return _Fingerprints(
        starts=starts,
        a=np.where(inside, view.a[place], np.nan),
        b=np.where(inside, view.b[place], np.nan),
        contexts=view.context[place],
    )


def _distance(a: Values, b: Values) -> Values:
    """Mean |a - b| in nats over the columns that both have, f64[r]; inf where those are
    fewer than two `SHORTEST`.
    """
    gap = np.abs(a - b)
    finite = np.isfinite(gap)
    count = finite.sum(axis=1)
    total = np.where(finite, gap, 0.0).sum(axis=1)
    mean = total / np.maximum(count, 1)
    distance: Values = np.where(count >= 2 * SHORTEST, mean, np.inf)
    return distance
