"""``logdrift env create|list|check``: the interpreters that hold the engines."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from logdrift.core.capture import environments
from logdrift.core.capture.installer import Marker, read_marker
from logdrift.core.capture.jobs import Cancelled, Report, Step
from logdrift.core.capture.models import (
    SMALL_MODEL,
    prepare_small_model,
    resolve_model,
    small_model_folder,
)
from logdrift.core.capture.recipes import recipe_for
from logdrift.core.config import cache_folder
from logdrift.core.engines import ENGINES, TRAINER
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.paths import user_path
from logdrift.core.report.layout import canvas_of
from logdrift.core.session.visible import visible

_LINE_EVERY = (
    10.0  # seconds between plain lines of one piece of work, where there is no terminal
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Engines pin different versions of torch, so each lives in an interpreter"
        " of its own."
    )
    parser.epilog = (
        f"Environments live in {cache_folder() / 'envs'} (LOGDRIFT_CACHE, or cache"
        " = in the config file)."
    )
    actions = parser.add_subparsers(
        dest="action", metavar="create|list|check", required=True
    )
    create = actions.add_parser(
        "create", help="install engines, each in an environment of its own"
    )
    create.add_argument(
        "engines",
        nargs="*",
        metavar="ENGINE",
        help=f"{', '.join(ENGINES)} (default: all)",
    )
    create.add_argument(
        "--dir",
        metavar="DIR",
        help="put each environment in DIR/ENGINE instead of the cache",
    )
    create.add_argument(
        "--python",
        metavar="PYTHON",
        help="interpreter to make the environments from (3.11 to 3.13)",
    )
    create.add_argument(
        "--fresh",
        action="store_true",
        help="start over, even where the environment is finished",
    )
    listing = actions.add_parser(
        "list", help="the interpreter of each engine, without starting it"
    )
    listing.add_argument("engines", nargs="*", metavar="ENGINE", help="default: all")
    check = actions.add_parser(
        "check", help="start each interpreter and import its engine"
    )
    check.add_argument(
        "engines",
        nargs="*",
        metavar="ENGINE",
        help="default: all that have an interpreter",
    )
    check.add_argument(
        "--python", metavar="PYTHON", help="check this interpreter instead"
    )
    limit = environments.CHECK_SECONDS
    check.add_argument(
        "--timeout",
        type=float,
        default=limit,
        metavar="SECONDS",
        help=f"default: {limit:.0f}",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; 0, or 1 where an engine asked for does not work, 130 after
    Ctrl-C.
    """
    for engine in args.engines:
        if engine not in ENGINES:
            raise InputError(f"engine {engine!r} is unknown: use {', '.join(ENGINES)}")
    engines = list(dict.fromkeys(args.engines))
    if args.action == "create":
        return _create(engines or list(ENGINES), args.dir, args.python, args.fresh)
    if args.action == "list":
        return _list(engines or list(ENGINES))
    return _check(engines, args.python, args.timeout)


def ensure_environments(engines: Sequence[str]) -> None:
    """Make the managed environments of the engines that have no interpreter yet. Raises
    LogdriftError, Cancelled.
    """
    missing = [engine for engine in engines if not _has_interpreter(engine)]
    if missing:
        with interruptible() as cancel, shown() as report:
            _run_all({engine: _creation(engine, report, cancel) for engine in missing})


def ensure_small_model() -> None:
    """Prepare the small model if it is missing. Raises LogdriftError, Cancelled."""
    if small_model_folder().exists():
        return
    python = environments.find_interpreter(TRAINER).python
    with interruptible() as cancel, shown() as report:
        prepare_small_model(python, report, cancel)


def _has_interpreter(engine: str) -> bool:
    try:
        return bool(environments.find_interpreter(engine))
    except InputError:
        return False


def _creation(
    engine: str, report: Report, cancel: threading.Event, **options: Any
) -> Callable[[], Marker]:
    return lambda: environments.create_environment(engine, report, cancel, **options)


def _create(
    engines: list[str], folder: str | None, python: str | None, fresh: bool
) -> int:
    began = time.monotonic()
    options = {
        "parent": user_path(folder) if folder else None,
        "python": python,
        "fresh": fresh,
    }
    with interruptible() as cancel, shown() as report:
        jobs = {
            engine: _creation(engine, report, cancel, **options) for engine in engines
        }
        done, failures = _collect(jobs)
    if any(isinstance(error, Cancelled) for error in failures.values()):
        raise Cancelled(
            "cancelled: go on with logdrift env create"
            f" {' '.join(e for e in engines if e not in done)}"
        )
    for engine, marker in done.items():
        _say(
            f"{engine:<13} ready  {_versions(marker.versions)} "
            f" {environments.environment_folder(engine)}"
        )
    for error in failures.values():
        print(f"logdrift: {visible(str(error))}", file=sys.stderr)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return max(
        (getattr(error, "exit_code", 1) for error in failures.values()), default=0
    )


