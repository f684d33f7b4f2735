"""Faults of recording, which lie between an engine and the file: they decide which
numbers stand for which tokens, and no engine has a knob for them.
"""

from __future__ import annotations

from logdrift.core.diagnose.causes.cause import Cause

_RECORDED = "compare the recorded values with the engine's own answer for one request"

FILLED = Cause(
    code="filled",
    group="recording",
    title="values filled in",
    sentence=(
        "One number (0.0, -100, a floor) stands where a log-probability should be:"
        " padding, tool output, tokens that were never scored, accepted speculative"
        " drafts."
    ),
    signature=(
        "One side repeats a number exactly where the other side has many different"
        " ones."
    ),
    size="as large as the values themselves",
    source="https://github.com/PrimeIntellect-ai/verifiers/pull/2078",
    link="https://github.com/PrimeIntellect-ai/verifiers/pull/2078",
    separable=True,
    otherwise=_RECORDED,
    fix="leave such tokens out of the mask, or record null",
)
CHUNKS = Cause(
    code="chunks",
    group="recording",
    title="chunks joined twice",
    sentence=(
        "Chunks of a stream were joined although each repeats what came before it."
    ),
    signature="A run of values stands twice in a sequence of one side.",
    size="as large as the values themselves",
    source="https://github.com/sgl-project/sglang/pull/21583",
    link="https://github.com/sgl-project/sglang/pull/21583",
    separable=True,
    otherwise=_RECORDED,
    fix="keep the new values of each chunk alone",
)
OTHER_ROWS = Cause(
    code="other_rows",
    group="recording",
    title="scores of other sequences",
    sentence=(
        "Rows were shuffled between the sides: a sequence has the scores of another"
        " one."
    ),
    signature=(
        "A sequence's values fit another sequence of the other side, and not their own."
    ),
    size="as large as the values themselves",
    source="https://github.com/allenai/open-instruct/pull/1483",
    link="https://github.com/allenai/open-instruct/pull/1483",
    separable=True,
    otherwise=_RECORDED,
    fix="join rows by an id, not by their order",
)
UNITS = Cause(
    code="units",
    group="recording",
    title="not natural log-probabilities",
    sentence="One side holds log10, log2, probabilities or negated values.",
    signature="Converted to natural logarithms, the values agree.",
    size="0.57 of the values for log10",
    source="https://github.com/EricLBuehler/mistral.rs/pull/2327",
    link="https://github.com/EricLBuehler/mistral.rs/pull/2327",
    separable=True,
    otherwise=_RECORDED,
    fix="convert them when they are recorded",
)
CUT = Cause(
    code="cut",
    group="recording",
    title="values cut or rounded",
    sentence="The recorder cut values at a bound or kept a few digits of them.",
    signature=(
        "Every value is a multiple of a power of ten or a float16 number; or the"
        " lowest value stands where the other side goes lower."
    ),
    size=(
        "2.5e-5 for four decimals, 0.0005 for float16; as large as the values for a"
        " bound"
    ),
    source="https://github.com/THUDM/slime/pull/245",
    link="https://github.com/THUDM/slime/pull/245",
    separable=True,
    otherwise=_RECORDED,
    fix="record them as float32",
)
