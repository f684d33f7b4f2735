"""Themes, keys of one's own, and the palette: what the config file says of the screens,
and what can be changed on them.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomllib
from rich.color import Color, ColorSystem
from rich.style import Style
from textual.command import CommandList, CommandPalette

from logdrift.core.config import _load, load_config
from logdrift.core.errors import InputError
from logdrift.tui.actions import COMMANDS, NO_KEYMAP, SCOPE_TITLES, commands, key_hints
from logdrift.tui.actions.key_tables import keys_table
from logdrift.tui.app import run
from logdrift.tui.command_window import active_commands
from logdrift.tui.keymap import SCREENS, check_keymap, parse_key, sample
from logdrift.tui.palette import Palette, exchange, make_palette
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.matrix import MatrixScreen
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.themes import THEMES, ThemeName, theme_of
from tests.common import REPOSITORY, SAMPLE, Fields
from tests.divergences import next_divergence
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    contrast,
    explorer,
    judged,
    luminance,
    make_app,
    screen_text,
    until,
    until_back,
    until_quiet,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
TERMINALS: dict[str, tuple[tuple[int, int, int], ...]] = {
    # xterm's own 16 colours, and those of the Linux console, which Rich and many others
    # have.
    "xterm": (
        (0, 0, 0),
        (205, 0, 0),
        (0, 205, 0),
        (205, 205, 0),
        (0, 0, 238),
        (205, 0, 205),
        (0, 205, 205),
        (229, 229, 229),
        (127, 127, 127),
        (255, 0, 0),
        (0, 255, 0),
        (255, 255, 0),
        (92, 92, 255),
        (255, 0, 255),
        (0, 255, 255),
        (255, 255, 255),
    ),
}
TEXTS = ("text", "muted", "strong", "accent", "good", "warn", "bad", "grey")
BLOCKS = ("cursor", "selected", "selected_idle", "found")


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "config" / "logdrift" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        _load.cache_clear()
        return path

    return write


# ---- contrast


def seen(color: Color | None, depth: str) -> tuple[int, int, int]:
    """What a terminal shows of a colour."""
    assert color is not None
    if depth == "16":
        number = color.downgrade(ColorSystem.STANDARD).number
        assert number is not None
        return TERMINALS["xterm"][number]
    triplet = color.downgrade(ColorSystem.EIGHT_BIT).get_truecolor()
    return triplet.red, triplet.green, triplet.blue


def palette_of(theme: ThemeName, depth: str) -> Palette:
    return make_palette(depth, THEMES[theme].dark, theme == "high-contrast")  # type: ignore[arg-type]


EVERY = pytest.mark.parametrize(
    ("theme", "depth"), [*itertools.product(THEMES, ("16", "256"))]
)


@EVERY
def test_text_on_every_step_and_block_can_be_read(theme: ThemeName, depth: str) -> None:
    palette = palette_of(theme, depth)
    back = palette.back.bgcolor
    least = 7.0 if (theme, depth) == ("high-contrast", "256") else 4.5
    blocks = [getattr(palette, name) for name in BLOCKS]
    for style in [*palette.steps[0], *palette.steps[1], *palette.single, *blocks]:
        assert (
            contrast(seen(style.color, depth), seen(style.bgcolor or back, depth))
            >= least
        ), (theme, depth, style)


@EVERY
def test_text_on_the_background_can_be_read(theme: ThemeName, depth: str) -> None:
    palette = palette_of(theme, depth)
    back = seen(palette.back.bgcolor, depth)
    for name in TEXTS:
        assert contrast(seen(getattr(palette, name).color, depth), back) >= 4.5, (
            theme,
            depth,
            name,
        )


@EVERY
def test_no_step_looks_like_the_background_or_the_other_side(
    theme: ThemeName, depth: str
) -> None:
    palette = palette_of(theme, depth)
    back = seen(palette.back.bgcolor, depth)
    sides = [
        {seen(style.bgcolor, depth) for style in side}
        for side in (*palette.steps, palette.single)
    ]
    assert all(back not in side for side in sides)
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_high_contrast_steps_grow_lighter() -> None:
    palette = palette_of("high-contrast", "256")
    for side in (*palette.steps, palette.single):
        values = [luminance(seen(style.bgcolor, "256")) for style in side]
        assert all(a < b for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("theme", THEMES)
def test_textual_paints_the_same_background_as_the_palette(theme: ThemeName) -> None:
    back = palette_of(theme, "256").back.bgcolor
    assert back is not None
    assert THEMES[theme].background == back.get_truecolor().hex


def test_an_exchange_knows_every_style_of_a_palette() -> None:
    dark = palette_of("dark", "256")
    light = palette_of("light", "256")
    styles = exchange(dark, light)
    assert styles[dark.muted] == light.muted
    assert styles[dark.steps[1][3]] == light.steps[1][3]
    assert all(isinstance(new, Style) for new in styles.values())
    assert len(styles) >= 20


# ---- themes on the screen


@pytest.mark.parametrize(
    ("wanted", "variable", "theme"),
    [
        ("light", "15;0", "light"),
        ("high-contrast", "0;15", "high-contrast"),
        ("auto", "0;15", "light"),
        (None, "0;default;7", "light"),
        (None, "15;0", "dark"),
        ("auto", "", "dark"),
        ("dark", "0;15", "dark"),
        ("auto", "12;8", "dark"),
    ],
)
def test_the_theme_is_that_of_the_config_or_of_the_terminal(
    wanted: str | None, variable: str, theme: str
) -> None:
    assert theme_of(wanted, {"COLORFGBG": variable}) == theme


async def palette_says(pilot: Any, query: str, wanted: str) -> None:
    await pilot.press("ctrl+p")
    await until(pilot, lambda: CommandPalette.is_open(pilot.app))
    await pilot.press(*(" " if char == " " else char for char in query))
    await until_shown(pilot, wanted)
    await until_quiet(pilot)


@pytest.mark.parametrize("name", ["light", "high-contrast"])
async def test_another_theme_is_taken_at_once_by_everything_that_is_seen(
    name: ThemeName,
) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("n")
        old = app.palette
        await palette_says(pilot, name.replace("-", " "), "General: ")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme_name == name and app.screen is screen)
        assert app.current_theme.name == f"logdrift-{name}"
        await until_shown(pilot, f"theme {name}")
        await until(pilot, lambda: not _colours(app) & _only(old, app.palette))
        assert app.palette.steps[0][0].bgcolor in _colours(app)


def _colours(app: Any) -> set[Color]:
    strips = app.screen._compositor.render_strips()
    styles = [segment.style for strip in strips for segment in strip if segment.style]
    return {
        color
        for style in styles
        for color in (style.color, style.bgcolor)
        if color is not None
    }


def _only(old: Palette, new: Palette) -> set[Color]:
    """Colours that the old palette alone has."""

    def all_of(palette: Palette) -> set[Color]:
        styles = exchange(palette, palette)
        return {
            color
            for style in styles
            for color in (style.color, style.bgcolor)
            if color is not None
        }

    return all_of(old) - all_of(new)


async def test_without_colours_there_is_one_theme() -> None:
    app = make_app(SAMPLE, depth="none")
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        app.action_theme("light")
        await until_shown(pilot, "NO_COLOR is set")
        assert app.theme_name == "dark"


async def test_without_colours_the_chosen_row_is_the_one_that_is_reversed() -> None:
    app = make_app(SAMPLE, depth="none")
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: bool(app.screen.query(CommandList)))
        listed = app.screen.query_one(CommandList)
        chosen = listed.get_component_rich_style("option-list--option-highlighted")
        assert chosen.reverse


async def test_a_question_reverses_one_row_alone() -> None:
    app = make_app(SAMPLE, depth="none")
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        question = Confirm("Delete?", "Yes, delete it", "No")
        app.push_screen(question)
        await until(pilot, lambda: app.screen is question)
        row = question.row(1, 40)
        assert not any(style.reverse for _, style in row)


# ---- the config file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('theme = "drak"', "theme is 'drak': did you mean 'dark'?"),
        (
            'theme = "solarized"',
            "theme is 'solarized': known are auto, dark, light, high-contrast",
        ),
        ("mouse = 0", "mouse is 0: give true or false"),
        ('mouse = "no"', "mouse is 'no': give true or false"),
        ("keys = 3", "keys is not a table: write [keys]"),
        ("[keys]\nexplorer.sort = 3", "keys.explorer.sort is 3: give a key"),
        (
            '[keys]\n"explorer.sort" = ["s", 3]',
            "keys.explorer.sort is ['s', 3]: give a key",
        ),
        (
            '[keys]\nexplorer.sort = "s"\n"explorer.sort" = "x"',
            "keys.explorer.sort is given twice",
        ),
        ('them = "dark"', "them is unknown: did you mean 'theme'?"),
    ],
)
def test_the_config_is_checked_and_the_error_names_file_and_key(
    config: Callable[[str], Path], text: str, said: str
) -> None:
    path = config(text)
    with pytest.raises(InputError) as caught:
        load_config()
    assert str(caught.value).startswith(f"config {path}: {said}")
    assert "\n" not in str(caught.value)


def test_the_config_reaches_the_screen(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config(
        'theme = "high-contrast"\nmouse = false\n[keys]\nexplorer.next_divergence ='
        ' ["ctrl+s", "ctrl+n"]\n'
    )
    started: Fields = {}

    def fake(app: Any, mouse: bool = True) -> int:
        started.update(app=app, mouse=mouse)
        return 0

    monkeypatch.setattr("logdrift.tui.app.LogdriftApp.run", fake)
    with pytest.raises(
        InputError,
        match=(
            r"keys\.explorer\.next_divergence: 'Ctrl\+S' is the key of"
            r" charts\.export_chart"
        ),
    ):
        run(SAMPLE, Path())
    config(
        'theme = "high-contrast"\nmouse = false\n[keys]\nexplorer.next_divergence ='
        ' ["f8", "ctrl+n"]\n'
    )
    assert run(SAMPLE, Path()) == 0
    assert started["app"].theme_name == "high-contrast"
    assert started["mouse"] is False
    assert started["app"].keymap == {"explorer.next_divergence": ("f8", "ctrl+n")}
    config("")
    assert run(SAMPLE, Path()) == 0
    assert started["mouse"] is True
    assert started["app"].keymap == {}


# ---- keys of one's own


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("n", "n"),
        ("N", "N"),
        ("?", "question_mark"),
        ("/", "slash"),
        ("[", "left_square_bracket"),
        (",", "comma"),
        ("-", "minus"),
        ("+", "plus"),
        ("F5", "f5"),
        ("Enter", "enter"),
        ("ctrl+n", "ctrl+n"),
        ("Ctrl+Shift+Up", "ctrl+shift+up"),
        ("alt+1", "alt+1"),
        (" space ", "space"),
        ("ctrl+/", "ctrl+slash"),
        ("slash", "slash"),
        ("ctrl++", "ctrl+plus"),
    ],
)
def test_keys_are_written_as_they_are_known(text: str, key: str) -> None:
    assert parse_key(text) == key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pagedwn", "did you mean 'pagedown'"),
        ("ctl+n", "use ctrl"),
        ("nn", "there is no key 'nn'"),
        ("ctrl+entr", "'enter'"),
    ],
)
def test_a_key_that_is_none_is_named_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_key(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"explorer.srot": ("s",)},
            r"keys\.explorer\.srot is unknown: did you mean 'explorer\.sort'\?",
        ),
        ({"sort": ("s",)}, r"keys\.sort is unknown: did you mean '[a-z]+\.sort'\?"),
        (
            {"explorer.sort": ("pgdown",)},
            r"keys\.explorer\.sort: there is no key 'pgdown': did you mean 'pagedown'",
        ),
        (
            {"explorer.sort": ("n",)},
            r"'n' is the key of explorer\.next_divergence \(Next divergent token\)",
        ),
        ({"explorer.sort": ("?",)}, r"'\?' is the key of app\.help"),
        ({"explorer.sort": ("j",)}, r"'j' is the key of move\.line_down"),
        ({"move.line_down": ("n",)}, r"'n' is the key of "),
        (
            {"explorer.sort": ("f8",), "explorer.pair": ("f8",)},
            r"'F8' is the key of explorer\.pair",
        ),
    ],
)
def test_a_keymap_that_does_not_do_is_refused(
    given: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        check_keymap(given, "config /x/config.toml")
    assert str(caught.value).startswith("config /x/config.toml: keys.")


def test_two_commands_can_change_places_and_one_can_go_without() -> None:
    given = {
        "explorer.next_divergence": ("N",),
        "explorer.previous_divergence": ("n",),
        "explorer.sort": (),
    }
    assert check_keymap(given) == given
    hints = key_hints("explorer", keymap=given)
    found = [hint[:2] for hint in hints[:2]]
    expected = [("N", "next Δ"), ("n", "prev")]
    assert found == expected
    assert "sort" not in [hint.word for hint in hints]


def test_the_sample_is_a_config_that_changes_nothing(
    config: Callable[[str], Path],
) -> None:
    lines = list(sample())
    named = [line for line in lines if line.startswith("# ") and " = [" in line]
    assert len(named) == len(COMMANDS)
    text = "\n".join(
        line.removeprefix("# ") if line in named else line for line in lines
    )
    assert set(tomllib.loads(text)["keys"]) == {command.scope for command in COMMANDS}
    config(text)
    keymap = check_keymap(load_config().keys)
    assert keymap == {command.id: command.keys for command in COMMANDS}


async def test_keys_of_ones_own_do_and_are_shown_everywhere() -> None:
    keymap = check_keymap(
        {
            "explorer.next_divergence": ("f8",),
            "explorer.matrix": ("ctrl+t",),
            "app.theme_light": ("f9",),
            "app.command_palette": ("f10",),
            "explorer.sort": (),
        }
    )
    app = make_app(SAMPLE, keymap=keymap)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        assert "F8 next Δ" in screen_text(app)
        start = screen.position
        sort = screen.model.state.sort
        await pilot.press("n", "s")
        assert screen.position == start
        assert screen.model.state.sort == sort
        await pilot.press("f8")
        await until(
            pilot,
            lambda: (
                screen.position
                == next_divergence(screen.model.pair, start, screen.threshold)
            ),
        )
        await pilot.press("f9")
        await until(pilot, lambda: app.theme_name == "light")
        await pilot.press("f1")
        await until_screen(pilot, TextScreen)
        shown = app.screen.text_to_save().splitlines()
        assert any("Ctrl+T" in line and "Matrix" in line for line in shown)
        await pilot.press("escape", "ctrl+t")
        await until_screen(pilot, MatrixScreen)
        await pilot.press("q", "ctrl+p")
        await until_back(pilot, screen)
        await pilot.press("f10")
        await until(pilot, lambda: CommandPalette.is_open(app))


def test_the_command_lists_and_samples_keys(
    config: Callable[[str], Path], run_logdrift: Callable[..., Any]
) -> None:
    path = config('[keys]\nexplorer.next_divergence = "f8"\n')
    listed = run_logdrift("keys", XDG_CONFIG_HOME=str(path.parent.parent))
    assert listed.returncode == 0
    assert not listed.stderr
    rows = {
        line.rpartition("(")[2].rstrip(")"): line.split()[0]
        for line in listed.stdout.splitlines()
        if line
    }
    assert rows["explorer.next_divergence"] == "F8"
    assert all(f"({command.id})" in listed.stdout for command in COMMANDS)
    plain = run_logdrift(
        "keys", XDG_CONFIG_HOME=str(path.parent.parent), PYTHONIOENCODING="ascii"
    )
    assert plain.returncode == 0
    assert len(plain.stdout.splitlines()) == len(listed.stdout.splitlines())
    sampled = run_logdrift("keys", "--sample", XDG_CONFIG_HOME=str(path.parent.parent))
    assert sampled.stdout.splitlines()[1:] == list(sample())
    config('[keys]\nexplorer.nxt = "f8"\n')
    refused = run_logdrift("keys", XDG_CONFIG_HOME=str(path.parent.parent))
    assert refused.returncode == 2
    assert f"config {path}: keys.explorer.nxt is unknown" in refused.stderr


def test_the_page_of_keys_is_made_from_the_registry() -> None:
    page = (REPOSITORY / "docs" / "keys.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- keys -->")[2].partition("<!-- /keys -->")[0].strip()
    assert shown == keys_table(ids=True), (
        "run: python -m logdrift.tui.actions docs/keys.md"
    )
    assert len({command.id for command in COMMANDS}) == len(COMMANDS)


# ---- opening


def test_a_session_whose_tokens_cannot_be_read_is_refused_before_the_screen_is_taken(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(SAMPLE, folder)
    (folder / "sequences" / "part-00000.safetensors").write_bytes(b"xx")
    with pytest.raises(
        InputError, match=r"part-00000\.safetensors: not a whole safetensors file"
    ):
        run(folder, Path())


async def test_from_the_list_it_is_an_error_that_can_be_copied(tmp_path: Path) -> None:
    folder = tmp_path / "sessions" / "damaged"
    shutil.copytree(SAMPLE, folder)
    (folder / "pieces.json").write_text("[]")
    app = make_app(None, folder.parent)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "damaged")
        app.open_folder(folder)
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "pieces.json is damaged" in screen_text(app)
            ),
        )


async def test_a_key_that_is_pressed_twice_opens_its_screen_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "sessions").mkdir()
    shutil.copytree(SAMPLE, tmp_path / "sessions" / "one")
    app = make_app(None, tmp_path / "sessions")
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "usual")
        for _ in range(2):
            app.open_folder(tmp_path / "sessions" / "one")
        await until_screen(pilot, ExplorerScreen)
        assert len(app.screen_stack) == 2
        explorer(app).action_matrix()
        explorer(app).action_matrix()
        await until_screen(pilot, MatrixScreen)
        assert len(app.screen_stack) == 3
        # And one that is left and opened again at once is there again.
        await pilot.press("q", "m", "q", "m", "q", "q")
        await until(pilot, lambda: len(app.screen_stack) == 1)


@pytest.mark.parametrize("key", ["m", "d", "T", "R"])
async def test_a_terminal_that_is_too_small_says_so_and_the_screen_comes_back(
    key: str,
) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press(key)
        await until(pilot, lambda: not isinstance(app.screen, ExplorerScreen))
        await until_shown(pilot, "? help")
        await pilot.resize_terminal(59, 24)
        await until(
            pilot,
            lambda: (
                "59x24 is too small" in screen_text(app)
                and "? help" not in screen_text(app)
            ),
        )
        await pilot.resize_terminal(60, 20)
        await until(
            pilot,
            lambda: (
                "? help" in screen_text(app) and "too small" not in screen_text(app)
            ),
        )


# ---- help and palette


async def test_help_starts_with_what_has_the_focus() -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        for pane, first in (("1", "move"), ("2", "list"), ("3", "pane")):
            await pilot.press(pane)
            await pilot.press("f1")
            await until_screen(pilot, TextScreen)
            shown = app.screen.text_to_save()
            here, _, elsewhere = shown.partition("All other keys")
            # What is heard here comes first, the pane's own scope by name.
            assert SCOPE_TITLES[first] in here  # type: ignore[index]
            titles = [
                line.strip()
                for line in elsewhere.splitlines()
                if line.strip() in SCOPE_TITLES.values()
            ]
            assert len(titles) == len(set(titles))
            assert SCOPE_TITLES["sessions"] in titles
            for scope in (first, "explorer", "app"):
                assert SCOPE_TITLES[scope] not in titles  # type: ignore[index]
            words = " ".join(shown.split())
            for command in COMMANDS:
                if command.action != "command_line":  # its key goes to places here
                    assert " ".join(command.help.split()) in words
            await pilot.press("escape")
            await until_screen(pilot, ExplorerScreen)


async def test_the_palette_lists_what_applies_here_and_does_it() -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        ids = {command.id for command, _, enabled in active_commands(screen) if enabled}
        assert {"explorer.matrix", "app.help", "move.line_down"} <= ids
        assert not [
            name
            for name in ids
            if name.partition(".")[0] in ("sessions", "matrix", "report", "picker")
        ]
        # `:` is the explorer's own there, which takes places too.
        assert ids >= {c.id for c in commands("explorer", "app")} - {"app.command_line"}
        assert "app.command_line" not in ids
        await palette_says(pilot, "matrix", "Explorer: Matrix")
        await pilot.press("enter")
        await until_screen(pilot, MatrixScreen)
        await palette_says(pilot, "metric", "Matrix: Metric")
        assert "Explorer: " not in screen_text(app)
        await pilot.press("escape")
        await until_screen(pilot, MatrixScreen)
        await palette_says(pilot, "help all keys", "General: Help")
        await pilot.press("enter")
        await until_screen(pilot, TextScreen)
        assert explorer(app) is screen


def test_every_scope_is_on_some_screen() -> None:
    assert set[str]().union(*SCREENS) | {"app"} == set(SCOPE_TITLES)


def test_no_keymap_is_no_change() -> None:
    assert check_keymap({}) == NO_KEYMAP
