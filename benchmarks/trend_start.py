"""Start of the screen over 200 steps beside the list of a single session: each run in a
fresh process on a pty, the programs in turns.

    python -m benchmarks.trend_start [--steps 200] [--runs 5] [--size 120x36]

*cold*: nothing was measured before. *kept*: every step was. Rows: all steps are listed;
of cold ones, numbers follow. Exit code 1 where the
rows of kept steps take more than `LIMIT` times the list of one session, by processor
time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.make_session import make_session
from benchmarks.ratios import Ratio, in_words, say
from benchmarks.screen import Terminal
from benchmarks.session_list import folder_of, listing

LIMIT = 1.5
_LIST = {"first frame": b"logdrift \xc2\xb7", "rows": b"complete"}
_TREND = {"first frame": b"logdrift \xc2\xb7", "rows": b" rows"}
_PROGRAMS = ("list of one", "trend, cold", "trend, kept")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", default="120x36")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        one = folder_of(place / "one", 1)
        steps = training(place / "steps", args.steps)
        kept = {**os.environ, "XDG_STATE_HOME": f"{place}/kept"}
        program = [sys.executable, "-m", "logdrift.cli.main"]
        measure = [*program, "trend", str(steps)]
        subprocess.run(measure, env=kept, stdout=subprocess.DEVNULL, check=True)
        for run in range(args.runs + 1):
            for name in _PROGRAMS:
                argv = trend(steps)
                stages = _TREND
                if name == "list of one":
                    argv = listing(one)
                    stages = _LIST
                state = f"{place}/state{run}"
                if name == "trend, kept":
                    state = f"{place}/kept"
                terminal = Terminal(argv, width, height, XDG_STATE_HOME=state)
                try:
                    for stage, text in stages.items():
                        terminal.wait_for(text)
                        if run:  # the first one is a warm-up
                            key = (name, stage)
                            found.setdefault(key, []).append(terminal.cpu())
                finally:
                    terminal.close()
    medians = {key: statistics.median(times) for key, times in found.items()}
    for (name, stage), seconds in medians.items():
        print(f"{name:14} {stage:12} {seconds:.3f} s of the processor")
    ours = medians["trend, kept", "rows"]
    peer = medians["list of one", "rows"]
    ratio = ours / peer
    say(
        Ratio(
            name=f"trend over {args.steps} steps, its rows",
            ours=in_words(ours),
            against="the list of one session",
            peer=in_words(peer),
            ratio=ratio,
            limit=LIMIT,
        )
    )
    print(f"rows of {args.steps} steps over the list of one: {ratio:.2f}")
    raise SystemExit(ratio > LIMIT)


def training(folder: Path, steps: int) -> Path:
    """A small session for each step."""
    for step in range(steps):
        make_session(folder / f"step_{step}", 300, 3, 5, captures=2, seed=step)
    return folder


def trend(folder: Path) -> list[str]:
    """The command that opens the screen on a folder."""
    program = [sys.executable, "-m", "logdrift.cli.main"]
    return [*program, "trend", str(folder), "--screen"]


if __name__ == "__main__":
    main()
