"""The colours of each theme, as hexadecimal RGB: data alone.

A scale goes from little to much, in (background, text); tests/test_tui_palette.py
checks contrast and order.
"""

from __future__ import annotations

from typing import NamedTuple

Scale = tuple[tuple[str, str], ...]


class Ink(NamedTuple):
    """How a piece of text looks; None: as the terminal has it."""

    text: str | None = None
    back: str | None = None
    bold: bool = False
    underline: bool = False


class Scheme(NamedTuple):
    """All colours of one theme at one depth of colour.

    ``orange``: A gives more, ``blue``: B gives more, ``single``: a sequential scale, of
    a hue that neither side has; ``roles`` are system, user, assistant and tool. The
    others are named by their use in `Palette`.
    """

    orange: Scale
    blue: Scale
    single: Scale
    roles: tuple[Ink, ...]
    grey: Ink
    found: Ink
    back: Ink
    text: Ink
    muted: Ink
    strong: Ink
    accent: Ink
    good: Ink
    warn: Ink
    bad: Ink
    cursor: Ink
    selected: Ink
    selected_idle: Ink
    shade: Ink


INKS = Scheme._fields[4:]
"""The names of the single colours: all but the scales and the roles."""

DARK = Scheme(
    orange=(
        ("875f00", "ffffff"),
        ("af5f00", "ffffff"),
        ("d78700", "000000"),
        ("ffaf00", "000000"),
    ),
    blue=(
        ("005f87", "ffffff"),
        ("0087af", "000000"),
        ("5fafff", "000000"),
        ("87d7ff", "000000"),
    ),
    single=(
        ("5f5f87", "ffffff"),
        ("875f87", "ffffff"),
        ("af87af", "000000"),
        ("ffafff", "000000"),
    ),
    roles=(
        Ink("ffffff", "5f5f87"),
        Ink("ffffff", "005f5f"),
        Ink("d0d0d0"),
        Ink("ffffff", "5f5f00"),
    ),
    grey=Ink("8a8a8a", underline=True),
    found=Ink("000000", "87d787"),
    back=Ink(back="121212"),
    text=Ink("d0d0d0"),
    muted=Ink("8a8a8a"),
    strong=Ink("ffffff", bold=True),
    accent=Ink("5fd7ff"),
    good=Ink("87d787", bold=True),
    warn=Ink("ffd75f", bold=True),
    bad=Ink("ff8787", bold=True),
    cursor=Ink("000000", "ffffff", bold=True),
    selected=Ink("ffffff", "005f87"),
    selected_idle=Ink("d0d0d0", "303030"),
    shade=Ink(back="262626"),
)

LIGHT = Scheme(
    orange=(
        ("ffd7af", "000000"),
        ("ffaf5f", "000000"),
        ("d78700", "000000"),
        ("875f00", "ffffff"),
    ),
    blue=(
        ("afd7ff", "000000"),
        ("5fafff", "000000"),
        ("0087d7", "000000"),
        ("005f87", "ffffff"),
    ),
    single=(
        ("d7d7ff", "000000"),
        ("d7afd7", "000000"),
        ("af5faf", "000000"),
        ("5f005f", "ffffff"),
    ),
    roles=(
        Ink("000000", "d7d7ff"),
        Ink("000000", "afd7d7"),
        Ink("303030"),
        Ink("000000", "d7d7af"),
    ),
    grey=Ink("5f5f5f", underline=True),
    found=Ink("000000", "87d787"),
    back=Ink(back="eeeeee"),
    text=Ink("303030"),
    muted=Ink("5f5f5f"),
    strong=Ink("000000", bold=True),
    accent=Ink("005f87"),
    good=Ink("005f00", bold=True),
    warn=Ink("875f00", bold=True),
    bad=Ink("af0000", bold=True),
    cursor=Ink("ffffff", "000000", bold=True),
    selected=Ink("000000", "afd7ff"),
    selected_idle=Ink("303030", "d0d0d0"),
    shade=Ink(back="dadada"),
)

