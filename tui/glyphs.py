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

UP = "▲"
DOWN = "▼"
"""Marks of a divergent token: A gives it a higher, a lower log-probability than B."""
HIGH = "◇"
HIGHEST = "◆"
"""Marks of the two highest levels of a number that has no sign."""
BROKEN_MARK = "✗"
"""Mark of a token whose score is NaN on a side."""
PROMPT_BAR = "┊"
COMPLETION_BAR = "│"
ARROW = "→"
_BARS = " ▁▂▃▄▅▆▇█"


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
    if right:
        return pad + text
    return text + pad


def fit_end(text: str, width: int) -> str:
    """Like `fit`, keeping the end: of a dotted name it says the most."""
    if cell_len(text) <= width:
        return fit(text, width)
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return fit("…" + text, width)
