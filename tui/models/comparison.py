"""Two sessions compared: the answer, and the tokens that got worse or better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from logdrift.core.numbers import fixed
from logdrift.core.session.visible import visible

if TYPE_CHECKING:
    from logdrift.core.report.diff import DiffReport, TokenChange
    from logdrift.core.report.document import Tone

LISTED = 50
"""Tokens listed in each direction."""


@dataclass(frozen=True, slots=True)
class ChangedToken:
    """A token whose |delta| changed; the texts are visible.

    ``sequence`` and ``position`` are its place in the later session.
    """

    worse: bool
    sequence: int
    position: int
    delta_earlier: str
    delta_later: str
    change: str
    before: str
    token: str
    after: str

    @property
    def place(self) -> str:
        return f"{self.sequence}:{self.position}"

    @property
    def word(self) -> str:
        return "worse" if self.worse else "better"


@dataclass(frozen=True, eq=False)
class Comparison:
    """The default pair of an earlier session against that of a later one.

    ``tokens``: those that got worse, the most first, then those that got better.
    ``labels`` is the pair of the later session.
    """

    earlier: Path
    later: Path
    diff: DiffReport
    answer: str
    tone: Tone
    tokens: tuple[ChangedToken, ...]

    @property
    def labels(self) -> tuple[str, str]:
        side = self.diff.later
        return side.a, side.b

    @property
    def title(self) -> str:
        """``before → after``."""
        return f"{visible(self.earlier.name)} → {visible(self.later.name)}"

    def counted(self) -> str:
        """``12 worse, 8 better``; that more may be is said."""
        words = []
        counts = {"worse": self.diff.worsened, "better": self.diff.improved}
        for word, tokens in counts.items():
            most = "the first " if len(tokens) == LISTED else ""
            words.append(f"{most}{len(tokens)} {word}")
        return ", ".join(words)


def compare_folders(earlier: Path, later: Path) -> Comparison:
    """Read two sessions and compare them; seconds for large ones, so not for the event
    loop. InputError where they have nothing in common.
    """
    # Imported here: the list of sessions is drawn without the comparison.
    from logdrift.core.report.diff import both_pairs, diff_sessions
    from logdrift.core.report.diff_document import diff_answer
    from logdrift.core.session.reader import open_session

    old = open_session(earlier)
    new = open_session(later)
    pairs = both_pairs(old, new, None, None)
    diff = diff_sessions(old, new, *pairs, shown=LISTED)
    answer = diff_answer(diff)
    worse = _listed(diff.worsened, worse=True)
    better = _listed(diff.improved, worse=False)
    return Comparison(
        earlier=earlier,
        later=later,
        diff=diff,
        answer=visible(answer.text),
        tone=answer.tone,
        tokens=(*worse, *better),
    )


def _listed(changes: Iterable[TokenChange], *, worse: bool) -> list[ChangedToken]:
    return [_changed_token(change, worse) for change in changes]


def _changed_token(change: TokenChange, worse: bool) -> ChangedToken:
    context = change.context
    return ChangedToken(
        worse=worse,
        sequence=change.sequence_later,
        position=change.position,
        delta_earlier=fixed(change.delta_earlier, True),
        delta_later=fixed(change.delta_later, True),
        change=fixed(change.change, True),
        before=visible(context.before),
        token=visible(context.piece),
        after=visible(context.after),
    )
