"""Time of `logdrift diff` of two sessions, beside the plain NumPy kernels of both
pairs' numbers (those of `benchmarks.report`).

    python benchmarks/diff.py EARLIER LATER [--runs 3]

The comparison draws whole sequences again, 2,000 times, for its intervals; the kernels
do not. Both run in this process, in turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratios import Ratio, in_words, say
from benchmarks.report import kernels
from logdrift.core.compare.pair import default_pair, make_pair
from logdrift.core.report.diff import diff_sessions
from logdrift.core.session.reader import open_session


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("earlier", type=Path)
    parser.add_argument("later", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    folders = (args.earlier, args.later)
    passes = [kernel for folder in folders for kernel in _kernels(folder)]
    plain, whole, ratios = [], [], []
    for _ in range(args.runs):
        alone = sum(_seconds(kernel) for kernel in passes)
        ours = _seconds(lambda: _compare(*folders))
        plain.append(alone)
        whole.append(ours)
        ratios.append(ours / alone)
    ratio = Ratio(
        name="diff of two sessions",
        ours=in_words(statistics.median(whole)),
        against="the NumPy kernels of both pairs' numbers",
        peer=in_words(statistics.median(plain)),
        ratio=statistics.median(ratios),
    )
    say(ratio)
    print(f"diff {ratio.ours}, kernels {ratio.peer}, ratio {ratio.ratio:.2f}")
    return 0


def _kernels(folder: Path) -> list[Callable[[], object]]:
    session = open_session(folder)
    labels = default_pair(session)
    assert labels is not None
    return list(kernels(make_pair(session, *labels)).values())


def _compare(earlier: Path, later: Path) -> object:
    first, second = open_session(earlier), open_session(later)
    first_pair, second_pair = default_pair(first), default_pair(second)
    assert first_pair is not None
    assert second_pair is not None
    return diff_sessions(first, second, first_pair, second_pair)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
