"""`logdrift export SESSION --to FORMAT`: a session for other tools."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from logdrift.core.errors import InputError

if TYPE_CHECKING:
    from logdrift.core.export.choice import ExportChoice
    from logdrift.core.session.reader import Session

FORMATS = ("parquet", "csv", "jsonl", "html")
_STDOUT = Path("-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from logdrift.core.compare.scopes import SCOPES

    parser.description = (
        "Writes a session for other tools. parquet and csv have one row a token and"
        " capture; jsonl has one line a sequence, which logdrift import jsonl reads"
        " back bit for bit; html is the report. docs/export.md has the columns. Exit"
        " code 0, or 2 for bad input."
    )
    parser.add_argument(
        "session", type=Path, help="session folder, or its name in the sessions folder"
    )
    parser.add_argument(
        "--to",
        choices=FORMATS,
        help="the format (default: by the ending of the file)",
    )
    parser.add_argument(
        "-o",
        "--out",
        "--output",
        metavar="FILE",
        type=Path,
        default=_STDOUT,
        help="the file; it is replaced at once (default: -, standard output)",
    )
    parser.add_argument(
        "--capture",
        metavar="LABEL",
        action="append",
        default=[],
        help="export this capture; may be given again (default: all)",
    )
    parser.add_argument(
        "--pair",
        metavar="A:B",
        help="export these two captures, with the delta of each token in a column",
    )
    parser.add_argument(
        "--scope", choices=SCOPES, help="tokens to export (default: all)"
    )
    parser.add_argument(
        "--threshold",
        metavar="NATS",
        type=float,
        help="with --pair: only tokens whose |delta| is at least this",
    )


def run(args: argparse.Namespace) -> int:
    """Write the file. Raises InputError before anything is written."""
    from logdrift.cli.open import find_session
    from logdrift.core.config import sessions_folder
    from logdrift.core.interrupts import cancellable
    from logdrift.core.session.reader import open_session

    form = _form(args.to, args.out)
    folder = find_session(args.session, sessions_folder(args.sessions))
    if form == "html":
        return _write_report(args, folder)
    session = open_session(folder)
    choice = _choice(args, session)
    with cancellable(), _file(args.out, folder, form) as file:
        count = _write(form, choice, file)
    if args.out != _STDOUT:
        _say_written(args.out, form, count, choice)
    return 0


def _say_written(out: Path, form: str, count: int, choice: ExportChoice) -> None:
    """One line on stderr: stdout is for rows."""
    from logdrift.core.numbers import counted
    from logdrift.core.session.visible import visible

    captures = counted(len(choice.labels), "capture")
    words = f"{counted(count, 'row')}, one a token, of {captures}"
    following = "docs/export.md has the columns and what reads them"
    if form == "jsonl":
        words = f"{counted(count, 'line')}, one a sequence, of {captures}"
        file = shlex.quote(str(out))
        following = f"next: logdrift import jsonl {file} --out SESSION"
    print(visible(f"{out}: {words}; {following}"), file=sys.stderr)


def _form(to: str | None, out: Path) -> str:
    """The format that is asked for, or that the file's name ends in."""
    if to is not None:
        return to
    ending = out.suffix.removeprefix(".")
    if ending in FORMATS:
        return ending
    known = ", ".join(FORMATS)
    raise InputError(f"export needs a format: give --to with one of {known}")


def _choice(args: argparse.Namespace, session: Session) -> ExportChoice:
    from logdrift.core.compare.pair import parse_pair
    from logdrift.core.export.choice import choose

    pair = None
    if args.pair is not None:
        pair = parse_pair(session, args.pair)
    return choose(
        session,
        captures=args.capture,
        pair=pair,
        scope=args.scope or "all",
        threshold=args.threshold,
    )


def _write(form: str, choice: ExportChoice, file: BinaryIO) -> int:
    """Write in a format, and tell the number of rows or lines; its modules are imported
    when it is asked for.
    """
    if form == "parquet":
        from logdrift.core.export.parquet import write_parquet

        return write_parquet(choice, file)
    if form == "csv":
        from logdrift.core.export.csv_rows import write_csv

        return write_csv(choice, file)
    from logdrift.core.export.jsonl import write_jsonl

    return write_jsonl(choice, file)


def _write_report(args: argparse.Namespace, folder: Path) -> int:
    """The report as a page."""
    from logdrift.cli.report import print_report
    from logdrift.core.session.visible import visible

    if args.capture or args.threshold is not None:
        raise InputError(
            "export --to html writes the report: --capture and --threshold choose rows",
            remedy="choose a pair with --pair A:B",
        )
    pairs = [args.pair] if args.pair else []
    if args.out == _STDOUT:
        return print_report(folder, pairs, args.scope, "html")
    code = print_report(folder, pairs, args.scope, "html", args.out)
    words = f"{args.out}: the report as a page, for any browser"
    print(visible(words), file=sys.stderr)
    return code


@contextmanager
def _file(out: Path, session: Path, form: str) -> Iterator[BinaryIO]:
    """The file to write to, or standard output."""
    from logdrift.core.report.output import check_output, replaced_file

    if out != _STDOUT:
        check_output(out, session)
        with replaced_file(out) as file:
            yield file
        return
    if form == "parquet" and sys.stdout.isatty():
        raise InputError("parquet is no text for a terminal: give --out FILE")
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()
