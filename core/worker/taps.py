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
from logdrift.core.worker.stack import Stack, first_of, rows_of

Tensor = Any
Entering = Callable[[Any, tuple[Any, ...], Mapping[str, Any]], Tensor]
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
        self._window = (0, -1)
        self._kept: dict[int, list[Tensor]] = {}
        self._error: Exception | None = None
        self.rows: list[Tensor] = []
        """The final norm's rows as the engine holds them: what its head takes."""
        self._handles = [
            layer.register_forward_pre_hook(self._before(index), with_kwargs=True)
            for index, layer in enumerate(stack.layers)
        ]
        self._hook_the_end()

    def _hook_the_end(self) -> None:
        """After the last layer: the final norm, or the last layer's own result."""
        last = len(self._stack.layers)
        norm = self._stack.norm
        if norm is None:
            layer = self._stack.layers[-1]
            self._handles.append(layer.register_forward_hook(self._after_last))
            return
        before = self._before(last)
        self._handles.append(norm.register_forward_pre_hook(before, with_kwargs=True))
        self._handles.append(norm.register_forward_hook(self._after_norm))

    @property
    def done(self) -> bool:
        """Whether the whole sequence has passed the last stage."""
        return self._length > 0 and self._at >= self._length

    def arm(self, length: int, first: int, last: int) -> None:
        """Keep these rows of the next sequence."""
        self._length = length
        self._at = 0
        self._window = (first, last)
        self._kept = {}
        self.rows = []

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """``stream`` and ``final`` of `logdrift.core.worker.layers.FILE`. Raises
        LogdriftError where not every stage gave every row.
        """
        if self._error is not None:
            raise LogdriftError(
                f"the layers could not be read: {type(self._error).__name__}:"
                f" {self._error}"
            )
        stages = [torch.cat(chunks).numpy() for _, chunks in sorted(self._kept.items())]
        self._check_complete(stages)
        arrays = {"stream": np.stack(stages)}
        if self.rows:
            final = [rows.float().cpu() for rows in self.rows]
            arrays["final"] = torch.cat(final).numpy()
        return arrays

    def _check_complete(self, stages: list[npt.NDArray[Any]]) -> None:
        expected = len(self._stack.layers) + 1
        first, last = self._window
        positions = last - first + 1
        have_every_row = all(len(stage) == positions for stage in stages)
        if not self.done or len(stages) != expected or not have_every_row:
            raise LogdriftError(
                f"the hooks saw {len(stages)} of {expected} stages and {self._at} of"
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
        first, last = self._window
        start = first - self._at
        stop = min(rows, last + 1 - self._at)
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

    def _before(self, stage: int) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            def keep() -> None:
                self._keep(stage, self._entering(module, args, kwargs))

            self._guard(keep)

        return hook

    def _keep(self, stage: int, stream: Tensor) -> None:
        stream = rows_of(stream)
        rows = stream[self._slice(len(stream))].float().cpu()
        self._kept.setdefault(stage, []).append(rows)

    def _after_norm(self, module: Any, args: Any, output: Any) -> None:
        def keep() -> None:
            normed = rows_of(first_of(output))
            self.rows.append(normed[self._slice(len(normed))].clone())
            self._at += len(normed)

        self._guard(keep)

    def _after_last(self, module: Any, args: Any, output: Any) -> None:
        def keep() -> None:
            stream = rows_of(first_of(output))
            self._keep(len(self._stack.layers), stream)
            self._at += len(stream)

        self._guard(keep)


def head_arrays(
    logits: Callable[[int, int], Tensor], rows: int, head_ids: npt.ArrayLike
) -> dict[str, npt.NDArray[Any]]:
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
        count = min(TOP, chunk.shape[-1])
        best = chunk.topk(count, dim=-1)
        picked.append(chunk[:, columns.to(chunk.device)].cpu())
        top_ids.append(best.indices.to(torch.int32).cpu())
        top_logits.append(best.values.cpu())
    return {
        "head_ids": ids,
        "logits": torch.cat(picked).numpy(),
        "top_ids": torch.cat(top_ids).numpy(),
        "top_logits": torch.cat(top_logits).numpy(),
    }
