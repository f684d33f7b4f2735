"""A missing observation is not a pass: what was not observed, by name, most important
first.
"""

from __future__ import annotations

from collections.abc import Iterator

from logdrift.core.compare.gate.case import GateCase, GateSide, Reason, caution
from logdrift.core.compare.gate.identity import overrides
from logdrift.core.engines import ENGINES

_SHOWN = 4
# In order of what they can hide: another model, another precision, another way to run.
_NEEDED = (
    "weights_digest",
    "vocab_size",
    "tokenizer_digest",
    "config_digest",
    "dtype",
    "head_dtype",
    "logits_dtype",
    "quantization",
)
_RUNNING = (
    "attention_backend",
    "execution_mode",
    "tensor_parallel",
    "engine_version",
    "torch_version",
    "device",
    "model_class",
)
_BATCHING = ("max_batch_sequences", "padding", "chunked_prefill", "max_length")


def check_unknown(case: GateCase) -> Iterator[Reason]:
    """One reason for each side. Two paths of one backend share one process, so what it
    is cannot differ.
    """
    if case.same_backend:
        return
    for side in case.sides:
        names = _missing(side)
        if names:
            if len(names) > _SHOWN:
                more = f" and {len(names) - _SHOWN} more facts"
            else:
                more = ""
            if _unobserved(side):
                what = "nothing was"
            else:
                what = f"{', '.join(names[:_SHOWN])}{more} not"
            yield caution(
                "unknown",
                f"{side.label}: {what} observed, so not checked: make sure that it fits"
                f" the other side{_told(side)}.",
            )


def _unobserved(side: GateSide) -> bool:
    """Whether a user stated all that is known of a side."""
    known = {
        name
        for name, value in side.facts.to_json().items()
        if value not in (None, {}, [])
    }
    return known <= {*side.facts.told, "told"}


def _told(side: GateSide) -> str:
    """Which facts a user stated: they are believed, and the reason says so."""
    names = side.facts.told
    if not names:
        return ""
    if len(names) == 1:
        verb = "is"
    else:
        verb = "are"
    return f" ({', '.join(names)} {verb} as stated, not observed)"


def _missing(side: GateSide) -> list[str]:
    needed = [*_NEEDED]
    if overrides(side) is None:
        needed.append("config_overrides")
    if side.decodes:
        needed += ["kv_cache_dtype", "prefix_cache"]
    needed += [*_RUNNING, *_BATCHING]
    engine = ENGINES.get(side.info.engine)
    if engine is not None and engine.numbers.batch_invariant:
        needed.append("batch_invariant")
    if side.facts.chunked_prefill:
        needed.append("chunk_size")
    return [name for name in needed if getattr(side.facts, name) is None]
