"""What mean absolute delta (MAE, nats) two correct runs of one model leave, by compute
dtype: the one table of it.

Report, limits, matrix, gate, `why` and the documentation quote this table and no other
number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

UsualStanding = Literal["below", "usual", "unusual", "beyond", "broken"]


@dataclass(frozen=True, slots=True)
class UsualRange:
    """MAE in nats between two correct runs whose coarser compute dtype is ``dtype``.

    ``low`` to ``high`` is usual. Between ``high`` and ``beyond`` it is unusual, but a
    healthy model may still do it. Above ``beyond`` rounding alone does not explain it;
    from ``broken`` on something is certainly wrong. ``source`` says who measured or
    published the range.
    """

    dtype: str
    low: float
    high: float
    beyond: float
    broken: float
    source: str

    def standing(self, mae: float) -> UsualStanding:
        """Where ``mae`` (nats) stands in this range."""
        if mae < self.low:
            return "below"
        if mae <= self.high:
            return "usual"
        if mae <= self.beyond:
            return "unusual"
        if mae < self.broken:
            return "beyond"
        return "broken"

    @property
    def words(self) -> str:
        """``0.005 to 0.06``, or ``below 2e-5`` where the range has no lower end."""
        high = f"{self.high:g}".replace("e-0", "e-")
        if self.low:
            return f"{self.low:g} to {high}"
        return f"below {high}"


_RANGES = (
    UsualRange(
        dtype="bfloat16",
        low=0.005,
        high=0.06,
        # Twice the largest MAE of a healthy dense model: 0.044, SGLang against
        # Transformers on a CPU.
        beyond=0.088,
        broken=0.2,
        source=(
            "0.01 to 0.02 is published for GPUs, 0.02 to 0.044 measured on SmolLM2-135M"
            " with three CPU engines"
        ),
    ),
    UsualRange(
        dtype="float16",
        low=0.0005,
        high=0.01,
        # float16 has three more bits of mantissa than bfloat16, hence an eighth.
        beyond=0.011,
        broken=0.05,
        source=(
            "an eighth of bfloat16: three more bits of mantissa; 0.002 to 0.005 is"
            " published"
        ),
    ),
    UsualRange(
        dtype="float32",
        low=0.0,
        high=2e-5,
        # Common log-softmax implementations in float32 are off by up to 2e-5
        # themselves; ten times that.
        beyond=2e-4,
        broken=1e-3,
        source="below 2e-5 is measured on SmolLM2-135M with three engines",
    ),
)
USUAL: dict[str, UsualRange] = {each.dtype: each for each in _RANGES}
"""By dtype, the coarsest first."""


def coarser(dtypes: Iterable[str | None]) -> str | None:
    """The coarsest of ``dtypes`` that has a range; None where none has."""
    known = set(dtypes)
    return next((dtype for dtype in USUAL if dtype in known), None)


def usual_of(dtypes: Iterable[str | None]) -> UsualRange | None:
    """The range of a pair whose sides compute in ``dtypes``; None where one of them is
    unknown.
    """
    found = list(dtypes)
    if any(dtype not in USUAL for dtype in found):
        return None
    coarse = coarser(found)
    if coarse is not None:
        return USUAL[coarse]
    return None
