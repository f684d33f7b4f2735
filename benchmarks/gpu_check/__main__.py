"""``python -m benchmarks.gpu_check [--out FILE]``: every check, each in a process of
its own, and one Markdown page. Exit code 1 where something does not hold.

    make gpu-check                        the python3 of the machine
    make gpu-check GPU_PYTHON=PATH        another interpreter that has torch

Without a GPU the same checks run on tiny models (``--tiny`` is then the default): that
tries the way and says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu_check.models import LARGE, LONGEST, TINY, Shape
from benchmarks.gpu_check.table import Finding, findings_in, markdown

ROOT = Path(__file__).resolve().parents[2]
LOGDRIFT = ROOT / ".venv" / "bin" / "logdrift"
SECONDS = 470.0
"""All checks together: under eight minutes, the writing of the page included."""
_RANDOM = "random"
_ENGINES = ("vllm", "sglang")


class Size(NamedTuple):
    """How large the checks are."""

    shape: Shape
    tokens: tuple[int, ...]
    chunked: int
    reducer_rows: int
    steps: int


FULL = Size(LARGE, (512, 4_096, LONGEST), 4_096, 512, 400)
SMALL = Size(TINY, (32, 128), 200, 80, 60)


class Setting(NamedTuple):
    """What a check is given: where it may write, its size, and the device."""

    work: Path
    size: Size
    device: str

    @property
    def random(self) -> Path:
        """The folder of the random model."""
        return self.work / _RANDOM


def _write_model(setting: Setting) -> None:
    from benchmarks.gpu_check.models import write_random

    write_random(setting.random, setting.size.shape, setting.device)


def _speed(dtype: str) -> Callable[[Setting], None]:
    def check(setting: Setting) -> None:
        from benchmarks.gpu_check import speed

        size = setting.size
        speed.check(setting.random, size.shape, dtype, size.tokens)

    return check


def _reducer(setting: Setting) -> None:
    from benchmarks.gpu_check import equal

    size = setting.size
    vocabulary = size.shape.vocabulary
    equal.check_reducer(vocabulary, size.reducer_rows, setting.device)


def _chunks(setting: Setting) -> None:
    from benchmarks.gpu_check import equal

    size = setting.size
    equal.check_chunks(setting.random, size.shape, size.chunked)


def _places(setting: Setting) -> None:
    from benchmarks.gpu_check import equal

    size = setting.size
    equal.check_places(setting.random, size.shape, min(size.tokens))


def _switches(setting: Setting) -> None:
    from benchmarks.gpu_check import equal

    size = setting.size
    equal.check_switches(setting.random, size.shape, min(size.tokens))


def _causes(setting: Setting) -> None:
    from benchmarks.gpu_check import causes

    causes.check(setting.work, setting.size.steps)


CHECKS: dict[str, Callable[[Setting], None]] = {
    "model": _write_model,
    "bfloat16": _speed("bfloat16"),
    "float16": _speed("float16"),
    "reducer": _reducer,
    "chunks": _chunks,
    "places": _places,
    "switches": _switches,
    "causes": _causes,
}
"""In the order in which they run. The first writes what the others load."""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the page here too")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny models, on any machine"
    )
    parser.add_argument("--only", help="checks, by commas (default: all)")
    parser.add_argument("--one", choices=CHECKS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    machine = _machine()
    has_gpu = bool(machine["gpu"])
    size = FULL if has_gpu and not args.tiny else SMALL
    device = "cuda" if has_gpu else "cpu"
    if args.one:
        CHECKS[args.one](Setting(args.work, size, device))
        return 0
    end = time.monotonic() + SECONDS
    names = args.only.split(",") if args.only else list(CHECKS)
    for name in names:
        if name not in CHECKS:
            parser.error(f"--only {name}: give some of {', '.join(CHECKS)}")
    findings = _all(names, args.tiny, end)
    if not args.only:
        findings += _demo(end)
    page = markdown(machine, findings)
    print(page)
    if args.out:
        args.out.write_text(page, encoding="utf-8")
    is_missed = any(finding.holds is False for finding in findings)
    is_shown = any(finding.holds for finding in findings)
    return int(is_missed or not is_shown)


def _all(chosen: Sequence[str], tiny: bool, end: float) -> list[Finding]:
    """What the checks found until ``end`` of the monotonic clock, in seconds."""
    findings = []
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        for name in CHECKS:
            if name in chosen or name == "model":
                left = end - time.monotonic()
                findings += _in_a_process(name, work, tiny, left)
    return findings


def _in_a_process(name: str, work: str, tiny: bool, left: float) -> list[Finding]:
    """The findings of one check; one more where it failed or had no time."""
    if left <= 0:
        return [Finding(name, "the whole check", "not run: the time was used up")]
    argv = [sys.executable, "-m", "benchmarks.gpu_check", "--one", name]
    argv += ["--work", work]
    if tiny:
        argv.append("--tiny")
    began = time.monotonic()
    try:
        done = subprocess.run(
            argv, cwd=ROOT, capture_output=True, text=True, timeout=left
        )
    except subprocess.TimeoutExpired as ended:
        output = (ended.stdout or b"").decode(errors="replace")
        late = Finding(name, "the rest of the check", "not run: the time was used up")
        return [*findings_in(output), late]
    took = time.monotonic() - began
    print(f"{name}: {took:.0f} s", file=sys.stderr, flush=True)
    findings = findings_in(done.stdout)
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["no word"]
        findings.append(Finding(name, "the check itself", words[0], "ends", False))
    return findings


def _demo(end: float) -> list[Finding]:
    """The demo with every engine whose environment is there, until ``end``."""
    if not LOGDRIFT.exists():
        reason = "not run: logdrift is not set up here (make setup)"
        return [Finding("demo", "three engines", reason)]
    return [_demo_with(engine, end - time.monotonic()) for engine in _ENGINES]


def _demo_with(engine: str, left: float) -> Finding:
    late = Finding("demo", engine, "not run: the time was used up")
    if left <= 0:
        return late
    logdrift = str(LOGDRIFT)
    there = subprocess.run([logdrift, "env", "check", engine], capture_output=True)
    if there.returncode:
        return Finding("demo", engine, f"not run: {engine} is not installed")
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        argv = [logdrift, "demo", "--engines", engine, "--out", f"{work}/demo"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            return late
    lines = done.stdout.strip().splitlines()
    measured = lines[-1] if lines else done.stderr.strip()
    return Finding("demo", engine, measured, "ends", done.returncode == 0)


def _machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch
    import transformers

    gpu = None
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
    return {
        "gpu": gpu,
        "CUDA of torch": torch.version.cuda,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "Python": platform.python_version(),
        "CPU cores": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.exit(main())
