"""What must not change a number: the device that reduces, the size of a chunk, memory
that runs out, where hidden states stay, and the devices that hold the layers.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_check.models import Shape
from benchmarks.gpu_check.opened import TOP_K, Opened, drawn_ids, gap, same_bits
from benchmarks.gpu_check.table import Finding, say
from logdrift.core.worker.base import Scores
from logdrift.core.worker.reduce import Reducer

FLOAT32_ROUNDING = 1e-4
"""Nats. Another shape of a float32 matrix product sums in another order: up to 3e-5 in
a logit of SmolLM2 on a CPU (core/engines/transformers/head.py), and a logit's error
reaches the log-probability once by itself and once by the sum.
"""
REDUCER_ROUNDING = 2e-6
"""Nats. Either device is within 1e-6 of float64 (core/worker/reduce.py)."""
_SMALL_CHUNK = 64
_LEFT = 700 << 20
"""Bytes left free where memory is to run out: less than the 1,024 MiB of a chunk."""


def check_reducer(vocabulary: int, rows: int, device: str) -> None:
    """Ranks and top-k of the same bfloat16 logits, ties included, on both devices."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((rows, vocabulary), generator=generator).mul_(3)
    logits = logits.bfloat16()
    logits[0, 5] = float("nan")
    logits[1, : vocabulary // 2] = -float("inf")
    targets = torch.randint(0, vocabulary, (rows,), generator=generator)
    here = _reduced(logits, targets, "cpu")
    there = _reduced(logits.to(device), targets.to(device), device)
    what = f"{rows} rows of {vocabulary:,} bfloat16 logits, on {device} and on the CPU"
    unscored = np.isnan(here.logprob)
    same = {
        "ranks": np.array_equal(here.rank, there.rank),
        "ids of the top 20": np.array_equal(here.top_ids, there.top_ids),
        "rows without a score": np.array_equal(unscored, np.isnan(there.logprob)),
    }
    for name, is_same in same.items():
        words = "the same" if is_same else "not the same"
        say(Finding("reducer", f"{what}: {name}", words, "the same", is_same))
    for name in ("logprob", "top_logprobs", "entropy"):
        first = getattr(here, name)[~unscored]
        second = getattr(there, name)[~unscored]
        is_equal = first == second  # also where both are -inf
        apart = np.abs(first[~is_equal] - second[~is_equal])
        largest = float(apart.max(initial=0.0))
        _say_largest("reducer", f"{what}: {name}", largest, REDUCER_ROUNDING)


def _reduced(logits: Any, targets: Any, device: str) -> Scores:
    rows, vocabulary = logits.shape
    scores = Scores.empty(rows, TOP_K, entropy=True)
    Reducer(vocabulary, TOP_K, device).into(scores, 0, logits, targets)
    return scores


def check_chunks(model: Path, shape: Shape, tokens: int) -> None:
    """Chunks of the head, small and default, and those that memory forces."""
    ids = drawn_ids(tokens, shape.vocabulary)
    whole = _scored(model, ids)
    small = _scored(model, ids, batch_tokens=_SMALL_CHUNK)
    what = f"float32, {tokens:,} tokens, chunks of {_SMALL_CHUNK} rows and by default"
    _say_largest("chunks", what, float(gap(whole, small).max()), FLOAT32_ROUNDING)
    _check_halving(model, ids, "asked for", oom_rows=_SMALL_CHUNK)
    if torch.cuda.is_available():
        _check_shortage(model, ids)


def _scored(model: Path, ids: np.ndarray, **options: Any) -> Scores:
    opened = Opened(model, "float32", len(ids), **options)
    scores = opened.scored(ids)
    opened.close()
    return scores


def _check_halving(model: Path, ids: np.ndarray, how: str, **options: Any) -> None:
    """A chunk that does not fit is halved: the numbers are those of the smaller
    chunks.
    """
    opened = Opened(model, "float32", len(ids), **options)
    before = opened.rows
    halved = opened.scored(ids)
    after = opened.rows
    opened.close()
    wanted = _scored(model, ids, batch_tokens=after)
    what = f"out of memory, {how}: chunks of {before:,} rows, then {after:,}"
    is_same = same_bits(halved, wanted) and after < before
    words = "the same" if is_same else f"MAE {gap(halved, wanted).mean():.2g}"
    say(Finding("halving", what, words, "bits of those chunks", is_same))


def _check_shortage(model: Path, ids: np.ndarray) -> None:
    """The same where memory is really short: all but `_LEFT` of it is held."""
    opened = Opened(model, "bfloat16", len(ids))
    before = opened.rows
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(max(0, free - _LEFT), dtype=torch.uint8, device="cuda")
    scores = opened.scored(ids)
    del held
    all_scored = bool(np.isfinite(scores.logprob[1:]).all())
    what = f"out of memory, for real: chunks of {before:,} rows, then {opened.rows:,}"
    words = "all tokens scored" if all_scored else "tokens without a score"
    holds = all_scored and opened.rows < before
    say(Finding("halving", what, words, "all tokens scored, in smaller chunks", holds))
    opened.close()


def check_places(model: Path, shape: Shape, tokens: int) -> None:
    """Hidden states on the host and on the device, a compiled backbone, and layers on
    both devices.
    """
    ids = drawn_ids(tokens, shape.vocabulary)
    usual = _scored(model, ids)
    for place in ("host", "host_nonblocking"):
        is_same = same_bits(usual, _scored(model, ids, hidden_states=place))
        words = "the same" if is_same else "not the same"
        say(Finding("places", f"hidden_states={place}", words, "same bits", is_same))
    _check_device_map(model, shape, ids, usual)


def _check_device_map(
    model: Path, shape: Shape, ids: np.ndarray, usual: Scores
) -> None:
    if importlib.util.find_spec("accelerate") is None:
        say(Finding("places", "device_map", "not run: accelerate is not installed"))
        return
    opened = Opened(model, "float32", len(ids), device_map=_halves(shape.layers))
    largest = float(gap(opened.scored(ids), usual).max())
    what = f"device_map over {opened.facts.device_count} devices"
    opened.close()
    _say_largest("places", what, largest, FLOAT32_ROUNDING)


def _halves(layers: int) -> dict[str, str]:
    """The first half of the layers on the GPU, the rest and the head on the host."""
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    places = {"model.embed_tokens": device, "model.rotary_emb": device}
    for layer in range(layers):
        places[f"model.layers.{layer}"] = device if layer < layers // 2 else "cpu"
    return {**places, "model.norm": "cpu", "lm_head": "cpu"}


def check_switches(model: Path, shape: Shape, tokens: int) -> None:
    """Switches of torch that change products: seen in the facts, and in the numbers."""
    ids = drawn_ids(tokens, shape.vocabulary)
    matmul = torch.backends.cuda.matmul
    _check_switch(model, ids, "float32", "allow_tf32", "cuda_allow_tf32")
    for short in ("bf16", "fp16"):
        switch = f"allow_{short}_reduced_precision_reduction"
        dtype = {"bf16": "bfloat16", "fp16": "float16"}[short]
        fact = f"cuda_{short}_reduced_precision_reduction"
        if hasattr(matmul, switch):
            _check_switch(model, ids, dtype, switch, fact)


def _check_switch(
    model: Path, ids: np.ndarray, dtype: str, switch: str, fact: str
) -> None:
    matmul = torch.backends.cuda.matmul
    as_it_was = getattr(matmul, switch)
    scores, facts = [], []
    for value in (True, False):
        setattr(matmul, switch, value)
        opened = Opened(model, dtype, len(ids))
        scores.append(opened.scored(ids))
        facts.append(str(opened.facts.extra[fact]))
        opened.close()
    setattr(matmul, switch, as_it_was)
    measured = f"facts say {facts[0]} and {facts[1]}; MAE {gap(*scores).mean():.2g}"
    is_seen = facts[0] != facts[1]
    say(Finding("switches", f"{dtype}, {switch}", measured, "seen in facts", is_seen))


def _say_largest(check: str, what: str, largest: float, limit: float) -> None:
    wanted = f"at most {limit:g} nats"
    say(Finding(check, what, f"largest |Δ| {largest:.2g}", wanted, largest <= limit))
