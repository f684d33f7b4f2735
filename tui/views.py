"""What the panes are given: frozen records made from a session, with no widget in
sight.

Everything here reads a handful of rows and can be called on each key press.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logdrift.core.compare.pair import Pair, default_pair, list_pairs, make_pair
from logdrift.core.errors import LogdriftError, words_inside
from logdrift.core.session.files import lies_within, read_tail
from logdrift.core.session.layout import LOGS
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible, visible_bytes

# Records without comparison and repr: making those of ten classes is a fiftieth of a
# start.

if TYPE_CHECKING:
    from logdrift.core.compare.errors import ErrorStats
    from logdrift.core.compare.gate import Gate

_LOG_BYTES = 256 * 1024
_SGR = re.compile(rb"\x1b\[[0-9;]*m")


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
    session: Session, wanted: tuple[str, str] | None
) -> tuple[Pair | None, str | None]:
    """The wanted pair, or the first that opens, and a notice where it is not the wanted
    one.
    """
    choices = [
        *([wanted] if wanted else []),
        *filter(None, [default_pair(session)]),
        *list_pairs(session),
    ]
    problem: str | None = None
    for a, b in dict.fromkeys(choices):
        try:
            pair = make_pair(session, a, b)
            # read here, so that a part that cannot be read is said, and drawing reads
            # nothing of it
            _ = pair.scored
            return pair, problem
        except LogdriftError as error:
            problem = problem or reason(session, error)
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
        a,
        b,
        view.stats.mae if view.stats else None,
        view.gate.verdict if view.gate else None,
    )


def log_lines(session: Session, backend: str, limit: int = 500) -> list[str]:
    """The last lines of a backend's log, made visible. Not for the event loop."""
    folder = session.folder / LOGS
    path = folder / f"{backend}.log"
    if "/" in backend or not lies_within(path, folder):
        return [
            f"the log of {visible(backend)} would lie outside of the session folder:"
            " not read"
        ]
    try:
        data = read_tail(path, _LOG_BYTES)
    except OSError as error:
        return [f"{visible(str(path))}: {error.strerror}"]
    except LogdriftError as error:
        return [visible(str(error))]
    # Colours are dropped, and of a progress bar, which rewrites its line, the last
    # state is kept.
    lines = [
        line.rstrip(b"\r").rpartition(b"\r")[2]
        for line in _SGR.sub(b"", data).rstrip(b"\n").split(b"\n")
    ]
    return [visible_bytes(line) for line in lines[-limit:]]
