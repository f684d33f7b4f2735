"""The commands of the explorer that take words: ``:sort worst``, ``:pair a:b``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from logdrift.core.charts.registry import CHARTS
from logdrift.core.compare.pair import list_pairs, parse_pair
from logdrift.core.errors import InputError
from logdrift.tui.models.command_line import WordTaker
from logdrift.tui.models.filters import parse_filter
from logdrift.tui.models.modes import MODES
from logdrift.tui.models.state import SORTS
from logdrift.tui.models.thresholds import parse_threshold

if TYPE_CHECKING:
    from logdrift.tui.screens.explorer.screen import ExplorerScreen


def explorer_takers(explorer: ExplorerScreen) -> dict[str, WordTaker]:
    """Each by the word that it begins with."""
    model = explorer.model
    session = model.session
    modes = [mode.name for mode in MODES]
    charts = [entry.name for entry in CHARTS]

    def take_pair(text: str) -> None:
        labels = parse_pair(session, text)
        explorer.other_screens.open_pair(labels, explorer.take_pair)

    def take_chart(name: str) -> None:
        explorer.action_chart(charts.index(name))

    def threshold_of(text: str) -> float:
        if model.pair is None:
            raise InputError("there is no pair to compare yet")
        return parse_threshold(text, model.levels)

    return {
        "sort": _one_of("a number of the sequences", SORTS, explorer.listing.sort_by),
        "colour": _one_of("what tokens show", modes, explorer.colours.colour_by),
        "chart": _one_of("the name of a chart", charts, take_chart),
        "threshold": WordTaker(
            "a number, or a share of the tokens: 0.25, 1%",
            explorer.divergent.take_typed,
            threshold_of,
        ),
        "pair": WordTaker(
            "two captures: trainer:vllm",
            take_pair,
            lambda text: parse_pair(session, text),
            lambda: [f"{a}:{b}" for a, b in list_pairs(session)],
        ),
        "filter": WordTaker(
            "what f takes: text, >0.3, mean>0.05",
            explorer.listing.filter_by,
            parse_filter,
        ),
        "search": WordTaker("text or ids", explorer.search.start, lambda text: None),
    }


def _one_of(
    words: str, names: Sequence[str], take: Callable[[str], object]
) -> WordTaker:
    """A command that takes one of the names."""

    def check(name: str) -> None:
        if name not in names:
            raise InputError(f"{name!r} is not one of {', '.join(names)}")

    return WordTaker(words, take, check, lambda: names)
