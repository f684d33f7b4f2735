"""The monkey for two minutes, over all screens at three sizes, and for a short while on
a real terminal: `python -m tests.monkey` runs it longer, and is told the seed.
"""

from __future__ import annotations

from tests.monkey import never_seen, run_at_each_size, run_on_terminal
from tests.monkey_world import Found

SECONDS = 120
SEED = 1
BURSTS_ON_TERMINAL = 40
FEWEST_BURSTS = 100
"""However slow the machine is."""


def test_nothing_that_a_monkey_presses_ends_the_program() -> None:
    found = run_at_each_size(SECONDS, SEED)
    assert not found.faults, told(found)
    assert found.bursts >= FEWEST_BURSTS
    unseen = never_seen(found)
    assert not unseen, f"the monkey was not led to {unseen}"


def test_nothing_that_is_typed_on_a_terminal_ends_the_program() -> None:
    found = run_on_terminal(BURSTS_ON_TERMINAL, 1)
    assert found.bursts == BURSTS_ON_TERMINAL
    assert not found.faults, told(found)


def told(found: Found) -> str:
    return "\n\n".join(f"{kind}\n{led}" for kind, led in found.faults.items())
