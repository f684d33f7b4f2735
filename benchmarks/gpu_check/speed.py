"""Scoring against the bare forward pass: seconds by device events and peak memory, in
bfloat16 and float16.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_check.models import Shape
from benchmarks.gpu_check.opened import Opened, drawn_ids
from benchmarks.gpu_check.table import Finding, say

ROUNDS = 5
LIMIT = 1.10
"""Time over the bare pass from `LIMITED_FROM` tokens on, that of docs/benchmarks.md."""
LIMITED_FROM = 2_048
_MIB = 1 << 20

Run = Callable[[], object]


def check(model: Path, shape: Shape, dtype: str, tokens: tuple[int, ...]) -> None:
    """A row of time and one of memory for each number of tokens."""
    opened = Opened(model, dtype, max(tokens))
    for count in tokens:
        ids = drawn_ids(count, shape.vocabulary)
        batch = torch.from_numpy(ids).long()[None].to(opened.model.device)
        _compare(dtype, opened, ids, batch)
    opened.close()


def _compare(dtype: str, opened: Opened, ids: np.ndarray, batch: Any) -> None:
    def bare() -> object:
        with torch.inference_mode():
            return opened.model(batch, use_cache=False).logits

    def scorer() -> object:
        return opened.scored(ids)

    what = f"{dtype}, {len(ids):,} tokens"
    try:
        _say_memory(what, _peak(bare), _peak(scorer))
        _say_time(what, len(ids), bare, scorer)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        reason = "the bare pass, with all its logits, does not fit into memory"
        say(Finding("speed", what, reason))


def _say_time(what: str, tokens: int, bare: Run, scorer: Run) -> None:
    ratios, bare_seconds, scorer_seconds = [], [], []
    for repeat in range(ROUNDS + 1):
        seconds = _seconds(bare), _seconds(scorer)
        if repeat:
            bare_seconds.append(seconds[0])
            scorer_seconds.append(seconds[1])
            ratios.append(seconds[1] / seconds[0])
    ratio = statistics.median(ratios)
    bare_ms = 1000 * statistics.median(bare_seconds)
    scorer_ms = 1000 * statistics.median(scorer_seconds)
    measured = f"{scorer_ms:.1f} ms against {bare_ms:.1f} ms, ratio {ratio:.3f}"
    if tokens < LIMITED_FROM:
        say(Finding("time", what, measured))
        return
    say(Finding("time", what, measured, f"at most {LIMIT}", ratio <= LIMIT))


def _seconds(run: Run) -> float:
    """Seconds between two events of the device around ``run``; on a CPU, of the
    clock.
    """
    if not torch.cuda.is_available():
        began = time.perf_counter()
        run()
        return time.perf_counter() - began
    start = torch.cuda.Event(enable_timing=True)
    end = torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1000


def _peak(run: Run) -> float | None:
    """MiB over what was held before; None on a CPU, where torch does not count it."""
    if not torch.cuda.is_available():
        run()
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    most = torch.cuda.max_memory_allocated()
    return float(most - before) / _MIB


def _say_memory(what: str, bare: float | None, scorer: float | None) -> None:
    if bare is None or scorer is None:
        say(Finding("peak memory", what, "not measured on a CPU"))
        return
    measured = f"{scorer:,.0f} MiB against {bare:,.0f} MiB of the bare pass"
    say(Finding("peak memory", what, measured))
