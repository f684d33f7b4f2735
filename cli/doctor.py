"""``logdrift doctor``: what works on this machine, and the self-test of the
diagnosis.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from logdrift.core.doctor import Check, broken, machine_checks
from logdrift.core.errors import InputError
from logdrift.core.report.layout import Canvas, canvas_of
from logdrift.core.report.strict_json import dump

if TYPE_CHECKING:
    from logdrift.core.planted.healthy import FalseAlarms
    from logdrift.core.planted.selftest import SelfTest

_STYLE = {"ok": "good", "warning": "warn", "broken": "bad"}
_FALSE_ALARMS_HEAD = (
    f"{'tokens':>6} {'pairs':>6} {'likely cause':>13} {'likely noise':>13}"
    f" {'too few tokens':>15} {'highest score':>14}"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Checks Python, the config file, the engines (each is imported once), GPU,"
        " memory, disk and terminal: ok, warning or broken, with a line that says"
        " how to fix it. Exit code 0, or 1 where something needed is broken."
    )
    parser.epilog = (
        "The self-test plants faults with a known cause in the small model and"
        " wants them named: exit code 1 where a target is missed. It goes on where"
        " it was interrupted. docs/why.md says what is planted and wanted."
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="plant faults in the small model, and diagnose them",
    )
    parser.add_argument(
        "--quick", action="store_true", help="with --self-test: in float32 alone"
    )
    parser.add_argument(
        "--engines",
        default="",
        metavar="LIST",
        help="with --self-test: plant in these engines too, e.g. vllm,sglang",
    )
    parser.add_argument(
        "--false-alarms",
        nargs="?",
        type=int,
        const=1000,
        metavar="PAIRS",
        help=(
            "draw healthy pairs of 1 to 1,024 tokens (1,000 of each length) and count"
            " the causes that are wrongly called likely"
        ),
    )
    parser.add_argument("--json", action="store_true", help="JSON, schema 1")


def run(args: argparse.Namespace) -> int:
    """Check, then test where asked: 0, or 1 where something is broken or a target
    missed, 130 after Ctrl-C.
    """
    if args.false_alarms is not None:
        return _false_alarms(args)
    engines = args.engines.replace(",", " ").split()
    _refuse_flags_of_the_self_test(args, engines)
    canvas = canvas_of(sys.stdout)
    checks, tested = _check_and_test(args, engines, canvas)
    ok = not broken(checks) and (tested is None or not tested.shortfalls)
    if args.json:
        answer: dict[str, Any] = {
            "schema": 1,
            "ok": ok,
            "checks": [check.to_json() for check in checks],
        }
        if tested is not None:
            answer["self_test"] = tested.to_json()
        sys.stdout.write(dump(answer))
    elif tested is not None:
        from logdrift.cli.self_test import print_self_test  # only where it is needed

        print_self_test(tested, canvas)
    sys.stdout.flush()
    return 0 if ok else 1


def _refuse_flags_of_the_self_test(
    args: argparse.Namespace, engines: Sequence[str]
) -> None:
    """Raise InputError where a flag of the self-test is given without it."""
    if args.self_test or not (engines or args.quick):
        return
    flag = "--engines" if engines else "--quick"
    raise InputError(f"{flag} is of the self-test: add --self-test")


def _check_and_test(
    args: argparse.Namespace, engines: Sequence[str], canvas: Canvas
) -> tuple[list[Check], SelfTest | None]:
    """The checks of the machine, and the self-test where it was asked for."""
    from logdrift.cli.jobs import interruptible, shown
    from logdrift.core.planted.selftest import check_engines, run_self_test

    with interruptible() as cancel:
        checks = _checks(args, cancel)
        if not args.json:
            _print_checks(checks, canvas)
        if not args.self_test:
            return checks, None
        check_engines(engines)
        _announce(args.quick, engines)
        with shown() as report:
            tested = run_self_test(report, cancel, quick=args.quick, engines=engines)
    return checks, tested


def _false_alarms(args: argparse.Namespace) -> int:
    """The table of false alarms: 0, or 1 where more healthy pairs were given a likely
    cause than the target allows.
    """
    from logdrift.core.planted.healthy import false_alarms

    if args.false_alarms < 1:
        raise InputError(f"--false-alarms {args.false_alarms}: give at least 1 pair")
    if args.self_test:
        raise InputError("--false-alarms runs by itself: leave out --self-test")
    rows = false_alarms(pairs=args.false_alarms)
    if args.json:
        ok = _dump_false_alarms(rows)
    else:
        ok = _print_false_alarms(rows)
    sys.stdout.flush()
    return 0 if ok else 1


def _dump_false_alarms(rows: Iterable[FalseAlarms]) -> bool:
    """Write the rows as JSON; whether the target is held."""
    counted = list(rows)
    ok = _are_few(counted)
    dumped = [asdict(row) for row in counted]
    sys.stdout.write(dump({"schema": 1, "ok": ok, "rows": dumped}))
    return ok


def _print_false_alarms(rows: Iterable[FalseAlarms]) -> bool:
    """Print each row as it is counted; whether the target is held."""
    from logdrift.core.planted.healthy import MOST

    print(_FALSE_ALARMS_HEAD)
    counted = []
    for row in rows:
        counted.append(row)
        print(_false_alarms_line(row), flush=True)
    ok = _are_few(counted)
    print(
        f"at most {MOST:.1%} of the healthy pairs of a length may be given a likely"
        f" cause: {'held' if ok else 'exceeded'}"
    )
    return ok


def _are_few(rows: Iterable[FalseAlarms]) -> bool:
    from logdrift.core.planted.healthy import MOST

    return all(row.alarms <= MOST * row.pairs for row in rows)


def _false_alarms_line(row: FalseAlarms) -> str:
    return (
        f"{row.tokens:>6,} {row.pairs:>6,} {row.alarms:>13,} {row.noise:>13,}"
        f" {row.too_few:>15,} {row.worst:>14.2f}"
    )


def _checks(args: argparse.Namespace, cancel: threading.Event) -> list[Check]:
    """The checks of the machine, then those of the terminal."""
    from logdrift.cli.terminal import ask_tmux, terminal_checks

    def announce(name: str) -> None:
        print(f"importing {name} ...", file=sys.stderr, flush=True)

    checks = machine_checks(cancel, args.sessions, announce)
    size = shutil.get_terminal_size()
    of_terminal = terminal_checks(
        os.environ,
        sys.stdout.isatty(),
        sys.stdout.encoding or "ascii",
        (size.columns, size.lines),
        ask_tmux,
    )
    return [*checks, *of_terminal]


def _print_checks(checks: Sequence[Check], canvas: Canvas) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        remedy = f": {check.remedy}" if check.remedy else ""
        status = canvas.paint(f"{check.status:<8}", _STYLE[check.status])
        text = canvas.text(check.text + remedy)
        print(f"{status} {check.name:<{width}}  {text}", flush=True)
    counts = Counter(check.status for check in checks)
    print(
        f"{counts['broken']} broken, {counts['warning']} warnings, {counts['ok']} ok",
        flush=True,
    )


def _announce(quick: bool, engines: Sequence[str]) -> None:
    from logdrift.core.planted.selftest import estimate

    minutes = max(1, round(estimate(quick, engines) / 60))
    print(
        f"self-test: about {minutes} min on two cores, less where it was begun",
        file=sys.stderr,
        flush=True,
    )
