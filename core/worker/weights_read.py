"""Reading the weights of a loaded model, in the process that holds it, beside the files
on disk.

A tensor that is stored the other way round than it is loaded is compared, and digested,
the way it is stored. Nothing is written to the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from logdrift.core.worker.weights_loaded import (
    compute_dtype,
    fused_names,
    is_tied,
    loaded_tensors,
    with_entries,
    without_aliases,
)
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
    loaded, None where it does not know that order.
    """
    own_folder = arguments.get("own")
    try:
        disk = _files(arguments["folder"])
        own = _files(own_folder) if own_folder else None
    except Exception as error:  # safetensors has errors of its own
        kind = type(error).__name__
        words = str(error)[:200]
        return {"error": f"the model's files cannot be read: {kind}: {words}"}
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


def _files(folder: Any) -> Files:
    return Files(Path(str(folder)))


def _as_loaded(module: Any, tensor: Tensor) -> Tensor | None:
    """The engine keeps no order of its own."""
    return None


Entry = dict[str, Any]
"""What is known of one tensor, JSON-ready; by the fields of `read`'s tensors."""


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
        self.names = Names(disk.shapes, fused_names(model))
        self.loaded = loaded_tensors(model, self.names)
        self.entries: dict[str, Entry] = {}
        self.extra: list[str] = []
        self.tied = is_tied(self.loaded)
        self.comparison = WeightsComparison(
            disk=disk,
            own=own,
            dtype=compute_dtype(self.loaded),
            kinds=Kinds(),
        )
        self.asking = Asking(model, self.comparison, note)
        self._unpack = unpack

    def answer(self) -> dict[str, Any]:
        """What `read` answers."""
        for name, tensor in without_aliases(self.loaded):
            try:
                self._tensor(name, tensor)
            # tensors of a library's own class: one that cannot be read fails alone
            except Exception as error:
                kind = type(error).__name__
                self._unread(name, tensor, f"reading it failed ({kind})")
        for name in self.disk.shapes:
            if name not in self.entries:
                self._absent(name)
        config = config_answer(self.model, self.disk.config())
        return {
            "tensors": list(self.entries.values()),
            "tied": self._tie(),
            "extra": sorted(self.extra),
            **config,
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

    def _compared(self, parts: Sequence[Ways], pieces: Sequence[Piece]) -> list[Entry]:
        entries = []
        for ways, piece in zip(parts, pieces, strict=True):
            entries.append(self.comparison.nearest(ways, piece))
        return entries

    # -- tensors whose entries can be seen

    def _parts(self, name: str, tensor: Tensor, pieces: Sequence[Piece]) -> list[Ways]:
        """The loaded tensor's part for each piece. Raises _UnreadableError."""
        _check_readable(tensor)
        first = pieces[0]
        stored = self.disk.shapes[first.name]
        in_a_stack = first.expert is not None
        shape = tuple(tensor.shape)
        if in_a_stack:
            shape = shape[1:]
        turned_shape = len(stored) == 2 and shape == stored[::-1]
        if self._has_its_rows(name, shape, pieces):
            may_be_turned = turned_shape and is_turned(name)
            parts = [self._part(tensor, piece) for piece in pieces]
            return [_ways(part, may_be_turned) for part in parts]
        if turned_shape and len(pieces) == 1:
            whole = _of_expert(tensor, first)
            return [(whole.T,)]
        ranks = ranks_of(self.model, name)
        if ranks > 1:
            raise _UnreadableError(SHARD.format(ranks=ranks))
        own_shape = list(tensor.shape)
        raise _UnreadableError(
            f"the engine keeps it as {own_shape}, the files as {list(stored)}"
        )

    def _has_its_rows(
        self, name: str, shape: tuple[int, ...], pieces: Sequence[Piece]
    ) -> bool:
        """Whether a loaded shape is that of the stored pieces stacked by rows. A head
        or an embedding may have more rows (padding).
        """
        first = pieces[0]
        stored = self.disk.shapes[first.name]
        if shape[1:] != stored[1:]:
            return False
        if not stored:
            return True
        rows = shape[0]
        stored_rows = max(piece.stop for piece in pieces)
        if _may_be_padded(name):
            return rows >= stored_rows
        return rows == stored_rows

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
        compared: list[Entry],
    ) -> list[Entry]:
        """The entries once a kernel's own order is undone; ``compared`` where the
        numbers themselves differ, in whatever order.

        Raises _UnreadableError where the numbers are right and only their order is
        unknown.
        """
        unpacked = self._unpacked(name, tensor)
        if unpacked is not None:
            parts = [(self._part(unpacked, piece),) for piece in pieces]
            return self._compared(parts, pieces)
        return self._by_numbers(tensor, pieces, compared)

    def _unpacked(self, name: str, tensor: Tensor) -> Tensor | None:
        """The tensor in the order in which it was loaded; None where that is not
        known.
        """
        module = module_of(self.model, name)
        if module is None:
            return None
        return self._unpack(module, tensor)

    def _by_numbers(
        self, tensor: Tensor, pieces: Sequence[Piece], compared: list[Entry]
    ) -> list[Entry]:
        """As `_reordered`, where only the sorted numbers can be compared: an expert at
        a time, in a stack of experts.
        """
        experts = _by_expert(pieces)
        complete = set()
        for expert, of_expert in experts.items():
            if self._has_the_numbers(tensor, of_expert):
                complete.add(expert)
        if not complete:
            return compared
        if len(complete) == len(experts):
            raise _UnreadableError(_OTHER_ORDER)
        entries = {}
        for expert, of_expert in experts.items():
            has_the_numbers = expert in complete
            entries[expert] = _expert_entry(tensor, of_expert, has_the_numbers)
        return [dict(entries[piece.expert]) for piece in pieces]

    def _has_the_numbers(self, tensor: Tensor, pieces: Sequence[Piece]) -> bool:
        """Whether a loaded tensor has the stored numbers, rearranged for a kernel (or
        by mistake).
        """
        files = []
        parts = []
        for piece in pieces:
            stored = self.disk.tensor(piece.name)
            part = self._part(tensor, piece)
            files.append(stored.to(tensor.dtype))
            parts.append(part.cpu())
        loaded_numbers = _sorted_numbers(parts)
        stored_numbers = _sorted_numbers(files)
        return bool(torch.equal(loaded_numbers, stored_numbers))

    # -- tensors that are read through their module

    def _asked(
        self, name: str, tensor: Tensor, pieces: Sequence[Piece], why: str
    ) -> None:
        try:
            entries = self.asking.entries(name, tensor, pieces, why)
        except CannotProbeError as error:
            reason = f"{why}, and {error}" if str(error) else why
            self._unread(name, tensor, reason)
            return
        for piece, entry in zip(pieces, entries, strict=True):
            probed = {"how": "probe", "reason": why, **entry}
            self._put(name, piece, probed)

    # -- the answer

    def _unread(self, name: str, tensor: Tensor, reason: str) -> None:
        entry = {
            "how": None,
            "same": None,
            "reason": reason,
            "dtype": dtype_name(tensor.dtype),
        }
        for piece in self.names.pieces(name) or ():
            self._put(name, piece, entry)

    def _put(self, loaded: str, piece: Piece, entry: Mapping[str, Any]) -> None:
        """Keep an entry under the name on disk, or under the loaded name for a head
        that is compared with the stored embedding. A known verdict is never replaced.
        """
        is_tied_head = is_head(loaded) and is_embedding(piece.name)
        name = loaded if is_tied_head else piece.name
        known = self.entries.get(name)
        if known is None:
            stored = self.disk.tensor(piece.name)
            file_digest = digest(stored)
        elif known["same"] is not None:
            return
        else:
            file_digest = known["file_digest"]
        shape = self.disk.shapes[piece.name]
        optional = dict.fromkeys(_OPTIONAL_FIELDS)
        self.entries[name] = {
            "name": name,
            "loaded": loaded,
            "shape": list(shape),
            "file_digest": file_digest,
            **optional,
            **entry,
        }

    def _absent(self, name: str) -> None:
        is_tied_head = is_head(name) and self.tied is True
        if is_tied_head and self._is_the_embedding(name):
            return
        reason = "the loaded model has no tensor of this name"
        entry = {"how": None, "same": None, "reason": reason, "dtype": None}
        whole = Piece(name, 0, 0)
        self._put(name, whole, entry)

    def _is_the_embedding(self, head: str) -> bool:
        """Compare a tied head that the files store too with the loaded embedding; False
        where that has another shape.
        """
        stored = self.disk.shapes[head]
        for name, tensor in with_entries(self.loaded):
            if not is_embedding(name):
                continue
            if tuple(tensor.shape[1:]) != stored[1:]:
                return False
            part = tensor[: stored[0]]
            piece = Piece(head, 0, len(part))
            entry = self.comparison.nearest((part,), piece)
            self._put(name, piece, entry)
            return True
        return False

    def _tie(self) -> dict[str, Any]:
        field = "tie_word_embeddings"
        config = self.disk.config()
        of_text = config.get("text_config", {}).get(field)
        return {
            "loaded": self.tied,
            "config": config.get(field, of_text),
            "file_has_head": self.names.head is not None,
        }


