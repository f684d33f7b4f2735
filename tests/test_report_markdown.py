"""The Markdown report: tables that hold, hostile text that stays text, nothing left out
in silence.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from logdrift.core.report.build import report_on
from logdrift.core.report.comment import comment
from logdrift.core.report.paint.markdown import (
    LIMIT,
    code,
    paint_markdown,
    table,
    text,
)
from logdrift.core.report.records import SessionReport
from logdrift.core.session.reader import open_session
from tests.common import SAMPLE, Fields
from tests.made_report import made_pair
from tests.test_report_html import HOSTILE, made_dictionary, missing, numbers
from tests.typed_report import typed_report

NOT_COMPARABLE = {
    "verdict": "not_comparable",
    "reasons": [
        {"code": "weights", "severity": "not_comparable", "text": "other weights"}
    ],
}


def markdown(
    report: Fields | SessionReport, main: tuple[str, str] | None = None
) -> str:
    """The comment on a report, or on the report that a dictionary is the JSON of."""
    typed = report if isinstance(report, SessionReport) else typed_report(report)
    return paint_markdown(comment(typed, main))


def check_tables(source: str) -> int:
    """Every table row has as many cells as its head, as GitHub demands; the number of
    tables.
    """
    tables = 0
    columns = 0
    lines = source.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if not line.startswith("|"):
            columns = 0
            continue
        cells = line.strip("|").split("|")
        if not columns:
            assert before == ""  # a table needs an empty line before it
            columns, tables = len(cells), tables + 1
        assert len(cells) == columns
    return tables


def rendered(source: str) -> str:
    """What a reader sees, roughly: entities resolved, our own tags and marks
    removed.
    """
    import html

    return html.unescape(
        re.sub(r"</?(?:code|b|details|summary)>|<!-- -->|~~|\*\*", "", source)
    )


def test_every_number_is_there() -> None:
    report = made_dictionary(made_pair())
    source = markdown(report)
    # Empty buckets are left out: their count 0 and their borders stand in others
    # anyway.
    assert missing(report, rendered(source)) == []
    assert len(list(numbers(report))) > 200
    assert check_tables(source) >= 15
    for word in (
        "other compute dtype",
        "✕ beyond normal",
        "✓ ok",
        "? not judged",
        "21.1x",
        "[0.0401, 0.0467]",
    ):
        assert word in source


def test_the_verdict_and_its_reasons_come_first() -> None:
    source = markdown(made_dictionary(made_pair()))
    first, *rest = source.split("\n\n")
    assert first.startswith("## ")
    assert first.endswith("CAUTION")
    assert rest[0].startswith("**MAE 0.0433 nats**")
    assert rest[1].startswith("- **caution:** other compute dtype")
    assert "- **note:** sampled" in rest[1]


def test_not_comparable_says_the_reason_before_any_number_and_strikes_them() -> None:
    report = made_dictionary(
        made_pair(gate=NOT_COMPARABLE), made_pair("a/prefill", "b/prefill")
    )
    source = markdown(report)
    assert (
        source.index("other weights")
        < source.index("mean nothing")
        < source.index("0.0433")
    )
    main = source[source.index("###") : source.index("<details>")]
    own = [
        cell
        for line in main.splitlines()
        if line.startswith(("| MAE", "| k3 |", "| ESS"))
        for cell in line.split(" | ")[1:2]
    ]
    assert own
    assert all(cell.startswith("~~") for cell in own)
    # The other pair's numbers stand.
    assert re.search(
        r"<code>a/prefill</code> → <code>b/prefill</code> \| CAUTION \| 1,490 \|"
        r" 0\.0433 ",
        source,
    )


def test_what_is_null_is_a_dash_or_unknown() -> None:
    empty = {
        key: (
            dict.fromkeys(value)
            if isinstance(value, dict) and key not in ("gate", "buckets", "floor")
            else None
        )
        for key, value in made_pair().items()
    }
    source = markdown(made_dictionary({**empty, "a": "x/prefill", "b": "y/decode"}))
    check_tables(source)
    assert "| MAE | - |" in source
    assert "MAE unknown" in source
    assert "UNKNOWN" in source
    assert "None" not in source
    assert "nan" not in source
    for report in ({}, {"pairs": []}, {"pairs": [{}]}):
        check_tables(markdown(report))


@pytest.mark.parametrize(
    "bad",
    [
        *HOSTILE,
        "@octocat",
        "see #12",
        "https://evil.example",
        "**b** _i_ ~~s~~ [x](y) ![z](w)",
        "<!-- ",
        "a\n\n# b",
    ],
)
def test_hostile_text_stays_text(bad: str) -> None:
    token = {
        **made_pair()["worst"][0],
        "piece": bad,
        "before": bad,
        "after": bad,
    }
    pair = made_pair(
        a=bad,
        b=bad,
        scope=bad,
        gate={
            "verdict": bad,
            "reasons": [{"code": bad, "severity": "info", "text": bad}],
        },
        worst=[token],
        thresholds=[
            {
                "framework": bad,
                "name": bad,
                "ok": None,
                "meaning": bad,
                "note": bad,
                "source": bad,
            }
        ],
        what_if=[
            {
                "rule": bad,
                "name": bad,
                "low": None,
                "high": None,
                "level": bad,
                "tokens": None,
                "sequences": None,
            }
        ],
        scopes=[{"scope": bad}],
    )
    report = made_dictionary(
        pair,
        made_pair(bad, bad),
        session=bad,
        state=bad,
        model={"id": bad, "revision": bad},
    )
    report["captures"] = [
        {
            "label": bad,
            "status": "failed",
            "failure": bad,
            "engine": bad,
            "role": bad,
            "backend": bad,
            "path": bad,
            "facts": {"device": bad, "dtype": bad},
        }
    ]
    source = markdown(report)
    plain = markdown(made_dictionary(made_pair()))
    assert check_tables(source) >= 15
    tags = set(re.findall(r"<[^>]*>", source))
    assert tags <= {
        "<code>",
        "</code>",
        "<b>",
        "</b>",
        "<details>",
        "</details>",
        "<summary>",
        "</summary>",
        "<!-- -->",
    }
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", source)
    outside = re.sub(r"<code>.*?</code>", "", source)
    assert not re.search(r"[`@]|\]\(|://|#\d{2}", re.sub(r"&#\d+;", "", outside))
    assert not re.search(
        r"&#(64|35);(?!<!-- -->)", outside
    )  # GitHub would see a mention or an issue
    heads = [line for line in source.splitlines() if line.startswith("#")]
    assert len(heads) == sum(line.startswith("#") for line in plain.splitlines())
    assert source.count("<details>") == source.count("</details>")


def test_text_of_a_model_is_cut_to_a_readable_length() -> None:
    assert len(text("x" * 5000)) == 200
    assert code("") == ""
    assert code("a|b") == "<code>a&#124;b</code>"
    assert text("rollout_probs_diff _x_") == "rollout_probs_diff &#95;x&#95;"
    assert table(("a",), []) == ""


def test_the_sample_fits_a_comment() -> None:
    report = report_on(open_session(SAMPLE))
    source = markdown(report, ("trainer/prefill", "vllm/decode"))
    assert len(source) <= LIMIT < 65_536  # GitHub's limit of a comment
    assert "left out" not in source
    assert all(
        f"<code>{pair.labels[0].replace('#', '&#35;')}</code>" in source
        for pair in report.pairs
    )
    check_tables(source)


def test_what_does_not_fit_is_left_out_and_said(tmp_path: Path) -> None:
    report = made_dictionary(
        *(made_pair(f"a{i}/prefill", f"b{i}/decode") for i in range(40))
    )
    source = markdown(report)
    assert len(source) <= LIMIT + 200
    found = re.search(r"(\d+) folded parts were left out", source)
    assert (
        found and int(found[1]) + source.count("<details>") == 41
    )  # 39 other pairs, the matrix, the captures
    assert source.count("| CAUTION |") == 40  # the main table has them all
    check_tables(source)


def test_the_chosen_pair_is_the_one_in_full() -> None:
    report = made_dictionary(made_pair(), made_pair("vllm/decode", "vllm/prefill"))
    source = markdown(report, ("vllm/decode", "vllm/prefill"))
    assert source.startswith(
        "## logdrift: <code>vllm/decode</code> → <code>vllm/prefill</code>"
    )
    assert markdown(report, ("no", "pair")).startswith(
        "## logdrift: <code>trainer/prefill</code>"
    )
