"""Reading the weights of a loaded model, in the process that holds it, beside the files
on disk.

A tensor that is stored the other way round than it is loaded is compared, and digested,
the way it is stored. Nothing is written to the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from logdrift.core.engines.about import resolve
from logdrift.core.worker.weights_asked import (
    SHARD,
    Asking,
    is_turned,
    module_of,
    ranks_of,
)
from logdrift.core.worker.weights_compare import WeightsComparison
from logdrift.core.worker.weights_config import config_answer
from logdrift.core.worker.weights_files import FLOATS, Files, digest, dtype_name
from logdrift.core.worker.weights_kind import Kinds
from logdrift.core.worker.weights_map import Names, Piece, is_embedding, is_head
from logdrift.core.worker.weights_probe import CannotProbeError

__all__ = ["digest", "read"]

Tensor = Any

_UNLIKE = 0.5
"""Relative L2 from which a tensor has next to nothing of the other: two unrelated ones
of one size are at 1.4.
"""
_OTHER_ORDER = "the engine keeps its numbers in another order"
_OPTIONAL_FIELDS = ("digest", "l2", "share", "reason", "note", "own", "kind")
"""Fields of an entry that are None where nothing is known of them."""


def read(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``{tensors, tied, config, config_differs, extra}`` of ``model`` against the files
    of ``arguments["folder"]``.

    ``{"error": ...}`` in one line where there is nothing to compare with. Where
    ``arguments["probing"]`` names a file, it holds the name of a tensor while its
    module is being asked: a kernel that kills the process leaves it behind.
    ``arguments["unpack"]`` names a function ``(module, tensor) -> tensor or None`` of
    an engine that keeps tensors in an order of its own: it gives them as they were
    loaded, None where that cannot be told.
    """
    try:
        disk = Files(Path(str(arguments["folder"])))
        own_folder = arguments.get("own")
        own = Files(Path(str(own_folder))) if own_folder else None
    except Exception as error:  # safetensors has errors of its own
        words = f"{type(error).__name__}: {str(error)[:200]}"
        return {"error": f"the model's files cannot be read: {words}"}
    if not disk.shapes:
        return {
            "error": (
                "the session's model has no safetensors: weights in other formats are"
                " not read"
            )
        }
    note = arguments.get("probing")
    unpack = arguments.get("unpack")
    return _WeightsReading(
        model=model,
        disk=disk,
        own=own,
        note=None if note is None else Path(str(note)),
        unpack=_as_loaded if unpack is None else resolve(str(unpack)),
    ).answer()


def _as_loaded(module: Any, tensor: Tensor) -> Tensor | None:
    """The engine keeps no order of its own."""
    return None


Ways = tuple[Tensor, ...]
"""A part of a loaded tensor as the files may have it: the ways round in which it may be
meant.
"""


class _UnreadableError(Exception):
    """A loaded tensor cannot be compared entry by entry, for this reason."""


