"""What one finding explains is taken away from others that would only also fit it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from logdrift.core.diagnose.causes import CAUSES, NOISE
from logdrift.core.diagnose.evidence import CERTAIN, LIKELY, Evidence

OBSERVED = frozenset(("facts", "identity", "experiment", "layers"))
"""Signatures that were observed outside of the numbers: the gate's facts, identity
checks, experiments, layers.
"""
REFUTING = OBSERVED - {"facts"}
"""Those that can also speak against a cause, by ``numbers["leaves"]``."""

_RECORDING = frozenset(
    (
        "units",
        "one value for each sequence",
        "moved stretch",
        "other sequence",
        "repeated stretch",
        "repeated value",
        "bound",
    )
)
"""Faults of recording: found in most sequences, they are there unseen in some of the
others too, and show by their place.
"""
_STRUCTURED = frozenset(
    (
        "own list",
        "cross-correlation",
        "truncated support",
        "seen before",
        "slope",
        "bend",
        "padded rows",
        "step",
        "start",
        "onset",
        "growth",
    )
)
"""Signatures of a shape that no rounding has."""


def _by(*signatures: str) -> frozenset[str]:
    return frozenset(signatures)


EXPLAINED_BY: Mapping[str, frozenset[str]] = {
    "own list": _by("cross-correlation"),
    "slope": _by("bound", "cross-correlation", "seen before", "bend"),
    "bend": _by("bound", "cross-correlation", "seen before"),
    "seen before": _by("cross-correlation"),
    "turn with log p": _by(
        "cross-correlation", "own list", "slope", "bend", "seen before"
    ),
    "common lift": _by("cross-correlation", "own list", "slope", "bend"),
    "tokens that occurred before": _by(
        "cross-correlation",
        "own list",
        "slope",
        "bend",
        "seen before",
        "truncated support",
        "turn with log p",
        "common lift",
    ),
    "padded rows": _by("cross-correlation", "own list"),
    "start": (
        _RECORDING
        | _by(
            "cross-correlation",
            "slope",
            "bend",
            "padded rows",
            "truncated support",
            "turn with log p",
        )
    ),
    "step": _RECORDING | _by("cross-correlation", "own list", "start", "slope"),
    "onset": (
        _RECORDING
        | _by(
            "cross-correlation",
            "own list",
            "start",
            "padded rows",
            "step",
            "seen before",
            "tokens that occurred before",
        )
    ),
    "growth": _by(
        "onset",
        "cross-correlation",
        "own list",
        "seen before",
        "step",
        "start",
        "slope",
        "bend",
        "truncated support",
        "turn with log p",
        "tokens that occurred before",
    ),
    "lattice": _by("slope", "bend", "seen before", "truncated support"),
    "no likeness": _by(
        "cross-correlation",
        "own list",
        "start",
        "onset",
        "slope",
        "padded rows",
        "growth",
        "step",
    ),
    "common shift": _by(
        "cross-correlation", "slope", "bend", "seen before", "truncated support"
    ),
    "completion": _by(
        "cross-correlation",
        "own list",
        "seen before",
        "step",
        "slope",
        "bend",
        "truncated support",
        "growth",
    ),
    "size": (
        _STRUCTURED
        | _by(
            "common lift",
            "turn with log p",
            "value grid",
            "few digits",
            "lattice",
            "no likeness",
            "common shift",
            "heavy tail",
            "age of weights",
            "change of weights",
            "retokenised",
        )
    ),
}
"""Signatures that a finding of others explains: its score is multiplied by 1 - theirs.
A shift by one token, say, also makes alternatives unlike; a sliding window also grows
with the position. By argument: what each fault does to the other signatures; the
planted faults hold it (docs/why.md).
"""

_ONE_LINE = ("temperature", "config")
"""Causes that draw one line between the alternatives."""
_OF_RECORDING = frozenset(
    cause.code for cause in CAUSES if cause.group == "recording"
) | {"alignment"}
_SYMPTOMS = frozenset(("truncated", "boundary", "positive", "infinite"))
"""Reasons of the gate that a shift, a filled value or another unit gives too."""
_SHAPELESS = frozenset(("weights", "kv_cache"))
"""Causes of `size`: where one of them was observed, it explains the size for the
others.
"""
_PRECISION = frozenset(
    ("compute_dtype", "head_dtype", "kv_cache", "tf32", "log_softmax_dtype")
)
"""Causes that make rounding noise larger or smaller."""
_NOISE_EXPLAINS = 0.6
"""How much of an observed difference noise of the right size speaks against. By
judgement: that nothing can be seen here does not say that nothing differs.
"""


def discounted(evidence: Iterable[Evidence]) -> list[Evidence]:
    """Evidence with what others explain taken off, in one pass in the order of
    `EXPLAINED_BY`, and what a cause's own experiment speaks against.
    """
    left = _without_refuted(list(evidence))
    left = _for_one_line(left)
    left = _without_symptoms(left)
    left = _without_explained(left)
    return _noise_last(left)


def _scaled(evidence: Evidence, share: float) -> Evidence:
    return replace(evidence, score=evidence.score * share)


def _without_refuted(evidence: Sequence[Evidence]) -> list[Evidence]:
    """A cause whose knob was turned and removed nothing, or that an identity check
    excludes, keeps ``leaves`` of its other evidence. Where several knobs of one cause
    were turned, the best of them counts.
    """
    leaves: dict[str, float] = {}
    for piece in evidence:
        left = piece.numbers.get("leaves")
        if piece.signature in REFUTING and isinstance(left, float):
            so_far = leaves.get(piece.cause, 0.0)
            leaves[piece.cause] = max(left, so_far)
    remaining = []
    for piece in evidence:
        if piece.signature not in REFUTING:
            share = leaves.get(piece.cause, 1.0)
            piece = _scaled(piece, share)
        remaining.append(piece)
    return remaining


def _for_one_line(evidence: Sequence[Evidence]) -> list[Evidence]:
    """A temperature and a logit scale draw one line. Where one of them was observed and
    the other was not, the line speaks for that one, and what it says for the other is
    left only as far as the observation is in doubt.
    """
    observed = {cause: _observed(evidence, cause) for cause in _ONE_LINE}

    def share(piece: Evidence) -> float:
        """What is left of the piece, 0 to 1."""
        if piece.signature != "slope" or observed.get(piece.cause, 1.0):
            return 1.0
        return 1 - max(observed.values())

    return [_scaled(piece, share(piece)) for piece in evidence]


def _observed(evidence: Sequence[Evidence], cause: str) -> float:
    """The strongest observation of a cause, 0 without any."""
    scores = (
        piece.score
        for piece in evidence
        if piece.cause == cause and piece.signature in OBSERVED
    )
    return max(scores, default=0.0)


def _without_symptoms(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Facts that only describe how a fault of recording looks count for no other cause
    once that fault is found.
    """
    faults = [piece.score for piece in evidence if piece.cause in _OF_RECORDING]
    clearest_fault = max(faults, default=0.0)
    remaining = []
    for piece in evidence:
        if _is_symptom(piece):
            piece = _scaled(piece, 1 - clearest_fault)
        remaining.append(piece)
    return remaining


