"""The result of the self-test as text: each planted fault, what was named, the
targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from logdrift.core.planted.forms import ANSWERS, IN_WORDS, form_totals
from logdrift.core.planted.judge import totals
from logdrift.core.report.layout import Canvas
from logdrift.core.session.visible import visible

if TYPE_CHECKING:
    from logdrift.core.planted.selftest import SelfTest

_OUTCOME_STYLES = {
    "missed": "bad",
    "false alarm": "bad",
    "guessed": "bad",
    "second": "warn",
}
_ALWAYS_COUNTED = ("clean", "false alarm", "guessed", "not detectable")


def print_self_test(tested: SelfTest, canvas: Canvas) -> None:
    """Print every planted fault twice, the forms in which users hold sessions, and
    which targets were missed.
    """
    _print_outcomes("from the numbers alone", tested.blind, canvas)
    _print_outcomes("with what the engines show", tested.with_facts, canvas)
    _print_forms(tested, canvas)
    for shortfall in tested.shortfalls:
        print(canvas.paint(visible(f"target missed: {shortfall}"), "bad"))
    if not tested.shortfalls:
        print(canvas.paint("every target is met", "good"))


def _print_outcomes(title: str, rows: Sequence[Any], canvas: Canvas) -> None:
    print(f"\n{title}")
    print(f"{'planted':<32} {'precision':<9} {'MAE':>8}  {'outcome':<14}  named")
    for row in rows:
        print(_outcome_line(row, canvas))
    counts = totals(rows)
    print(
        f"planted {counts['faults']}: named first {counts['first']}, second"
        f" {counts['second']}, missed {counts['missed']}; clean {counts['controls']}:"
        f" false alarms {counts['false alarms']}; guessed below the noise:"
        f" {counts['guessed']}"
    )


def _outcome_line(row: Any, canvas: Canvas) -> str:
    planted = f"{row.fault:<32} {row.background:<9} {row.mae:8.1e}  "
    style = _OUTCOME_STYLES.get(row.outcome, "")
    outcome = canvas.paint(f"{_outcome(row):<14}", style)
    named = _causes(row.named[:2]) or "nothing"
    return f"{canvas.text(planted)}{outcome}  {canvas.text(named)}"


def _outcome(row: Any) -> str:
    """The outcome; in brackets where it is not counted, because numbers alone cannot
    distinguish the fault or it is below the noise.
    """
    distinguishable = row.separable or not row.blind
    counted = row.outcome in _ALWAYS_COUNTED or (row.asked and distinguishable)
    return str(row.outcome) if counted else f"({row.outcome})"


def _causes(named: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{code} {score:.2f}" for code, score in named)


def _print_forms(tested: SelfTest, canvas: Canvas) -> None:
    """The planted sessions as users hold them: a line for each form, and for each
    wrong answer.
    """
    print("\nas users hold them")
    print(_table_line("", ANSWERS))
    for form, counts in form_totals(tested.forms).items():
        print(_table_line(IN_WORDS[form], [counts[answer] for answer in ANSWERS]))
    for row in tested.forms:
        if row.answer == "wrong":
            place = f"{row.fault}, {row.background}, {IN_WORDS[row.form]}"
            print(canvas.paint(f"wrong: {place}: {_causes(row.named)}", "bad"))


def _table_line(head: str, cells: Sequence[object]) -> str:
    return f"{head:<30}" + "".join(f"{cell:>16}" for cell in cells)
