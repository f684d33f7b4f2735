"""Which tensors of a checkpoint a loaded tensor is made of: names differ by a prefix,
and engines fuse projections.

Pure Python over names and shapes. Loaded and stored tensors correspond by rows of the
first dimension; a stack of experts has one more dimension in front.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

Shape = tuple[int, ...]

FUSED: dict[str, tuple[str, ...]] = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}
"""What Llama-like models fuse; models of vLLM and SGLang say more in
``packed_modules_mapping``.
"""

_PREFIXES = (
    "model",
    "transformer",
    "language_model",
    "text_model",
    "base_model",
    "backbone",
    "gpt_neox",
)
_EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings|embeddings)\.weight$"
)
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output_layer)\.weight$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_STACK = re.compile(
    r"^(?:.*\.)?layers\.(\d+)\..*experts\.(w13_weight|gate_up_proj|w2_weight|down_proj)$"
)
_EXPERT = re.compile(
    r"^(?:.*\.)?layers\.(\d+)\..*experts\.(\d+)\.(gate_proj|w1|up_proj|w3|down_proj|w2)\.weight$"
)
_ROLE = {
    "gate_proj": "gate",
    "w1": "gate",
    "up_proj": "up",
    "w3": "up",
    "down_proj": "down",
    "w2": "down",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """The stored tensor ``name`` is ``loaded[expert][start:stop]`` (``expert`` None: no
    such dimension).
    """

    name: str
    start: int
    stop: int
    expert: int | None = None


class Names:
    """The names of a checkpoint's tensors, with their shapes; ``fused`` is what a model
    class says of what it fuses.
    """

    def __init__(
        self, shapes: Mapping[str, Shape], fused: Mapping[str, Sequence[str]]
    ) -> None:
        self.shapes = shapes
        self._fused = dict(FUSED)
        for name, parts in fused.items():
            if len(parts) > 1:
                self._fused[name] = tuple(parts)
        self._by_stem = _unique(shapes, stem)
        self._by_place = _unique(shapes, _place)
        self._experts = _experts(shapes)

    @property
    def embedding(self) -> str | None:
        """The stored input embedding."""
        return _first(self.shapes, is_embedding)

    @property
    def head(self) -> str | None:
        """The stored output head, where it has a tensor of its own."""
        return _first(self.shapes, is_head)

    def find(self, name: str) -> str | None:
        """The stored tensor called ``name``, up to the prefixes that model classes put
        in front, or the only one of its layer with the same last two words
        (``block_sparse_moe.gate.weight`` and ``mlp.gate.weight``).
        """
        if name in self.shapes:
            return name
        same_stem = self._by_stem.get(stem(name))
        if same_stem:
            return same_stem
        if not _LAYER.search(name):
            return None
        return self._by_place.get(_place(name))

    def pieces(self, name: str) -> tuple[Piece, ...] | None:
        """What the loaded tensor ``name`` is made of, in its order; None where nothing
        stored fits the name.
        """
        name = without_adapter(name)
        stored = self.find(name)
        if stored is None and is_head(name):
            stored = self.embedding
        if stored is not None:
            return _in_rows([stored], self.shapes)
        stack = _STACK.match(name)
        if stack is not None:
            layer, leaf = stack.groups()
            return self._stacked(layer, leaf)
        return self._fused_pieces(name)

    def _fused_pieces(self, name: str) -> tuple[Piece, ...] | None:
        """The stored tensors of the projections that one module fuses; None where the
        module fuses none, or one of them is not stored.
        """
        module, _, leaf = name.rpartition(".")
        above, _, fused = module.rpartition(".")
        prefix = f"{above}." if above else ""
        suffix = f".{leaf}" if leaf else ""
        stored_names = []
        for part in self._fused.get(fused, ()):
            stored = self.find(f"{prefix}{part}{suffix}")
            if stored is None:
                return None
            stored_names.append(stored)
        if not stored_names:
            return None
        return _in_rows(stored_names, self.shapes)

    def _stacked(self, layer: str, leaf: str) -> tuple[Piece, ...] | None:
        """The pieces of a stack of experts, an expert after the other; None where the
        files lack a projection of one of them.
        """
        is_down = leaf in ("w2_weight", "down_proj")
        roles = ("down",) if is_down else ("gate", "up")
        by_role = [self._experts.get((layer, role), {}) for role in roles]
        experts = by_role[0].keys()
        is_complete = all(names.keys() == experts for names in by_role)
        if not experts or not is_complete:
            return None
        pieces: list[Piece] = []
        for expert in sorted(experts):
            stored = [names[expert] for names in by_role]
            rows = _in_rows(stored, self.shapes)
            pieces += [replace(piece, expert=expert) for piece in rows]
        return tuple(pieces)


Experts = dict[tuple[str, str], dict[int, str]]
"""(layer, role) -> the stored projection of each expert."""


def _experts(names: Iterable[str]) -> Experts:
    """The projections of experts that a checkpoint stores one by one."""
    experts: Experts = {}
    for name in names:
        match = _EXPERT.match(name)
        if match is None:
            continue
        layer, expert, projection = match.groups()
        role = _ROLE[projection]
        of_role = experts.setdefault((layer, role), {})
        of_role[int(expert)] = name
    return experts


def _first(names: Iterable[str], is_sought: Callable[[str], bool]) -> str | None:
    for name in names:
        if is_sought(name):
            return name
    return None


def without_adapter(name: str) -> str:
    """``name`` without the word that an adapter's layer puts in front of the weight
    that it wraps.
    """
    return name.replace(".base_layer.", ".")


def is_head(name: str) -> bool:
    """Whether a loaded tensor is called like an output head."""
    return _HEAD.search(name) is not None


def is_embedding(name: str) -> bool:
    """Whether a loaded tensor is called like an input embedding."""
    return _EMBEDDING.search(name) is not None


def stem(name: str) -> str:
    """``name`` without the leading components that only say which class holds the
    model.
    """
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _PREFIXES:
        parts = parts[1:]
    return ".".join(parts)


def _place(name: str) -> str:
    """Layer and last two words of a name; the name itself where it is of no layer."""
    match = _LAYER.search(name)
    if match is None:
        return name
    layer = match.group(1)
    words = name.split(".")
    last_words = ".".join(words[-2:])
    return f"{layer}:{last_words}"


def _unique(names: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """name by key, without keys that several names share."""
    by_key: dict[str, str] = {}
    shared = set()
    for name in names:
        own_key = key(name)
        first = by_key.setdefault(own_key, name)
        if first != name:
            shared.add(own_key)
    for shared_key in shared:
        del by_key[shared_key]
    return by_key


def _in_rows(names: Iterable[str], shapes: Mapping[str, Shape]) -> tuple[Piece, ...]:
    """The stored tensors ``names``, each below the one before."""
    pieces = []
    start = 0
    for name in names:
        shape = shapes[name]
        rows = shape[0] if shape else 1
        stop = start + rows
        pieces.append(Piece(name, start, stop))
        start = stop
    return tuple(pieces)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: those of the index, the single one, or
    all.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        content = json.loads(index.read_bytes())
        file_of_tensor = content["weight_map"]
        names = sorted(set(file_of_tensor.values()))
        return [folder / Path(name).name for name in names]
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    return sorted(folder.glob("*.safetensors"))


def snapshot_folder(model: str, revision: str | None) -> Path | None:
    """``model`` itself where it is a folder, else where the hub's cache holds that
    revision; None where this machine does not hold it.
    """
    if Path(model).is_dir():
        return Path(model)
    try:
        hub = importlib.import_module("huggingface_hub")
        found = hub.try_to_load_from_cache(model, "config.json", revision=revision)
    # Another release of the library, or a name that it refuses: not known.
    except Exception:
        return None
    if isinstance(found, str):
        return Path(found).parent
    return None
