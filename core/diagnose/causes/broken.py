"""Broken numbers: they come before everything else."""

from __future__ import annotations

from logdrift.core.diagnose.causes.cause import Cause

OVERFLOW = Cause(
    code="overflow",
    group="broken",
    title="NaN: the numbers overflowed, or are broken",
    sentence=(
        "One side computed scores that are not a number: activations beyond float16's"
        " 65,504, or NaN in weights or a kernel."
    ),
    signature=(
        "A score is NaN, and not merely missing; in float16 from the first token on,"
        " or from the first whose activations are large enough."
    ),
    size="no number at all",
    source="docs/why.md, a tiny Llama that overflows in float16",
    link="https://github.com/huggingface/trl/issues/6693",
    separable=True,
    otherwise="run the same ids in bfloat16 or float32",
)
