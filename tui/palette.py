"""Colours: a diverging scale, orange (A gives more) against blue (B gives more), and the few styles of the panes.

The steps come from the 256-colour cube, so a terminal without true colour shows exactly these; they are told apart by
luminance as well as hue, so colour-blind eyes and grey screenshots keep the order. With 16 colours two steps share
one; with ``NO_COLOR`` only the marks and the underline remain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.color import Color
from rich.style import Style

if TYPE_CHECKING:
    import numpy.typing as npt

Depth = Literal["none", "16", "256"]

STEPS = 4
"""Steps on each side: beyond the threshold, twice, four times and eight times it."""
NAMES = ("beyond", "2x", "4x", "8x")

# (background, text) from little to much. Contrast and order are checked by tests/test_tui_palette.py.
_DARK = (
    (("875f00", "ffffff"), ("af5f00", "ffffff"), ("d78700", "000000"), ("ffaf00", "000000")),
    (("005f87", "ffffff"), ("0087af", "000000"), ("5fafff", "000000"), ("87d7ff", "000000")),
)
_LIGHT = (
    (("ffd7af", "000000"), ("ffaf5f", "000000"), ("d78700", "000000"), ("875f00", "ffffff")),
    (("afd7ff", "000000"), ("5fafff", "000000"), ("0087d7", "000000"), ("005f87", "ffffff")),
)
# Of the 16 standard colours as Rich knows them: an exact match cannot be rounded to another one.
_SIXTEEN = (
    (("aa5500", "000000"), ("aa5500", "000000"), ("ffff55", "000000"), ("ffff55", "000000")),
    (("0000aa", "ffffff"), ("0000aa", "ffffff"), ("55ffff", "000000"), ("55ffff", "000000")),
)


@dataclass(frozen=True)
class Palette:
    """Styles by their use. ``steps[0]`` holds the orange ones from little to much, ``steps[1]`` the blue ones."""

    depth: Depth
    dark: bool
    steps: tuple[tuple[Style, ...], tuple[Style, ...]]
    back: Style
    text: Style
    muted: Style
    strong: Style
    accent: Style
    good: Style
    warn: Style
    bad: Style
    cursor: Style
    selected: Style
    selected_idle: Style

    def level(self, level: int) -> Style:
        """The style of a level as `levels` gives it: 0 plain, +1..+4 orange, -1..-4 blue."""
        if level == 0:
            return self.text
        return self.steps[0][level - 1] if level > 0 else self.steps[1][-level - 1]

    def verdict(self, verdict: str | None) -> Style:
        return {"comparable": self.good, "caution": self.warn, "not_comparable": self.bad}.get(
            verdict or "", self.muted
        )


def levels(delta: npt.NDArray[np.float32], scored: npt.NDArray[np.bool_], threshold: float) -> npt.NDArray[np.int8]:
    """Signed step of each token, i8[n]: 0 within the threshold or unscored, else 1 to `STEPS` with delta's sign."""
    size = np.where(scored, np.abs(delta), 0.0)
    bounds = threshold * 2.0 ** np.arange(STEPS)
    step = np.searchsorted(bounds, size, "left").astype(np.int8)
    with np.errstate(invalid="ignore"):
        return np.where(delta < 0, -step, step).astype(np.int8)


def depth_of(color_system: str | None, no_color: bool) -> Depth:
    """What the terminal can show, from Rich's name of its colour system."""
    if no_color or color_system is None:
        return "none"
    return "16" if color_system in ("standard", "windows") else "256"


def make_palette(depth: Depth, dark: bool = True) -> Palette:
    if depth == "none":
        marked = Style(underline=True)
        return Palette(
            depth, dark, ((marked,) * STEPS, (marked,) * STEPS), back=Style(), text=Style(), muted=Style(dim=True),
            strong=Style(bold=True), accent=Style(bold=True), good=Style(bold=True), warn=Style(bold=True),
            bad=Style(bold=True, reverse=True), cursor=Style(reverse=True), selected=Style(reverse=True),
            selected_idle=Style(underline=True),
        )  # fmt: skip
    table = _SIXTEEN if depth == "16" else _DARK if dark else _LIGHT
    orange, blue = (tuple(_style(text, back, underline=True) for back, text in side) for side in table)
    if depth == "16":
        return Palette(
            depth, dark, (orange, blue), back=_style(None, "000000" if dark else "ffffff"),
            text=_style("ffffff" if dark else "000000"),
            muted=_style("aaaaaa" if dark else "555555"), strong=_style("ffffff" if dark else "000000", bold=True),
            accent=_style("55ffff" if dark else "0000aa", bold=True),
            good=_style("55ff55" if dark else "00aa00", bold=True), warn=_style("ffff55" if dark else "aa5500", bold=True),
            bad=_style("ff5555" if dark else "aa0000", bold=True), cursor=_style("000000", "ffffff", bold=True) if dark
            else _style("ffffff", "000000", bold=True), selected=_style("ffffff", "0000aa", bold=True),
            selected_idle=_style("ffffff" if dark else "000000", bold=True, underline=True),
        )  # fmt: skip
    if dark:
        return Palette(
            depth, dark, (orange, blue), back=_style(None, "121212"), text=_style("d0d0d0"), muted=_style("8a8a8a"),
            strong=_style("ffffff", bold=True), accent=_style("5fd7ff"), good=_style("87d787", bold=True),
            warn=_style("ffd75f", bold=True), bad=_style("ff8787", bold=True),
            cursor=_style("000000", "ffffff", bold=True), selected=_style("ffffff", "005f87"),
            selected_idle=_style("d0d0d0", "303030"),
        )  # fmt: skip
    return Palette(
        depth, dark, (orange, blue), back=_style(None, "eeeeee"), text=_style("303030"), muted=_style("5f5f5f"),
        strong=_style("000000", bold=True), accent=_style("005f87"), good=_style("005f00", bold=True), warn=_style("875f00", bold=True),
        bad=_style("af0000", bold=True), cursor=_style("ffffff", "000000", bold=True),
        selected=_style("000000", "afd7ff"), selected_idle=_style("303030", "d0d0d0"),
    )  # fmt: skip


def _style(
    text: str | None, back: str | None = None, *, bold: bool | None = None, underline: bool | None = None
) -> Style:
    # None, not False: an attribute set to False is written out in every escape sequence.
    return Style(
        color=Color.parse(f"#{text}") if text else None,
        bgcolor=Color.parse(f"#{back}") if back else None,
        bold=bold,
        underline=underline,
    )
