"""`logdrift import [FORMAT] FILE --out SESSION`: a session from elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from logdrift.core.session.importers.formats import FORMATS, format_names
    from logdrift.core.told import TELLABLE

    names = format_names()
    formats = "; ".join(f"{one.name}: {one.reads}" for one in FORMATS)
    parser.usage = (
        "logdrift import [-h] [FORMAT] FILE [FILE ...] --out SESSION [--model DIR]"
        " [--fact [NAME.]FACT=VALUE] [--skip-bad]"
    )
    parser.description = (
        "Make a session of what something else has written. The format is seen from"
        f" the files, or is the first word: {formats}."
        " docs/import.md has the formats. Nothing that neither file nor --fact"
        " says is assumed, so the gate says caution. What is left out is said on"
        " stderr and kept with the session. Exit code 0, or 2 for bad input."
    )
    parser.add_argument(
        "words",
        metavar="FILE",
        nargs="+",
        help=(
            "file or folder; several become one session. A format's name in front of"
            f" them is no file (write ./{names[0]}): {', '.join(names)}"
        ),
    )
    parser.add_argument(
        "--out",
        metavar="SESSION",
        type=Path,
        required=True,
        help="folder of the new session",
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        type=Path,
        help=(
            "folder of the model: its tokenizer.json gives the text of ids, and where"
            " an engine's environment is ready its tokenizer checks them"
        ),
    )
    parser.add_argument(
        "--fact",
        metavar="[NAME.]FACT=VALUE",
        action="append",
        default=[],
        help=(
            "what you know of a capture, or of all without NAME, as"
            f" vllm.temperature=0.6; repeat it. FACT is one of {', '.join(TELLABLE)}"
        ),
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help=(
            "leave out lines and sequences that cannot be imported, count them, and"
            " name the first ones; without it the first one ends the import"
        ),
    )


def run(args: argparse.Namespace) -> int:
    """Import, and say what the session holds."""
    from logdrift.cli.closing import closing_lines
    from logdrift.core.interrupts import cancellable
    from logdrift.core.numbers import counted
    from logdrift.core.paths import user_path
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.session.importers import import_session
    from logdrift.core.session.reader import open_session

    out = user_path(str(args.out))
    with cancellable():
        format_name, files = _format_and_files(args.words, args.skip_bad)
        notes = import_session(
            format_name,
            files,
            out=out,
            model=args.model,
            facts=args.fact,
            skip_bad=args.skip_bad,
        )
    notes = (*notes, *_checked(args.model, format_name, out))
    session = open_session(out)
    labels = ", ".join(info.label for info in session.captures)
    sequences = counted(len(session.sequences), "sequence")
    tokens = counted(session.sequences.tokens, "token")
    canvas = canvas_of(sys.stdout)
    for note in notes:
        print(canvas.text(f"note: {note}"), file=sys.stderr)
    print(canvas.text(f"{out}: {sequences}, {tokens}, {labels}"))
    for line in closing_lines(out):
        print(canvas.text(line))
    return 0


def _checked(model: Path | None, format_name: str, out: Path) -> tuple[str, ...]:
    """What the tokenizer of a model says of the ids, or why it was not asked."""
    from logdrift.core.capture.check_ids import check_ids
    from logdrift.core.session.layout import read_manifest
    from logdrift.core.session.retokenised import different, in_words

    if model is None or format_name == "session":
        return ()
    unchecked = check_ids(out, model)
    if unchecked is not None:
        return (unchecked,)
    known = read_manifest(out).sequences.retokenised
    if known is None or not different(known):
        return ()
    return (in_words(known),)


def _format_and_files(
    words: Sequence[str], skip_bad: bool
) -> tuple[str, Sequence[str]]:
    """The format that the first word names, or that is seen from the files; then it is
    said on stderr.
    """
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.session.importers import guess_formats
    from logdrift.core.session.importers.formats import format_names

    first, *files = words
    if files and first in format_names():
        return first, files
    format_name = guess_formats(words, skip_bad)
    canvas = canvas_of(sys.stderr)
    print(canvas.text(f"format: {format_name}, seen from the file"), file=sys.stderr)
    return format_name, words
