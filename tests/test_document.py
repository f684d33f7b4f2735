"""Blocks and their painters: every medium makes hostile text safe, and the screen gets
the lines of the terminal without its codes.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from logdrift.core.report.document import (
    Block,
    CardBlock,
    CodeSpan,
    ContextCell,
    FactCell,
    FailureBlock,
    FoldedBlock,
    Gap,
    GroupBlock,
    HeadBlock,
    HeadingBlock,
    LegendBlock,
    LineBlock,
    ListBlock,
    MutedSpan,
    NameCell,
    NumberCell,
    PairCell,
    ParagraphBlock,
    ReasonsBlock,
    SentenceBlock,
    SeriesBlock,
    SourceCell,
    Span,
    SplitBlock,
    TableBlock,
    TableColumn,
    TableRow,
    TagCell,
    VerdictBlock,
)
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.html import paint_html
from logdrift.core.report.paint.markdown import paint_markdown
from logdrift.core.report.paint.text import paint_text, styled_lines

ROOT = Path(__file__).resolve().parent.parent
BAD = "</td><script>\x1b[31m|`*x*`\n# @evil"


def for_a_terminal() -> list[Block]:
    columns = (TableColumn("a", 9), TableColumn("b", 6, right=True, gap=1))
    context = (*columns, TableColumn("c", 0, gap=2))
    return [
        LineBlock(BAD),
        SentenceBlock(BAD * 4, "warn", 5, BAD[:4], "bad"),
        SplitBlock(BAD * 9, "END", right_tone="good"),
        TableBlock(columns, (TableRow((BAD[:8], Span("1.5", "good"))),)),
        TableBlock(context, (TableRow(("", "", ContextCell(BAD, BAD, BAD))),)),
        TableBlock((TableColumn("free"),), (TableRow((BAD * 5,)),), shrink=(0,)),
        SeriesBlock((tuple("123456789"), tuple("abcdefghi"))),
        Gap(),
    ]


def for_a_reader() -> list[Block]:
    cells = (
        BAD,
        NumberCell("-", void=True),
        NameCell(BAD, owner=BAD, notes=(BAD,)),
        NameCell(BAD, code=True),
        FactCell(None, before=BAD),
        PairCell(BAD, BAD),
        TagCell(BAD, "caution"),
        ContextCell(BAD, BAD, BAD, token_id=3),
    )
    columns = tuple(TableColumn(str(place)) for place in range(len(cells)))
    table = TableBlock(columns, (TableRow(cells),))
    inline = (Span(BAD, "bold"), CodeSpan(BAD), MutedSpan(BAD, NumberCell("0.5")))
    return [
        HeadingBlock(2, inline),
        ParagraphBlock(inline),
        table,
        FoldedBlock(inline, (table,)),
    ]


def for_a_page() -> list[Block]:
    source = TableBlock((TableColumn("s"),), (TableRow((SourceCell(BAD),)),))
    return [
        HeadBlock(BAD, BAD, (BAD,), BAD, "caution", (("a", "word"),)),
        FailureBlock(BAD, (BAD, BAD)),
        VerdictBlock(PairCell(BAD, BAD), BAD, (ReasonsBlock((("info", BAD),)),)),
        CardBlock(BAD, NumberCell("0.5", unit=" nats"), BAD, (BAD,)),
        GroupBlock("panel", (source,), void=True),
        *for_a_terminal(),
        *for_a_reader(),
    ]


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_terminal_gets_lines_that_fit_and_nothing_that_steers_it(
    width: int, encoding: str
) -> None:
    text = paint_text(for_a_terminal(), Canvas(width, encoding))
    for line in text.splitlines():
        assert line.isprintable(), line
        assert cell_len(line) <= width, line
    assert "END" in text
    assert "evil" in text


def test_the_screen_gets_the_lines_of_the_terminal_without_its_codes() -> None:
    lines = styled_lines(for_a_terminal(), Canvas())
    plain = ["".join(run.text for run in line) for line in lines]
    assert plain == paint_text(for_a_terminal(), Canvas()).splitlines()
    coloured = paint_text(for_a_terminal(), Canvas(colour=True))
    assert re.sub(r"\x1b\[[0-9;]+m", "", coloured).splitlines() == plain
    assert {"warn", "bad", "good"} <= {run.tone for line in lines for run in line}
    for line in lines:
        tones = [run.tone for run in line]
        assert all(a != b for a, b in itertools.pairwise(tones))


def test_markdown_gets_no_markup_of_others() -> None:
    source = paint_markdown([*for_a_terminal(), *for_a_reader()])
    own = {"<code>", "</code>", "<b>", "</b>", "<details>", "</details>"}
    own |= {"<summary>", "</summary>", "<!-- -->"}
    assert set(re.findall(r"<[^>]*>", source)) <= own
    assert not re.search("[\x00-\x09\x0b-\x1f]", source)
    assert "@evil" not in source
    assert "evil" in source
    assert "unknown" in source
    assert "~~-~~" not in source


def test_a_page_gets_no_tag_of_others() -> None:
    page = paint_html(for_a_page(), BAD)
    assert "<script" not in page
    assert "\x1b" not in page
    assert page.count("&lt;script&gt;") > 20
    assert '<span class="none">unknown</span>' in page


def test_what_stands_out_on_a_terminal_stands_out_in_every_medium() -> None:
    blocks: list[Block] = [
        LineBlock("a title"),
        SentenceBlock("an answer", "good"),
        Gap(),
        SentenceBlock("first", indent=6, mark="  one"),
        SentenceBlock("second", indent=6, mark="  two", mark_tone="bad"),
        SplitBlock("left", "right", right_tone="warn"),
        SeriesBlock((("1", "2"), ("3", "4"))),
        TableBlock(
            (TableColumn("t"),),
            (TableRow((Span("cell", "bad"),)), TableRow(("x",), "dim")),
        ),
    ]
    assert paint_markdown(blocks) == (
        "**a title**\n\n**an answer**\n\n- **one** first\n- **two** second\n\n"
        "left: **right**\n\n| 1 | 2 |\n| ---: | ---: |\n| 3 | 4 |\n\n"
        "| t |\n| --- |\n| cell |\n| x |\n"
    )
    page = paint_html(blocks, "")
    for words in (
        "<h3>a title</h3>",
        '<span class="comparable">an answer</span>',
        '<span class="strong">one</span>',
        '<span class="not_comparable">two</span>',
        '<span class="caution">right</span>',
        '<td class="n">3</td>',
        '<td><span class="not_comparable">cell</span></td>',
        '<tr class="muted"><td>x</td>',
    ):
        assert words in page, words


def test_markdown_folds_and_says_what_it_leaves_out() -> None:
    fold = FoldedBlock((Span("more"),), (ListBlock(((Span("x" * 100),),)),))
    source = paint_markdown([fold] * 9, limit=500)
    shown = source.count("<details>")
    assert 0 < shown < 9
    assert f"{9 - shown} folded parts were left out" in source


def test_a_block_that_a_medium_does_not_have_is_an_error() -> None:
    with pytest.raises(TypeError, match="Markdown has no LegendBlock"):
        paint_markdown([LegendBlock((0.1,))])
    with pytest.raises(TypeError, match="a page has no ListBlock"):
        paint_html([ListBlock(())], "")


def test_builders_know_no_medium_and_painters_no_result() -> None:
    folder = ROOT / "core" / "report"
    medium = re.compile(r"x1b\[|html import escape|report\.paint|&lt;")
    builders = [*folder.glob("*_document.py"), *folder.glob("*tables.py")]
    builders += [folder / f"{name}.py" for name in ("page", "comment", "session_text")]
    assert len(builders) > 7
    for path in builders:
        assert not medium.search(path.read_text("utf-8")), path.name
    result = re.compile(
        r"report\.(records|diff|why|check|build)\b|core\.(compare|session\.reader)"
    )
    # Tokens are painted from the arrays of their pair: a span each would be a copy.
    painters = {*(folder / "paint").glob("*.py")} - {folder / "paint/html_tokens.py"}
    for path in painters:
        assert not result.search(path.read_text("utf-8")), path.name


def test_no_screen_reads_codes_of_a_terminal_back() -> None:
    for path in (ROOT / "tui" / "screens").rglob("*.py"):
        assert "x1b\\[" not in path.read_text("utf-8"), path.name
