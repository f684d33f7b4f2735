"""One model with its sequences, and what every fault shares: the clean captures and the
hidden states behind them.

Forward passes are nearly all that planting costs, so none is done twice: what changes
logits or alignment alone starts from the clean hidden states, another precision of one
background is the clean side of the other, and sequences that a fault leaves alone keep
their rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logdrift.core.planted.inside.scoring import (
    COLUMNS,
    Ids,
    Model,
    hidden_states,
    reduce_rows,
    score,
)
from logdrift.core.planted.sizes import PROMPT
from logdrift.core.worker.base import Scores

Tensor = Any

TOP_K = 20
"""Alternatives that every capture keeps."""


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
    """One model with the sequences that it scores, and the clean captures of both sides
    in every dtype, each computed once.

    ``folder`` has the model, ``out`` the planted sessions. ``ids`` are all sequences,
    i32[T] each; the first ``short`` of them are those that most faults are planted in.
    """

    folder: Path
    out: Path
    ids: list[Ids]
    short: int
    models: dict[str, Model] = field(default_factory=dict)
    _states: dict[str, list[Tensor]] = field(default_factory=dict)
    _rollouts: dict[str, list[Scores]] = field(default_factory=dict)

    def model(self, dtype: str) -> Model:
        """The model in ``dtype``, loaded once."""
        model = self.models.get(dtype)
        if model is None:
            model = Model.load(self.folder, dtype)
            self.models[dtype] = model
        return model

    def trainer(self, dtype: str) -> list[Scores]:
        """The clean trainer: sdpa attention; in float32 it is the reference too. Kept
        on disk.
        """
        path = self.out / f"trainer-{dtype}.npz"
        if path.exists():
            return _read_scores(path)
        model = self.model(dtype)
        scores = score(model, self.ids, TOP_K)
        _write_scores(path, scores)
        return scores

    def states(self, dtype: str, count: int) -> list[Tensor]:
        """Hidden states [T, D] of the first ``count`` sequences from the clean model
        with eager attention.
        """
        states = self._states.setdefault(dtype, [])
        known = len(states)
        missing = self.ids[known:count]
        if missing:
            model = self.model(dtype)
            with eager(model):
                states += hidden_states(model, missing)
        return states[:count]

    def rollout(self, dtype: str, count: int) -> list[Scores]:
        """The clean rollout: eager attention, of the first ``count`` sequences."""
        scores = self._rollouts.setdefault(dtype, [])
        states = self.states(dtype, count)
        known = len(scores)
        for i in range(known, count):
            ids = self.ids[i]
            hidden = states[i]
            of_sequence = reduce_rows(self.model(dtype), ids, hidden, TOP_K)
            scores.append(of_sequence)
        return scores[:count]


@dataclass
class CleanSides:
    """What a fault is planted in: the clean captures of the first ``count`` sequences
    of a bench, both sides in the dtype ``background``.
    """

    bench: Bench
    background: str
    count: int

    @property
    def ids(self) -> list[Ids]:
        return self.bench.ids[: self.count]

    @property
    def model(self) -> Model:
        return self.bench.model(self.background)

    @property
    def trainer(self) -> list[Scores]:
        scores = self.bench.trainer(self.background)
        return scores[: self.count]

    @property
    def reference(self) -> list[Scores]:
        scores = self.bench.trainer("float32")
        return scores[: self.count]

    @property
    def states(self) -> list[Tensor]:
        """The hidden states behind the rollout."""
        return self.bench.states(self.background, self.count)

    @property
    def rollout(self) -> list[Scores]:
        return self.rollout_in(self.background)

    def rollout_in(self, dtype: str) -> list[Scores]:
        """The clean rollout in a precision."""
        return self.bench.rollout(dtype, self.count)


def _write_scores(path: Path, scores: Sequence[Scores]) -> None:
    """Keep the scores of a clean capture, which all sessions of one background
    share.
    """
    arrays = {}
    for number, sequence in enumerate(scores):
        for name in COLUMNS:
            arrays[f"{name}{number}"] = getattr(sequence, name)
    # Interrupted at any instant, the file is whole or not there.
    temporary = path.with_name(f".{path.name}.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def _read_scores(path: Path) -> list[Scores]:
    scores = []
    with np.load(path) as arrays:
        sequences = len(arrays.files) // len(COLUMNS)
        for number in range(sequences):
            columns = {name: arrays[f"{name}{number}"] for name in COLUMNS}
            scores.append(Scores(**columns))
    return scores


def read_ids(path: Path) -> list[Ids]:
    """Sequences i32[T] of a JSON file ``{"ids": [[...], ...]}``."""
    text = path.read_text(encoding="utf-8")
    sequences = json.loads(text)["ids"]
    return [np.asarray(ids, np.int32) for ids in sequences]


def sample_ids(model: Model, lengths: Sequence[int], path: Path) -> list[Ids]:
    """Token ids i32[T] sampled by the model itself, from prompts of `PROMPT` random
    ids; kept in ``path``.
    """
    if path.exists():
        return read_ids(path)
    sequences = _sampled_from_random_prompts(model, lengths)
    as_lists = [ids.tolist() for ids in sequences]
    text = json.dumps({"ids": as_lists})
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return sequences


def _sampled_from_random_prompts(model: Model, lengths: Sequence[int]) -> list[Ids]:
    torch.manual_seed(7)
    rng = np.random.default_rng(5)
    shape = (len(lengths), PROMPT)
    prompts = rng.integers(3, model.vocab, shape)
    by_sequence: dict[int, Ids] = {}
    for length in dict.fromkeys(lengths):
        is_of_length = np.equal(lengths, length)
        numbers = np.flatnonzero(is_of_length).tolist()
        of_one_length = torch.from_numpy(prompts[numbers])
        sampled = _sampled(model, of_one_length, length)
        ids = sampled.numpy().astype(np.int32)
        by_sequence.update(zip(numbers, ids, strict=True))
    return [by_sequence[number] for number in range(len(lengths))]


def _sampled(model: Model, prompts: Tensor, length: int) -> Tensor:
    """Sequences of ``length`` ids that begin with ``prompts`` i64[S, P], i64[S, T]."""
    new_tokens = length - prompts.shape[1]
    with torch.inference_mode():
        return model.net.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            repetition_penalty=1.0,
            pad_token_id=0,
        )
