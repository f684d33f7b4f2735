"""Faults planted in the small model, on which they were described: the right cause is
named, and clean pairs are called clean.

Sizes are those of `logdrift.core.planted.sizes`, which says why.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from logdrift.core.capture.environments import find_interpreter
from logdrift.core.capture.jobs import Step
from logdrift.core.planted.faults import FAULTS
from logdrift.core.planted.judge import JudgedSession, judge_folder, totals
from logdrift.core.planted.selftest import SelfTest, plant_small
from logdrift.core.planted.table import table
from tests.planted.checks import BACKGROUNDS, check_forms, check_named

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Path:
    """The small model, planted as ``logdrift doctor --self-test`` does it."""
    out = tmp_path_factory.mktemp("planted") / "smollm2"
    steps: list[Step] = []
    plant_small(
        find_interpreter("transformers"),
        small_model,
        out,
        BACKGROUNDS,
        steps.append,
        threading.Event(),
    )
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[0] == 0
    found = {step.total for step in steps}
    assert found == {len(FAULTS) * len(BACKGROUNDS)}
    return out


@pytest.fixture(scope="module")
def blind(small: Path) -> list[JudgedSession]:
    """What was found from the numbers alone."""
    return judge_folder(small, blind=True)


@pytest.fixture(scope="module")
def told(small: Path) -> list[JudgedSession]:
    """What was found with the facts."""
    return judge_folder(small, blind=False)


def test_the_small_model_from_its_numbers_alone(blind: list[JudgedSession]) -> None:
    check_named(blind)


def test_the_small_model_with_what_engines_show(told: list[JudgedSession]) -> None:
    """With the facts, causes that numbers alone cannot tell count too: weights,
    quantisation, the cache's precision.
    """
    assert check_named(told)["faults"] >= 40


def test_the_self_test_meets_its_targets(
    blind: list[JudgedSession], told: list[JudgedSession]
) -> None:
    """And says so only while every row is right: one row changed is one target
    missed.
    """
    rows = [tuple(blind), tuple(told)]
    assert SelfTest(*rows).shortfalls == ()
    at = next(i for i, row in enumerate(rows[0]) if row.fault == "clean")
    alarmed = (
        *rows[0][:at],
        replace(rows[0][at], outcome="false alarm"),
        *rows[0][at + 1 :],
    )
    assert SelfTest(alarmed, rows[1]).shortfalls == (
        "from the numbers alone: 1 false alarms, none wanted",
    )


def test_the_small_model_as_users_hold_it(small: Path, tmp_path: Path) -> None:
    check_forms(small, tmp_path / "dumps")


def test_the_faulty_side_may_be_either(small: Path) -> None:
    check_named(judge_folder(small, blind=True, swapped=True))


def test_without_a_reference_what_has_a_shape_is_still_named(small: Path) -> None:
    """Shapeless noise within bfloat16's size cannot be told from rounding then: the
    diagnosis says so and guesses nothing. RoPE x1.5 on short sequences is of that kind,
    so 95% among the first two.
    """
    rows = judge_folder(small, blind=True, reference=False)
    found = totals(rows)
    assert found["false alarms"] == found["guessed"] == 0, table(rows)
    assert found["first"] >= 0.9 * found["faults"], table(rows)
    assert found["missed"] <= 0.05 * found["faults"], table(rows)
