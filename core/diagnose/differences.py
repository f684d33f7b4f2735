"""What kind of difference there is between loaded weights and the files, in words: of
one tensor, and of all together. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.session.identity import LoadedTensor, LoadedWeights

ONE = "one tensor"
ALL = "all tensors"
MATRICES = "all matrices"
SOME = "some tensors"
_ADAPTER = re.compile(r"(^|[._])lora_", re.IGNORECASE)
_PART = re.compile(
    r"(?:^|\.)(?:layers|h|blocks)\.\d+\.(?:.*\.)?([^.]+)\.(?:weight|bias)$"
)
_NAMED = 3
"""Names of projections that a sentence lists."""


@dataclass(frozen=True, slots=True)
class WeightDifference:
    """All tensors of a backend that are not those on disk, together.

    ``scope`` is one of `ONE`, `ALL` (of those that could be read), `MATRICES` (all of
    two dimensions and more, nothing else) and `SOME`; ``parts`` are the projections
    that differ in every layer, where no other does. ``kinds`` counts the kinds of
    difference; "unknown" are tensors of which too little was seen.
    """

    scope: str
    differing: int
    read: int
    parts: tuple[str, ...]
    kinds: Mapping[str, int]
    text: str

    def to_json(self) -> dict[str, Any]:
        """``{scope, differing, read, parts, kinds, text}``."""
        return {
            "scope": self.scope,
            "differing": self.differing,
            "read": self.read,
            "parts": list(self.parts),
            "kinds": dict(self.kinds),
            "text": self.text,
        }


def difference_of(loaded: LoadedWeights) -> WeightDifference | None:
    """What the tensors that differ have in common; None where none does."""
    differing = loaded.differing
    if not differing:
        return None
    read = [tensor for tensor in loaded.tensors if tensor.same is not None]
    scope = _scope(differing, read)
    parts = _parts(differing, read) if scope == SOME else ()
    counts = Counter(_kind(tensor) for tensor in differing)
    kinds = dict(counts.most_common())
    who = _who(scope, len(differing), len(read), parts)
    how = _together(differing, kinds)
    return WeightDifference(
        scope=scope,
        differing=len(differing),
        read=len(read),
        parts=parts,
        kinds=kinds,
        text=f"{who}: {how}.",
    )


def adapter_tensors(loaded: LoadedWeights) -> tuple[str, ...]:
    """Parameters of an adapter that the engine holds beside the weights: one that is
    not merged into them.
    """
    return tuple(name for name in loaded.extra if _ADAPTER.search(name))


def kind_text(kind: Mapping[str, Any] | None) -> str:
    """``rounded to 8 bits (float8_e4m3fn, one scale a row)``; empty where nothing is
    known of the kind.
    """
    if kind is None:
        return ""
    says = _SAYS.get(str(kind.get("kind")))
    try:
        if says is None:
            return ""
        return says(kind)
    except (KeyError, TypeError, ValueError):
        return ""


def _rounding(kind: Mapping[str, Any]) -> str:
    grid = str(kind["grid"])
    scales = str(kind["scales"])
    if not grid.endswith("8") and "float8" not in grid:
        return f"{'cut' if kind.get('cut') else 'rounded'} to {grid}"
    if scales == "none":
        scale = "no scale"
    else:
        scale = f"scales: {scales}"
    return f"rounded to 8 bits ({grid}, {scale})"


def _entries(kind: Mapping[str, Any]) -> str:
    if kind.get("rank_looked_at"):
        full = " of full rank"
    else:
        full = ""
    return f"a difference{full} without a pattern, as other training leaves it"


_SAYS = {
    "zeros": lambda kind: "nothing but zeros",
    "scale": lambda kind: f"scaled by {float(kind['scale']):.4g}",
    "offset": lambda kind: f"{float(kind['offset']):.4g} added to every entry",
    "rounding": _rounding,
    "last place": lambda kind: "off by the last place: rounded otherwise",
    "rows": lambda kind: (
        f"{int(kind['rows'])} of {int(kind['of'])} rows differ, the first is row"
        f" {int(kind['first'])}"
    ),
    "low rank": lambda kind: (
        f"a difference of rank {int(kind['rank'])}, as a merged adapter (LoRA)"
        " leaves it"
    ),
    "order": lambda kind: "the same numbers in another order",
    "unrelated": lambda kind: "nothing in common with the one on disk",
    "entries": _entries,
}
_TOGETHER = {
    "zeros": "nothing but zeros",
    "scale": "a scale",
    "offset": "a number added to all entries",
    "last place": "the last place, rounded otherwise",
    "rows": "single rows",
    "order": "the same numbers in another order",
    "unrelated": "nothing in common with those on disk",
    "entries": "no pattern, as other training leaves it",
    "unknown": "kind not known (only sums of their entries were seen)",
}
"""Kinds of several tensors whose numbers are not the same."""


def _kind(tensor: LoadedTensor) -> str:
    details = tensor.kind or {}
    return str(details.get("kind", "unknown"))


def _scope(differing: Sequence[LoadedTensor], read: Sequence[LoadedTensor]) -> str:
    if len(differing) == len(read) and len(read) > 1:
        return ALL
    if len(differing) == 1:
        return ONE
    names = {tensor.name for tensor in differing}
    matrices = {tensor.name for tensor in read if len(tensor.shape) > 1}
    if names == matrices:
        return MATRICES
    return SOME


def _parts(
    differing: Sequence[LoadedTensor], read: Sequence[LoadedTensor]
) -> tuple[str, ...]:
    """The projections that differ wherever they are, where nothing else does."""
    other = Counter(_part(tensor) for tensor in differing)
    everywhere = Counter(_part(tensor) for tensor in read)
    named = all(
        name is not None and everywhere[name] == count for name, count in other.items()
    )
    if named:
        return tuple(str(name) for name in other)
    return ()


def _part(tensor: LoadedTensor) -> str | None:
    match = _PART.search(tensor.name)
    if match:
        return match.group(1)
    return None


def _who(scope: str, differing: int, read: int, parts: Sequence[str]) -> str:
    if scope == ONE:
        return "One tensor differs"
    if scope == ALL:
        return f"All {read} tensors that were read differ"
    if scope == MATRICES:
        return f"All {differing} matrices differ and no vector"
    some = f"{differing} of {read} tensors differ"
    if not parts:
        return some
    first_parts = ", ".join(parts[:_NAMED])
    more = ""
    others = len(parts) - _NAMED
    if others > 0:
        more = f" and {others} more"
    return f"{some}, {first_parts}{more} of every layer"


def _together(differing: Sequence[LoadedTensor], kinds: Mapping[str, int]) -> str:
    texts = {kind_text(tensor.kind) for tensor in differing}
    if len(texts) == 1:
        text = texts.pop()
        if text:
            return text
    descriptions = {kind: _of_kind(kind, differing) for kind in kinds}
    if len(kinds) == 1:
        return next(iter(descriptions.values()))
    parts = []
    for kind, count in kinds.items():
        parts.append(f"{count} by {descriptions[kind]}")
    return ", ".join(parts)


def _of_kind(kind: str, differing: Sequence[LoadedTensor]) -> str:
    """One kind of several tensors, whose numbers are not the same."""
    of_kind = [
        tensor.kind
        for tensor in differing
        if tensor.kind is not None and tensor.kind.get("kind") == kind
    ]
    if kind == "low rank":
        ranks = [int(details["rank"]) for details in of_kind]
        largest = max(ranks)
        return f"a low rank (at most {largest}), as a merged adapter (LoRA) leaves it"
    if kind == "rounding":
        texts = {kind_text(details) for details in of_kind}
        return " or ".join(sorted(texts))
    return _TOGETHER.get(kind, "kind not known")
