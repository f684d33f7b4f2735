"""Tiny Llamas that overflow in float16: what the backend says of them, and their
streams. Prints JSON.

    transformers_overflow.py OUT [SMALL_MODEL]

``whole`` overflows inside layer 1 at every token, ``token`` after the last layer at one
id alone: a NaN that enters an attention is in every row behind it, masked ones included
(0 times NaN). Both are fine in bfloat16 and float32. Streams go to OUT/MODEL/DTYPE;
with SMALL_MODEL, OUT/large is ``whole`` with its tokenizer.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from transformers_common import message_of, new_backend, quiet

from logdrift.core.plan import SamplingSpec

ID = 7
"""The id whose stream float16 cannot hold."""
IDS = [3, 4, 5, ID, 8, 9]
DTYPES = ("float16", "bfloat16", "float32")


def llama(folder: Path, vocab_size: int = 1031) -> Any:
    import torch
    import transformers

    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    return model


def overflow_inside_layer_1(folder: Path, vocab_size: int = 1031) -> Path:
    model = llama(folder, vocab_size)
    for name in ("up_proj", "down_proj"):
        getattr(model.model.layers[1].mlp, name).weight.data.mul_(3000.0)
    model.bfloat16().save_pretrained(folder)
    return folder


def overflow_at_one_token(folder: Path) -> Path:
    model = llama(folder)
    model.model.embed_tokens.weight.data[ID] = (
        60_000.0  # with what the last layer adds, more than 65,504
    )
    model.model.layers[2].mlp.down_proj.weight.data.mul_(15_000.0)
    model.bfloat16().save_pretrained(folder)
    return folder


def scored(model: Path, dtype: str) -> dict[str, Any]:
    backend = new_backend(model, dtype, top_k=3)
    backend.open()
    (found,) = backend.score([np.asarray(IDS, np.int32)], quiet)
    backend.close()
    return {
        "nan": np.flatnonzero(found.nan).tolist(),
        "missing": np.flatnonzero(np.isnan(found.logprob)).tolist(),
        "listed": np.flatnonzero((found.top_ids >= 0).any(axis=1)).tolist(),
    }


def generated(model: Path, temperature: float) -> dict[str, Any]:
    sampling = SamplingSpec(max_tokens=4, temperature=temperature)
    backend = new_backend(
        model, "float16", paths=("decode",), top_k=3, sampling=sampling
    )
    backend.open()
    made: list[Any] = []
    said = message_of(
        lambda: made.extend(backend.generate([np.asarray(IDS, np.int32)], [0], quiet))
    )
    backend.close()
    return {
        "said": said,
        "nan": [np.flatnonzero(each.scores.nan).tolist() for each in made],
    }


def streams(model: Path, out: Path) -> None:
    """Streams of all dtypes, and float32's replays of the others."""
    from logdrift.core.worker import questions

    arguments = {
        "token_ids": IDS,
        "first": 0,
        "last": len(IDS) - 1,
        "prefix": True,
        "head_ids": [0, 5, 9],
    }
    others = {
        dtype: str(out / dtype / "layers.safetensors")
        for dtype in DTYPES
        if dtype != "float32"
    }
    for dtype in DTYPES:  # float32 last: it replays what the others wrote
        backend = new_backend(model, dtype)
        backend.open()
        replay = others if dtype == "float32" else {}
        questions.answer(
            "transformers",
            "layers",
            backend,
            {**arguments, "replay": replay},
            out / dtype,
        )
        backend.close()


def main(out: Path, small_model: Path | None) -> None:
    models = {
        "whole": overflow_inside_layer_1(out / "models" / "whole"),
        "token": overflow_at_one_token(out / "models" / "token"),
    }
    for name, model in models.items():
        streams(model, out / name)
    if small_model is not None:
        large = overflow_inside_layer_1(out / "large", 49152)
        for file in small_model.iterdir():
            if "token" in file.name or file.name in ("merges.txt", "vocab.json"):
                shutil.copyfile(file, large / file.name)
    found = {
        name: {dtype: scored(model, dtype) for dtype in DTYPES}
        for name, model in models.items()
    }
    drawn = {
        "sampled": generated(models["whole"], 1.0),
        "greedy": generated(models["whole"], 0.0),
    }
    print(json.dumps({"scored": found, "generated": drawn}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
