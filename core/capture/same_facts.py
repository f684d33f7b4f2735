"""Whether a capture that is resumed is made as its first parts were."""

from __future__ import annotations

from logdrift.core.facts import Facts
from logdrift.core.session.layout import CaptureInfo

_SAME_FACTS = (
    "engine_version",
    "torch_version",
    "transformers_version",
    "device",
    "device_name",
    "threads",
    "dtype",
    "head_dtype",
    "attention_backend",
    "execution_mode",
    "quantization",
    "kv_cache_dtype",
    "tensor_parallel",
    "weights_digest",
    "weight_version",
)
"""Facts that must not change between the parts of one capture."""
_SAME_EXTRA = ("served_model", "system_fingerprint")
"""The same of `Facts.extra`: what a running server says that it is."""


def changed_facts(capture: CaptureInfo, facts: Facts) -> list[str]:
    """Facts that differ from those of the capture's first parts, in words."""
    before = capture.facts
    if not capture.finished or before is None:
        return []
    changes = []
    for name in _SAME_FACTS:
        old = getattr(before, name)
        new = getattr(facts, name)
        if old != new and not _was_not_taken(name, old):
            changes.append(f"{name} was {old}, is {new}")
    for name in _SAME_EXTRA:
        old = before.extra.get(name)
        new = facts.extra.get(name)
        if old != new:
            changes.append(f"{name} was {old}, is {new}")
    return changes


def _was_not_taken(name: str, old: object) -> bool:
    """Older versions of logdrift took no digests and no threads: that is no change."""
    is_new_fact = name == "threads" or name.endswith("_digest")
    return is_new_fact and old is None
