"""Pairs as the panes are given them: opened, judged, and in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from logdrift.core.compare.pair import Pair, default_pair, list_pairs, make_pair
from logdrift.core.errors import LogdriftError, words_inside
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible

# Records without comparison and repr: making those of ten classes is a fiftieth of a
# start.

if TYPE_CHECKING:
    from logdrift.core.compare.errors import ErrorStats
    from logdrift.core.compare.gate import Gate


@dataclass(frozen=True, eq=False, repr=False)
class PairRow:
    """One line of the pair list. ``problem`` says why there are no numbers."""

    a: str
    b: str
    mae: float | None = None
    verdict: str | None = None
    problem: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class PairView:
    """A pair with its judgement. ``stats`` and ``gate`` are None until they have been
    worked out.
    """

    pair: Pair
    stats: ErrorStats | None = None
    gate: Gate | None = None

    @property
    def labels(self) -> tuple[str, str]:
        return self.pair.a.info.label, self.pair.b.info.label

    @property
    def comparable(self) -> bool:
        return self.gate is None or self.gate.verdict != "not_comparable"


def judged(session: Session, pair: Pair) -> PairView:
    """The pair with the report's statistics (of the completions, where there are any)
    and gate. Walks all tokens: not for the event loop.
    """
    # Imported here because the first screen is drawn without them.
    from logdrift.core.compare.errors import error_stats
    from logdrift.core.compare.gate import judge
    from logdrift.core.compare.pair import default_scope

    session.verify(pair.a.info.label, pair.b.info.label)
    keep = pair.scope_mask(default_scope(pair.sequences))
    stats = error_stats(pair.delta[keep], pair.logprob_a[keep], pair.logprob_b[keep])
    # Kept by the pair from here on, so that the first key press finds them made.
    _ = pair.worst, pair.mean_abs
    return PairView(pair, stats, judge(session, pair))


def open_pair(
    session: Session, labels: tuple[str, str] | None
) -> tuple[Pair | None, str | None]:
    """The pair of these labels, or the first that opens; and a notice where it is
    another one.
    """
    choices = [labels, default_pair(session), *list_pairs(session)]
    problem: str | None = None
    for a, b in dict.fromkeys(filter(None, choices)):
        try:
            pair = make_pair(session, a, b)
            # Read here, so that a part that cannot be read is told, and drawing reads
            # nothing of it.
            _ = pair.scored
        except LogdriftError as error:
            problem = problem or reason(session, error)
        else:
            return pair, problem
    return None, problem


def reason(session: Session, error: Exception) -> str:
    """An error's text for one short line: files by their place in the session, so that
    the cause is not cut off.
    """
    return visible(words_inside(error, session.folder))


def pair_row(session: Session, a: str, b: str) -> PairRow:
    """One judged line of the pair list."""
    try:
        view = judged(session, make_pair(session, a, b))
    except Exception as error:
        return PairRow(a, b, problem=reason(session, error))
    return PairRow(
        a=a,
        b=b,
        mae=view.stats.mae if view.stats else None,
        verdict=view.gate.verdict if view.gate else None,
    )
