"""Time and memory of `logdrift import`, for each kind of file, beside parsing the same
file with the same JSON library.

    python benchmarks/importing.py FOLDER [KIND ...]

Files are made in FOLDER where they do not exist: ``--tokens`` tokens in sequences of
500, with their top-20 where the format has lists. A process of its own measures each
kind: it imports once, which is the memory, then imports and parses in turn, in
processor time. Parsing is line after line and keeps nothing; a file that is one array
is parsed whole. Limits: 4 times the time where there are lists, 500 MB of memory. Exit
code 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.import_files import KINDS
from benchmarks.ratios import Ratio, in_words, say
from logdrift.core.session.importers import import_session
from logdrift.core.session.importers.collector import collector_at_rest
from logdrift.core.session.importers.json_library import library

MOST_TIMES = 4.0
MOST_MB = 500.0


def seconds_of(work: Callable[[], object]) -> float:
    """Processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def parse(path: Path) -> None:
    """Parse a file with the JSON library alone."""
    loads = library().loads
    with open(path, "rb") as file:
        for line in file:
            text = line.strip().removeprefix(b"data:").strip()
            if text and text != b"[DONE]":
                loads(text)


def import_file(format_name: str, path: Path) -> None:
    """Import a file into a session that is then forgotten."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        import_session(format_name, [str(path)], Path(folder, "out"))


def memory() -> float:
    """The most memory of this process until now, in MB."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_maxrss / 1024


def measure(format_name: str, path: Path, runs: int) -> None:
    """Print import and parsing in seconds, their ratio, and memory in MB."""
    import_file(format_name, path)
    most = memory()
    imports, parsings, ratios = [], [], []
    for _ in range(runs):
        imported = seconds_of(lambda: import_file(format_name, path))
        # At rest for both: an import lets the collector of cycles rest as well.
        with collector_at_rest():
            parsed = seconds_of(lambda: parse(path))
        imports.append(imported)
        parsings.append(parsed)
        ratios.append(imported / parsed)
    middles = [statistics.median(column) for column in (imports, parsings, ratios)]
    print(*middles, most)


def measured(kind: str, path: Path, args: argparse.Namespace) -> bool:
    """Print the row of a kind, and tell whether it keeps both limits."""
    command = [sys.executable, __file__, str(path), kind, "--runs", str(args.runs)]
    command.append("--measure")
    if args.standard:
        command.append("--standard")
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    imported, parsed, ratio, most = map(float, run.stdout.split())
    size = path.stat().st_size / 1e6
    limit = None
    if KINDS[kind].has_lists:
        limit = MOST_TIMES
    is_slow = limit is not None and ratio > limit
    keeps = not is_slow and most <= MOST_MB
    say(
        Ratio(
            name=f"import of {kind}",
            ours=in_words(imported),
            against="parsing the same file",
            peer=in_words(parsed),
            ratio=ratio,
            limit=limit,
        )
    )
    say(
        Ratio(
            name=f"memory of the import of {kind}",
            ours=f"{most:.0f} MB",
            against=f"the allowed {MOST_MB:.0f} MB",
            peer=f"{MOST_MB:.0f} MB",
            ratio=most / MOST_MB,
            limit=1.0,
        )
    )
    print(
        f"{kind:16} {size:6.0f} MB {imported:7.2f} s {parsed:7.2f} s {ratio:6.2f}"
        f" {most:6.0f} MB{'' if keeps else '  beyond a limit'}",
        flush=True,
    )
    return keeps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--standard", action="store_true", help="without orjson")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.standard:
        sys.modules["orjson"] = None  # type: ignore[assignment]
    if args.measure:
        (kind,) = args.kinds
        measure(KINDS[kind].format, args.folder, args.runs)
        return 0
    args.folder.mkdir(exist_ok=True)
    print(f"{'kind':16} {'file':>9} {'import':>9} {'parsing':>9} {'ratio':>6}   memory")
    all_keep = True
    for kind in args.kinds or KINDS:
        path = args.folder / f"{kind}.jsonl"
        if not path.exists():
            KINDS[kind].make(path, args.tokens)
        all_keep &= measured(kind, path, args)
    return int(not all_keep)


if __name__ == "__main__":
    sys.exit(main())
