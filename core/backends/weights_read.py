"""Reading the weights of a loaded model, in the process that holds it, beside the files on disk.

The canonical form of a tensor is its dtype by torch's name, its shape, and its bytes, contiguous and little-endian; its
digest is SHA-256 over the JSON list of the first two and then the bytes. A file's tensor in another dtype than the loaded one
is converted by torch, to nearest, ties to even, as every engine's loader does, so the comparison stays exact.
Nothing is written to the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from core.backends.weights_map import Names, Piece, is_embedding, is_head, weight_files
from core.backends.weights_probe import UNITS, CannotProbeError, judge, probe

Tensor = Any

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_BLOCK = 1 << 24
_UNLIKE = 0.5
"""Relative L2 from which a tensor has next to nothing of the other: two unrelated ones of one size are at 1.4."""
_TRANSPOSED = ("c_attn", "c_proj", "c_fc")  # GPT-2's Conv1D is stored the other way round


def read(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``{tensors, tied, config, config_differs, extra}`` of ``model`` against the files of ``arguments["folder"]``.

    ``{"error": ...}`` in one line where there is nothing to compare with.
    """
    try:
        disk = Files(Path(str(arguments["folder"])))
        own = Files(Path(str(arguments["own"]))) if arguments.get("own") else None
    except Exception as error:  # safetensors has errors of its own
        return {"error": f"the model's files cannot be read: {type(error).__name__}: {str(error)[:200]}"}
    if not disk.shapes:
        return {"error": "the session's model has no safetensors: weights in other formats are not read"}
    return _Reading(model, disk, own).answer()


