"""The command `logdrift`: reads the flags, hands over to one module per command, turns
errors into one line.

`--help` and opening a session must stay fast: a command's module is imported when it is
run, not before.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from logdrift.cli.streams import OutputError, abandon_output, steady_streams
from logdrift.cli.suggest import (
    actions_below,
    command_place,
    refuse_unknown,
    with_command,
)
from logdrift.core import errors
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.interrupts import cancellable, left_to_system
from logdrift.core.keys import near_key
from logdrift.core.session.visible import visible

COMMANDS = {
    "open": "explore a session, or the shipped samples (--sample)",
    "capture": "capture log-probabilities from several backends into a session",
    "report": "the numbers of a session as text, Markdown, HTML or JSON",
    "why": "causes of a gap, ranked, with the evidence from the captured tokens",
    "diff": "two sessions: what a change made better or worse",
    "trend": "sessions over the steps of a training: the first change, and its cause",
    "check": "limits on the numbers of a session: a gate for CI",
    "import": "a session from elsewhere, or from a file with log-probabilities",
    "export": "a session for other tools: parquet, CSV, jsonl, HTML",
    "env": "engine environments: create, list, check",
    "doctor": "what works on this machine, and a self-test with planted faults",
    "completion": "completion of commands, flags and sessions for bash, zsh or fish",
    "keys": "the keys of the screens, and a sample of keys of your own",
    "demo": "capture the small real model through real engines, then explore it",
}
_BAD_NAMES = (
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
)
"""What the system says of paths that were typed wrongly: bad input."""
_MODULES = {"import": "importing"}
"""Commands whose name cannot be the name of a module."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 failed run, 2 bad input, 130
    Ctrl-C.
    """
    try:
        if argv is not None:
            return _exit_code(argv, ())
        steady_streams()
        try:
            return _exit_code(sys.argv[1:], (signal.SIGINT,))
        finally:
            left_to_system(signal.SIGINT)
    except KeyboardInterrupt:
        return _failed("interrupted", 130)


def _exit_code(arguments: Sequence[str], signals: tuple[signal.Signals, ...]) -> int:
    """Run the command, and turn all that ends it but KeyboardInterrupt, which each of
    ``signals`` raises, into its line and exit code.
    """
    debug = "--debug" in arguments or bool(os.environ.get("LOGDRIFT_DEBUG"))
    errors.debugging = debug
    try:
        with cancellable(signals):
            return _run_and_flush([a for a in arguments if a != "--debug"])
    except LogdriftError as error:
        if isinstance(error, OutputError):
            abandon_output()
        if debug:
            raise
        return _failed(str(error), error.exit_code)
    except BrokenPipeError:
        abandon_output()  # the reader (head, less) has gone
        return 128 + signal.SIGPIPE
    except Exception as error:
        if debug:
            raise
        return _failed(*_unforeseen(error))


def _run_and_flush(arguments: list[str]) -> int:
    """Run the command and write out what is buffered. At the interpreter's end a full
    disk could not change the exit code any more.
    """
    try:
        return _run(arguments)
    finally:
        sys.stdout.flush()


def _failed(text: str, code: int) -> int:
    """Print the one line of a failure; its exit code."""
    print(f"logdrift: {visible(text)}", file=sys.stderr)
    return code


def _unforeseen(error: Exception) -> tuple[str, int]:
    """One line for what no command has foreseen, and the exit code: what the system
    refuses is no fault of the program.
    """
    if isinstance(error, MemoryError):
        return "not enough memory", 1
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return _refused_file(error)
    text = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {text}: run again with --debug", 1


def _refused_file(error: OSError) -> tuple[str, int]:
    """One line for a file that the system refuses, and the exit code."""
    if isinstance(error.filename, str | bytes):
        name = os.fsdecode(error.filename)
    else:
        name = str(error.filename)
    line = f"{name}: {error.strerror}"
    if error.errno in _BAD_NAMES:
        return line, 2
    return line, 1


def _run(arguments: list[str]) -> int:
    arguments = with_command(arguments, COMMANDS)
    place = command_place(arguments)
    command = None if place is None else arguments[place]
    parser = build_parser(command)
    args, unknown = parser.parse_known_args(arguments)
    refuse_unknown(unknown, parser, command_parser(parser, command))
    if args.command is None:
        from logdrift.core.config import sessions_folder
        from logdrift.tui.door import need_terminal, run

        need_terminal("the list of sessions", "logdrift report SESSION")
        return run(None, sessions_folder(args.sessions), mouse=not args.no_mouse)
    return int(_module(args.command).run(args))


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of ``command``, or of all commands, without their flags, where it is
    None: what is not asked for costs time at every start.
    """
    parser = _Parser(
        prog="logdrift",
        description=(
            "Explore the gap between the log-probabilities of an inference engine and"
            " those of Transformers."
        ),
        epilog=(
            "Without a command, the list of sessions opens; logdrift PATH opens the"
            " session, or the folder of sessions, at PATH."
        ),
    )
    parser.add_argument("--version", action=_Version, help="show the version")
    parser.add_argument(
        "--sessions",
        metavar="DIR",
        help="folder of sessions (default: $LOGDRIFT_SESSIONS or ./sessions)",
    )
    parser.add_argument(
        "--no-mouse",
        action="store_true",
        help="leave the mouse to the terminal, to select text",
    )
    parser.add_argument(
        "--debug", action="store_true", help="show a traceback where something fails"
    )
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", parser_class=_Parser
    )
    if command is not None:
        subparser = subparsers.add_parser(command, help=COMMANDS.get(command))
        _module(command).add_arguments(subparser)
        return parser
    for name, text in COMMANDS.items():
        subparsers.add_parser(name, help=text)
    return parser


def command_parser(
    parser: argparse.ArgumentParser, command: str | None
) -> argparse.ArgumentParser | None:
    """The parser of a command within that of all; None without one."""
    for action in parser._actions:
        below = actions_below(action)
        if command is not None and command in below:
            return below[command]
    return None


def _module(command: str) -> Any:
    return importlib.import_module(f"logdrift.cli.{_MODULES.get(command, command)}")


class _Version(argparse.Action):
    """Says the version and ends, without reading it at every start."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, *_: object) -> NoReturn:
        from logdrift.core.version import __version__

        print(f"logdrift {__version__}")
        sys.exit(0)


class _Parser(argparse.ArgumentParser):
    """Errors as the one line that every other bad input gets."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise InputError(f"{message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        known = tuple(map(str, action.choices or ()))
        near = near_key(str(value), known)
        if near is not None and value not in known:
            message = f"no {value!r}: did you mean {near!r}?"
            raise argparse.ArgumentError(action, message)
        super()._check_value(action, value)


if __name__ == "__main__":
    sys.exit(main())
