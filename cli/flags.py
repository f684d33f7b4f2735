"""Flags that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from logdrift.core.compare.pair import SCOPES


def add_session(parser: argparse.ArgumentParser, *, optional: bool = True) -> None:
    """SESSION; where it is ``optional``, the command says itself what is missing."""
    parser.add_argument(
        "session",
        type=Path,
        nargs="?" if optional else None,
        help="session folder, or its name in the sessions folder",
    )


def add_pairs(parser: argparse.ArgumentParser, purpose: str, default: str) -> None:
    """``--pair``, which may be given again; ``purpose`` is what the command does with
    the captures.
    """
    parser.add_argument(
        "--pair",
        metavar="A:B",
        action="append",
        default=[],
        help=(
            f"captures to {purpose}, e.g. trainer:vllm/decode; may be given again"
            f" (default: {default})"
        ),
    )


def add_scope(parser: argparse.ArgumentParser) -> None:
    """``--scope``."""
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        help="tokens that count (default: completion, or all without one)",
    )


def add_forms(parser: argparse.ArgumentParser, *, json: str, md: str) -> None:
    """``--json``, ``--md`` and ``--html``, of which one may be given: ``form``, text
    without any. ``json`` and ``md`` say what these are.
    """
    form = parser.add_mutually_exclusive_group()
    words = {"json": json, "md": md, "html": "one HTML file that needs nothing else"}
    for name, help_words in words.items():
        form.add_argument(
            f"--{name}",
            dest="form",
            action="store_const",
            const=name,
            help=help_words,
        )
    parser.set_defaults(form="text")


def add_output(parser: argparse.ArgumentParser) -> None:
    """``-o``."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="write to a file instead of the terminal",
    )
