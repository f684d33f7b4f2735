"""Scoring against a plain float64 log-softmax over full logits: families, chunk sizes,
company. Prints JSON.

Usage: transformers_score.py SMALL_MODEL WORK_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streaming import streamed
from transformers_common import FAMILIES, build, new_backend, quiet, worst

from logdrift.core.worker.base import Scores

CHUNKS = (1, 7, 64, 100_000)
NEAR = 2e-5


def plain(model: Any, ids: Any) -> Any:
    """Log-softmax in float64 of the logits of an ordinary forward pass, [T, V]."""
    with torch.inference_mode():
        return (
            model(torch.from_numpy(ids).long()[None], use_cache=False)
            .logits[0]
            .double()
            .log_softmax(-1)
        )


class Expected:
    """What `plain` logprobs say about ``ids``, worked out once."""

    def __init__(self, logprobs: Any, ids: Any, top_k: int) -> None:
        self.logprobs = logprobs[:-1]
        self.k = min(top_k, logprobs.shape[1])
        self.target = self.logprobs.gather(1, torch.from_numpy(ids[1:]).long()[:, None])
        self.top = self.logprobs.topk(self.k).values.numpy()
        self.entropy = -(self.logprobs.exp() * self.logprobs).sum(-1).numpy()
        self.low = 1 + (self.logprobs > self.target + NEAR).sum(-1).numpy()
        self.high = 1 + (self.logprobs > self.target - NEAR).sum(-1).numpy()

    def against(self, scores: Scores) -> dict[str, Any]:
        """Differences from float64. A rank may move only past ids whose logprob is
        within NEAR of the target's.
        """
        k = self.k
        listed = self.logprobs.gather(
            1, torch.from_numpy(scores.top_ids[1:, :k]).long()
        ).numpy()
        return {
            "logprob": worst(scores.logprob[1:], self.target[:, 0].numpy()),
            "top_logprobs": worst(scores.top_logprobs[1:, :k], self.top),
            "top_ids": worst(listed, self.top),
            "entropy": worst(scores.entropy[1:], self.entropy),
            "ranks_outside": int(
                ((scores.rank[1:] < self.low) | (scores.rank[1:] > self.high)).sum()
            ),
            "padding": bool(
                (scores.top_ids[:, k:] == -1).all()
                and np.isnan(scores.top_logprobs[:, k:]).all()
            ),
            "first": bool(
                np.isnan(scores.logprob[0])
                and scores.rank[0] == 0
                and np.isnan(scores.entropy[0])
            ),
        }


def without_extras(backend: Any, ids: Any, logprobs: Any) -> float:
    """How far off the head's weight alone would be: no bias, no scale, no softcap."""
    model = backend._model
    with torch.inference_mode():
        hidden = model.base_model(torch.from_numpy(ids).long()[None], use_cache=False)[
            0
        ][0]
        bare = (
            (hidden @ model.get_output_embeddings().weight.T).double().log_softmax(-1)
        )
    return worst(bare, logprobs)


def one_model(
    folder: Path, vocab: int, length: int, dtype: str = "float32", **options: Any
) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    ids = rng.integers(0, vocab, length).astype(np.int32)
    others = [rng.integers(0, vocab, n).astype(np.int32) for n in (1, 2, 37, 101)]
    backend = new_backend(folder, dtype, pack=True, **options)
    facts = backend.open()
    logprobs = plain(backend._model, ids)
    out: dict[str, Any] = {
        "method": facts.extra["head_method"],
        "facts": facts.to_json(),
        "without_extras": without_extras(backend, ids, logprobs),
        "chunks": {},
    }
    expected = Expected(logprobs, ids, 20)
    for rows in CHUNKS:
        backend._rows = rows
        out["chunks"][rows] = expected.against(backend.score([ids], quiet)[0])
    backend._rows = 64
    alone = backend.score([ids], quiet)[0]
    among = backend.score([others[0], others[3], ids, others[2], others[1]], quiet)
    out["alone_vs_among"] = max(
        worst(getattr(alone, n), getattr(among[2], n))
        for n in alone.__dataclass_fields__
    )
    packed = streamed(backend, "prefill", [others[0], others[3], ids, others[2]])
    out["alone_vs_packed"] = max(
        worst(getattr(alone, n), getattr(packed[2], n))
        for n in ("logprob", "top_logprobs", "entropy")
    )
    out["packed"] = [len(one.logprob) for one in packed]
    out["packs"] = backend.full_batches
    out["one_token"] = bool(
        np.isnan(among[0].logprob).all() and len(among[0].logprob) == 1
    )
    out["swap_undone"] = all(
        "forward" not in vars(module) for module in backend._model.modules()
    )
    backend.close()
    return out


