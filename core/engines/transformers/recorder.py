"""The model's logits while it samples, taken before anything changes them."""

from __future__ import annotations

from typing import Any

import transformers

from logdrift.core.worker.base import Scores, check_length, first_rows
from logdrift.core.worker.reduce import Reducer

Tensor = Any
_ROWS = 16
"""Rows that are kept until the tokens drawn from them are known."""


class Recorder(transformers.LogitsProcessor):  # type: ignore[misc,name-defined,unused-ignore]
    """First in the list of processors, where the scores are the model's logits in
    float32, and passes them on.

    In transformers 5.19.0 (generation/utils.py `_get_logits_processor`) processors
    given by the caller come after those made from the generation config (penalties,
    biases: none is configured) and before temperature, top-k, top-p and min-p. Rows are
    reduced some at a time, once the tokens drawn from them are known.
    """

    def __init__(self, scores: Scores, prompt_length: int, reducer: Reducer) -> None:
        self._scores = scores
        self._at = prompt_length
        self._reducer = reducer
        self._rows: Tensor | None = None
        self._pending = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._rows is None:
            self._rows = scores.new_empty((_ROWS, scores.shape[-1]))
        if self._pending == _ROWS:
            self._flush(input_ids[0])
        self._rows[self._pending].copy_(scores[0])
        self._pending += 1
        return scores

    def finish(self, ids: Tensor) -> Scores:
        """Scores of ``ids`` int64[T] (prompt + completion); raises MismatchError unless
        every new id has its row.
        """
        self._flush(ids)
        length = int(ids.shape[0])
        check_length(self._at, length, "recorded logits")
        return first_rows(self._scores, length)

    def _flush(self, ids: Tensor) -> None:
        targets = ids[self._at : self._at + self._pending]
        check_length(int(targets.shape[0]), self._pending, "recorded logits")
        if self._rows is not None:
            self._reducer.into(
                self._scores, self._at, self._rows[: self._pending], targets
            )
        self._at += self._pending
        self._pending = 0
