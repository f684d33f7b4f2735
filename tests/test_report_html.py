"""The HTML report and its charts: well-formed, self-contained, safe with hostile text,
and complete.
"""

from __future__ import annotations

import copy
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.numbers import exact, figure
from logdrift.core.report import charts, scale, svg, svg_parts
from logdrift.core.report.build import report_on
from logdrift.core.report.forms import html_of
from logdrift.core.report.paint import html_style
from logdrift.core.report.paint.html_tokens import joined, sequence_text
from logdrift.core.report.pair_numbers import bounds_text, tables_of_numbers
from logdrift.core.report.records import SessionReport
from logdrift.core.report.sequence_parts import SequencePart, parts_to_draw
from logdrift.core.session.reader import Session, open_session
from logdrift.tui import palette, schemes
from logdrift.tui.models.modes import MODES
from tests.common import NAN, SAMPLE, Fields
from tests.made_report import decomposition, made_pair
from tests.made_sessions import capture, write_session
from tests.typed_report import typed_pair, typed_report

VOID = {"meta", "br"}
HOSTILE = [
    "</td><script>alert(1)</script>",
    "\x1b[31mred",
    "\u202eevil",
    "a|b`c",
    '"><img src=x onerror=y>',
    "\u2028",
    "\x00",
]


class Page(HTMLParser):
    """Tags must balance; collects ids, links, attributes and text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.words)

    def values(self, key: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == key]


def made_dictionary(*pairs: Fields, **changes: Any) -> Fields:
    captures = [
        {
            "label": label,
            "backend": label.split("/")[0],
            "role": role,
            "engine": engine,
            "dtype": "bfloat16",
            "path": "prefill",
            "repeat": 1,
            "sequences": 24,
            "tokens": 2708,
            "status": "complete",
            "failure": None,
            "facts": {
                "engine_version": "1.2.3",
                "dtype": "bfloat16",
                "device": "cpu",
                "attention_backend": None,
            },
        }
        for label, role, engine in (
            ("trainer/prefill", "trainer", "transformers"),
            ("vllm/decode", "rollout", "vllm"),
        )
    ]
    return {
        "schema": 1,
        "session": "sample",
        "title": "made",
        "created": "2026-01-01T00:00:00Z",
        "state": "complete",
        "model": {"id": "made-model", "revision": None},
        "sequences": 24,
        "sequences_planned": 24,
        "tokens": 2708,
        "completion_tokens": 1490,
        "captures": captures,
        "pairs": list(pairs),
        "decomposition": [decomposition()],
        **changes,
    }


@pytest.fixture(scope="module")
def sample() -> Session:
    return open_session(SAMPLE)


@pytest.fixture
def hostile(tmp_path: Path) -> Session:
    """One sequence of hostile pieces; tokens 7 and 8 are a character that spans
    both.
    """
    pieces = {i: text.encode() for i, text in enumerate(HOSTILE)} | {
        7: b"\xe2\x82",
        8: b"\xac",
        9: b"\xff",
    }
    a = [[NAN, -1.0, -1.5, -2.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]]
    b = [[NAN, -1.0, -1.0, -1.0, -1.9, -1.0, -1.0, -1.0, -1.3, -1.0]]
    captures = [capture("trainer/prefill", a), capture("vllm/decode", b)]
    return write_session(
        tmp_path / "hostile", [2], captures, pieces=pieces, title=HOSTILE[0]
    )


def html(
    report: Fields | SessionReport,
    session: Session,
    *given: Any,
    **options: Any,
) -> str:
    """The page of a report, or of the report that a dictionary is the JSON of."""
    typed = report if isinstance(report, SessionReport) else typed_report(report)
    return html_of(typed, session, *given, **options)


def check_page(source: str) -> Page:
    page = Page(source)
    assert not page.tags & {
        "script",
        "iframe",
        "object",
        "embed",
        "img",
        "link",
        "form",
        "base",
        "image",
        "foreignobject",
    }
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for tag, key, value in page.attributes:
        assert not key.startswith("on")
        assert key not in (
            "src",
            "srcset",
            "xlink:href",
            "action",
            "data",
        )
        if key == "href":
            assert tag == "a"
            assert (
                value[1:] in ids
                if value.startswith("#")
                else value.startswith("https://")
            )
    assert "url(" not in source
    assert "@import" not in source
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff\ufeff]",
        source,
    )
    return page


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def written(value: float) -> set[str]:
    """The ways in which a number of the fixture may be written without losing what the
    fixture gives.
    """
    return {
        f"{value:.3g}",
        f"{value:#.3g}",
        f"{value:,}",
        f"{value:.4f}",
        f"{value:.5f}",
        f"{value:.6f}",
        f"{value:.5g}",
        f"{value:,.1f}",
        f"{value:g}",
    }


def missing(report: Fields, text: str) -> list[float]:
    """Numbers of the pair and the decomposition whose digits stand nowhere in
    ``text``.
    """
    report = copy.deepcopy(report)
    for bucket in (report["pairs"][0]["buckets"] or {}).get("by_position") or []:
        bucket["high"] -= 1  # positions 64 to 127 are written as such
    seen = set(re.findall(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?", text))
    found = [*numbers(report["pairs"][0]), *numbers(report["decomposition"])]
    return [
        value
        for value in found
        if not {w.lstrip("-") for w in written(value)}
        & {s.strip(",").lstrip("-") for s in seen}
    ]


def test_the_sample_is_one_safe_page_of_a_modest_size(sample: Session) -> None:
    report = report_on(sample)
    source = html(report, sample, ("trainer/prefill", "vllm/decode"))
    page = check_page(source)
    assert len(source.encode()) < 1_500_000  # the size asked for, with all 11 pairs
    assert "12 of 24 sequences" in page.text
    for pair in report.pairs:
        assert pair.name in page.text


def test_the_policy_forbids_everything_but_style(sample: Session) -> None:
    source = html(made_dictionary(made_pair()), sample)
    policy = dict(Page(source).attributes[i][1:] for i in range(4))
    assert policy["content"].startswith(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    )
    assert source.index("Content-Security-Policy") < source.index("<style>")


def test_every_number_of_the_report_is_on_the_page(sample: Session) -> None:
    report = made_dictionary(made_pair())
    page = check_page(html(report, sample))
    text = page.text + "\n".join(page.values("title"))
    assert missing(report, text) == []
    for word in (
        "CAUTION",
        "other compute dtype",
        "beyond normal",
        "✓ ok",
        "? not judged",
        "21.1x the noise floor",
        "made-model",
    ):
        assert word in text


def test_a_number_that_is_left_out_would_be_noticed() -> None:
    report = made_dictionary(made_pair())
    assert len(missing(report, "0.0433 nats")) > 100


def test_what_is_null_is_unknown(sample: Session) -> None:
    empty = {
        key: (
            dict.fromkeys(value)
            if isinstance(value, dict) and key not in ("gate", "buckets", "floor")
            else None
        )
        for key, value in made_pair().items()
    }
    empty |= {"a": "trainer/prefill", "b": "vllm/decode"}
    parts = [{"rollout": "vllm/decode", "trainer": "trainer/prefill"}]
    page = check_page(html(made_dictionary(empty, decomposition=parts), sample))
    tables = tables_of_numbers(typed_pair(empty).metrics, None)
    expected = sum(row.value is None for _, rows in tables for row in rows)
    assert expected > 50
    assert sum(word == "unknown" for word in page.words) >= expected
    assert "nan" not in page.text.split()
    assert "None" not in page.text


def test_a_report_without_any_optional_key_is_drawn(sample: Session) -> None:
    page = check_page(
        html({"pairs": [{"a": "trainer/prefill", "b": "vllm/decode"}]}, sample)
    )
    assert "UNKNOWN" in page.text
    check_page(html({"pairs": []}, sample))
    check_page(html({}, sample))


def test_hostile_text_comes_out_as_text(hostile: Session) -> None:
    bad = HOSTILE[0] + HOSTILE[1] + HOSTILE[2]
    pair = made_pair(
        gate={
            "verdict": bad,
            "reasons": [{"code": bad, "severity": "info", "text": bad}],
        },
        thresholds=[
            {
                "framework": bad,
                "name": bad,
                "value": 1.0,
                "limit": 2.0,
                "ok": True,
                "meaning": bad,
                "note": bad,
                "source": "javascript:alert(1)",
            }
        ],
        worst=[
            {
                **made_pair()["worst"][0],
                "piece": bad,
                "before": bad,
                "after": bad,
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
    )
    failed = {
        "label": bad,
        "status": "failed",
        "failure": f"{bad}\n{bad}",
        "engine": bad,
        "role": bad,
    }
    report = made_dictionary(
        pair,
        title=bad,
        session=bad,
        created=bad,
        state=bad,
        model={"id": bad, "revision": bad},
    )
    report["captures"] = [failed]
    report["decomposition"] = [{**decomposition(), "rollout": bad}]
    page = check_page(html(report, hostile))
    assert (
        page.text.count("</td><script>alert(1)</script><0x1B>[31mred<U+202E>evil") >= 20
    )
    assert not any("javascript" in link for link in page.values("href"))


def test_hostile_pieces_come_out_as_text(hostile: Session) -> None:
    page = check_page(html(report_on(hostile), hostile))
    for shown in (
        "</td><script>alert(1)</script>",
        "<0x1B>[31mred",
        "<U+202E>evil",
        "a|b`c",
        "<U+2028>",
        "<0x00>",
        "<0xFF>",
        "€",
    ):
        assert shown in page.text


def test_not_comparable_says_the_reason_before_any_number_and_greys_them(
    sample: Session,
) -> None:
    gate = {
        "verdict": "not_comparable",
        "reasons": [
            {"code": "weights", "severity": "not_comparable", "text": "other weights"}
        ],
    }
    page = check_page(
        html(
            made_dictionary(
                made_pair(gate=gate), made_pair("vllm/prefill", "sglang/prefill")
            ),
            sample,
        )
    )
    text = page.text
    assert text.index("other weights") < text.index("0.0433")
    assert "mean nothing" in text[: text.index("0.0433")]
    classes = page.values("class")
    assert any(
        value.split()[-1:] == ["void"] for value in classes if value.startswith("pairs")
    )
    assert "dim" in " ".join(classes)


def test_the_chosen_pair_is_shown_in_full_and_its_text_is_drawn(
    sample: Session,
) -> None:
    report = made_dictionary(
        made_pair(), made_pair("reference/prefill", "vllm/prefill", worst_sequences=[])
    )
    pair = make_pair(sample, "reference/prefill", "vllm/prefill")
    page = check_page(
        html(report, sample, ("reference/prefill", "vllm/prefill"), [pair], sequences=3)
    )
    assert page.text.index("reference/prefill → vllm/prefill") < page.text.index(
        "trainer/prefill → vllm/decode"
    )
    drawn = [value for value in page.values("id") if re.fullmatch(r"s\d+", value)]
    assert drawn == [f"s{i}" for i in np.argsort(-pair.mean_abs, kind="stable")[:3]]


def test_tokens_are_coloured_by_their_delta(hostile: Session) -> None:
    pair = make_pair(hostile, "trainer/prefill", "vllm/decode")
    source = sequence_text(hostile, pair, SequencePart(0, 0, 10, 10))
    page = Page(source)
    spans = [
        (dict(attrs).get("class", ""), dict(attrs).get("title", ""))
        for attrs in _spans(page)
    ]
    assert ("un", "") in spans  # the first token has no score
    styles = [style for style, title in spans if title]
    # Deltas 0, -0.5, -1.0, +0.9, 0, 0, and 0 with +0.3 for the two halves of one
    # character.
    expected = ["", "b3", "b4", "o4", "", "", "o2", ""]
    assert styles == expected
    joint = next(title for style, title in spans if style == "o2")
    assert "7: Δ 0\n" in joint
    assert "8: Δ +0.300\n" in joint
    assert "rank 1" in joint
    assert source.index('class="text prompt"') < source.index('class="text completion"')


def _spans(page: Page) -> list[list[tuple[str, str]]]:
    groups: list[list[tuple[str, str]]] = []
    for tag, key, value in page.attributes:
        if tag == "span" and key == "class":
            groups.append([(key, value)])
        elif tag == "span" and key == "title":
            # A span without a class has its title alone.
            last_has = (
                bool(groups)
                and len(groups[-1]) == 1
                and re.fullmatch("[ob][1-4]", groups[-1][0][1])
            )
            (
                groups[-1].append((key, value))
                if last_has
                else groups.append([(key, value)])
            )
    return groups


def test_tokens_that_are_only_together_valid_are_joined_and_broken_ones_are_not(
    hostile: Session,
) -> None:
    found = [text for *_, text in joined(hostile, np.array([7, 8], np.int32))]
    assert found == ["€"]
    assert [text for *_, text in joined(hostile, np.array([7], np.int32))] == [
        "<0xE2><0x82>"
    ]
    assert [text for *_, text in joined(hostile, np.array([7, 3, 8], np.int32))] == [
        "<0xE2><0x82>",
        "a|b`c",
        "<0xAC>",
    ]
    assert [text for *_, text in joined(hostile, np.array([9, 8, 99], np.int32))] == [
        "<0xFF>",
        "<0xAC>",
        "<id 99>",
    ]


def test_what_is_drawn_stays_within_the_limit(sample: Session) -> None:
    pair = make_pair(sample, "trainer/prefill", "vllm/decode")
    order = [int(i) for i in np.argsort(-pair.mean_abs)]
    shown = parts_to_draw(pair, order, 12, 500)
    assert 0 < sum(item.stop - item.start for item in shown) <= 500
    assert all(item.stop - item.start == item.length for item in shown)
    (cut,) = parts_to_draw(pair, order, 12, 10)
    start, _ = pair.sequences.bounds(cut.sequence)
    worst = int(np.nanargmax(np.abs(pair.delta[start : start + cut.length])))
    assert cut.stop - cut.start == 10
    assert cut.start <= worst < cut.stop
    assert parts_to_draw(pair, order, 12, 0) == []


def test_the_scale_is_that_of_the_terminal(sample: Session) -> None:
    pair = make_pair(sample, "trainer/prefill", "vllm/decode")
    whole = Stretch(pair, 0, pair.tokens)
    drawn = scale.levels(pair.delta, pair.scored, 0.02)
    assert (drawn == MODES[0].levels(whole, 0.02)).all()
    assert {-scale.STEPS, 0, scale.STEPS} <= {*drawn.tolist()}
    terminal = [
        (scheme.orange, scheme.blue) for scheme in (schemes.DARK, schemes.LIGHT)
    ]
    assert terminal == [scale.DARK, scale.LIGHT]
    assert scale.STEPS == palette.STEPS


def _luminance(colour: str) -> float:
    # WCAG 2.2, relative luminance.
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_its_background(dark: bool) -> None:
    blocks = re.findall(r":root\{(.*?)\}", html_style.CSS)
    colours = dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", blocks[dark]))
    assert len(blocks) == 2
    for text, back in [
        ("text", "bg"),
        ("text", "card"),
        ("muted", "bg"),
        ("muted", "card"),
        ("link", "card"),
        ("link", "bg"),
        *((name, f"{name}-bg") for name in ("good", "warn", "bad")),
        *((n, "card") for n in ("good", "warn", "bad")),
    ]:
        high, low = sorted(
            (_luminance(colours[text]), _luminance(colours[back])), reverse=True
        )
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, back)  # WCAG AA


# Charts


def drawn(chart: str) -> ET.Element:
    root = ET.fromstring(chart)
    assert root.tag == "svg"
    assert root.attrib["role"] == "img"
    assert root.find("title") is not None
    assert root.attrib["viewBox"]
    assert "nan" not in chart
    assert "inf" not in chart.replace("infinite", "").replace("finite", "")
    return root


def test_all_charts_of_the_page_are_well_formed(sample: Session) -> None:
    source = html(report_on(sample), sample)
    found = re.findall(r"<svg.*?</svg>", source, re.S)
    assert len(found) > 30
    for chart in found:
        drawn(chart)


def test_a_chart_as_a_file_is_xml_with_its_style() -> None:
    chart = svg.bars(
        [svg.SvgBar("a<b", 1.0, "x&y")], title="t<", description="d&", label="l"
    )
    root = ET.fromstring(svg_parts.document(chart).encode())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "cx-bar" in (root.findtext("{http://www.w3.org/2000/svg}style") or "")


def test_bars_are_as_long_as_their_values() -> None:
    rows = [
        svg.SvgBar("one", 0.5, ""),
        svg.SvgBar("two", 0.25, ""),
        svg.SvgBar("none", None, "unknown"),
        svg.SvgBar("zero", 0.0, ""),
    ]
    widths = [
        float(rect.attrib["width"])
        for rect in drawn(svg.bars(rows, title="t", description="", label="l")).iter(
            "rect"
        )
    ]
    assert len(widths) == 3
    assert widths[0] == pytest.approx(
        2 * widths[1], abs=0.2
    )  # pixels are written with one decimal
    assert widths[2] < 1


def test_the_histogram_counts_every_finite_delta_once(sample: Session) -> None:
    pair = make_pair(sample, "trainer/prefill", "vllm/decode")
    delta = np.append(
        pair.delta[pair.scope_mask("completion")], [0, 0, np.inf, -np.inf]
    ).astype(np.float32)
    root = drawn(charts.histogram_chart(delta, {}))
    heights = {"cx-up": 0.0, "cx-down": 0.0}
    for path in root.iter("path"):
        if path.attrib["class"] in heights:
            for bar in path.attrib["d"].strip("Z").split("Z"):
                numbers = [
                    float(n) for n in re.findall(r"[\d.]+", bar)
                ]  # x y H x V y H x
                heights[path.attrib["class"]] += abs(numbers[1] - numbers[3])
    finite = delta[np.isfinite(delta)]
    # Pixels are rounded to 0.05: 64 bars of each side by as much.
    ratio = heights["cx-up"] / heights["cx-down"]
    expected = (finite > 0).sum() / (finite < 0).sum()
    assert ratio == pytest.approx(expected, rel=0.02)


def test_density_cells_cover_as_many_bins_as_have_tokens() -> None:
    counts = np.zeros((4, 5), np.int64)
    counts[0, :3] = 1
    counts[2, 1] = 50
    root = drawn(
        svg.heat(
            counts,
            svg_parts.Axis("x", -1, 0),
            svg_parts.Axis("y", -1, 0),
            title="t",
            description="",
        )
    )
    cells = [
        path.attrib for path in root.iter("path") if path.attrib["class"] == "cx-heat"
    ]
    assert len(cells) == 2  # two shades
    assert float(cells[0]["fill-opacity"]) < float(cells[1]["fill-opacity"])
    assert cells[0]["d"].count("M") == 1  # neighbours of one shade are one stretch


def test_a_line_breaks_where_it_has_no_values() -> None:
    y = np.array([0.1, 0.2, NAN, 0.3, NAN, 0.1])
    x = np.arange(6.0)
    root = drawn(
        svg.line(
            x,
            y,
            y - 0.1,
            y + 0.1,
            title="t",
            description="d",
            x_label="x",
            y_label="y",
            ends=(0, 6),
        )
    )
    (path,) = [
        p.attrib["d"] for p in root.iter("path") if p.attrib["class"] == "cx-line"
    ]
    assert path.count("M") == 3


@pytest.mark.parametrize(
    "values", [[], [NAN], [0.0], [1.0, -1.0], [np.inf, -np.inf, 0.5]]
)
def test_charts_of_corners(values: list[float]) -> None:
    array = np.array(values, np.float32)
    drawn(charts.histogram_chart(array, {}))
    drawn(charts.density_chart(-np.abs(array), -np.abs(array)))
    drawn(svg.sparkline(array, 1.0, title="t"))
    drawn(svg.bars([], title="t", description="", label=""))
    drawn(svg.bars([svg.SvgBar("a", None, "")], title="t", description="", label=""))


def test_charts_of_a_pair_without_completions_or_differences(tmp_path: Path) -> None:
    a = [[NAN, -1.0], [NAN]]
    session = write_session(
        tmp_path / "s",
        [2, 1],
        [capture("trainer/prefill", a), capture("vllm/decode", a)],
    )
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    for scope in ("all", "prompt", "completion"):
        mask = pair.scope_mask(scope)
        drawn(charts.position_chart(pair, scope, mask))
        drawn(charts.sparkline(pair, 1, mask, 0.0))
    check_page(html(report_on(session), session))


def test_a_large_position_is_where_it_belongs(tmp_path: Path) -> None:
    n = 4000
    a = np.full(n, -1.0, np.float32)
    a[0], a[3000:] = NAN, -1.5
    b = np.full(n, -1.0, np.float32)
    session = write_session(
        tmp_path / "s",
        [0],
        [capture("trainer/prefill", [a]), capture("vllm/decode", [b])],
    )
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    root = drawn(
        charts.position_chart(pair, "completion", pair.scope_mask("completion"))
    )
    (path,) = [
        p.attrib["d"] for p in root.iter("path") if p.attrib["class"] == "cx-line"
    ]
    points = [tuple(map(float, point.split())) for point in path.lstrip("M").split("L")]
    heights = sorted({y for _, y in points})
    # y grows downwards: -0.5 from three quarters of the axis on, one bin may mix.
    fallen = [x for x, y in points if y == heights[-1]]
    share = (min(fallen) - svg_parts.LEFT) / (
        svg_parts.WIDTH - svg_parts.RIGHT - svg_parts.LEFT
    )
    assert share == pytest.approx(0.75, abs=2 / len(points))


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [
        (0, 1, False),
        (-0.3, 0.2, False),
        (1e-6, 3, True),
        (0.02, 0.09, True),
        (0, 123456, False),
    ],
)
def test_ticks_are_round_within_the_axis_and_readable(
    low: float, high: float, log: bool
) -> None:
    axis = svg_parts.Axis("x", low, high, log)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 9
    for value, text in ticks:
        assert low - 1e-9 <= value <= high * (1 + 1e-9)
        number = float(text.replace("k", "e3").replace("M", "e6"))
        assert number == pytest.approx(
            value, rel=1e-9, abs=1e-12
        )  # the text loses nothing
        assert len(text) <= 6
    assert axis.place(low, 10, 20) == 10
    assert axis.place(high, 10, 20) == pytest.approx(20, rel=1e-12)


def test_figures() -> None:
    assert [figure(v) for v in (None, NAN, 0.0433, 1234.5, -math.inf, True, 7)] == [
        "-",
        "-",
        "0.0433",
        "1,234.5",
        "-inf",
        "yes",
        "7",
    ]
    assert [figure(v, "share") for v in (0.0, 1.0, 0.9955, 0.99999999, 0.00012)] == [
        "0",
        "1",
        "0.9955",
        "0.99999999",
        "0.00012",
    ]
    assert exact(1.0499) == "1.0499"
    assert [
        bounds_text(WhatIf("", "", low, high, "token", None, None))
        for low, high in (
            (None, 0.01),
            (0.5, 2.0),
            (0.3, None),
            (None, None),
            (0.0, 0.0),
        )
    ] == [
        "<= 0.01",
        "0.5 to 2",
        ">= 0.3",
        "-",
        "0",
    ]
