"""Identity and layers asked from their screens: engines that end at once, that wait and
are cancelled, and real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.investigate.question_jobs import (
    FOLDERS,
    cancel_question,
    start_identity,
)
from logdrift.core.session import lock
from logdrift.core.session.identity import saved_failures, saved_identities
from logdrift.core.session.layers import saved_layers
from logdrift.core.session.lock import process_start, read_lock
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models.question_watch import QuestionState, look_at_question
from logdrift.tui.screens.asking import AskingScreen
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.screens.confirm_start import ConfirmStart
from logdrift.tui.screens.identity import IdentityScreen
from logdrift.tui.screens.layers import LayersScreen
from logdrift.tui.screens.texts import Picker, TextScreen
from logdrift.tui.screens.why import WhyScreen
from tests.common import Fields, refused
from tests.made_experiments import rows, session_of, simple, waiting, with_python
from tests.made_sessions import capture, edit_manifest
from tests.shared_captures import SharedCaptures, copy_of
from tests.tui_screen import (
    MEDIUM,
    SMALL,
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
QUESTIONS = ("identity", "layers")
KEYS = {"identity": "i", "layers": "y"}
SCREENS: dict[str, type[AskingScreen]] = {
    "identity": IdentityScreen,
    "layers": LayersScreen,
}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Trainer and vLLM, whose interpreters end at once."""
    made = with_python(simple(tmp_path / "s")[0], "/bin/false")
    yield made
    _end_all(made)


def _end_all(session: Session) -> None:
    for question, below in FOLDERS.items():
        if read_lock(session.folder / below):
            cancel_question(session.folder, question)


async def opened(pilot: Any, question: str) -> Any:
    await judged(pilot)
    await pilot.press("l", "w")
    why: Any = None

    def explained() -> bool:
        nonlocal why
        why = pilot.app.screen
        return isinstance(why, WhyScreen) and why.found is not None

    await until(pilot, explained)
    await pilot.press(KEYS[question])
    await until(pilot, lambda: isinstance(pilot.app.screen, SCREENS[question]))
    screen = pilot.app.screen
    await until(pilot, lambda: screen.state is not None)
    return screen


async def say_yes(pilot: Any, question: str) -> None:
    """To the whole question: all backends, or both engines."""
    await pilot.press("x")
    await until_screen(pilot, Picker)
    if question == "identity":
        await pilot.press("down", "enter")
    else:
        await pilot.press("y")


@pytest.mark.parametrize("question", QUESTIONS)
async def test_no_comes_first_and_starts_nothing(
    session: Session, question: str
) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, question)
        for leave in ("enter", "escape"):
            await pilot.press("x")
            await until_screen(pilot, Picker)
            assert "No, start nothing" in screen_text(app)
            assert "trainer, vllm" in joined(screen_text(app))
            await pilot.press(leave)
            await until_back(pilot, screen)
        await pilot.press("X")
        await until_shown(pilot, "no engine is being asked")
        assert not (session.folder / FOLDERS[screen.QUESTION]).exists()


async def test_what_replays_the_layers_is_named_before_it_starts(
    tmp_path: Path,
) -> None:
    labels = ("exact/prefill", "trainer/prefill", "vllm/prefill")
    made = session_of(
        tmp_path / "s",
        [capture(label, rows(seed, 0.03)) for seed, label in enumerate(labels)],
    )

    def change(data: Fields) -> None:
        data["plan"]["backends"][0].update(
            role="reference", dtype="float32", engine="transformers"
        )
        data["captures"][0].update(role="reference", engine="transformers")

    made = edit_manifest(made, change)
    app = make_app(made.folder)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, "layers")
        assert screen.labels == labels[1:]
        await pilot.press("x")
        await until_screen(pilot, Confirm)
        asked = joined(screen_text(app))
        assert "Yes, start exact, trainer, vllm in the background" in asked
        assert f"Compare the layers at token {screen.place}?" in asked


