"""Hooks on a stack of layers that keep its residual stream, and the head's logits of
it. Runs inside engines.

Hooks fire only in eager mode. A prompt may come in several chunks; rows are counted
from the first of them. With tensor parallelism every rank has the whole stream. Run on
CPUs so far, not yet on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from logdrift.core.errors import LogdriftError
from logdrift.core.worker import stack as stacks
from logdrift.core.worker.stack import Arguments, Stack, first_of, rows_of

Tensor = Any
Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Entering = Callable[[Any, Arguments, Mapping[str, Any]], Tensor]
"""(module, args, kwargs) -> the stream that the module is called with, f32[T, H]."""
TOP = 20
HEAD_ROWS = 32
"""Rows that go through the head at a time: all logits of all positions are never held.
"""


class Taps:
    """Hooks on a stack that keep rows ``first .. last`` (both included) of one sequence
    of ``length`` tokens.

    Nothing is kept before `arm` and after the whole sequence has passed, so a decoded
    token behind it is not mistaken for it. What goes wrong in a hook is raised by
    `arrays`: an exception in the engine's own pass would end it. ``entering`` is for an
    engine that keeps the stream elsewhere than in the arguments of its layers.
    """

    def __init__(self, stack: Stack, entering: Entering = stacks.entering) -> None:
        self._stack = stack
        self._entering = entering
        self._length = 0
        self._at = 0
        self._first = 0
        self._last = -1
        self._kept: dict[int, list[Tensor]] = {}
        self._error: Exception | None = None
        self.rows: list[Tensor] = []
        """The final norm's rows as the engine holds them: what its head takes."""
        self._handles: list[Any] = []
        for index, layer in enumerate(stack.layers):
            self._hook_before(layer, index)
        self._hook_the_end()

    def _hook_before(self, module: Any, stage: int) -> None:
        """Keep the stream that enters ``module`` as that of ``stage``."""

        def hook(module: Any, args: Arguments, kwargs: Mapping[str, Any]) -> None:
            def keep() -> None:
                stream = self._entering(module, args, kwargs)
                self._keep(stage, stream)

            self._guard(keep)

        handle = module.register_forward_pre_hook(hook, with_kwargs=True)
        self._handles.append(handle)

    def _hook_the_end(self) -> None:
        """After the last layer: the final norm, or the last layer's own result."""
        layers = self._stack.layers
        norm = self._stack.norm
        if norm is None:
            handle = layers[-1].register_forward_hook(self._after_last)
        else:
            self._hook_before(norm, len(layers))
            handle = norm.register_forward_hook(self._after_norm)
        self._handles.append(handle)

    @property
    def done(self) -> bool:
        """Whether the whole sequence has passed the last stage."""
        return self._length > 0 and self._at >= self._length

    def arm(self, length: int, first: int, last: int) -> None:
        """Keep these rows of the next sequence."""
        self._length = length
        self._at = 0
        self._first = first
        self._last = last
        self._kept = {}
        self.rows = []

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def arrays(self) -> Arrays:
        """``stream`` and ``final`` of `logdrift.core.worker.layers.FILE`. Raises
        LogdriftError where not every stage gave every row.
        """
        error = self._error
        if error is not None:
            kind = type(error).__name__
            raise LogdriftError(f"the layers could not be read: {kind}: {error}")
        stages = []
        for stage in sorted(self._kept):
            chunks = self._kept[stage]
            stages.append(_joined(chunks))
        self._check_complete(stages)
        arrays = {"stream": np.stack(stages)}
        if self.rows:
            final = [rows.float().cpu() for rows in self.rows]
            arrays["final"] = _joined(final)
        return arrays

    def _check_complete(self, stages: list[Array]) -> None:
        seen = len(stages)
        expected = len(self._stack.layers) + 1
        positions = self._last - self._first + 1
        have_every_row = all(len(stage) == positions for stage in stages)
        if self.done and seen == expected and have_every_row:
            return
        raise LogdriftError(
            f"the hooks saw {seen} of {expected} stages and {self._at} of"
            f" {self._length} tokens: the model does not run layer by layer in"
            " eager mode"
        )

    def _slice(self, rows: int) -> slice:
        """Which rows of this chunk are kept."""
        left = self._length - self._at
        if rows > left:
            raise LogdriftError(
                f"the engine ran {rows} rows where {left} of the sequence are left"
            )
        start = self._first - self._at
        end = self._last + 1 - self._at
        stop = min(rows, end)
        return slice(max(0, start), max(0, stop))

    def _guard(self, keep: Callable[[], None]) -> None:
        """Call ``keep`` while a sequence passes, and remember its error instead of
        raising it in the engine's own pass.
        """
        is_passing = self._length > 0 and not self.done
        if self._error is not None or not is_passing:
            return
        try:
            keep()
        except Exception as error:
            self._error = error

    def _keep(self, stage: int, stream: Tensor) -> None:
        stream = rows_of(stream)
        kept = self._slice(len(stream))
        rows = stream[kept].float().cpu()
        chunks = self._kept.setdefault(stage, [])
        chunks.append(rows)

    def _after_norm(self, module: Any, args: Any, output: Any) -> None:
        def keep() -> None:
            normed = rows_of(first_of(output))
            kept = self._slice(len(normed))
            self.rows.append(normed[kept].clone())
            self._at += len(normed)

        self._guard(keep)

    def _after_last(self, module: Any, args: Any, output: Any) -> None:
        def keep() -> None:
            stream = rows_of(first_of(output))
            last_stage = len(self._stack.layers)
            self._keep(last_stage, stream)
            self._at += len(stream)

        self._guard(keep)


def head_arrays(
    logits: Callable[[int, int], Tensor], rows: int, head_ids: npt.ArrayLike
) -> Arrays:
    """The head's part of `logdrift.core.worker.layers.FILE`. ``logits(start, stop)``
    gives [stop - start, V] of those rows.
    """
    ids = np.asarray(head_ids, np.int32)
    columns = torch.as_tensor(ids.astype(np.int64))
    picked = []
    top_ids = []
    top_logits = []
    for start in range(0, rows, HEAD_ROWS):
        stop = min(rows, start + HEAD_ROWS)
        chunk = logits(start, stop).float()
        vocab = chunk.shape[-1]
        best = chunk.topk(min(TOP, vocab), dim=-1)
        columns_there = columns.to(chunk.device)
        of_ids = chunk[:, columns_there]
        best_ids = best.indices.to(torch.int32)
        picked.append(of_ids.cpu())
        top_ids.append(best_ids.cpu())
        top_logits.append(best.values.cpu())
    return {
        "head_ids": ids,
        "logits": _joined(picked),
        "top_ids": _joined(top_ids),
        "top_logits": _joined(top_logits),
    }


def _joined(chunks: list[Tensor]) -> Array:
    joined: Array = torch.cat(chunks).numpy()
    return joined