def long_positions(folder: Path) -> dict[str, Any]:
    """A Llama whose positions are LongRoPE's: the paths that it packs, and how far a
    short sequence would move beside a long one.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_parameters"] = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 6,
        "long_factor": [40.0] * 6,
        "original_max_position_embeddings": 64,
    }
    path.write_text(json.dumps(config))
    rng = np.random.default_rng(9)
    short, long = (rng.integers(0, 1031, n).astype(np.int32) for n in (50, 90))
    backend = new_backend(folder, pack=True)
    backend.open()
    alone = backend.score([short], quiet)[0]
    packs = backend.full_batches
    backend._pack_tokens = 1000
    packed = streamed(backend, "prefill", [long, short])
    backend.close()
    return {"packs": packs, "moved": worst(alone.logprob, packed[1].logprob)}


def low_precision(
    folder: Path, vocab: int, length: int, **options: Any
) -> dict[str, Any]:
    """bfloat16: the reduction of the model's own logits is exact, whatever chunk sizes
    do to the logits.
    """
    ids = np.random.default_rng(6).integers(0, vocab, length).astype(np.int32)
    backend = new_backend(folder, "bfloat16", **options)
    facts = backend.open()
    logprobs = plain(backend._model, ids)
    out: dict[str, Any] = {
        "dtypes": [facts.dtype, facts.head_dtype, facts.logits_dtype],
        "chunks": {},
    }
    for rows in CHUNKS:
        backend._rows = rows
        scores = backend.score([ids], quiet)[0]
        target = (
            logprobs[:-1]
            .gather(1, torch.from_numpy(ids[1:]).long()[:, None])[:, 0]
            .numpy()
        )
        out["chunks"][rows] = worst(scores.logprob[1:], target)
    backend.close()
    return out


def full_logits_too(folder: Path) -> float:
    """The way for models whose head cannot be applied by rows gives the same numbers on
    one whose head can.
    """
    ids = np.random.default_rng(8).integers(0, 1031, 50).astype(np.int32)
    backend = new_backend(folder)
    backend.open()
    by_rows = backend.score([ids], quiet)[0]
    backend._head.method = "full logits"
    whole = backend.score([ids], quiet)[0]
    return max(
        worst(getattr(by_rows, name), getattr(whole, name))
        for name in whole.__dataclass_fields__
    )


def undone_after_failure(folder: Path) -> bool:
    """A head that raises in mid-call leaves the model as it was."""
    backend = new_backend(folder)
    backend.open()
    head = backend._model.get_output_embeddings()
    forward, head.forward = head.forward, None
    ids = np.arange(20, dtype=np.int32)
    failed = False
    try:
        backend.score([ids], quiet)
    except Exception:
        failed = True
    head.forward = forward
    scores = backend.score([ids], quiet)[0]
    return (
        failed
        and "forward" not in vars(backend._model.base_model)
        and not np.isnan(scores.logprob[1:]).any()
    )


def main() -> None:
    small = Path(sys.argv[1])
    work = Path(sys.argv[2])
    torch.set_num_threads(
        1
    )  # tiny operations: two threads gain nothing, and wait for each other on a busy machine
    families = {
        name: one_model(build(name, work / name), FAMILIES[name][1]["vocab_size"], 130)
        for name in FAMILIES
        if name != "large-vocabulary"
    }
    print(
        json.dumps(
            {
                "families": families,
                "eager attention": one_model(
                    work / "llama", 1031, 130, attn_implementation="eager"
                ),
                "float32 head": one_model(
                    work / "phi", 1031, 130, head_dtype="float32"
                ),
                "small model": one_model(small, 49152, 130),
                "small model, bfloat16": low_precision(small, 49152, 80),
                "small model, bfloat16, float32 head": low_precision(
                    small, 49152, 80, head_dtype="float32"
                ),
                "full_logits": full_logits_too(work / "gemma2"),
                "long positions": long_positions(build("llama", work / "longrope")),
                "undone_after_failure": undone_after_failure(work / "llama"),
            }
        )
    )


if __name__ == "__main__":
    main()
