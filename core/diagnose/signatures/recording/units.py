"""Values of another unit: log10, log2, probabilities, negated values, sums, means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from logdrift.core.compare.usual import USUAL
from logdrift.core.diagnose.case import Case, positions_of
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.signatures.recording.suspect import (
    FAR,
    SHORTEST,
    Array,
    RecordingFault,
    Suspect,
    Values,
    begins,
    fault,
    suspects,
)
from logdrift.core.diagnose.support import PROOF

Convert = Callable[[Values, Array], Values]
"""(values f64[n], sequence i64[n]) -> natural log-probabilities f64[n], not finite
where there is none.
"""


def _log10(values: Values, sequence: Array) -> Values:
    converted: Values = values * np.log(10)
    return converted


def _log2(values: Values, sequence: Array) -> Values:
    converted: Values = values * np.log(2)
    return converted


def _log_of_probability(values: Values, sequence: Array) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        converted: Values = np.log(values)
    return converted


def _negated(values: Values, sequence: Array) -> Values:
    return -values


def _log_of_percent(values: Values, sequence: Array) -> Values:
    return _log_of_probability(values / 100, sequence)


def _differences(values: Values, sequence: Array) -> Values:
    """The first value of a sequence stays: nothing is added to it yet."""
    return np.where(begins(sequence), values, np.diff(values, prepend=0.0))


def _times_length(values: Values, sequence: Array) -> Values:
    scored = np.bincount(sequence)
    converted: Values = values * scored[sequence]
    return converted


@dataclass(frozen=True, slots=True)
class _Unit:
    """What a side may hold in place of natural log-probabilities, and the fix."""

    name: str
    convert: Convert
    fix: str


_UNITS = (
    _Unit(
        name="log10 of the probability",
        convert=_log10,
        fix="multiply by ln 10 = 2.302585",
    ),
    _Unit(
        name="log2 of the probability",
        convert=_log2,
        fix="multiply by ln 2 = 0.693147",
    ),
    _Unit(
        name="probabilities",
        convert=_log_of_probability,
        fix="take their natural logarithm",
    ),
    _Unit(
        name="probabilities in percent",
        convert=_log_of_percent,
        fix="divide by 100 and take the natural logarithm",
    ),
    _Unit(name="negated log-probabilities", convert=_negated, fix="negate them"),
    _Unit(
        name="running sums of log-probabilities",
        convert=_differences,
        fix="take the difference to the token before",
    ),
    _Unit(
        name="log-probabilities divided by the length of their sequence",
        convert=_times_length,
        fix="multiply by that length",
    ),
)
_CONVERTED = 0.95
"""Share of the values that must have a logarithm: a probability that was rounded to 0
has none. By judgement.
"""
_SURPRISING = 0.5
"""Nats from which a token tells units apart: what is certain is 0 in any. By
judgement.
"""
_CLOSER = 0.2
"""What the conversion may leave of the gap: a unit that is right leaves noise alone. By
judgement.
"""
_MOST = 0.99
"""The largest score. By judgement."""


@dataclass(frozen=True, slots=True)
class _Conversion:
    """A unit with the median gap of surprising tokens in nats, as they are and once
    they are converted.
    """

    unit: _Unit
    before: float
    after: float

    @property
    def agrees(self) -> bool:
        """The converted values are as close as two scores of one text."""
        close = self.after <= USUAL["bfloat16"].broken
        return close and self.after <= _CLOSER * self.before


def units(case: Case) -> Iterator[RecordingFault]:
    """Values that agree with the other side once they are converted to natural
    logarithms.

    Medians over surprising tokens are compared: rows that have another fault too do not
    hide the unit of all.
    """
    for side in suspects(case):
        right = next((c for c in _conversions(case, side) if c.agrees), None)
        if right is not None:
            everything = np.ones(len(side.values), bool)
            yield fault(case, everything, _of_units(case, side, right))
            return


def _conversions(case: Case, side: Suspect) -> Iterator[_Conversion]:
    """The units that the values may be of, in the order of the table."""
    telling = np.abs(side.other) > _SURPRISING
    if np.count_nonzero(telling) < SHORTEST or float(side.gap.mean()) < FAR:
        return
    for unit in _UNITS:
        converted = unit.convert(side.values, case.view.sequence)
        finite = np.isfinite(converted)
        if finite.mean() >= _CONVERTED:
            among = telling & finite
            gap = np.abs(converted - side.other)[among]
            yield _Conversion(
                unit=unit,
                before=float(np.median(side.gap[among])),
                after=float(np.median(gap)),
            )


def _of_units(case: Case, side: Suspect, conversion: _Conversion) -> Evidence:
    values = len(side.values)
    return Evidence(
        cause="units",
        score=min(_MOST, PROOF.ceiling(values)),
        signature="units",
        sentence=(
            f"{side.label} holds {conversion.unit.name} instead of natural"
            f" log-probabilities: converted, its {values:,} values differ from"
            f" {side.other_label} by {conversion.after:.2g} nats (median of surprising"
            f" tokens), unconverted by {conversion.before:.2g}: {conversion.unit.fix}."
        ),
        numbers={
            "side": side.label,
            "unit": conversion.unit.name,
            "mae_converted": conversion.after,
            "mae": conversion.before,
        },
        positions=positions_of(case.view.at),
    )
