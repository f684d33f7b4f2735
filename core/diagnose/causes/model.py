"""The model: other weights, or another function of them."""

from __future__ import annotations

from logdrift.core.diagnose.causes.cause import MEASURED, Cause

_DIGESTS = (
    "logdrift why SESSION --identity compares what each engine loaded, tensor by"
    " tensor, with the files on disk"
)

WEIGHTS = Cause(
    code="weights",
    group="model",
    title="other weights",
    sentence=(
        "One side runs other weights: stale, edited, quantised, badly loaded, or"
        " another checkpoint."
    ),
    signature=(
        "Noise at every position that no setting removes, larger than the precision"
        " explains; for a wrong tensor no likeness is left at all."
    ),
    size=(
        "0.007 for one tensor 2% off, 0.15 for fp8; 0.011 to 0.036 over 30 steps"
        " without a sync"
    ),
    source="vime issue 64",
    link="https://github.com/vllm-project/vime/issues/64",
    separable=False,
    otherwise=_DIGESTS,
)
STALE = Cause(
    code="stale",
    group="model",
    title="sampled with older weights",
    sentence=(
        "Tokens were sampled with older weights than those that scored them: the gap"
        " holds what training changed in between."
    ),
    signature=(
        "Grows with the number of versions that a token's weights were behind, and"
        " falls where newer weights take over inside a sequence."
    ),
    size="0.011 to 0.036 over 30 steps without a sync",
    source="vime issue 64",
    link="https://github.com/vllm-project/vime/issues/64",
    separable=True,
    otherwise=(
        "score the same ids with weights of the version that sampled them: what is left"
        " is the engines' own gap"
    ),
    fix=(
        "send newer weights to the engine more often, or judge the engines by the"
        " tokens of the newest version (buckets.by_lag.0.mae)"
    ),
)
CONFIG = Cause(
    code="config",
    group="model",
    title="other configuration",
    sentence=(
        "One side computes another function: RoPE base, sliding window, soft cap,"
        " logit scale, tied head, lengths."
    ),
    signature=(
        "Grows with the position (RoPE), begins exactly at a window, bends the line"
        " of alternatives (soft cap) or stretches it (scale)."
    ),
    size="0.11 for RoPE theta x1.5, 1.0 for soft cap 30, 0.9 for a window of 256",
    source=MEASURED,
    link="https://github.com/vllm-project/vllm/pull/43419",
    separable=True,
    otherwise="compare the configuration that each engine resolved",
)
