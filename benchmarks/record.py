"""What `logdrift.record` costs a training step: the time of `TrainingRecorder.add` for
10,000 tokens, beside copying the same arrays.

    python benchmarks/record.py

Steps follow each other at once, with 20 ms of NumPy between them in place of a
training, so that the recorder's thread works at the same time. ``beside`` is the
median of a call less that of the copy (limit 1 ms). With torch in the interpreter,
tensors of bfloat16 are added too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratios import Ratio, in_words, say
from logdrift.core.recording.recorder import TrainingRecorder, record

ROWS, PROMPT, COMPLETION = 20, 100, 400
"""10,000 tokens."""
LIMIT = 1e-3
_WORK = 2e-2


def batch() -> dict[str, np.ndarray]:
    """The arrays of a step."""
    rng = np.random.default_rng(0)
    shape = (ROWS, COMPLETION)
    trainer = rng.normal(-1, 0.3, shape).clip(-9, 0).astype(np.float32)
    noise = rng.normal(0, 0.02, shape).astype(np.float32)
    return {
        "prompts": rng.integers(0, 50_000, (ROWS, PROMPT)),
        "completions": rng.integers(0, 50_000, shape),
        "there": np.ones(shape, np.int64),
        "trainer": trainer,
        "rollout": trainer - noise,
    }


def work() -> None:
    """A step of a training, of about `_WORK` seconds."""
    end = time.perf_counter() + _WORK
    matrix = np.ones((200, 200), np.float32)
    while time.perf_counter() < end:
        matrix @ matrix


def timed(call: Callable[[], object], steps: int) -> list[float]:
    """Seconds of each call, with work between them."""
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        work()
    return seconds


def measured(arrays: dict[str, Any], copy: Callable[[], object], steps: int) -> float:
    """Print a line, and return the seconds beside the copy."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = record(Path(folder, "session"), part_tokens=65_536)
        steps_of = iter(range(1 << 30))

        def add() -> None:
            _add(recorder, arrays, next(steps_of))

        copies = timed(copy, steps)
        calls = timed(add, steps)
        recorder.close()
        problem = recorder.problem
    assert problem is None, problem
    beside = statistics.median(calls) - statistics.median(copies)
    say(
        Ratio(
            name=f"record {tokens_of(arrays):,} tokens, beside the copy",
            ours=in_words(beside),
            against=f"the allowed {in_words(LIMIT)} of a step",
            peer=in_words(LIMIT),
            ratio=beside / LIMIT,
            limit=1.0,
        )
    )
    late = np.quantile(calls, 0.99)
    print(
        f"  copy {1e3 * statistics.median(copies):.3f} ms, add"
        f" {1e3 * statistics.median(calls):.3f} ms (p99 {1e3 * late:.3f}), beside"
        f" {1e3 * beside:.3f} ms (limit {1e3 * LIMIT:.0f})"
    )
    return beside


def tokens_of(arrays: dict[str, Any]) -> int:
    """Prompt and completion tokens of a step."""
    return int(arrays["prompts"].size) + int(arrays["there"].size)


def _add(recorder: TrainingRecorder, arrays: dict[str, Any], step: int) -> None:
    recorder.add(
        arrays["prompts"],
        arrays["completions"],
        {"trainer": arrays["trainer"], "rollout": arrays["rollout"]},
        completion_mask=arrays["there"],
        step=step,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    arrays: dict[str, Any] = dict(batch())
    print("NumPy arrays")
    worst = measured(
        arrays, lambda: [np.array(one) for one in arrays.values()], args.steps
    )
    try:
        import torch
    except ImportError:
        return int(worst > LIMIT)
    tensors: dict[str, Any] = {k: torch.from_numpy(v) for k, v in arrays.items()}
    for side in ("trainer", "rollout"):
        tensors[side] = tensors[side].bfloat16()

    def copy() -> object:
        return [one.detach().float().cpu().numpy().copy() for one in tensors.values()]

    print("tensors of torch, bfloat16")
    worst = max(worst, measured(tensors, copy, args.steps))
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
