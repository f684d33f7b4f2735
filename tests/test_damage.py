"""A few of the mutations of `endurance`, which has thousands."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from endurance import damage
from endurance.runs import Order, Tally
from tests.made_sessions import capture, write_session

COUNT = 150


def test_damaged_sessions_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    tally = Tally()
    damage.run(Order(COUNT, 7, tmp_path), tally)
    assert tally.losses == []


def test_the_harness_sees_what_it_looks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each kind of fault one, in the place of a command."""

    def fails(session: Path) -> int:
        raise TypeError("a wrong type")

    def waits(session: Path) -> int:
        import time

        time.sleep(60)
        return 0

    def works(session: Path) -> int:
        while True:
            pass

    def warns(session: Path) -> int:
        import numpy as np

        np.float32(3e38) * np.float32(10)
        return 0

    def eats(session: Path) -> int:
        return len(b"\1" * (400 << 20)) * 0

    monkeypatch.setattr(damage, "WAIT", 3.0)
    session = damage.made_session(tmp_path / "made")
    for command, said in (
        (fails, "TypeError"),
        (waits, "hangs"),
        (works, "hangs"),
        (warns, "Warning"),
        (eats, "MiB"),
    ):
        monkeypatch.setitem(damage.COMMANDS, "report", command)
        found = damage.faults_of(session, "none", ["report"])
        assert len(found) == 1, command
        assert said in found[0].what, command
    assert damage.faults_of(session, "none", ["why", "list", "diff"]) == []


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_what_the_harness_found_in_numbers(tmp_path: Path, value: float) -> None:
    """A score that one side lacks is told of, and an infinite difference is compared
    with itself.
    """
    rows = [[math.nan, *([-1.0 - 0.01 * i] * 9)] for i in range(8)]
    odd = [list(row) for row in rows]
    odd[3][5] = value
    write_session(
        tmp_path / "odd",
        [2] * 8,
        [capture("trainer/prefill", rows), capture("vllm/prefill", odd)],
    )
    assert damage.faults_of(tmp_path / "odd", "odd", list(damage.COMMANDS)) == []
