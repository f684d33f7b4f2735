"""Pictures of a screen: columns stand where they stood, and text stays text."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from logdrift.tui.picture import (
    CELL_HEIGHT,
    CELL_WIDTH,
    CellRun,
    FilmScene,
    Paper,
    film,
    still,
)
from tests.common import REPOSITORY

SVG = "{http://www.w3.org/2000/svg}"
PAPER = Paper(
    columns=20, lines=2, background="#000000", foreground="#ffffff", title="t"
)


def run(text: str, cells: int | None = None, background: str | None = None) -> CellRun:
    return CellRun(
        text=text,
        cells=len(text) if cells is None else cells,
        colour="#ffffff",
        background=background,
    )


def texts(svg: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f".//{SVG}text")


@pytest.mark.parametrize("before", ["", "x", "   ", "a b", "<&>"])
def test_letters_stand_in_their_column_whatever_stands_before(before: str) -> None:
    svg = still([[run(before), run("  here  ")]], PAPER)
    plain = still([[run("here")]], PAPER)
    (origin,) = texts(plain)
    here = texts(svg)[-1]
    column = len(before) + 2
    distance = float(here.attrib["x"]) - float(origin.attrib["x"])
    # Places are written to a tenth of a pixel.
    assert distance == pytest.approx(column * CELL_WIDTH, abs=0.11)
    assert here.text == "here"
    assert float(here.attrib["textLength"]) == pytest.approx(4 * CELL_WIDTH, abs=0.11)


def test_blanks_inside_are_kept_and_hostile_text_stays_text() -> None:
    svg = still([[run('a  b</text><script>alert("1")</script>')]], PAPER)
    (only,) = texts(svg)
    assert (only.text or "").startswith("a\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}b</text>")
    assert not ElementTree.fromstring(svg).findall(f".//{SVG}script")


def test_a_wide_character_takes_two_cells() -> None:
    svg = still([[run("搠", cells=2), run("x")]], PAPER)
    wide, after = texts(svg)
    distance = float(after.attrib["x"]) - float(wide.attrib["x"])
    assert distance == pytest.approx(2 * CELL_WIDTH, abs=0.11)


def rectangles(svg: str) -> list[list[float]]:
    """Left, top, width and height of what is drawn on the paper, in cells."""
    found = []
    for one in ElementTree.fromstring(svg).findall(f".//{SVG}rect")[1:]:
        left, top, width, height = (
            float(one.attrib[name]) for name in ("x", "y", "width", "height")
        )
        across = [(left - 10) / CELL_WIDTH, (top - 10) / CELL_HEIGHT]
        found.append([*across, width / CELL_WIDTH, height / CELL_HEIGHT])
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("██", [[0, 0, 2, 1]]),
        ("x█▂", [[1, 0, 1, 1], [2, 6 / 8, 1, 2 / 8]]),
        ("▀ ▌▐", [[0, 0, 1, 1 / 2], [2, 0, 1 / 2, 1], [3.5, 0, 1 / 2, 1]]),
        ("▏▉", [[0, 0, 1 / 8, 1], [1, 0, 7 / 8, 1]]),
        ("ab─│", []),
    ],
)
def test_blocks_fill_their_cells_whatever_the_font(
    text: str, expected: list[list[float]]
) -> None:
    svg = still([[run(text)]], PAPER)
    for found, wanted in zip(rectangles(svg), expected, strict=True):
        # Places are written to a tenth of a pixel.
        assert found == pytest.approx(wanted, abs=0.02)
    written = "".join(one.text or "" for one in texts(svg))
    assert written.replace("\N{NO-BREAK SPACE}", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["⠂⡄─x", "─⠂┬", "搠x⠂"])
def test_characters_of_other_fonts_stand_in_their_own_place(text: str) -> None:
    svg = still([[run(text, cells=cell_len(text))]], PAPER)
    for one in texts(svg):
        part = one.text or ""
        before = cell_len(text[: text.index(part)])
        left = (float(one.attrib["x"]) - 10) / CELL_WIDTH
        assert left == pytest.approx(before, abs=0.02)
        is_other = any(ord(letter) >= 0x2800 for letter in part)
        assert len(part) == 1 or not is_other


def test_nothing_is_fetched() -> None:
    svg = still([[run("x", background="#112233")]], PAPER)
    assert "url(" not in svg
    assert "href" not in svg
    assert svg.count("http") == 1, "the name of the format alone"


def test_a_film_shows_each_scene_in_its_time_and_the_last_one_where_nothing_moves() -> (
    None
):
    scenes = [FilmScene(rows=[[run(word)]], seconds=2) for word in ("one", "two")]
    svg = film(scenes, PAPER)
    found = [text.text for text in texts(svg)]
    assert found == ["one", "two"]
    assert "@keyframes s0{0%{visibility:visible}50.000%{visibility:hidden}}" in svg
    assert "@keyframes s1{0%{visibility:hidden}50.000%{visibility:visible}}" in svg
    assert ".s{visibility:hidden}.s1{visibility:visible}" in svg
    assert "4s step-end infinite" in svg


def test_the_pictures_of_the_documents_name_no_machine() -> None:
    pictures = sorted((REPOSITORY / "docs").glob("*.svg"))
    assert pictures
    for picture in pictures:
        shown = picture.read_text(encoding="utf-8")
        for root in ("root", "home", "work", "tmp", "Users"):
            assert f"/{root}/" not in shown, picture.name