# On black; the text stands out from every step as 7 to 1 or more.
CONTRAST = Scheme(
    orange=(
        ("5f2f00", "ffffff"),
        ("d78700", "000000"),
        ("ffaf00", "000000"),
        ("ffff5f", "000000"),
    ),
    blue=(
        ("00005f", "ffffff"),
        ("5fafff", "000000"),
        ("87d7ff", "000000"),
        ("d7ffff", "000000"),
    ),
    single=(
        ("5f005f", "ffffff"),
        ("d787d7", "000000"),
        ("ffafff", "000000"),
        ("ffd7ff", "000000"),
    ),
    roles=(
        Ink("000000", "d7afff"),
        Ink("000000", "87d7d7"),
        Ink("ffffff"),
        Ink("000000", "d7d787"),
    ),
    grey=Ink("d0d0d0", underline=True),
    found=Ink("000000", "5fff5f", bold=True),
    back=Ink(back="000000"),
    text=Ink("ffffff"),
    muted=Ink("d0d0d0"),
    strong=Ink("ffffff", bold=True),
    accent=Ink("5fffff", bold=True),
    good=Ink("5fff5f", bold=True),
    warn=Ink("ffff5f", bold=True),
    bad=Ink("ff8787", bold=True),
    cursor=Ink("000000", "ffffff", bold=True),
    selected=Ink("000000", "5fffff", bold=True),
    selected_idle=Ink("ffffff", "4e4e4e", bold=True),
    shade=Ink(back="303030"),
)

# Of the 16 standard colours as Rich knows them: an exact match cannot be rounded to
# another one.
SIXTEEN_DARK = Scheme(
    orange=(
        ("aa5500", "000000"),
        ("aa5500", "000000"),
        ("ffff55", "000000"),
        ("ffff55", "000000"),
    ),
    blue=(
        ("0000aa", "ffffff"),
        ("0000aa", "ffffff"),
        ("55ffff", "000000"),
        ("55ffff", "000000"),
    ),
    single=(
        ("aa00aa", "ffffff"),
        ("aa00aa", "ffffff"),
        ("ff55ff", "000000"),
        ("ff55ff", "000000"),
    ),
    roles=(
        Ink("ffffff", "aa00aa"),
        Ink("000000", "00aaaa"),
        Ink("ffffff"),
        Ink("000000", "aa5500"),
    ),
    grey=Ink("aaaaaa", underline=True),
    found=Ink("000000", "55ff55", bold=True),
    back=Ink(back="000000"),
    text=Ink("ffffff"),
    muted=Ink("aaaaaa"),
    strong=Ink("ffffff", bold=True),
    accent=Ink("55ffff", bold=True),
    good=Ink("55ff55", bold=True),
    warn=Ink("ffff55", bold=True),
    bad=Ink("ff5555", bold=True),
    cursor=Ink("000000", "ffffff", bold=True),
    selected=Ink("ffffff", "0000aa", bold=True),
    selected_idle=Ink("ffffff", bold=True, underline=True),
    shade=Ink(),
)

# On white, of the 16 colours only black, blue and red can be read.
SIXTEEN_LIGHT = SIXTEEN_DARK._replace(
    roles=(
        Ink("ffffff", "aa00aa"),
        Ink("000000", "00aaaa"),
        Ink("000000"),
        Ink("000000", "aa5500"),
    ),
    grey=Ink("000000", underline=True),
    back=Ink(back="ffffff"),
    text=Ink("000000"),
    muted=Ink("000000"),
    strong=Ink("000000", bold=True),
    accent=Ink("0000aa", bold=True),
    good=Ink("0000aa", bold=True),
    warn=Ink("000000", bold=True),
    bad=Ink("aa0000", bold=True),
    cursor=Ink("ffffff", "000000", bold=True),
    selected_idle=Ink("000000", bold=True, underline=True),
)