def _is_symptom(piece: Evidence) -> bool:
    of_recording = piece.cause in _OF_RECORDING
    return not of_recording and piece.numbers.get("reason") in _SYMPTOMS


def _without_explained(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Each signature less what the findings of others explain of it, by the table."""
    left = list(evidence)
    for signature, others in EXPLAINED_BY.items():
        unexplained = 1.0
        for score in _strongest(left, others).values():
            unexplained *= 1 - score
        remaining = []
        for piece in left:
            if piece.signature == signature:
                piece = _scaled_size(left, piece, unexplained)
            remaining.append(piece)
        left = remaining
    return left


def _strongest(
    evidence: Sequence[Evidence], signatures: frozenset[str]
) -> dict[str, float]:
    """How much each of ``signatures`` explains at most, by what it found of a cause
    other than noise.
    """
    strongest: dict[str, float] = {}
    for piece in evidence:
        if piece.signature in signatures and piece.cause != NOISE:
            explains = piece.score if piece.explains is None else piece.explains
            so_far = strongest.get(piece.signature, 0.0)
            strongest[piece.signature] = max(so_far, explains)
    return strongest


def _scaled_size(
    evidence: Sequence[Evidence], piece: Evidence, unexplained: float
) -> Evidence:
    """``piece`` with what is unexplained of it. What the size of the gap says for a
    cause that was observed stays, and little of it is left to other causes then.
    """
    if piece.signature != "size" or piece.cause == NOISE:
        return _scaled(piece, unexplained)
    if _observed(evidence, piece.cause) > LIKELY:
        return piece
    other_size = _other_size(evidence, piece.cause)
    return _scaled(_scaled(piece, unexplained), 1 - other_size)


def _other_size(evidence: Sequence[Evidence], cause: str) -> float:
    """The strongest observation of another cause that makes noise of any size."""
    others = (_observed(evidence, code) for code in _SHAPELESS if code != cause)
    return max((score for score in others if score > LIKELY), default=0.0)


def _noise_last(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Facts that differ in what changes numbers by more than rounding leave less to
    noise; noise leaves less to them.

    Rounding noise of the right size says that a difference in the facts has not done
    anything that can be seen, unless it makes the numbers another quantity (scores
    above 0.9), or the model another function (`_is_other_function`): an overridden RoPE
    base that rounding still hides here shows on longer sequences.
    """
    noise_scores = [piece.score for piece in evidence if piece.cause == NOISE]
    noise = max(noise_scores, default=0.0)
    remaining = []
    for piece in evidence:
        if piece.cause == NOISE:
            piece = _left_of_noise(evidence, piece)
        elif _is_hidden_by_noise(piece):
            piece = _scaled(piece, 1 - _NOISE_EXPLAINS * noise)
        remaining.append(piece)
    return remaining


def _left_of_noise(evidence: Sequence[Evidence], noise: Evidence) -> Evidence:
    """Noise less what is certainly another quantity, and less other precisions."""
    scores_above_certain = []
    scores_of_precision = []
    for piece in evidence:
        if piece.signature not in OBSERVED or piece.cause == NOISE:
            continue
        if piece.score > CERTAIN:
            scores_above_certain.append(piece.score)
        if piece.cause in _PRECISION:
            scores_of_precision.append(piece.score)
    certain = max(scores_above_certain, default=0.0)
    precise = max(scores_of_precision, default=0.0)
    score = noise.score * (1 - certain) * (1 - precise)
    return replace(noise, score=score)


def _is_hidden_by_noise(piece: Evidence) -> bool:
    """Whether an observed difference would be seen if it did anything here."""
    return (
        piece.signature in OBSERVED
        and piece.cause not in _PRECISION
        and piece.score <= CERTAIN
        and not _is_other_function(piece)
    )


def _is_other_function(piece: Evidence) -> bool:
    """Read from the configuration as it was resolved, and not from digests of the
    files.
    """
    reason = piece.numbers.get("reason")
    named = reason == "config" and bool(piece.numbers.get("named"))
    return reason == "overrides" or named
