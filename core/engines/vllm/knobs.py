"""vLLM's own knobs: what to change on it to prove or remove each cause."""

from __future__ import annotations

from logdrift.core.engines.knobs import (
    BATCH_INVARIANT,
    CACHE_DTYPE,
    COMPANY,
    DECODING,
    EAGER,
    FLOAT32,
    NOT_RAW,
    TRANSFORMERS_CODE,
    WIDE_HEAD,
    WIDER_RANGE,
    Knob,
    KnobTable,
    precisions,
)

KNOBS: KnobTable = {
    "overflow": WIDER_RANGE,
    "ids": (
        Knob('prompt={"prompt_token_ids": [...]}', "ids instead of text"),
        Knob("add_special_tokens=false", "on a server"),
    ),
    "alignment": (Knob("prompt_logprobs[0] is None", "entry i scores token i"),),
    "temperature": (
        Knob(
            "logprobs_mode=raw_logprobs",
            run="any",
            only={
                "decode_logprobs": ("temperature_scaled", "processed"),
                "path": DECODING,
            },
        ),
        Knob("temperature=1"),
        Knob(
            "generation_config=vllm",
            "ignore the model's sampling defaults",
            combined=True,
        ),
    ),
    "processed": (
        Knob(
            "logprobs_mode=raw_logprobs",
            run="any",
            only={"decode_logprobs": "processed", "path": DECODING},
        ),
        Knob("top_p=1"),
        Knob("repetition_penalty=1"),
    ),
    "weights": (
        Knob(
            'POST /weight_checker {"action": "checksum"}',
            "VLLM_SERVER_DEV_MODE=1",
        ),
        Knob("load_format=auto", "not dummy"),
    ),
    "config": (
        Knob("hf_overrides={}", run="any", only={"overrides": True}),
        Knob("disable_sliding_window=true"),
        Knob(
            "model_impl=transformers",
            "Transformers' model code",
            combined=True,
            run="any",
            unless=TRANSFORMERS_CODE,
        ),
    ),
    "head_dtype": (
        Knob(
            'hf_overrides={"head_dtype": "float32"}',
            run="any",
            both=True,
            unless=WIDE_HEAD,
        ),
    ),
    "compute_dtype": precisions(attention_backend="FLASH_ATTN"),
    "attention": (
        Knob(
            "attention_backend=FLASH_ATTN",
            run="gpu",
            unless={"attention_backend": "FLASH_ATTN"},
            refused=FLOAT32,
        ),
        Knob(
            "attention_backend=TRITON_ATTN",
            run="gpu",
            unless={"attention_backend": "TRITON_ATTN"},
        ),
        Knob(
            "attention_backend=FLEX_ATTENTION",
            run="gpu",
            unless={"attention_backend": "FLEX_ATTENTION"},
        ),
    ),
    "compile": (
        Knob('compilation_config={"mode": 0}', run="gpu", unless=EAGER),
        Knob(
            "enforce_eager=true",
            "also swaps the RMSNorm kernel",
            combined=True,
            run="any",
            unless=EAGER,
        ),
        Knob(
            "enforce_eager=false",
            "inductor, which also swaps the RMSNorm kernel",
            combined=True,
            run="any",
            only=EAGER,
        ),
    ),
    "graphs": (
        Knob(
            'compilation_config={"cudagraph_mode": "NONE"}',
            run="gpu",
            unless=EAGER,
        ),
    ),
    "decode_path": (
        Knob(
            "path=forced_decode",
            "enable_trace_replay, or a logits processor",
            run="any",
            only={"path": "prefill"},
        ),
        Knob(
            "path=prefill",
            "prompt_logprobs: the same ids in one pass",
            run="any",
            only={"path": DECODING},
            confounded=NOT_RAW,
        ),
    ),
    "batch": (
        *COMPANY,
        Knob("max_num_seqs=1"),
        Knob(
            "VLLM_BATCH_INVARIANT=1",
            "matrix, norm, softmax and attention kernels at once",
            combined=True,
            run="gpu",
            unless=BATCH_INVARIANT,
        ),
    ),
    "chunked_prefill": (
        Knob(
            "enable_chunked_prefill=false",
            run="any",
            only={"chunked_prefill": True},
        ),
        Knob("max_num_batched_tokens=N", "at least the longest prompt"),
    ),
    "prefix_cache": (
        Knob(
            "warm_prefix_cache=true",
            "each prompt is in the cache already; logdrift's own option",
            run="any",
            only={"prefix_cache": True, "path": DECODING},
        ),
        Knob("enable_prefix_caching=false"),
        Knob("reset_prefix_cache()"),
    ),
    "kv_cache": CACHE_DTYPE,
    "tensor_parallel": (
        Knob("tensor_parallel_size=1", run="gpus", unless={"tensor_parallel": 1}),
        Knob("disable_custom_all_reduce=true"),
    ),
    "routing": (
        Knob("enable_return_routed_experts=true"),
        Knob("moe_backend=triton"),
    ),
    "norm_rope": (
        Knob('compilation_config={"custom_ops": ["none"]}', run="gpu"),
        Knob(
            "model_impl=transformers",
            "the whole model code",
            combined=True,
            run="any",
            unless=TRANSFORMERS_CODE,
        ),
    ),
    "tf32": (
        Knob(
            "VLLM_FLOAT32_MATMUL_PRECISION=highest",
            run="gpu",
            only={"dtype": "float32"},
        ),
    ),
    "speculative": (Knob("speculative_config", "leave it out", run="any"),),
    "sampler": (Knob("VLLM_USE_FLASHINFER_SAMPLER=0"),),
}
"""By the code of the cause (`logdrift.core.diagnose.causes`)."""
