"""Which step a session is of: names, facts, and numbers that are no step."""

from __future__ import annotations

from pathlib import Path

import pytest

from logdrift.core.trend.reader import TrendReader
from logdrift.core.trend.step import step_in, step_of_session, without_step
from tests.made_trends import step_session


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step_40", 40),
        ("global_step_7", 7),
        ("train_data_step12", 12),
        ("checkpoint-1000", 1000),
        ("iter_0000040", 40),
        ("run3-step-5", 5),
        ("40", 40),
        ("epoch=1-step=200", 200),
        ("step_40.2026-01-01", 40),
        ("step-3.5", None),
        ("checkpoint-1234567890123456", None),
        ("qwen3", None),
        ("stepwise", None),
    ],
)
def test_a_name_tells_the_step(name: str, step: int | None) -> None:
    assert step_in(name) == step


def test_models_of_one_training_are_alike() -> None:
    assert without_step("runs/a/checkpoint-40") == without_step("runs/a/checkpoint-8")
    assert without_step("runs/a/40/hf") == "runs/a/*/hf"
    assert without_step("Qwen/Qwen3-1.7B") == "Qwen/Qwen3-1.7B"


MAKERS = [
    "stepfun-ai/Step-3",
    "stepfun-ai/step3",
    "stepfun-ai/Step-3.5-Flash",
    "/models/Step-3",
    "/hub/models--stepfun-ai--Step-3/snapshots/a1",
]


@pytest.mark.parametrize("model", MAKERS)
def test_what_a_model_is_called_is_no_step(tmp_path: Path, model: str) -> None:
    assert without_step(model) == model
    session = step_session(tmp_path, 1, 0.02, name="last", model=model)
    assert step_of_session(session) is None
    trained = f"{model}/global_step_40"
    session = step_session(tmp_path, 1, 0.02, name="trained", model=trained)
    step = step_of_session(session)
    assert step is not None
    assert step.number == 40


def test_the_name_of_the_model_in_a_name_is_no_step(tmp_path: Path) -> None:
    for name, number in (("run-of-Step-3", None), ("step_5_Step-3", 5)):
        session = step_session(tmp_path, 1, 0.02, name=name, model="org/Step-3")
        step = step_of_session(session)
        assert (step and step.number) == number


def test_a_number_that_every_model_has_is_no_step(tmp_path: Path) -> None:
    for day, name in ((2, "a"), (1, "b")):
        created = f"2026-01-0{day}"
        step_session(tmp_path, day, 0.02, name=name, created=created, model="z-iter3")
    (line,) = TrendReader(tmp_path).look().trend.lines
    assert line.order == "time"
    assert line.model == "z-iter3"
    assert [row.session for row in line.rows] == ["b", "a"]


def test_facts_tell_the_step_before_names_do(tmp_path: Path) -> None:
    facts = {"extra": {"step": 3}}
    session = step_session(tmp_path, 9, 0.02, facts=facts)
    step = step_of_session(session)
    assert step is not None
    assert (step.number, step.source) == (3, "facts")
    model = step_session(tmp_path, 1, 0.02, name="last", model="a/checkpoint-8")
    step = step_of_session(model)
    assert step is not None
    assert (step.number, step.source) == (8, "model")
