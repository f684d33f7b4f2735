"""Marks, numbers and small pictures made of text: one place, so that every pane writes
them alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    import numpy.typing as npt

UP, DOWN = "▲", "▼"
"""Marks of a divergent token: A gives it a higher, a lower log-probability than B."""
HIGH, HIGHEST = "◇", "◆"
"""Marks of the two highest levels of a number that has no sign."""
BROKEN_MARK = "✗"
"""Mark of a token whose score is NaN on a side."""
PROMPT_BAR, COMPLETION_BAR = "┊", "│"
NOTHING = "·"
"""Stands where there is no number."""
ARROW = "→"
_BARS = " ▁▂▃▄▅▆▇█"


def number(value: float | None, digits: int = 4) -> str:
    """A value in at most ``digits`` + 3 cells: ``-2.2310``, ``0.0312``, ``1.2e-6``,
    ``inf``; a dot for NaN and None.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size != 0 and size < 10.0 ** (1 - digits):
        return _scientific(value, 1)
    if size >= 10**digits:
        return _scientific(value, max(0, digits - 3))
    whole = len(str(int(size)))
    return f"{value:.{max(0, digits + 1 - whole)}f}"


def _scientific(value: float, decimals: int) -> str:
    mantissa, _, exponent = f"{value:.{decimals}e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def signed(value: float | None, digits: int = 4) -> str:
    """Like `number`, a plus before what is above zero."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 else text


def probability(logprob: float | None) -> str:
    """exp(logprob) as ``0.107``, small ones as ``2e-7``."""
    if logprob is None or math.isnan(logprob):
        return NOTHING
    value = math.exp(min(logprob, 0.0))
    if value and value < 0.001:
        return _scientific(value, 0)
    return f"{value:.3f}"


def percent(part: int, whole: int) -> str:
    """``part`` of ``whole``: ``5.1%``, ``<0.1%`` where it is not nothing."""
    if not whole:
        return "0%"
    value = 100 * part / whole
    return "<0.1%" if 0 < value < 0.1 else f"{value:.1f}%"


def sparkline(values: npt.NDArray[np.float32], width: int, top: float) -> str:
    """The largest of each of ``width`` equal stretches of ``values`` (>= 0, NaN =
    nothing) as bars up to ``top``.

    Bars grow with the logarithm over two decades below ``top``, or small gaps would all
    look like none.
    """
    if not len(values) or top <= 0 or not math.isfinite(top):
        return " " * width
    columns = min(width, len(values))
    starts = np.arange(columns) * len(values) // columns
    peaks = np.maximum.reduceat(np.nan_to_num(values, nan=0.0, posinf=top), starts)
    with np.errstate(divide="ignore"):
        scaled = 1 + np.log10(np.minimum(peaks, top) / top) / 2
    steps = np.clip(np.ceil(scaled * 8), 0, 8).astype(int)
    return "".join(_BARS[step] for step in steps).ljust(width)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells, an ellipsis where it is cut."""
    if width <= 0:
        return ""
    cells = cell_len(text)
    if cells > width:
        return set_cell_size(text, width - 1) + "…"
    pad = " " * (width - cells)
    return pad + text if right else text + pad


def fit_end(text: str, width: int) -> str:
    """Like `fit`, keeping the end: of a dotted name it says the most."""
    if cell_len(text) <= width:
        return fit(text, width)
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return fit("…" + text, width)
