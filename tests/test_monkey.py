"""The monkey for a short while: `python -m tests.monkey` runs it longer, and is told
the seed.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.monkey import Found, Monkey, no_engines, own_world, run_on_terminal

BURSTS = 120
BURSTS_ON_TERMINAL = 40


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_that_a_monkey_presses_ends_the_program(seed: int) -> None:
    with own_world() as sessions, no_engines():
        found = asyncio.run(Monkey(sessions, seed).run(BURSTS))
    assert found.bursts == BURSTS
    assert not found.faults, told(found)


def test_nothing_that_is_typed_on_a_terminal_ends_the_program() -> None:
    found = run_on_terminal(BURSTS_ON_TERMINAL, 1)
    assert found.bursts == BURSTS_ON_TERMINAL
    assert not found.faults, told(found)


def told(found: Found) -> str:
    return "\n\n".join(f"{kind}\n{led}" for kind, led in found.faults.items())
