"""Print the table of planted faults of one or more models that worker.py has written.

python -m logdrift.core.planted.table FOLDER [FOLDER ...] [--told] [--no-reference]
[--swapped]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from logdrift.core.planted.judge import JudgedSession, judge_folder, totals

_BAD = ("second", "missed", "false alarm", "guessed")


def table(rows: list[JudgedSession]) -> str:
    """One line for each planted session."""
    lines = [f"{'planted':<22} {'background':<10} {'MAE':>8}  {'outcome':<15} named"]
    for row in rows:
        causes = ", ".join(f"{code} {score:.2f}" for code, score in row.named)
        named = causes or "nothing"
        lines.append(
            f"{row.fault:<22} {row.background:<10} {row.mae:8.1e}  {row.outcome:<15}"
            f" {named}"
        )
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument(
        "--told", action="store_true", help="with the facts that an engine shows"
    )
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--swapped", action="store_true", help="the faulty side as A")
    parser.add_argument("--bad", action="store_true", help="only what went wrong")
    args = parser.parse_args()
    for folder in args.folders:
        rows = judge_folder(
            folder,
            blind=not args.told,
            reference=not args.no_reference,
            swapped=args.swapped,
        )
        printed = [row for row in rows if row.outcome in _BAD or not args.bad]
        print(f"{folder.name}: {totals(rows)}\n{table(printed)}\n")


if __name__ == "__main__":
    main()
