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
from dataclasses import dataclass
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
        self._fused = {
            **FUSED,
            **{name: tuple(parts) for name, parts in fused.items() if len(parts) > 1},
        }
        self._by_stem = _unique(shapes, stem)
        self._by_place = _unique(shapes, _place)
        self._experts: dict[tuple[str, str], dict[int, str]] = {}
        for name in shapes:
            if found := _EXPERT.match(name):
                layer, expert, role = found.groups()
                self._experts.setdefault((layer, _ROLE[role]), {})[int(expert)] = name

    @property
    def embedding(self) -> str | None:
        """The stored input embedding."""
        return next((name for name in self.shapes if _EMBEDDING.search(name)), None)

    @property
    def head(self) -> str | None:
        """The stored output head, where it has a tensor of its own."""
        return next((name for name in self.shapes if _HEAD.search(name)), None)

    def find(self, name: str) -> str | None:
        """The stored tensor called ``name``, up to the prefixes that model classes put
        in front, or the only one of its layer with the same last two words
        (``block_sparse_moe.gate.weight`` and ``mlp.gate.weight``).
        """
        if name in self.shapes:
            return name
        return self._by_stem.get(stem(name)) or (
            self._by_place.get(_place(name)) if _LAYER.search(name) else None
        )

    def pieces(self, name: str) -> tuple[Piece, ...] | None:
        """What the loaded tensor ``name`` is made of, in its order; None where nothing
        stored fits the name.
        """
        name = without_adapter(name)
        if (stored := self.find(name)) is not None:
            return _in_rows([stored], self.shapes)
        if is_head(name) and self.embedding is not None:
            return _in_rows([self.embedding], self.shapes)
        if (stack := _STACK.match(name)) is not None:
            return self._stacked(stack.group(1), stack.group(2))
        module, _, leaf = name.rpartition(".")
        above, _, last = module.rpartition(".")
        parts = [
            self.find(".".join(filter(None, (above, part, leaf))))
            for part in self._fused.get(last, ())
        ]
        known = [part for part in parts if part is not None]
        if parts and len(known) == len(parts):
            return _in_rows(known, self.shapes)
        return None

    def _stacked(self, layer: str, leaf: str) -> tuple[Piece, ...] | None:
        is_down = leaf in ("w2_weight", "down_proj")
        roles = ("down",) if is_down else ("gate", "up")
        experts = [self._experts.get((layer, role), {}) for role in roles]
        if not experts[0] or any(each.keys() != experts[0].keys() for each in experts):
            return None
        return tuple(
            Piece(piece.name, piece.start, piece.stop, expert)
            for expert in sorted(experts[0])
            for piece in _in_rows([each[expert] for each in experts], self.shapes)
        )


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
    found = _LAYER.search(name)
    if found:
        return f"{found.group(1)}:{'.'.join(name.split('.')[-2:])}"
    return name


def _unique(names: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """name by key, without keys that several names share."""
    out: dict[str, str] = {}
    shared = set()
    for name in names:
        if out.setdefault(key(name), name) != name:
            shared.add(key(name))
    return {k: v for k, v in out.items() if k not in shared}


def _in_rows(names: Iterable[str], shapes: Mapping[str, Shape]) -> tuple[Piece, ...]:
    out = []
    start = 0
    for name in names:
        rows = shapes[name][0] if shapes[name] else 1
        out.append(Piece(name, start, start + rows))
        start += rows
    return tuple(out)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: those of the index, the single one, or
    all.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        return [folder / Path(name).name for name in names]
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    return sorted(folder.glob("*.safetensors"))


def snapshot_folder(model: str, revision: str | None) -> Path | None:
    """``model`` itself where it is a folder, else where the hub's cache holds that
    revision; None: nowhere here.
    """
    if Path(model).is_dir():
        return Path(model)
    try:
        found = importlib.import_module("huggingface_hub").try_to_load_from_cache(
            model, "config.json", revision=revision
        )
    except (
        Exception
    ):  # another library's release, or a name it refuses: unknown is an honest answer
        return None
    if isinstance(found, str):
        return Path(found).parent
    return None
