"""What a metric is: one number of a pair with its name, unit, meaning and usual range.

A row of the table (`METRICS`) is all that the report in every format, the matrix, the
limits and the documentation know of a number. Nothing here loads NumPy: a config file
with limits is read without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from logdrift.core.compare.metric.good import GoodRange, Standing
from logdrift.core.numbers import Unit as Format
from logdrift.core.numbers import is_number

if TYPE_CHECKING:
    from logdrift.core.compare.metrics import Numbers, ScopeTokens

Record = TypeVar("Record")
Value = TypeVar("Value")

MetricUnit = Literal[
    "nats",
    "probability",
    "ratio",
    "none",
    "perplexity",
    "-1 to 1",
    "0 to 1",
    "share",
    "tokens",
    "sequences",
    "units",
    "draws",
    "",
]
_FORMATS: dict[MetricUnit, Format] = {
    "nats": "nats",
    "probability": "probability",
    "ratio": "ratio",
    "none": "ratio",
    "perplexity": "ratio",
    "-1 to 1": "correlation",
    "0 to 1": "share",
    "share": "share",
    "tokens": "tokens",
    "units": "tokens",
    "draws": "tokens",
}

HEALTHY_PAIRS = (
    "healthy pairs of the shipped sample, and what is published for larger models"
    " (docs/metrics.md)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a pair.

    ``path`` names it everywhere (`errors.mae`) and says where it stands in the JSON of
    a pair. ``title`` is its short name in tables, ``heading`` the table of Markdown and
    HTML it belongs to, ``headline`` whether the text report shows it as well. ``good``
    is the usual range in words, from ``source``, ``within`` the same to judge by: None
    where a number cannot be judged by itself. ``perfect`` is the value where both
    sides agree exactly, None where agreement says nothing about it. ``leaves_out`` is
    the path of the count of tokens that the number leaves out, because they would make
    it infinite.

    The value comes from one of two functions: ``accessor`` reads it from the records of
    a pair, ``of_tokens`` computes it from the tokens of the scope when a pair is
    measured.
    """

    path: str
    title: str
    unit: MetricUnit
    meaning: str
    good: str
    within: GoodRange | None = None
    perfect: float | None = None
    accessor: Callable[[Numbers], float | None] | None = None
    of_tokens: Callable[[ScopeTokens], float | None] | None = None
    heading: str = ""
    headline: bool = False
    leaves_out: str | None = "errors.infinite"
    source: str = HEALTHY_PAIRS

    @property
    def section(self) -> str:
        """The first part of the path: `errors`, `mismatch`, ..."""
        return self.path.partition(".")[0]

    @property
    def key(self) -> str:
        """The path within its section; the path itself where it has no section."""
        return self.path.partition(".")[2] or self.path

    @property
    def format(self) -> Format:
        """Which digits `logdrift.core.numbers.figure` writes."""
        return _FORMATS.get(self.unit, "")

    def value(self, numbers: Numbers) -> float | None:
        """The value of a pair, in ``unit``, non-finite ones too; None if unknown."""
        if self.accessor is None:
            return numbers.computed.get(self.path)
        return self.accessor(numbers)

    def read(self, numbers: Numbers) -> float | None:
        """The value of a pair, in ``unit``; None where it is unknown or not finite."""
        value = self.value(numbers)
        if is_number(value):
            return float(value)
        return None

    def standing(self, numbers: Numbers) -> Standing | None:
        """Whether the value of a pair is good; None where that cannot be said of it.

        That of the MAE depends on the dtypes: `logdrift.core.report.standing` says it.
        """
        if self.within is None:
            return None
        value = self.read(numbers)
        if value is not None and value == self.perfect:
            return "good"
        return self.within.standing(value, numbers.errors.mae)


def number_of(
    record: Record | None, number: Callable[[Record], Value | None]
) -> Value | None:
    """``number`` of a record; None where the pair has no such record."""
    if record is None:
        return None
    return number(record)
