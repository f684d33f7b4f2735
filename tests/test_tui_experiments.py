"""The experiments screen: every command by each of its keys, on real background runs of
engines that end at once or wait.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from logdrift.core import paths
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.diagnose.causes import CAUSES
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.investigate.experiment_jobs import LOG, cancel_experiments, running
from logdrift.core.session.experiments import FOLDER
from logdrift.core.session.lock import process_start
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.actions import commands
from logdrift.tui.glyphs import ARROW
from logdrift.tui.models.experiment_words import (
    CHANGES,
    cause_title,
    change_words,
    what_it_does,
    what_it_tells,
)
from logdrift.tui.models.experiments import ExperimentRow, chosen_at_first
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.screens.experiments import ExperimentsScreen
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.screens.why import WhyScreen
from tests.common import Fields
from tests.made_experiments import (
    PROMPTS,
    named,
    record_of,
    rows,
    save_record,
    session_of,
    simple,
    waiting,
    with_python,
)
from tests.made_sessions import capture, write_session
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    copied_table,
    detail,
    explorer,
    head,
    joined,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
TIMES = [
    {"t": 100.0, "type": "backend", "backend": "trainer"},
    {"t": 105.0, "type": "facts", "backend": "trainer"},
    {"t": 107.0, "type": "captured", "label": "trainer/prefill"},
    {"t": 110.0, "type": "backend", "backend": "vllm"},
    {"t": 140.0, "type": "facts", "backend": "vllm"},
    {"t": 150.0, "type": "captured", "label": "vllm/prefill"},
]
"""Events by which two captures of the trainer take 9 seconds, and two of vLLM 50."""
HOSTILE = "\x1b]0;owned\x07 \u202egnp\nnext"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session for which experiments are proposed; none of its engines starts: their
    interpreter ends at once.
    """
    made = with_python(simple(tmp_path / "s")[0], "/bin/false")
    yield made
    if running(made.folder):
        cancel_experiments(made.folder)


def pair_of(session: Session) -> Pair:
    return make_pair(session, "trainer/prefill", "vllm/prefill")


def write_events(folder: Path, *events: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.jsonl").write_text(
        "".join(json.dumps(event) + "\n" for event in events)
    )


async def opened(pilot: Any) -> ExperimentsScreen:
    """In: the explorer, why, experiments."""
    await judged(pilot)
    await pilot.press("w")
    await until(
        pilot,
        lambda: (
            isinstance(pilot.app.screen, WhyScreen)
            and pilot.app.screen.found is not None
        ),
    )
    await pilot.press("x")
    await until_screen(pilot, ExperimentsScreen)
    screen: ExperimentsScreen = pilot.app.screen
    await until(pilot, lambda: screen.found is not None)
    return screen


async def started(pilot: Any, screen: ExperimentsScreen, key: str = "x") -> None:
    """Ask for a start and say yes."""
    await pilot.press(key)
    await until_screen(pilot, Confirm)
    await pilot.press("y")
    await until_back(pilot, screen)


# -- every command of the scope, by each of its keys

Press = Callable[[Any, ExperimentsScreen, str, pytest.MonkeyPatch], Awaitable[None]]


