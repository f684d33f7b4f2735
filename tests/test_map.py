"""The map for the next person: every place that it names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.common import REPOSITORY

PAGES = ("CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md")
PLACE = re.compile(r"`((?:cli|tui|core|tests|docs|benchmarks|endurance)/[\w/.-]*)`")


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
    found = [link for link in links if not (path.parent / link).exists()]
    assert found == []


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


# What code and documents call by its place, is there.


def _modules() -> dict[str, Path]:
    modules = {}
    for top in ("core", "tui", "cli"):
        for path in (REPOSITORY / top).rglob("*.py"):
            inside = path.relative_to(REPOSITORY).with_suffix("").parts
            if inside[-1] == "__init__":
                inside = inside[:-1]
            modules[".".join(("logdrift", *inside))] = path
    return modules


def _named(folder: str, pattern: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((REPOSITORY / folder).rglob("*")):
        if path.suffix in (".py", ".md"):
            for match in re.finditer(pattern, path.read_text("utf-8")):
                yield path, match[1]


def _exists(place: str, modules: dict[str, Path]) -> bool:
    """Whether a dotted name is a module, or a name that its module has."""
    module = place
    while module and module not in modules:
        module = module.rpartition(".")[0]
    name = place.removeprefix(module).strip(".").partition(".")[0]
    if not module or not name or name.startswith("__"):
        return bool(module)
    return re.search(rf"\b{name}\b", modules[module].read_text("utf-8")) is not None


@pytest.mark.parametrize(
    "folder", ["core", "tui", "cli", "docs", "benchmarks", "endurance"]
)
def test_a_dotted_name_leads_to_a_module_or_what_it_has(folder: str) -> None:
    modules = _modules()
    pattern = r"\b(logdrift\.(?:core|tui|cli)(?:\.[A-Za-z_]\w*)+)"
    astray = [
        f"{path.relative_to(REPOSITORY)}: {place}"
        for path, place in _named(folder, pattern)
        if not _exists(place, modules)
    ]
    assert astray == []


@pytest.mark.parametrize(
    "folder", ["core", "tui", "cli", "docs", "benchmarks", "endurance"]
)
def test_a_file_that_is_named_is_there(folder: str) -> None:
    pattern = r"(?<![\w/.-])((?:core|tui|cli)/[\w/]+\.(?:py|tcss|txt|json))\b"
    astray = [
        f"{path.relative_to(REPOSITORY)}: {place}"
        for path, place in _named(folder, pattern)
        if not re.search(r"/[A-Z]+/", place) and not (REPOSITORY / place).exists()
    ]
    assert astray == []
