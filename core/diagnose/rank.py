"""From evidence to a ranked list of causes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from logdrift.core.diagnose.causes import BY_CODE, NOISE
from logdrift.core.diagnose.discount import OBSERVED, REFUTING
from logdrift.core.diagnose.evidence import CERTAIN, LIKELY, Evidence, Ranked, Shown
from logdrift.core.diagnose.knobs import SideState, next_experiment
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST

SHOWN = 0.05
"""Causes below are not listed. By judgement."""
_FAINT = 0.1
"""Evidence that is this much fainter than the best for the same cause adds nothing to
read. By judgement.
"""
_HINTS = frozenset(("turn with log p", "tokens that occurred before"))
"""Signatures of chosen tokens alone that several causes share."""
_HINT_AT_MOST = 0.3
"""The largest score of other evidence that is no more than a hint. By judgement."""
_SHOWN_ORDER: Mapping[Shown | None, int] = {"proven": 0, None: 1, "refuted": 2}


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
    for piece in evidence:
        by_cause.setdefault(piece.cause, []).append(piece)
    causes = []
    for code, pieces in by_cause.items():
        cause = _ranked(code, pieces, sides, ceiling)
        if cause is not None:
            causes.append(cause)
    return tuple(sorted(causes, key=_place))


def _place(cause: Ranked) -> tuple[int, float, int]:
    """Where a cause comes in the list; noise after all others of one score."""
    number = len(BY_CODE)
    if cause.cause in BY_CODE:
        number = BY_CODE[cause.cause].number
    what_was_shown = _SHOWN_ORDER[cause.shown]
    score = round(cause.score, 3)
    return what_was_shown, -score, number


def _ranked(
    code: str,
    evidence: Sequence[Evidence],
    sides: tuple[SideState, SideState],
    ceiling: float,
) -> Ranked | None:
    """One cause with all its evidence; None where it is not to be listed."""
    score = _score(evidence, ceiling)
    likely_before = False
    shown = _what_showed(evidence)
    if shown is not None and shown.shows == "refuted":
        likely_before = _score_before(evidence) >= LIKELY
        listed_score = min(score, POSSIBLE_AT_MOST)
    else:
        listed_score = score
    if score < SHOWN and not likely_before:
        return None
    kept = _telling(evidence)
    ranked_cause = Ranked(
        cause=code,
        score=listed_score,
        evidence=kept,
        next_experiment=None,
        title=code,
        separable=True,
        otherwise="",
        shown=shown.shows if shown is not None else None,
        proof=shown.proof if shown is not None else "",
    )
    return _with_experiment(ranked_cause, sides)


def _with_experiment(ranked: Ranked, sides: tuple[SideState, SideState]) -> Ranked:
    """The cause with its title and what tells it from others, by the cause table."""
    to_try = _to_try(ranked.cause, ranked.evidence, sides)
    if ranked.cause not in BY_CODE:
        return replace(ranked, next_experiment=to_try)
    entry = BY_CODE[ranked.cause]
    if _was_looked_at(ranked.evidence):
        # What an identity check found needs no experiment to tell it from others.
        return replace(ranked, title=entry.title)
    return replace(
        ranked,
        title=entry.title,
        next_experiment=to_try,
        separable=entry.separable,
        otherwise=entry.otherwise,
    )


def _was_looked_at(evidence: Sequence[Evidence]) -> bool:
    """Whether an identity check has shown the cause itself."""
    checks = [piece for piece in evidence if piece.signature == "identity"]
    return any(check.score > CERTAIN for check in checks)


def _to_try(
    code: str, evidence: Sequence[Evidence], sides: tuple[SideState, SideState]
) -> str | None:
    """The experiment to make next; None for noise, and where one was made."""
    tried = any(piece.signature == "experiment" for piece in evidence)
    if tried or code == NOISE:
        return None
    return next_experiment(code, sides)


def _telling(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The evidence worth reading, strongest first; what refutes always is."""
    in_order = sorted(evidence, key=lambda piece: -piece.score)
    strongest = in_order[0]
    least = max(0.01, _FAINT * strongest.score)
    telling = []
    for piece in in_order:
        if piece.score > least or piece.signature in REFUTING:
            telling.append(piece)
    return tuple(telling)


def _score(evidence: Sequence[Evidence], ceiling: float) -> float:
    """The score of a cause: what the numbers say and what was observed, together. Signs
    that other causes give too make no proof, however many there are.
    """
    observations = []
    measurements = []
    for piece in evidence:
        if piece.signature in OBSERVED:
            observations.append(piece)
        else:
            measurements.append(piece)
    measured = _measured(measurements, ceiling)
    observed = _together(observations)
    score = 1 - (1 - measured) * (1 - observed)
    if all(map(_is_hint, evidence)):
        return min(score, POSSIBLE_AT_MOST)
    return score


def _is_hint(piece: Evidence) -> bool:
    """A sign that other causes give too, or a faint one."""
    return piece.signature in _HINTS or piece.score <= _HINT_AT_MOST


def _measured(evidence: Sequence[Evidence], ceiling: float) -> float:
    """What the numbers say together: hints add up to ``ceiling`` at most, and never
    take away from the best of them.
    """
    scores = [piece.score for piece in evidence]
    best = max(scores, default=0.0)
    most = max(ceiling, best)
    return min(_together(evidence), most)


def _together(evidence: Iterable[Evidence]) -> float:
    """1 - the product of 1 - score."""
    left = 1.0
    for piece in evidence:
        left *= 1 - piece.score
    return 1 - left


def _what_showed(evidence: Sequence[Evidence]) -> Evidence | None:
    """What proved the cause, the strongest of it; else what refuted it, where no other
    change of it left that open.
    """
    proofs = [piece for piece in evidence if piece.shows == "proven"]
    if proofs:
        return max(proofs, key=lambda piece: piece.score)
    tried = [piece for piece in evidence if piece.signature == "experiment"]
    if tried and all(piece.shows == "refuted" for piece in tried):
        return tried[0]
    return None


def _score_before(evidence: Sequence[Evidence]) -> float:
    """The score of a cause without what its own experiments took from it."""
    tried = [piece for piece in evidence if piece.signature == "experiment"]
    leaves = max(map(_leaves, tried), default=1.0)
    if leaves <= 0:
        return 0.0
    rest = [piece for piece in evidence if piece.signature not in REFUTING]
    left = 1.0
    for piece in rest:
        score_before = min(1.0, piece.score / leaves)
        left *= 1 - score_before
    return 1 - left


def _leaves(evidence: Evidence) -> float:
    """What an experiment leaves of a cause's other evidence."""
    left = evidence.numbers.get("leaves")
    if isinstance(left, float):
        return left
    return 1.0
