"""What two backends loaded, tensor by tensor: which tensors are the same, which differ
and which could not be read. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from logdrift.core.diagnose.differences import kind_text
from logdrift.core.session.identity import LoadedTensor, LoadedWeights

_ALIKE = 1e-6
"""Two differences from one file that agree to this relative are one difference: they
are float64 sums of the same numbers.
"""
_NAMED = 3
"""Tensors that a sentence names."""


@dataclass(frozen=True)
class BothLoaded:
    """The weights that both backends of a pair loaded."""

    a: LoadedWeights
    b: LoadedWeights

    @cached_property
    def equal(self) -> Mapping[str, bool | None]:
        """Tensor that both have -> whether they loaded the same numbers, None where
        that is unknown.
        """
        of_b = {tensor.name: tensor for tensor in self.b.tensors}
        equal = {}
        for tensor in self.a.tensors:
            partner = of_b.get(tensor.name)
            if partner is not None:
                equal[tensor.name] = is_same(tensor, partner)
        return equal

    @property
    def names(self) -> set[str]:
        """Tensors that either side has."""
        tensors = (*self.a.tensors, *self.b.tensors)
        return {tensor.name for tensor in tensors}

    @property
    def different(self) -> set[str]:
        """Tensors that the sides hold differently."""
        return {name for name, same in self.equal.items() if same is False}

    @property
    def unread(self) -> list[str]:
        """Tensors of which it is unknown whether they are the same."""
        unread = []
        for name in sorted(self.names):
            unknown = self.equal.get(name) is None
            if unknown and not self._is_tied_head(name):
                unread.append(name)
        return unread

    def reason_unread(self, name: str) -> str:
        """``vllm: why``, of the first side that says why it did not read the tensor;
        empty where neither does.
        """
        for side in (self.a, self.b):
            for tensor in side.unread:
                if tensor.name == name and tensor.reason:
                    return f"{side.backend}: {tensor.reason}"
        return ""

    def _is_tied_head(self, name: str) -> bool:
        """A copy of a tied head that one engine keeps has no partner in the other, and
        was compared with the embedding.
        """
        tensors = (*self.a.tensors, *self.b.tensors)
        copies = [tensor for tensor in tensors if tensor.name == name]
        if len(copies) != 1 or not name.endswith(".weight"):
            return False
        only = copies[0]
        return only.same is True and only.name == only.loaded


def is_same(a: LoadedTensor, b: LoadedTensor) -> bool | None:
    """Whether both loaded the same numbers, each in its own dtype; None where that
    is unknown.
    """
    if a.same is None or b.same is None:
        return None
    if a.same and b.same:
        return a.file_digest == b.file_digest
    if a.same != b.same:
        return False
    same_dtype = a.dtype == b.dtype
    both_digests = a.digest is not None and b.digest is not None
    if both_digests and same_dtype:
        return a.digest == b.digest
    same_share = same_dtype and a.share == b.share
    both_own = a.own and b.own
    if (both_own or same_share) and _is_one_difference(a, b):
        return True
    return None


def _is_one_difference(a: LoadedTensor, b: LoadedTensor) -> bool:
    """Both differ from the file by the same relative L2."""
    if a.l2 is None or b.l2 is None:
        return False
    larger = max(a.l2, b.l2)
    return abs(a.l2 - b.l2) <= _ALIKE * larger


def described(tensor: LoadedTensor) -> str:
    """``model.norm.weight (relative L2 0.0625, 100% of entries: scaled by 1.06)``."""
    if tensor.l2 is None:
        parts = []
    else:
        parts = [f"relative L2 {tensor.l2:.2g}"]
    if tensor.share is not None:
        parts.append(f"{100 * tensor.share:.3g}% of entries")
    kind = kind_text(tensor.kind)
    if parts and kind:
        return f"{tensor.name} ({', '.join(parts)}: {kind})"
    if not parts and tensor.units is not None:
        limit = tensor.limit or 1
        parts = [f"{tensor.units:.2g} units of rounding where {limit:.2g} may be"]
    if parts:
        return f"{tensor.name} ({', '.join(parts)})"
    return tensor.name


def how_read(side: LoadedWeights) -> str:
    """``3 of vllm's by probe``, ``vllm's by digest``."""
    probed = sum(tensor.how == "probe" for tensor in side.tensors)
    if probed:
        return f"{probed} of {side.backend}'s by probe"
    return f"{side.backend}'s by digest"


def named(names: Sequence[str]) -> str:
    """``a, b, c and 4 more``."""
    if len(names) > _NAMED:
        more = f" and {len(names) - _NAMED} more"
    else:
        more = ""
    return ", ".join(names[:_NAMED]) + more
