"""The themes: what Textual paints behind the text, beside the styles of
`logdrift.tui.palette`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, get_args

from textual.theme import Theme

ThemeName = Literal["dark", "light", "high-contrast"]
NAMES: tuple[ThemeName, ...] = get_args(ThemeName)
_LIGHT_COLOURS = ("7", "9", "10", "11", "12", "13", "14", "15")

THEMES: Mapping[ThemeName, Theme] = {
    "dark": Theme(
        "logdrift-dark",
        primary="#5fd7ff",
        foreground="#d0d0d0",
        background="#121212",
        surface="#121212",
        panel="#303030",
        accent="#5fd7ff",
        error="#ff8787",
        warning="#ffd75f",
        success="#87d787",
        dark=True,
    ),
    "light": Theme(
        "logdrift-light",
        primary="#005f87",
        foreground="#303030",
        background="#eeeeee",
        surface="#eeeeee",
        panel="#d0d0d0",
        accent="#005f87",
        error="#af0000",
        warning="#875f00",
        success="#005f00",
        dark=False,
    ),
    "high-contrast": Theme(
        "logdrift-high-contrast",
        primary="#5fffff",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#b2b2b2",
        accent="#5fffff",
        error="#ff8787",
        warning="#ffff5f",
        success="#5fff5f",
        dark=True,
    ),
}


def theme_of(
    configured: str | None, environment: Mapping[str, str] | None = None
) -> ThemeName:
    """The theme that a config asks for; ``auto`` and None: light where the terminal
    says that its background is.
    """
    for name in NAMES:
        if name == configured:
            return name
    if environment is None:
        environment = os.environ
    # rxvt, Konsole and others: "foreground;background" as numbers of the 16 colours.
    colours = environment.get("COLORFGBG", "")
    _, _, background = colours.rpartition(";")
    if background in _LIGHT_COLOURS:
        return "light"
    return "dark"
