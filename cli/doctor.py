"""``logdrift doctor``: what works on this machine, and the self-test that plants faults
and wants them named.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from logdrift.core.doctor import Check, broken, machine_checks
from logdrift.core.report.layout import Canvas, canvas_of
from logdrift.core.report.strict_json import dump
from logdrift.core.session.visible import visible

_STYLE = {"ok": "good", "warning": "warn", "broken": "bad"}


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
    from logdrift.cli.env import interruptible, shown
    from logdrift.core.errors import InputError
    from logdrift.core.planted.selftest import SelfTest, check_engines, run_self_test

    if args.false_alarms is not None:
        return _false_alarms(args)
    engines = [name for name in args.engines.replace(",", " ").split() if name]
    if not args.self_test and (engines or args.quick):
        raise InputError(
            f"{'--engines' if engines else '--quick'} is of the self-test: add"
            " --self-test"
        )
    canvas = canvas_of(sys.stdout)
    with interruptible() as cancel:
        checks = _checks(args, cancel)
        if not args.json:
            _print_checks(checks, canvas)
        tested: SelfTest | None = None
        if args.self_test:
            check_engines(engines)
            _announce(args.quick, engines)
            with shown() as report:
                tested = run_self_test(
                    report, cancel, quick=args.quick, engines=engines
                )
    ok = not broken(checks) and (tested is None or not tested.shortfalls)
    if args.json:
        found: dict[str, Any] = {
            "schema": 1,
            "ok": ok,
            "checks": [check.to_json() for check in checks],
        }
        if tested is not None:
            found["self_test"] = tested.to_json()
        sys.stdout.write(dump(found))
    elif tested is not None:
        _print_self_test(tested, canvas)
    sys.stdout.flush()
    if ok:
        return 0
    return 1


def _false_alarms(args: argparse.Namespace) -> int:
    """The table of false alarms: 0, or 1 where more healthy pairs were given a likely
    cause than may be.
    """
    from logdrift.core.errors import InputError
    from logdrift.core.planted.healthy import MOST, FalseAlarms, false_alarms

    if args.false_alarms < 1:
        raise InputError(f"--false-alarms {args.false_alarms}: give at least 1 pair")
    if args.self_test:
        raise InputError("--false-alarms runs by itself: leave out --self-test")
    rows: list[FalseAlarms] = []
    if not args.json:
        print(
            f"{'tokens':>6} {'pairs':>6} {'likely cause':>13} {'likely noise':>13}"
            f" {'too few tokens':>15} {'highest score':>14}"
        )
    for row in false_alarms(pairs=args.false_alarms):
        rows.append(row)
        if not args.json:
            print(
                f"{row.tokens:>6,} {row.pairs:>6,} {row.alarms:>13,} {row.noise:>13,}"
                f" {row.too_few:>15,} {row.worst:>14.2f}",
                flush=True,
            )
    ok = all(row.alarms <= MOST * row.pairs for row in rows)
    if args.json:
        sys.stdout.write(
            dump({"schema": 1, "ok": ok, "rows": [asdict(row) for row in rows]})
        )
    else:
        print(
            f"at most {MOST:.1%} of the healthy pairs of a length may be given a likely"
            f" cause: {'held' if ok else 'exceeded'}"
        )
    sys.stdout.flush()
    if ok:
        return 0
    return 1


def _checks(args: argparse.Namespace, cancel: threading.Event) -> list[Check]:
    from logdrift.cli.terminal import ask_tmux, terminal_checks

    def told(name: str) -> None:
        print(f"importing {name} ...", file=sys.stderr, flush=True)

    checks = machine_checks(cancel, args.sessions, told)
    size = shutil.get_terminal_size()
    encoding = sys.stdout.encoding or "ascii"
    return [
        *checks,
        *terminal_checks(
            os.environ,
            sys.stdout.isatty(),
            encoding,
            (size.columns, size.lines),
            ask_tmux,
        ),
    ]


def _print_checks(checks: Sequence[Check], canvas: Canvas) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        if check.remedy:
            remedy = f": {check.remedy}"
        else:
            remedy = ""
        status = canvas.paint(f"{check.status:<8}", _STYLE[check.status])
        print(
            f"{status} {check.name:<{width}}  {canvas.text(check.text + remedy)}",
            flush=True,
        )
    wrong = sum(check.status == "broken" for check in checks)
    warned = sum(check.status == "warning" for check in checks)
    print(
        f"{wrong} broken, {warned} warnings, {len(checks) - wrong - warned} ok",
        flush=True,
    )


def _announce(quick: bool, engines: Sequence[str]) -> None:
    from logdrift.core.planted.selftest import estimate

    minutes = estimate(quick, engines) / 60
    print(
        f"self-test: about {max(1, round(minutes))} min on two cores, less where it was"
        " begun",
        file=sys.stderr,
        flush=True,
    )


def _print_self_test(tested: Any, canvas: Canvas) -> None:
    from logdrift.core.planted.judge import totals

    for title, rows in (
        ("from the numbers alone", tested.blind),
        ("with what the engines show", tested.told),
    ):
        print(f"\n{title}")
        print(f"{'planted':<32} {'precision':<9} {'MAE':>8}  {'outcome':<14}  named")
        for row in rows:
            named = (
                ", ".join(f"{code} {score:.2f}" for code, score in row.named[:2])
                or "nothing"
            )
            style = {
                "missed": "bad",
                "false alarm": "bad",
                "guessed": "bad",
                "second": "warn",
            }.get(row.outcome, "")
            told = canvas.paint(f"{_told(row):<14}", style)
            print(
                visible_line(
                    canvas,
                    f"{row.fault:<32} {row.background:<9} {row.mae:8.1e}  ",
                    told,
                    named,
                )
            )
        found = totals(rows)
        print(
            f"planted {found['faults']}: named first {found['first']}, second"
            f" {found['second']}, missed {found['missed']}; clean {found['controls']}:"
            f" false alarms {found['false alarms']}; guessed below the noise:"
            f" {found['guessed']}"
        )
    _print_forms(tested, canvas)
    for line in tested.shortfalls:
        print(canvas.paint(visible(f"target missed: {line}"), "bad"))
    if not tested.shortfalls:
        print(canvas.paint("every target is met", "good"))


def _print_forms(tested: Any, canvas: Canvas) -> None:
    """The planted sessions as users hold them: one line a form, and each wrong
    answer.
    """
    from logdrift.core.planted.forms import ANSWERS, IN_WORDS, form_totals

    print("\nas users hold them")
    print(f"{'':<30}" + "".join(f"{answer:>16}" for answer in ANSWERS))
    for form, answers in form_totals(tested.forms).items():
        print(
            f"{IN_WORDS[form]:<30}"
            + "".join(f"{answers[answer]:>16}" for answer in ANSWERS)
        )
    for row in tested.forms:
        if row.answer == "wrong":
            named = ", ".join(f"{code} {score:.2f}" for code, score in row.named)
            print(
                canvas.paint(
                    f"wrong: {row.fault}, {row.background}, {IN_WORDS[row.form]}:"
                    f" {named}",
                    "bad",
                )
            )


def _told(row: Any) -> str:
    """Outcomes that are not counted stand in brackets: numbers alone cannot tell them,
    or they are below the noise.
    """
    outcome = str(row.outcome)
    counted = outcome in ("clean", "false alarm", "guessed", "not detectable") or (
        row.asked and (row.separable or not row.blind)
    )
    if counted:
        return outcome
    return f"({row.outcome})"


def visible_line(canvas: Canvas, start: str, told: str, named: str) -> str:
    """One row of the table."""
    return f"{canvas.text(start)}{told}  {canvas.text(named)}"