def _check_readable(tensor: Tensor) -> None:
    """Raise _UnreadableError unless the entries of a loaded tensor can be seen."""
    if tensor.is_meta:
        raise _UnreadableError("it is not in memory (offloaded)")
    if tensor.numel() == 0:
        raise _UnreadableError("the engine keeps it packed for its kernels")
    if tensor.dtype not in FLOATS:
        dtype = dtype_name(tensor.dtype)
        raise _UnreadableError(f"the engine keeps it as {dtype}")


def _may_be_padded(name: str) -> bool:
    return is_head(name) or is_embedding(name)


def _by_expert(pieces: Sequence[Piece]) -> dict[int | None, list[Piece]]:
    experts: dict[int | None, list[Piece]] = {}
    for piece in pieces:
        of_expert = experts.setdefault(piece.expert, [])
        of_expert.append(piece)
    return experts


def _of_expert(tensor: Tensor, piece: Piece) -> Tensor:
    """The piece's expert of a stack of experts; ``tensor`` itself where it is none."""
    if piece.expert is None:
        return tensor
    return tensor[piece.expert]


def _expert_entry(
    tensor: Tensor, pieces: Sequence[Piece], has_the_numbers: bool
) -> Entry:
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


def _sorted_numbers(tensors: Sequence[Tensor]) -> Tensor:
    """float32[N]: all their numbers, the smallest first."""
    flat = [tensor.reshape(-1) for tensor in tensors]
    numbers = torch.cat(flat).float()
    return numbers.sort().values


def _ways(part: Tensor, turned: bool) -> Ways:
    if turned:
        return (part, part.T)
    return (part,)


def _is_unlike(entries: Sequence[Mapping[str, Any]]) -> bool:
    for entry in entries:
        distance = entry.get("l2") or 0.0
        if distance > _UNLIKE:
            return True
    return False
