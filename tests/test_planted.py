"""Faults planted in real models: the right cause is named, clean pairs are called
clean, and models held out agree.

The small model is what the faults were described on; thresholds come from arguments or
from tiny Llama and Qwen 2 models. Held out are tiny models of two other families (Qwen
3 and Gemma shapes, trained for half a minute) and other sizes of every fault.

Sizes are those of `logdrift.core.planted.sizes`, which says why. The tiny models are
trained on 400,000 tokens each: with 300,000 more faults were called by a wrong name
(docs/why.md).
"""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from logdrift.core.capture.environments import find_interpreter
from logdrift.core.capture.jobs import Step
from logdrift.core.planted.faults import CLEAN, FAULTS
from logdrift.core.planted.forms import FORMS, form_totals, judge_forms
from logdrift.core.planted.judge import JudgedSession, judge_folder, totals
from logdrift.core.planted.selftest import SelfTest, plant_small
from logdrift.core.planted.table import table
from tests.common import Fields

PLANTED = Path(__file__).resolve().parent.parent / "core" / "planted"
pytestmark = pytest.mark.engine
BACKGROUNDS = ("float32", "bfloat16")
HELD_OUT = ("qwen3", "gemma")


def run_worker(python: Path, *arguments: object) -> None:
    done = subprocess.run(
        [str(python), str(PLANTED / "inside" / "worker.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=850,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]


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
def both_held_out(
    tmp_path_factory: pytest.TempPathFactory, transformers_python: Path
) -> Path:
    """Tiny models of other families with other sizes of the faults: 20 sequences of 60
    tokens, and four of 180.
    """
    work = tmp_path_factory.mktemp("held-out")
    run_worker(
        transformers_python,
        work / "models",
        work,
        "--little",
        ",".join(HELD_OUT),
        "--held-out",
        "--lengths",
        "60x20",
        "--long",
        "180x4",
    )
    return work


def check(rows: list[JudgedSession], *, least: float = 0.9) -> Fields:
    """The targets: first in 90%, among the first two in all, no alarm on a clean pair,
    nothing guessed below the noise.
    """
    shown = table(rows)
    print(shown)
    assert len(rows) == len(FAULTS) * len(BACKGROUNDS), shown
    found = totals(rows)
    assert found["controls"] == len(CLEAN) * len(BACKGROUNDS)
    assert found["false alarms"] == 0, shown
    assert found["guessed"] == 0, shown
    assert found["faults"] >= 30, shown
    assert found["first"] >= least * found["faults"], shown
    assert found["missed"] == 0, shown
    return found


def test_the_small_model_from_its_numbers_alone(small: Path) -> None:
    check(judge_folder(small, blind=True))


def test_the_small_model_with_what_engines_show(small: Path) -> None:
    """With the facts, causes that numbers alone cannot tell count too: weights,
    quantisation, the cache's precision.
    """
    assert check(judge_folder(small, blind=False))["faults"] >= 40


def test_the_self_test_meets_its_targets(small: Path) -> None:
    """And says so only while every row is right: one row changed is one target
    missed.
    """
    rows = [tuple(judge_folder(small, blind=blind)) for blind in (True, False)]
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


def check_forms(folder: Path, work: Path) -> None:
    """As captured, as a dump with lists and as one of chosen tokens: nothing wrong is
    likely, and controls stay clean.
    """
    rows = judge_forms(folder, work)
    assert not work.exists()
    assert len(rows) == len(FAULTS) * len(BACKGROUNDS) * len(FORMS)
    totals_of_forms = form_totals(rows)
    print(totals_of_forms)
    found = [row for row in rows if row.answer == "wrong"]
    assert found == []
    for answers in totals_of_forms.values():
        assert answers["clean"] == len(CLEAN) * len(BACKGROUNDS)
    faults = (len(FAULTS) - len(CLEAN)) * len(BACKGROUNDS)
    # What each form must still tell: what the small model and the two held out gave,
    # less a tenth.
    for form, share in (("captured", 0.8), ("lists", 0.6), ("chosen", 0.45)):
        told = totals_of_forms[form]
        assert told["first"] + told["second"] >= share * faults, totals_of_forms


def test_the_small_model_as_users_hold_it(small: Path, tmp_path: Path) -> None:
    check_forms(small, tmp_path / "dumps")


@pytest.mark.parametrize("family", HELD_OUT)
def test_a_model_held_out_as_users_hold_it(
    both_held_out: Path, tmp_path: Path, family: str
) -> None:
    check_forms(both_held_out / family, tmp_path / "dumps")


def test_the_faulty_side_may_be_either(small: Path) -> None:
    check(judge_folder(small, blind=True, swapped=True))


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


@pytest.mark.parametrize("family", HELD_OUT)
def test_a_model_held_out(both_held_out: Path, family: str) -> None:
    check(judge_folder(both_held_out / family, blind=True))
    check(judge_folder(both_held_out / family, blind=False))
