"""The models of the checks: random ones of a real shape for speed, and a small trained
one, with a tokenizer of bytes, for what diagnosis needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

LONGEST = 32_768
"""Tokens of the longest sequence that is scored."""


class Shape(NamedTuple):
    """Sizes of a random model: ``vocabulary`` ids, ``hidden`` numbers a token."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int


LARGE = Shape(151_936, 1024, 3072, 28, 16, 8)
"""That of Qwen 3 0.6B, whose head is wide beside its layers: the hard case."""
TINY = Shape(2_051, 64, 128, 2, 4, 2)
"""For a machine without a GPU, where only the way of a check is tried."""


def write_random(folder: Path, shape: Shape, device: str) -> Path:
    """A random model in float32, its head apart from its embedding."""
    import torch
    import transformers

    config = transformers.Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.hidden // shape.heads,
        max_position_embeddings=LONGEST + 1,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return folder


def write_trained(folder: Path, steps: int) -> Path:
    """A small model trained on Python's own source, with its tokenizer."""
    from logdrift.core.planted.inside.little import train

    train("llama", folder, steps)
    _byte_tokenizer().save_pretrained(folder)
    return folder


def _byte_tokenizer() -> Any:
    """One token a byte, behind the three special ids of the trained model."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>"]
    vocabulary = {token: number for number, token in enumerate(special)}
    for letter in letters:
        vocabulary[letter] = len(special) + _byte_of(letter)
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
    )


def _byte_of(letter: str) -> int:
    """The byte that a letter of the byte-level alphabet stands for: printable ones
    stand for themselves, the others for those from 256 on, in order.
    """
    if ord(letter) < 256:
        return ord(letter)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return others[ord(letter) - 256]
