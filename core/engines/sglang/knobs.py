"""SGLang's own knobs: what to change on it to prove or remove each cause."""

from __future__ import annotations

from logdrift.core.engines.knobs import (
    BATCH_INVARIANT,
    CACHE_DTYPE,
    COMPANY,
    EAGER,
    FLOAT32,
    NOT_RAW,
    PREFILL_IS_RAW,
    TRANSFORMERS_CODE,
    WIDE_HEAD,
    WIDER_RANGE,
    Knob,
    KnobTable,
    precisions,
)

KNOBS: KnobTable = {
    "overflow": WIDER_RANGE,
    "ids": (Knob("input_ids=[...]", "ids instead of text"),),
    "alignment": (
        Knob(
            "logprob_start_len=s-1",
            "the first entry of a request is None; entry i scores token i",
        ),
    ),
    "temperature": (
        PREFILL_IS_RAW,
        Knob("SGLANG_RETURN_ORIGINAL_LOGPROB=1"),
        Knob("temperature=1"),
    ),
    "processed": (
        PREFILL_IS_RAW,
        Knob(
            "repetition_penalty=1",
            "penalties and biases enter its output values; top-p does not",
        ),
    ),
    "weights": (
        Knob('POST /weights_checker {"action": "checksum"}'),
        Knob("get_weights_by_name"),
    ),
    "config": (
        Knob("json_model_override_args={}", run="any", only={"overrides": True}),
        Knob(
            "model_impl=transformers",
            "Transformers' model code",
            combined=True,
            run="any",
            unless=TRANSFORMERS_CODE,
        ),
    ),
    "head_dtype": (
        Knob("enable_fp32_lm_head=true", run="any", both=True, unless=WIDE_HEAD),
    ),
    "compute_dtype": precisions(attention_backend="fa3"),
    "attention": (
        Knob(
            "attention_backend=triton",
            run="gpu",
            unless={"attention_backend": "triton"},
        ),
        Knob(
            "attention_backend=torch_native",
            run="any",
            unless={"attention_backend": "torch_native"},
        ),
        Knob(
            "attention_backend=fa3",
            run="gpu",
            unless={"attention_backend": "fa3"},
            refused=FLOAT32,
        ),
    ),
    "compile": (
        Knob(
            "enable_torch_compile=false",
            run="any",
            only={"option.enable_torch_compile": True},
        ),
        Knob(
            "SGLANG_FORCE_FUSED_OP_BACKEND=torch",
            "every fused operation at once",
            combined=True,
            run="gpu",
        ),
    ),
    "graphs": (
        Knob("disable_cuda_graph=true", run="gpu", unless=EAGER),
        Knob("disable_decode_cuda_graph=true"),
        Knob("disable_prefill_cuda_graph=true"),
    ),
    "decode_path": (
        Knob(
            "path=prefill",
            "max_new_tokens=0, logprob_start_len=0: its own generation, scored again",
            run="any",
            only={"path": "decode"},
            confounded=NOT_RAW,
        ),
    ),
    "batch": (
        *COMPANY,
        Knob("max_running_requests=1"),
        Knob(
            "enable_deterministic_inference=true",
            "attention, sampler and reductions at once",
            combined=True,
            run="gpu",
            unless=BATCH_INVARIANT,
        ),
    ),
    "chunked_prefill": (
        Knob("chunked_prefill_size=-1", run="any", only={"chunked_prefill": True}),
    ),
    "prefix_cache": (Knob("disable_radix_cache=true"), Knob("POST /flush_cache")),
    "kv_cache": CACHE_DTYPE,
    "tensor_parallel": (
        Knob("tp_size=1", run="gpus", unless={"tensor_parallel": 1}),
        Knob("disable_custom_all_reduce=true"),
    ),
    "routing": (
        Knob("enable_return_routed_experts=true"),
        Knob("moe_runner_backend=triton"),
    ),
    "norm_rope": (
        Knob("SGLANG_ROPE_CACHE_FP32=1"),
        Knob(
            "rl_on_policy_target=fsdp",
            "deterministic mode, head, norms and RoPE at once",
            combined=True,
            run="gpu",
        ),
    ),
    "tf32": (Knob("enable_tf32_matmul=false", run="gpu", only={"dtype": "float32"}),),
    "speculative": (Knob("speculative_algorithm", "leave it out", run="any"),),
    "sampler": (Knob("sampling_backend=pytorch"),),
}
"""By the code of the cause (`logdrift.core.diagnose.causes`)."""
