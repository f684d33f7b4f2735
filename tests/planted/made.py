"""Sessions made of drawn logits, with faults planted by NumPy: what a signature must
find, without any model.

Logits are drawn with the spread of a language model's; both sides of a session get
them, with noise of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.facts import Facts
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    SequencesInfo,
    capture_part,
    sequence_part,
)
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.writer import (
    merge_pieces,
    sequence_tensors,
    write_manifest,
    write_part,
)

Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(logits f64[T, V] of one sequence, its ids i64[T]) -> logits of the same shape. Row t
predicts token t.
"""

VOCABULARY = 300
TOP_K = 20


@dataclass(frozen=True)
class Text:
    """``ids`` i64[T] and ``logits`` f64[T, V] of every sequence; row 0 is of no use."""

    ids: list[np.ndarray]
    logits: list[np.ndarray]


def draw(
    seed: int = 0,
    lengths: tuple[int, ...] = (90,) * 10 + (300,) * 4,
    spread: float = 3.0,
) -> Text:
    """Sequences sampled from drawn logits: some rows are certain, some open, levels
    differ.
    """
    rng = np.random.default_rng(seed)
    ids = []
    logits = []
    for length in lengths:
        rows = rng.normal(0, spread, (length, VOCABULARY)) * rng.uniform(
            0.5, 1.5, (length, 1)
        ) + rng.normal(0, 2, (length, 1))
        gumbel = rng.gumbel(size=rows.shape)
        ids.append((rows + gumbel).argmax(axis=1))
        logits.append(rows)
    return Text(ids, logits)


def noise(size: float, seed: int = 1) -> Change:
    """Independent normal noise of ``size`` on every logit."""
    rng = np.random.default_rng(seed)
    return lambda rows, ids: rows + rng.normal(0, size, rows.shape)


def bfloat16(values: np.ndarray) -> np.ndarray:
    """Rounded to the nearest bfloat16, ties to even, as float64."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32)
    return rounded.view(np.float32).astype(np.float64)


def log_softmax(rows: np.ndarray) -> np.ndarray:
    """f64[T, V] nats."""
    peak = rows.max(axis=1, keepdims=True)
    return rows - peak - np.log(np.exp(rows - peak).sum(axis=1, keepdims=True))


def made(
    folder: Path,
    text: Text,
    sides: Mapping[str, Change],
    *,
    prompt: int = 10,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    scored: Mapping[str, list[np.ndarray]] | None = None,
    final: Mapping[str, Change] | None = None,
    top_k: int = TOP_K,
    path: str = "prefill",
) -> Session:
    """A session with one capture for each of ``sides``: trainer, rollout, reference.

    ``facts`` are added to none at all; ``scored`` are other ids that a side scored;
    ``final`` changes log-probabilities.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lengths = [len(ids) for ids in text.ids]
    tensors = sequence_tensors(
        [ids.astype(np.int32) for ids in text.ids],
        [prompt] * len(lengths),
        ["length"] * len(lengths),
    )
    part = write_part(folder, sequence_part(0), tensors, 0, len(lengths), sum(lengths))
    merge_pieces(folder, {i: f"<{i}>".encode() for i in range(VOCABULARY)})
    captures = []
    for name, change in sides.items():
        columns: dict[str, list[np.ndarray]] = {
            "logprob": [],
            "rank": [],
            "top_ids": [],
            "top_logprobs": [],
        }
        for i, (ids, rows) in enumerate(zip(text.ids, text.logits, strict=True)):
            values = log_softmax(change(rows, ids))
            if final is not None and name in final:
                values = final[name](values, ids)
            targets = (scored or {}).get(name, text.ids)[i]
            _add(columns, values, targets, top_k)
        label = f"{name}/{path}"
        data = {key: np.concatenate(value) for key, value in columns.items()}
        written = write_part(
            folder, capture_part(label, 0), data, 0, len(lengths), sum(lengths)
        )
        role = name if name in ("reference", "trainer") else "rollout"
        known = Facts(**(facts or {}).get(name, {}))
        dtype = known.dtype or "unknown"
        captures.append(
            CaptureInfo(
                label,
                name,
                "transformers",
                dtype,
                path,
                1,
                role,
                "complete",
                known,
                (written,),
            )
        )
    manifest = Manifest(
        "made",
        ModelInfo("made", vocab_size=VOCABULARY),
        sequences=SequencesInfo(len(lengths), None, (part,)),
        captures=tuple(captures),
    )
    write_manifest(folder, manifest)
    return open_session(folder)


def _add(
    columns: dict[str, list[np.ndarray]],
    values: np.ndarray,
    targets: np.ndarray,
    top_k: int,
) -> None:
    order = np.argsort(-values, axis=1, kind="stable")[:, :top_k]
    target = np.take_along_axis(values, targets[:, None], axis=1)[:, 0]
    rank = 1 + (values > target[:, None]).sum(axis=1)
    top = np.take_along_axis(values, order, axis=1)
    target[0], rank[0], top[0] = np.nan, 0, np.nan
    order = order.copy()
    order[0] = -1
    columns["logprob"].append(target.astype(np.float32))
    columns["rank"].append(rank.astype(np.int32))
    columns["top_ids"].append(order.astype(np.int32))
    columns["top_logprobs"].append(top.astype(np.float32))


def same(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Nothing changed."""
    return rows


def top_p(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Only the most likely ids that together hold 0.8 stay possible."""
    out = rows.copy()
    for row in out:
        p = np.exp(row - row.max())
        p /= p.sum()
        order = np.argsort(-p)
        row[order[np.cumsum(p[order]) - p[order] > 0.8]] = -np.inf
    return out