async def test_backends_that_fail_are_a_line_each(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, "identity")
        await say_yes(pilot, "identity")
        await until_shown(pilot, "the engines have answered")
        await until(pilot, lambda: "Not checked" not in text(screen.reading))
        shown = joined(text(screen.reading))
        for name, engine in (("trainer", "transformers"), ("vllm", "vllm")):
            assert f"{engine} worker ended with exit code 1" in shown
            assert any(line.strip().startswith(name) for line in lines(screen.reading))
        assert saved_failures(session.folder).keys() == {"trainer", "vllm"}
        assert not screen.engines_run
        assert open_session(session.folder).lock is None


def is_starting(app: LogdriftApp) -> bool:
    """Whether a thread still starts what asks."""
    starting = [one for one in app.workers if one.group == "asking-start"]
    return not all(one.is_finished for one in starting)


async def test_layers_that_fail_say_why_and_are_asked_again(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, "layers")
        for _ in range(2):
            screen.say("")
            await say_yes(pilot, "layers")
            # Of the pair's two backends the one that is not the standard comes first.
            failed = "failed: backend 'vllm': its vllm worker ended with exit code 1"
            await until(pilot, lambda: f"the last time: {failed}" in head(screen))  # noqa: B023
            # What ends while it is still being started has a window of its own.
            await until(
                pilot,
                lambda: (
                    failed[:30] in lines(screen.hint_line)[0]  # noqa: B023
                    or app.screen is not screen
                ),
            )
            await until(pilot, lambda: not is_starting(app))
            if app.screen is not screen:
                await pilot.press("escape")
                await until_back(pilot, screen)


@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_asks_is_followed_and_cancelled(
    session: Session, question: str, tmp_path: Path
) -> None:
    session = with_python(session, waiting(tmp_path))
    app = make_app(session.folder)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, question)
        # The line of keys names what can be cancelled, and nothing that cannot.
        assert "X cancel" not in lines(screen.hint_line)[0]
        await say_yes(pilot, question)
        workers = tmp_path / "workers"
        await until(pilot, lambda: screen.engines_run and workers.exists())
        await until(pilot, lambda: "X cancel" in lines(screen.hint_line)[0])
        assert "asking: the engines are being started" in head(screen)
        assert "so far (X cancels)" in head(screen)
        await pilot.press("x")
        await until_shown(pilot, "asked already (X cancels that)")
        # Left and entered again it is still followed.
        await pilot.press("q")
        await until_screen(pilot, WhyScreen)
        # The session is held meanwhile, but nothing of it is being captured.
        held = open_session(session.folder)
        assert held.lock is not None
        assert not held.is_growing
        app.screen.draw()  # type: ignore[attr-defined]
        await pilot.pause()
        assert "being captured" not in screen_text(app)
        await pilot.press(KEYS[question])
        await until(pilot, lambda: isinstance(app.screen, SCREENS[question]))
        screen = app.screen  # type: ignore[assignment]
        await until(pilot, lambda: screen.engines_run)
        await pilot.press("X")
        await until_screen(pilot, Confirm)
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen and screen.engines_run)
        await pilot.press("X", "y")
        await until(pilot, lambda: "the last time: cancelled" in head(screen))
        assert all(
            process_start(int(pid)) is None for pid in workers.read_text().split()
        )
        assert read_lock(session.folder / FOLDERS[screen.QUESTION]) is None
        assert open_session(session.folder).lock is None


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_session_from_elsewhere_is_confirmed_once(
    session: Session, question: str
) -> None:
    def change(data: Fields) -> None:
        data["plan"]["trust_remote_code"] = True

    session = edit_manifest(session, change)
    app = make_app(session.folder)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, question)
        await say_yes(pilot, question)
        await until_screen(pilot, ConfirmStart)
        await pilot.press("n")
        await until_shown(pilot, "nothing was started")
        assert not (session.folder / FOLDERS[screen.QUESTION]).exists()
        await say_yes(pilot, question)
        await until_screen(pilot, ConfirmStart)
        await pilot.press("y")
        await until(pilot, lambda: (session.folder / FOLDERS[screen.QUESTION]).exists())
        await until(pilot, lambda: not screen.engines_run and bool(screen.state.began))


