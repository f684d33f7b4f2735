"""The list of sessions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from benchmarks.make_session import make_session
from logdrift.core.numbers import byte_size
from logdrift.core.session import lock
from logdrift.core.session.importers.formats import format_names
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.manage import folder_size
from logdrift.core.session.writer import write_manifest
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models.session_columns import COLUMNS, layout, sorted_rows
from logdrift.tui.models.session_words import matches, state_words
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.screens.diff import DiffScreen
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.screens.texts import Picker, TextScreen
from logdrift.tui.widgets.bars import Hints
from tests.common import Fields
from tests.holding import held
from tests.made_recordings import chat_chunks, draw, events, lines, sglang
from tests.made_sessions import capture, captured_here, write_session
from tests.tui_screen import (
    LARGE,
    MEDIUM,
    SMALL,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    folder = tmp_path / "sessions"
    make_session(folder / "good", 600, 6, 5, captures=4)
    make_session(folder / "other", 300, 3, 5, captures=2)
    (folder / "broken").mkdir()
    (folder / "broken" / "session.json").write_text('{"format": 99}')
    (folder / "not-a-session").mkdir()
    return folder


async def test_sessions_are_listed_with_state_numbers_and_reasons(
    sessions: Path,
) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=MEDIUM) as pilot:
        await until(pilot, lambda: screen_text(app).count("numerical noise") >= 2)
        rows = {
            line.split()[0]: line
            for line in screen_text(app).splitlines()
            if line.strip()
        }
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        good = next(row for row in listed.list.sessions if row.name == "good")
        for wanted in (
            "600",
            "complete",
            f"{good.mae:.4f}",
            "unusual, caution",
            "numerical noise",
        ):
            assert wanted in rows["good"]
        assert "format 99 is newer" in rows["broken"]
        assert "not-a-session" not in screen_text(app)


async def test_enter_opens_and_q_comes_back_and_leaves(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "good")
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        names = [row.name for row in listed.list.sessions]
        listed.list.select(names.index("good"))
        await pilot.press("enter")
        await until_screen(pilot, ExplorerScreen)
        await pilot.press("q")
        await until_back(pilot, listed)
        listed.list.select(names.index("broken"))
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "newer than this logdrift" in screen_text(app)
            ),
        )
        await pilot.press("escape")
        await until_back(pilot, listed)
        await pilot.press("q")
    assert app.return_value == 0


async def test_changes_from_outside_are_picked_up_and_the_selection_stays(
    sessions: Path,
) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "caution")
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        listed.list.select([row.name for row in listed.list.sessions].index("other"))
        make_session(sessions / "zz-new", 300, 3, 5, captures=2)
        await until_shown(pilot, "zz-new")
        assert listed.list.sessions[listed.list.selected].name == "other"
        shutil.rmtree(sessions / "good")
        await until(pilot, lambda: "good" not in screen_text(app))
        assert listed.list.sessions[listed.list.selected].name == "other"


async def test_nothing_there_says_what_to_do_and_enter_shows_the_samples(
    tmp_path: Path,
) -> None:
    app = make_app(None, tmp_path / "none")
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "no such folder yet")
        (tmp_path / "none").mkdir()
        await until_shown(pilot, "No session here yet.")
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        shown = text(listed.list)
        for wanted in ("Enter ", "samples", "Ctrl+N ", "I ", "logdrift demo"):
            assert wanted in shown
        assert text(listed.query_one(Hints)).endswith("? help"), "the keys stay"
        await pilot.press("r", "down", "w", "R", "W")
        await pilot.pause()
        assert app.screen is listed
        await pilot.press("enter")
        await until_shown(pilot, "sample-temperature")
        assert "samples that come with it" in screen_text(app)
        await pilot.press("q")
        await until_back(pilot, listed)
        make_session(tmp_path / "none" / "one", 300, 3, 5, captures=2)
        await until(pilot, lambda: "one" in names(app))
        assert "samples" not in text(listed.list)


# ---- what is done to whole sessions


def squeezed(app: LogdriftApp) -> str:
    """The screen without spaces and frames: a long path wraps where it must."""
    return "".join(screen_text(app).replace("│", "").split())


def screen_of(app: LogdriftApp) -> SessionsScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, SessionsScreen)
    return screen


def names(app: LogdriftApp) -> list[str]:
    return [row.name for row in screen_of(app).list.sessions]


async def at(
    pilot: Pilot[Any],
    app: LogdriftApp,
    name: str,
    holds: Callable[[SessionRow], bool] = bool,
) -> None:
    """Select a session once it is listed as it should be."""
    view = screen_of(app).list
    await until(
        pilot, lambda: any(row.name == name and holds(row) for row in view.sessions)
    )
    view.select(names(app).index(name), tell=True)
    await pilot.pause()


def said(app: LogdriftApp) -> str:
    return text(screen_of(app).query_one("#hints", Hints))


def running(row: SessionRow) -> bool:
    return row.state == "running"


async def test_filter_is_live_and_esc_takes_it_back(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await at(pilot, app, "good", lambda row: row.verdict is not None)
        await pilot.press("slash", *"oth")
        await until(pilot, lambda: names(app) == ["other"])
        assert isinstance(app.screen, LinePrompt)
        assert "filter: oth" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 3)
        await pilot.press("slash", *"caution good", "enter")
        await until(
            pilot,
            lambda: names(app) == ["good"] and "1 of 3 sessions" in screen_text(app),
        )
        await pilot.press("slash", *" nothing", "enter")
        await until(pilot, lambda: names(app) == [])
        await pilot.press("enter", "D", "f2", "f5", "X", "space")
        assert app.screen is screen_of(app)
        assert "no capture is running" in said(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 3)


async def test_sorting_by_every_column_both_ways(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=LARGE) as pilot:
        await at(pilot, app, "good", lambda row: row.verdict is not None)
        assert screen_of(app).list.sort == "date"
        await pilot.press("s")
        assert screen_of(app).list.sort == "model", "the column after that of the date"
        seen = []
        for _ in COLUMNS:
            await pilot.press("s")
            seen.append(screen_of(app).list.sort)
            before = [
                row.name for row in screen_of(app).list.sessions if not row.problem
            ]
            await pilot.press("S")
            await until_screen(pilot, Picker)
            await pilot.press("enter")
            await until(pilot, lambda: app.screen is screen_of(app))
            after = [
                row.name for row in screen_of(app).list.sessions if not row.problem
            ]
            assert screen_of(app).list.sort == seen[-1], "the same column, reversed"
            if seen[-1] in ("name", "tokens", "mae"):
                assert after == before[::-1]
                assert f"by {COLUMNS[seen[-1]].title}," in said(app)
            if seen[-1] == "tokens":
                assert before == ["good", "other"]
                assert names(app)[-1] == "broken"
        assert seen == [*COLUMNS]
        here = screen_of(app).list.here
        assert here is not None
        assert here.name == "good"
        await pilot.click("#sessions-list", offset=(3, 1))
        await until(
            pilot,
            lambda: (
                screen_of(app).list.sort == "name"
                and names(app) == ["broken", "good", "other"]
            ),
        )
        await pilot.click("#sessions-list", offset=(3, 1))
        await until(pilot, lambda: names(app) == ["other", "good", "broken"])
        assert "session▾" in screen_text(app)


async def test_a_click_selects_a_session_and_a_second_one_opens_it(
    sessions: Path,
) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=(120, 24)) as pilot:
        await until(pilot, lambda: len(names(app)) == 3)
        screen = screen_of(app)
        at = next(
            i
            for i, name in enumerate(names(app))
            if name in ("good", "other") and i != screen.list.selected
        )
        await pilot.click("#sessions-list", offset=(3, screen.list.fixed + at))
        await until(pilot, lambda: screen.list.selected == at)
        await pilot.pause(0.1)
        assert app.screen is screen, (
            "to rename or delete it, it must be selected by itself"
        )
        await pilot.click("#sessions-list", offset=(3, screen.list.fixed + at))
        await until_screen(pilot, ExplorerScreen)


def row(name: str, **values: Any) -> SessionRow:
    return SessionRow(Path(name), name, **values)


def test_rows_without_a_value_come_last_either_way() -> None:
    rows = [
        row("a", mae=0.1, verdict="caution"),
        row("b"),
        row("c", mae=0.3, verdict="not_comparable"),
    ]
    for down, wanted in ((True, "cab"), (False, "acb")):
        for column in ("mae", "verdict"):
            assert (
                "".join(found.name for found in sorted_rows(rows, column, down))
                == wanted
            )
    assert [found.name for found in rows if matches(found, "NOT comp")] == ["c"]


@pytest.mark.parametrize("width", range(40, 260, 7))
def test_columns_fit_every_width_and_the_important_ones_come_first(width: int) -> None:
    columns = layout(width)
    assert sum(cells + 1 for _, cells in columns) + 1 <= width
    kept = {name for name, _ in columns}
    others = [cells + 1 for name, cells in columns if name != "name"]
    spare = width - 1 - sum(others) - COLUMNS["name"].cells - 1
    for name in COLUMNS.keys() - kept:
        less_important = [
            other for other in kept if COLUMNS[other].rank > COLUMNS[name].rank
        ]
        given_up = sum(COLUMNS[other].cells + 1 for other in less_important)
        assert COLUMNS[name].cells + 1 > spare or given_up, name
    if width >= 59:
        assert kept >= {"name", "state", "verdict", "mae"}
    if width >= 80:
        assert "cause" in kept
    if width >= 120:
        assert "tokens" in kept
        assert dict(columns)["state"] >= 18


@pytest.mark.parametrize("width", range(60, 201, 20))
def test_a_column_that_rows_are_sorted_by_is_shown(width: int) -> None:
    for name in COLUMNS:
        columns = layout(width, name)
        assert name in dict(columns)
        assert "name" in dict(columns)
        assert sum(cells + 1 for _, cells in columns) + 1 <= width


@pytest.mark.parametrize("width", [119, 120, 200])
def test_a_cause_has_the_cells_that_no_running_session_needs(width: int) -> None:
    busy = dict(layout(width, any_runs=True))
    idle = dict(layout(width, any_runs=False))
    assert idle["state"] == len("complete") + 1
    assert idle["cause"] - busy["cause"] == busy["state"] - idle["state"] > 0
    assert sum(busy.values()) == sum(idle.values())


def test_a_running_state_fits_its_column() -> None:
    busy = row("a", state="running", progress=1.0, left=35_000.0)
    assert state_words(busy, 18) == "running 100% 9h43m"
    assert state_words(replace(busy, progress=0.45, left=80.0), 12) == "run 45% 1:20"
    assert state_words(replace(busy, progress=None, left=None), 12) == "run"
    assert state_words(replace(busy, progress=0.45, left=80.0), 9) == "run 45%"


@pytest.mark.parametrize("shape", [(60, 20), (80, 24), (120, 36), (200, 60)])
async def test_what_matters_is_seen_at_every_size(
    sessions: Path, shape: tuple[int, int]
) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=shape) as pilot:
        await at(pilot, app, "good", lambda found: found.verdict is not None)
        shown = screen_text(app)
        assert all(
            word in shown
            for word in ("good", "caution", "complete", "MAE", "format 99")
        )
        if shape[0] != 80:
            assert "generated" in shown, "the title, where columns leave room for it"


async def test_rename_asks_for_a_name_and_says_what_is_wrong_with_one(
    sessions: Path,
) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await at(pilot, app, "good")
        await pilot.press("f2")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, LinePrompt) and "Rename good" in screen_text(app)
            ),
        )
        await pilot.press("ctrl+u", *"other", "enter")
        await until_shown(pilot, "other exists already")
        await pilot.press("ctrl+u", *"a/b", "enter")
        await until_shown(pilot, "is a path")
        await pilot.press("ctrl+u", *"better", "enter")
        await until(pilot, lambda: "better" in names(app) and "good" not in names(app))
        here = screen_of(app).list.here
        assert here is not None
        assert here.name == "better"
        assert "good is now better" in said(app)
        assert (sessions / "better" / "session.json").exists()
        assert not (sessions / "good").exists()
        await pilot.press("f2", "escape")
        await until(pilot, lambda: app.screen is screen_of(app))
        assert "better" in names(app)


async def test_import_asks_for_a_path_and_lists_what_it_brought(
    sessions: Path, tmp_path: Path
) -> None:
    make_session(tmp_path / "else" / "good", 200, 2, 5, captures=2)
    (tmp_path / "own.jsonl").write_text(
        '{"token_ids": [1, 2], "captures": {"trainer": [null, -1], "vllm": [null, -2]}}'
    )
    (tmp_path / "notes.txt").write_text("no session")
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await at(pilot, app, "good")
        await pilot.press("I", *"nowhere", "enter")
        await until_shown(pilot, "no such folder or file")
        await pilot.press("ctrl+u", *str(tmp_path / "notes.txt"), "enter")
        await until(
            pilot, lambda: f"noneof{','.join(format_names())}:" in squeezed(app)
        )
        await pilot.press("escape")
        lines(tmp_path / "served.jsonl", [sglang(draw(1)), sglang(draw(2))])
        events(tmp_path / "stream.txt", chat_chunks(draw(1)))
        imports = (
            (tmp_path / "else" / "good", "good-2"),
            (tmp_path / "served.jsonl", "served"),
            (tmp_path / "stream.txt", "stream.txt"),
            (tmp_path / "own.jsonl", "own"),
        )
        for path, name in imports:
            await pilot.press("I", *str(path), "enter")
            await until(
                pilot,
                lambda name=name: (
                    name in names(app) and f"{name} is imported" in said(app)
                ),
            )  # type: ignore[misc]
            here = screen_of(app).list.here
            assert here is not None
            assert here.name == name
            assert here.problem is None
        await until(
            pilot,
            lambda: (row := screen_of(app).list.here) is not None and row.mae == 1.0,
        )
        await pilot.press("enter")
        await until_screen(pilot, ExplorerScreen)
        await until_shown(pilot, "<id 2>")


async def test_delete_asks_with_name_and_size_and_no_is_no(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await at(pilot, app, "good")
        found = folder_size(sessions / "good")
        asked = f"Delete good? {found.files} files, {byte_size(found.size)}"
        for no in ("enter", "n", "escape", "q"):
            await pilot.press("D")
            await until(
                pilot,
                lambda: isinstance(app.screen, Confirm) and asked in screen_text(app),
            )
            await pilot.press(no)
            await until(pilot, lambda: app.screen is screen_of(app))
        assert (sessions / "good").exists()
        await pilot.press("D")
        await until_screen(pilot, Confirm)
        await pilot.press("down", "enter")
        await until(
            pilot,
            lambda: (
                names(app) == ["other", "broken"] and "good is deleted" in said(app)
            ),
        )
        assert not (sessions / "good").exists()
        await at(pilot, app, "broken")
        await pilot.press("delete")
        await until_screen(pilot, Confirm)
        await pilot.press("y")
        await until(pilot, lambda: names(app) == ["other"])
        (sessions / "link").symlink_to(sessions / "other")
        await at(pilot, app, "link")
        await pilot.press("D")
        await until_shown(pilot, "it is a link: what it leads to stays")
        await pilot.press("y")
        await until(pilot, lambda: names(app) == ["other"])


async def test_a_session_deleted_meanwhile_is_one_line(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=MEDIUM) as pilot:
        await at(pilot, app, "good")
        await pilot.press("D")
        await until_screen(pilot, Confirm)
        shutil.rmtree(sessions / "good")
        await pilot.press("y")
        await until_shown(pilot, "was renamed or deleted meanwhile")


async def test_a_running_session_is_not_renamed_or_deleted_and_is_cancelled_after_asking(
    sessions: Path,
) -> None:
    app = make_app(None, sessions)
    with held(sessions / "good") as holder:
        async with app.run_test(size=SMALL) as pilot:
            await at(pilot, app, "good", running)
            for key, word in (("f2", "renamed"), ("D", "deleted"), ("f5", "resumed")):
                await pilot.press(key)
                await until(
                    pilot,
                    lambda word=word: (
                        f"is being written and cannot be {word}" in said(app)
                    ),
                )
                assert app.screen is screen_of(app)
            await pilot.press("X")
            await until(
                pilot,
                lambda: (
                    isinstance(app.screen, Confirm)
                    and "End the capture of good?" in screen_text(app)
                ),
            )
            await pilot.press("n")
            await until(pilot, lambda: app.screen is screen_of(app))
            assert holder.process.poll() is None
            await pilot.press("X")
            await until_screen(pilot, Confirm)
            await pilot.press("y")
            await until(pilot, lambda: "good is cancelled" in said(app))
            await at(pilot, app, "good", lambda found: found.state == "complete")
            assert lock.process_start(holder.worker) is None


async def test_a_capture_that_was_killed_runs_no_more(sessions: Path) -> None:
    app = make_app(None, sessions)
    with held(sessions / "good") as holder:
        async with app.run_test(size=SMALL) as pilot:
            await at(pilot, app, "good", running)
            holder.process.kill()
            holder.process.wait()
            await at(pilot, app, "good", lambda found: found.state == "complete")
            assert (sessions / "good" / "lock").exists()


async def test_resume_is_offered_where_something_is_missing(
    sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(sessions / "other")
    first = manifest.captures[0]._replace(
        status="failed", failure="engine died\nTraceback"
    )
    write_manifest(
        sessions / "other", manifest._replace(captures=(first, *manifest.captures[1:]))
    )
    captured_here(sessions / "other")
    started: list[Path] = []
    monkeypatch.setattr(
        "logdrift.core.capture.background.start_background", started.append
    )
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await at(pilot, app, "good")
        await pilot.press("f5")
        assert "good lacks nothing" in said(app)
        await at(pilot, app, "other")
        assert "failed: engine died  (F5 tries again)" in screen_text(app)
        await pilot.press("f5")
        await until(pilot, lambda: "goes on in the background" in said(app))
        assert started == [sessions / "other"]


async def test_two_sessions_are_compared(sessions: Path) -> None:
    make_session(sessions / "after", 600, 6, 5, captures=4)
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await at(pilot, app, "good", lambda found: found.verdict is not None)
        await pilot.press("space")
        assert "compares it with good" in said(app)
        assert "•good" in screen_text(app)
        await pilot.press("space")
        assert "•" not in screen_text(app)
        await pilot.press("space")
        await at(pilot, app, "broken")
        await pilot.press("space")
        assert "broken does not open" in said(app)
        assert screen_of(app).list.marked is not None
        await at(pilot, app, "after")
        await pilot.press("space")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, DiffScreen)
                and "good → after" in screen_text(app)
            ),
        )
        assert screen_text(app).lstrip().startswith("No change at all: MAE")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen_of(app))
        await pilot.press("space", "escape")
        assert screen_of(app).list.marked is None
        await pilot.press("space")
        await at(pilot, app, "other")
        await pilot.press("space")
        await until_shown(pilot, "nothing in common")


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (12_345, "12.3 kB"),
        (999_600, "1 MB"),
        (5 * 10**12, "5 TB"),
    ],
)
def test_sizes_are_short(count: int, words: str) -> None:
    assert byte_size(count) == words


async def test_sessions_are_compared_whatever_a_fix_changed(tmp_path: Path) -> None:
    """`hf_overrides` is the usual fix, and its effect the usual question."""
    rows = [[-1.0, -2.0, -0.5, -1.5]] * 2
    facts: Fields = {
        "config_overrides": {
            "rope_parameters": {"full_attention": {"rope_theta": 1e6}},
            "sliding_window": None,
        },
        "extra": {"list": [1, {"x": None}]},
    }
    sessions = tmp_path / "sessions"
    for name, changed in (("before", {}), ("fixed", facts)):
        captures = [
            capture("trainer/prefill", rows),
            capture("vllm/prefill", rows, facts=changed),
        ]
        write_session(sessions / name, [1, 1], captures)
    app = make_app(None, sessions)
    async with app.run_test(size=SMALL) as pilot:
        await at(pilot, app, "before")
        await pilot.press("space")
        await at(pilot, app, "fixed")
        await pilot.press("space")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, DiffScreen)
                and "before → fixed" in screen_text(app)
            ),
        )
        assert isinstance(app.screen, DiffScreen)
        words = " ".join(app.screen.text_to_save().split())
        assert "rope_parameters.full_attention.rope_theta: not set → 1000000" in words
        assert "sliding_window: not set → null" in words
