"""Turns one GGUF file into an ordinary bf16 safetensors folder: ``python -I
convert_gguf.py FILE FOLDER``.

Run by path inside the interpreter that holds Transformers; nothing imports it, and it
uses nothing of logdrift.
"""

from __future__ import annotations

import sys
from pathlib import Path


def convert(source: Path, target: Path) -> None:
    """Write config, generation config, tokenizer with chat template, and the
    dequantised weights in bfloat16.
    """
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GenerationConfig,
        LlamaConfig,
        LlamaForCausalLM,
    )

    folder = str(source.parent)
    name = source.name
    loaded = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.bfloat16
    )
    old = loaded.config
    kept = (
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
    # GGUF keeps epsilon as a float32, which reads back as 9.999999747378752e-06; it is
    # the same float32.
    config = LlamaConfig(
        **{key: getattr(old, key) for key in kept}, rms_norm_eps=1e-5, dtype="bfloat16"
    )
    # A fresh model, because the loaded one stays marked as quantised although its
    # weights are plain by now.
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=old.bos_token_id,
        eos_token_id=old.eos_token_id,
        pad_token_id=old.pad_token_id,
    )
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    tokenizer.model_max_length = config.max_position_embeddings
    for where_from in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(where_from, None)
    tokenizer.save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)  # safetensors makes its files private


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