class Files:
    """The safetensors of a folder: shapes by name, and tensors when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path in weight_files(folder):
            opened: Any = safe_open(str(path), framework="pt")
            for name in opened.keys():  # noqa: SIM118 (not a mapping)
                self._files[name] = opened
                self.shapes[name] = tuple(opened.get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        return self._files[name].get_tensor(name)

    def config(self) -> dict[str, Any]:
        """``config.json``; empty where it cannot be read."""
        try:
            found = json.loads((self.folder / "config.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def digest(tensor: Tensor) -> str:
    """``sha256:`` and 64 hex digits of the canonical form."""
    head = json.dumps([_dtype(tensor), list(tensor.shape)])
    hasher = hashlib.sha256(head.encode())
    flat = tensor.detach().contiguous().reshape(-1)
    for start in range(0, flat.numel(), _BLOCK):
        hasher.update(flat[start : start + _BLOCK].cpu().view(torch.uint8).numpy().data)
    return f"sha256:{hasher.hexdigest()}"


class _Reading:
    """One model against its files. Entries are by the names on disk."""

    def __init__(self, model: Any, disk: Files, own: Files | None) -> None:
        self.model = model
        self.disk = disk
        self.own = own
        self.names = Names(disk.shapes, _packed(model))
        self.loaded = _loaded(model, self.names)
        self.dtype = next((t.dtype for _, t in self.loaded if t.dtype in _FLOATS and t.ndim == 2), None)
        self.entries: dict[str, dict[str, Any]] = {}
        self.extra: list[str] = []
        self.tied = _tied(self.loaded)

    def answer(self) -> dict[str, Any]:
        seen: dict[Any, str] = {}
        for name, tensor in self.loaded:
            place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
            if tensor.numel() and place in seen:
                continue  # one tensor under two names, as a tied head is
            seen[place] = name
            try:
                self._tensor(name, tensor)
            except Exception as error:  # tensors of a library's own class: one that cannot be read fails alone
                self._unread(name, tensor, f"reading it failed ({type(error).__name__})")
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
        why = self._unreadable(name, tensor, pieces)
        if why is None:
            found = [self._compared(self._part(tensor, p), p.name, _is_transposed(name)) for p in pieces]
            if not self._laid_out_otherwise(tensor, pieces, found):
                for piece, entry in zip(pieces, found, strict=True):
                    self._put(name, piece, entry)
                return
            why = "the engine keeps its numbers in another order"
        self._probed(name, tensor, pieces, why)

    def _part(self, tensor: Tensor, piece: Piece) -> Tensor:
        part = tensor if piece.expert is None else tensor[piece.expert]
        return part[piece.start : piece.stop] if self.disk.shapes[piece.name] else part

    def _laid_out_otherwise(self, tensor: Tensor, pieces: Sequence[Piece], found: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a tensor that looks like another one has the same numbers, rearranged for a kernel (or by mistake)."""
        if not any((entry.get("l2") or 0.0) > _UNLIKE for entry in found):
            return False
        wanted = torch.cat([self.disk.tensor(piece.name).to(tensor.dtype).reshape(-1) for piece in pieces])
        loaded = torch.cat([self._part(tensor, piece).reshape(-1).cpu() for piece in pieces])
        return bool(torch.equal(loaded.float().sort().values, wanted.float().sort().values))

    def _unreadable(self, name: str, tensor: Tensor, pieces: Sequence[Piece]) -> str | None:
        """Why a loaded tensor cannot be compared entry by entry; None: it can."""
        if tensor.is_meta:
            return "it is not in memory (offloaded)"
        if tensor.numel() == 0:
            return "the engine keeps it packed for its kernels"
        if tensor.dtype not in _FLOATS:
            return f"the engine keeps it as {_dtype(tensor)}"
        rows = max(piece.stop for piece in pieces)
        stored = self.disk.shapes[pieces[0].name]
        shape = tuple(tensor.shape) if pieces[0].expert is None else tuple(tensor.shape[1:])
        padded = is_head(name) or is_embedding(name)
        if shape[1:] == stored[1:] and (not stored or shape[:1] == (rows,) or (padded and shape[0] > rows)):
            return None
        if _is_transposed(name) and shape == stored[::-1]:
            return None
        ranks = _ranks(self.model, name)
        if ranks > 1:
            return f"this is a shard of {ranks} ranks"
        return f"the engine keeps it as {list(tensor.shape)}, the files as {list(stored)}"

    def _compared(self, part: Tensor, stored: str, transposed: bool) -> dict[str, Any]:
        """A loaded tensor against the stored one in its dtype, bit by bit, and where it differs by how much."""
        file = self.disk.tensor(stored)
        found: dict[str, Any] = {
            "how": "digest",
            "dtype": _dtype(part),
            "file_dtype": _dtype(file),
            "digest": digest(part),
        }
        wanted, found["note"] = self._wanted(part, file, transposed)
        if _equal_bits(part, wanted):
            return {**found, "same": True}
        l2, share = _difference(part, wanted)
        if share == 0.0:
            return {**found, "same": True}  # zeros of another sign
        return {**found, "same": False, "l2": l2, "share": share, "own": self._is_own(part, stored, transposed)}

    def _wanted(self, part: Tensor, file: Tensor, transposed: bool) -> tuple[Tensor, str | None]:
        """The stored tensor as it must look when loaded, and a word where it went through another dtype first."""
        wanted = file.to(part.dtype)
        turned = transposed and tuple(part.shape) == tuple(file.shape)[::-1]
        if turned and (part.shape != file.shape or _equal_bits(part, wanted.T)):  # a square one may stand either way
            file = file.T.contiguous()
            wanted = file.to(part.dtype)
        if self.dtype is not None and self.dtype != part.dtype and not _equal_bits(part, wanted):
            rounded = file.to(self.dtype).to(part.dtype)
            if _equal_bits(part, rounded):
                return rounded, f"rounded to {str(self.dtype).removeprefix('torch.')} first"
        return wanted, None

    def _is_own(self, part: Tensor, stored: str, transposed: bool) -> bool | None:
        if self.own is None or self.own.shapes.get(stored) != self.disk.shapes[stored]:
            return None
        return _equal_bits(part, self._wanted(part, self.own.tensor(stored), transposed)[0])

    def _probed(self, name: str, tensor: Tensor, pieces: Sequence[Piece], why: str) -> None:
        module_name, _, leaf = name.rpartition(".")
        try:
            if leaf not in ("weight", "qweight") or pieces[0].expert is not None or "shard" in why or tensor.is_meta:
                raise CannotProbeError("")
            found, dtype, device = self._probe(module_name, tensor, pieces)
        except CannotProbeError as error:
            self._unread(name, tensor, why + (f", and {error}" if str(error) else ""))
            return
        for piece in pieces:
            file = self.disk.tensor(piece.name)
            judged = judge(found, file, piece.start, dtype, device)
            entry = {"how": "probe", "reason": why, "dtype": _dtype(torch.empty(0, dtype=dtype)), **judged}
            if judged["same"] and judged["columns"] == judged["of"]:
                entry["digest"] = digest(file.to(dtype))
            if not judged["same"] and self.own is not None and self.own.shapes.get(piece.name) == tuple(file.shape):
                entry["own"] = judge(found, self.own.tensor(piece.name), piece.start, dtype, device)["same"]
            self._put(name, piece, {**entry, "file_dtype": _dtype(file)})

    def _unread(self, name: str, tensor: Tensor, reason: str) -> None:
        for piece in self.names.pieces(name) or ():
            self._put(name, piece, {"how": None, "same": None, "reason": reason, "dtype": _dtype(tensor)})

    def _probe(self, module_name: str, tensor: Tensor, pieces: Sequence[Piece]) -> Any:
        stored = self.disk.shapes[pieces[0].name]
        dtype = tensor.dtype if tensor.dtype in UNITS else self.dtype
        if len(stored) != 2 or dtype not in UNITS:
            raise CannotProbeError("it is no matrix")
        if any(self.disk.tensor(piece.name).dtype not in _FLOATS for piece in pieces):
            raise CannotProbeError("the files hold it quantised")
        module = self.model.get_submodule(module_name)
        return probe(module, stored[1], max(p.stop for p in pieces), dtype, tensor.device), dtype, tensor.device

    def _put(self, loaded: str, piece: Piece, found: Mapping[str, Any]) -> None:
        """Under the name on disk; a head that has no tensor there and is no tied one goes by its own name."""
        name = loaded if is_head(loaded) and is_embedding(piece.name) else piece.name
        shape = list(self.disk.shapes[piece.name])
        file = None if name in self.entries else digest(self.disk.tensor(piece.name))
        known = self.entries.get(name)
        if known is not None and known["same"] is not None:
            return
        self.entries[name] = {
            "name": name, "loaded": loaded, "shape": shape, "file_digest": file or (known or {}).get("file_digest"),
            "digest": None, "l2": None, "share": None, "reason": None, "note": None, "own": None, **found,
        }  # fmt: skip

    def _absent(self, name: str) -> None:
        if is_head(name) and self.tied is True:
            loaded = next(((n, t) for n, t in self.loaded if is_embedding(n) and t.numel()), None)
            if loaded is not None and tuple(loaded[1].shape[1:]) == self.disk.shapes[name][1:]:
                part = loaded[1][: self.disk.shapes[name][0]]
                self._put(loaded[0], Piece(name, 0, len(part)), self._compared(part, name, False))
                return
        reason = "the loaded model has no tensor of this name"
        piece = Piece(name, 0, 0)
        self._put(name, piece, {"how": None, "same": None, "reason": reason, "dtype": None})

    def _tie(self) -> dict[str, Any]:
        config = self.disk.config()
        told = config.get("tie_word_embeddings", config.get("text_config", {}).get("tie_word_embeddings"))
        return {"loaded": self.tied, "config": told, "file_has_head": self.names.head is not None}


