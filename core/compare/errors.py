"""How far two captures are apart: error statistics of delta = log p_A - log p_B over
the tokens of a scope.

Definitions are those of `docs/report.md`; all of it is float64.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.sums import check_same_length

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_QUANTILES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class ErrorStats:
    """`errors` of the JSON schema. Nats, but for ``pearson``, ``exact_fraction`` (0 to
    1) and ``infinite`` (a count).

    Everything but ``exact_fraction`` and ``infinite`` is over tokens whose delta is
    finite: one token that only one side calls impossible (-inf) would turn every mean
    into infinity and hide the other tokens, so such tokens are counted in ``infinite``,
    which a reader has to look at as well. None where there is nothing to compute from.
    """

    mean: float | None = None
    mae: float | None = None
    rmse: float | None = None
    pearson: float | None = None
    max_abs: float | None = None
    min_abs: float | None = None
    std_abs: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    p999: float | None = None
    exact_fraction: float | None = None
    infinite: int | None = None

    def to_json(self) -> dict[str, float | int | None]:
        return asdict(self)


def error_stats(delta: Array, logprob_a: Array, logprob_b: Array) -> ErrorStats:
    """Statistics over n tokens; all three arrays are float[n] in nats. NaN deltas
    (unscored tokens) are left out.

    ``mean`` is signed, ``mae``, ``rmse``, ``max_abs``, ``min_abs`` and ``std_abs`` (n -
    1, None for one token) are of |delta|, ``p50`` to ``p999`` are quantiles of |delta|
    (linear between neighbours), ``pearson`` is the correlation of the two
    log-probabilities (None for fewer than two tokens or no variance),
    ``exact_fraction`` the share of deltas that are exactly 0. n = 0 gives None
    everywhere.
    """
    check_same_length(delta, logprob_a, logprob_b)
    unscored = np.isnan(delta)
    count = len(delta) - int(unscored.sum())
    if count == 0:
        return ErrorStats()
    finite = np.isfinite(delta)
    kept = int(finite.sum())
    equal = delta == 0
    exact = float(equal.sum() / count)
    if kept == 0:
        return ErrorStats(exact_fraction=exact, infinite=count)
    return replace(
        _of_finite(delta[finite].astype(np.float64)),
        pearson=pearson(logprob_a[finite], logprob_b[finite]),
        exact_fraction=exact,
        infinite=count - kept,
    )


def _of_finite(delta: Floats) -> ErrorStats:
    """What finite deltas f64[n], n > 0, say on their own."""
    size = np.abs(delta)
    mean_square = np.mean(size * size)
    quantiles = np.quantile(size, _QUANTILES)
    p50, p90, p99, p999 = quantiles.tolist()
    return ErrorStats(
        mean=float(delta.mean()),
        mae=float(size.mean()),
        rmse=float(np.sqrt(mean_square)),
        max_abs=float(size.max()),
        min_abs=float(size.min()),
        std_abs=_std(size),
        p50=p50,
        p90=p90,
        p99=p99,
        p999=p999,
    )


def _std(size: Array) -> float | None:
    """Standard deviation with n - 1 of f64[n], exactly 0 where all are equal; None for
    fewer than two.
    """
    if len(size) < 2:
        return None
    if _is_constant(size):
        return 0.0
    return float(size.std(ddof=1))


def pearson(x: Array, y: Array) -> float | None:
    """Correlation of two float[n] over the entries where both are finite; None for n <
    2 or where one is constant.
    """
    both = np.isfinite(x) & np.isfinite(y)
    a = x[both].astype(np.float64)
    b = y[both].astype(np.float64)
    # A constant array's residuals are rounding, not variance: compare the values, not
    # their spread.
    if len(a) < 2 or _is_constant(a) or _is_constant(b):
        return None
    a -= a.mean()
    b -= b.mean()
    norm_a = float(np.sqrt(a @ a))
    norm_b = float(np.sqrt(b @ b))
    spread = norm_a * norm_b
    if spread > 0:
        correlation = (a @ b) / spread
        return float(np.clip(correlation, -1.0, 1.0))
    return None


def _is_constant(values: Array) -> bool:
    return bool(values.min() == values.max())
