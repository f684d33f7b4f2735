"""The form for a new capture: what is filled in, the plan that follows, what is wrong
said at its field, and the start.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.pilot import Pilot

from logdrift.core.capture.environments import Health, Interpreter, NoInterpreter
from logdrift.core.capture.prompts import read_prompts
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.plan import (
    BackendSpec,
    CapturePlan,
    SamplingSpec,
    load_plan,
    parse_spec,
)
from logdrift.core.plan.writing import plan_toml
from logdrift.core.session.reader import open_session
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models import capture_form as forms
from logdrift.tui.models import engines
from logdrift.tui.models.capture_draft import build, ids_line
from logdrift.tui.models.capture_form import (
    BackendForm,
    CaptureForm,
    backend_form,
    form_of,
    options_text,
)
from logdrift.tui.models.capture_rows import form_rows
from logdrift.tui.models.draft_problems import field_of
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.new_capture import NewCaptureScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.screens.texts import Picker, TextScreen
from logdrift.tui.widgets.bars import Hints
from logdrift.tui.widgets.line_edit import TypedLine, line_runs
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

FILLED = CaptureForm(
    "new",
    texts=("Hello", ""),
    backends=(backend_form(parse_spec("transformers@reference")),),
)


def problems(form: CaptureForm, sessions: Path = Path("nowhere")) -> dict[str, str]:
    built = build(form, sessions)
    assert (built.plan is None) == bool(built.problems)
    return dict(built.problems)


def changed(key: str, value: Any, form: CaptureForm = FILLED) -> CaptureForm:
    return forms.with_value(form, key, value)


# ---- the form without a screen


def test_a_filled_form_is_the_plan_of_the_same_flags() -> None:
    form = changed("sampling.temperature", " 0.7", changed("sampling.max_tokens", "9"))
    form = changed(
        "backend[0].options",
        "attn_implementation=sdpa,gpus=0+1",
        changed("backend[0].repeats", "2", form),
    )
    built = build(form, Path("nowhere"))
    assert built.plan == CapturePlan(
        "smollm2",
        (
            parse_spec(
                "transformers,repeats=2,attn_implementation=sdpa,gpus=0+1@reference"
            ),
        ),
        texts=("Hello",),
        sampling=SamplingSpec(temperature=0.7, max_tokens=9),
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model", "", "model is missing"),
        ("model", "/no/such/model", "model /no/such/model: no such folder"),
        ("model", "not a hub id", "neither a folder nor a hub id"),
        ("session", "", "the name is empty"),
        ("session", "a/b", "is a path"),
        ("session", "taken", "taken exists already"),
        ("sampling.temperature", "9", "sampling.temperature is 9.0: give 0 to 2"),
        (
            "sampling.temperature",
            "warm",
            "sampling.temperature is 'warm': give a number",
        ),
        ("sampling.temperature", "nan", "sampling.temperature is nan"),
        (
            "sampling.top_p",
            "0",
            "sampling.top_p is 0.0: give a number above 0, up to 1",
        ),
        ("sampling.top_k", "-1", "sampling.top_k is -1"),
        ("sampling.max_tokens", "0", "sampling.max_tokens is 0: give 1 or more"),
        (
            "sampling.max_tokens",
            "1.5",
            "sampling.max_tokens is '1.5': give a whole number",
        ),
        ("sampling.seed", "", "sampling.seed is '': give a whole number"),
        ("top_k", "2000", "top_k is 2000: give 0 to 1024"),
        ("top_k", "many", "top_k is 'many': give a whole number"),
        ("backend[0].name", "a b", "backend 'a b': a name is letters"),
        ("backend[0].repeats", "0", "repeats is 0: give 1 or more"),
        ("backend[0].repeats", "x", "repeats is 'x': give a whole number"),
        (
            "backend[0].options",
            "eager",
            "backend 'reference': 'eager' is not option=value",
        ),
        ("backend[0].options", "server=http://x", "transformers has no server to"),
        ("backend[0].options", "api_key=x", "looks like a credential"),
        ("backend[0].options", "gpus=first", "gpus is 'first'"),
        ("backend[0].options", "paths=decode", "paths has a field of its own"),
        ("backend[0].options", "repeats=2", "repeats has a field of its own"),
        (
            "backend[0].options",
            "revision=main",
            "revision belongs to a model of its own",
        ),
        ("prompts.text[0]", "", "no prompts"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    (tmp_path / "taken").mkdir()
    found = problems(changed(key, value), tmp_path)
    assert list(found) == [key]
    assert said in found[key]
    assert "\n" not in found[key]


def test_a_running_server_is_an_option_of_a_backend() -> None:
    address = "server=http://localhost:8000,concurrency=8"
    form = replace(FILLED, backends=(forms.new_backend("vllm", ()),))
    filled = changed("backend[0].options", address, form)
    plan = build(filled, Path("nowhere")).plan
    assert plan is not None
    (spec,) = plan.backends
    assert spec.server == "http://localhost:8000"
    assert spec.options == {"concurrency": 8}
    assert backend_form(spec).options == address
    for typed, said in (
        ("server=localhost:8000", "begins with neither http"),
        ("server=http://x,seed=1", "option 'seed' cannot be given"),
        ("server=http://x,gpus=0", "gpus is chosen where the server is started"),
        ("server=http://x,key=abc", "name the variable with key_env=NAME"),
    ):
        found = problems(changed("backend[0].options", typed, form))
        assert said in found["backend[0].options"]


def test_what_fields_are_wrong_about_together() -> None:
    two = replace(
        FILLED, backends=(*FILLED.backends, backend_form(parse_spec("vllm@reference")))
    )
    assert "two backends are called 'reference'" in problems(two)["backend[1].name"]
    both = replace(
        FILLED, backends=tuple(BackendForm(n, "vllm", paths=("decode",)) for n in "ab")
    )
    assert "both have path decode" in problems(both)["backend[1].paths"]
    assert "no backend" in problems(replace(FILLED, backends=()))["backends"]
    none = changed("backend[0].paths", ("prefill",))
    assert "no backend has path decode" in problems(none)["backends"]
    alone = changed("backend[0].alone", True, changed("backend[0].paths", ("decode",)))
    assert "alone scores given ids once more" in problems(alone)["backend[0].alone"]


def test_a_file_of_prompts_that_is_not_there(tmp_path: Path) -> None:
    form = changed(
        "prompts.file", str(tmp_path / "p.jsonl"), changed("prompts.source", "file")
    )
    assert "no such file" in problems(form)["prompts.file"]
    (tmp_path / "p.jsonl").write_text('{"prompt": "x"}\n')
    plan = build(form, Path("nowhere")).plan
    assert plan is not None
    assert plan.prompts_file == str(tmp_path / "p.jsonl")
    assert plan.texts == ()
    both = build(changed("prompts.source", "file and text", form), Path("nowhere")).plan
    assert both is not None
    assert both.prompts_file
    assert both.texts == ("Hello",)


@pytest.mark.parametrize(
    ("typed", "ids", "length"),
    [
        ("1 2 3", [1, 2, 3], 3),
        ("1, 2,3", [1, 2, 3], 3),
        ("1 2 | 3", [1, 2, 3], 2),
        ("|4 5", [4, 5], 0),
    ],
)
def test_typed_ids_are_a_line_of_a_prompt_file(
    tmp_path: Path, typed: str, ids: list[int], length: int
) -> None:
    expected = {"token_ids": ids, "prompt_length": length}
    assert json.loads(ids_line(typed)) == expected
    path = tmp_path / "ids.jsonl"
    path.write_text(ids_line(typed))
    assert read_prompts(str(path))[0].token_ids == tuple(ids)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("1 x", "'x' is not a whole number"),
        ("-1", "'-1' is not a whole number"),
        ("1|2|3", "more than one |"),
        ("|", "at least one id"),
        ("1|", "nothing follows"),
        ("4294967296", "outside any vocabulary"),
        ("²", "not a whole"),
    ],
)
def test_odd_ids_are_one_line_at_their_row(typed: str, said: str) -> None:
    form = changed("prompts.source", "token ids")
    form = changed("prompts.ids[1]", typed, changed("prompts.ids[0]", "5 6", form))
    found = problems(form)
    assert list(found) == ["prompts.ids[1]"]
    assert said in found["prompts.ids[1]"]


def test_given_completions_ask_for_no_generator() -> None:
    form = changed(
        "backend[0].paths", ("prefill",), changed("prompts.source", "token ids")
    )
    assert (
        "no backend has path decode"
        in problems(changed("prompts.ids[0]", "5 6", form))["backends"]
    )
    assert not problems(changed("prompts.ids[0]", "5 6 | 7", form))


@pytest.mark.parametrize(
    "spec",
    [
        'vllm:bf16,enforce_eager=true,hf_overrides={"a":[1,2],"b":null},x=0.5,tag=a@b,python=~/v/bin/python@fast',
        "transformers:float32,model=org/name,revision=main,alone=true,repeats=3,paths=prefill@reference",
        'vllm,a="true",b="1",c="x,y",d="",e="Ünï \\" quote",gpus=0+1',
    ],
)
def test_options_read_back_as_what_they_were(spec: str) -> None:
    wanted = parse_spec(spec)
    shown = backend_form(wanted)
    other = backend_form(parse_spec("vllm@other"))
    assert shown.options == options_text(wanted)
    for backend in (shown, replace(shown, given=None)):
        plan = build(replace(FILLED, backends=(backend, other)), Path("nowhere")).plan
        assert plan is not None
        assert plan.backends[0] == wanted


def test_a_loaded_plan_keeps_what_no_field_shows(tmp_path: Path) -> None:
    odd = BackendSpec("odd", "vllm", options={"a": "x\\", "weird key": {"b": [None]}})
    plan = CapturePlan(
        "smollm2",
        (odd, parse_spec("transformers")),
        texts=("a", "b\nc"),
        title="T",
        revision="r",
        top_k=3,
        part_sequences=5,
        sampling=SamplingSpec(min_p=0.1, repetition_penalty=1.2),
        trust_remote_code=True,
    )
    form = form_of(plan, "new")
    assert build(form, tmp_path).plan == plan
    warmer = build(changed("sampling.temperature", "0.5", form), tmp_path).plan
    assert warmer == replace(plan, sampling=replace(plan.sampling, temperature=0.5))


@pytest.mark.parametrize(
    ("turn", "continues", "answers"),
    [
        ("as each line says", False, False),
        ("continued", True, False),
        ("answered", False, True),
    ],
)
def test_the_last_turn_of_the_form_is_that_of_the_plan(
    tmp_path: Path, turn: str, continues: bool, answers: bool
) -> None:
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "a"}\n')
    form = changed("prompts.source", "file", changed("prompts.file", str(prompts)))
    assert turn in forms.choices(form, "prompts.turn")
    built = build(changed("prompts.turn", turn, form), Path("nowhere"))
    assert built.plan is not None
    said = (built.plan.continue_final_message, built.plan.add_generation_prompt)
    assert said == (continues, answers)
    # Through a file and back: a loaded plan says it, and another choice replaces it.
    file = tmp_path / "plan.toml"
    file.write_text(plan_toml(built.plan))
    loaded = form_of(load_plan(file), "new")
    assert loaded.turn == turn
    for other in forms.TURNS:
        again = build(changed("prompts.turn", other, loaded), Path("nowhere")).plan
        assert again is not None
        assert again.continue_final_message == (other == "continued")
        assert again.add_generation_prompt == (other == "answered")


def test_the_last_turn_is_asked_for_where_prompts_come_from_a_file() -> None:
    for source in forms.SOURCES:
        form = changed("prompts.source", source)
        keys = [
            row.key for row in form_rows(form, build(form, Path()), {}, frozenset())
        ]
        assert ("prompts.turn" in keys) == ("file" in source)
    error = InputError("both", field="continue_final_message")
    assert field_of(error, FILLED) == "prompts.turn"


def test_the_two_top_k_are_told_apart_in_form_and_plan() -> None:
    form = changed("top_k", "7", changed("sampling.top_k", "3"))
    built = build(form, Path("nowhere"))
    rows = {row.key: row for row in form_rows(form, built, {}, frozenset())}
    assert "sample" in rows["sampling.top_k"].note
    assert "kept" in rows["top_k"].note
    assert rows["top_k"].label == "Alternatives"
    assert built.plan is not None
    kept, sampled = (
        line for line in plan_toml(built.plan).splitlines() if "top_k" in line
    )
    assert kept.startswith("top_k = 7  # alternatives kept")
    assert sampled.startswith("top_k = 3  # most likely tokens to sample from")


def test_buttons_name_the_keys_that_they_have() -> None:
    built = build(FILLED, Path("nowhere"))
    keymap = {"form.show_plan": ("f7",), "form.start": ("ctrl+g",)}
    for given, plan, start in (({}, "Ctrl+T", "F5"), (keymap, "F7", "Ctrl+G")):
        rows = form_rows(FILLED, built, {}, frozenset(), given)
        notes = {row.key: row.note for row in rows}
        assert notes["show_plan"] == plan
        assert notes["start"] == f"{start}, in the background"


def test_engines_change_what_paths_there_are() -> None:
    form = changed(
        "backend[0].paths",
        ("decode", "forced_decode"),
        changed("backend[0].engine", "vllm"),
    )
    assert len(forms.choices(form, "backend[0].paths")) == 8
    back = changed("backend[0].engine", "transformers", form)
    assert back.backends[0].paths == ("decode",)
    assert set(forms.choices(back, "backend[0].paths")) == {
        (),
        ("decode",),
        ("prefill",),
        ("decode", "prefill"),
    }


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("model", "model"),
        ("prompts.texts[1]", "prompts.text[2]"),
        ("prompts[0]", "prompts.file"),
        ("prompts.file", "prompts.file"),
        ("session", "session"),
        ("backend[reference].paths", "backend[0].paths"),
        ("backend[reference].model", "backend[0].options"),
        ("backend[reference].python", "backend[0].options"),
        ("backend[reference].engine", "backend[0].engine"),
        ("backend[nobody].paths", "backends"),
        ("sampling.min_p", None),
        (None, None),
    ],
)
def test_errors_of_the_start_find_their_field(
    field: str | None, key: str | None
) -> None:
    form = replace(changed("prompts.source", "file and text"), texts=("a", "", "b", ""))
    error = LogdriftError("it is wrong", field=field)
    assert field_of(error, form) == key
    if field == "prompts[0]":
        ids = replace(form, source="token ids", ids=("", "9", ""))
        assert field_of(error, ids) == "prompts.ids[1]"


# ---- a line that is typed in


def test_editing_keys() -> None:
    line = TypedLine.of("one two")
    for key, wanted in (
        ("ctrl+w", TypedLine("one ", 4)),
        ("backspace", TypedLine("one", 3)),
        ("home", TypedLine("one", 0)),
        ("delete", TypedLine("ne", 0)),
        ("right", TypedLine("ne", 1)),
        ("ctrl+k", TypedLine("n", 1)),
        ("end", TypedLine("n", 1)),
        ("left", TypedLine("n", 0)),
        ("left", TypedLine("n", 0)),
        ("ctrl+u", TypedLine("n", 0)),
    ):
        line = line.key(key)
        assert line == wanted, key
    assert line.insert("中é") == TypedLine("中én", 2)


@pytest.mark.parametrize(
    "content",
    ["", "short", "中" * 50, "a" * 300, "\x1b[31m\u202e" * 20, "e\u0301" * 30],
)
def test_the_cursor_is_always_seen_and_nothing_raw(content: str) -> None:
    from logdrift.tui.palette import make_palette

    palette = make_palette("256")
    for width in (1, 2, 9, 40):
        for at in {0, len(content) // 2, len(content)}:
            runs = line_runs(TypedLine(content, at), width, palette, cursor=True)
            shown = "".join(words for words, _ in runs)
            assert "\x1b" not in shown
            assert "\u202e" not in shown
            assert any(style is palette.cursor and words for words, style in runs)


# ---- on the screen


@pytest.fixture(autouse=True)
def nothing_probed(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_PROBED", {})


@pytest.fixture
def no_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments as they are found on a machine that lacks one; nothing is
    started.
    """
    found = {
        "transformers": Interpreter(
            "transformers", Path("/envs/transformers/bin/python"), "managed"
        ),
        "vllm": Interpreter("vllm", Path("/envs/vllm/bin/python"), "managed"),
        "sglang": NoInterpreter(
            "no interpreter for sglang",
            remedy="logdrift env create sglang makes one, python= names yours",
        ),
    }

    def check(interpreter: Interpreter, **_: Any) -> Health:
        if interpreter.engine == "vllm":
            return Health(
                interpreter,
                problem=LogdriftError(
                    "import vllm fails",
                    where="vllm",
                    remedy="fix it with logdrift env create vllm --fresh",
                ),
            )
        return Health(
            interpreter,
            {"transformers": "5.19.0", "torch": "2.13"},
            "cpu (2 cores)",
            1.0,
        )

    monkeypatch.setattr("logdrift.core.capture.environments.available", lambda: found)
    monkeypatch.setattr("logdrift.core.capture.environments.check", check)


