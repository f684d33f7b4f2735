"""What the panes are given, against the arrays that it comes from."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import make_pair
from logdrift.core.numbers import number, probability, signed
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.glyphs import fit, sparkline
from logdrift.tui.models.backend_log import log_lines
from logdrift.tui.models.inspection import inspect
from logdrift.tui.models.pairs import judged, open_pair, pair_row
from logdrift.tui.models.sessions import session_row
from tests.common import NAN
from tests.made_sessions import capture, edit_manifest, write_session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return open_session(
        make_session(tmp_path_factory.mktemp("views") / "s", 600, 6, 5, captures=4)
    )


def test_every_number_of_a_token_is_that_of_the_arrays(session: Session) -> None:
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    for position in range(0, session.sequences.tokens, 7):
        found = inspect(session, pair, position)
        assert found.token_id == session.sequences.token_ids[position]
        start, stop = session.sequences.bounds(found.sequence)
        assert start <= position < stop
        assert found.index == position - start
        assert found.role.in_prompt == (
            found.index < session.sequences.prompt_lengths[found.sequence]
        )
        for row in found.captures:
            array = session.capture(row.label)
            logprob = array.logprob.whole()[position]
            assert (row.logprob is None) == np.isnan(logprob)
            if row.logprob is not None and not np.isnan(pair.logprob_a[position]):
                assert row.logprob == logprob
                assert row.rank == array.rank.whole()[position]
                assert row.delta == pytest.approx(
                    float(pair.logprob_a[position]) - float(logprob), abs=1e-12
                )


def test_the_top_lists_are_joined_by_id(session: Session) -> None:
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    position = int(np.flatnonzero(pair.scored)[5])
    found = inspect(session, pair, position)
    assert found.columns[:2] == ("trainer/prefill", "vllm/decode")
    assert {c.info.label for c in map(session.capture, found.columns)} == {
        c.label for c in session.captures
    }
    ids = [row.token_id for row in found.top]
    assert len(ids) == len(set(ids))
    assert [row.token_id for row in found.top if row.target] == [found.token_id]
    for column, label in enumerate(found.columns):
        array = session.capture(label)
        top = dict(
            zip(
                array.top_ids.whole()[position].tolist(),
                array.top_logprobs.whole()[position].tolist(),
                strict=True,
            )
        )
        for row in found.top:
            cell = row.cells[column]
            if row.token_id in top:
                assert cell.logprob == top[row.token_id]
                assert cell.below is None
            elif row.target:
                assert cell.logprob == array.logprob.whole()[position]
            else:
                assert cell.logprob is None
                assert cell.below == min(top.values())
        rest = found.rest[column]
        assert rest == pytest.approx(
            max(0.0, 1 - sum(map(math.exp, top.values()))), abs=1e-12
        )


def test_a_token_without_scores_says_so(session: Session) -> None:
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    found = inspect(session, pair, 0)
    assert found.role.in_prompt
    assert found.delta is not None
    assert math.isnan(found.delta)
    assert all(
        row.logprob is None and row.note == "no score here" for row in found.captures
    )
    assert found.top == ()
    assert found.columns == ()


def test_an_id_without_a_piece_is_named(tmp_path: Path) -> None:
    made = write_session(
        tmp_path / "s",
        [1],
        [capture("trainer/prefill", [[NAN, -1.0]])],
        pieces={0: b"a", 1: b"b"},
    )
    (made.folder / "pieces.json").unlink()
    found = inspect(open_session(made.folder), None, 1)
    assert found.text == "<id 1>"
    assert found.raw is None


def test_infinite_and_equal_scores(tmp_path: Path) -> None:
    inf = float("inf")
    made = write_session(
        tmp_path / "s",
        [1],
        [
            capture("trainer/prefill", [[NAN, -inf, -1.0, -inf]]),
            capture("vllm/decode", [[NAN, -2.0, -1.0, -inf]]),
        ],
    )
    pair = make_pair(made, "trainer/prefill", "vllm/decode")
    deltas = [inspect(made, pair, i).captures[1].delta for i in range(4)]
    expected = [None, -inf, 0.0, 0.0]
    assert deltas == expected


def damage(folder: Path, label: str) -> None:
    (folder / "captures" / label / "part-00000.safetensors").write_bytes(b"damaged")


def test_a_damaged_capture_is_named_and_the_others_still_open(
    session: Session, tmp_path: Path
) -> None:
    folder = shutil.copytree(session.folder, tmp_path / "s")
    damage(folder, "vllm/decode")
    broken = open_session(folder)
    pair, problem = open_pair(broken, None)
    assert pair is not None
    assert pair.a.info.label == "trainer/prefill"
    assert pair.b.info.label == "vllm/prefill"
    assert problem is not None
    assert "part-00000.safetensors" in problem
    note = next(
        row.note
        for row in inspect(broken, pair, 5).captures
        if row.label == "vllm/decode"
    )
    assert "part-00000.safetensors" in note
    row = pair_row(broken, "trainer/prefill", "vllm/decode")
    assert row.mae is None
    assert row.problem is not None
    assert "part-00000.safetensors" in row.problem


def test_the_session_list_says_why_a_folder_does_not_open(
    session: Session, tmp_path: Path
) -> None:
    good = session_row(session.folder, numbers=True)
    assert good.problem is None
    assert good.tokens == 600
    assert good.state == "complete"
    view = judged(session, make_pair(session, "trainer/prefill", "vllm/decode"))
    assert view.stats is not None
    assert good.mae == view.stats.mae
    bad = shutil.copytree(session.folder, tmp_path / "bad\x1b[31m")
    (bad / "session.json").write_text("{}")
    row = session_row(bad, numbers=True)
    assert row.problem is not None
    assert "no format number" in row.problem
    assert "\x1b" not in row.name + row.problem


def test_the_log_is_made_visible_and_stays_in_the_session(
    session: Session, tmp_path: Path
) -> None:
    folder = shutil.copytree(session.folder, tmp_path / "s")
    (folder / "logs").mkdir()
    lines = [b"old line"] * 600 + [
        b"\x1b[32mINFO\x1b[0m ready",
        b"10%\r50%\r100%",
        b"\x1b]0;title\x07 \x9b5n",
        b"last",
    ]
    (folder / "logs" / "vllm.log").write_bytes(b"\n".join(lines) + b"\n")
    found = log_lines(open_session(folder), "vllm", limit=5)
    assert found == [
        "old line",
        "INFO ready",
        "100%",
        "<0x1B>]0;title<0x07> <0x9B>5n",
        "last",
    ]
    assert "No such file" in log_lines(session, "vllm")[0]
    assert "not read" in log_lines(session, "../../x")[0]


def test_a_failed_capture_is_a_row(session: Session, tmp_path: Path) -> None:
    folder = shutil.copytree(session.folder, tmp_path / "s")

    def fail(data: dict) -> None:  # type: ignore[type-arg]
        data["captures"][3].update(status="failed", failure="no memory", parts=[])

    broken = edit_manifest(open_session(folder), fail)
    row = next(
        r for r in inspect(broken, None, 50).captures if r.label == "vllm/prefill"
    )
    assert row.note == "failed"
    assert row.logprob is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "·"),
        (NAN, "·"),
        (0.0, "0.000"),
        (-2.231, "-2.2310"),
        (0.0312, "0.0312"),
        (1.2e-6, "1.2e-6"),
        (1e-6, "1e-6"),
        (-11.62, "-11.620"),
        (123.456, "123.46"),
        (1e9, "1.0e9"),
        (float("-inf"), "-inf"),
    ],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert (
        number(value) == shown
        or (value == 0.0 and number(value) == "0.0000")
        or (value == 1e9 and number(value) == "1e9")
    )
    assert len(number(value)) <= 7


def test_signs_probabilities_and_fits() -> None:
    assert signed(0.5) == "+0.5000"
    assert signed(-0.5) == "-0.5000"
    assert signed(0.0) == "0.0000"
    assert (
        probability(0.0),
        probability(-20.0),
        probability(NAN),
        probability(None),
    ) == ("1.000", "2e-9", "·", "·")
    assert fit("abcdef", 4) == "abc…"
    assert fit("ab", 4) == "ab  "
    assert fit("ab", 4, right=True) == "  ab"
    assert fit("中文字", 5) == "中文…"
    assert fit("x", 0) == ""


def test_a_sparkline_shows_the_peak_of_each_stretch() -> None:
    values = np.zeros(100, np.float32)
    values[55] = 1.0
    assert sparkline(values, 10, 1.0) == "     █    "
    values[5] = np.nan
    values[15] = np.inf
    assert sparkline(values, 10, 1.0)[:2] == " █"
    assert sparkline(values, 4, 0.0) == "    "
    assert sparkline(np.empty(0, np.float32), 4, 1.0) == "    "
