"""A loaded tensor whose entries cannot be seen, read through the module that holds it
(`logdrift.core.worker.weights_probe`).

Nothing is fed to a module that did not say what it takes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.worker.weights_compare import WeightsComparison
from logdrift.core.worker.weights_files import FLOATS, digest, dtype_name
from logdrift.core.worker.weights_map import Piece, is_head, without_adapter
from logdrift.core.worker.weights_probe import (
    CannotProbeError,
    Matrix,
    Probe,
    judge,
    matrix_of,
    probe,
)

Tensor = Any

SHARD = "this is a shard of {ranks} ranks"
_TURNED = ("c_attn", "c_proj", "c_fc")
"""GPT-2's Conv1D is stored the other way round; that matters for a square one, which
looks the same both ways.
"""


@dataclass(frozen=True)
class Asked:
    """What a module answered: ``matrix`` is what it multiplies by, ``turned`` are the
    ways round in which the stored tensors may be meant.
    """

    probe: Probe
    matrix: Matrix
    turned: tuple[bool, ...]
    device: Any


@dataclass(frozen=True)
class Asking:
    """Asks the modules of ``model``. ``note`` is a file that holds the name of a tensor
    while its module is being asked.
    """

    model: Any
    comparison: WeightsComparison
    note: Path | None

    def entries(
        self, name: str, tensor: Tensor, pieces: Sequence[Piece], why: str
    ) -> list[dict[str, Any]]:
        """What is known of each piece, in their order. Raises CannotProbeError.

        ``why`` is the reason that the tensor's entries cannot be seen.
        """
        module = module_of(self.model, name)
        matrix, turned = self._askable(module, name, tensor, pieces, why)
        with self._noted(name):
            answer = probe(module, matrix, tensor.device)
        asked = Asked(probe=answer, matrix=matrix, turned=turned, device=tensor.device)
        return [self._judged(asked, piece) for piece in pieces]

    def _askable(
        self,
        module: Any,
        name: str,
        tensor: Tensor,
        pieces: Sequence[Piece],
        why: str,
    ) -> tuple[Matrix, tuple[bool, ...]]:
        """What the module takes, and which ways round the stored tensors may be meant.

        Raises CannotProbeError unless everything agrees: the module says its sizes, and
        the files have these.
        """
        ranks = ranks_of(self.model, name)
        shard = SHARD.format(ranks=ranks)
        _, _, field = name.rpartition(".")
        is_weight = field in ("weight", "qweight")
        in_a_stack = pieces[0].expert is not None
        in_memory = module is not None and not tensor.is_meta
        if not is_weight or in_a_stack or not in_memory or why == shard:
            raise CannotProbeError("")
        shapes = self._stored_shapes(pieces)
        dtype = self.comparison.dtype
        if tensor.dtype in FLOATS:
            dtype = tensor.dtype
        matrix = matrix_of(module, tensor, dtype)
        turned = _ways_round(name, matrix, shapes)
        if turned:
            return matrix, turned
        if ranks > 1:
            raise CannotProbeError(shard)
        stored = " and ".join(_times(shape) for shape in shapes)
        raise CannotProbeError(
            f"its module takes {matrix.inputs} numbers and gives {matrix.outputs},"
            f" which is not what the files hold ({stored})"
        )

    def _stored_shapes(self, pieces: Sequence[Piece]) -> list[tuple[int, ...]]:
        """Raises CannotProbeError unless the stored tensors are matrices of floats."""
        disk = self.comparison.disk
        shapes = [disk.shapes[piece.name] for piece in pieces]
        dimensions = {len(shape) for shape in shapes}
        if dimensions != {2}:
            raise CannotProbeError("it is no matrix")
        dtypes = {disk.tensor(piece.name).dtype for piece in pieces}
        if not dtypes <= set(FLOATS):
            raise CannotProbeError("the files hold it quantised")
        return shapes

    def _judged(self, asked: Asked, piece: Piece) -> dict[str, Any]:
        """The stored tensor against what the module answered, the way round that is
        nearest.
        """
        file = self.comparison.disk.tensor(piece.name)
        dtype = asked.matrix.dtype
        verdicts = {turn: _judge(asked, file, piece, turn) for turn in asked.turned}

        def distance(turn: bool) -> tuple[bool, float]:
            verdict = verdicts[turn]
            return not verdict["same"], verdict["units"]

        turn = min(verdicts, key=distance)
        verdict = verdicts[turn]
        entry = {
            "dtype": dtype_name(dtype),
            "file_dtype": dtype_name(file.dtype),
            **verdict,
        }
        if verdict["same"]:
            every_column_was_read = verdict["columns"] == verdict["of"]
            if every_column_was_read:
                entry["digest"] = digest(file.to(dtype))
            return entry
        own_file = self._own_file(piece, file)
        if own_file is not None:
            own_verdict = _judge(asked, own_file, piece, turn)
            entry["own"] = own_verdict["same"]
        read = _read_rows(asked, piece, file, turn)
        if read is not None:
            entry |= self._read(read, file)
        return entry

    def _own_file(self, piece: Piece, file: Tensor) -> Tensor | None:
        """The same tensor in the engine's own files; None where these lack it or have
        it in another shape.
        """
        own = self.comparison.own
        if own is None:
            return None
        if own.shapes.get(piece.name) != tuple(file.shape):
            return None
        return own.tensor(piece.name)

    def _read(self, loaded: Tensor, file: Tensor) -> dict[str, Any]:
        """The digest of a tensor of which every column was read, and the kind of its
        difference.
        """
        loaded = loaded.contiguous()
        kind = self.comparison.kinds.of(loaded, file.to(loaded.dtype), file)
        return {"digest": digest(loaded), "kind": kind}

    @contextlib.contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """While a module is being asked, the agreed file holds the tensor's name."""
        if self.note is None:
            yield
            return
        with contextlib.suppress(OSError):
            self.note.write_text(name, encoding="utf-8")
        try:
            yield
        finally:
            self.note.unlink(missing_ok=True)


