"""Time and memory of `logdrift export --to parquet`, beside writing the same table with
pyarrow alone.

    python benchmarks/make_session.py MILLION --tokens 1000000 --sequences 2000 --top-k
    20 --captures 1
    python benchmarks/exporting.py MILLION

Both run in processes of their own, interleaved. The other one has the table in memory
before its clock runs, so its time is that of pyarrow's writer alone; the export's is
all of its work: it opens the session, checks digests and reads parts. Limits: 3 times
the time, 500 MB of memory. Exit code 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratios import Ratio, in_words, say

MOST_TIMES = 3.0
MOST_MB = 500.0
_EXPORT = """
import resource, sys, time
from logdrift.cli.main import main
from logdrift.core.export import parquet
parquet.pyarrow_modules()
start = time.perf_counter()
assert main(["export", sys.argv[1], "-o", sys.argv[2]]) == 0
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
_PYARROW = """
import resource, sys, time
import pyarrow.parquet
table = pyarrow.parquet.read_table(sys.argv[1])
start = time.perf_counter()
rows = 1 << 17
pyarrow.parquet.write_table(table, sys.argv[2], compression="zstd", row_group_size=rows)
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measured(program: str, source: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of a program in a process of its own."""
    command = [sys.executable, "-c", program, str(source), str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory = run.stdout.split()
    return float(seconds), float(memory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("session", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    exports, writings, ratios = [], [], []
    most_memory = 0.0
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "rows.parquet")
        for _ in range(args.runs):
            seconds, memory = measured(_EXPORT, args.session, rows)
            alone, _ = measured(_PYARROW, rows, Path(folder, "again.parquet"))
            exports.append(seconds)
            writings.append(alone)
            ratios.append(seconds / alone)
            most_memory = max(most_memory, memory)
        size = rows.stat().st_size / 1e6
    ratio = statistics.median(ratios)
    print(f"export {statistics.median(exports):.2f} s, {size:.0f} MB of parquet")
    print(f"pyarrow alone {statistics.median(writings):.2f} s")
    ends = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio {ratio:.2f} ({ends}; limit {MOST_TIMES})")
    print(f"memory {most_memory:.0f} MB (limit {MOST_MB:.0f})")
    say(
        Ratio(
            name="export to parquet",
            ours=in_words(statistics.median(exports)),
            against="pyarrow writing the same table",
            peer=in_words(statistics.median(writings)),
            ratio=ratio,
            limit=MOST_TIMES,
        )
    )
    say(
        Ratio(
            name="memory of the export",
            ours=f"{most_memory:.0f} MB",
            against=f"the allowed {MOST_MB:.0f} MB",
            peer=f"{MOST_MB:.0f} MB",
            ratio=most_memory / MOST_MB,
            limit=1.0,
        )
    )
    return int(ratio > MOST_TIMES or most_memory > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())
