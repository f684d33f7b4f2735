"""What it costs to compare digests before a number is made: against reading the same
parts, opening, and the numbers.

    python benchmarks/make_session.py MILLION --tokens 1000000 --sequences 2000 --top-k
    20
    python benchmarks/verify.py MILLION [--runs 5] [--json]

Each run does all of it, in turns, so that a busy machine disturbs all alike; the ratios
are of medians. The digests of one pair and of the sequences may cost at most as much as
the pair's numbers (exit code 1 beyond).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratios import Ratio, in_words, say
from logdrift.core.compare.pair import Pair, default_pair, make_pair
from logdrift.core.session import verify
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.reader import Session, open_session

LIMIT = 1.0
"""Of what the pair's numbers cost: who asks for them does not wait twice as long."""


def _opened(folder: Path) -> tuple[Session, Pair]:
    session = open_session(folder, patient=False)
    labels = default_pair(session)
    if labels is None:
        raise SystemExit(f"{folder}: has no pair")
    return session, make_pair(session, *labels)


def _files(session: Session, pair: Pair) -> list[Path]:
    infos = (session.manifest.sequences, pair.a.info, pair.b.info)
    return [session.folder / part.file for info in infos for part in info.parts]


def _read(files: list[Path]) -> None:
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def measure(folder: Path, runs: int) -> dict[str, float]:
    """Seconds of each, medians, and the ratios."""
    session, pair = _opened(folder)
    files = _files(session, pair)
    labels = pair.a.info.label, pair.b.info.label

    def hashing() -> None:
        verify._digests.clear()
        _opened(folder)[0].verify(*labels)

    def first_rows() -> None:
        _ = _opened(folder)[1].scored

    steps: dict[str, Callable[[], object]] = {
        "open": first_rows,
        "read": lambda: _read(files),
        "hash": hashing,
        "numbers": lambda: _opened(folder)[1].metrics(),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begun)
    found = {name: statistics.median(seconds) for name, seconds in times.items()}
    size = sum(path.stat().st_size for path in files)
    return {
        **found,
        "megabytes": size / 1e6,
        "hash / read": found["hash"] / found["read"],
        "hash / numbers": found["hash"] / found["numbers"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("session", type=Path, help=f"folder with {MANIFEST}")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.session, args.runs)
    print(
        json.dumps(found)
        if args.json
        else "\n".join(f"{name:<15} {value:10.3f}" for name, value in found.items())
    )
    say(
        Ratio(
            name="digests of a pair's files",
            ours=in_words(found["hash"]),
            against="the pair's numbers",
            peer=in_words(found["numbers"]),
            ratio=found["hash / numbers"],
            limit=LIMIT,
        )
    )
    return 0 if found["hash / numbers"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
