"""The map for the next person: every place that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = ("CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md")
PLACE = re.compile(r"`((?:cli|tui|core|tests|docs|benchmarks)/[\w/.-]*)`")


@pytest.mark.parametrize("page", PAGES)
def test_what_the_map_names_is_there(page: str) -> None:
    text = (REPOSITORY / page).read_text("utf-8")
    places = [place for place in PLACE.findall(text) if "NAME" not in place]
    assert places
    missing = [place for place in places if not (REPOSITORY / place).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_the_map_lead_somewhere(page: str) -> None:
    path = REPOSITORY / page
    links = re.findall(r"\]\(([^)#:]+)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_folder_of_the_product_is_on_the_map() -> None:
    text = (REPOSITORY / "docs/architecture.md").read_text("utf-8")
    rooms = [
        f"{top}/{room.name}"
        for top in ("core", "tui")
        for room in (REPOSITORY / top).iterdir()
        if (room / "__init__.py").exists()
    ]
    unnamed = [
        room
        for room in rooms
        if f"{room}/" not in text and f"`{room.split('/')[1]}/" not in text
    ]
    assert unnamed == []
