"""Pairs for the panes: opened, judged, and as one line of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logdrift.core.compare.pair import Pair, default_pair, list_pairs, make_pair
from logdrift.core.errors import LogdriftError, words_inside
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible

# Records without comparison and repr: making those of ten classes is a fiftieth of a
# start.

if TYPE_CHECKING:
    from logdrift.core.compare.errors import ErrorStats
    from logdrift.core.compare.gate import Gate


class PairRow(NamedTuple):
    """One line of the pair list: labels of A and B, MAE in nats, the gate's verdict.

    ``problem`` is the reason why there are no numbers, else None.
    """

    a: str
    b: str
    mae: float | None = None
    verdict: str | None = None
    problem: str | None = None


class PairView(NamedTuple):
    """A pair with its judgement: ``stats`` and ``gate`` are None until worked out."""

    pair: Pair
    stats: ErrorStats | None = None
    gate: Gate | None = None

    @property
    def labels(self) -> tuple[str, str]:
        a = self.pair.a.info
        b = self.pair.b.info
        return a.label, b.label

    @property
    def comparable(self) -> bool:
        gate = self.gate
        return gate is None or gate.verdict != "not_comparable"


def judged(session: Session, pair: Pair) -> PairView:
    """The pair with the statistics and the gate of the report.

    The statistics are those of the completions, where there are any. Walks all tokens:
    not for the event loop. Raises LogdriftError where a part is damaged.
    """
    # Imported here because the first screen is drawn without them.
    from logdrift.core.compare.errors import error_stats
    from logdrift.core.compare.gate import judge
    from logdrift.core.compare.pair import default_scope

    view = PairView(pair)
    session.verify(*view.labels)
    scope = default_scope(pair.sequences)
    keep = pair.scope_mask(scope)
    stats = error_stats(
        pair.delta[keep],
        pair.logprob_a[keep],
        pair.logprob_b[keep],
    )
    # The pair keeps them: made here, they do not delay the first key press.
    _ = pair.worst, pair.mean_abs
    gate = judge(session, pair)
    return PairView(pair, stats, gate)


def open_pair(
    session: Session, labels: tuple[str, str] | None
) -> tuple[Pair | None, str | None]:
    """The pair of ``labels``, or else the first pair of the session that opens.

    Returns the pair, None where none opens, and the reason why the first choice did not
    open, None where it did.
    """
    usual = default_pair(session)
    choices = [labels, usual, *list_pairs(session)]
    existing = filter(None, choices)
    problem: str | None = None
    for a, b in dict.fromkeys(existing):
        try:
            pair = read_pair(session, a, b)
        except LogdriftError as error:
            problem = problem or reason(session, error)
        else:
            return pair, problem
    return None, problem


def read_pair(session: Session, a: str, b: str) -> Pair:
    """The pair of two labels with its scores read.

    LogdriftError for a part that cannot be read: here, and not while drawing.
    """
    pair = make_pair(session, a, b)
    _ = pair.scored
    return pair


def reason(session: Session, error: Exception) -> str:
    """An error's text for one short line.

    Files are named by their path within the session, which leaves room for the cause.
    """
    words = words_inside(error, session.folder)
    return visible(words)


def pair_row(session: Session, a: str, b: str) -> PairRow:
    """One judged line of the pair list; an error becomes its ``problem``."""
    try:
        pair = make_pair(session, a, b)
        view = judged(session, pair)
    except Exception as error:
        problem = reason(session, error)
        return PairRow(a, b, problem=problem)
    assert view.stats is not None
    assert view.gate is not None
    return PairRow(
        a=a,
        b=b,
        mae=view.stats.mae,
        verdict=view.gate.verdict,
    )
