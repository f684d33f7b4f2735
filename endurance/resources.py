"""A machine refuses something in the middle of it: one clear line or it works, and once
the machine gives it again all goes on as if nothing had been.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from endurance import held
from endurance.faults import FAULTS, Fault, NotThisMachine, can_have_disks, own_disk
from endurance.held import Lost
from endurance.runs import Kind, Order, Tally
from endurance.surroundings import Surroundings
from endurance.toy_world import ToyWorld
from endurance.undertakings import Undertaking, ended, said, started
from endurance.undertakings_more import Environment, Recording, Screen

_OURS = "logdrift: "
_CODES = (0, 1, 2)
_NO_START = "Failed to import the site module"
"""Python's own last words, with too few files to reach the first line of logdrift."""
_NOT_HERE = "not possible here"


def run(order: Order, tally: Tally) -> None:
    """So many faults, of everything that needs no real engine and no terminal."""
    world = ToyWorld(order.folder / "toy")
    has_disks = can_have_disks(order.folder)
    undertakings = only_commands(world.undertakings())
    ready: set[Undertaking] = set()
    for number in order.numbers:
        chance = order.chance(number)
        fault = FAULTS[number % len(FAULTS)](chance)
        undertaking = chance.choice(undertakings)
        if undertaking not in ready:
            undertaking.prepare(order.folder)
            ready.add(undertaking)
        row = f"{fault.name}: {undertaking.name}"
        if fault.needs_disk and not has_disks:
            tally.count(fault.name, _NOT_HERE)
            continue
        place = order.folder / f"run-{number}"
        try:
            with own_disk(place):
                tally.count(row, _refuse(undertaking, fault, place))
        except NotThisMachine as error:
            print(f"run {number}, {row}: {error}", flush=True)
            tally.count(fault.name, _NOT_HERE)
            _clear(world.surroundings)
        except held.FAULTS as error:
            tally.lose(number, row, f"{type(error).__name__}: {error}"[:2000])
            _clear(world.surroundings)


def only_commands(undertakings: Sequence[Undertaking]) -> list[Undertaking]:
    """Those that are commands: a training is somebody's own program, an environment is
    made by pip.
    """
    own_ways = (Environment, Recording, Screen)
    chosen = [one for one in undertakings if not isinstance(one, own_ways)]
    return list(dict.fromkeys(chosen))


def _refuse(undertaking: Undertaking, fault: Fault, place: Path) -> str:
    """What became of it: ``worked`` or ``refused``."""
    undertaking.lay_out(place)
    undertaking.confirmation = ()
    with fault.around(place):
        process = _begin(undertaking, fault, place)
        fault.during(process, place)
        code = ended(process, place)
    _check_said(undertaking, fault, place, code)
    surroundings = undertaking.world.surroundings
    running = surroundings.running()
    if running:
        raise Lost(f"still running: {running}")
    undertaking.check(place)
    undertaking.confirmation = fault.confirmation
    undertaking.finish(place)
    undertaking.compare(place)
    left = surroundings.left()
    if left:
        raise Lost(f"left behind: {left}")
    return "refused" if code else "worked"


def _begin(
    undertaking: Undertaking, fault: Fault, place: Path
) -> subprocess.Popen[bytes]:
    world = undertaking.world
    argv = fault.argv(world.command(*undertaking.arguments(place)))
    variables = undertaking.variables(place)
    for name, value in fault.variables(place).items():
        former = variables.get(name, "")
        if name == "PYTHONPATH":
            value = f"{value}:{former}"
        variables[name] = value
    return started(argv, variables, place, fault.limit)


def _check_said(undertaking: Undertaking, fault: Fault, place: Path, code: int) -> None:
    told = said(place)
    if _NO_START in told:
        return
    if code not in _CODES:
        raise Lost(f"it ended with {code}: {told}")
    if code and fault.always_works:
        raise Lost(f"it did not work: {told}")
    undertaking.check_said(place)
    lines = [line for line in told.splitlines() if line.startswith(_OURS)]
    if code and fault.is_heard and len(lines) != 1:
        raise Lost(f"it has {len(lines)} lines of why: {told}")


def _clear(surroundings: Surroundings) -> None:
    for path in surroundings.temporary.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


KIND = Kind("resources", "the machine refuses something", 500, run)
