"""The commands of the explorer that take words: ``:sort worst``, ``:pair a:b``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from logdrift.core.charts.registry import CHARTS
from logdrift.core.compare.pair import list_pairs, parse_pair
from logdrift.core.errors import InputError
from logdrift.tui.models.command_line import WordTaker
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.filters import parse_filter
from logdrift.tui.models.modes import MODES
from logdrift.tui.models.state import SORTS
from logdrift.tui.screens.explorer.colours import Colours
from logdrift.tui.screens.explorer.listing import SequenceOrder
from logdrift.tui.screens.explorer.search import Search
from logdrift.tui.screens.explorer.thresholds import Threshold
from logdrift.tui.screens.origin import Labels


def explorer_takers(
    model: Explorer,
    *,
    listing: SequenceOrder,
    colours: Colours,
    divergent: Threshold,
    search: Search,
    show_chart: Callable[[int], None],
    open_pair: Callable[[Labels], None],
) -> dict[str, WordTaker]:
    """Each by the word that it begins with."""
    session = model.session
    modes = [mode.name for mode in MODES]
    charts = [entry.name for entry in CHARTS]
    return {
        "sort": _one_of("a number of the sequences", SORTS, listing.sort_by),
        "colour": _one_of("what tokens show", modes, colours.colour_by),
        "chart": _one_of(
            "the name of a chart", charts, lambda name: show_chart(charts.index(name))
        ),
        "threshold": WordTaker(
            "a number, or a share of the tokens: 0.25, 1%",
            divergent.take_typed,
            divergent.parse,
        ),
        "pair": WordTaker(
            "two captures: trainer:vllm",
            lambda text: open_pair(parse_pair(session, text)),
            lambda text: parse_pair(session, text),
            lambda: [f"{a}:{b}" for a, b in list_pairs(session)],
        ),
        "filter": WordTaker(
            "what f takes: text, >0.3, mean>0.05", listing.filter_by, parse_filter
        ),
        "search": WordTaker("text or ids", search.start, lambda text: None),
    }


def _one_of(
    words: str, names: Sequence[str], take: Callable[[str], object]
) -> WordTaker:
    """A command that takes one of the names."""

    def check(name: str) -> None:
        if name not in names:
            raise InputError(f"{name!r} is not one of {', '.join(names)}")

    return WordTaker(words, take, check, lambda: names)
