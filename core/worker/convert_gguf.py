"""Turns one GGUF file into an ordinary bf16 safetensors folder: ``python -I
convert_gguf.py FILE FOLDER``.

Run by path inside the interpreter that holds Transformers; nothing imports it, and it
uses nothing of logdrift.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

_KEPT = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rope_parameters",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
"""Fields of the config that GGUF keeps as they are."""


def convert(source: Path, target: Path) -> None:
    """Write config, generation config, tokenizer with chat template, and the
    dequantised weights in bfloat16.
    """
    folder = str(source.parent)
    loaded = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=source.name, dtype=torch.bfloat16
    )
    model = _plain_model(loaded)
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=source.name)
    tokenizer.model_max_length = model.config.max_position_embeddings
    for where_from in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(where_from, None)
    tokenizer.save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)  # safetensors makes its files private


def _plain_model(loaded: Any) -> Any:
    """A fresh model with the weights of ``loaded``, which stays marked as quantised
    although its weights are plain by now.
    """
    old = loaded.config
    model = LlamaForCausalLM(_plain_config(old)).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=old.bos_token_id,
        eos_token_id=old.eos_token_id,
        pad_token_id=old.pad_token_id,
    )
    return model


def _plain_config(old: Any) -> Any:
    # GGUF keeps epsilon as a float32, which reads back as 9.999999747378752e-06; it is
    # the same float32.
    kept = {key: getattr(old, key) for key in _KEPT}
    return LlamaConfig(**kept, rms_norm_eps=1e-5, dtype="bfloat16")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
