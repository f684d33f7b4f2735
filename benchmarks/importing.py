"""Time and memory of `logdrift import jsonl`, beside parsing the same file with the
same JSON library.

    python benchmarks/importing.py DUMP.jsonl

DUMP is made where it does not exist: ``--tokens`` tokens in lines of 500, two captures,
the second with its top-20. Both sides run in processes of their own, interleaved, and
processor time is taken. The other one parses line after line and keeps nothing. Limits:
4 times the time, 500 MB of memory. Exit code 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from logdrift.core.session.importers.json_library import library

MOST_TIMES = 4.0
MOST_MB = 500.0
LINE_TOKENS = 500
TOP_K = 20
VOCABULARY = 150_000
_IMPORT = """
import resource, sys, time
from pathlib import Path
from logdrift.core.session.importers import import_session
start = time.process_time()
import_session("jsonl", [sys.argv[1]], Path(sys.argv[2]))
seconds = time.process_time() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
_PARSE = """
import resource, sys, time
import {library} as library
start = time.process_time()
with open(sys.argv[1], "rb") as file:
    for line in file:
        library.loads(line)
seconds = time.process_time() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def dumped_line(draw: np.random.Generator, tokens: int) -> dict[str, Any]:
    """A sequence as a trainer with an engine of its own would write it."""
    ids = draw.integers(0, VOCABULARY, tokens)
    table = -np.sort(draw.exponential(4.0, (tokens, TOP_K)), axis=1)
    # An id stands once in each list: the vocabulary in steps, from the token on.
    steps = np.arange(TOP_K) * (VOCABULARY // TOP_K)
    top_ids = (ids[:, None] + steps) % VOCABULARY
    chosen = table[:, 0].round(6)
    return {
        "token_ids": ids.tolist(),
        "prompt_length": tokens // 4,
        "captures": {
            "trainer/prefill": (chosen - 0.01).round(6).tolist(),
            "vllm/decode": {
                "logprobs": chosen.tolist(),
                "top_ids": top_ids.tolist(),
                "top_logprobs": table.round(6).tolist(),
            },
        },
    }


def write_dump(path: Path, tokens: int) -> None:
    draw = np.random.default_rng(1)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(tokens // LINE_TOKENS):
            line = dumped_line(draw, LINE_TOKENS)
            file.write(json.dumps(line) + "\n")


def measured(program: str, *arguments: str) -> tuple[float, float]:
    """Seconds and peak memory in MB of a program in a process of its own."""
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory = run.stdout.split()
    return float(seconds), float(memory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--standard", action="store_true", help="without orjson")
    args = parser.parse_args()
    if not args.dump.exists():
        write_dump(args.dump, args.tokens)
    imports, parsings, ratios = [], [], []
    most_memory = 0.0
    library_name = library().__name__
    before = ""
    if args.standard:
        library_name = "json"
        before = "import sys\nsys.modules['orjson'] = None\n"
    parse = _PARSE.format(library=library_name)
    for _ in range(args.runs):
        with tempfile.TemporaryDirectory(dir=args.dump.parent) as folder:
            out = str(Path(folder, "out"))
            seconds, memory = measured(before + _IMPORT, str(args.dump), out)
        alone, _ = measured(parse, str(args.dump))
        imports.append(seconds)
        parsings.append(alone)
        ratios.append(seconds / alone)
        most_memory = max(most_memory, memory)
    ratio = statistics.median(ratios)
    size = args.dump.stat().st_size / 1e6
    print(f"import {statistics.median(imports):.2f} s of {size:.0f} MB")
    print(f"{library_name} alone {statistics.median(parsings):.2f} s")
    ends = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio {ratio:.2f} ({ends}; limit {MOST_TIMES})")
    print(f"memory {most_memory:.0f} MB (limit {MOST_MB:.0f})")
    return int(ratio > MOST_TIMES or most_memory > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())
