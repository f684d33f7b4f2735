"""Reading the weights of a loaded model, in the process that holds it, beside the files
on disk.

A file's tensor in another dtype than the loaded one is converted by torch, to nearest,
ties to even, as every engine's loader does, so the comparison stays exact. A tensor
that is stored the other way round than it is loaded is compared, and digested, the way
it is stored. Nothing is written to the model, and nothing is fed to a module that did
not say what it takes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from logdrift.core.engines.about import resolve
from logdrift.core.worker.weights_files import (
    FLOATS,
    Files,
    difference,
    digest,
    dtype_name,
    equal_bits,
)
from logdrift.core.worker.weights_kind import Kinds
from logdrift.core.worker.weights_map import (
    Names,
    Piece,
    is_embedding,
    is_head,
    without_adapter,
)
from logdrift.core.worker.weights_probe import (
    CannotProbeError,
    Matrix,
    Probe,
    judge,
    matrix_of,
    probe,
)

__all__ = ["digest", "read"]

Tensor = Any

_UNLIKE = 0.5
"""Relative L2 from which a tensor has next to nothing of the other: two unrelated ones
of one size are at 1.4.
"""
_SHARD = "this is a shard of {ranks} ranks"
_OTHER_ORDER = "the engine keeps its numbers in another order"
_TURNED = ("c_attn", "c_proj", "c_fc")
"""GPT-2's Conv1D is stored the other way round; that matters for a square one, which
looks the same both ways.
"""


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
        own = Files(Path(str(arguments["own"]))) if arguments.get("own") else None
    except Exception as error:  # safetensors has errors of its own
        return {
            "error": (
                f"the model's files cannot be read: {type(error).__name__}:"
                f" {str(error)[:200]}"
            )
        }
    if not disk.shapes:
        return {
            "error": (
                "the session's model has no safetensors: weights in other formats are"
                " not read"
            )
        }
    note, unpack = arguments.get("probing"), arguments.get("unpack")
    return _Reading(
        model=model,
        disk=disk,
        own=own,
        probing=None if note is None else Path(str(note)),
        unpack=_as_loaded if unpack is None else resolve(str(unpack)),
    ).answer()


def _as_loaded(module: Any, tensor: Tensor) -> Tensor | None:
    """The engine keeps no order of its own."""
    return None


@dataclass(frozen=True)
class _View:
    """A loaded tensor as the files have it: ``parts`` gives, for each piece, the ways
    in which it may be meant.
    """

    parts: tuple[tuple[Tensor, ...], ...]


class _UnreadableError(Exception):
    """A loaded tensor cannot be compared entry by entry, for this reason."""


class _Reading:
    """One model against its files. Entries are by the names on disk."""

    def __init__(
        self,
        model: Any,
        disk: Files,
        own: Files | None,
        probing: Path | None,
        unpack: Callable[[Any, Tensor], Tensor | None],
    ) -> None:
        self.model = model
        self.disk = disk
        self.own = own
        self.names = Names(disk.shapes, _packed(model))
        self.loaded = _loaded(model, self.names)
        self.dtype = next(
            (t.dtype for _, t in self.loaded if t.dtype in FLOATS and t.ndim == 2), None
        )
        self.entries: dict[str, dict[str, Any]] = {}
        self.extra: list[str] = []
        self.tied = _tied(self.loaded)
        self.kinds = Kinds()
        self._probing = probing
        self._unpack = unpack

    def answer(self) -> dict[str, Any]:
        seen: dict[Any, str] = {}
        for name, tensor in self.loaded:
            place = (
                tensor.data_ptr(),
                tuple(tensor.shape),
                tensor.stride(),
                tensor.dtype,
            )
            if tensor.numel() and place in seen:
                continue  # one tensor under two names, as a tied head is
            seen[place] = name
            try:
                self._tensor(name, tensor)
            # tensors of a library's own class: one that cannot be read fails alone
            except Exception as error:
                self._unread(
                    name, tensor, f"reading it failed ({type(error).__name__})"
                )
        for name in self.disk.shapes:
            if name not in self.entries:
                self._absent(name)
        return {
            "tensors": list(self.entries.values()),
            "tied": self._tie(),
            "extra": sorted(self.extra),
            **_config(self.model, self.disk.config()),
        }

    def _tensor(self, name: str, tensor: Tensor) -> None:
        pieces = self.names.pieces(name)
        if pieces is None:
            self.extra.append(name)
            return
        try:
            view = self._view(name, tensor, pieces)
            found = [
                self._compared(parts, piece)
                for parts, piece in zip(view.parts, pieces, strict=True)
            ]
            if _is_unlike(found):
                found = self._reordered(name, tensor, pieces, found)
        except _UnreadableError as error:
            self._probed(name, tensor, pieces, str(error))
            return
        for piece, entry in zip(pieces, found, strict=True):
            self._put(name, piece, entry)

    # -- tensors whose entries can be seen

    def _view(self, name: str, tensor: Tensor, pieces: Sequence[Piece]) -> _View:
        """Raises _UnreadableError."""
        if tensor.is_meta:
            raise _UnreadableError("it is not in memory (offloaded)")
        if tensor.numel() == 0:
            raise _UnreadableError("the engine keeps it packed for its kernels")
        if tensor.dtype not in FLOATS:
            raise _UnreadableError(f"the engine keeps it as {dtype_name(tensor.dtype)}")
        stored = self.disk.shapes[pieces[0].name]
        shape = (
            tuple(tensor.shape) if pieces[0].expert is None else tuple(tensor.shape[1:])
        )
        rows = max(piece.stop for piece in pieces)
        padded = is_head(name) or is_embedding(name)
        if shape[1:] == stored[1:] and (
            not stored or shape[0] == rows or (padded and shape[0] > rows)
        ):
            turned = _is_turned(name) and len(stored) == 2 and shape == stored[::-1]
            return _View(
                tuple(_ways(self._part(tensor, piece), turned) for piece in pieces)
            )
        if len(pieces) == 1 and len(stored) == 2 and shape == stored[::-1]:
            whole = tensor if pieces[0].expert is None else tensor[pieces[0].expert]
            return _View(((whole.T,),))
        ranks = _ranks(self.model, name)
        if ranks > 1:
            raise _UnreadableError(_SHARD.format(ranks=ranks))
        raise _UnreadableError(
            f"the engine keeps it as {list(tensor.shape)}, the files as {list(stored)}"
        )

    def _part(self, tensor: Tensor, piece: Piece) -> Tensor:
        part = tensor if piece.expert is None else tensor[piece.expert]
        return part[piece.start : piece.stop] if self.disk.shapes[piece.name] else part

    def _compared(self, ways: Sequence[Tensor], piece: Piece) -> dict[str, Any]:
        """A loaded tensor against the stored one in its dtype, bit by bit, and where it
        differs by how much; of several ways in which it may be meant the one that is
        nearest.
        """
        found = [self._compared_one(part, piece.name) for part in ways]
        return min(found, key=lambda entry: (not entry["same"], entry.get("l2") or 0.0))

    def _compared_one(self, part: Tensor, stored: str) -> dict[str, Any]:
        file = self.disk.tensor(stored)
        found: dict[str, Any] = {
            "how": "digest",
            "dtype": dtype_name(part.dtype),
            "file_dtype": dtype_name(file.dtype),
            "digest": digest(part),
        }
        wanted, found["note"] = self._wanted(part, file)
        if equal_bits(part, wanted):
            return {**found, "same": True}
        l2, share = difference(part, wanted)
        if share == 0.0:
            return {**found, "same": True}  # zeros of another sign
        kind = self.kinds.of(part, wanted, file)
        return {
            **found,
            "same": False,
            "l2": l2,
            "share": share,
            "kind": kind,
            "own": self._is_own(part, stored),
        }

    def _wanted(self, part: Tensor, file: Tensor) -> tuple[Tensor, str | None]:
        """The stored tensor as it must look when loaded, and a word where it went
        through another dtype first.
        """
        wanted = file.to(part.dtype)
        if (
            self.dtype is not None
            and self.dtype != part.dtype
            and not equal_bits(part, wanted)
        ):
            rounded = file.to(self.dtype).to(part.dtype)
            if equal_bits(part, rounded):
                return rounded, f"rounded to {dtype_name(self.dtype)} first"
        return wanted, None

    def _is_own(self, part: Tensor, stored: str) -> bool | None:
        if self.own is None or self.own.shapes.get(stored) != self.disk.shapes[stored]:
            return None
        return equal_bits(part, self._wanted(part, self.own.tensor(stored))[0])

    def _reordered(
        self,
        name: str,
        tensor: Tensor,
        pieces: Sequence[Piece],
        found: list[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """What is found once a kernel's own order is undone; ``found`` where the
        numbers are others, in any order.

        Raises _UnreadableError where the numbers are right and only their order is
        unknown.
        """
        module = self._module(name)
        loaded = None if module is None else self._unpack(module, tensor)
        if loaded is not None:
            return [
                self._compared((self._part(loaded, piece),), piece) for piece in pieces
            ]
        groups: dict[int | None, list[Piece]] = {}
        for piece in pieces:
            groups.setdefault(piece.expert, []).append(piece)
        moved = {
            expert: self._has_the_numbers(tensor, group)
            for expert, group in groups.items()
        }
        if not any(moved.values()):
            return found
        if all(moved.values()):
            raise _UnreadableError(_OTHER_ORDER)
        return [
            self._of_a_group(tensor, groups[piece.expert], moved[piece.expert])
            for piece in pieces
        ]

    def _of_a_group(
        self, tensor: Tensor, group: Sequence[Piece], moved: bool
    ) -> dict[str, Any]:
        """What is known of one expert's tensor in an order of its own: other numbers
        are others in any order.
        """
        known = {"dtype": dtype_name(tensor.dtype), "reason": _OTHER_ORDER}
        if moved:
            return {**known, "how": None, "same": None}
        if len(group) == 1:
            return {**known, "how": "numbers", "same": False}
        names = " and ".join(piece.name for piece in group)
        reason = f"{_OTHER_ORDER}, and those of {names} together are not those on disk"
        return {**known, "how": None, "same": None, "reason": reason}

    def _has_the_numbers(self, tensor: Tensor, pieces: Sequence[Piece]) -> bool:
        """Whether a loaded tensor has the stored numbers, rearranged for a kernel (or
        by mistake).
        """
        wanted = torch.cat(
            [
                self.disk.tensor(piece.name).to(tensor.dtype).reshape(-1)
                for piece in pieces
            ]
        )
        loaded = torch.cat(
            [self._part(tensor, piece).reshape(-1).cpu() for piece in pieces]
        )
        return bool(
            torch.equal(loaded.float().sort().values, wanted.float().sort().values)
        )

    # -- tensors that are read through their module

    def _probed(
        self, name: str, tensor: Tensor, pieces: Sequence[Piece], why: str
    ) -> None:
        try:
            module, matrix, turned = self._asked(name, tensor, pieces, why)
            with self._noted(name):
                found = probe(module, matrix, tensor.device)
        except CannotProbeError as error:
            self._unread(name, tensor, why + (f", and {error}" if str(error) else ""))
            return
        for piece in pieces:
            entry = self._judged(found, matrix, piece, turned, tensor.device)
            self._put(name, piece, {"how": "probe", "reason": why, **entry})

    def _asked(
        self, name: str, tensor: Tensor, pieces: Sequence[Piece], why: str
    ) -> tuple[Any, Matrix, tuple[bool, ...]]:
        """The module to ask, what it takes, and which ways round the stored tensors may
        be meant (turned or not).

        Raises CannotProbeError unless everything agrees: the module says its sizes, and
        the files have these.
        """
        module = self._module(name)
        leaf = name.rpartition(".")[2]
        if (
            leaf not in ("weight", "qweight")
            or pieces[0].expert is not None
            or tensor.is_meta
            or module is None
        ):
            raise CannotProbeError("")
        ranks = _ranks(self.model, name)
        shard = _SHARD.format(ranks=ranks)
        if why == shard:
            raise CannotProbeError("")
        shapes = [self.disk.shapes[piece.name] for piece in pieces]
        if any(len(shape) != 2 for shape in shapes):
            raise CannotProbeError("it is no matrix")
        if any(self.disk.tensor(piece.name).dtype not in FLOATS for piece in pieces):
            raise CannotProbeError("the files hold it quantised")
        matrix = matrix_of(
            module, tensor, tensor.dtype if tensor.dtype in FLOATS else self.dtype
        )
        ways = _ways_round(name, matrix, shapes)
        if ways:
            return module, matrix, ways
        if ranks > 1:
            raise CannotProbeError(shard)
        told = f"its module takes {matrix.inputs} numbers and gives {matrix.outputs}"
        raise CannotProbeError(
            f"{told}, which is not what the files hold"
            f" ({' and '.join(map(_times, shapes))})"
        )

    def _judged(
        self,
        found: Probe,
        matrix: Matrix,
        piece: Piece,
        turned: Sequence[bool],
        device: Any,
    ) -> dict[str, Any]:
        """The stored tensor against what the module answered, the way round that is
        nearest.
        """
        file = self.disk.tensor(piece.name)
        judged = [
            (
                judge(
                    found, file.T if turn else file, piece.start, matrix.dtype, device
                ),
                turn,
            )
            for turn in turned
        ]
        best, turn = min(
            judged, key=lambda each: (not each[0]["same"], each[0]["units"])
        )
        entry = {
            "dtype": dtype_name(matrix.dtype),
            "file_dtype": dtype_name(file.dtype),
            **best,
        }
        if best["same"] and best["columns"] == best["of"]:
            entry["digest"] = digest(file.to(matrix.dtype))
        if best["same"]:
            return entry
        if self.own is not None and self.own.shapes.get(piece.name) == tuple(
            file.shape
        ):
            own = self.own.tensor(piece.name)
            entry["own"] = judge(
                found, own.T if turn else own, piece.start, matrix.dtype, device
            )["same"]
        if found.whole is not None:
            rows = found.whole[
                piece.start : piece.start + (file.shape[1] if turn else file.shape[0])
            ]
            read = (rows.T if turn else rows).to(matrix.dtype).contiguous()
            entry |= {
                "digest": digest(read),
                "kind": self.kinds.of(read, file.to(matrix.dtype), file),
            }
        return entry

    @contextlib.contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """The name of what is being asked stands in the agreed file meanwhile."""
        if self._probing is None:
            yield
            return
        with contextlib.suppress(OSError):
            self._probing.write_text(name, encoding="utf-8")
        try:
            yield
        finally:
            self._probing.unlink(missing_ok=True)

    def _module(self, name: str) -> Any:
        try:
            return self.model.get_submodule(name.rpartition(".")[0])
        except AttributeError:
            return None

    # -- the answer

    def _unread(self, name: str, tensor: Tensor, reason: str) -> None:
        for piece in self.names.pieces(name) or ():
            self._put(
                name,
                piece,
                {
                    "how": None,
                    "same": None,
                    "reason": reason,
                    "dtype": dtype_name(tensor.dtype),
                },
            )

    def _put(self, loaded: str, piece: Piece, found: Mapping[str, Any]) -> None:
        """Under the name on disk; a head that has no tensor there and is no tied one
        goes by its own name.
        """
        name = loaded if is_head(loaded) and is_embedding(piece.name) else piece.name
        file = None if name in self.entries else digest(self.disk.tensor(piece.name))
        known = self.entries.get(name)
        if known is not None and known["same"] is not None:
            return
        unknown = dict.fromkeys(
            ("digest", "l2", "share", "reason", "note", "own", "kind")
        )
        self.entries[name] = {
            "name": name,
            "loaded": loaded,
            "shape": list(self.disk.shapes[piece.name]),
            "file_digest": file or (known or {}).get("file_digest"),
            **unknown,
            **found,
        }

    def _absent(self, name: str) -> None:
        if is_head(name) and self.tied is True:
            loaded = next(
                ((n, t) for n, t in self.loaded if is_embedding(n) and t.numel()), None
            )
            if (
                loaded is not None
                and tuple(loaded[1].shape[1:]) == self.disk.shapes[name][1:]
            ):
                part = loaded[1][: self.disk.shapes[name][0]]
                piece = Piece(name, 0, len(part))
                self._put(loaded[0], piece, self._compared((part,), piece))
                return
        reason = "the loaded model has no tensor of this name"
        piece = Piece(name, 0, 0)
        self._put(
            name, piece, {"how": None, "same": None, "reason": reason, "dtype": None}
        )

    def _tie(self) -> dict[str, Any]:
        config = self.disk.config()
        told = config.get(
            "tie_word_embeddings",
            config.get("text_config", {}).get("tie_word_embeddings"),
        )
        return {
            "loaded": self.tied,
            "config": told,
            "file_has_head": self.names.head is not None,
        }


def _packed(model: Any) -> dict[str, Sequence[str]]:
    found = getattr(model, "packed_modules_mapping", None)
    return (
        {k: v for k, v in found.items() if isinstance(v, (list, tuple))}
        if isinstance(found, Mapping)
        else {}
    )


def _loaded(model: Any, names: Names) -> list[tuple[str, Tensor]]:
    """Parameters, and those buffers that a checkpoint stores, under all of their
    names.
    """
    found = list(model.named_parameters(remove_duplicate=False))
    found += [
        (n, b)
        for n, b in model.named_buffers(remove_duplicate=False)
        if names.find(n) is not None
    ]
    return [(name, tensor.detach()) for name, tensor in found]


def _tied(loaded: Sequence[tuple[str, Tensor]]) -> bool | None:
    """Whether head and input embedding are one tensor; None where either is not to be
    seen.
    """
    heads = [tensor for name, tensor in loaded if is_head(name) and tensor.numel()]
    inputs = [
        tensor for name, tensor in loaded if is_embedding(name) and tensor.numel()
    ]
    if not inputs:
        return None
    if not heads:  # SGLang and vLLM may call one module by one name only
        return True if not any(is_head(name) for name, _ in loaded) else None
    return bool(heads[0].data_ptr() == inputs[0].data_ptr())


def _ranks(model: Any, name: str) -> int:
    try:
        return int(getattr(model.get_submodule(name.rpartition(".")[0]), "tp_size", 1))
    except (AttributeError, TypeError, ValueError):
        return 1


def _is_turned(name: str) -> bool:
    return without_adapter(name).rpartition(".")[0].rpartition(".")[2] in _TURNED


def _ways(part: Tensor, turned: bool) -> tuple[Tensor, ...]:
    return (part, part.T) if turned else (part,)


def _ways_round(
    name: str, matrix: Matrix, shapes: Sequence[tuple[int, ...]]
) -> tuple[bool, ...]:
    """The ways round in which stored tensors of these shapes are what a module
    multiplies by; none where they are not.
    """
    rows = sum(shape[0] for shape in shapes)
    enough = matrix.outputs == rows or (is_head(name) and matrix.outputs > rows)
    straight = enough and all(shape[1] == matrix.inputs for shape in shapes)
    turned = len(shapes) == 1 and shapes[0] == (matrix.inputs, matrix.outputs)
    if straight:
        return (False, True) if turned and _is_turned(name) else (False,)
    return (True,) if turned else ()


def _is_unlike(found: Sequence[Mapping[str, Any]]) -> bool:
    return any((entry.get("l2") or 0.0) > _UNLIKE for entry in found)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _config(model: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    """``config``: plain fields of the model's configuration as it is now;
    ``config_differs``: ``[field, file, loaded]``.
    """
    config = getattr(model, "config", None)
    try:
        found = (
            json.loads(json.dumps(config.to_dict(), default=str))
            if config is not None
            else {}
        )
    except (AttributeError, TypeError, ValueError):
        found = {}
    resolved, plain = _flat(found), _flat(stored)
    differs = [
        [k, v, resolved[k]]
        for k, v in plain.items()
        if k in resolved and resolved[k] != v
    ]
    return {"config": resolved, "config_differs": differs}


_OF_THE_FILE = (
    "_name_or_path",
    "transformers_version",
    "architectures",
    "auto_map",
    "dtype",
    "torch_dtype",
)
"""Who wrote the file and which class reads it; precision is a fact of its own."""


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{prefix}{name}.")
        elif not name.startswith("_") and name not in _OF_THE_FILE:
            out[prefix + name] = value
    return out
