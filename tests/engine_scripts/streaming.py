"""Asking a backend in full batches, as a worker does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def streamed(
    backend: Any, path: str, sequences: Sequence[Any], seeds: Sequence[int] = ()
) -> list[Any]:
    """The answers about ``sequences``, in their order; prompts where ``path`` is
    ``decode``.
    """
    from logdrift.core.worker.base import AskedSequence

    waiting = [
        AskedSequence(
            number=number,
            ids=ids,
            prompt_length=len(ids) if path == "decode" else min(3, len(ids)),
            what=f"sequence {number}",
            seed=seeds[number] if seeds else 0,
        )
        for number, ids in enumerate(sequences)
    ]
    left = iter(waiting)
    found = {
        asked.number: answer
        for asked, answer in backend.stream(path, lambda: next(left, None))
    }
    assert next(left, None) is None
    return [found[one.number] for one in waiting]
