"""`logdrift diff` in each form: the same document for a terminal, an issue and a page."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from logdrift.core.numbers import fixed
from logdrift.core.report.diff import DiffReport, diff_sessions
from logdrift.core.report.diff_forms import rendered_diff
from logdrift.core.report.layout import Canvas
from logdrift.core.session.reader import open_session
from tests.common import Run

SESSIONS = Path(__file__).resolve().parent.parent / "sessions"
SAMPLE = SESSIONS / "sample-smollm2"
OTHER = SESSIONS / "sample-temperature"
PAIR = ("trainer/prefill", "vllm/decode")


@pytest.fixture(
    scope="module",
    params=[
        (SAMPLE, SAMPLE, ("reference/prefill", "vllm/decode")),
        (SAMPLE, SAMPLE, PAIR),
        (SAMPLE, SAMPLE, ("vllm/prefill", "sglang/prefill")),
    ],
    ids=["better", "the same", "another pair"],
)
def diff(request: pytest.FixtureRequest) -> DiffReport:
    earlier, later, pair = request.param
    return diff_sessions(open_session(earlier), open_session(later), PAIR, pair)


def _forms(diff: DiffReport) -> dict[str, str]:
    return {
        form: rendered_diff(form, diff, Canvas(400)) for form in ("text", "md", "html")
    }


def _plain(text: str) -> str:
    """Without markup, entities and runs of blanks."""
    bare = html.unescape(re.sub(r"<[^>]*>", " ", text))
    return " ".join(re.sub(r"[*|»«]", " ", bare).split())


def test_every_form_has_the_answer_every_number_and_every_token(
    diff: DiffReport,
) -> None:
    forms = _forms(diff)
    answer = next(line for line in forms["text"].splitlines() if "nats" in line)
    for form, text in forms.items():
        plain = _plain(text)
        assert _plain(answer) in plain, form
        for row in diff.metrics:
            name = row.metric.rpartition(".")[2]
            assert name in plain and fixed(row.change, True) in plain, (form, name)
        for token in (*diff.improved, *diff.worsened):
            numbers = (
                f"{fixed(token.delta_earlier, True)} {fixed(token.delta_later, True)}"
            )
            assert numbers in plain, (form, token)
        for label in (*PAIR, diff.later.a, diff.later.b):
            assert label in plain


def test_the_page_begins_with_the_answer_and_fetches_nothing(diff: DiffReport) -> None:
    page = _forms(diff)["html"]
    assert page.index("nats") < page.index('class="panel"')
    assert not re.search(r"<script|<link|<img|src=|url\(|@import", page)
    assert "prefers-color-scheme:dark" in page


def test_the_files_are_what_is_printed(run_logdrift: Run, tmp_path: Path) -> None:
    for form in ("--md", "--html", "--json"):
        file = tmp_path / f"diff{form}"
        printed = run_logdrift("diff", SAMPLE, SAMPLE, form)
        written = run_logdrift("diff", SAMPLE, SAMPLE, form, "-o", file)
        assert printed.returncode == 0
        assert written.returncode == 0
        assert written.stdout == ""
        assert file.read_text() == printed.stdout
    both = run_logdrift("diff", SAMPLE, SAMPLE, "--md", "--html")
    assert both.returncode == 2
    assert "not allowed with" in both.stderr


def test_what_cannot_be_compared_says_so_first(run_logdrift: Run) -> None:
    for form in ("--md", "--html"):
        plain = _plain(run_logdrift("diff", SAMPLE, OTHER, form).stdout)
        assert "NOT COMPARABLE" in plain
        assert plain.index("NOT COMPARABLE") < plain.index("metric")
