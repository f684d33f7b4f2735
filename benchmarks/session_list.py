"""Start of the list of sessions, of many and of one, beside an empty Textual app: each
run in a fresh process on a pty, the programs in turns.

    python -m benchmarks.session_list [--sessions 300] [--runs 7] [--size 120x36]

First frame: the folder's name stands on the screen. Names: the sessions are listed.
Answers: the first cause is there. Both clock and processor time are printed: a busy
machine stretches the clock alone. Exit code 1 where the first frame of many takes more
than `LIMIT` times that of one, by processor time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.make_session import make_session
from benchmarks.ratios import Ratio, in_words, say
from benchmarks.screen import EMPTY, Terminal

LIMIT = 1.5
STAGES = {
    "first frame": b"logdrift \xc2\xb7",
    "names": b"complete",
    "answers": b"noise",
}
"""What stands on the screen at each stage."""


class ListStart(NamedTuple):
    """Seconds from exec, and of the processor."""

    clock: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--size", default="120x36")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        many = folder_of(place / "many", args.sessions)
        one = folder_of(place / "one", 1)
        programs = {
            "empty app": [sys.executable, "-c", EMPTY],
            "1 session": listing(one),
            f"{args.sessions} sessions": listing(many),
        }
        found: dict[tuple[str, str], list[ListStart]] = {}
        for run in range(args.runs + 1):
            for name, argv in programs.items():
                terminal = Terminal(
                    argv, width, height, XDG_STATE_HOME=f"{place}/state{run}"
                )
                try:
                    for stage, start in starts(terminal, name == "empty app"):
                        if run:  # the first one is a warm-up
                            found.setdefault((name, stage), []).append(start)
                finally:
                    terminal.close()
    for (name, stage), measured in found.items():
        middle = median(measured)
        print(
            f"{name:14} {stage:12} {middle.clock:.3f} s,"
            f" {middle.processor:.3f} s of the processor"
        )
    first_of_many = median(found[f"{args.sessions} sessions", "first frame"])
    first_of_one = median(found["1 session", "first frame"])
    ratio = first_of_many.processor / first_of_one.processor
    say(
        Ratio(
            name=f"list of {args.sessions} sessions, first frame",
            ours=in_words(first_of_many.processor),
            against="the list of one",
            peer=in_words(first_of_one.processor),
            ratio=ratio,
            limit=LIMIT,
        )
    )
    print(f"first frame of many over one: {ratio:.2f} (limit {LIMIT})")
    raise SystemExit(ratio > LIMIT)


def folder_of(folder: Path, count: int) -> Path:
    """``count`` copies of a small session."""
    first = folder / "run-000"
    make_session(first, 300, 3, 5, captures=2)
    for number in range(1, count):
        shutil.copytree(first, folder / f"run-{number:03}")
    return folder


def listing(folder: Path) -> list[str]:
    """The command that lists a folder."""
    return [sys.executable, "-m", "logdrift.cli.main", "--sessions", str(folder)]


def starts(terminal: Terminal, is_empty: bool) -> Sequence[tuple[str, ListStart]]:
    """When each stage was reached."""
    stages = STAGES
    if is_empty:
        stages = {"first frame": b"Sequence"}
    found = []
    for stage, text in stages.items():
        clock = terminal.wait_for(text)
        found.append((stage, ListStart(clock, terminal.cpu())))
    return found


def median(starts: Sequence[ListStart]) -> ListStart:
    return ListStart(*map(statistics.median, zip(*starts, strict=True)))


if __name__ == "__main__":
    main()
