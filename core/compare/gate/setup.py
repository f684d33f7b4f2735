"""How the engines ran: kernels, compilation, batches, chunks, caches, parallelism,
versions, environment.

Between two engines these always differ, which is context. Between two backends on one
engine somebody set them, and each is a known source of noise: then they are cautions.
Facts that cannot have touched these captures are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from logdrift.core.compare.gate.case import (
    GateCase,
    GateSide,
    Reason,
    caution,
    note,
)
from logdrift.core.engines import ENGINES, all_names
from logdrift.core.numbers import counted

# Variables that change numbers on every engine, with the values that are the same as
# leaving them out; each engine has more of its own.
_VARIABLES = {
    "CUBLASLT_WORKSPACE_SIZE": (),
    "CUBLAS_WORKSPACE_CONFIG": (),
    "NCCL_ALGO": (),
    "NVIDIA_TF32_OVERRIDE": (),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": ("0",),
    "TORCH_BLAS_PREFER_CUBLASLT": ("0",),
}
# Further settings that move numbers: the engines' own, then torch's.
_SETTINGS = (
    *all_names(lambda engine: engine.numbers.settings),
    "preferred_blas_library",
    "cpu_capability",
    "flash_sdp",
    "mem_efficient_sdp",
    "math_sdp",
    "cudnn_sdp",
    "cuda_bf16_reduced_precision_reduction",
    "cuda_fp16_reduced_precision_reduction",
    "autocast_cpu",
    "autocast_cuda",
)
_SPECULATIVE = all_names(lambda engine: engine.numbers.speculative)


def check_attention(case: GateCase) -> Iterator[Reason]:
    """Another attention kernel sums in another order."""
    if case.differ("attention_backend"):
        a, b = case.both("attention_backend")
        yield case.setting(
            "attention",
            f"attention is computed by {a} in {case.a.label} and {b} in {case.b.label},"
            " one part of the rounding gap: to see how large, set another attention"
            " backend.",
        )


def check_execution(case: GateCase) -> Iterator[Reason]:
    """Compilation and graphs fuse operations and so round at other places."""
    if case.differ("execution_mode"):
        a, b = case.both("execution_mode")
        yield case.setting(
            "execution",
            f"{case.a.label} runs {_mode(a)}, {case.b.label} {_mode(b)}, which fuses"
            " and rounds differently: run both eager to see its share.",
        )


def _mode(mode: str) -> str:
    if mode == "eager":
        return mode
    return f"compiled or in graphs ({mode})"


def check_batch(case: GateCase) -> Iterator[Reason]:
    """The shape of the batch chooses the matrix kernel; alone against among others is a
    floor of its own.
    """
    a, b = (_batch(side) for side in case.sides)
    if a is None or b is None or a == b:
        return
    small, large = case.sides
    if a > b:
        small, large = large, small
    if large.facts.batch_invariant:
        return
    if 1 not in (a, b):
        if case.same_engine and not case.same_backend:
            said = (
                f"batches hold up to {a:,} sequences in {case.a.label} and {b:,} in"
                f" {case.b.label}"
            )
            yield case.setting(
                "batch", f"{said}, and rounding depends on it: use one batch size."
            )
        return
    said = (
        f"{small.label} has each sequence in a batch of its own, {large.label} up to"
        f" {max(a, b):,} together"
    )
    if case.same_backend:
        yield note(
            "batch",
            f"{said}: this gap is what the batch alone does, a floor for the others.",
        )
    else:
        yield case.setting(
            "batch",
            f"{said}, and rounding depends on it: capture with alone=true to see its"
            " share.",
        )


def _batch(side: GateSide) -> int | None:
    """The most sequences that were computed together."""
    limit = side.facts.max_batch_sequences
    most = max(side.info.batch_sizes, default=0)
    if side.info.batch == "alone" or 1 in (limit, most):
        return 1
    if limit is None:
        return None
    return min(most, limit)


def check_full_batches(case: GateCase) -> Iterator[Reason]:
    """An engine that fills its batches from many parts computes a sequence among
    others after a break than it would have without.
    """
    filled = []
    for side in case.sides:
        has_company = side.info.fills_batches and len(side.info.parts) > 1
        if has_company and not side.facts.batch_invariant:
            filled.append(side.label)
    if not filled:
        return
    labels = " and ".join(filled)
    yield note(
        "full_batches",
        f"{labels}: the engine filled its batches from many parts, so numbers that are"
        " captured again move by the floor of the batch's shape (alone=true measures"
        " it; reproducible=true fixes the batches).",
    )


def check_batch_invariant(case: GateCase) -> Iterator[Reason]:
    """The mode swaps matrix, norm and softmax kernels at once. Not every engine has
    one: Transformers, one sequence at a time, does not.
    """
    both_may = all(map(_may_have_the_mode, case.sides))
    if both_may and case.differ("batch_invariant"):
        on, off = case.with_and_without("batch_invariant")
        yield case.setting(
            "batch_invariant",
            f"{on.label} runs in batch-invariant (deterministic) mode and {off.label}"
            " does not, which changes many kernels at once: set it on both or on"
            " neither.",
        )


def _may_have_the_mode(side: GateSide) -> bool:
    engine = ENGINES.get(side.info.engine)
    return engine is None or engine.numbers.batch_invariant


def check_chunked_prefill(case: GateCase) -> Iterator[Reason]:
    """A prompt that is computed in pieces meets other matrix shapes, and a state that
    must be carried over.
    """
    if not case.pair.count:
        return
    chunk_a = _chunk(case, case.a)
    chunk_b = _chunk(case, case.b)
    if chunk_a == chunk_b:
        return
    way_a = _way_of_prefill(case.a, chunk_a)
    way_b = _way_of_prefill(case.b, chunk_b)
    yield case.setting(
        "chunked_prefill",
        f"the longest sequences were computed by {way_a}, {way_b}: raise the chunk size"
        " to see its share.",
    )


def _way_of_prefill(side: GateSide, chunk: int | None) -> str:
    if chunk:
        return f"{side.label} in pieces of up to {counted(chunk, 'token')}"
    return f"{side.label} whole"


def _chunk(case: GateCase, side: GateSide) -> int | None:
    """The size of the pieces where one sequence is certainly longer, else None."""
    size = side.facts.chunk_size
    if size is None or not side.facts.chunked_prefill:
        return None
    if side.info.path == "decode":
        longest = int(case.prompt_lengths.max())
    else:
        longest = int(case.lengths.max())
    if size < longest:
        return size
    return None


def check_prefix_cache(case: GateCase) -> Iterator[Reason]:
    """Only decoding reads the cache: scoring whole sequences computes them all, in vLLM
    and SGLang alike.
    """
    both_decode = case.a.decodes and case.b.decodes
    if both_decode and case.same_engine and case.differ("prefix_cache"):
        on, off = case.with_and_without("prefix_cache")
        yield case.setting(
            "prefix_cache",
            f"{on.label} has a prefix cache and {off.label} none: switch it off to see"
            " its share.",
        )
        return
    for side, other in case.crossed:
        if _reads_cache(side) and not _reads_cache(other):
            reused = _reused(case, side)
            if reused:
                yield note(
                    "prefix_cache",
                    f"{side.label} may have taken the start of"
                    f" {counted(reused, 'prompt')} from its prefix cache, computed in"
                    " another batch: switch the cache off to see its share.",
                )


def _reads_cache(side: GateSide) -> bool:
    return side.decodes and bool(side.facts.prefix_cache)


def _cache_block(side: GateSide) -> int:
    """Tokens of a block of the prefix cache; vLLM's default on GPUs where unknown."""
    extra = side.facts.extra
    block = extra.get("block_size") or extra.get("page_size")
    if isinstance(block, int) and block > 0:
        return block
    return 16


