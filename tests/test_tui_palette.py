"""Colours: readable, in order, exact on terminals of few colours, and never the only
sign.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from rich.color import Color, ColorSystem
from rich.style import Style

from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.token_values import Stretch
from logdrift.tui.models.modes import MODES
from logdrift.tui.palette import STEPS, Palette, depth_of, make_palette
from tests.made_sessions import capture, write_session
from tests.tui_screen import contrast, luminance

# What the 16 colours that the palette names look like on xterm, whose yellow is far
# from Rich's brown.
XTERM = {
    3: (205, 205, 0),
    4: (0, 0, 238),
    5: (205, 0, 205),
    13: (255, 0, 255),
    11: (255, 255, 0),
    14: (0, 255, 255),
    15: (255, 255, 255),
    0: (0, 0, 0),
}


def rgb(
    color: Color | None, table: dict[int, tuple[int, int, int]] | None = None
) -> tuple[int, int, int]:
    assert color is not None
    if table is not None:
        number = color.downgrade(ColorSystem.STANDARD).number
        assert number is not None
        return table[number]
    triplet = color.get_truecolor()
    return triplet.red, triplet.green, triplet.blue


def all_steps(palette: Palette) -> list[Style]:
    return [*palette.steps[0], *palette.steps[1], *palette.single]


@pytest.mark.parametrize("dark", [True, False])
def test_text_on_every_step_has_contrast(dark: bool) -> None:
    # 4.5:1 is level AA of WCAG 2 for text of normal size.
    for style in all_steps(make_palette("256", dark)):
        assert contrast(rgb(style.color), rgb(style.bgcolor)) >= 4.5, style


def test_text_on_every_step_has_contrast_with_16_colours() -> None:
    for style in all_steps(make_palette("16", True)):
        assert contrast(rgb(style.color, XTERM), rgb(style.bgcolor, XTERM)) >= 4.5, (
            style
        )


@pytest.mark.parametrize("dark", [True, False])
def test_plain_text_has_contrast_on_the_background(dark: bool) -> None:
    palette = make_palette("256", dark)
    back = rgb(palette.back.bgcolor)
    for name in ("text", "muted", "strong", "accent", "good", "warn", "bad"):
        assert contrast(rgb(getattr(palette, name).color), back) >= 4.5, name
    assert contrast(rgb(palette.grey.color), back) >= 4.5
    for style in (
        palette.cursor,
        palette.selected,
        palette.selected_idle,
        palette.found,
    ):
        assert contrast(rgb(style.color), rgb(style.bgcolor)) >= 4.5


@pytest.mark.parametrize("dark", [True, False])
def test_steps_move_away_from_the_background_in_luminance(dark: bool) -> None:
    palette = make_palette("256", dark)
    for side in (*palette.steps, palette.single):
        values = [luminance(rgb(style.bgcolor)) for style in side]
        ordered = values if dark else values[::-1]
        assert all(a < b for a, b in itertools.pairwise(ordered)), values


@pytest.mark.parametrize("dark", [True, False])
def test_256_colours_show_what_was_chosen(dark: bool) -> None:
    palette = make_palette("256", dark)
    styles = [
        *all_steps(palette),
        palette.back,
        palette.text,
        palette.muted,
        palette.cursor,
        palette.selected,
    ]
    for style in styles:
        for color in filter(None, (style.color, style.bgcolor)):
            wanted = rgb(color)
            shown = rgb(color.downgrade(ColorSystem.EIGHT_BIT))
            # Rich rounds a light grey to a neighbour on the ramp, whose steps are 10; a
            # colour must be exact.
            assert shown == wanted or (
                len(set(wanted)) == 1 and abs(shown[0] - wanted[0]) <= 10
            ), color


def test_16_colours_keep_both_sides_and_little_from_much_apart() -> None:
    orange, blue = make_palette("16").steps
    shown = [
        style.bgcolor.downgrade(ColorSystem.STANDARD).number
        for style in (*orange, *blue)
        if style.bgcolor
    ]
    expected = [3, 3, 11, 11, 4, 4, 14, 14]
    assert shown == expected


@pytest.mark.parametrize("depth", ["none", "16", "256"])
def test_a_step_is_underlined_at_every_depth(depth: str) -> None:
    palette = make_palette(depth)  # type: ignore[arg-type]
    assert all(style.underline for style in all_steps(palette))
    assert not palette.text.underline


def test_without_colour_no_style_has_any() -> None:
    palette = make_palette("none")
    for value in palette:
        flat = (
            [*value[0], *value[1]]
            if isinstance(value, tuple) and isinstance(value[0], tuple)
            else value
        )
        for style in (
            flat
            if isinstance(flat, (list, tuple)) and not isinstance(flat, Style)
            else (flat,)
        ):
            if isinstance(style, Style):
                assert style.color is None
                assert style.bgcolor is None


def test_levels_follow_the_threshold_and_the_sign(tmp_path: Path) -> None:
    # Powers of two: exact in float32 and float64 alike.
    delta = np.array(
        [0, 0.125, -0.125, 0.126, 0.26, -0.51, 1.01, -np.inf, np.inf, np.nan, 5],
        np.float32,
    )
    b = np.where(np.isposinf(delta), -np.inf, -8.0)
    a = np.where(np.isposinf(delta), -8.0, -8.0 + delta)
    mask = [1] * 10 + [0]
    made = write_session(
        tmp_path / "s",
        [1],
        [capture("trainer/prefill", [a]), capture("vllm/decode", [b])],
        masks=[mask],
    )
    pair = make_pair(made, "trainer/prefill", "vllm/decode")
    assert pair.scored.tolist() == [True] * 9 + [False] * 2
    assert pair.delta[3] > 0.125
    assert pair.delta[1] == 0.125

    whole = Stretch(pair, 0, pair.tokens)
    assert MODES[0].levels(whole, 0.125).tolist() == [
        0,
        0,
        0,
        1,
        2,
        -3,
        4,
        -STEPS,
        STEPS,
        0,
        0,
    ]
    expected = [0, 1, -1, 2]
    assert MODES[0].levels(whole, 0.0625).tolist()[:4] == expected


@pytest.mark.parametrize(
    ("system", "no_color", "depth"),
    [
        ("truecolor", False, "256"),
        ("256", False, "256"),
        ("standard", False, "16"),
        ("256", True, "none"),
        (None, False, "none"),
    ],
)
def test_depth_of_a_terminal(system: str | None, no_color: bool, depth: str) -> None:
    assert depth_of(system, no_color) == depth