async def opened(
    pilot: Pilot[Any], app: LogdriftApp, key: str = "ctrl+n"
) -> NewCaptureScreen:
    await until(
        pilot, lambda: isinstance(app.screen, SessionsScreen) and app.screen.list.read
    )
    await pilot.press(key)
    await until(
        pilot,
        lambda: isinstance(app.screen, NewCaptureScreen) and len(app.screen.found) == 3,
    )
    screen = app.screen
    assert isinstance(screen, NewCaptureScreen)
    return screen


def go(screen: NewCaptureScreen, key: str) -> None:
    """Put the cursor in a field."""
    form = screen.fields
    form.move(
        next(
            i
            for i, row in enumerate(form.rows)
            if row.key == key and row.kind in ("text", "choice", "button")
        )
    )


def said(screen: NewCaptureScreen) -> str:
    return text(screen.query_one("#hints", Hints))


@pytest.mark.usefixtures("no_engines")
async def test_filled_in_by_keyboard_in_one_go(tmp_path: Path) -> None:
    """Keys in one burst, as over a slow line: each lands where the one before has left
    the cursor.
    """
    app = make_app(None, tmp_path / "sessions")
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, app, "ctrl+n")
        keys = [
            "down",
            "ctrl+u",
            *"mine",
            "tab",
            "enter",
            "right",
            "left",
            "enter",
            "left",
            "tab",
            *"Hello?",
            "enter",
            *"quit",
            "down",
        ]
        keys += ["tab", "shift+tab", "enter", "ctrl+u", *"0.5"]
        await pilot.press(*keys)
        await until(pilot, lambda: screen.form.sampling["temperature"] == "0.5")
        assert screen.form.session == "mine"
        assert screen.form.source == "text"
        expected = ("Hello?", "quit", "")
        assert screen.form.texts == expected
        assert screen.built.plan is not None
        assert screen.built.plan.texts == (
            "Hello?",
            "quit",
        )
        assert [spec.name for spec in screen.built.plan.backends] == [
            "reference",
            "trainer",
            "vllm",
        ]
        await pilot.press("pagedown", "pagedown", "pageup", "pageup")
        assert screen.fields.here is not None
        assert screen.fields.here.key == "model"