def _packed(model: Any) -> dict[str, Sequence[str]]:
    found = getattr(model, "packed_modules_mapping", None)
    return {k: v for k, v in found.items() if isinstance(v, (list, tuple))} if isinstance(found, Mapping) else {}


def _loaded(model: Any, names: Names) -> list[tuple[str, Tensor]]:
    """Parameters, and those buffers that a checkpoint stores, under all of their names."""
    found = list(model.named_parameters(remove_duplicate=False))
    found += [(n, b) for n, b in model.named_buffers(remove_duplicate=False) if names.find(n) is not None]
    return [(name, tensor.detach()) for name, tensor in found]


def _tied(loaded: Sequence[tuple[str, Tensor]]) -> bool | None:
    """Whether head and input embedding are one tensor; None where either is not to be seen."""
    heads = [tensor for name, tensor in loaded if is_head(name) and tensor.numel()]
    inputs = [tensor for name, tensor in loaded if is_embedding(name) and tensor.numel()]
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


def _is_transposed(name: str) -> bool:
    return name.rpartition(".")[0].rpartition(".")[2] in _TRANSPOSED


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _blocks(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    a, b = a.contiguous().reshape(-1), b.contiguous().reshape(-1)
    for start in range(0, max(1, a.numel()), _BLOCK):
        yield a[start : start + _BLOCK].cpu(), b[start : start + _BLOCK].cpu()


def _equal_bits(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and all(torch.equal(x.view(torch.uint8), y.view(torch.uint8)) for x, y in _blocks(a, b))


def _difference(loaded: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Relative L2 of ``loaded`` - ``wanted``, and the share of entries that are another number."""
    gap = size = other = 0.0
    for x, y in _blocks(loaded, wanted):
        gap += float((x.double() - y.double()).square().sum())
        size += float(y.double().square().sum())
        other += float(((x != y) & ~(x.isnan() & y.isnan())).sum())
    return (gap / size) ** 0.5 if size else float(gap > 0), other / max(1, loaded.numel())


def _config(model: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    """``config``: plain fields of the model's configuration as it is now; ``config_differs``: ``[field, file, loaded]``."""
    config = getattr(model, "config", None)
    try:
        found = json.loads(json.dumps(config.to_dict(), default=str)) if config is not None else {}
    except (AttributeError, TypeError, ValueError):
        found = {}
    resolved, plain = _flat(found), _flat(stored)
    differs = [[k, v, resolved[k]] for k, v in plain.items() if k in resolved and resolved[k] != v]
    return {"config": resolved, "config_differs": differs}


_OF_THE_FILE = ("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "torch_dtype")
"""Who wrote the file and which class reads it; precision is a fact of its own."""


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{prefix}{name}.")
        elif not name.startswith("_") and name not in _OF_THE_FILE:
            out[prefix + name] = value
    return out