def _reused(case: GateCase, side: GateSide) -> int:
    """Prompts that share their first cache block with an earlier one of their batch
    (each begins with an empty cache).
    """
    block = _cache_block(side)
    # The last token of a prompt is always computed, so a prompt of one block has
    # nothing to reuse.
    long = np.flatnonzero(case.prompt_lengths > block)
    if len(long) < 2:
        return 0
    ends = np.cumsum(side.info.batch_sizes)
    batches = np.searchsorted(ends, long, "right")
    begins = case.starts[long]
    positions = begins[:, None] + np.arange(block)
    heads = case.pair.sequences.token_ids[positions]
    keys = np.column_stack([batches.astype(np.int32), heads])
    bytes_of_key = keys.itemsize * keys.shape[1]
    different = np.unique(keys.view(f"V{bytes_of_key}"))
    return len(long) - len(different)


def check_speculative(case: GateCase) -> Iterator[Reason]:
    """A draft's tokens are verified several at once, another kernel than one step."""
    if _speculation(case.a) == _speculation(case.b):
        return
    for side in case.sides:
        if _speculation(side) is not None:
            yield caution(
                "speculative",
                f"{side.label} decodes speculatively, so its numbers come from"
                " verifying several tokens at once: switch it off to see its share.",
            )


def _speculation(side: GateSide) -> Any:
    """The option for a draft of a side that decodes; None: it has none."""
    if side.decodes:
        return side.option(*_SPECULATIVE)
    return None