@pytest.mark.usefixtures("no_engines")
async def test_engines_are_probed_and_what_is_missing_is_said(tmp_path: Path) -> None:
    app = make_app(None, tmp_path)
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot, app)
        await until(
            pilot,
            lambda: (
                "5.19.0 · torch 2.13 · cpu (2 cores) · decode, prefill"
                in screen_text(app)
            ),
        )
        await until_shown(pilot, "import vllm fails")
        assert "no interpreter for sglang" in screen_text(app)
        go(screen, "engine.sglang")
        await pilot.press("enter")
        await until(pilot, lambda: len(screen.form.backends) == 4)
        assert screen.form.backends[-1].name == "sglang"
        assert "no interpreter for sglang" in said(screen)
        go(screen, "engine.transformers")
        await pilot.press("space")
        assert screen.form.backends[-1].name == "transformers"
        assert screen.fields.here is not None
        assert screen.fields.here.key == "backend[4].name"
        await pilot.press("f6")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, Picker)
                and "import vllm fails" in screen_text(app)
            ),
        )
        await pilot.press("down", "enter")
        await until(pilot, lambda: len(screen.form.backends) == 6)
        assert screen.form.backends[-1].name == "vllm-2"


@pytest.mark.usefixtures("no_engines")
async def test_a_backend_is_opened_changed_and_removed(tmp_path: Path) -> None:
    app = make_app(None, tmp_path)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot, app)
        go(screen, "backend[1]")
        await pilot.press("enter")
        go(screen, "backend[1].dtype")
        await pilot.press("right")
        assert screen.form.backends[1].dtype == "float16"
        await pilot.press("left", "left")
        assert screen.form.backends[1].dtype == "auto"
        go(screen, "backend[1].paths")
        await pilot.press("left")
        assert screen.form.backends[1].paths == (
            "decode",
            "prefill",
        )
        assert "‹ decode+prefill ›" in screen_text(app)
        go(screen, "backend[1].alone")
        await pilot.press("space")
        assert screen.form.backends[1].alone
        go(screen, "backend[1].options")
        await pilot.press(*"foo")
        assert "✗ backend 'trainer': 'foo' is not option=value" in screen_text(app)
        await pilot.press(*"=1")
        assert "foo=1" in screen_text(app)
        assert "✗ backend" not in screen_text(app)
        go(screen, "backend[1].remove")
        await pilot.press("enter")
        assert [b.name for b in screen.form.backends] == [
            "reference",
            "vllm",
        ]
        assert "trainer is removed" in said(screen)


