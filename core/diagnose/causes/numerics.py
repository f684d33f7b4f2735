"""Numerics: what rounds in another way, and what no setting removes altogether."""

from __future__ import annotations

from logdrift.core.diagnose.causes.cause import MEASURED, Cause

HEAD_DTYPE = Cause(
    code="head_dtype",
    group="numerics",
    title="precision of the head or the logits",
    sentence="One side rounds its logits to 16 bits and the other does not.",
    signature=(
        "Differences between alternatives are multiples of a power of two on one side"
        " alone; the gap is never larger than one such step."
    ),
    size="0.026 for bfloat16 logits up to 43",
    source="https://github.com/NVIDIA-NeMo/RL/issues/3936",
    link="https://github.com/NVIDIA-NeMo/RL/issues/3936",
    separable=True,
    otherwise="note that float32 on one side alone makes it worse",
)
COMPUTE_DTYPE = Cause(
    code="compute_dtype",
    group="numerics",
    title="compute precision",
    sentence=(
        "The sides compute in different floating-point formats, or one keeps a"
        " float32 residual under autocast."
    ),
    signature=(
        "Zero-mean noise of the coarser format: 8 times smaller from bfloat16 to"
        " float16, 10,000 times to float32; 16-bit logits on one side alone."
    ),
    size="0.04 bfloat16, 0.005 float16, 1e-5 float32",
    source="https://arxiv.org/abs/2510.26788",
    link="https://arxiv.org/abs/2510.26788",
    separable=True,
    otherwise="compare the dtypes as the engines resolved them",
)
LOG_SOFTMAX_DTYPE = Cause(
    code="log_softmax_dtype",
    group="numerics",
    title="log-softmax in 16 bits",
    sentence=(
        "The log-softmax itself is computed in bfloat16, so the log-probabilities are"
        " 16-bit numbers."
    ),
    signature=(
        "Every value of one side is a bfloat16 number; |delta| grows with -log p."
    ),
    size="0.006",
    source="verl, utils/torch_functional.py: log_softmax of bfloat16 logits",
    link="https://github.com/volcengine/verl/blob/main/verl/utils/torch_functional.py",
    separable=True,
    otherwise="widen the logits first",
    fix="widen the logits to float32 before the log-softmax, and record float32",
)
ATTENTION = Cause(
    code="attention",
    group="numerics",
    title="attention kernel",
    sentence=(
        "Another attention kernel sums in another order and keeps other intermediate"
        " precisions."
    ),
    signature="Zero-mean noise, perhaps growing with length.",
    size="0.011 on a small random model",
    source=MEASURED,
    link="https://github.com/vllm-project/vllm/issues/22103",
    separable=False,
    otherwise="run both with one kernel",
)
COMPILE = Cause(
    code="compile",
    group="numerics",
    title="compilation and fused operations",
    sentence="A compiler fuses operations, and so rounds at other places.",
    signature="Zero-mean noise that vanishes when both run eager.",
    size="0.007 on a small random model",
    source=MEASURED,
    link="https://github.com/pytorch/torchtitan/pull/2373",
    separable=False,
    otherwise="run both eager",
)
GRAPHS = Cause(
    code="graphs",
    group="numerics",
    title="CUDA graphs",
    sentence="A captured graph runs a padded batch; normally that changes nothing.",
    signature=(
        "Normally 0; differences at the sizes of captured batches are a bug of the"
        " padding."
    ),
    size="0",
    source="no published size",
    link="https://github.com/NVIDIA-NeMo/RL/issues/998",
    separable=False,
    otherwise="run without graphs, with all else kept",
)
DECODE_PATH = Cause(
    code="decode_path",
    group="numerics",
    title="decode against prefill",
    sentence=(
        "Decode steps read the cache and use other kernels than one pass over all"
        " tokens."
    ),
    signature="Only generated tokens differ, many by exactly 0.",
    size="0.001 on a small random model",
    source="NeMo RL, tools/model_diagnostics: long_generation_decode_vs_prefill",
    link="https://github.com/huggingface/transformers/issues/31267",
    separable=False,
    otherwise="score one engine's own generation again by prefill",
)
BATCH = Cause(
    code="batch",
    group="numerics",
    title="composition of the batch",
    sentence=(
        "The shape of a batch chooses the matrix kernel, so a sequence's numbers"
        " depend on its neighbours."
    ),
    signature="Changes with the neighbours, and from run to run.",
    size="up to 0.17 at single tokens in bfloat16",
    source=(
        "https://thinkingmachines.ai/blog/defeating-nondeterminism-in-llm-inference/"
    ),
    link="https://thinkingmachines.ai/blog/defeating-nondeterminism-in-llm-inference/",
    separable=False,
    otherwise="capture once more with every sequence alone",
)
CHUNKED_PREFILL = Cause(
    code="chunked_prefill",
    group="numerics",
    title="chunked prefill",
    sentence="A long prompt is computed in pieces.",
    signature="A step at multiples of the chunk (2,048, 8,192, 16,384).",
    size="0 on CPU",
    source="NeMo RL, tools/model_diagnostics: a chunked state bug",
    link="https://github.com/vllm-project/vllm/pull/4139",
    separable=True,
    otherwise="compute the prompt whole",
)
PREFIX_CACHE = Cause(
    code="prefix_cache",
    group="numerics",
    title="prefix cache",
    sentence="The start of a prompt comes from the cache of an earlier request.",
    signature="Only warm requests, beginning at a multiple of the cache's block.",
    size="0 when right; garbage when not",
    source="https://github.com/volcengine/verl/issues/2387",
    link="https://github.com/volcengine/verl/issues/2387",
    separable=False,
    otherwise="compare cold with warm",
)
KV_CACHE = Cause(
    code="kv_cache",
    group="numerics",
    title="precision of the cache",
    sentence="Keys and values are kept in fewer bits than the model computes in.",
    signature="Noise that running eager does not remove.",
    size="0.09 for fp8",
    source=MEASURED,
    link="https://github.com/vllm-project/vllm/issues/54035",
    separable=False,
    otherwise="read the cache's dtype from the engine's configuration",
)
TENSOR_PARALLEL = Cause(
    code="tensor_parallel",
    group="numerics",
    title="tensor parallelism",
    sentence="Sums over several devices are taken in another order.",
    signature="Zero-mean noise.",
    size="of the order of the other kernels'",
    source="NeMo RL, docs: DTensor tensor parallelism",
    link="https://github.com/vllm-project/vllm/issues/2679",
    separable=False,
    otherwise="run on one device",
)
ROUTING = Cause(
    code="routing",
    group="numerics",
    title="expert routing",
    sentence="In a mixture of experts rounding sends a token to other experts.",
    signature=(
        "Heavy tail: rare tokens above 1 nat, the rest as in a dense model, in bursts"
        " that persist."
    ),
    size="KL 1.5e-3 against 7.5e-4 with replayed routes",
    source="https://arxiv.org/abs/2510.11370",
    link="https://arxiv.org/abs/2510.11370",
    separable=True,
    otherwise="compare the experts that each side chose",
)
NORM_ROPE = Cause(
    code="norm_rope",
    group="numerics",
    title="precision inside norms and RoPE",
    sentence=(
        "Engines keep the residual, the norm's product or RoPE's tables in other"
        " precisions."
    ),
    signature="Tiny systematic noise.",
    size="part of the usual bfloat16 gap",
    source="vLLM ir/ops/layernorm.py, SGLang layers/layernorm.py",
    link="https://github.com/huggingface/transformers/pull/38131",
    separable=False,
    otherwise="run Transformers' model code inside the engine",
)
TF32 = Cause(
    code="tf32",
    group="numerics",
    title="TF32 and reduced-precision sums",
    sentence="float32 products are computed with 10 bits of mantissa.",
    signature="Noise of a thousandth where float32 should have a hundred-thousandth.",
    size="1,000 times float32's",
    source="https://github.com/NVIDIA-NeMo/RL/issues/3936",
    link="https://github.com/NVIDIA-NeMo/RL/issues/3936",
    separable=False,
    otherwise="read the matmul precision",
)
SPECULATIVE = Cause(
    code="speculative",
    group="numerics",
    title="speculative decoding",
    sentence=(
        "Several drafted tokens are verified at once, by another kernel than one step."
    ),
    signature="Only the generated part.",
    size="no published size",
    source="vLLM v1/sample/rejection_sampler.py",
    link="https://github.com/vllm-project/vllm/issues/34497",
    separable=False,
    otherwise="decode without a draft",
)
SAMPLER = Cause(
    code="sampler",
    group="numerics",
    title="sampling kernel",
    sentence="Another sampling kernel draws another token from the same probabilities.",
    signature="Other tokens, never another raw log-probability.",
    size="0",
    source="vLLM: VLLM_USE_FLASHINFER_SAMPLER",
    link="https://github.com/vllm-project/vllm/pull/11394",
    separable=False,
    otherwise="nothing to ask: raw log-probabilities do not pass through it",
)
