"""Signals at random moments: to the process that does something, to its workers, to
engines. Whatever was finished is kept, and what goes on ends as if nothing had been.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from endurance.engine_world import EngineWorld
from endurance.held import FAULTS, Lost
from endurance.runs import Kind, Order, Tally
from endurance.strikes import Strike, random_strike, strike
from endurance.surroundings import Surroundings
from endurance.toy_world import ToyWorld
from endurance.undertakings import Undertaking, ended, file_of


def run(order: Order, tally: Tally) -> None:
    """So many kills of everything that needs no real engine."""
    world = ToyWorld(order.folder / "toy")
    kill_all(world.undertakings(), world.surroundings, order, tally)


def run_transformers(order: Order, tally: Tally) -> None:
    """So many kills of captures that Transformers makes of a tiny model."""
    _run_engine("transformers", order, tally)


def run_servers(order: Order, tally: Tally) -> None:
    """The same with vLLM, and with SGLang, whose engines are processes of their own."""
    half = order.runs // 2
    for engine, first, runs in (("vllm", 0, order.runs - half), ("sglang", 1, half)):
        part = Order(runs, order.seed, order.folder, order.first + first)
        _run_engine(engine, part, tally)


def _run_engine(engine: str, order: Order, tally: Tally) -> None:
    world = EngineWorld(order.folder / engine, engine)
    kill_all(world.undertakings(), world.surroundings, order, tally)


def kill_all(
    undertakings: Sequence[Undertaking],
    surroundings: Surroundings,
    order: Order,
    tally: Tally,
) -> None:
    """One kill a run, of the undertakings in turn."""
    ready: set[Undertaking] = set()
    for number in order.numbers:
        undertaking = undertakings[number % len(undertakings)]
        if undertaking not in ready:
            undertaking.prepare(order.folder)
            ready.add(undertaking)
        plan = random_strike(
            order.chance(number),
            undertaking.targets,
            undertaking.seconds,
            undertaking.lines,
        )
        place = order.folder / f"run-{number}"
        place.mkdir()
        row = f"{undertaking.name}: {plan.target}"
        try:
            _kill(undertaking, plan, place, tally, row)
            left = surroundings.left()
            if left:
                raise Lost(f"left behind: {left}")
        except FAULTS as error:
            tally.lose(number, row, f"{plan}: {error}"[:2000])
            _clear(surroundings.temporary)
        shutil.rmtree(place)
        file_of(place).unlink(missing_ok=True)


def _kill(
    undertaking: Undertaking, plan: Strike, place: Path, tally: Tally, row: str
) -> None:
    undertaking.lay_out(place)
    process = undertaking.begin(place)
    has_struck = strike(plan, process, undertaking.events(place))
    ended(process, place)
    undertaking.check_said(place)
    undertaking.settle(place)
    running = undertaking.world.surroundings.running()
    if running:
        raise Lost(f"still running: {running}")
    undertaking.check(place)
    outcome = plan.number.name
    if has_struck:
        tally.count(undertaking.phase(place), outcome)
    else:
        outcome = "ended before"
    tally.count(row, outcome)
    undertaking.finish(place)
    undertaking.compare(place)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


KINDS = (
    Kind("kills", "a process is killed at a random moment", 700, run),
    Kind("kills-transformers", "the same with Transformers", 280, run_transformers),
    Kind("kills-engines", "the same with vLLM and SGLang", 20, run_servers),
)