def _run_all(jobs: dict[str, Callable[[], Any]]) -> None:
    _, failures = _collect(jobs)
    worst = next(
        (e for e in failures.values() if not isinstance(e, Cancelled)),
        next(iter(failures.values()), None),
    )
    if worst is not None:
        raise worst


def _collect(
    jobs: dict[str, Callable[[], Any]],
) -> tuple[dict[str, Any], dict[str, LogdriftError]]:
    """Run jobs side by side; results and failures by name. One failing does not stop
    the rest, Ctrl-C stops all.
    """
    with ThreadPoolExecutor(max_workers=max(len(jobs), 1)) as pool:
        futures: dict[str, Future[Any]] = {
            name: pool.submit(job) for name, job in jobs.items()
        }
        while wait(futures.values(), timeout=0.2, return_when=FIRST_EXCEPTION).not_done:
            pass  # waking up lets the main thread handle signals
    failures = {
        name: error
        for name, f in futures.items()
        if isinstance(error := f.exception(), LogdriftError)
    }
    for name, future in futures.items():
        if name not in failures:
            future.result()
    return {
        name: f.result() for name, f in futures.items() if name not in failures
    }, failures


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C, SIGTERM and a lost terminal set the event; jobs then end their process
    groups and raise Cancelled.
    """
    cancel = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        numbers.remove(signal.SIGHUP)
    former = {
        number: signal.signal(number, lambda *_: cancel.set()) for number in numbers
    }
    try:
        yield cancel
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def shown() -> Iterator[Report]:
    """Progress on stderr: bars on a terminal, plain lines elsewhere. Jobs report from
    their own threads.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines()
        return
    columns = (
        TextColumn("{task.fields[what]:<13}"),
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=4
    ) as progress:
        tasks: dict[str, TaskID] = {}
        guard = threading.Lock()

        def report(step: Step) -> None:
            with guard:
                if step.what not in tasks:
                    tasks[step.what] = progress.add_task("", what=step.what, count="")
                if step.total:
                    count = f"{step.done} of {step.total}"
                else:
                    count = ""
                total = step.total or None
                progress.update(
                    tasks[step.what],
                    description=step.doing,
                    completed=step.done,
                    total=total,
                    count=count,
                )

        yield report


def _plain_lines() -> Report:
    shown: dict[str, tuple[str, float]] = {}
    guard = threading.Lock()
    began = time.monotonic()

    def report(step: Step) -> None:
        now = time.monotonic()
        with guard:
            doing, when = shown.get(step.what, ("", 0.0))
            if step.doing == doing and now - when < _LINE_EVERY:
                return
            shown[step.what] = (step.doing, now)
            if step.total:
                count = f" {step.done} of {step.total}"
            else:
                count = ""
            print(
                f"{step.what}: {step.doing}{count} ({now - began:.0f} s)",
                file=sys.stderr,
                flush=True,
            )

    return report


def _list(engines: list[str]) -> int:
    for engine in engines:
        found = environments.available()[engine]
        if isinstance(found, LogdriftError):
            _say(f"{engine:<13} -        {found}")
            continue
        if found.origin == "managed":
            marker = read_marker(found.python.parent.parent)
        else:
            marker = None
        notes = _versions(marker.versions) if marker else ""
        if marker and marker.recipe != recipe_for(engine, marker.device).digest:
            notes += f"  (older recipe: logdrift env create {engine} renews it)"
        _say(f"{engine:<13} {found.origin:<8} {found.python}  {notes}".rstrip())
    try:
        if small_model_folder().exists():
            model = resolve_model(SMALL_MODEL)
        else:
            model = "not prepared yet"
    except LogdriftError as error:
        model = str(error)
    _say(f"{SMALL_MODEL:<13} model    {model}")
    return 0


def _check(engines: list[str], python: str | None, seconds: float) -> int:
    if python is not None and len(engines) != 1:
        raise InputError(
            "--python checks one engine: name it, as in logdrift env check vllm"
            " --python PYTHON"
        )
    found = environments.available()
    engines = (
        engines
        or [name for name in ENGINES if not isinstance(found[name], LogdriftError)]
        or list(ENGINES)
    )
    broken = 0
    with interruptible() as cancel:
        for engine in engines:
            interpreter = found[engine]
            if python:
                interpreter = environments.find_interpreter(engine, python)
            if isinstance(interpreter, LogdriftError):
                _say(str(interpreter))
                broken += 1
                continue
            health = environments.check(interpreter, cancel=cancel, seconds=seconds)
            if health.problem is not None:
                _say(str(health.problem))
                broken += 1
            else:
                facts = (
                    f"{_versions(health.versions)} · {health.device} ·"
                    f" {health.seconds:.0f} s"
                )
                _say(
                    f"{engine:<13} works  {facts}  {interpreter.origin}:"
                    f" {interpreter.python}"
                )
    if broken:
        return 1
    return 0


def _versions(versions: Any) -> str:
    return " · ".join(f"{name} {value}" for name, value in versions.items())


def _say(line: str) -> None:
    """A line of data, as the stream can take it."""
    print(canvas_of(sys.stdout).text(line), flush=True)