@pytest.mark.usefixtures("no_engines")
@pytest.mark.usefixtures("no_engines")
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36), (200, 60)])
async def test_every_choice_looks_like_one_before_it_has_the_cursor(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    app = make_app(None, tmp_path, depth="none" if size[0] == 60 else "256")
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot, app)
        go(screen, "prompts.source")
        await pilot.press("space")
        go(screen, "backend[0]")
        await pilot.press("enter")
        fields = screen.fields
        choices = [row for row in fields.rows if row.kind == "choice"]
        assert len(choices) == 7
        for index, row in enumerate(fields.rows):
            for at in (index, 0):
                fields.move(at)
                drawn = fields.line(index, fields.inner_width).text
                assert (f"‹ {row.value} ›" in drawn) == (row.kind == "choice")
                assert (
                    not row.note
                    or row.kind != "choice"
                    or size[0] < 200
                    or (row.note in drawn)
                )


async def test_mouse_does_what_keys_do(tmp_path: Path) -> None:
    app = make_app(None, tmp_path)
    async with app.run_test(size=(80, 36)) as pilot:
        screen = await opened(pilot, app)

        async def click(key: str) -> None:
            rows = screen.fields.rows
            y = (
                next(
                    i
                    for i, row in enumerate(rows)
                    if row.key == key and row.kind != "bad"
                )
                - screen.fields.top
                + 1
            )
            await pilot.click("#form", offset=(25, y))

        await click("prompts.text[0]")
        await pilot.press("H", "i")
        assert screen.form.texts == ("Hi", "")
        await click("prompts.source")
        assert screen.form.source == "text"
        await click("prompts.source")
        assert screen.form.source == "file"
        await click("backend[0]")
        assert any(row.key == "backend[0].dtype" for row in screen.fields.rows)
        await click("backend[0]")
        assert not any(row.key == "backend[0].dtype" for row in screen.fields.rows)


