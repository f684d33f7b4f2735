"""``logdrift env create|list|check``: the interpreters that hold the engines."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from logdrift.cli.jobs import collect, interruptible, run_all, shown
from logdrift.core.capture import environments
from logdrift.core.capture.environments import Interpreter
from logdrift.core.capture.installer import Marker, read_marker
from logdrift.core.capture.jobs import Cancelled, Report
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
    _add_create(
        actions.add_parser(
            "create", help="install engines, each in an environment of its own"
        )
    )
    listing = actions.add_parser(
        "list", help="the interpreter of each engine, without starting it"
    )
    _add_engines(listing, "default: all")
    _add_check(
        actions.add_parser("check", help="start each interpreter and import its engine")
    )


def _add_engines(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=help)


def _add_create(parser: argparse.ArgumentParser) -> None:
    _add_engines(parser, f"{', '.join(ENGINES)} (default: all)")
    parser.add_argument(
        "--dir",
        metavar="DIR",
        help="put each environment in DIR/ENGINE instead of the cache",
    )
    parser.add_argument(
        "--python",
        metavar="PYTHON",
        help="interpreter to make the environments from (3.11 to 3.13)",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start over, even where the environment is finished",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_engines(parser, "default: all that have an interpreter")
    parser.add_argument(
        "--python", metavar="PYTHON", help="check this interpreter instead"
    )
    limit = environments.CHECK_SECONDS
    parser.add_argument(
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
    if not missing:
        return
    with interruptible() as cancel, shown() as report:
        run_all({engine: _creation(engine, report, cancel) for engine in missing})


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
    parent = user_path(folder) if folder else None
    with interruptible() as cancel, shown() as report:
        jobs = {}
        for engine in engines:
            jobs[engine] = _creation(
                engine, report, cancel, parent=parent, python=python, fresh=fresh
            )
        outcome = collect(jobs)
    if outcome.cancelled:
        unfinished = [name for name in engines if name not in outcome.results]
        raise Cancelled(
            f"cancelled: go on with logdrift env create {' '.join(unfinished)}"
        )
    for engine, marker in outcome.results.items():
        place = environments.environment_folder(engine)
        _say(f"{engine:<13} ready  {_versions(marker.versions)}  {place}")
    for error in outcome.failures.values():
        print(f"logdrift: {visible(str(error))}", file=sys.stderr)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return outcome.exit_code


def _list(engines: list[str]) -> int:
    for engine in engines:
        interpreter = environments.available()[engine]
        if isinstance(interpreter, LogdriftError):
            _say(f"{engine:<13} -        {interpreter}")
            continue
        line = f"{engine:<13} {interpreter.origin:<8} {interpreter.python}"
        _say(f"{line}  {_notes(interpreter)}".rstrip())
    _say(f"{SMALL_MODEL:<13} model    {_small_model()}")
    return 0


def _notes(interpreter: Interpreter) -> str:
    """Versions of a managed environment, and whether its recipe is older."""
    if interpreter.origin != "managed":
        return ""
    engine = interpreter.engine
    marker = read_marker(interpreter.python.parent.parent)
    if not marker:
        return ""
    notes = _versions(marker.versions)
    if marker.recipe != recipe_for(engine, marker.device).digest:
        notes += f"  (older recipe: logdrift env create {engine} renews it)"
    return notes


def _small_model() -> str:
    """Where the small model is, or why it cannot be used."""
    if not small_model_folder().exists():
        return "not prepared yet"
    try:
        return str(resolve_model(SMALL_MODEL))
    except LogdriftError as error:
        return str(error)


def _check(engines: list[str], python: str | None, seconds: float) -> int:
    if python is not None and len(engines) != 1:
        raise InputError(
            "--python checks one engine: name it, as in logdrift env check vllm"
            " --python PYTHON"
        )
    interpreters = environments.available()
    broken = 0
    with interruptible() as cancel:
        for engine in engines or _with_interpreter(interpreters):
            if python:
                interpreters[engine] = environments.find_interpreter(engine, python)
            if not _works(interpreters[engine], cancel, seconds):
                broken += 1
    return 1 if broken else 0


def _with_interpreter(
    interpreters: Mapping[str, Interpreter | LogdriftError],
) -> list[str]:
    """The engines that have an interpreter; all where none has."""
    usable = [
        engine
        for engine in ENGINES
        if not isinstance(interpreters[engine], LogdriftError)
    ]
    return usable or list(ENGINES)


def _works(
    interpreter: Interpreter | LogdriftError, cancel: threading.Event, seconds: float
) -> bool:
    """Import an engine in its interpreter and print how that went."""
    if isinstance(interpreter, LogdriftError):
        _say(str(interpreter))
        return False
    health = environments.check(interpreter, cancel=cancel, seconds=seconds)
    if health.problem is not None:
        _say(str(health.problem))
        return False
    facts = f"{_versions(health.versions)} · {health.device} · {health.seconds:.0f} s"
    place = f"{interpreter.origin}: {interpreter.python}"
    _say(f"{interpreter.engine:<13} works  {facts}  {place}")
    return True


def _versions(versions: Mapping[str, Any]) -> str:
    return " · ".join(f"{name} {value}" for name, value in versions.items())


def _say(line: str) -> None:
    """A line of data, as the stream can take it."""
    print(canvas_of(sys.stdout).text(line), flush=True)
