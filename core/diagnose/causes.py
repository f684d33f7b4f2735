"""The cause table: why two engines give another log-probability to the same token.
Data, in the order of checking.

Faults of recording come first, because they decide which numbers stand for which
tokens; then semantics, which make the numbers different quantities; then weights and
configuration; then numerics, which no setting removes altogether. Every entry says what
would show it without another run and what to ask where numbers alone cannot tell. The
single knob that proves it on an engine stands in that engine's folder
(``core/engines/NAME/knobs.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from logdrift.core.engines import knobs_of
from logdrift.core.engines.knobs import Knob

Group = Literal["broken", "recording", "semantics", "model", "numerics"]
NOISE = "noise"
"""Not a cause to mend: what rounding leaves between two correct engines. It ranks among
the causes.
"""


@dataclass(frozen=True, slots=True)
class Cause:
    """One line of the table.

    ``number`` is its place in the order of checking. ``separable``: numbers alone can
    name it; otherwise ``otherwise`` says what tells it. ``size`` is what was measured
    or published, MAE in nats unless it says something else; ``source`` says by whom,
    ``link`` is where the cause itself was reported. What proves it on an engine stands
    in that engine's folder (`logdrift.core.engines.knobs`).
    """

    number: int
    code: str
    group: Group
    title: str
    sentence: str
    signature: str
    size: str
    source: str
    link: str
    separable: bool
    otherwise: str
    fix: str = ""
    """What to do about it where no engine has a knob for it, as an imperative."""

    @property
    def knobs(self) -> Mapping[str, tuple[Knob, ...]]:
        """By engine, inference engines first; an engine without one cannot show it."""
        return knobs_of(self.code)

    @property
    def combined(self) -> bool:
        """Some engine's only knob for it changes more than one thing."""
        return any(
            all(knob.combined for knob in knobs)
            for knobs in self.knobs.values()
            if knobs
        )


def cause(code: str) -> Cause:
    """The entry called ``code``. KeyError for an unknown one."""
    return BY_CODE[code]


_DIGESTS = (
    "logdrift why SESSION --identity compares what each engine loaded, tensor by"
    " tensor, with the files on disk"
)
_MEASURED = "measured: the small model, CPU engines, docs/why.md"

_FIXES = {
    "ids": "send the same token ids to both sides",
    "alignment": "record one value for each token, from the first on",
    "temperature": (
        "record raw log-probabilities, or scale the logits by one temperature on both"
        " sides"
    ),
    "processed": (
        "record raw log-probabilities, or sample without truncation and penalties"
    ),
    "log_softmax_dtype": (
        "widen the logits to float32 before the log-softmax, and record float32"
    ),
}
"""What to do about a cause of numbers that were recorded, where nothing can be run
again; others say it in `Cause.fix`.
"""


def fix_of(code: str) -> str:
    """What to do about a cause, as an imperative; empty where an experiment or a check
    must tell first.
    """
    return BY_CODE[code].fix or _FIXES.get(code, "")


_RECORDED = "compare the recorded values with the engine's own answer for one request"


def _recording(
    number: int,
    code: str,
    title: str,
    sentence: str,
    signature: str,
    size: str,
    link: str,
    fix: str,
) -> Cause:
    """A cause that lies between an engine and the file: no engine has a knob for it."""
    return Cause(
        number=number,
        code=code,
        group="recording",
        title=title,
        sentence=sentence,
        signature=signature,
        size=size,
        source=link,
        link=link,
        separable=True,
        otherwise=_RECORDED,
        fix=fix,
    )