@pytest.mark.usefixtures("no_engines")
async def test_pasted_text_keeps_its_lines_in_a_prompt_alone(tmp_path: Path) -> None:
    app = make_app(None, tmp_path)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("ctrl+u")
        screen.fields.post_message(Paste("smollm2\n"))
        await until(pilot, lambda: screen.form.model == "smollm2")
        go(screen, "prompts.text[0]")
        screen.fields.post_message(Paste("a\nb\x1b[2J"))
        await until(pilot, lambda: screen.form.texts == ("a\nb\x1b[2J", ""))
        assert "a↵b" in screen_text(app)
        assert "\x1b" not in screen_text(app)


@pytest.mark.usefixtures("no_engines")
async def test_the_plan_is_previewed_saved_edited_and_loaded(tmp_path: Path) -> None:
    app = make_app(None, tmp_path / "sessions")
    async with app.run_test(size=(150, 50)) as pilot:
        screen = await opened(pilot, app)
        assert "# not yet a plan:" in screen_text(app)
        assert "✗ no prompts" not in screen_text(app)
        go(screen, "prompts.text[0]")
        await pilot.press(*"Hi")
        await until(
            pilot,
            lambda: (
                '"Hi",' in screen_text(app) and 'model = "smollm2"' in screen_text(app)
            ),
        )
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        await pilot.press("enter")
        await until(pilot, lambda: "saved: capture-1.toml" in said(screen))
        path = tmp_path / "here" / "capture-1.toml"
        assert load_plan(path) == screen.built.plan
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, Confirm) and "exists already" in screen_text(app)
            ),
        )
        await pilot.press("n")
        path.write_text(
            path.read_text()
            .replace("max_tokens = 128", "max_tokens = 7")
            .replace('"Hi"', '"Ho"')
        )
        for typed, wanted in (("missing.toml", "no such file"), ("capture-1.toml", "")):
            await until_back(pilot, screen)
            await pilot.press("ctrl+o")
            await until_screen(pilot, LinePrompt)
            await pilot.press(*typed, "enter")
            if wanted:
                await until(
                    pilot,
                    lambda: (
                        isinstance(app.screen, TextScreen)
                        and "no such file" in screen_text(app)
                    ),
                )
                await pilot.press("escape")
        await until(pilot, lambda: "loaded: capture-1.toml" in said(screen))
        assert screen.form.sampling["max_tokens"] == "7"
        assert screen.form.texts == ("Ho",)
        await pilot.press("ctrl+t")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "max_tokens = 7" in screen_text(app)
            ),
        )
        await pilot.press("escape")


