"""Tiny random models of several families, as ordinary model folders. Imported inside an
engine interpreter.

Each family has something of its own between the last hidden state and the logits, and a
vocabulary that is a multiple of nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SMALL = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {**_SMALL, "vocab_size": 1031}),
    "gpt2": (
        "GPT2",
        {
            "n_embd": 48,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 256,
            "vocab_size": 1031,
        },
    ),
    "gemma2": (
        "Gemma2",
        {**_SMALL, "vocab_size": 1031, "head_dim": 12, "final_logit_softcapping": 3.0},
    ),
    "cohere": ("Cohere", {**_SMALL, "vocab_size": 1031, "logit_scale": 0.0625}),
    "granite": ("Granite", {**_SMALL, "vocab_size": 1031, "logits_scaling": 8.0}),
    "phi": (
        "Phi",
        {
            **_SMALL,
            "vocab_size": 1031,
            "num_key_value_heads": 4,
            "tie_word_embeddings": False,
        },
    ),
    "mixtral": (
        "Mixtral",
        {
            **_SMALL,
            "vocab_size": 1031,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
        },
    ),
    "qwen3": (
        "Qwen3",
        {**_SMALL, "vocab_size": 1031, "head_dim": 12, "tie_word_embeddings": True},
    ),
    "mamba": (
        "Mamba",
        {
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "vocab_size": 1031,
            "state_size": 8,
        },
    ),
    "opt": (
        "OPT",
        {
            "hidden_size": 48,
            "ffn_dim": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 1031,
            "max_position_embeddings": 256,
            "word_embed_proj_dim": 48,
        },
    ),
    "large-vocabulary": (
        "Llama",
        {**_SMALL, "max_position_embeddings": 2048, "vocab_size": 200_003},
    ),
    "tiny-vocabulary": ("Llama", {**_SMALL, "vocab_size": 16}),
}


SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2-short": (
        "GPT2",
        {
            "n_embd": 128,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
            "vocab_size": 1031,
        },
    ),
}
"""A model whose positions are soon used up: what scores every family cannot use it."""

_SERVED = {
    "hidden_size": 128,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "vocab_size": 1031,
}
"""vLLM's attention on a CPU takes heads of 32 numbers and multiples of it."""

SERVED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-tied": ("Llama", {**_SERVED, "tie_word_embeddings": True}),
    "llama-untied": ("Llama", {**_SERVED, "tie_word_embeddings": False}),
    "qwen2-tied": ("Qwen2", {**_SERVED, "tie_word_embeddings": True}),
    "qwen3-untied": ("Qwen3", {**_SERVED, "tie_word_embeddings": False}),
    # SGLang reads Gemma 2's activation by the name that published checkpoints have as
    # well
    "gemma2-tied": (
        "Gemma2",
        {**_SERVED, "query_pre_attn_scalar": 32, "hidden_act": "gelu_pytorch_tanh"},
    ),
    "gemma3-tied": ("Gemma3", {**_SERVED, "query_pre_attn_scalar": 32}),
    "gpt2-tied": (
        "GPT2",
        {
            "n_embd": 128,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 256,
            "vocab_size": 1031,
        },
    ),
    "qwen3-moe-untied": (
        "Qwen3Moe",
        {
            **_SERVED,
            "moe_intermediate_size": 64,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "norm_topk_prob": True,
            "tie_word_embeddings": False,
        },
    ),
    "mixtral-untied": (
        "Mixtral",
        {
            **_SERVED,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "tie_word_embeddings": False,
        },
    ),
}
"""Families that inference engines take as well."""

_CONFIGS = {"Gemma3": "Gemma3TextConfig"}
"""Classes of configurations that are not called FAMILYConfig."""


def build(family: str, folder: Path, dtype: str = "float32") -> Path:
    """Write a random model of ``family`` into ``folder``; weights are wide enough that
    logits spread over nats.
    """
    import torch
    import transformers

    name, values = (FAMILIES | SHORT | SERVED)[family]
    torch.manual_seed(1234)
    config = getattr(transformers, _CONFIGS.get(name, f"{name}Config"))(
        **values, bos_token_id=1, eos_token_id=2, pad_token_id=0
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 0.2)
            elif (
                family in SERVED
            ):  # experts, norms and biases, which would else be noughts and ones
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        head = model.get_output_embeddings()
        if getattr(head, "bias", None) is not None:
            head.bias.normal_(0.0, 1.0)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder
