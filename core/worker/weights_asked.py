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
    ) -> Iterator[dict[str, Any]]:
        """What is known of each piece, in their order; ``why`` is the reason that its entries cannot be
        seen. Raises CannotProbeError.
        """
        module = module_of(self.model, name)
        matrix, turned = self._askable(module, name, tensor, pieces, why)
        with self._noted(name):
            answer = probe(module, matrix, tensor.device)
        asked = Asked(answer, matrix, turned, tensor.device)
        for piece in pieces:
            yield self._judged(asked, piece)

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
        shard = SHARD.format(ranks=ranks_of(self.model, name))
        is_weight = name.rpartition(".")[2] in ("weight", "qweight")
        in_a_stack = pieces[0].expert is not None
        if not is_weight or in_a_stack or tensor.is_meta or module is None:
            raise CannotProbeError("")
        if why == shard:
            raise CannotProbeError("")
        disk = self.comparison.disk
        shapes = [disk.shapes[piece.name] for piece in pieces]
        if any(len(shape) != 2 for shape in shapes):
            raise CannotProbeError("it is no matrix")
        if any(disk.tensor(piece.name).dtype not in FLOATS for piece in pieces):
            raise CannotProbeError("the files hold it quantised")
        is_float = tensor.dtype in FLOATS
        dtype = tensor.dtype if is_float else self.comparison.dtype
        matrix = matrix_of(module, tensor, dtype)
        turned = _ways_round(name, matrix, shapes)
        if turned:
            return matrix, turned
        if ranks_of(self.model, name) > 1:
            raise CannotProbeError(shard)
        raise CannotProbeError(
            f"its module takes {matrix.inputs} numbers and gives {matrix.outputs},"
            f" which is not what the files hold ({' and '.join(map(_times, shapes))})"
        )

    def _judged(self, asked: Asked, piece: Piece) -> dict[str, Any]:
        """The stored tensor against what the module answered, the way round that is
        nearest.
        """
        file = self.comparison.disk.tensor(piece.name)
        dtype = asked.matrix.dtype
        judged = [(_judge(asked, file, piece, turn), turn) for turn in asked.turned]
        best, turn = min(judged, key=lambda way: (not way[0]["same"], way[0]["units"]))
        entry = {
            "dtype": dtype_name(dtype),
            "file_dtype": dtype_name(file.dtype),
            **best,
        }
        if best["same"]:
            if best["columns"] == best["of"]:
                entry["digest"] = digest(file.to(dtype))
            return entry
        own = self.comparison.own
        if own is not None and own.shapes.get(piece.name) == tuple(file.shape):
            own_file = own.tensor(piece.name)
            entry["own"] = _judge(asked, own_file, piece, turn)["same"]
        if asked.probe.whole is not None:
            entry |= self._read(asked, file, piece, turn)
        return entry

    def _read(
        self, asked: Asked, file: Tensor, piece: Piece, turn: bool
    ) -> dict[str, Any]:
        """Of a tensor that the module gave away whole: its digest, and the kind of the
        difference.
        """
        assert asked.probe.whole is not None
        dtype = asked.matrix.dtype
        if turn:
            length = file.shape[1]
        else:
            length = file.shape[0]
        rows = asked.probe.whole[piece.start : piece.start + length]
        loaded = (rows.T if turn else rows).to(dtype).contiguous()
        kind = self.comparison.kinds.of(loaded, file.to(dtype), file)
        return {"digest": digest(loaded), "kind": kind}

    @contextlib.contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """The name of what is being asked stands in the agreed file meanwhile."""
        if self.note is None:
            yield
            return
        with contextlib.suppress(OSError):
            self.note.write_text(name, encoding="utf-8")
        try:
            yield
        finally:
            self.note.unlink(missing_ok=True)


def _judge(asked: Asked, file: Tensor, piece: Piece, turn: bool) -> dict[str, Any]:
    stored = file.T if turn else file
    dtype = asked.matrix.dtype
    return judge(asked.probe, stored, piece.start, dtype, asked.device)


def module_of(model: Any, name: str) -> Any:
    """The module that holds the tensor ``name``; None where there is none."""
    try:
        return model.get_submodule(name.rpartition(".")[0])
    except AttributeError:
        return None


def ranks_of(model: Any, name: str) -> int:
    """Over how many tensor-parallel ranks the tensor ``name`` is spread."""
    try:
        return int(getattr(model.get_submodule(name.rpartition(".")[0]), "tp_size", 1))
    except (AttributeError, TypeError, ValueError):
        return 1


def is_turned(name: str) -> bool:
    """Whether the tensor ``name`` is stored the other way round than it is used."""
    module = without_adapter(name).rpartition(".")[0]
    return module.rpartition(".")[2] in _TURNED


def _ways_round(
    name: str, matrix: Matrix, shapes: Sequence[tuple[int, ...]]
) -> tuple[bool, ...]:
    """The ways round in which stored tensors of these shapes are what a module
    multiplies by (turned or not); none where they are not.
    """
    rows = sum(shape[0] for shape in shapes)
    enough = matrix.outputs == rows or (is_head(name) and matrix.outputs > rows)
    straight = enough and all(shape[1] == matrix.inputs for shape in shapes)
    turned = len(shapes) == 1 and shapes[0] == (matrix.inputs, matrix.outputs)
    if not straight:
        if turned:
            return (True,)
        return ()
    if turned and is_turned(name):
        return False, True
    return (False,)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
