"""The report for others: causes, experiments with their proof, marks and notes."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import default_pair
from logdrift.core.report.build import report_on
from logdrift.core.report.forms import rendered
from logdrift.core.report.layout import Canvas
from logdrift.core.report.marks import NotedToken
from logdrift.core.report.why import ExplainedPair, explain_session
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.models.state import Mark, ViewState, save_state
from tests.common import Run

SESSIONS = Path(__file__).resolve().parent.parent / "sessions"
HEALTHY = SESSIONS / "sample-smollm2"
BROKEN = SESSIONS / "sample-temperature"
EVIL = "</td><script>\x1b[31m `*|@all"


def _page(session: Session, marks: tuple[NotedToken, ...] = ()) -> str:
    report = report_on(session)
    return rendered("html", report, session, default_pair(session), Canvas(), marks)


def _explained(session: Session) -> ExplainedPair:
    pair = default_pair(session)
    assert pair is not None
    return explain_session(session, [pair]).pairs[0]


def _plain(text: str) -> str:
    body = text.partition("</style>")[2] or text
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize("folder", [HEALTHY, BROKEN], ids=lambda path: path.name)
def test_the_page_has_the_answer_every_cause_and_its_evidence(folder: Path) -> None:
    session = open_session(folder)
    explained = _explained(session)
    page = _page(session)
    plain = _plain(page)
    assert plain.index(" ".join(explained.diagnosis.answer.sentence.split())) < 900
    assert page.index('id="causes"') < page.index('id="pairs"')
    for cause in explained.diagnosis.causes:
        assert cause.title in plain
        for evidence in cause.evidence:
            assert " ".join(evidence.sentence.split()) in plain
        if cause.next_experiment:
            assert cause.next_experiment in plain
    for checked in explained.diagnosis.checked:
        assert " ".join(checked.sentence.split()) in plain
    assert not re.search(r"<script|<link|<img|src=|url\(|@import", page)


def test_the_page_has_every_experiment_with_its_proof() -> None:
    session = open_session(BROKEN)
    outcomes = _explained(session).outcomes
    assert outcomes
    page = _page(session)
    plain = _plain(page)
    for outcome in outcomes:
        assert outcome.experiment.title in plain
        assert outcome.sentence in plain
        assert f"{outcome.explained:.0%}" in plain
    assert '<a href="#experiments">' in page
    assert 'id="experiments"' not in _page(open_session(HEALTHY))


def test_marks_and_notes_are_there_where_they_are_asked_for(tmp_path: Path) -> None:
    session = open_session(HEALTHY)
    tokens = session.sequences.tokens
    marks = (
        NotedToken(700, "look here"),
        NotedToken(9, EVIL),
        NotedToken(tokens, "no"),
    )
    page = _page(session, marks)
    start = page.index('id="marks"')
    part = page[start : page.index("<h2", start)]
    assert part.count("<tr>") == 3  # titles and the two tokens that are there
    assert "look here" in part
    assert "<script" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in part
    sequence = int(session.sequences.offsets.searchsorted(700, side="right")) - 1
    position = 700 - int(session.sequences.offsets[sequence])
    assert f"{sequence} {position}" in _plain(part)
    assert 'id="marks"' not in _page(session)


@pytest.mark.parametrize("form", ["--md", "--html"])
def test_the_flag_takes_the_marks_of_the_explorer(
    run_logdrift: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    session = open_session(HEALTHY)
    save_state(session.manifest.id, ViewState(marks=(Mark(40, f"mine {EVIL}"),)))
    with_marks = run_logdrift("report", HEALTHY, form, "--marks")
    without = run_logdrift("report", HEALTHY, form)
    assert with_marks.returncode == 0
    assert with_marks.stderr == ""
    assert "mine" in with_marks.stdout
    assert "Marked tokens" in with_marks.stdout
    assert "<script" not in with_marks.stdout
    assert "\x1b" not in with_marks.stdout
    assert "mine" not in without.stdout
    assert "Marked tokens" not in without.stdout


def test_marks_belong_to_forms_that_are_handed_on(run_logdrift: Run) -> None:
    for form in ((), ("--json",)):
        done = run_logdrift("report", HEALTHY, "--marks", *form)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "--marks goes with --md or --html" in done.stderr


def test_a_session_of_one_capture_has_a_page(tmp_path: Path) -> None:
    folder = make_session(
        tmp_path / "one", tokens=200, sequences=4, top_k=3, captures=1
    )
    page = rendered(
        "html", report_on(open_session(folder)), open_session(folder), None, Canvas()
    )
    assert "Nothing to compare" in page


def test_where_a_token_stands_counts_whatever_its_numbers_mean() -> None:
    """Numbers of a pair that may not be compared are struck out; places are not."""
    page = _page(open_session(BROKEN))
    assert ".void td.n{text-decoration:line-through}" in page.replace(
        ".void .value,", ""
    )
    assert page.index(".void td.p{text-decoration:none}") > page.index(".void td.n")
    start = page.index('id="worst"')
    row = page[
        page.index("<tbody>", start) : page.index("</tr>", page.index("<tbody>", start))
    ]
    expected = [" p", " p", ""]
    assert re.findall('<td class="n( p)?">', row)[:3] == expected
