"""A session of the list in words: verdict, state, and what a filter looks through."""

from __future__ import annotations

from rich.cells import cell_len

from logdrift.core.numbers import duration
from logdrift.core.words import VERDICTS_IN_A_SENTENCE
from logdrift.tui.models.session_columns import ROOMY_STATE
from logdrift.tui.models.sessions import SessionRow

_SHORT_SIZES = {"less than usual": "small"}


def matches(row: SessionRow, words: str) -> bool:
    """Whether every word of a filter stands somewhere in the row."""
    verdict = _verdict_words(row)
    texts = (
        row.name,
        row.title,
        row.model,
        row.backends,
        verdict,
        row.state,
        row.minute,
        _answer_words(row),
    )
    text = " ".join(texts)
    text = text.casefold()
    words = words.casefold()
    return all(word in text for word in words.split())


def _verdict_words(row: SessionRow) -> str:
    """The verdict of the gate as users read it, "" without one."""
    if row.verdict is None:
        return ""
    return VERDICTS_IN_A_SENTENCE.get(row.verdict, "")


def _answer_words(row: SessionRow) -> str:
    """The words of the answer, for a filter."""
    if row.answer is None:
        return ""
    return f"{row.answer.size} {row.answer.cause}"


def short_verdict(row: SessionRow) -> str:
    """Whether the size is usual, or that the pair is not to be compared."""
    words = _verdict_words(row)
    if row.answer is None or not row.answer.size:
        return words.removeprefix("comparable with ")
    if row.verdict == "caution":
        return f"{_SHORT_SIZES.get(row.answer.size, row.answer.size)}, caution"
    return row.answer.size


def state_words(row: SessionRow, cells: int) -> str:
    """State with progress and time left, in few words where there are few cells."""
    if row.state != "running":
        return row.state
    running = "run"
    if cells >= ROOMY_STATE:
        running = "running"
    words = [running]
    if row.progress is not None:
        progress = f"{row.progress:.0%}"
        words.append(progress)
    if row.left is not None:
        left = duration(row.left)
        with_left = " ".join([*words, left])
        if cell_len(with_left) <= cells:
            return with_left
    return " ".join(words)
