"""The explorer shows NaN: a mark in the text, a count, the capture that gave it, and
``n`` goes there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from logdrift.core.compare.token_values import Stretch
from logdrift.tui.models.inspection import inspect
from logdrift.tui.models.modes import MODES, mode_of
from logdrift.tui.palette import BROKEN as BROKEN_LEVEL
from logdrift.tui.palette import make_palette
from logdrift.tui.widgets.token_details import TokenDetails
from logdrift.tui.widgets.token_lines import inspector_lines, summary_lines
from tests.common import NAN
from tests.divergences import count_beyond, next_divergence
from tests.made_sessions import BROKEN
from tests.test_nan import DECODED, PROMPT, A, B, pair_of, places
from tests.tui_screen import MEDIUM, judged, make_app, screen_text, until_shown

pytestmark = pytest.mark.usefixtures("own_home")


def test_n_goes_to_nan_whatever_the_threshold(tmp_path: Path) -> None:
    pair = pair_of(
        tmp_path / "s",
        [[*PROMPT, -1.0, -3.0, BROKEN, -1.0]],
        [[*DECODED, -1.0, -1.0, -1.0, BROKEN]],
    )
    expected = [3, 4, 5]
    assert pair.divergences(1.0).tolist() == expected
    assert pair.divergences(9.0).tolist() == [4, 5]
    assert count_beyond(pair, 9.0) == 2
    assert next_divergence(pair, 0, 9.0) == 4


@pytest.mark.parametrize("name", [mode.name for mode in MODES])
def test_every_mode_marks_nan_and_no_missing_score(tmp_path: Path, name: str) -> None:
    pair = pair_of(
        tmp_path / "s", [[*PROMPT, -1.0, NAN, BROKEN]], [[*DECODED, -1.0, -1.0, -1.0]]
    )
    mode = mode_of(name)
    levels = mode.levels(Stretch(pair, 0, pair.tokens, 0.5), 1e9)
    assert places(levels == BROKEN_LEVEL) == [4]
    assert levels[3] == 0
    assert mode.beyond(Stretch(pair, 0, pair.tokens, 0.5), 1e9).tolist() == [4]


def test_the_inspector_says_which_capture_gave_nan(tmp_path: Path) -> None:
    pair = pair_of(tmp_path / "s", [[*PROMPT, BROKEN, NAN]], [[*DECODED, -1.0, -1.0]])
    rows = {
        at: {row.label: row for row in inspect(pair.session, pair, at).captures}
        for at in (2, 3)
    }
    expected = ("NaN", True, "")
    assert (rows[2][A].note, rows[2][A].broken, rows[2][B].note) == expected
    assert (rows[3][A].note, rows[3][A].broken) == ("no score here", False)
    palette = make_palette("256")
    found = inspect(pair.session, pair, 2)
    details = TokenDetails(found, BROKEN_LEVEL, False, palette)
    for lines in (inspector_lines(details, 60), summary_lines(details, 80)):
        text = "\n".join(strip.text for strip in lines)
        assert "NaN" in text
        assert "no score" not in text
    assert f"NaN in {A}" in text


async def test_the_explorer_marks_counts_and_finds_nan(tmp_path: Path) -> None:
    whole = [NAN, *[-1.0] * 9]
    broken = [NAN, *[-1.0] * 5, BROKEN, *[-1.0] * 3]
    rows = [whole, broken]
    pair = pair_of(tmp_path / "s", rows, [[NAN, NAN, *[-1.0] * 8]] * 2)
    app = make_app(pair.session.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        assert "1 NaN" in screen_text(app)
        await pilot.press("n")
        await until_shown(pilot, f"NaN in {A}")
        assert "✗" in screen_text(app)
