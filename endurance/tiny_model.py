"""A tiny model with a tokenizer of words, made by Transformers: ``python tiny_model.py
FOLDER``. vLLM and SGLang load it too.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import build

_FAMILY = "llama-untied"
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_WORDS = 1000

if __name__ == "__main__":
    folder = build(_FAMILY, Path(sys.argv[1]))
    words = [*_SPECIAL, *(f"w{number}" for number in range(_WORDS))]
    vocabulary = {word: number for number, word in enumerate(words)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
