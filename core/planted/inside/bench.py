"""One model with its sequences, and what every fault shares: the clean captures and the
hidden states behind them.

Forward passes are nearly all that planting costs, so none is done twice: what changes
logits or alignment alone starts from the clean hidden states, another precision of one
background is the clean side of the other, and sequences that a fault leaves alone keep
their rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logdrift.core.planted.inside.scoring import (
    Model,
    Rows,
    hidden_states,
    reduce_rows,
    score,
)
from logdrift.core.planted.sizes import PROMPT
from logdrift.core.worker.base import Scores

Tensor = Any
Ids = Sequence[np.ndarray]

TOP_K = 20
_COLUMNS = ("logprob", "rank", "top_ids", "top_logprobs", "entropy")


@contextmanager
def eager(model: Model) -> Iterator[None]:
    """Eager attention for as long as the context lasts; sdpa else."""
    model.attention("eager")
    try:
        yield
    finally:
        model.attention("sdpa")


@dataclass
class Bench:
    """``ids`` are all sequences, of which the first ``short`` are those that most
    faults are planted in.
    """

    folder: Path
    out: Path
    ids: list[np.ndarray]
    short: int
    models: dict[str, Model] = field(default_factory=dict)
    _states: dict[str, list[Tensor]] = field(default_factory=dict)
    _rows: dict[str, list[Rows]] = field(default_factory=dict)

    def model(self, dtype: str) -> Model:
        """The model in ``dtype``, loaded once."""
        if dtype not in self.models:
            self.models[dtype] = Model.load(self.folder, dtype)
        return self.models[dtype]

    def trainer(self, dtype: str) -> list[Rows]:
        """The clean side with sdpa attention; in float32 it is the reference too. Kept
        on disk.
        """
        return _kept(
            self.out / f"trainer-{dtype}.npz",
            lambda: score(self.model(dtype), self.ids, TOP_K),
        )

    def states(self, dtype: str, count: int) -> list[Tensor]:
        """Hidden states of the first ``count`` sequences from the clean model with
        eager attention.
        """
        known = self._states.setdefault(dtype, [])
        if len(known) < count:
            with eager(self.model(dtype)):
                known += hidden_states(self.model(dtype), self.ids[len(known) : count])
        return known[:count]

    def clean(self, dtype: str, count: int) -> list[Rows]:
        """The clean side with eager attention, of the first ``count`` sequences."""
        known = self._rows.setdefault(dtype, [])
        states = self.states(dtype, count)
        for ids, hidden in zip(
            self.ids[len(known) : count], states[len(known) :], strict=True
        ):
            known.append(reduce_rows(self.model(dtype), ids, hidden, TOP_K))
        return known[:count]


@dataclass
class Stand:
    """What a fault is planted in: the first ``count`` sequences of a bench, in the
    dtype of both clean sides.
    """

    bench: Bench
    background: str
    count: int

    @property
    def ids(self) -> list[np.ndarray]:
        return self.bench.ids[: self.count]

    @property
    def model(self) -> Model:
        return self.bench.model(self.background)

    @property
    def trainer(self) -> list[Rows]:
        return self.bench.trainer(self.background)[: self.count]

    @property
    def reference(self) -> list[Rows]:
        return self.bench.trainer("float32")[: self.count]

    @property
    def states(self) -> list[Tensor]:
        return self.bench.states(self.background, self.count)

    @property
    def clean(self) -> list[Rows]:
        return self.bench.clean(self.background, self.count)

    def in_dtype(self, dtype: str) -> list[Rows]:
        """The clean side in another precision."""
        return self.bench.clean(dtype, self.count)


def _kept(path: Path, compute: Callable[[], list[Rows]]) -> list[Rows]:
    """Rows of a clean capture: every session of one background shares them."""
    if path.exists():
        with np.load(path) as kept:
            return [
                Scores(*(kept[f"{name}{i}"] for name in _COLUMNS))
                for i in range(len(kept.files) // len(_COLUMNS))
            ]
    rows = compute()
    _replace(
        path,
        {
            f"{name}{i}": getattr(row, name)
            for i, row in enumerate(rows)
            for name in _COLUMNS
        },
    )
    return rows


def _replace(path: Path, arrays: dict[str, Any]) -> None:
    """Interrupted at any instant, the file is whole or not there."""
    temporary = path.with_name(f".{path.name}.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def read_ids(path: Path) -> list[np.ndarray]:
    """Sequences of a JSON file ``{"ids": [[...], ...]}``."""
    return [
        np.asarray(row, np.int32)
        for row in json.loads(path.read_text(encoding="utf-8"))["ids"]
    ]


def sample_ids(model: Model, lengths: Sequence[int], path: Path) -> list[np.ndarray]:
    """Token ids sampled by the model itself, from prompts of `PROMPT` random ids; kept
    in ``path``.
    """
    if path.exists():
        return read_ids(path)
    torch.manual_seed(7)
    drawn = np.random.default_rng(5).integers(3, model.vocab, (len(lengths), PROMPT))
    ids: dict[int, np.ndarray] = {}
    for length in dict.fromkeys(lengths):
        rows = [i for i, n in enumerate(lengths) if n == length]
        batch = torch.from_numpy(drawn[rows])
        with torch.inference_mode():
            out = model.net.generate(
                batch,
                attention_mask=torch.ones_like(batch),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=length - PROMPT,
                min_new_tokens=length - PROMPT,
                repetition_penalty=1.0,
                pad_token_id=0,
            )
        ids.update(
            {i: row.numpy().astype(np.int32) for i, row in zip(rows, out, strict=True)}
        )
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(
        json.dumps({"ids": [ids[i].tolist() for i in range(len(lengths))]}),
        encoding="utf-8",
    )
    temporary.replace(path)
    return [ids[i] for i in range(len(lengths))]