class _WeightsReading:
    """One model against its files. Entries are by the names on disk."""

    def __init__(
        self,
        *,
        model: Any,
        disk: Files,
        own: Files | None,
        note: Path | None,
        unpack: Callable[[Any, Tensor], Tensor | None],
    ) -> None:
        self.model = model
        self.disk = disk
        self.names = Names(disk.shapes, _packed(model))
        self.loaded = _loaded(model, self.names)
        self.entries: dict[str, dict[str, Any]] = {}
        self.extra: list[str] = []
        self.tied = _tied(self.loaded)
        dtype = _compute_dtype(self.loaded)
        self.comparison = WeightsComparison(
            disk=disk, own=own, dtype=dtype, kinds=Kinds()
        )
        self.asking = Asking(model, self.comparison, note)
        self._unpack = unpack

    def answer(self) -> dict[str, Any]:
        """What `read` answers."""
        for name, tensor in _without_aliases(self.loaded):
            try:
                self._tensor(name, tensor)
            # tensors of a library's own class: one that cannot be read fails alone
            except Exception as error:
                reason = f"reading it failed ({type(error).__name__})"
                self._unread(name, tensor, reason)
        for name in self.disk.shapes:
            if name not in self.entries:
                self._absent(name)
        return {
            "tensors": list(self.entries.values()),
            "tied": self._tie(),
            "extra": sorted(self.extra),
            **config_answer(self.model, self.disk.config()),
        }

    def _tensor(self, name: str, tensor: Tensor) -> None:
        pieces = self.names.pieces(name)
        if pieces is None:
            self.extra.append(name)
            return
        try:
            parts = self._parts(name, tensor, pieces)
            compared = self._compared(parts, pieces)
            if _is_unlike(compared):
                compared = self._reordered(name, tensor, pieces, compared)
        except _UnreadableError as error:
            self._asked(name, tensor, pieces, str(error))
            return
        for piece, entry in zip(pieces, compared, strict=True):
            self._put(name, piece, entry)

    def _compared(
        self, parts: Sequence[Ways], pieces: Sequence[Piece]
    ) -> list[dict[str, Any]]:
        pairs = zip(parts, pieces, strict=True)
        return [self.comparison.nearest(ways, piece) for ways, piece in pairs]

    # -- tensors whose entries can be seen

    def _parts(self, name: str, tensor: Tensor, pieces: Sequence[Piece]) -> list[Ways]:
        """The loaded tensor's part for each piece. Raises _UnreadableError."""
        if tensor.is_meta:
            raise _UnreadableError("it is not in memory (offloaded)")
        if tensor.numel() == 0:
            raise _UnreadableError("the engine keeps it packed for its kernels")
        if tensor.dtype not in FLOATS:
            raise _UnreadableError(f"the engine keeps it as {dtype_name(tensor.dtype)}")
        stored = self.disk.shapes[pieces[0].name]
        in_a_stack = pieces[0].expert is not None
        shape = tuple(tensor.shape[1:] if in_a_stack else tensor.shape)
        turned_shape = len(stored) == 2 and shape == stored[::-1]
        if self._has_its_rows(name, shape, pieces):
            turned = is_turned(name) and turned_shape
            return [_ways(self._part(tensor, piece), turned) for piece in pieces]
        if len(pieces) == 1 and turned_shape:
            whole = _of_expert(tensor, pieces[0])
            return [(whole.T,)]
        ranks = ranks_of(self.model, name)
        if ranks > 1:
            raise _UnreadableError(SHARD.format(ranks=ranks))
        raise _UnreadableError(
            f"the engine keeps it as {list(tensor.shape)}, the files as {list(stored)}"
        )

    def _has_its_rows(
        self, name: str, shape: tuple[int, ...], pieces: Sequence[Piece]
    ) -> bool:
        """Whether a loaded shape is that of the stored pieces stacked by rows. A head
        or an embedding may have more rows (padding).
        """
        stored = self.disk.shapes[pieces[0].name]
        if shape[1:] != stored[1:]:
            return False
        rows = max(piece.stop for piece in pieces)
        if not stored or shape[0] == rows:
            return True
        may_be_padded = is_head(name) or is_embedding(name)
        return may_be_padded and shape[0] > rows

    def _part(self, tensor: Tensor, piece: Piece) -> Tensor:
        part = _of_expert(tensor, piece)
        is_scalar = not self.disk.shapes[piece.name]
        if is_scalar:
            return part
        return part[piece.start : piece.stop]

    def _reordered(
        self,
        name: str,
        tensor: Tensor,
        pieces: Sequence[Piece],
        compared: list[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """The entries once a kernel's own order is undone; ``compared`` where the
        numbers themselves differ, in whatever order.

        Raises _UnreadableError where the numbers are right and only their order is
        unknown.
        """
        module = module_of(self.model, name)
        loaded = None if module is None else self._unpack(module, tensor)
        if loaded is not None:
            parts = [(self._part(loaded, piece),) for piece in pieces]
            return self._compared(parts, pieces)
        experts: dict[int | None, list[Piece]] = {}
        for piece in pieces:
            experts.setdefault(piece.expert, []).append(piece)
        has_the_numbers = {
            expert: self._has_the_numbers(tensor, of_expert)
            for expert, of_expert in experts.items()
        }
        if not any(has_the_numbers.values()):
            return compared
        if all(has_the_numbers.values()):
            raise _UnreadableError(_OTHER_ORDER)
        entries = {
            expert: _expert_entry(tensor, experts[expert], has_them)
            for expert, has_them in has_the_numbers.items()
        }
        return [dict(entries[piece.expert]) for piece in pieces]

    def _has_the_numbers(self, tensor: Tensor, pieces: Sequence[Piece]) -> bool:
        """Whether a loaded tensor has the stored numbers, rearranged for a kernel (or
        by mistake).
        """
        files = [self.disk.tensor(piece.name).to(tensor.dtype) for piece in pieces]
        parts = [self._part(tensor, piece).cpu() for piece in pieces]
        return bool(torch.equal(_sorted_numbers(parts), _sorted_numbers(files)))

    # -- tensors that are read through their module

    def _asked(
        self, name: str, tensor: Tensor, pieces: Sequence[Piece], why: str
    ) -> None:
        try:
            entries = self.asking.entries(name, tensor, pieces, why)
            for piece, entry in zip(pieces, entries, strict=True):
                self._put(name, piece, {"how": "probe", "reason": why, **entry})
        except CannotProbeError as error:
            reason = f"{why}, and {error}" if str(error) else why
            self._unread(name, tensor, reason)

    # -- the answer

    def _unread(self, name: str, tensor: Tensor, reason: str) -> None:
        entry = {"how": None, "same": None, "reason": reason}
        for piece in self.names.pieces(name) or ():
            self._put(name, piece, {**entry, "dtype": dtype_name(tensor.dtype)})

    def _put(self, loaded: str, piece: Piece, entry: Mapping[str, Any]) -> None:
        """Keep an entry under the name on disk, or under the loaded name for a head
        that is compared with the stored embedding. A known verdict is never replaced.
        """
        is_tied_head = is_head(loaded) and is_embedding(piece.name)
        name = loaded if is_tied_head else piece.name
        known = self.entries.get(name)
        if known is None:
            file_digest = digest(self.disk.tensor(piece.name))
        elif known["same"] is not None:
            return
        else:
            file_digest = known["file_digest"]
        self.entries[name] = {
            "name": name,
            "loaded": loaded,
            "shape": list(self.disk.shapes[piece.name]),
            "file_digest": file_digest,
            **dict.fromkeys(_OPTIONAL_FIELDS),
            **entry,
        }

    def _absent(self, name: str) -> None:
        if is_head(name) and self.tied is True and self._is_the_embedding(name):
            return
        reason = "the loaded model has no tensor of this name"
        entry = {"how": None, "same": None, "reason": reason, "dtype": None}
        self._put(name, Piece(name, 0, 0), entry)

    def _is_the_embedding(self, head: str) -> bool:
        """Compare a tied head that the files store too with the loaded embedding; False
        where that has another shape.
        """
        stored = self.disk.shapes[head]
        for name, tensor in self.loaded:
            if not is_embedding(name) or not tensor.numel():
                continue
            if tuple(tensor.shape[1:]) != stored[1:]:
                return False
            part = tensor[: stored[0]]
            piece = Piece(head, 0, len(part))
            self._put(name, piece, self.comparison.nearest((part,), piece))
            return True
        return False

    def _tie(self) -> dict[str, Any]:
        config = self.disk.config()
        of_text = config.get("text_config", {}).get("tie_word_embeddings")
        return {
            "loaded": self.tied,
            "config": config.get("tie_word_embeddings", of_text),
            "file_has_head": self.names.head is not None,
        }


def _of_expert(tensor: Tensor, piece: Piece) -> Tensor:
    """The piece's expert of a stack of experts; ``tensor`` itself where it is none."""
    if piece.expert is None:
        return tensor
    return tensor[piece.expert]


def _expert_entry(
    tensor: Tensor, pieces: Sequence[Piece], has_the_numbers: bool
) -> dict[str, Any]:
    """What is known of the ``pieces`` of one expert whose loaded tensor is in an order
    of its own. Numbers that are not those on disk differ in any order.
    """
    known = {"dtype": dtype_name(tensor.dtype), "reason": _OTHER_ORDER}
    if has_the_numbers:
        return {**known, "how": None, "same": None}
    if len(pieces) == 1:
        return {**known, "how": "numbers", "same": False}
    names = " and ".join(piece.name for piece in pieces)
    reason = f"{_OTHER_ORDER}, and those of {names} together are not those on disk"
    return {**known, "how": None, "same": None, "reason": reason}


def _compute_dtype(loaded: Sequence[tuple[str, Tensor]]) -> Any:
    """The dtype of the first matrix of numbers; None where there is none."""
    for _, tensor in loaded:
        if tensor.dtype in FLOATS and tensor.ndim == 2:
            return tensor.dtype
    return None


def _without_aliases(
    loaded: Sequence[tuple[str, Tensor]],
) -> Iterator[tuple[str, Tensor]]:
    """One tensor under two names, as a tied head is, goes by the first of them."""
    seen = set()
    for name, tensor in loaded:
        place = (
            tensor.data_ptr(),
            tuple(tensor.shape),
            tensor.stride(),
            tensor.dtype,
        )
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        yield name, tensor


def _sorted_numbers(tensors: Sequence[Tensor]) -> Tensor:
    """float32[N]: all their numbers, the smallest first."""
    return torch.cat([t.reshape(-1) for t in tensors]).float().sort().values


def _packed(model: Any) -> dict[str, Sequence[str]]:
    """What the model's class says that it fuses: name -> names of its parts."""
    mapping = getattr(model, "packed_modules_mapping", None)
    if not isinstance(mapping, Mapping):
        return {}
    return {
        fused: parts
        for fused, parts in mapping.items()
        if isinstance(parts, (list, tuple))
    }


def _loaded(model: Any, names: Names) -> list[tuple[str, Tensor]]:
    """Parameters, and those buffers that a checkpoint stores, under all of their
    names.
    """
    parameters = model.named_parameters(remove_duplicate=False)
    buffers = model.named_buffers(remove_duplicate=False)
    stored = ((name, tensor) for name, tensor in buffers if names.find(name))
    return [(name, tensor.detach()) for name, tensor in (*parameters, *stored)]


def _tied(loaded: Sequence[tuple[str, Tensor]]) -> bool | None:
    """Whether head and input embedding are one tensor; None where one of them cannot be
    seen.
    """
    filled = [(name, tensor) for name, tensor in loaded if tensor.numel()]
    heads = [tensor for name, tensor in filled if is_head(name)]
    inputs = [tensor for name, tensor in filled if is_embedding(name)]
    if not inputs:
        return None
    if not heads:
        # SGLang and vLLM may call one module by one name only.
        has_an_empty_head = any(is_head(name) for name, _ in loaded)
        return None if has_an_empty_head else True
    return bool(heads[0].data_ptr() == inputs[0].data_ptr())


def _ways(part: Tensor, turned: bool) -> Ways:
    if turned:
        return (part, part.T)
    return (part,)


def _is_unlike(entries: Sequence[Mapping[str, Any]]) -> bool:
    distances = [entry.get("l2") or 0.0 for entry in entries]
    return any(distance > _UNLIKE for distance in distances)
