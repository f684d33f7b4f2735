"""Healthy pairs of every length get no likely cause, and short ones the answer that
they are too short; `doctor` prints the table.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose.support import PROOF, ROWS, SEQUENCES, TOKENS, Support
from logdrift.core.planted.healthy import (
    LENGTHS,
    HealthySetting,
    draw_session,
    draw_setting,
    false_alarms,
)
from tests.common import Run

PAIRS = {1: 200, 2: 200, 3: 200, 8: 200, 32: 150, 128: 100, 1024: 25}
"""The short form: the full one, 1,000 of each, takes three minutes (`logdrift doctor
--false-alarms`; docs/why.md has its table).
"""


@pytest.mark.parametrize("tokens", LENGTHS)
def test_no_healthy_pair_has_a_likely_cause(tokens: int) -> None:
    row = next(iter(false_alarms((tokens,), PAIRS[tokens], seed=1)))
    assert row.alarms == 0, row.alarmed
    if tokens < TOKENS.likely:
        assert row.too_few == row.pairs
        assert row.noise == 0
    else:
        assert row.noise >= 0.95 * row.pairs


def test_the_draws_cover_what_a_session_may_have() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_setting(rng, 128) for _ in range(400)]
    for name in ("prompts", "with_facts", "reference", "repeats"):
        assert {getattr(setting, name) for setting in drawn} == {False, True}
    found = {setting.width_a for setting in drawn}
    expected = {0, 1, 3, 5, 20}
    assert found == expected
    assert any(setting.width_a != setting.width_b for setting in drawn)
    assert {setting.dtype for setting in drawn} == {"bfloat16", "float16", "float32"}


def test_a_drawn_session_is_what_was_asked_for() -> None:
    setting = HealthySetting(
        tokens=100,
        width_a=5,
        width_b=3,
        prompts=False,
        with_facts=True,
        reference=True,
        repeats=True,
        dtype="bfloat16",
        sequences=4,
    )
    session = draw_session(setting, np.random.default_rng(3))
    pair = make_pair(session, "trainer", "rollout")
    assert int(pair.scored.sum()) == 100
    assert pair.a.top_k == 5
    assert pair.b.top_k == 3
    assert not pair.scored[~pair.in_completion].any()
    assert 0.0005 < float(np.abs(pair.delta[pair.scored]).mean()) < 0.2
    assert {info.label for info in session.captures} == {
        "trainer/prefill",
        "rollout/prefill",
        "reference/prefill",
        "trainer/prefill#2",
        "rollout/prefill#2",
    }


@pytest.mark.parametrize("support", [TOKENS, ROWS, SEQUENCES, PROOF])
def test_a_score_grows_with_every_unit_of_evidence(support: Support) -> None:
    ceilings = [support.ceiling(units) for units in range(support.certain + 2)]
    assert ceilings == sorted(ceilings)
    assert len(set(ceilings[: support.certain + 1])) == support.certain + 1
    assert ceilings[0] == 0
    assert ceilings[support.likely - 1] < 0.5 <= ceilings[support.likely]
    assert ceilings[support.certain - 1] < 0.9
    assert ceilings[support.certain] == 1


def test_doctor_prints_the_table(run_logdrift: Run) -> None:
    done = run_logdrift("doctor", "--false-alarms", "4")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [int(line.split()[0].replace(",", "")) for line in lines[1:-1]] == list(
        LENGTHS
    )
    assert lines[-1].endswith("held")
    data = json.loads(run_logdrift("doctor", "--false-alarms", "2", "--json").stdout)
    assert data["schema"] == 1
    assert data["ok"]
    found = [row["tokens"] for row in data["rows"]]
    assert found == list(LENGTHS)


@pytest.mark.parametrize(
    "arguments", [("--false-alarms", "0"), ("--false-alarms", "5", "--self-test")]
)
def test_doctor_refuses_what_makes_no_sense(
    run_logdrift: Run, arguments: tuple[str, ...]
) -> None:
    done = run_logdrift("doctor", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