@pytest.mark.usefixtures("no_engines")
async def test_typed_ids_are_saved_beside_the_plan(tmp_path: Path) -> None:
    app = make_app(None, tmp_path / "sessions")
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, app)
        screen.form = changed(
            "prompts.ids[0]",
            "1 2 | 3",
            changed("prompts.source", "token ids", screen.form),
        )
        screen.typed("title", "ids")
        go(screen, "save_plan")
        await pilot.press("enter")
        await until_screen(pilot, LinePrompt)
        await pilot.press("enter")
        await until(pilot, lambda: "saved" in said(screen))
        plan = load_plan(tmp_path / "here" / "capture-1.toml")
        assert plan.prompts_file == str(tmp_path / "here" / "capture-1.ids.jsonl")
        assert read_prompts(plan.prompts_file)[0].prompt_length == 2


@pytest.mark.usefixtures("no_engines")
@pytest.mark.parametrize("shape", [(60, 20), (80, 24), (200, 60)])
async def test_start_goes_to_what_is_wrong(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    app = make_app(None, tmp_path)
    async with app.run_test(size=shape) as pilot:
        screen = await opened(pilot, app)
        go(screen, "title")
        await pilot.press("f5")
        assert screen.fields.here is not None
        assert screen.fields.here.key == "prompts.text[0]"
        assert "✗ no prompts: type at least one character" in screen_text(app)
        await pilot.press("x")
        go(screen, "sampling.temperature")
        await pilot.press("ctrl+u", "9")
        go(screen, "title")
        await pilot.press("f5")
        assert screen.fields.here.key == "sampling.temperature"
        assert "sampling.temperature is 9.0: give 0 to 2" in said(screen)


Start = Callable[..., None]


@pytest.mark.usefixtures("no_engines")
@pytest.mark.parametrize(
    ("error", "key"),
    [
        (InputError("no such thing", field="model", where="model smollm2"), "model"),
        (LogdriftError("cannot write: disk full"), None),
    ],
)
async def test_what_the_start_refuses_is_said_at_its_field_or_in_a_window(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: LogdriftError,
    key: str | None,
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("logdrift.core.capture.create.create_session", refuse)
    app = make_app(None, tmp_path)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, app)
        go(screen, "prompts.text[0]")
        await pilot.press("x", "f5")
        if key is None:
            await until(
                pilot,
                lambda: (
                    isinstance(app.screen, TextScreen)
                    and "disk full" in screen_text(app)
                ),
            )
        else:
            await until(
                pilot,
                lambda: (
                    screen.fields.here is not None and screen.fields.here.key == key
                ),
            )
            assert f"✗ {error}" in screen_text(app)


@pytest.mark.usefixtures("no_engines")
async def test_started_in_the_background_as_it_was_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []

    def create(plan: CapturePlan, folder: Path, say: Callable[[str], None]) -> None:
        say("reading 1 prompts")
        assert plan.prompts_file is not None
        started.append((plan, folder, Path(plan.prompts_file).read_text()))

    monkeypatch.setattr("logdrift.core.capture.create.create_session", create)
    monkeypatch.setattr(
        "logdrift.core.capture.background.start_background", started.append
    )
    app = make_app(None, tmp_path / "sessions")
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, app)
        screen.form = changed("prompts.source", "token ids", screen.form)
        screen.typed("prompts.ids[0]", "1 2 | 3")
        go(screen, "start")
        await pilot.press("enter")
        await until_screen(pilot, SessionsScreen)
        (plan, folder, ids), running = started
        assert running == folder == tmp_path / "sessions" / "capture-1"
        assert json.loads(ids)["token_ids"] == [1, 2, 3]
        assert not Path(plan.prompts_file).exists()
        assert "capture-1 is being captured in the background" in screen_text(app)