def _read_rows(asked: Asked, piece: Piece, file: Tensor, turn: bool) -> Tensor | None:
    """The piece as it was read through the module, in the shape of ``file``; None where
    not every column was read.
    """
    whole = asked.probe.whole
    if whole is None:
        return None
    rows = _turned(file, turn).shape[0]
    end = piece.start + rows
    read = whole[piece.start : end].to(asked.matrix.dtype)
    return _turned(read, turn)


def _turned(matrix: Tensor, turn: bool) -> Tensor:
    if turn:
        return matrix.T
    return matrix


def _judge(asked: Asked, file: Tensor, piece: Piece, turn: bool) -> dict[str, Any]:
    return judge(
        asked.probe,
        _turned(file, turn),
        start=piece.start,
        dtype=asked.matrix.dtype,
        device=asked.device,
    )


def module_of(model: Any, name: str) -> Any:
    """The module that holds the tensor ``name``; None where there is none."""
    module_name, _, _ = name.rpartition(".")
    try:
        return model.get_submodule(module_name)
    except AttributeError:
        return None


def ranks_of(model: Any, name: str) -> int:
    """Over how many tensor-parallel ranks the tensor ``name`` is spread."""
    module = module_of(model, name)
    ranks = getattr(module, "tp_size", 1)
    try:
        return int(ranks)
    except (TypeError, ValueError):
        return 1


def is_turned(name: str) -> bool:
    """Whether the tensor ``name`` is stored the other way round than it is used."""
    module, _, _ = without_adapter(name).rpartition(".")
    _, _, module_name = module.rpartition(".")
    return module_name in _TURNED


def _ways_round(
    name: str, matrix: Matrix, shapes: list[tuple[int, ...]]
) -> tuple[bool, ...]:
    """The ways round in which stored tensors of these shapes are what a module
    multiplies by (turned or not); none where they are not.
    """
    rows = sum(shape[0] for shape in shapes)
    columns = {shape[1] for shape in shapes}
    is_padded_head = is_head(name) and matrix.outputs > rows
    has_the_rows = matrix.outputs == rows or is_padded_head
    has_the_columns = columns == {matrix.inputs}
    fits_straight = has_the_rows and has_the_columns
    fits_turned = shapes == [(matrix.inputs, matrix.outputs)]
    if fits_straight and fits_turned and is_turned(name):
        return (False, True)
    if fits_straight:
        return (False,)
    if fits_turned:
        return (True,)
    return ()


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
