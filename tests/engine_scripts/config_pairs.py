"""Tiny models with one set of weights and a tokenizer, whose configs, tokenizers and
templates differ; run by Transformers.

Usage: config_pairs.py MODEL OUT FOLDER: MODEL is ignored, OUT gets {name: folder}.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

VARIANTS = {
    "theta": {"rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}},
    "window": {"sliding_window": 8},
    "eps": {"rms_norm_eps": 1e-3},
    "ids": {"eos_token_id": 3},
}
"""What is written into a copy's config.json."""


def main() -> None:
    out = Path(sys.argv[2])
    folder = Path(sys.argv[3])
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        AutoModelForCausalLM,
        MistralConfig,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    words = ["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(125))]
    config = MistralConfig(
        vocab_size=128,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        sliding_window=None,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    plain = folder / "plain"
    AutoModelForCausalLM.from_config(config).save_pretrained(plain)
    raw = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for m in messages %}\n{{ m.content }}\n{% endfor %}"
    tokenizer.save_pretrained(plain)
    made = {"plain": str(plain)}
    for name, fields in VARIANTS.items():
        made[name] = str(_copy(plain, folder / name))
        path = folder / name / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    made["text"] = str(_copy(plain, folder / "text"))
    tokenizer.chat_template = "{% for m in messages %}\n[{{ m.content }}]\n{% endfor %}"
    tokenizer.add_tokens(["w7w8"])
    tokenizer.save_pretrained(folder / "text")
    out.write_text(json.dumps(made))


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


if __name__ == "__main__":
    main()
