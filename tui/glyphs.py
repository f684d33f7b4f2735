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
ROLE_MARKS = {"system": "§", "user": "»", "assistant": "«", "tool": "¤"}
"""Stand before the first token of a message, where tokens are coloured by role."""
CHANGED = "↻"
"""Stands before a token that was sampled with other weights than the one before."""
UNLIKE = "≠"
"""Stands before the first token of a sequence whose ids its own text does not give."""
JOINT = "╵"
"""Stands between two tokens of a word where colours cannot tell them apart."""
PROMPT_BAR = "┊"
COMPLETION_BAR = "│"
ARROW = "→"
_BARS = " ▁▂▃▄▅▆▇█"
_HIGHEST_BAR = len(_BARS) - 1


def sparkline(values: npt.NDArray[np.float32], width: int, top: float) -> str:
    """The largest of each of ``width`` equal stretches of ``values`` (>= 0, NaN =
    nothing) as bars up to ``top``.

    Bars grow with the logarithm over two decades below ``top``, or small gaps would all
    look like none.
    """
    count = len(values)
    has_scale = math.isfinite(top) and top > 0
    if not count or not has_scale:
        return " " * width
    columns = min(width, count)
    starts = np.arange(columns) * count // columns
    finite = np.nan_to_num(values, nan=0.0, posinf=top)
    peaks = np.maximum.reduceat(finite, starts)
    shares = np.minimum(peaks, top) / top
    with np.errstate(divide="ignore"):
        heights = 1 + np.log10(shares) / 2
    steps = np.ceil(heights * _HIGHEST_BAR)
    indices = np.clip(steps, 0, _HIGHEST_BAR).astype(int)
    bars = "".join(_BARS[index] for index in indices)
    return bars.ljust(width)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells, an ellipsis where it is cut."""
    if width <= 0:
        return ""
    cells = cell_len(text)
    if cells > width:
        beginning = set_cell_size(text, width - 1)
        return f"{beginning}…"
    pad = " " * (width - cells)
    if right:
        return pad + text
    return text + pad


def fit_end(text: str, width: int) -> str:
    """Like `fit`, keeping the end: of a dotted name it says the most."""
    if cell_len(text) <= width:
        return fit(text, width)
    room = width - 1
    while text and cell_len(text) > room:
        text = text[1:]
    return fit(f"…{text}", width)
