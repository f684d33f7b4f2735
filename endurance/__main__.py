"""Break logdrift on purpose: one subcommand for each kind of fault, or ``all``.

    python -m endurance damage --runs 200 --seed 7
    python -m endurance all

Prints each loss as it is found and one table at the end. Exit code 1 on any loss.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from endurance.kinds import KINDS
from endurance.runs import Kind, Loss, Order, Tally
from endurance.table import table


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    losses = 0
    for kind in args.kinds:
        runs = kind.full if args.runs is None else args.runs
        tally = run(kind, runs, args.seed, args.first)
        losses += len(tally.losses)
    return int(losses > 0)


def run(kind: Kind, runs: int, seed: int, first: int = 0) -> Tally:
    """Run one kind of fault, and print what became of it."""

    def tell(loss: Loss) -> None:
        print(f"run {loss.number}, {loss.subject}: {loss.what}", flush=True)

    tally = Tally(tell)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
        # What is made here is not this user's: the home stays as it is.
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        order = Order(runs, seed, Path(folder), first)
        kind.run(order, tally)
    print(table(kind, tally, time.monotonic() - begun), flush=True)
    return tally


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m endurance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="KIND", required=True)
    for kind in KINDS:
        _add(commands, kind.name, kind.help, (kind,), f"default: {kind.full:,}")
    _add(commands, "all", "every kind", KINDS, "of each; default: its full form")
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help: str,
    kinds: Sequence[Kind],
    runs: str,
) -> None:
    command = commands.add_parser(name, help=help, description=help)
    command.set_defaults(kinds=kinds)
    command.add_argument("--runs", type=int, help=f"how many; {runs}")
    command.add_argument("--seed", type=int, default=0, help="of all that is random")
    command.add_argument(
        "--first",
        type=int,
        default=0,
        help="number of the first run: to see one again",
    )


if __name__ == "__main__":
    sys.exit(main())