async def test_what_cannot_be_asked_says_why(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, "layers")
        lock.acquire(session.folder, "mine")
        await say_yes(pilot, "layers")
        await until_screen(pilot, TextScreen)
        assert "is in use" in joined(screen_text(app))
        lock.release(session.folder)
        await pilot.press("escape")
        await until_back(pilot, screen)
    with refused("no backend 'x': the session has trainer"):
        start_identity(session, ["x"])
    with refused("no identity check"):
        cancel_question(session.folder, "identity")


EVENTS = '{"t": 5.0, "type": "plan", "backends": ["a", "b"]}\n'
STAGE = (
    '{"t": 6.0, "type": "stage", "backend": "b", "stage": "loading", "place": 2,'
    ' "of": 2}\n'
)


@pytest.mark.parametrize(
    ("events", "ended"),
    [
        ("", ""),
        (EVENTS + '{"t": 9.0, "type": "finished"}\n', ""),
        (EVENTS + '{"t": 9.0, "type": "cancelled"}\n', "cancelled"),
        (
            EVENTS + '{"t": 9.0, "type": "failed", "error": "disk\\u001b"}\n',
            "disk<0x1B>",
        ),
        (EVENTS + STAGE, "in the middle of 2 of 2, b: loading"),
        (EVENTS, "in the middle of its start"),
        (EVENTS + '{"t": 9.0, "type": "cancelled"}\n' + EVENTS + "broken", "its start"),
    ],
)
def test_how_it_ended_is_said_as_the_events_have_it(
    tmp_path: Path, events: str, ended: str
) -> None:
    (tmp_path / "events.jsonl").write_text(events)
    state = look_at_question(tmp_path)
    assert ended in state.ended
    assert bool(state.ended) == bool(ended)
    assert not state.running
    assert state.began == (5.0 if events else 0.0)


def test_an_end_is_one_only_where_something_ran_before() -> None:
    runs = QuestionState(running="x", began=1.0)
    over = QuestionState(began=1.0)
    assert over.ended_since(runs)
    assert QuestionState(began=2.0).ended_since(over)
    assert not over.ended_since(over)
    assert not over.ended_since(None)
    assert not runs.ended_since(over)


@pytest.fixture
def captured_pair(
    tmp_path: Path,
    own_home: Path,
    shared_captures: SharedCaptures,
    transformers_python: Path,
    vllm_python: Path,
) -> Path:
    """A trainer and vLLM on the small model, captured by real engines."""
    return copy_of(shared_captures.session("vllm"), tmp_path / "pair")


@pytest.mark.timeout(600)
async def test_real_engines_answer_from_the_screens(
    captured_pair: Path,
) -> None:
    """Transformers and vLLM on the small model: all tensors as on disk, and a layer by
    layer answer for the token.
    """
    app = make_app(captured_pair)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot, "identity")
        await say_yes(pilot, "identity")
        await until(
            pilot, lambda: "the engines have answered" in screen_text(app), seconds=240
        )
        assert saved_identities(captured_pair).keys() == {"trainer", "vllm"}
        await until(pilot, lambda: text(screen.reading).count("as on disk") >= 2)
        await pilot.press("q")
        await until_screen(pilot, WhyScreen)
        await pilot.press("y")
        await until_screen(pilot, LayersScreen)
        layers: Any = app.screen
        await until(pilot, lambda: layers.state is not None)
        await say_yes(pilot, "layers")
        await until(
            pilot, lambda: "the engines have answered" in screen_text(app), seconds=300
        )
        (saved,) = saved_layers(captured_pair)
        await until(pilot, lambda: "what was saved for" in head(layers))
        assert layers.sides
        assert saved is not None
