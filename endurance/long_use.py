"""Long use: random keys over all screens, and a capture that is killed every few
seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import random
import signal
from pathlib import Path

from endurance.held import Lost
from endurance.runs import Kind, Order, Tally
from endurance.strikes import SIGNALS, Strike, strike
from endurance.toy_world import ToyWorld
from endurance.undertakings import Capture, Undertaking, ended

_MB = 1 << 20
_SLICE = 60.0
"""Seconds of keys, after which growth is measured."""
_WARM = 3
"""Slices in which everything was once on the screen: what is kept of that is kept once,
and does not count as growth.
"""
_GROWTH_MB = 128.0
"""Of all slices behind them. 14 minutes gave 64 MB, 51 of them in one step: Linux,
CPython 3.11; what each of their 350 starts opens would be gigabytes.
"""
_GROWTH_FILES = 4
_SPECS = ("toy:bfloat16,paths=decode+prefill", "toy:float32,paths=prefill@reference")
_LIVES = (1.5, 6.0)
"""Seconds after which a capture is killed."""
_MOST_LIVES = 10_000


def run_monkey(order: Order, tally: Tally) -> None:
    """A minute of keys for each run. Memory and open files may not grow with them."""
    from tests.monkey import run_at_each_size

    sizes: list[tuple[float, int]] = []
    for number in order.numbers:
        found = run_at_each_size(_SLICE, order.seed + number)
        tally.count("keys", "bursts", found.bursts)
        tally.count("keys", "starts", found.starts)
        for kind, led in found.faults.items():
            tally.lose(number, "keys", f"{kind}\n{led}")
        # A program that has started leaves what is loaded out of collection. This one
        # process starts it again and again.
        gc.unfreeze()
        gc.collect()
        _give_back()
        sizes.append((_memory_mb(), _open_files()))
        print(f"minute {number + 1}: {sizes[-1][0]:.0f} MB, {sizes[-1][1]} files")
    _check_growth(sizes, tally)


def _check_growth(sizes: list[tuple[float, int]], tally: Tally) -> None:
    warm = sizes[_WARM - 1 :]
    if len(warm) < 2:
        return
    more = warm[-1][0] - warm[0][0]
    files = warm[-1][1] - warm[0][1]
    tally.count("growth", "MB", round(more))
    tally.count("growth", "files", files)
    if more > _GROWTH_MB:
        tally.lose(len(sizes), "growth", f"{more:.0f} MB more")
    if files > _GROWTH_FILES:
        tally.lose(len(sizes), "growth", f"{files} more open files")


def _give_back() -> None:
    """Have the allocator give freed pages back, where it can."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _memory_mb() -> float:
    """What this process holds in memory."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE") / _MB


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def run_lives(order: Order, tally: Tally) -> None:
    """A capture of as many sequences as there are runs, killed every few seconds and
    resumed, ends complete and equal to one that nobody disturbed.
    """
    world = ToyWorld(order.folder / "toy")
    prompts = order.folder / "prompts.jsonl"
    lines = [json.dumps({"prompt": f"TEXT {n}"}) for n in range(order.runs)]
    prompts.write_text("\n".join(lines) + "\n")
    given: list[object] = ["--model", world.model, "--prompts", prompts]
    given += ["--max-tokens", 4, "--part-sequences", 8]
    for spec in _SPECS:
        given += ["--backend", spec]
    capture = Capture(world, given)
    capture.prepare(order.folder)
    place = order.folder / "disturbed"
    place.mkdir()
    try:
        lives = _live(capture, place, order.chance(0), tally)
        capture.compare(place)
        left = world.surroundings.left()
        if left:
            raise Lost(f"left behind: {left}")
    except Lost as error:
        tally.lose(0, "sequences", str(error))
        return
    tally.count("sequences", "equal", order.runs)
    tally.count("sequences", "lives", lives)


def _live(
    capture: Undertaking, place: Path, chance: random.Random, tally: Tally
) -> int:
    """Kill it until it ends by itself; how often it was begun."""
    for life in range(1, _MOST_LIVES):
        seconds = chance.uniform(*_LIVES)
        number = chance.choice((signal.SIGKILL, *SIGNALS))
        target = chance.choice(tuple(capture.targets))
        process = capture.begin(place)
        plan = Strike(target, number, seconds)
        has_struck = strike(plan, process, None)
        code = ended(process, place)
        running = capture.world.surroundings.running()
        if running:
            raise Lost(f"still running: {running}")
        capture.check(place)
        tally.count(f"kills of {target}", number.name, int(has_struck))
        if code == 0:
            return life
    raise Lost("it never ends")


KINDS = (
    Kind("monkey", "minutes of random keys over all screens", 20, run_monkey),
    Kind("lives", "a capture of so many sequences, always killed", 2_000, run_lives),
)
