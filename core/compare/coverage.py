"""What a pair has no number for, by side: scores that are NaN, and scores that one side
alone lacks.

No other number of a pair knows these tokens: they enter no mean, so a mean that looks
well can hide them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.aligned import AlignedPair
from logdrift.core.compare.scopes import Scope
from logdrift.core.facts import Facts
from logdrift.core.numbers import counted
from logdrift.core.session.layout import CaptureInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]

FLOAT16_LARGEST = 65_504
"""The largest float16 number: what grows beyond it is infinity, and infinity less
infinity is NaN.
"""
_FLOAT16 = ("float16", "fp16", "half")


def is_float16(dtype: str) -> bool:
    """Whether a dtype by any of its names is the one that overflows."""
    return dtype.lower().removeprefix("torch.") in _FLOAT16


@dataclass(frozen=True, slots=True)
class Coverage:
    """`coverage` of the JSON schema, in tokens that the mask counts.

    ``nan_a`` and ``nan_b``: the side computed a score and it is NaN; ``nan``: on either
    side. A NaN means a fault of its side wherever it stands, so these count whatever
    the scope is. ``unscored_a`` and ``unscored_b``: the side has no score in the scope
    where the other one has; ``unscored`` is their sum and ``unscored_fraction`` its
    share (0 to 1) of the tokens that one side at least scored, None where there is
    none.
    """

    nan_a: int
    nan_b: int
    nan: int
    unscored_a: int
    unscored_b: int
    unscored: int
    unscored_fraction: float | None

    def to_json(self) -> dict[str, float | int | None]:
        return asdict(self)


def coverage(pair: AlignedPair, scope: Scope) -> Coverage:
    """Count over a pair. InputError for an unknown scope."""
    place = pair.place_mask(scope)
    nan_a = pair.nan_a & pair.counted
    nan_b = pair.nan_b & pair.counted
    unscored_a = _count(pair.missing_a & place)
    unscored_b = _count(pair.missing_b & place)
    unscored = unscored_a + unscored_b
    tokens = _count(pair.scope_mask(scope)) + unscored
    return Coverage(
        nan_a=_count(nan_a),
        nan_b=_count(nan_b),
        nan=_count(nan_a | nan_b),
        unscored_a=unscored_a,
        unscored_b=unscored_b,
        unscored=unscored,
        unscored_fraction=unscored / tokens if tokens else None,
    )


def _count(flags: Bools) -> int:
    return int(np.count_nonzero(flags))


@dataclass(frozen=True, slots=True)
class BrokenSide:
    """The NaN of one capture: how many counted tokens, in how many sequences, and the
    first one.

    ``everything``: the side has no other number, in prompts and completions.
    ``whole_scope``: it has none in the scope.
    """

    label: str
    dtype: str | None
    tokens: int
    prompt_tokens: int
    sequences: int
    first_sequence: int
    first_position: int
    everything: bool
    whole_scope: bool

    @property
    def where(self) -> str:
        """Which tokens: ``every token``, ``40 completion tokens``, ``2 prompt tokens
        and 40 completion tokens``.
        """
        if self.everything:
            return "every token"
        kinds = (
            ("prompt", self.prompt_tokens),
            ("completion", self.tokens - self.prompt_tokens),
        )
        return " and ".join(
            counted(number, f"{kind} token") for kind, number in kinds if number
        )

    @property
    def first(self) -> str:
        return f"token {self.first_position} of sequence {self.first_sequence}"

    @property
    def overflows(self) -> bool | None:
        """Whether its dtype is one that overflows; None where the dtype is not
        known.
        """
        if self.dtype is None:
            return None
        return is_float16(self.dtype)


def broken_sides(pair: AlignedPair, scope: Scope) -> tuple[BrokenSide, ...]:
    """The sides that have NaN among the counted tokens, A first; empty for a healthy
    pair.
    """
    sides = (
        (pair.a.info, pair.nan_a, pair.logprob_a),
        (pair.b.info, pair.nan_b, pair.logprob_b),
    )
    found = (
        _broken_side(pair, scope, info, nan & pair.counted, logprob)
        for info, nan, logprob in sides
    )
    return tuple(side for side in found if side is not None)


def _broken_side(
    pair: AlignedPair, scope: Scope, info: CaptureInfo, nan: Bools, logprob: Any
) -> BrokenSide | None:
    at = np.flatnonzero(nan)
    if not len(at):
        return None
    good = pair.counted & ~np.isnan(logprob)
    place = pair.place_mask(scope)
    first = int(at[0])
    sequence = pair.sequence_of(first)
    return BrokenSide(
        label=info.label,
        dtype=dtype_of(info),
        tokens=len(at),
        prompt_tokens=_count(nan & ~pair.in_completion),
        sequences=int(np.count_nonzero(pair.count_per_sequence(nan))),
        first_sequence=sequence,
        first_position=first - pair.sequences.bounds(sequence)[0],
        everything=not good.any(),
        whole_scope=bool((nan & place).any()) and not (good & place).any(),
    )


def dtype_of(info: CaptureInfo) -> str | None:
    """The dtype that a capture ran in: as observed, else as asked for or told; None
    where only the word is there.
    """
    facts = info.facts or Facts()
    dtype = facts.dtype or info.dtype
    if dtype not in ("", "auto", "unknown"):
        return dtype
    return None


def nan_reason(side: BrokenSide) -> str:
    """Why the numbers of this side are NaN, most likely: half a sentence, without the
    fix.
    """
    if side.overflows:
        return f"float16 ends at {FLOAT16_LARGEST:,} and its numbers overflowed"
    if side.dtype is None:
        return "its dtype is not known, and float16 overflows"
    return f"{side.dtype} hardly overflows, so its weights or a kernel are broken"


def nan_fix(side: BrokenSide) -> str:
    """What to do about it, as an imperative."""
    if side.overflows:
        return "run it in bfloat16 or float32"
    if side.dtype is None:
        return (
            "run it in bfloat16 or float32, and look for NaN in its weights if that is"
            " what it ran in"
        )
    return (
        "look for NaN or infinity in its weights, and run another attention backend or"
        " eager mode"
    )