def check_tensor_parallel(case: GateCase) -> Iterator[Reason]:
    """Sums over several devices are taken in another order."""
    if case.differ("tensor_parallel"):
        a, b = case.both("tensor_parallel")
        yield case.setting(
            "tensor_parallel",
            f"{case.a.label} runs on {a} tensor-parallel {_ranks(a)}, {case.b.label} on"
            f" {b}, which sums in another order: use one size to see its share.",
        )


def _ranks(number: int) -> str:
    if number == 1:
        return "rank"
    return "ranks"


def check_device(case: GateCase) -> Iterator[Reason]:
    """Another kind of device has other kernels throughout; another model of one kind
    may have.
    """
    a, b = (
        None if device is None else device.partition(":")[0]
        for device in case.both("device")
    )
    if a is not None and b is not None and a != b:
        say = note if case.against_reference else caution
        yield say(
            "device",
            f"{case.a.label} ran on {a}, {case.b.label} on {b}: run both on one kind of"
            " device.",
        )
    elif case.differ("device_name"):
        a, b = case.both("device_name")
        yield case.setting(
            "device",
            f"{case.a.label} ran on {a}, {case.b.label} on {b}: compare on one kind of"
            " device.",
        )


def check_versions(case: GateCase) -> Iterator[Reason]:
    """Of one engine any other release may compute differently; between engines torch
    and CUDA are what they share.
    """
    packages = {"cuda_version": "CUDA", "torch_version": "torch"}
    if case.same_engine:
        packages = {"engine_version": case.a.info.engine, **packages}
    differ = []
    for name, package in packages.items():
        a, b = map(_release, case.both(name))
        if a is not None and b is not None and a != b:
            differ.append(f"{package} {a} in {case.a.label} and {b} in {case.b.label}")
    if differ:
        yield case.setting(
            "versions",
            f"{', '.join(differ)}: kernels change between releases; use one to rule it"
            " out.",
        )


def _release(version: Any) -> str | None:
    """A version without its local part: ``2.9.0`` of ``2.9.0+cu129``."""
    if version is None:
        return None
    release, _, _ = str(version).partition("+")
    return release


def check_settings(case: GateCase) -> Iterator[Reason]:
    """What else one engine says of itself, between two backends on it."""
    if not case.same_engine:
        return
    a = case.a.facts.extra
    b = case.b.facts.extra
    differ = []
    for name in _SETTINGS:
        if name in a and name in b and a[name] != b[name]:
            values = f"{a[name]} in {case.a.label}, {b[name]} in {case.b.label}"
            differ.append(f"{name} ({values})")
    if differ:
        said = ", ".join(differ[:3])
        if len(differ) > 3:
            more = f" and {len(differ) - 3} more settings"
        else:
            more = ""
        yield case.setting(
            "settings",
            f"{said}{more} differ, which may change rounding: set the same on both"
            " sides.",
        )


def check_environment(case: GateCase) -> Iterator[Reason]:
    """Variables that change numbers, where one side alone has them."""
    said = []
    for side, other in case.crossed:
        others = _numeric(other)
        for name, value in sorted(_numeric(side).items()):
            if value != others.get(name):
                said.append(f"{name}={value} for {side.label}")
    if said:
        if len(said) > 3:
            more = f" and {len(said) - 3} more"
        else:
            more = ""
        yield case.setting(
            "environment",
            f"the environment has {', '.join(said[:3])}{more}, which changes numbers:"
            " clear it, or set it on both sides.",
        )


def _numeric(side: GateSide) -> dict[str, str]:
    """The variables that matter to this engine and are not at their default."""
    engine = ENGINES.get(side.info.engine)
    own = engine.numbers.variables if engine is not None else {}
    defaults = {**_VARIABLES, **own}
    return {
        name: value
        for name, value in side.facts.environment.items()
        if name in defaults and value.lower() not in defaults[name]
    }