@pytest.mark.usefixtures("no_engines")
async def test_leaving_asks_where_something_was_filled_in(tmp_path: Path) -> None:
    app = make_app(None, tmp_path)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("escape")
        await until_screen(pilot, SessionsScreen)
        screen = await opened(pilot, app)
        await pilot.press("x", "escape")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, Confirm)
                and "Leave the form?" in screen_text(app)
            ),
        )
        await pilot.press("n")
        await until_back(pilot, screen)
        await pilot.press("f1")
        await until_screen(pilot, TextScreen)
        await pilot.press("escape", "escape")
        await until_screen(pilot, Confirm)
        await pilot.press("y")
        await until_screen(pilot, SessionsScreen)


@pytest.mark.engine
async def test_a_real_capture_from_the_form_is_watched_opened_and_cancelled(
    tmp_path: Path, transformers_python: Path, small_model: Path
) -> None:
    app = make_app(None, tmp_path / "sessions")
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot, app)
        plan = CapturePlan(
            "smollm2",
            (
                parse_spec(
                    f"transformers:float32,python={transformers_python}@reference"
                ),
            ),
            texts=("Hi",),
        )
        screen.take_plan(plan)
        go(screen, "prompts.text[0]")
        await pilot.press(*" there", "f5")
        await until(pilot, lambda: isinstance(app.screen, SessionsScreen), 60)
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        await until(
            pilot, lambda: any(row.state == "running" for row in listed.list.sessions)
        )
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, ExplorerScreen)
                and "capturing" in screen_text(app)
            ),
        )
        await pilot.press("q")
        await until_back(pilot, listed)
        await pilot.press("X")
        await until_screen(pilot, Confirm)
        await pilot.press("y")
        await until(
            pilot,
            lambda: [row.state for row in listed.list.sessions] == ["partial"],
            60,
        )
    session = open_session(tmp_path / "sessions" / "capture-1")
    assert session.plan is not None
    assert session.plan.backends[0].name == "reference"
    assert session.lock is None
    assert not list((session.folder / "logs").glob("*.pid"))
