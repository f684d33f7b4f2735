"""The form that adds backends to a session: the side that it lacks is offered, what is
wrong is said at its field, and the capture is started and shown.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.capture.into import PlanWish
from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError
from logdrift.core.plan import parse_spec
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import open_session
from logdrift.tui.models import capture_form as forms
from logdrift.tui.models.added_backends import (
    ScoredSession,
    added_of,
    build_added,
    command_lines,
    form_for,
    session_to_score,
    spec_text,
)
from logdrift.tui.models.added_pair import how_it_ended
from logdrift.tui.models.capture_form import CaptureForm, path_choices
from logdrift.tui.models.capture_rows import scoring_rows
from logdrift.tui.screens.add_backend import AddBackendScreen
from logdrift.tui.screens.sessions import SessionsScreen
from tests.common import REPOSITORY
from tests.holding import held
from tests.made_sessions import capture, write_session
from tests.toy_site import TOY, ToySite, toy_model
from tests.tui_screen import SIZES, explorer, make_app, screen_text, until, until_shown

SAMPLE = REPOSITORY / "logdrift" / "samples" / "sample-smollm2"


def imported(folder: Path, *names: str) -> Path:
    """A session with what these backends recorded."""
    file = folder / "numbers.jsonl"
    row = {
        "token_ids": [1, 2, 3, 4],
        "prompt_length": 1,
        "captures": {name: {"logprobs": [None, -1.0, -1.0, -1.0]} for name in names},
    }
    file.write_text(json.dumps(row), encoding="utf-8")
    out = folder / "imported"
    import_session("jsonl", [str(file)], out)
    return out


@pytest.fixture
def lone(tmp_path: Path) -> ScoredSession:
    return session_to_score(imported(tmp_path, "rollout"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(toy_model(tmp_path / "model"))


def with_model(form: CaptureForm, model: str) -> CaptureForm:
    return forms.with_value(form, "model", model)


@pytest.mark.parametrize(
    ("names", "offered"),
    [
        (("rollout",), "transformers:bfloat16@trainer"),
        (("trainer",), "sglang:bfloat16@rollout"),
        (("trainer", "rollout"), "transformers:float32@reference"),
        (("trainer", "rollout", "reference"), "transformers:float32@reference-2"),
    ],
)
def test_the_side_that_is_missing_is_offered(
    tmp_path: Path, names: tuple[str, ...], offered: str
) -> None:
    session = session_to_score(imported(tmp_path, *names))
    form = form_for(session, {"transformers", "sglang"})
    (backend,) = form.backends
    assert f"{backend.engine}:{backend.dtype}@{backend.name}" == offered
    assert backend.paths == ("prefill",)


def test_what_the_form_gives(lone: ScoredSession, model: str) -> None:
    form = with_model(form_for(lone, ()), model)
    form = forms.with_value(form, "top_k", "5")
    draft = build_added(form, lone)
    assert draft.plan is not None, draft.problems
    added = added_of(draft.plan, lone)
    assert added.wish == PlanWish(model=model, top_k=5)
    (spec,) = added.backends
    assert (spec.name, spec.role, spec.paths) == ("trainer", "trainer", ("prefill",))


def test_a_session_with_a_plan_keeps_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "captured"
    shutil.copytree(SAMPLE, folder)
    session = session_to_score(folder)
    assert session.plan is not None
    form = form_for(session, ())
    assert form.model == session.plan.model
    rows = scoring_rows(form, session, build_added(form, session), {}, frozenset())
    keys = {row.key for row in rows}
    assert "top_k" not in keys
    assert not keys & {"session", "title", "prompts.source", "sampling.seed"}


WRONG = {
    "no model": ("model", "", "model", "no model: name the one that the session's"),
    "no such model": ("model", "/nowhere/m", "model", "no such folder"),
    "a name that is taken": (
        "backend[0].name",
        "rollout",
        "backend[0].name",
        "the session has this backend already",
    ),
    "a word for a number": ("top_k", "many", "top_k", "give a whole number"),
    "options": ("backend[0].options", "x", "backend[0].options", "is not option="),
    "a server's path": (
        "backend[0].options",
        "server=http://localhost:1",
        "backend[0].options",
        "transformers has no server to attach to",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_at_its_field(
    lone: ScoredSession, model: str, case: str
) -> None:
    field, value, key, said = WRONG[case]
    form = with_model(form_for(lone, ()), model)
    draft = build_added(forms.with_value(form, field, value), lone)
    assert draft.plan is None
    assert said in draft.problems[key], draft.problems


def test_no_backend_at_all(lone: ScoredSession, model: str) -> None:
    form = with_model(form_for(lone, ()), model)
    draft = build_added(forms.replace(form, backends=()), lone)
    assert "no backend: add one" in draft.problems["backends"]


def test_no_path_samples(lone: ScoredSession) -> None:
    form = form_for(lone, ())
    for engine in ENGINES:
        for paths in path_choices(engine, (), is_scoring=True):
            assert "decode" not in paths
    assert ("decode",) not in forms.choices(form, "backend[0].paths")


SPECS = (
    "transformers:bfloat16,paths=prefill@trainer",
    "vllm:bfloat16,server=http://localhost:8000,paths=prefill,repeats=2@live",
    'sglang,alone=true,role=trainer,text="a, b",gpus=0+1@x',
)


@pytest.mark.parametrize("text", SPECS)
def test_a_backend_is_written_as_it_is_read(text: str) -> None:
    spec = parse_spec(text)
    assert parse_spec(spec_text(spec)) == spec


def test_the_command_beside_the_form_does_the_same(
    lone: ScoredSession, model: str
) -> None:
    draft = build_added(with_model(form_for(lone, ()), model), lone)
    assert draft.plan is not None
    text = "\n".join(command_lines(draft, lone)).replace("\\\n", "")
    program, command, into, folder, *options = shlex.split(text)
    assert (program, command, into) == ("logdrift", "capture", "--into")
    assert folder == str(lone.folder)
    spec = options[options.index("--backend") + 1]
    assert parse_spec(spec) == draft.plan.backends[0]
    assert options[options.index("--model") + 1] == model


def test_what_cannot_be_added_to(tmp_path: Path) -> None:
    folder = imported(tmp_path, "rollout")
    with held(folder), pytest.raises(InputError, match="is being written by process"):
        session_to_score(folder)
    with pytest.raises(InputError, match="samples that come with logdrift"):
        session_to_score(SAMPLE)


@pytest.mark.parametrize("size", SIZES)
async def test_the_form_on_the_screen(
    tmp_path: Path, own_home: Path, size: tuple[int, int], monkeypatch: Any
) -> None:
    monkeypatch.setattr("logdrift.core.capture.environments.available", dict)
    folder = imported(tmp_path, "rollout")
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: explorer(app).is_mounted)
        await until_shown(pilot, "add a backend that scores the other")
        await pilot.press("f6")
        await until_shown(pilot, "The ids of imported: 1 sequence, 4 tokens")
        form = app.screen
        assert isinstance(form, AddBackendScreen)
        await pilot.press("f5")
        await until_shown(pilot, "no model: name the one")
        assert form.fields.here is not None
        assert form.fields.here.key == "model"
        await pilot.press("ctrl+s")
        await until_shown(pilot, "the session keeps what is added")
        await pilot.press("ctrl+o")
        await until_shown(pilot, "add the backends here")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "# not yet complete:")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is explorer(app))
    assert not open_session(folder).manifest.plan


async def test_the_samples_stay_as_they_are(tmp_path: Path, own_home: Path) -> None:
    app = make_app(None, SAMPLE.parent)
    async with app.run_test(size=SIZES[0]) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SessionsScreen))
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        await until(pilot, lambda: bool(listed.list.sessions))
        await pilot.press("f6")
        await until(pilot, lambda: "copy the folder and work" in screen_text(app))


def test_an_engine_is_added_by_the_form_and_its_pair_is_shown(tmp_path: Path) -> None:
    """Through the real supervisor and worker, of the toy engine."""
    site = ToySite(tmp_path / "toy")
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    folder = imported(sessions, "rollout")
    (sessions / "numbers.jsonl").unlink()
    out = tmp_path / "shown.json"
    model = toy_model(tmp_path / "model")
    done = site.run(folder, model, out, script=TOY / "adding.py")
    assert done.returncode == 0, done.stderr
    shown = json.loads(out.read_text())
    assert "--backend toy:bfloat16,paths=prefill@first" in shown["form"]
    assert "first is being captured in the background" in shown["said"]
    assert shown["first"] == ["first/prefill", "rollout/recorded"]
    assert "second/prefill" in shown["second"]
    session = open_session(folder)
    assert session.state == "complete"
    assert [info.label for info in session.captures] == [
        "rollout/recorded",
        "first/prefill",
        "second/prefill",
    ]


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ({}, None),
        ({"trainer": "complete"}, None),
        ({"trainer": "complete", "vllm": "pending"}, None),
        ({"trainer": "complete", "vllm": "complete"}, "trainer, vllm is captured"),
        ({"vllm": "failed"}, "vllm failed: the log says why"),
    ],
)
def test_backends_have_ended_once_each_of_them_has(
    tmp_path: Path, statuses: dict[str, str], words: str | None
) -> None:
    """Where none has begun, none has ended."""
    captures = [capture("other/prefill", [[-1.0] * 4])]
    for name, status in statuses.items():
        captures.append(capture(f"{name}/prefill", [[-1.0] * 4], status=status))
    session = write_session(tmp_path / "s", [2], captures)
    end = how_it_ended(session, ("trainer", "vllm"))
    assert (end and end.words) == words
