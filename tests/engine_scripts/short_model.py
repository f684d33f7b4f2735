"""Runs in Transformers' interpreter: a tiny model of one family with another model's
tokenizer beside it.

``python short_model.py FAMILY TOKENIZER FOLDER``
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_models import build
from transformers import AutoTokenizer

if __name__ == "__main__":
    family, tokenizer, folder = sys.argv[1:]
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(
        build(family, Path(folder))
    )
