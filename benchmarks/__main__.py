"""``python -m benchmarks``: every ratio in one table, each measured beside its peer in
one run; exit code 1 where one is beyond its limit.

    make bench                                all (about 40 minutes on 2 cores)
    make bench BENCH_ARGS="--only screen,report"
    make bench BENCH_ARGS=--quick             100,000 tokens, few runs

Nothing else may run meanwhile. The scorer needs the environment of Transformers
(``logdrift env create transformers``), capture those of the engines.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.make_session import make_session
from benchmarks.ratios import VARIABLE, ratios_in, table
from logdrift.core.capture.environments import find_interpreter
from logdrift.core.capture.models import SMALL_MODEL, resolve_model
from logdrift.core.engines import TRAINER
from logdrift.core.errors import LogdriftError

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sessions" / "sample-smollm2"
LARGE_VOCABULARY = 262_144
"""Ids of Gemma 3, the widest head of the common models."""


class Scale(NamedTuple):
    """How much is measured."""

    tokens: int
    runs: int
    starts: int
    scored: tuple[int, ...]


FULL = Scale(1_000_000, 5, 15, (512, 2_048, 8_192))
QUICK = Scale(100_000, 3, 5, (512,))


class Work(NamedTuple):
    """Where the benchmarks write, and how much they measure."""

    folder: Path
    scale: Scale

    def session(self, name: str, captures: int = 2) -> str:
        """A generated session with top-20, made when it is first asked for."""
        folder = self.folder / name
        if not folder.exists():
            tokens = self.scale.tokens
            make_session(folder, tokens, max(20, tokens // 500), 20, captures)
        return str(folder)


Command = list[str]


def _script(name: str, *arguments: object) -> Command:
    return [
        sys.executable,
        str(ROOT / "benchmarks" / f"{name}.py"),
        *map(str, arguments),
    ]


def _scorer(work: Work) -> list[Command]:
    python = str(find_interpreter(TRAINER).python)
    model = resolve_model(SMALL_MODEL, lambda step: None)
    script = str(ROOT / "benchmarks" / "scorer.py")
    tokens = [str(count) for count in work.scale.scored]
    small = [python, script, "--model", model, "--tokens", *tokens]
    # All logits of 8,192 tokens do not fit twice into memory with so many ids.
    few = [str(count) for count in work.scale.scored if count <= 2_048]
    wide = [python, script, "--random", str(LARGE_VOCABULARY), "--tokens", *few]
    return [small, wide]


def _screen(work: Work) -> list[Command]:
    arguments = (SAMPLE, "--runs", work.scale.starts, "--presses", 5)
    return [
        _script("screen", *arguments, "--size", "80x24"),
        _script("screen", *arguments, "--size", "200x60"),
    ]


def _session_list(work: Work) -> list[Command]:
    module = [sys.executable, "-m", "benchmarks.session_list"]
    return [[*module, "--runs", str(work.scale.runs)]]


def _trend(work: Work) -> list[Command]:
    module = [sys.executable, "-m", "benchmarks.trend_start"]
    return [[*module, "--runs", str(work.scale.runs)]]


def _report(work: Work) -> list[Command]:
    return [_script("report", work.session("three", 3), "--runs", work.scale.runs)]


def _why(work: Work) -> list[Command]:
    return [_script("why", "--runs", work.scale.runs)]


def _diff(work: Work) -> list[Command]:
    sessions = work.session("two"), work.session("three", 3)
    return [_script("diff", *sessions, "--runs", work.scale.runs)]


def _verify(work: Work) -> list[Command]:
    return [_script("verify", work.session("three", 3), "--runs", work.scale.runs)]


def _importing(work: Work) -> list[Command]:
    dump = work.folder / "dumps"
    arguments = ("--tokens", work.scale.tokens, "--runs", work.scale.runs)
    return [_script("importing", dump, *arguments)]


def _exporting(work: Work) -> list[Command]:
    return [_script("exporting", work.session("one", 1), "--runs", work.scale.runs)]


def _size(work: Work) -> list[Command]:
    return [_script("size", work.session("two"))]


def _record(work: Work) -> list[Command]:
    return [_script("record", "--steps", 60 * work.scale.runs)]


BENCHMARKS: dict[str, Callable[[Work], list[Command]]] = {
    "scorer": _scorer,
    "screen": _screen,
    "list": _session_list,
    "trend": _trend,
    "report": _report,
    "why": _why,
    "diff": _diff,
    "verify": _verify,
    "import": _importing,
    "export": _exporting,
    "size": _size,
    "record": _record,
}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help=f"by commas: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"--only {name}: give some of {', '.join(BENCHMARKS)}")
    scale = QUICK if args.quick else FULL
    with tempfile.TemporaryDirectory(prefix="logdrift-bench-") as folder:
        work = Work(Path(folder), scale)
        kept = work.folder / "ratios.jsonl"
        failed = [name for name in names if not _run(name, work, kept)]
        ratios = ratios_in(kept)
    print(table(ratios))
    for name in failed:
        print(f"{name}: was not measured to its end")
    return int(bool(failed) or not all(ratio.holds for ratio in ratios))


def _run(name: str, work: Work, kept: Path) -> bool:
    """Measure one, its own output on stderr; whether it came to its end: it gave a
    ratio, and ended with 0, or with 1 for a ratio that is beyond its limit.
    """
    try:
        commands = BENCHMARKS[name](work)
    except LogdriftError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    environment = {**os.environ, VARIABLE: str(kept), "PYTHONPATH": str(ROOT)}
    ended = True
    for command in commands:
        before = len(ratios_in(kept))
        print(f"== {name}", file=sys.stderr, flush=True)
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr)
        given = ratios_in(kept)[before:]
        is_beyond = not all(ratio.holds for ratio in given)
        ended &= bool(given) and done.returncode == int(is_beyond)
    return ended


if __name__ == "__main__":
    sys.exit(main())