async def choose_row(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    await until(pilot, lambda: "1 chosen, 1 of unknown length" in head(screen))
    await pilot.press(key)
    await until(pilot, lambda: "none chosen: Space chooses one, a all" in head(screen))
    assert screen.table.selected == 1
    assert lines(screen.table)[2].startswith("○")
    await pilot.press(key)
    await until(pilot, lambda: "1 chosen" in head(screen))
    assert screen.chosen == {screen.rows[1].id}
    assert lines(screen.table)[3].startswith("●")


async def choose_all(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    await pilot.press(key)
    await until(pilot, lambda: "none chosen" in head(screen))
    await pilot.press(key)
    offered = [row for row in screen.rows if row.state == "proposed"]
    await until(pilot, lambda: f"{len(offered)} chosen" in head(screen))
    assert all(
        line.startswith("●") for line in lines(screen.table)[2 : 2 + len(offered)]
    )


async def budget(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    await pilot.press(key)
    await until_screen(pilot, LinePrompt)
    assert pilot.app.screen.text == "10m"
    await pilot.press("ctrl+u", *"soon", "enter")
    await until_shown(pilot, "soon: give a time such as 90s, 10m or 1h")
    assert "--budget" not in screen_text(pilot.app)
    await pilot.press("ctrl+u", *"90s", "enter")
    await until(pilot, lambda: "budget 90s" in head(screen))
    await pilot.press(key, "escape")
    await until(
        pilot, lambda: pilot.app.screen is screen and "budget 90s" in head(screen)
    )


async def start(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    app = pilot.app
    folder = screen.session.folder / FOLDER
    for no in ("enter", "n", "escape"):
        await pilot.press(key)
        await until_screen(pilot, Confirm)
        asked = joined(screen_text(app))
        assert "Run 1 experiment in the background?" in asked
        assert (
            "Yes, start engines for 1 experiment now, 1 of unknown length, at most 10m"
            in asked
        )
        await pilot.press(no)
        await until_back(pilot, screen)
    assert not folder.exists()
    await started(pilot, screen, key)
    await until(
        pilot,
        lambda: (
            screen.rows[0].state == "failed"
            and "the experiments have ended" in screen_text(app)
        ),
    )
    assert (
        screen.rows[0].outcome
        == "failed: transformers worker ended with exit code 1"
        in detail(screen)
    )
    assert lines(screen.table)[2].startswith("✗ ")
    assert "none chosen" in head(screen)
    found = [row.state for row in screen.rows[1:10]]
    assert found == ["proposed"] * 9
    assert len(screen.rows) == 10, "what means nothing here is not offered"
    assert running(screen.session.folder) is None
    assert (folder / screen.rows[0].id / "logs" / "trainer.log").exists()
    assert (folder / LOG).read_text() == ""


async def cancel_run(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    app = pilot.app
    folder = screen.session.folder
    await pilot.press(key)
    await until_shown(pilot, "no experiment runs")
    await started(pilot, screen)
    workers = folder.parent / "workers"
    await until(pilot, lambda: screen.rows[0].state == "running" and workers.exists())
    await until(
        pilot,
        lambda: (
            "runs in the background: 1 of 1, trainer: dtype=float32" in head(screen)
        ),
    )
    assert "so far" in head(screen)
    assert lines(screen.table)[2].startswith("▶")
    screen.say("")
    keys = text(screen.hint_line)
    assert "X cancel" in keys
    assert "x start" not in keys
    await pilot.press("x")
    await until_shown(pilot, "experiments run already (X cancels them)")
    await pilot.press(key)
    await until_screen(pilot, Confirm)
    assert "Yes, cancel: what is done stays" in screen_text(app)
    await pilot.press("enter")
    await until_back(pilot, screen)
    assert running(folder) is not None
    await pilot.press(key, "y")
    await until(pilot, lambda: "the last run was cancelled" in head(screen))
    assert running(folder) is None
    assert screen.rows[0].state == "proposed"
    assert all(process_start(int(pid)) is None for pid in workers.read_text().split())
    # What can be done next is said as well.
    assert "budget 10m · none chosen: Space chooses one, a all" in head(screen)


async def reasons(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    before = len(screen.rows)
    await pilot.press(key)
    await until(pilot, lambda: len(screen.rows) > before)
    await pilot.press(key)
    await until(pilot, lambda: len(screen.rows) == before)


async def open_experiment(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    app = pilot.app
    # One that has not run has no session to open: the key asks whether it shall run.
    await pilot.press(key)
    await until_shown(pilot, "in the background?")
    await pilot.press("escape")
    await until_back(pilot, screen)
    await started(pilot, screen)
    await until(pilot, lambda: screen.rows[0].state == "failed")
    await pilot.press(key)
    await until_screen(pilot, ExplorerScreen)
    assert (
        explorer(app).session.folder
        == screen.session.folder / FOLDER / screen.rows[0].id
    )
    await pilot.press("q")
    await until_back(pilot, screen)


async def copy(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    patch.setattr(pilot.app._driver, "write", sent.append)
    await pilot.press(key)
    copied = copied_table(sent)
    expected = ["", "change", "takes", "outcome", "backend", "cause"]
    assert copied[0] == expected
    assert copied[1] == [
        "●",
        "dtype=float32",
        "unknown",
        "",
        "trainer+vllm",
        "compute_dtype",
    ]
    found = [line[5] for line in copied[1:]]
    assert found == [row.cause for row in screen.rows]
    await until_shown(pilot, "copied")


async def save(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    await pilot.press(key)
    await until_screen(pilot, LinePrompt)
    assert pilot.app.screen.text == "experiments.tsv"
    await pilot.press("enter")
    await until(
        pilot,
        lambda: pilot.app.screen is screen and "written: " in screen_text(pilot.app),
    )
    written = Path("experiments.tsv").read_text(encoding="utf-8")
    assert written == screen.table.copied() + "\n"
    assert written.count("\n") == 1 + len(screen.rows)


async def shift(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    """Either way, at 60 columns, where the last one is not seen at first."""
    there, back = ("right", "left") if key in ("right", "left") else ("l", "h")
    assert lines(screen.table)[1].split()[:2] == ["change", "takes"]
    assert lines(screen.table)[1].endswith("›")
    for seen in range(3):
        await pilot.press(there)
        await until(
            pilot,
            lambda seen=seen: (
                screen.table.first == seen + 2 or "cause" in lines(screen.table)[1]
            ),
        )  # type: ignore[misc]
    heads = lines(screen.table)[1]
    assert heads.split()[0] == "‹change"
    assert "cause" in heads
    assert "takes" not in heads
    await pilot.press(back, back, back)
    await until(
        pilot, lambda: lines(screen.table)[1].split()[:2] == ["change", "takes"]
    )


async def back(
    pilot: Any, screen: ExperimentsScreen, key: str, patch: pytest.MonkeyPatch
) -> None:
    await pilot.press(key)
    await until_screen(pilot, WhyScreen)
    await until(pilot, lambda: screen._stop.is_set() and not screen.is_attached)


PRESSED: dict[str, Press] = {
    "choose_row": choose_row,
    "choose_all": choose_all,
    "budget": budget,
    "start": start,
    "cancel_run": cancel_run,
    "open_experiment": open_experiment,
    "reasons": reasons,
    "copy": copy,
    "save": save,
    "shift(1)": shift,
    "shift(-1)": shift,
    "back": back,
}
KEYS = [
    (command.name, key) for command in commands("experiments") for key in command.keys
]


def test_every_command_of_the_scope_is_pressed() -> None:
    assert set(PRESSED) == {command.name for command in commands("experiments")}
    found = {name for name, _ in KEYS}
    assert found == set(PRESSED), "each of them has a key"


@pytest.mark.parametrize(("name", "key"), KEYS)
async def test_a_key_does_its_command(
    session: Session, name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "cancel_run":
        session = with_python(session, waiting(session.folder.parent))
    app = make_app(session.folder)
    async with app.run_test(
        size=(60, 20) if name.startswith("shift") else (80, 24)
    ) as pilot:
        screen = await opened(pilot)
        await PRESSED[name](pilot, screen, key, monkeypatch)


# -- starting


async def test_enter_runs_its_row_alone_whatever_is_chosen(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await pilot.press("down", "down")
        await until(
            pilot, lambda: "1 chosen" in head(screen) and screen.table.selected == 2
        )
        await started(pilot, screen, "enter")
        await until(pilot, lambda: screen.rows[2].state == "failed")
        assert [row.state for row in screen.rows].count("failed") == 1
        # The why screen below weighs it: a failed experiment says nothing, but it is
        # told.
        await pilot.press("q")
        await until_screen(pilot, WhyScreen)


async def test_what_cannot_be_started_is_an_error_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, _ = simple(tmp_path / "made")
    monkeypatch.setattr(paths, "samples_folder", lambda: tmp_path)
    app = make_app(shipped.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await pilot.press("x", "y")
        await until_screen(pilot, TextScreen)
        assert "samples that come with logdrift" in joined(screen_text(app))
        await pilot.press("escape")
        await until_back(pilot, screen)
        assert "1 chosen" in head(screen), "it can be asked for again"


async def test_the_budget_chooses_what_would_tell_if_it_fits(session: Session) -> None:
    """Rounding is what is likely here, and float32 on both sides, in 59 seconds, is
    what proves or refutes it.
    """
    write_events(session.folder, *TIMES)
    app = make_app(session.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot)
        for typed, chosen in (
            ("58s", set()),
            ("1m", {screen.rows[0].id}),
            ("2h", {screen.rows[0].id}),
        ):
            await pilot.press("M")
            await until_screen(pilot, LinePrompt)
            await pilot.press("ctrl+u", *typed, "enter")
            await until(pilot, lambda typed=typed: f"budget {typed} · " in head(screen))  # type: ignore[misc]
            assert screen.chosen == chosen


def test_as_many_as_fit_are_chosen_and_one_of_unknown_length() -> None:
    def row(name: str, seconds: float | None, **more: Any) -> ExperimentRow:
        return ExperimentRow(
            id=name,
            cause="attention",
            title=name,
            backend="vllm",
            path="prefill",
            change=name,
            combined=False,
            seconds=seconds,
            **{"deciding": True, **more},
        )

    rows = [
        row("first", 40.0),
        row("unknown", None),
        row("second", 30.0),
        row("another unknown", None),
        row("last", 10.0),
        row("free", 90.0, runs=False),
        row("done", 1.0, state="done"),
        row("of no use", 1.0, deciding=False),
        row("impossible", 1.0, state="left out"),
    ]
    assert chosen_at_first(rows, 60.0) == {"first", "unknown", "last", "free"}
    assert chosen_at_first(rows, 5.0) == {"unknown", "free"}


async def test_what_is_left_out_says_why_and_is_not_chosen(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        offered = len(screen.rows)
        assert screen.found is not None
        left_out = len(screen.found.rows) - offered
        assert left_out > 5
        assert f"left out: {left_out} options" in head(screen)
        await pilot.press("v")
        await until(pilot, lambda: len(screen.rows) == offered + left_out)
        await pilot.press("end")
        await until(
            pilot, lambda: screen.here is not None and screen.here.state == "left out"
        )
        assert "left out: it needs" in detail(screen) or "left out: " in detail(screen)
        before = screen.chosen
        await pilot.press("space")
        await until(pilot, lambda: "left out: " in screen_text(app).splitlines()[-1])
        assert screen.chosen == before
        await pilot.press("enter")
        await until(pilot, lambda: "left out: " in screen_text(app).splitlines()[-1])
        assert app.screen is screen
        # Hidden again, with the cursor within what is left.
        await pilot.press("v")
        await until(pilot, lambda: len(screen.rows) == offered)
        assert screen.here is not None
        assert screen.here.state == "proposed"


# -- what is shown


def test_every_change_that_can_run_is_said_in_plain_words(session: Session) -> None:
    """Of every engine, also of those that are added: and no words are left over."""
    runnable = [
        knob
        for cause in CAUSES
        for knobs in cause.knobs.values()
        for knob in knobs
        if knob.run
    ]
    used = set()
    for knob in runnable:
        ((name, value),) = knob.change.items()
        words = change_words(name, value)
        assert words and "=" not in words, knob.setting
        used.add(words)
    assert used == set(CHANGES.values())
    pair = pair_of(session)
    for experiment in named(session, pair).values():
        assert what_it_does(experiment).endswith(".")
        tells = what_it_tells(experiment)
        if experiment.still:
            assert tells.startswith("No number may move")
        elif experiment.combined:
            assert "hint" in tells
            assert "proven" not in tells
        else:
            proves = cause_title(experiment.proves or experiment.cause)
            assert tells.startswith(f"If the gap goes, {proves} is proven")


def with_outcomes(session: Session) -> dict[str, str]:
    """An experiment that explains, one that failed and one of the scorer that moved:
    what their rows must say.
    """
    found = named(session, pair_of(session))
    first, failed, still = (
        found[name]
        for name in (
            "trainer: dtype=float32 and vllm: dtype=float32",
            "vllm: model_impl=transformers",
            "trainer: batch_tokens=64",
        )
    )
    changed = (replace(failed.sides[0], changes={"model_impl": HOSTILE}),)
    outcomes = [
        Outcome(
            first,
            "explains",
            0.05,
            0.01,
            0.8,
            0.7,
            0.9,
            0.0,
            "said",
            900,
            0.04,
            repeats=2,
            method="sequences",
        ),
        Outcome(
            replace(failed, title=f"vllm: {HOSTILE}", sides=changed),
            "failed",
            reason=f"it died {HOSTILE}",
        ),
        Outcome(
            still,
            "no effect",
            0.05,
            0.05,
            0.0,
            -0.1,
            0.1,
            0.0,
            "all moved",
            900,
            0.04,
            finding=True,
            repeats=2,
        ),
    ]
    for outcome in outcomes:
        save_record(
            session, outcome.experiment.id, record_of(pair_of(session), outcome)
        )
    return {
        first.id: "explains 80% of the MAE (70% to 90%): MAE 0.05 → 0.01; said",
        failed.id: "failed: it died <0x1B>]0;owned<0x07>",
        still.id: "no effect: MAE 0.05 → 0.05",
    }


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (200, 60)])
async def test_rows_say_state_change_and_outcome_at_every_size(
    session: Session, size: tuple[int, int]
) -> None:
    write_events(session.folder, *TIMES)
    said = with_outcomes(session)
    app = make_app(session.folder, depth="none" if size[0] == 60 else "256")
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        await pilot.press("v")
        await until(pilot, lambda: any(row.state == "left out" for row in screen.rows))
        await until(pilot, lambda: "budget 10m · " in head(screen))
        assert head(screen).startswith(
            f"trainer/prefill {ARROW} vllm/prefill budget 10m · "
        )
        states = {row.id: row.state for row in screen.rows}
        found = [states[id] for id in said]
        expected = ["done", "failed", "done"]
        assert found == expected
        width = screen.table.inner_width
        for place, row in enumerate(screen.rows):
            await until(pilot, lambda place=place: screen.table.selected == place)  # type: ignore[misc]
            (line,) = [
                text
                for y, text in enumerate(lines(screen.table))
                if y - 2 + screen.table.top == place and y >= 2
            ]
            mark = {"done": "✓", "failed": "✗", "proposed": "○", "left out": "–"}[
                row.state
            ]
            assert line[0] == ("●" if row.id in (screen.chosen or ()) else mark)
            assert visible(row.change)[:12] in line
            assert row.takes in line
            assert size[0] < 200 or row.short in line, (
                "where there is room for the column"
            )
            told = said.get(row.id, cause_title(row.cause.partition(", ")[0]))
            assert row.state == "left out" or told in detail(screen)
            assert joined(row.words) in detail(screen)
            assert row.state != "left out" or row.outcome[:50] in detail(screen), (
                "the reason is said"
            )
            assert (
                sum(cell_len(run) for run, _ in screen.table.runs(place, width))
                <= width
            )
            for runs in screen._detail():
                assert sum(cell_len(run) for run, _ in runs) < size[0]
            assert not [
                char
                for char in screen_text(app)
                if not (char.isprintable() or char == "\n")
            ]
            await pilot.press("down")
        # Done and failed ones are not among "all that have not run", nor those that are
        # left out.
        await pilot.press(*"aa" if screen.chosen else "a")
        offered = [row for row in screen.rows if row.state == "proposed"]
        await until(pilot, lambda: f"{len(offered)} chosen" in head(screen))
        assert "numbers moved" in screen.text_to_save()
        assert "explains 80%" in screen.text_to_save()
        assert "\x1b" not in screen.text_to_save()
        assert "\u202e" not in screen.text_to_save()
        assert len(screen.text_to_save().split("\n")) == 1 + len(screen.rows)


@pytest.mark.parametrize("wrong", [{"changes": "dtype"}, {"path": 3}])
async def test_a_damaged_record_is_left_out_and_the_others_stand(
    session: Session, wrong: Fields
) -> None:
    said = with_outcomes(session)
    pair = pair_of(session)
    first = named(session, pair)["trainer: attn_implementation=eager"]
    record = record_of(pair, Outcome(first, "failed", reason="never shown"))
    record["experiment"]["sides"][0].update(wrong)
    save_record(session, first.id, record)
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        states = {row.id: row.state for row in screen.rows}
        assert [states[id] for id in (*said, first.id)] == [
            "done",
            "failed",
            "done",
            "proposed",
        ]


async def test_a_long_reason_is_cut_with_an_ellipsis_and_hostile_text_is_visible(
    session: Session,
) -> None:
    asked = {"t": 1.0, "type": "plan", "experiments": []}
    write_events(
        session.folder / FOLDER,
        asked,
        {"t": 2.0, "type": "failed", "error": f"{HOSTILE} " + "because " * 40},
    )
    app = make_app(session.folder)
    async with app.run_test(size=(60, 20)) as pilot:
        screen = await opened(pilot)
        assert head(screen).count("because") > 3
        assert "… budget 10m · 1 chosen" in head(screen)
        assert "the last run failed: <0x1B>]0;owned<0x07>" in head(screen)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({"type": "cancelled"}, "the last run was cancelled"),
        (
            {"type": "experiment", "state": "begun", "title": HOSTILE},
            "the last run ended in the middle of <0x1B>]0;owned",
        ),
        ({"type": "experiment", "state": "ended", "id": ["no id"]}, ""),
        ({"type": "finished"}, ""),
    ],
)
async def test_how_the_last_run_ended(
    session: Session, last: Fields, said: str
) -> None:
    """One that was killed had no time to say so: its last word is that it began
    something.
    """
    write_events(
        session.folder / FOLDER,
        {"t": 1.0, "type": "plan", "experiments": []},
        {"t": 2.0, **last},
    )
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: "budget 10m · 1 chosen" in head(screen))
        assert said in head(screen)
        assert ("the last run" in head(screen)) == bool(said)


@pytest.mark.parametrize(
    ("other", "planned", "said"),
    [
        (
            "vllm/prefill",
            False,
            (
                "it was imported and cannot be captured again: let an engine score its"
                " token ids"
            ),
        ),
        (
            "trainer/prefill#2",
            True,
            "both are one capture, repeated, so no option is between them",
        ),
    ],
)
async def test_where_nothing_is_proposed_the_reason_is_the_true_one(
    tmp_path: Path, other: str, planned: bool, said: str
) -> None:
    sides = [capture("trainer/prefill", rows(1, 0.03)), capture(other, rows(2, 0.03))]
    if planned:
        session = session_of(tmp_path / "s", sides)
    else:
        session = write_session(tmp_path / "s", [4] * PROMPTS, sides, per_part=8)
    app = make_app(session.folder, pair=("trainer/prefill", other))
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: f"no experiment is proposed: {said}" in head(screen))
        await pilot.press("space", "a", "right", "enter", "x")
        await until_shown(pilot, "there is no experiment to run")
        assert app.screen is screen
