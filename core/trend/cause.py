"""What speaks for a cause of a change: what else changed at that step.

Never more than ``likely``: that two things happen at one step is no proof.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose.causes import BY_CODE, NOISE
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import counted, short
from logdrift.core.report.setting_changes import SettingChange, setting_changes
from logdrift.core.report.strict_json import Json
from logdrift.core.session.reader import Session, open_session
from logdrift.core.trend.line import TrendLine
from logdrift.core.trend.row import TrendRow
from logdrift.core.trend.shift import FEWEST, Shift

Likeliness = Literal["likely", "possible"]

_LOOKED_AT = 5
"""Steps before a change whose versions are looked at: what a training did long ago is
no matter.
"""
_NEAR = 1
"""Steps by which the place of a change may be off: nearly all are found within one
(docs/trend.md).
"""
_FEW = 2
"""Settings that change at one step and are each likely; of more, each is possible: an
upgrade changes many, of which most do nothing.
"""
_SHOWN = 4
"""Settings with a sentence of their own; `logdrift diff` lists them all."""
_OF_EVERY_STEP = frozenset({"weight_version", "weights_digest"})
"""Facts that a training changes at each step."""
_SIDES = {"a": "A", "b": "B"}


@dataclass(frozen=True, slots=True)
class TrendEvidence:
    """What speaks for a cause. ``code`` is of the kind of evidence: ``versions``,
    ``lag``, ``setting``, ``refused`` or ``diagnosis``; ``title`` is the cause in few
    words.
    """

    code: str
    title: str
    sureness: Likeliness
    sentence: str

    def to_json(self) -> Json:
        return asdict(self)


def evidence_of(folder: Path, line: TrendLine, shift: Shift) -> list[TrendEvidence]:
    """What speaks for causes of a change, the most telling first. Opens the sessions on
    both sides of it.
    """
    found = [
        *_versions(line, shift),
        *_lag(line, shift),
        *_settings(folder, line, shift),
        *_diagnosis(line, shift),
    ]
    found.sort(key=_likely_first)
    return found


def _likely_first(evidence: TrendEvidence) -> bool:
    return evidence.sureness != "likely"


# ---- versions of the weights


def _versions(line: TrendLine, shift: Shift) -> Iterator[TrendEvidence]:
    """The weights that sample moved with the steps, and stay as they are from about the
    change on.
    """
    rows = line.rows[: shift.end]
    first_after = min(shift.start + _NEAR, len(rows) - FEWEST)
    after = {row.newest for row in rows[first_after:]}
    if len(after) != 1 or "" in after:
        return
    (version,) = after
    stuck = _first_with(rows, version)
    before = rows[max(0, stuck - _LOOKED_AT) : stuck + 1]
    moves = [a.newest != b.newest for a, b in itertools.pairwise(before)]
    is_near = stuck >= shift.start - 1 - 2 * _NEAR
    if len(moves) < 2 or not all(moves) or not is_near:
        return
    count = len(rows) - stuck
    yield TrendEvidence(
        code="versions",
        title="weights are not synced",
        sureness="likely",
        sentence=(
            f"The weights that sample stay at version {version}"
            f" {line.span(stuck, shift.end)} ({counted(count, 'step')}); before, they"
            " moved with each step."
        ),
    )


def _first_with(rows: Sequence[TrendRow], version: str) -> int:
    """The first row from which on the version stays."""
    first = len(rows)
    while first and rows[first - 1].newest == version:
        first -= 1
    return first


def _lag(line: TrendLine, shift: Shift) -> Iterator[TrendEvidence]:
    """The weights that sample fall behind."""
    before = _known_lags(line.rows[shift.before])
    after = _known_lags(line.rows[shift.since])
    if len(before) < FEWEST or len(after) < FEWEST:
        return
    usual = median(before)
    later = median(after)
    if later < usual + 1:
        return
    yield TrendEvidence(
        code="lag",
        title="the weights that sample are older",
        sureness="likely",
        sentence=(
            f"Tokens are sampled with weights {short(later)} versions behind"
            f" {line.span(shift.start, shift.end)}, {short(usual)} before."
        ),
    )


def _known_lags(rows: Sequence[TrendRow]) -> list[float]:
    return [row.lag for row in rows if row.lag is not None]


# ---- settings


def _settings(folder: Path, line: TrendLine, shift: Shift) -> Iterator[TrendEvidence]:
    """Settings that are others from the change on, and did not change the step
    before.
    """
    changes = _changed_settings(folder, line, shift.start)
    sureness: Likeliness = "possible"
    if len(changes) <= _FEW and shift.is_jump:
        sureness = "likely"
    for change in changes[:_SHOWN]:
        name = change.setting
        if change.where != "session":
            name = f"{name} of {_SIDES[change.where]}"
        values = f"{change.earlier_text} → {change.later_text}"
        yield TrendEvidence(
            code="setting",
            title=f"{change.setting} changed",
            sureness=sureness,
            sentence=f"{name} changed at {line.place(shift.start)}: {values}.",
        )
    left = len(changes) - _SHOWN
    if left > 0:
        before = line.rows[shift.start - 1].session
        after = line.rows[shift.start].session
        yield TrendEvidence(
            code="setting",
            title="other settings changed",
            sureness="possible",
            sentence=(
                f"{counted(left, 'more setting')} changed there: logdrift diff"
                f" {before} {after} lists them."
            ),
        )


def _changed_settings(folder: Path, line: TrendLine, index: int) -> list[SettingChange]:
    """Of the step ``index``; empty where a session cannot be read, or both steps are of
    one session.
    """
    rows = line.rows[max(0, index - 2) : index + 1]
    if any(row.part for row in rows):
        return []
    try:
        sessions = [open_session(folder / row.session) for row in rows]
        pairs = itertools.pairwise(sessions)
        *before, at = [list(_between(line, a, b)) for a, b in pairs]
    except (LogdriftError, OSError):
        return []
    usual = {_setting_name(change) for changes in before for change in changes}
    return [change for change in at if _setting_name(change) not in usual]


def _between(line: TrendLine, a: Session, b: Session) -> Iterator[SettingChange]:
    earlier = make_pair(a, line.a, line.b)
    later = make_pair(b, line.a, line.b)
    for change in setting_changes(a, b, earlier, later):
        if change.setting not in _OF_EVERY_STEP:
            yield change


def _setting_name(change: SettingChange) -> tuple[str, str]:
    return change.where, change.setting


# ---- the diagnosis of the steps


def _diagnosis(line: TrendLine, shift: Shift) -> Iterator[TrendEvidence]:
    """Most steps after the change have a cause that most steps before have not."""
    rows = line.rows[shift.since]
    after = _usual_cause(rows)
    before = _usual_cause(line.rows[shift.before])
    if after in (None, NOISE, before):
        return
    assert after is not None
    title = BY_CODE[after].title
    sureness: Likeliness = "possible"
    if _are_sure(rows, after):
        sureness = "likely"
    share = _share_with(rows, after)
    words = "no one cause"
    if before == NOISE:
        words = "numerical noise"
    elif before is not None:
        words = BY_CODE[before].title
    yield TrendEvidence(
        code="diagnosis",
        title=title,
        sureness=sureness,
        sentence=(
            f"The tokens of {share} {line.span(shift.start, shift.end)} speak for"
            f" {title}, those before for {words}."
        ),
    )


def _usual_cause(rows: Sequence[TrendRow]) -> str | None:
    """The cause of more than half of the rows; None where there is none."""
    causes = Counter(row.cause for row in rows)
    if not causes:
        return None
    ((cause, count),) = causes.most_common(1)
    if count <= len(rows) / 2:
        return None
    return cause


def _share_with(rows: Sequence[TrendRow], cause: str) -> str:
    count = sum(row.cause == cause for row in rows)
    return f"{count:,} of {counted(len(rows), 'step')}"


def _are_sure(rows: Sequence[TrendRow], cause: str) -> bool:
    """Whether the diagnosis calls the cause at least likely in most of its rows."""
    sure = [row.sureness in ("likely", "certain") for row in rows if row.cause == cause]
    return sum(sure) > len(sure) / 2
