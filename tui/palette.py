"""Colours: a diverging scale, orange (A gives more) against blue (B gives more), a
sequential one, and the few styles of the panes.

The steps come from the 256-colour cube, so a terminal without true colour shows exactly
these; they are told apart by luminance as well as hue, so colour-blind eyes and grey
screenshots keep the order. With 16 colours two steps share one; with ``NO_COLOR`` only
the marks and the underline remain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from rich.color import Color
from rich.style import Style

if TYPE_CHECKING:
    import numpy.typing as npt

Depth = Literal["none", "16", "256"]

STEPS = 4
"""Steps on each side: beyond the threshold, twice, four times and eight times it."""
BROKEN = 2 * STEPS + 1
"""The level of a token whose score is NaN on a side: beyond every step of every scale.
"""
NAMES = ("beyond", "2x", "4x", "8x")

# (background, text) from little to much. Contrast and order are checked by
# tests/test_tui_palette.py.
_DARK = (
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
_LIGHT = (
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
# On black; the text stands out from every step as 7 to 1 or more.
_CONTRAST = (
    (
        ("5f2f00", "ffffff"),
        ("d78700", "000000"),
        ("ffaf00", "000000"),
        ("ffff5f", "000000"),
    ),
    (
        ("00005f", "ffffff"),
        ("5fafff", "000000"),
        ("87d7ff", "000000"),
        ("d7ffff", "000000"),
    ),
)
_CONTRAST_ONE = (
    ("5f005f", "ffffff"),
    ("d787d7", "000000"),
    ("ffafff", "000000"),
    ("ffd7ff", "000000"),
)
# A sequential scale, of a hue that neither side has.
_DARK_ONE = (
    ("5f5f87", "ffffff"),
    ("875f87", "ffffff"),
    ("af87af", "000000"),
    ("ffafff", "000000"),
)
_LIGHT_ONE = (
    ("d7d7ff", "000000"),
    ("d7afd7", "000000"),
    ("af5faf", "000000"),
    ("5f005f", "ffffff"),
)
_SIXTEEN_ONE = (
    ("aa00aa", "ffffff"),
    ("aa00aa", "ffffff"),
    ("ff55ff", "000000"),
    ("ff55ff", "000000"),
)
# Of the 16 standard colours as Rich knows them: an exact match cannot be rounded to
# another one.
_SIXTEEN = (
    (
        ("aa5500", "000000"),
        ("aa5500", "000000"),
        ("ffff55", "000000"),
        ("ffff55", "000000"),
    ),
    (
        ("0000aa", "ffffff"),
        ("0000aa", "ffffff"),
        ("55ffff", "000000"),
        ("55ffff", "000000"),
    ),
)


class Palette(NamedTuple):
    """Styles by their use. ``steps[0]`` holds the orange ones from little to much,
    ``steps[1]`` the blue ones, ``single`` those of a sequential scale. ``grey`` is a
    step of a pair that cannot be compared, ``found`` a match.
    """

    depth: Depth
    dark: bool
    steps: tuple[tuple[Style, ...], tuple[Style, ...]]
    single: tuple[Style, ...]
    grey: Style
    found: Style
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
    contrast: bool = False

    def level(self, level: int) -> Style:
        """The style of a level: 0 plain, +1..+4 orange, -1..-4 blue, 5..8 of the
        sequential scale, `BROKEN`.
        """
        if level == 0:
            return self.text
        if level == BROKEN:
            return self.bad
        if level > STEPS:
            return self.single[level - STEPS - 1]
        return self.steps[0][level - 1] if level > 0 else self.steps[1][-level - 1]

    def meaning(self, meaning: Literal["good", "warn", "bad"]) -> Style:
        """The colour of an answer."""
        return {"good": self.good, "warn": self.warn, "bad": self.bad}[meaning]

    def verdict(self, verdict: str | None) -> Style:
        return {
            "comparable": self.good,
            "caution": self.warn,
            "not_comparable": self.bad,
        }.get(verdict or "", self.muted)


def exchange(old: Palette, new: Palette) -> dict[Style, Style]:
    """The styles of one palette and what stands for them in another: what is drawn
    already can be given other colours.
    """
    found: dict[Style, Style] = {}
    for name in Palette._fields:
        before, after = getattr(old, name), getattr(new, name)
        pairs = zip(_flat(before), _flat(after), strict=True)
        found |= {a: b for a, b in pairs if a not in found}
    return found


def _flat(value: object) -> list[Style]:
    if isinstance(value, tuple):
        return [style for item in value for style in _flat(item)]
    return [value] if isinstance(value, Style) else []


def levels(
    delta: npt.NDArray[np.float32], scored: npt.NDArray[np.bool_], threshold: float
) -> npt.NDArray[np.int8]:
    """Signed step of each token, i8[n]: 0 within the threshold or unscored, else 1 to
    `STEPS` with delta's sign.
    """
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


def make_palette(depth: Depth, dark: bool = True, contrast: bool = False) -> Palette:
    """The styles for what the terminal can show; ``contrast`` has a meaning with 256
    colours on a dark background.
    """
    if depth == "none":
        marked = Style(underline=True)
        return Palette(
            depth,
            dark,
            ((marked,) * STEPS, (marked,) * STEPS),
            (marked,) * STEPS,
            grey=marked,
            found=Style(bold=True, reverse=True),
            back=Style(),
            text=Style(),
            muted=Style(dim=True),
            strong=Style(bold=True),
            accent=Style(bold=True),
            good=Style(bold=True),
            warn=Style(bold=True),
            bad=Style(bold=True, reverse=True),
            cursor=Style(reverse=True),
            selected=Style(reverse=True),
            selected_idle=Style(underline=True),
        )
    contrast = contrast and dark and depth == "256"
    table = (
        _SIXTEEN
        if depth == "16"
        else _CONTRAST
        if contrast
        else _DARK
        if dark
        else _LIGHT
    )
    one = (
        _SIXTEEN_ONE
        if depth == "16"
        else _CONTRAST_ONE
        if contrast
        else _DARK_ONE
        if dark
        else _LIGHT_ONE
    )
    orange, blue, single = (
        tuple(_style(text, back, underline=True) for back, text in side)
        for side in (*table, one)
    )
    if depth == "16":
        return Palette(
            # On white, of the 16 colours only black, blue and red can be read.
            depth,
            dark,
            (orange, blue),
            single,
            grey=_style("aaaaaa" if dark else "000000", underline=True),
            found=_style("000000", "55ff55", bold=True),
            back=_style(None, "000000" if dark else "ffffff"),
            text=_style("ffffff" if dark else "000000"),
            muted=_style("aaaaaa" if dark else "000000"),
            strong=_style("ffffff" if dark else "000000", bold=True),
            accent=_style("55ffff" if dark else "0000aa", bold=True),
            good=_style("55ff55" if dark else "0000aa", bold=True),
            warn=_style("ffff55" if dark else "000000", bold=True),
            bad=_style("ff5555" if dark else "aa0000", bold=True),
            cursor=(
                _style("000000", "ffffff", bold=True)
                if dark
                else _style("ffffff", "000000", bold=True)
            ),
            selected=_style("ffffff", "0000aa", bold=True),
            selected_idle=_style(
                "ffffff" if dark else "000000", bold=True, underline=True
            ),
        )
    if contrast:
        return Palette(
            depth,
            dark,
            (orange, blue),
            single,
            grey=_style("d0d0d0", underline=True),
            found=_style("000000", "5fff5f", bold=True),
            back=_style(None, "000000"),
            text=_style("ffffff"),
            muted=_style("d0d0d0"),
            strong=_style("ffffff", bold=True),
            accent=_style("5fffff", bold=True),
            good=_style("5fff5f", bold=True),
            warn=_style("ffff5f", bold=True),
            bad=_style("ff8787", bold=True),
            cursor=_style("000000", "ffffff", bold=True),
            selected=_style("000000", "5fffff", bold=True),
            selected_idle=_style("ffffff", "4e4e4e", bold=True),
            contrast=True,
        )
    if dark:
        return Palette(
            depth,
            dark,
            (orange, blue),
            single,
            grey=_style("8a8a8a", underline=True),
            found=_style("000000", "87d787"),
            back=_style(None, "121212"),
            text=_style("d0d0d0"),
            muted=_style("8a8a8a"),
            strong=_style("ffffff", bold=True),
            accent=_style("5fd7ff"),
            good=_style("87d787", bold=True),
            warn=_style("ffd75f", bold=True),
            bad=_style("ff8787", bold=True),
            cursor=_style("000000", "ffffff", bold=True),
            selected=_style("ffffff", "005f87"),
            selected_idle=_style("d0d0d0", "303030"),
        )
    return Palette(
        depth,
        dark,
        (orange, blue),
        single,
        grey=_style("5f5f5f", underline=True),
        found=_style("000000", "87d787"),
        back=_style(None, "eeeeee"),
        text=_style("303030"),
        muted=_style("5f5f5f"),
        strong=_style("000000", bold=True),
        accent=_style("005f87"),
        good=_style("005f00", bold=True),
        warn=_style("875f00", bold=True),
        bad=_style("af0000", bold=True),
        cursor=_style("ffffff", "000000", bold=True),
        selected=_style("000000", "afd7ff"),
        selected_idle=_style("303030", "d0d0d0"),
    )


def _style(
    text: str | None,
    back: str | None = None,
    *,
    bold: bool | None = None,
    underline: bool | None = None,
) -> Style:
    # None, not False: an attribute set to False is written out in every escape
    # sequence.
    return Style(
        color=Color.parse(f"#{text}") if text else None,
        bgcolor=Color.parse(f"#{back}") if back else None,
        bold=bold,
        underline=underline,
    )
