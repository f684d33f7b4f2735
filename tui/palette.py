"""Colours: a diverging scale, orange (A gives more) against blue (B gives more), a
sequential one, and the few styles of the panes.

The steps come from the 256-colour cube, so a terminal without true colour shows exactly
these; they differ in luminance as well as hue, so colour-blind eyes and grey
screenshots keep the order. With 16 colours two steps share one; with ``NO_COLOR`` only
the marks and the underline remain.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from rich.color import Color
from rich.style import Style

from logdrift.tui import schemes
from logdrift.tui.schemes import Ink, Scale, Scheme

Depth = Literal["none", "16", "256"]

STEPS = 4
"""Steps on each side: beyond the threshold, twice, four times and eight times it."""
BROKEN = 2 * STEPS + 1
"""The level of a token whose score is NaN on a side: beyond every step of every scale.
"""
NAMES = ("beyond", "2x", "4x", "8x")
ROLE_STARTS = BROKEN
"""Added to the number of a role (`message_roles`): the level of the first token of its
message.
"""
ROLES = 4
"""Roles that have a colour: all of `message_roles` but the unknown one."""
ROLE_INSIDE = ROLE_STARTS + ROLES
"""As `ROLE_STARTS`, for the other tokens of the message."""
LAST_LEVEL = ROLE_INSIDE + ROLES


class Palette(NamedTuple):
    """Styles by their use. ``steps[0]`` holds the orange ones from little to much,
    ``steps[1]`` the blue ones, ``single`` those of a sequential scale. ``grey`` is a
    step of a pair that cannot be compared, ``roles`` those of messages in the order of
    `message_roles`, ``found`` a match, ``shade`` the background
    of every other token within a word: it says nothing with fewer than 256 colours.
    """

    depth: Depth
    dark: bool
    steps: tuple[tuple[Style, ...], tuple[Style, ...]]
    single: tuple[Style, ...]
    roles: tuple[Style, ...]
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
    shade: Style
    contrast: bool = False

    def level(self, level: int) -> Style:
        """The style of a level: 0 plain, +1..+4 orange, -1..-4 blue, 5..8 of the
        sequential scale, `BROKEN`, those of roles.
        """
        if level == 0:
            return self.text
        if level == BROKEN:
            return self.bad
        if level > BROKEN:
            role = (level - BROKEN - 1) % ROLES
            return self.roles[role]
        if level > STEPS:
            return self.single[level - STEPS - 1]
        orange, blue = self.steps
        if level > 0:
            return orange[level - 1]
        return blue[-level - 1]

    def meaning(self, meaning: Literal["good", "warn", "bad"]) -> Style:
        """The colour of an answer."""
        if meaning == "good":
            return self.good
        if meaning == "warn":
            return self.warn
        return self.bad

    def verdict(self, verdict: str | None) -> Style:
        """The colour of a gate's verdict."""
        if verdict == "comparable":
            return self.good
        if verdict == "caution":
            return self.warn
        if verdict == "not_comparable":
            return self.bad
        return self.muted


def exchange(old: Palette, new: Palette) -> dict[Style, Style]:
    """The styles of one palette and what stands for them in another: what is drawn
    already can be given other colours.
    """
    replaced: dict[Style, Style] = {}
    for name in Palette._fields:
        before = _flat(getattr(old, name))
        after = _flat(getattr(new, name))
        for style, other in zip(before, after, strict=True):
            replaced.setdefault(style, other)
    return replaced


def _flat(value: object) -> list[Style]:
    if isinstance(value, Style):
        return [value]
    styles: list[Style] = []
    if isinstance(value, tuple):
        for item in value:
            styles += _flat(item)
    return styles


def depth_of(color_system: str | None, no_color: bool) -> Depth:
    """What the terminal can show, from Rich's name of its colour system."""
    if no_color or color_system is None:
        return "none"
    if color_system in ("standard", "windows"):
        return "16"
    return "256"


def make_palette(depth: Depth, dark: bool = True, contrast: bool = False) -> Palette:
    """The styles for what the terminal can show; ``contrast`` has a meaning with 256
    colours on a dark background.
    """
    if depth == "none":
        return _without_colours(dark)
    contrast = contrast and dark and depth == "256"
    scheme = _scheme(depth, dark, contrast)
    orange = _scale(scheme.orange)
    blue = _scale(scheme.blue)
    styles = {name: _style(getattr(scheme, name)) for name in schemes.INKS}
    return Palette(
        depth=depth,
        dark=dark,
        contrast=contrast,
        steps=(orange, blue),
        single=_scale(scheme.single),
        roles=tuple(map(_style, scheme.roles)),
        **styles,
    )


def _scheme(depth: Depth, dark: bool, contrast: bool) -> Scheme:
    if depth == "16":
        if dark:
            return schemes.SIXTEEN_DARK
        return schemes.SIXTEEN_LIGHT
    if contrast:
        return schemes.CONTRAST
    if dark:
        return schemes.DARK
    return schemes.LIGHT


def _without_colours(dark: bool) -> Palette:
    """Marks, underlines, bold and reversed text alone."""
    marked = Style(underline=True)
    bold = Style(bold=True)
    scale = (marked,) * STEPS
    return Palette(
        depth="none",
        dark=dark,
        steps=(scale, scale),
        single=scale,
        roles=(
            Style(dim=True),
            marked,
            Style(),
            Style(dim=True, underline=True),
        ),
        grey=marked,
        found=Style(bold=True, reverse=True),
        back=Style(),
        text=Style(),
        muted=Style(dim=True),
        strong=bold,
        accent=bold,
        good=bold,
        warn=bold,
        bad=Style(bold=True, reverse=True),
        cursor=Style(reverse=True),
        selected=Style(reverse=True),
        selected_idle=marked,
        shade=Style(),
    )


def _scale(scale: Scale) -> tuple[Style, ...]:
    inks = [Ink(text, back, underline=True) for back, text in scale]
    return tuple(map(_style, inks))


def _style(ink: Ink) -> Style:
    # None, not False: an attribute set to False is written out in every escape
    # sequence.
    return Style(
        color=_colour(ink.text),
        bgcolor=_colour(ink.back),
        bold=ink.bold or None,
        underline=ink.underline or None,
    )


def _colour(hexadecimal: str | None) -> Color | None:
    if hexadecimal:
        return Color.parse(f"#{hexadecimal}")
    return None
