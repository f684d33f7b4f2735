"""A Transformers backend in this process, with ids to score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.engines.transformers.backend import TransformersBackend
from logdrift.core.facts import Facts
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.worker.base import BackendSettings, Scores

TOP_K = 20


class Opened:
    """A backend that has loaded ``model`` in ``dtype``, and the facts that it gave."""

    def __init__(self, model: Path, dtype: str, longest: int, **options: Any) -> None:
        spec = BackendSpec("gpu-check", "transformers", dtype, options=options)
        self.backend = TransformersBackend(
            BackendSettings(
                model=str(model),
                revision=None,
                spec=spec,
                sampling=SamplingSpec(),
                paths=("prefill",),
                top_k=TOP_K,
                max_length=longest,
                max_prompts=1,
            )
        )
        self.facts: Facts = self.backend.open()

    @property
    def model(self) -> Any:
        """The loaded model."""
        return self.backend._model

    @property
    def rows(self) -> int:
        """Rows of the head in work at once, as they are now."""
        return self.backend._rows

    def scored(self, ids: np.ndarray) -> Scores:
        """Scores of ``ids`` i32[T]."""
        (scores,) = self.backend.score([ids], lambda sequences, tokens: None)
        return scores

    def close(self) -> None:
        """Free the model."""
        self.backend.close()


def drawn_ids(tokens: int, vocabulary: int) -> np.ndarray:
    """Random ids, i32[tokens]."""
    rng = np.random.default_rng(0)
    return rng.integers(0, vocabulary, tokens).astype(np.int32)


def gap(a: Scores, b: Scores) -> np.ndarray:
    """|Δ| of the chosen tokens' log-probabilities, f64[T - 1], in nats."""
    first = a.logprob[1:].astype(np.float64)
    return np.abs(first - b.logprob[1:])


def same_bits(a: Scores, b: Scores) -> bool:
    """Whether every number that a session keeps is the same, bit for bit."""
    names = ("logprob", "rank", "top_ids", "top_logprobs", "entropy")
    pairs = [(getattr(a, name), getattr(b, name)) for name in names]
    return all(first.tobytes() == second.tobytes() for first, second in pairs)
