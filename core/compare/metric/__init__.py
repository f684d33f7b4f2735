"""The one table of metrics: every number of a pair, and the ways to name it.

Report, text, Markdown, HTML, matrix, limits and docs/metrics.md all read `METRICS`. A
new metric is one function (`Metric.accessor` or `Metric.of_tokens`) and one row in the
module of its section.
"""

from __future__ import annotations

from logdrift.core.compare.metric.counts import COUNTS
from logdrift.core.compare.metric.coverage import COVERAGE
from logdrift.core.compare.metric.errors import ERRORS
from logdrift.core.compare.metric.floor import FLOOR
from logdrift.core.compare.metric.intervals import INTERVALS
from logdrift.core.compare.metric.kl import KL
from logdrift.core.compare.metric.near import hint
from logdrift.core.compare.metric.parts import part
from logdrift.core.compare.metric.perplexity import PERPLEXITY
from logdrift.core.compare.metric.probability import PROBABILITY
from logdrift.core.compare.metric.ratio import RATIO
from logdrift.core.compare.metric.record import Metric
from logdrift.core.compare.metric.topk import TOPK
from logdrift.core.compare.metric.whole_sequences import WHOLE_SEQUENCES
from logdrift.core.errors import InputError

__all__ = ["METRICS", "SECTIONS", "Metric", "metric", "resolve", "unit_of"]

_ROWS = (
    *COUNTS,
    *ERRORS,
    *PROBABILITY,
    *KL,
    *PERPLEXITY,
    *RATIO,
    *WHOLE_SEQUENCES,
    *TOPK,
    *INTERVALS,
    *FLOOR,
    *COVERAGE,
)
METRICS: dict[str, Metric] = {row.path: row for row in _ROWS}
"""By path, in the order in which reports show them."""
_PATHS = tuple(METRICS)

SECTIONS = ("errors", "mismatch", "probability", "topk", "ci95", "floor", "coverage")
"""In order of preference: `mae` alone means errors.mae, not probability.mae."""


def metric(path: str) -> Metric:
    """The metric at a full path, those of parts included. InputError if unknown."""
    row = METRICS.get(path) or part(path)
    if row is None:
        raise InputError(f"metric {path!r} is unknown: {hint(path, _PATHS)}")
    return row


def unit_of(path: str) -> str:
    """The unit of the metric at a full path, "" for what is no metric."""
    row = METRICS.get(path) or part(path)
    if row is not None:
        return row.unit
    return ""


def resolve(text: str) -> str:
    """The path that ``text`` means: a full path, or its last parts.

    Last parts are for example `mae`, `k3`, `clip_fraction.0.2` or `a.mae`. Where
    several paths end so, the one with the fewest parts wins, then the section that
    comes first in `SECTIONS`: `mae` is errors.mae, `pearson` errors.pearson, `k3`
    mismatch.k3. Metrics of parts (`logdrift.core.compare.metric.parts`) are named in
    full. Raises InputError with the nearest names for an unknown one, and with all that
    it could mean where that leaves a choice (`high`).
    """
    name = text.strip()
    if name in METRICS or part(name) is not None:
        return name
    paths = _paths_that_end_in(name)
    if not paths:
        raise InputError(f"metric {text!r} is unknown: {hint(name, _PATHS)}")
    preferred = min(map(_preference, paths))
    best = [path for path in paths if _preference(path) == preferred]
    if len(best) > 1:
        raise InputError(f"metric {text!r} is ambiguous: write {' or '.join(best)}")
    return best[0]


def _paths_that_end_in(name: str) -> list[str]:
    if not name[:1].isalpha():
        return []
    end = f".{name}"
    return [path for path in METRICS if path.endswith(end)]


def _preference(path: str) -> tuple[int, int]:
    section, _, _ = path.partition(".")
    if section in SECTIONS:
        place = SECTIONS.index(section)
    else:
        place = len(SECTIONS)
    return path.count("."), place
