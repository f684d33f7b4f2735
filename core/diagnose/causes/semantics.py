"""Semantics: what makes the numbers of both sides different quantities."""

from __future__ import annotations

from logdrift.core.diagnose.causes.cause import MEASURED, Cause

IDS = Cause(
    code="ids",
    group="semantics",
    title="other token ids",
    sentence=(
        "One side scored other ids than the other: a start token, a chat template"
        " applied twice, an edited or cut text."
    ),
    signature=(
        "Huge differences (5-11 nats) from the first other id on, which fade as the"
        " contexts agree again; a scored value that is not the one its own top-k list"
        " has for that token."
    ),
    size="MAE 0.03-0.1 with single tokens at 5-11",
    source=MEASURED,
    link="https://github.com/vllm-project/vllm/issues/15420",
    separable=True,
    otherwise="compare the ids that each engine was given",
    fix="send the same token ids to both sides",
)
ALIGNMENT = Cause(
    code="alignment",
    group="semantics",
    title="off by one",
    sentence="One side's values stand one token too early or too late.",
    signature=(
        "One side's values correlate better with the other side's at neighbouring"
        " tokens than at the same token."
    ),
    size="as large as the values themselves",
    source="https://github.com/modelscope/ms-swift/issues/8196",
    link="https://github.com/modelscope/ms-swift/issues/8196",
    separable=True,
    otherwise=(
        "look at where the first value without a score is: it belongs to the first"
        " token"
    ),
    fix="record one value for each token, from the first on",
)
TEMPERATURE = Cause(
    code="temperature",
    group="semantics",
    title="temperature in the log-probabilities",
    sentence=(
        "One side's log-probabilities are of logits / T: the sampler's, not the"
        " model's."
    ),
    signature=(
        "Differences between alternatives are stretched by one factor, T_A / T_B,"
        " exactly straight; often in the generated part alone."
    ),
    size="0.9 at T=0.7, 0.02 at T=0.99",
    source=MEASURED,
    link="https://github.com/huggingface/trl/issues/4159",
    separable=True,
    otherwise=(
        "a logit scale looks the same: what the engine says of its log-probabilities"
        " tells them apart"
    ),
    fix=(
        "record raw log-probabilities, or scale the logits by one temperature on both"
        " sides"
    ),
)
PROCESSED = Cause(
    code="processed",
    group="semantics",
    title="truncated or penalised logits",
    sentence=(
        "One side's log-probabilities are taken after top-p, top-k, min-p, penalties"
        " or a bias."
    ),
    signature=(
        "All alternatives shifted by one amount while others are impossible (-inf),"
        " or those that occurred before shifted against those that did not."
    ),
    size="-log p of the cut: 0.22 for top-p 0.8",
    source=MEASURED,
    link="https://github.com/huggingface/trl/pull/7269",
    separable=True,
    otherwise="ask the engine for raw log-probabilities",
    fix="record raw log-probabilities, or sample without truncation and penalties",
)
PADDING = Cause(
    code="padding",
    group="semantics",
    title="padding or position ids",
    sentence="Padded rows see the padding, or count it in their positions.",
    signature=(
        "Only sequences shorter than their batch differ, most at their start; the"
        " longest does not."
    ),
    size="like a wrong context: whole nats at the first tokens",
    source=MEASURED,
    link="https://github.com/huggingface/transformers/issues/33095",
    separable=True,
    otherwise="score each sequence in a batch of its own",
)
