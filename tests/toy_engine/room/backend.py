"""The toy engine: fixed numbers for every token id, in the interpreter that holds
``toy_library``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import toy_library

from logdrift.core.engines.about import resolve
from logdrift.core.facts import Facts
from logdrift.core.worker.base import (
    BackendSettings,
    Generation,
    IdArray,
    Progress,
    Scores,
)
from logdrift.core.worker.observe import environment


class ToyBackend:
    """`logdrift.core.worker.base.Backend` with the paths ``decode`` and ``prefill``."""

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._parts = 0

    def open(self) -> Facts:
        """Nothing to load; the mode is the option ``mode``."""
        dtype = self._settings.spec.dtype
        mode = self._settings.spec.options.get("mode", "plain")
        return Facts(
            engine="toy",
            engine_version=toy_library.VERSION,
            device="cpu",
            dtype=dtype,
            head_dtype=dtype,
            logits_dtype=dtype,
            decode_logprobs="raw",
            prefill_logprobs="raw",
            temperature=self._settings.sampling.temperature,
            vocab_size=toy_library.VOCABULARY,
            model_class="Toy",
            environment=environment(),
            batch_invariant=mode == "fixed",
            extra={"mode": mode},
        )

    def resolved_config(self) -> Mapping[str, Any]:
        """All that the model has."""
        return {"vocab_size": toy_library.VOCABULARY}

    def generate(
        self, prompts: Sequence[IdArray], seeds: Sequence[int], progress: Progress
    ) -> list[Generation]:
        """Each completion is the next ids, one after the other."""
        made = []
        for prompt in prompts:
            new = self._settings.new_tokens(len(prompt))
            more = (int(prompt[-1]) + 1 + np.arange(new)) % toy_library.VOCABULARY
            ids = np.concatenate([prompt, more]).astype(np.int32)
            scores = self._scored(ids, first=len(prompt))
            made.append(Generation(ids, len(prompt), "length", scores))
            progress(1, len(ids))
        return made

    def score(self, sequences: Sequence[IdArray], progress: Progress) -> list[Scores]:
        """The same numbers in one pass."""
        scores = []
        if self._parts and "TOY_WAITS" in os.environ:
            threading.Event().wait()  # until whoever tests this ends it
        self._parts += 1
        for ids in sequences:
            scores.append(self._scored(ids, first=1))
            progress(1, len(ids))
        return scores

    def inspect(
        self, function: str, arguments: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """The model is its vocabulary."""
        return [dict(resolve(function)(toy_library.VOCABULARY, arguments))]

    def close(self) -> None:
        """Nothing to free."""

    def _scored(self, ids: IdArray, first: int) -> Scores:
        scores = Scores.empty(len(ids), self._settings.top_k)
        logprobs = toy_library.logprobs(ids, self._settings.spec.dtype)
        scores.logprob[first:] = logprobs[first:]
        scores.rank[first:] = 1
        if self._settings.top_k:
            scores.top_ids[first:, 0] = ids[first:]
            scores.top_logprobs[first:, 0] = logprobs[first:]
        return scores


def size(backend: Any, arguments: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Answer to the question ``size``."""
    answers = backend.inspect("logdrift.core.engines.toy.backend:size_of", arguments)
    return dict(answers[0])


def size_of(model: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Beside the model."""
    return {"ids": model}