CAUSES: tuple[Cause, ...] = (
    Cause(
        0,
        "overflow",
        "broken",
        "NaN: the numbers overflowed, or are broken",
        "One side computed scores that are not a number: activations beyond float16's"
        " 65,504, or NaN in weights or a kernel.",
        "A score that is NaN, told apart from one that is missing; in float16 from the"
        " first token on, or from the one whose activations are large enough.",
        "no number at all",
        "docs/why.md, a tiny Llama that overflows in float16",
        "https://github.com/huggingface/trl/issues/6693",
        True,
        "run the same ids in bfloat16 or float32",
    ),
    _recording(
        number=1,
        code="filled",
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
        link="https://github.com/PrimeIntellect-ai/verifiers/pull/2078",
        fix="leave such tokens out of the mask, or record null",
    ),
    _recording(
        number=2,
        code="chunks",
        title="chunks joined twice",
        sentence=(
            "Chunks of a stream were joined though each holds what came before it."
        ),
        signature="A run of values stands twice in a sequence of one side.",
        size="as large as the values themselves",
        link="https://github.com/sgl-project/sglang/pull/21583",
        fix="keep the new values of each chunk alone",
    ),
    _recording(
        number=3,
        code="other_rows",
        title="scores of other sequences",
        sentence=(
            "Rows were shuffled between the sides: a sequence has the scores of another"
            " one."
        ),
        signature=(
            "A sequence's values fit another sequence of the other side, and not their"
            " own."
        ),
        size="as large as the values themselves",
        link="https://github.com/allenai/open-instruct/pull/1483",
        fix="join rows by an id, not by their order",
    ),
    _recording(
        number=4,
        code="units",
        title="not natural log-probabilities",
        sentence="One side holds log10, log2, probabilities or negated values.",
        signature="Converted to natural logarithms, the values agree.",
        size="0.57 of the values for log10",
        link="https://github.com/EricLBuehler/mistral.rs/pull/2327",
        fix="convert them when they are recorded",
    ),
    _recording(
        number=5,
        code="cut",
        title="values cut or rounded",
        sentence="The recorder cut values at a bound or kept a few digits of them.",
        signature=(
            "Every value is a multiple of a power of ten or a float16 number; or the"
            " lowest value stands where the other side goes on."
        ),
        size=(
            "2.5e-5 for four decimals, 0.0005 for float16; as large as the values for a"
            " bound"
        ),
        link="https://github.com/THUDM/slime/pull/245",
        fix="record them as float32",
    ),
    Cause(
        6,
        "ids",
        "semantics",
        "other token ids",
        "One side scored other ids than the other: a start token, a chat template"
        " applied twice, an edited or cut text.",
        "Huge differences (5-11 nats) from the first other id on, which fade as the"
        " contexts agree again; a scored value that is not the one its own top-k list"
        " has for that token.",
        "MAE 0.03-0.1 with single tokens at 5-11",
        _MEASURED,
        "https://github.com/vllm-project/vllm/issues/15420",
        True,
        "compare the ids that each engine was given",
    ),
    Cause(
        7,
        "alignment",
        "semantics",
        "off by one",
        "One side's values stand one token too early or too late.",
        "The one side correlates with the other's neighbours better than with the same"
        " token.",
        "as large as the values themselves",
        "https://github.com/modelscope/ms-swift/issues/8196",
        "https://github.com/modelscope/ms-swift/issues/8196",
        True,
        "look at where the first value without a score is: it belongs to the first"
        " token",
    ),
    Cause(
        8,
        "temperature",
        "semantics",
        "temperature in the log-probabilities",
        "One side's log-probabilities are of logits / T: the sampler's, not the"
        " model's.",
        "Differences between alternatives are stretched by one factor, T_A / T_B,"
        " exactly straight; often in the generated part alone.",
        "0.9 at T=0.7, 0.02 at T=0.99",
        _MEASURED,
        "https://github.com/huggingface/trl/issues/4159",
        True,
        "a logit scale looks the same: what the engine says of its log-probabilities"
        " tells them apart",
    ),
    Cause(
        9,
        "processed",
        "semantics",
        "truncated or penalised logits",
        "One side's log-probabilities are taken after top-p, top-k, min-p, penalties or"
        " a bias.",
        "All alternatives shifted by one amount while others are impossible (-inf), or"
        " those that occurred before shifted against those that did not.",
        "-log p of the cut: 0.22 for top-p 0.8",
        _MEASURED,
        "https://github.com/huggingface/trl/pull/7269",
        True,
        "ask the engine for raw log-probabilities",
    ),
    Cause(
        10,
        "weights",
        "model",
        "other weights",
        "One side runs other weights: stale, edited, quantised, badly loaded, or"
        " another checkpoint.",
        "Noise at every position that no setting removes, larger than the precision"
        " explains; for a wrong tensor no likeness is left at all.",
        "0.007 for one tensor 2% off, 0.15 for fp8; 0.011 to 0.036 over 30 steps"
        " without a sync",
        "vime issue 64",
        "https://github.com/vllm-project/vime/issues/64",
        False,
        _DIGESTS,
    ),
    Cause(
        11,
        "config",
        "model",
        "other configuration",
        "One side computes another function: RoPE base, sliding window, soft cap, logit"
        " scale, tied head, lengths.",
        "Grows with the position (RoPE), begins exactly at a window, bends the line of"
        " alternatives (soft cap) or stretches it (scale).",
        "0.11 for RoPE theta x1.5, 1.0 for soft cap 30, 0.9 for a window of 256",
        _MEASURED,
        "https://github.com/vllm-project/vllm/pull/43419",
        True,
        "compare the configuration that each engine resolved",
    ),
    Cause(
        12,
        "padding",
        "semantics",
        "padding or position ids",
        "Padded rows see the padding, or count it in their positions.",
        "Only sequences shorter than their batch differ, most at their start; the"
        " longest does not.",
        "as a wrong context: up to nats at the first tokens",
        _MEASURED,
        "https://github.com/huggingface/transformers/issues/33095",
        True,
        "score each sequence in a batch of its own",
    ),
    Cause(
        13,
        "head_dtype",
        "numerics",
        "precision of the head or the logits",
        "One side rounds its logits to 16 bits and the other does not.",
        "Differences between alternatives are multiples of a power of two on one side"
        " alone; the gap is never larger than one such step.",
        "0.026 for bfloat16 logits up to 43",
        "https://github.com/NVIDIA-NeMo/RL/issues/3936",
        "https://github.com/NVIDIA-NeMo/RL/issues/3936",
        True,
        "note that float32 on one side alone makes it worse",
    ),
    Cause(
        14,
        "compute_dtype",
        "numerics",
        "compute precision",
        "The sides compute in different floating-point formats, or one keeps a float32"
        " residual under autocast.",
        "Zero-mean noise of the coarser format: 8 times smaller from bfloat16 to"
        " float16, 10,000 times to float32; 16-bit logits on one side alone.",
        "0.04 bfloat16, 0.005 float16, 1e-5 float32",
        "https://arxiv.org/abs/2510.26788",
        "https://arxiv.org/abs/2510.26788",
        True,
        "compare the dtypes as the engines resolved them",
    ),
    Cause(
        15,
        "log_softmax_dtype",
        "numerics",
        "log-softmax in 16 bits",
        "The log-softmax itself is computed in bfloat16, so the log-probabilities are"
        " 16-bit numbers.",
        "Every value of one side is a bfloat16 number; |delta| grows with -log p.",
        "0.006",
        "verl, utils/torch_functional.py: log_softmax of bfloat16 logits",
        "https://github.com/volcengine/verl/blob/main/verl/utils/torch_functional.py",
        True,
        "widen the logits first",
    ),
    Cause(
        16,
        "attention",
        "numerics",
        "attention kernel",
        "Another attention kernel sums in another order and keeps other intermediate"
        " precisions.",
        "Zero-mean noise, perhaps growing with length.",
        "0.011 on a small random model",
        _MEASURED,
        "https://github.com/vllm-project/vllm/issues/22103",
        False,
        "run both with one kernel",
    ),
    Cause(
        17,
        "compile",
        "numerics",
        "compilation and fused operations",
        "A compiler fuses operations, and so rounds at other places.",
        "Zero-mean noise that vanishes when both run eager.",
        "0.007 on a small random model",
        _MEASURED,
        "https://github.com/pytorch/torchtitan/pull/2373",
        False,
        "run both eager",
    ),
    Cause(
        18,
        "graphs",
        "numerics",
        "CUDA graphs",
        "A captured graph runs a padded batch; normally that changes nothing.",
        "Normally 0; differences at the sizes of captured batches are a bug of the"
        " padding.",
        "0",
        "no published size",
        "https://github.com/NVIDIA-NeMo/RL/issues/998",
        False,
        "run without graphs, with all else kept",
    ),
    Cause(
        19,
        "decode_path",
        "numerics",
        "decode against prefill",
        "Decode steps read the cache and use other kernels than one pass over all"
        " tokens.",
        "Only generated tokens differ, many by exactly 0.",
        "0.001 on a small random model",
        "NeMo RL, tools/model_diagnostics: long_generation_decode_vs_prefill",
        "https://github.com/huggingface/transformers/issues/31267",
        False,
        "score one engine's own generation again by prefill",
    ),
    Cause(
        20,
        "batch",
        "numerics",
        "composition of the batch",
        "The shape of a batch chooses the matrix kernel, so a sequence's numbers depend"
        " on its neighbours.",
        "Changes with the neighbours, and from run to run.",
        "up to 0.17 at single tokens in bfloat16",
        "https://thinkingmachines.ai/blog/defeating-nondeterminism-in-llm-inference/",
        "https://thinkingmachines.ai/blog/defeating-nondeterminism-in-llm-inference/",
        False,
        "capture once more with every sequence alone",
    ),
    Cause(
        21,
        "chunked_prefill",
        "numerics",
        "chunked prefill",
        "A long prompt is computed in pieces.",
        "A step at multiples of the chunk (2,048, 8,192, 16,384).",
        "0 on CPU",
        "NeMo RL, tools/model_diagnostics: a chunked state bug",
        "https://github.com/vllm-project/vllm/pull/4139",
        True,
        "compute the prompt whole",
    ),
    Cause(
        22,
        "prefix_cache",
        "numerics",
        "prefix cache",
        "The start of a prompt comes from the cache of an earlier request.",
        "Only warm requests, beginning at a multiple of the cache's block.",
        "0 when right; garbage when not",
        "https://github.com/volcengine/verl/issues/2387",
        "https://github.com/volcengine/verl/issues/2387",
        False,
        "compare cold with warm",
    ),
    Cause(
        23,
        "kv_cache",
        "numerics",
        "precision of the cache",
        "Keys and values are kept in fewer bits than the model computes in.",
        "Noise that running eager does not remove.",
        "0.09 for fp8",
        _MEASURED,
        "https://github.com/vllm-project/vllm/issues/54035",
        False,
        "read the cache's dtype from the engine's configuration",
    ),
    Cause(
        24,
        "tensor_parallel",
        "numerics",
        "tensor parallelism",
        "Sums over several devices are taken in another order.",
        "Zero-mean noise.",
        "of the order of the other kernels'",
        "NeMo RL, docs: DTensor tensor parallelism",
        "https://github.com/vllm-project/vllm/issues/2679",
        False,
        "run on one device",
    ),
    Cause(
        25,
        "routing",
        "numerics",
        "expert routing",
        "In a mixture of experts rounding sends a token to other experts.",
        "Heavy tail: rare tokens above 1 nat, the rest as in a dense model, in bursts"
        " that persist.",
        "KL 1.5e-3 against 7.5e-4 with replayed routes",
        "https://arxiv.org/abs/2510.11370",
        "https://arxiv.org/abs/2510.11370",
        True,
        "compare the experts that each side chose",
    ),
    Cause(
        26,
        "norm_rope",
        "numerics",
        "precision inside norms and RoPE",
        "Engines keep the residual, the norm's product or RoPE's tables in other"
        " precisions.",
        "Tiny systematic noise.",
        "part of the usual bfloat16 gap",
        "vLLM ir/ops/layernorm.py, SGLang layers/layernorm.py",
        "https://github.com/huggingface/transformers/pull/38131",
        False,
        "run Transformers' model code inside the engine",
    ),
    Cause(
        27,
        "tf32",
        "numerics",
        "TF32 and reduced-precision sums",
        "float32 products are computed with 10 bits of mantissa.",
        "Noise of a thousandth where float32 should have a hundred-thousandth.",
        "1,000 times float32's",
        "https://github.com/NVIDIA-NeMo/RL/issues/3936",
        "https://github.com/NVIDIA-NeMo/RL/issues/3936",
        False,
        "read the matmul precision",
    ),
    Cause(
        28,
        "speculative",
        "numerics",
        "speculative decoding",
        "Several drafted tokens are verified at once, by another kernel than one step.",
        "Only the generated part.",
        "no published size",
        "vLLM v1/sample/rejection_sampler.py",
        "https://github.com/vllm-project/vllm/issues/34497",
        False,
        "decode without a draft",
    ),
    Cause(
        29,
        "sampler",
        "numerics",
        "sampling kernel",
        "Another sampling kernel draws another token from the same probabilities.",
        "Other tokens, never another raw log-probability.",
        "0",
        "vLLM: VLLM_USE_FLASHINFER_SAMPLER",
        "https://github.com/vllm-project/vllm/pull/11394",
        False,
        "nothing to ask: raw log-probabilities do not pass through it",
    ),
)


BY_CODE: Mapping[str, Cause] = {entry.code: entry for entry in CAUSES}
