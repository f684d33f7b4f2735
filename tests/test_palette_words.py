"""The palette finds by meaning, and its two lines do not say the same twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandList, CommandPalette
from textual.worker import WorkerState

from logdrift.tui.actions import COMMANDS
from logdrift.tui.command_window import CommandWindow, _by_words, _entry
from tests.common import SAMPLE
from tests.tui_screen import SMALL, judged, make_app, until, until_shown

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("diff", "Explorer: Earlier session"),
        ("compare", "Explorer: Earlier session"),
        ("html", "Explorer: HTML"),
        ("experiment", "Explorer: Why"),
        ("largest", "Explorer: Worst tokens"),
        ("find", "Explorer: Search text"),
        ("screenshot", "General: Picture"),
        ("plot", "Charts: Charts"),
        ("exit", "General: Quit at once"),
        ("bookmark", "Explorer: Mark the token"),
    ],
)
async def test_words_that_people_look_for_are_found(typed: str, expected: str) -> None:
    app = make_app(Path(SAMPLE))
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: CommandPalette.is_open(app))
        await pilot.press(*typed)
        await until_shown(pilot, expected)


async def test_a_search_that_outlives_its_window_ends_quietly() -> None:
    app = make_app(Path(SAMPLE))
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: CommandPalette.is_open(app))
        window = app.screen
        assert isinstance(window, CommandWindow)
        searches = [window._gather_commands("")]
        await window.query(CommandList).remove()
        searches.append(window._gather_commands("diff"))
        await until(pilot, lambda: all(search.is_finished for search in searches))
        states = {search.state for search in searches}
        assert states <= {WorkerState.SUCCESS, WorkerState.CANCELLED}


def test_every_word_of_a_command_finds_it_and_its_own_come_first() -> None:
    for command in COMMANDS:
        words = command.also.split()
        assert len(set(words)) == len(words), command.id
        own = f"{command.title} {command.rest}".lower().split()
        assert not set(words) & set(own), f"{command.id} has these words itself"
        for word in words:
            assert _by_words(command, word) > 0, (command.id, word)
        assert _by_words(command, _entry(command).replace(":", "")) == 3.0
    assert _by_words(COMMANDS[0], "zzz") == 0.0 == _by_words(COMMANDS[0], "")


def test_the_second_line_does_not_repeat_the_first() -> None:
    for command in COMMANDS:
        assert not command.rest.startswith(command.title)
        assert command.help.startswith(command.title)
        assert command.help.endswith(command.rest)
        assert len(command.title) + len(command.rest) <= len(command.help)
