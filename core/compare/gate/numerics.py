"""Precision: dtypes of the body, the head, the logits and the cache, quantisation,
TF32.
"""

from __future__ import annotations

from collections.abc import Iterator

from logdrift.core.compare.gate.case import GateCase, GateSide, Reason, caution, note
from logdrift.core.compare.usual import usual_of
from logdrift.core.engines import all_names

_SHORT_NAMES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "float": "float32",
}
_CLOSE_ENOUGH = ("highest", "ieee", "none")
# Torch's own names, then the engines'.
_PRECISIONS = (
    "float32_matmul_precision",
    *all_names(lambda engine: engine.numbers.precisions),
)
_TF32 = ("cuda_allow_tf32", *all_names(lambda engine: engine.numbers.tf32))


def check_dtype(case: GateCase) -> Iterator[Reason]:
    """Different compute dtypes explain a gap by themselves; against a reference that is
    what one wants to see.
    """
    if not case.differ("dtype"):
        return
    a, b = case.both("dtype")
    usual = usual_of((a, b))
    if usual:
        size = f"an MAE of {usual.words} nats is usual for {usual.dtype}"
    else:
        size = "a gap from rounding is usual"
    computes = f"{case.a.label} computes in {a}, {case.b.label} in {b}"
    if case.against_reference:
        yield note("dtype", f"{computes}, as a reference pair should: {size}.")
    else:
        yield caution(
            "dtype",
            f"{computes}, and {size}: run both in one dtype to see what else differs.",
        )


def check_head(case: GateCase) -> Iterator[Reason]:
    """The dtype of the head and of the logits, a knob of its own in every engine. What
    only follows the body's dtype, which `check_dtype` reports, is not reported again.
    """
    reported = [case.both("dtype")]
    for name in ("head_dtype", "logits_dtype"):
        dtypes = case.both(name)
        if dtypes in reported or not case.differ(name):
            continue
        reported.append(dtypes)
        a, b = dtypes
        if name == "head_dtype":
            what = "the LM head works in"
        else:
            what = "logits are"
        said = f"{what} {a} in {case.a.label} and {b} in {case.b.label}"
        if case.against_reference:
            yield note(name, f"{said}, which is part of the gap to a reference.")
        else:
            yield caution(
                name,
                f"{said}, which is part of the gap: set the same precision on both"
                " sides.",
            )


def check_quantization(case: GateCase) -> Iterator[Reason]:
    """Quantised weights are other weights."""
    a = _quantization(case.a)
    b = _quantization(case.b)
    if a != b:
        yield caution(
            "quantization",
            f"{case.a.label} is {_quantised(a)} and {case.b.label} is {_quantised(b)},"
            " so the gap is that of the quantisation: compare without it first.",
        )


def _quantization(side: GateSide) -> str | None:
    scheme = side.facts.quantization
    if scheme == "none":
        return None
    return scheme


def _quantised(scheme: str | None) -> str:
    if scheme:
        return f"quantised ({scheme})"
    return "not known to be quantised"


_COMPUTED = ("float32", "bfloat16", "float16")


def check_kv_cache(case: GateCase) -> Iterator[Reason]:
    """Keys and values kept in another dtype than the model computes in."""
    kept = [_cache_dtype(side) for side in case.sides]
    if kept[0] == kept[1]:
        return
    for side, dtype in zip(case.sides, kept, strict=True):
        if dtype is not None:
            yield caution(
                "kv_cache",
                f"{side.label} computes in {side.facts.dtype or 'an unknown dtype'} and"
                f" keeps keys and values in {dtype}, noise that the other side does not"
                " have: set kv_cache_dtype=auto to see its share.",
            )


def _cache_dtype(side: GateSide) -> str | None:
    """The dtype of the cache where it is not that of the model, else None. Where the
    model's is unknown, one in which models compute is taken for it; fewer bits are not.
    """
    kept = side.facts.kv_cache_dtype
    if kept is None or kept == "auto":
        return None
    kept = _SHORT_NAMES.get(kept, kept)
    model = side.facts.dtype
    if model is None:
        is_usual = kept in _COMPUTED
    else:
        is_usual = kept == model
    if is_usual:
        return None
    return kept


def check_tf32(case: GateCase) -> Iterator[Reason]:
    """float32 that is not quite: matrix products with 10 bits of mantissa, on one
    side.
    """
    ways = [_reduced(side) for side in case.sides]
    if ways[0] == ways[1]:
        return
    for side, way in zip(case.sides, ways, strict=True):
        if way is not None:
            yield caution(
                "tf32",
                f"{side.label} computes its float32 products in reduced precision"
                f" ({way}), with errors a thousand times those of float32: switch it"
                " off.",
            )


def _reduced(side: GateSide) -> str | None:
    """What makes float32 products coarser, where any are computed."""
    facts = side.facts
    if "float32" not in (facts.dtype, facts.head_dtype):
        return None
    for name in _PRECISIONS:
        setting = facts.extra.get(name) or facts.environment.get(name)
        value = str(setting or "highest")
        if value not in _CLOSE_ENOUGH:
            return f"{name}={value}"
    on_gpu = (facts.device or "").startswith("cuda")
    for name in _TF32:
        if on_gpu and facts.extra.get(name) is True:
            return name
    return None
