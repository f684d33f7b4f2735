"""From evidence to a ranked list: what explains the gap takes it away from what would
only also fit it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from logdrift.core.diagnose.causes import BY_CODE, CAUSES, NOISE
from logdrift.core.diagnose.evidence import LIKELY, Evidence, Ranked, Shown
from logdrift.core.diagnose.knobs import SideState, pointless
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST

_FAINT = 0.1
"""Evidence that is this much fainter than the best for the same cause adds nothing to
read.
"""
SHOWN = 0.05
"""Causes below are not listed."""
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
EXPLAINED_BY: dict[str, frozenset[str]] = {
    "own list": frozenset(("cross-correlation",)),
    "slope": frozenset(("bound", "cross-correlation", "seen before", "bend")),
    "bend": frozenset(("bound", "cross-correlation", "seen before")),
    "seen before": frozenset(("cross-correlation",)),
    "turn with log p": frozenset(
        ("cross-correlation", "own list", "slope", "bend", "seen before")
    ),
    "common lift": frozenset(("cross-correlation", "own list", "slope", "bend")),
    "tokens that occurred before": frozenset(
        (
            "cross-correlation",
            "own list",
            "slope",
            "bend",
            "seen before",
            "truncated support",
            "turn with log p",
            "common lift",
        )
    ),
    "padded rows": frozenset(("cross-correlation", "own list")),
    "start": (
        _RECORDING
        | frozenset(
            (
                "cross-correlation",
                "slope",
                "bend",
                "padded rows",
                "truncated support",
                "turn with log p",
            )
        )
    ),
    "step": _RECORDING | frozenset(("cross-correlation", "own list", "start", "slope")),
    "onset": (
        _RECORDING
        | frozenset(
            (
                "cross-correlation",
                "own list",
                "start",
                "padded rows",
                "step",
                "seen before",
                "tokens that occurred before",
            )
        )
    ),
    "growth": frozenset(
        (
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
        )
    ),
    "lattice": frozenset(("slope", "bend", "seen before", "truncated support")),
    "no likeness": frozenset(
        (
            "cross-correlation",
            "own list",
            "start",
            "onset",
            "slope",
            "padded rows",
            "growth",
            "step",
        )
    ),
    "common shift": frozenset(
        ("cross-correlation", "slope", "bend", "seen before", "truncated support")
    ),
    "completion": frozenset(
        (
            "cross-correlation",
            "own list",
            "seen before",
            "step",
            "slope",
            "bend",
            "truncated support",
            "growth",
        )
    ),
    "size": (
        _STRUCTURED
        | {"common lift", "turn with log p"}
        | {
            "value grid",
            "few digits",
            "lattice",
            "no likeness",
            "common shift",
            "heavy tail",
        }
    ),
}
"""Signatures that a finding of others explains: its score is multiplied by 1 - theirs.
A shift by one token, say, also makes alternatives unlike; a sliding window also grows
with the position.
"""


OBSERVED = frozenset(("facts", "identity", "experiment", "layers"))
"""Signatures that were observed outside of the numbers: the gate's facts, identity
checks, experiments, layers.
"""
_SEEN = 0.9
_REFUTING = OBSERVED - {"facts"}
"""Those that can also speak against a cause, by ``numbers["leaves"]``."""


def discounted(evidence: Iterable[Evidence]) -> list[Evidence]:
    """Evidence with what others explain taken off, in one pass in the order of
    `EXPLAINED_BY`, and what a cause's own experiment speaks against.
    """
    found = _without_symptoms(_told_apart(_refuted(list(evidence))))
    for name, others in EXPLAINED_BY.items():
        left = 1.0
        for score in _strongest(found, others).values():
            left *= 1 - score
        for i, each in enumerate(found):
            # A cause that the facts name keeps what the size of the gap says for it,
            # and leaves little of it to others.
            named = (
                name == "size"
                and each.cause != NOISE
                and _facts_name(found, each.cause)
            )
            if each.signature == name and not named:
                observed = (
                    1 - _observed_size(found, each.cause)
                    if name == "size" and each.cause != NOISE
                    else 1.0
                )
                found[i] = replace(each, score=each.score * left * observed)
    return _noise_last(found)


def _refuted(found: list[Evidence]) -> list[Evidence]:
    """A cause whose knob was turned and removed nothing, or that an identity check
    excludes, keeps ``leaves`` of its other evidence. Where several knobs of one cause
    were turned, the best of them counts.
    """
    leaves: dict[str, float] = {}
    for each in found:
        left = each.numbers.get("leaves")
        if each.signature in _REFUTING and isinstance(left, float):
            leaves[each.cause] = max(left, leaves.get(each.cause, 0.0))
    return [
        (
            each
            if each.signature in _REFUTING
            else replace(each, score=each.score * leaves.get(each.cause, 1.0))
        )
        for each in found
    ]


def _told_apart(found: list[Evidence]) -> list[Evidence]:
    """A temperature and a logit scale draw one line. Where one of them was observed and
    the other was not, the line speaks for that one, and what it says for the other is
    left only as far as the observation is in doubt.
    """
    seen = {
        cause: max(
            (o.score for o in found if o.cause == cause and o.signature in OBSERVED),
            default=0.0,
        )
        for cause in _ONE_LINE
    }
    left = {
        cause: 1 - max(score for other, score in seen.items() if other != cause)
        for cause in _ONE_LINE
    }
    return [
        (
            replace(each, score=each.score * left[each.cause])
            if each.signature == "slope"
            and each.cause in _ONE_LINE
            and not seen[each.cause]
            else each
        )
        for each in found
    ]


def _strongest(
    found: Sequence[Evidence], signatures: frozenset[str]
) -> dict[str, float]:
    """The largest score that each of ``signatures`` gives to a cause other than
    noise.
    """
    out: dict[str, float] = {}
    for each in found:
        if each.signature in signatures and each.cause != NOISE:
            explains = each.score if each.explains is None else each.explains
            out[each.signature] = max(out.get(each.signature, 0.0), explains)
    return out


def _without_symptoms(found: list[Evidence]) -> list[Evidence]:
    """Facts that only describe how a fault of recording looks count for no other cause
    once that fault is found.
    """
    seen = max(
        (each.score for each in found if each.cause in _OF_RECORDING), default=0.0
    )
    return [
        (
            replace(each, score=each.score * (1 - seen))
            if each.cause not in _OF_RECORDING
            and each.numbers.get("reason") in _SYMPTOMS
            else each
        )
        for each in found
    ]


_OF_RECORDING = frozenset(
    cause.code for cause in CAUSES if cause.group == "recording"
) | {"alignment"}
_SYMPTOMS = frozenset(("truncated", "boundary", "positive", "infinite"))
"""Reasons of the gate that a shift, a filled value or another unit gives too."""


def _observed_size(found: Sequence[Evidence], cause: str) -> float:
    """The strongest observation of another cause that makes noise of any size."""
    return max(
        (
            o.score
            for o in found
            if o.signature in OBSERVED
            and o.cause in _SHAPELESS
            and o.cause != cause
            and o.score > 0.5
        ),
        default=0.0,
    )


_SHAPELESS = frozenset(("weights", "kv_cache"))
"""Causes of `size`: where one of them was observed, it explains the size for the
others.
"""


def _facts_name(found: Sequence[Evidence], cause: str) -> bool:
    return any(
        o.signature in OBSERVED and o.cause == cause and o.score > 0.5 for o in found
    )


def _noise_last(found: list[Evidence]) -> list[Evidence]:
    """Facts that differ in what changes numbers by more than rounding leave less to
    noise; noise leaves less to them.

    Rounding noise of the right size says that a difference in the facts has not done
    anything that can be seen, unless it makes the numbers another quantity (scores
    above 0.9), or the model another function (`_is_other_function`): an overridden RoPE
    base that rounding still hides here shows on longer sequences.
    """
    noise = max((each.score for each in found if each.cause == NOISE), default=0.0)
    out = []
    for each in found:
        if each.cause == NOISE:
            others = [o for o in found if o.signature in OBSERVED and o.cause != NOISE]
            certain = max((o.score for o in others if o.score > 0.9), default=0.0)
            precise = max(
                (o.score for o in others if o.cause in _PRECISION), default=0.0
            )
            out.append(replace(each, score=each.score * (1 - certain) * (1 - precise)))
        elif (
            each.signature in OBSERVED
            and each.cause not in _PRECISION
            and each.score <= 0.9
            and not _is_other_function(each)
        ):
            out.append(replace(each, score=each.score * (1 - 0.6 * noise)))
        else:
            out.append(each)
    return out


def _is_other_function(evidence: Evidence) -> bool:
    """Read from the configuration as it was resolved, and not from digests of the
    files.
    """
    reason = evidence.numbers.get("reason")
    return reason == "overrides" or (
        reason == "config" and bool(evidence.numbers.get("named"))
    )


_ONE_LINE = ("temperature", "config")
_PRECISION = frozenset(
    ("compute_dtype", "head_dtype", "kv_cache", "tf32", "log_softmax_dtype")
)


def ranked(
    evidence: Iterable[Evidence],
    sides: tuple[SideState, SideState],
    ceiling: float = 1.0,
) -> tuple[Ranked, ...]:
    """Causes, most likely first, ties in the order of checking; only those of at least
    `SHOWN`. ``sides`` say which knobs mean something here. ``ceiling`` is the largest
    score that findings in so few tokens may add up to.

    A cause's score is 1 - the product of 1 - score over its evidence: independent
    findings strengthen each other. What was proven comes first. What was refuted comes
    last, possible at most, and stays in the list where it was likely before.
    """
    by_cause: dict[str, list[Evidence]] = {}
    for each in evidence:
        by_cause.setdefault(each.cause, []).append(each)
    out = []
    for code, found in by_cause.items():
        measured = _measured(
            [each for each in found if each.signature not in OBSERVED], ceiling
        )
        observed = _together(each for each in found if each.signature in OBSERVED)
        score = 1 - (1 - measured) * (1 - observed)
        if _only_hints(found):
            score = min(score, POSSIBLE_AT_MOST)
        shown = _shown(found)
        if shown is not None and shown.shows == "refuted":
            listed = score >= SHOWN or _before(found) >= LIKELY
            score = min(score, POSSIBLE_AT_MOST)
        else:
            listed = score >= SHOWN
        if not listed:
            continue
        found.sort(key=lambda e: -e.score)
        least = max(0.01, _FAINT * found[0].score)
        kept = tuple(e for e in found if e.score > least or e.signature in _REFUTING)
        ranked_one = _ranked(code, score, kept, sides)
        if shown is not None:
            ranked_one = replace(ranked_one, shown=shown.shows, proof=shown.proof)
        out.append(ranked_one)
    place = {cause.code: cause.number for cause in CAUSES}
    return tuple(
        sorted(
            out,
            key=lambda r: (_ORDER[r.shown], -round(r.score, 3), place.get(r.cause, 99)),
        )
    )


_ORDER: Mapping[Shown | None, int] = {"proven": 0, None: 1, "refuted": 2}


def _shown(found: Sequence[Evidence]) -> Evidence | None:
    """What proved the cause, the strongest of it; else what refuted it, where no other
    change of it left that open.
    """
    proofs = [each for each in found if each.shows == "proven"]
    if proofs:
        return max(proofs, key=lambda each: each.score)
    tried = [each for each in found if each.signature == "experiment"]
    refuted = [each for each in tried if each.shows == "refuted"]
    return refuted[0] if refuted and len(refuted) == len(tried) else None


def _before(found: Sequence[Evidence]) -> float:
    """The score of a cause without what its own experiments took from it."""
    leaves = max(
        (_leaves(each) for each in found if each.signature == "experiment"), default=1.0
    )
    rest = [each for each in found if each.signature not in _REFUTING]
    return (
        _together(replace(each, score=min(1.0, each.score / leaves)) for each in rest)
        if leaves > 0
        else 0.0
    )


def _leaves(evidence: Evidence) -> float:
    left = evidence.numbers.get("leaves")
    return left if isinstance(left, float) else 1.0


def _measured(found: Sequence[Evidence], ceiling: float) -> float:
    """What the numbers say together: hints add up to ``ceiling`` at most, and never
    take away from the best of them.
    """
    best = max((each.score for each in found), default=0.0)
    return min(_together(found), max(ceiling, best))


def _together(evidence: Iterable[Evidence]) -> float:
    """1 - the product of 1 - score."""
    left = 1.0
    for each in evidence:
        left *= 1 - each.score
    return 1 - left


def _only_hints(found: Sequence[Evidence]) -> bool:
    """Whether all that speaks for a cause are signs that other causes give too: two
    hints make no proof.
    """
    return all(each.signature in _HINTS or each.score <= 0.3 for each in found)


_HINTS = frozenset(("turn with log p", "tokens that occurred before"))
"""Signatures of chosen tokens alone that several causes share."""


def _ranked(
    code: str,
    score: float,
    found: tuple[Evidence, ...],
    sides: tuple[SideState, SideState],
) -> Ranked:
    if code == NOISE:
        return Ranked(
            cause=NOISE,
            score=score,
            evidence=found,
            next_experiment=None,
            title="numerical noise, nothing to fix",
        )
    cause = BY_CODE[code]
    if any(each.signature == "identity" and each.score > _SEEN for each in found):
        return Ranked(
            cause=code,
            score=score,
            evidence=found,
            next_experiment=None,
            title=cause.title,
        )  # observed: there is nothing left to tell it from
    tried = any(each.signature == "experiment" for each in found)
    following = None if tried else experiment(code, sides)
    return Ranked(
        cause=code,
        score=score,
        evidence=found,
        next_experiment=following,
        title=cause.title,
        separable=cause.separable,
        otherwise=cause.otherwise,
    )


def experiment(code: str, sides: tuple[SideState, SideState]) -> str | None:
    """The one-knob experiment in one line, B's knob first; None where neither side has
    one that would change anything.
    """
    for side in (sides[1], sides[0]):
        knobs = [
            k
            for k in BY_CODE[code].knobs.get(side.info.engine, ())
            if pointless(side, k, None) is None
        ]
        if knobs:
            knob = min(
                knobs, key=lambda k: (not k.run, k.combined)
            )  # what --run does comes before what is done by hand
            more = f" ({knob.effect})" if knob.effect else ""
            mark = "; it changes more than one thing" if knob.combined else ""
            return (
                f"{side.info.engine}: {knob.setting}{more}, everything else equal{mark}"
            )
    return None
