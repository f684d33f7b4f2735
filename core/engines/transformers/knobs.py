"""Transformers' own knobs: what to change on it to prove or remove each cause."""

from __future__ import annotations

from logdrift.core.engines.knobs import (
    COMPANY,
    EAGER,
    FLOAT32,
    NOT_RAW,
    WIDE_HEAD,
    WIDER_RANGE,
    Knob,
    KnobTable,
    precisions,
)

_SCORER = (
    Knob(
        "batch_tokens=64",
        "rows per chunk of the head",
        run="any",
        still=True,
        unless={"option.batch_tokens": 64},
    ),
    Knob(
        "oom_rows=48",
        "chunks of more rows run out of memory on purpose",
        run="any",
        still=True,
    ),
    Knob(
        "hidden_states=host",
        "copied to the host, then back chunk by chunk",
        run="gpu",
        still=True,
    ),
    Knob(
        "hidden_states=host_nonblocking",
        "the same without waiting for each copy",
        run="gpu",
        still=True,
    ),
    Knob("device_map=balanced", "layers on several devices", run="gpus", still=True),
)

KNOBS: KnobTable = {
    "overflow": WIDER_RANGE,
    "ids": (
        Knob("tokenizer(text, add_special_tokens=False)", "after a chat template"),
    ),
    "alignment": (
        Knob(
            "logits[:, :-1] against ids[:, 1:]",
            "labels are shifted once, not twice",
        ),
    ),
    "temperature": (
        Knob(
            "logits / T",
            "leave it out of the trainer's log-probabilities, or have it on both sides",
        ),
    ),
    "processed": (
        Knob(
            "scores of generate(output_logits=True)",
            "output_scores are processed",
        ),
    ),
    "weights": (Knob("dtype=auto", "and the digest of the files"),),
    "config": (Knob("config.json", "as the engine has it"),),
    "padding": (
        Knob("alone=true"),
        Knob("position_ids=attention_mask.cumsum(-1)-1", "with left padding"),
    ),
    "head_dtype": (Knob("head_dtype=float32", run="any", both=True, unless=WIDE_HEAD),),
    "compute_dtype": precisions(attn_implementation="flash_attention_2"),
    "log_softmax_dtype": (Knob("logits.float()", "before log_softmax"),),
    "attention": (
        Knob(
            "attn_implementation=eager",
            run="any",
            unless={"attention_backend": "eager"},
        ),
        Knob(
            "attn_implementation=sdpa",
            run="any",
            unless={"attention_backend": "sdpa"},
        ),
        Knob(
            "attn_implementation=flash_attention_2",
            run="gpu",
            unless={"attention_backend": "flash_attention_2"},
            refused=FLOAT32,
        ),
    ),
    "compile": (
        Knob("compile=false", run="any", unless=EAGER),
        Knob("compile=true", "inductor", run="any", only=EAGER),
        Knob("use_kernels=false", run="gpu", only={"option.use_kernels": True}),
    ),
    "decode_path": (
        Knob(
            "path=prefill",
            "in one pass instead of token by token",
            run="any",
            only={"path": "decode"},
            confounded=NOT_RAW,
        ),
    ),
    "batch": (*COMPANY, *_SCORER),
    "tensor_parallel": (Knob("tp_plan", "leave it out"),),
    "routing": (Knob("experts_implementation=eager"),),
    "tf32": (Knob("torch.backends.cuda.matmul.allow_tf32=False"),),
}
"""By the code of the cause (`logdrift.core.diagnose.causes`)."""
