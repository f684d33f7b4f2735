"""The cause table: why two engines give different log-probabilities for the same token.
Data, in the order of checking.

Faults of recording come first, because they decide which numbers stand for which
tokens; then semantics, which make the numbers different quantities; then weights and
configuration; then numerics, which no setting removes altogether. Every entry says what
would show it without another run and what to ask where numbers alone cannot tell. The
single knob that proves it on an engine stands in that engine's folder
(``core/engines/NAME/knobs.py``). One file a group; a new cause is one record there and
one line in `CAUSES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from logdrift.core.diagnose.causes import (
    broken,
    model,
    numerics,
    recording,
    semantics,
)
from logdrift.core.diagnose.causes.cause import Cause, Group

__all__ = ["BY_CODE", "CAUSES", "NOISE", "Cause", "Group", "cause"]

NOISE = "noise"
"""No cause to fix: what rounding leaves between two correct engines. It ranks among the
causes.
"""

_IN_ORDER = (
    broken.OVERFLOW,
    recording.FILLED,
    recording.CHUNKS,
    recording.OTHER_ROWS,
    recording.UNITS,
    recording.CUT,
    semantics.IDS,
    semantics.ALIGNMENT,
    semantics.TEMPERATURE,
    semantics.PROCESSED,
    model.WEIGHTS,
    model.STALE,
    model.CONFIG,
    semantics.PADDING,
    numerics.HEAD_DTYPE,
    numerics.COMPUTE_DTYPE,
    numerics.LOG_SOFTMAX_DTYPE,
    numerics.ATTENTION,
    numerics.COMPILE,
    numerics.GRAPHS,
    numerics.DECODE_PATH,
    numerics.BATCH,
    numerics.CHUNKED_PREFILL,
    numerics.PREFIX_CACHE,
    numerics.KV_CACHE,
    numerics.TENSOR_PARALLEL,
    numerics.ROUTING,
    numerics.NORM_ROPE,
    numerics.TF32,
    numerics.SPECULATIVE,
    numerics.SAMPLER,
)
CAUSES: tuple[Cause, ...] = tuple(
    replace(entry, number=number) for number, entry in enumerate(_IN_ORDER)
)
"""All causes in the order of checking."""
BY_CODE: Mapping[str, Cause] = {entry.code: entry for entry in CAUSES}


def cause(code: str) -> Cause:
    """The entry called ``code``. KeyError for an unknown one."""
    return BY_CODE[code]
