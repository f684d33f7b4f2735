"""What must be found in planted sessions, of whichever model."""

from __future__ import annotations

from pathlib import Path

from logdrift.core.planted.faults import CLEAN, FAULTS
from logdrift.core.planted.forms import FORMS, form_totals, judge_forms
from logdrift.core.planted.judge import JudgedSession, totals
from logdrift.core.planted.table import table
from tests.common import Fields

BACKGROUNDS = ("float32", "bfloat16")


def check_named(rows: list[JudgedSession], *, least: float = 0.9) -> Fields:
    """The targets: first in 90%, among the first two in all, no alarm on a clean pair,
    nothing guessed below the noise.
    """
    shown = table(rows)
    print(shown)
    assert len(rows) == len(FAULTS) * len(BACKGROUNDS), shown
    found = totals(rows)
    assert found["controls"] == len(CLEAN) * len(BACKGROUNDS)
    assert found["false alarms"] == 0, shown
    assert found["guessed"] == 0, shown
    assert found["faults"] >= 30, shown
    assert found["first"] >= least * found["faults"], shown
    assert found["missed"] == 0, shown
    return found


def check_forms(folder: Path, work: Path) -> None:
    """As captured, as a dump with lists and as one of chosen tokens: nothing wrong is
    likely, and controls stay clean.
    """
    rows = judge_forms(folder, work)
    assert not work.exists()
    assert len(rows) == len(FAULTS) * len(BACKGROUNDS) * len(FORMS)
    totals_of_forms = form_totals(rows)
    print(totals_of_forms)
    found = [row for row in rows if row.answer == "wrong"]
    assert found == []
    for answers in totals_of_forms.values():
        assert answers["clean"] == len(CLEAN) * len(BACKGROUNDS)
    faults = (len(FAULTS) - len(CLEAN)) * len(BACKGROUNDS)
    # What each form must still tell: what the small model and the two held out gave,
    # less a tenth.
    for form, share in (("captured", 0.8), ("lists", 0.6), ("chosen", 0.45)):
        told = totals_of_forms[form]
        assert told["first"] + told["second"] >= share * faults, totals_of_forms
