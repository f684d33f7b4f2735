"""The diverging scale of delta: orange where A gives more, blue where B does, in four
steps on each side.

Steps are doublings of a threshold; they differ in luminance as well as in hue, so
colour-blind eyes and grey prints keep the order. Colours are those of the terminal's
explorer (the 256-colour cube), as hex without ``#``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Singles = npt.NDArray[np.float32]
    Bools = npt.NDArray[np.bool_]
    Steps = npt.NDArray[np.int8]

STEPS = 4
THRESHOLD = 0.1
"""Nats: an importance ratio 10% off. The explorer starts with the same."""

# (background, text) from little to much; orange, then blue.
DARK = (
    (
        ("875f00", "ffffff"),
        ("af5f00", "ffffff"),
        ("d78700", "000000"),
        ("ffaf00", "000000"),
    ),
    (
        ("005f87", "ffffff"),
        ("0087af", "000000"),
        ("5fafff", "000000"),
        ("87d7ff", "000000"),
    ),
)
LIGHT = (
    (
        ("ffd7af", "000000"),
        ("ffaf5f", "000000"),
        ("d78700", "000000"),
        ("875f00", "ffffff"),
    ),
    (
        ("afd7ff", "000000"),
        ("5fafff", "000000"),
        ("0087d7", "000000"),
        ("005f87", "ffffff"),
    ),
)


def levels(delta: Singles, scored: Bools, threshold: float) -> Steps:
    """Signed step of each token, i8[n]: 0 within the threshold or unscored, else 1 to
    `STEPS` with delta's sign.
    """
    every_size = np.abs(delta)
    size = np.where(scored, every_size, 0.0)
    limits = threshold * 2.0 ** np.arange(STEPS)
    step = np.searchsorted(limits, size, "left")
    with np.errstate(invalid="ignore"):
        is_negative = delta < 0
    signed = np.where(is_negative, -step, step)
    return signed.astype(np.int8)


def css() -> str:
    """Rules of the classes ``o1`` to ``o4`` and ``b1`` to ``b4``; the dark ones for
    screens alone: print is light.
    """

    light = _rules(LIGHT)
    dark = _rules(DARK)
    return f"{light}@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _rules(colours: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    rules = []
    for side, name in zip(colours, "ob", strict=True):
        for step, (background, text) in enumerate(side, 1):
            rule = f"background:#{background};color:#{text}"
            rules.append(f".{name}{step}{{{rule}}}")
    return "".join(rules)
