"""`logdrift.core.worker.reduce` against float64 and against an exact sort. Prints
JSON.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from transformers_common import worst

from logdrift.core.worker.base import Scores
from logdrift.core.worker.reduce import Reducer


def run(
    logits: Any, targets: Any, top_k: int = 20, block_rows: int | None = None
) -> Scores:
    scores = Scores.empty(len(targets) + 1, top_k, entropy=True)
    Reducer(logits.shape[1], top_k, "cpu", block_rows).into(
        scores, 1, logits, torch.as_tensor(targets)
    )
    return scores


def expected(logits: Any, targets: Any, top_k: int) -> Scores:
    """The definitions, in float64, with a full stable sort."""
    values = logits.double().numpy()
    peak = values.max(-1, keepdims=True)
    logprobs = values - peak - np.log(np.exp(values - peak).sum(-1, keepdims=True))
    weights = np.exp(logprobs)
    with np.errstate(invalid="ignore"):
        entropy = -np.where(weights > 0, weights * logprobs, 0.0).sum(-1)
    rows = np.arange(len(targets))
    order = np.argsort(-values, axis=-1, kind="stable")[:, :top_k]
    out = Scores.empty(len(targets) + 1, top_k, entropy=True)
    out.logprob[1:] = logprobs[rows, targets]
    out.rank[1:] = 1 + (values > values[rows, targets][:, None]).sum(-1)
    out.top_ids[1:, : order.shape[1]] = order
    out.top_logprobs[1:, : order.shape[1]] = np.take_along_axis(logprobs, order, -1)
    assert out.entropy is not None
    out.entropy[1:] = entropy
    return out


def compare(logits: Any, targets: Any, top_k: int = 20) -> dict[str, Any]:
    before = logits.clone()
    got = run(logits, targets, top_k)
    want = expected(logits, targets, top_k)
    return {
        "logprob": worst(got.logprob, want.logprob),
        "top_logprobs": worst(got.top_logprobs, want.top_logprobs),
        "entropy": worst(got.entropy, want.entropy),
        "ranks_wrong": int((got.rank != want.rank).sum()),
        "ids_wrong": int((got.top_ids != want.top_ids).sum()),
        "first_unscored": bool(
            np.isnan(got.logprob[0])
            and got.rank[0] == 0
            and (got.top_ids[0] == -1).all()
        ),
        "input_untouched": torch.equal(logits.nan_to_num(), before.nan_to_num()),
    }


def cases() -> dict[str, dict[str, Any]]:
    generator = torch.Generator().manual_seed(7)

    def normal(rows: int, vocab: int, scale: float) -> Any:
        return torch.randn((rows, vocab), generator=generator) * scale

    def targets(rows: int, vocab: int) -> Any:
        return torch.randint(vocab, (rows,), generator=generator).numpy()

    few = torch.randint(-3, 4, (40, 1031), generator=generator).float()
    few[few == 0] = torch.where(
        torch.rand(int((few == 0).sum()), generator=generator) < 0.5, -0.0, 0.0
    )
    masked = normal(30, 1031, 4.0)
    masked[:, 100:900] = -torch.inf
    lowest = normal(30, 1031, 4.0)
    lowest[:, 17:1000] = torch.finfo(torch.float32).min
    mostly_masked = torch.full((9, 130), -torch.inf)
    mostly_masked[:, 60:64] = normal(9, 4, 1.0)
    return {
        "real size": compare(normal(70, 49152, 3.0) + 5.0, targets(70, 49152)),
        "real size, bfloat16": compare(
            (normal(70, 49152, 3.0) + 12.0).bfloat16(), targets(70, 49152)
        ),
        "float16": compare(normal(33, 1031, 3.0).half(), targets(33, 1031)),
        "uniform": compare(torch.zeros(5, 49152), targets(5, 49152)),
        "one id only": compare(torch.eye(5, 1031) * 80.0, np.arange(5)),
        "far from zero": compare(normal(20, 1031, 3.0) + 3000.0, targets(20, 1031)),
        "ties, and zeros of both signs": compare(few, targets(40, 1031)),
        "ties, bfloat16": compare(
            normal(200, 1031, 1.0).bfloat16(), targets(200, 1031)
        ),
        "minus infinity": compare(masked, targets(30, 1031)),
        "lowest float": compare(lowest, targets(30, 1031)),
        "fewer ids above minus infinity than top-k": compare(
            mostly_masked, targets(9, 130)
        ),
        "vocabulary below top-k": compare(normal(11, 16, 2.0), targets(11, 16)),
        "vocabulary of one group": compare(normal(11, 64, 2.0), targets(11, 64)),
        "no top-k": compare(normal(11, 1031, 2.0), targets(11, 1031), top_k=0),
        "top-k above the number of groups": compare(
            normal(11, 300, 2.0).bfloat16(), targets(11, 300), top_k=100
        ),
    }


def odd_rows() -> dict[str, bool]:
    """Rows that hold no distribution stay unscored and leave their neighbours alone."""
    logits = torch.randn((6, 1031), generator=torch.Generator().manual_seed(1))
    clean = run(logits, np.arange(6))
    logits[1, 5] = torch.nan
    logits[3, 5] = torch.inf
    logits[4] = -torch.inf
    got = run(logits, np.arange(6))
    bad = [2, 4, 5]
    good = [1, 3, 6]
    assert got.entropy is not None
    assert got.nan is not None
    assert clean.entropy is not None
    assert clean.nan is not None
    return {
        "marked": np.flatnonzero(got.nan).tolist() == bad and not clean.nan.any(),
        "unscored": bool(
            np.isnan(got.logprob[bad]).all()
            and (got.rank[bad] == 0).all()
            and (got.top_ids[bad] == -1).all()
            and np.isnan(got.top_logprobs[bad]).all()
            and np.isnan(got.entropy[bad]).all()
        ),
        "neighbours": bool(
            np.array_equal(got.logprob[good], clean.logprob[good])
            and np.array_equal(got.top_ids[good], clean.top_ids[good])
            and np.array_equal(got.entropy[good], clean.entropy[good])
        ),
    }


def block_sizes() -> float:
    """Largest difference in anything between blocks of 1, 7, 32 and all rows."""
    logits = torch.randn(
        (50, 5003), generator=torch.Generator().manual_seed(2)
    ).bfloat16()
    targets = np.arange(50) * 90
    all_rows = run(logits, targets, block_rows=50)
    differences = [0.0]
    for size in (1, 7, 32):
        got = run(logits, targets, block_rows=size)
        differences += [
            worst(getattr(got, name), getattr(all_rows, name))
            for name in got.__dataclass_fields__
        ]
    return max(differences)


if __name__ == "__main__":
    print(
        json.dumps(
            {"cases": cases(), "odd_rows": odd_rows(), "block_sizes": block_sizes()}
        )
    )
