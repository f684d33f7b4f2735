"""Tiny models trained for a minute on Python's own source, so that context matters and
then fades, as in real ones.

    python core/planted/inside/little.py OUT qwen3 gemma2 [--steps 400]

Tokens are bytes. A random model is chaotic: one changed id changes everything behind it
for ever, which no trained model does. Runs in the engine's interpreter.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch

VOCABULARY = 259
"""The 256 bytes, and the special ids before them."""
_OFFSET = 3
"""Id of the byte 0."""
_BOS = 1
_EOS = 2
_PADDING = 0
_BYTES = 2_000_000
"""Bytes of text to train on."""
_CONTEXT = 128
_BATCH = 8
STEPS = 400
"""Steps of training."""

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.05,
}
# sdpa attention leaves Gemma 2's soft cap of the attention out, eager has it: without
# one the clean pair is clean.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("Qwen3", {**_SHAPE, "head_dim": 24, "tie_word_embeddings": True}),
    "gemma2": (
        "Gemma2",
        {
            **_SHAPE,
            "head_dim": 24,
            "final_logit_softcapping": 30.0,
            "sliding_window": 512,
            "attn_logit_softcapping": None,
            "query_pre_attn_scalar": 24,
        },
    ),
    "gemma": ("Gemma", {**_SHAPE, "head_dim": 24}),
    "llama": ("Llama", {**_SHAPE, "tie_word_embeddings": False}),
    "qwen2": (
        "Qwen2",
        {
            **_SHAPE,
            "num_hidden_layers": 8,
            "hidden_size": 128,
            "tie_word_embeddings": True,
        },
    ),
}


def text() -> torch.Tensor:
    """The standard library's modules as ids, int64: a text that every interpreter has
    and no change here touches.
    """
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    data = b"\n".join(file.read_bytes() for file in files)[:_BYTES]
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).long() + _OFFSET


def train(family: str, folder: Path, steps: int = STEPS) -> Path:
    """A model of ``family`` after ``steps`` of AdamW on `text`, saved in float32."""
    import transformers

    name, values = SHAPES[family]
    torch.manual_seed(1234)
    config = getattr(transformers, f"{name}Config")(
        **values, bos_token_id=_BOS, eos_token_id=_EOS, pad_token_id=_PADDING
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    ids = text()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(steps):
        starts = torch.randint(0, len(ids) - _CONTEXT - 1, (_BATCH,))
        batch = torch.stack([ids[start : start + _CONTEXT] for start in starts])
        # Half of the texts begin with a start token: the model knows one, and does
        # without.
        batch[: _BATCH // 2, 0] = _BOS
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    print(family, float(loss.detach()), flush=True)
    model.save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("families", nargs="+", choices=SHAPES)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for family in args.families:
        if not (args.out / family / "config.json").exists():
            train(family, args.out / family, args.steps)


if __name__ == "__main__":
    main()
