"""The worst tokens of all sequences: sorted, filtered, with their text in context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.worker import get_current_worker

from logdrift.core.numbers import counted
from logdrift.core.session.visible import visible
from logdrift.tui import clipboard
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.filters import FilterInput, filter_problem, parse_filter
from logdrift.tui.models.sizes import WORST_SORTS, Ranking, WorstSort, rank_tokens
from logdrift.tui.models.worst import WorstList
from logdrift.tui.screens.origin import Origin
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Row
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.worst_rows import WorstRows


@dataclass(eq=False, repr=False)
class TokensRanked(Message):
    """The worst tokens were found, in an order and with a filter."""

    sort: WorstSort
    filter: str
    ranking: Ranking


class WorstScreen(ResultScreen, inherit_bindings=False):
    """A row for each token; ``origin`` is the explorer that it goes back to.

    ``filter_input`` gives what filters look at. ``floor`` and ``greyed`` are those of
    `WorstRows`.
    """

    BINDINGS = bindings("worst")
    SCOPES = ("worst",)
    AUTO_FOCUS = "#worst"
    SAVED_AS = "worst.tsv"

    def __init__(
        self,
        origin: Origin,
        worst: WorstList,
        filter_input: Callable[[], FilterInput],
        *,
        floor: float | None,
        greyed: bool,
    ) -> None:
        super().__init__()
        self.session = origin.session
        self.worst = worst
        self._origin = origin
        self._filter_input = filter_input
        self.list = WorstRows(worst, floor=floor, greyed=greyed, id="worst")

    def panes(self) -> ComposeResult:
        yield Bar(id="verdict")
        yield self.list

    def on_mount(self) -> None:
        self._rank(self.worst.sort, self.worst.filter)

    def draw(self) -> None:
        palette = self.palette
        pair = self.worst.pair
        a = visible(pair.a.info.label)
        b = visible(pair.b.info.label)
        width = self.text_width
        pair_text = f"{visible(self.session.name)}: {a} {ARROW} {b}"
        words = "Δ = log p A − log p B, nats; all scored tokens, prompts too"
        rows: list[Row] = [
            [(f" {fit(pair_text, width)}", palette.strong)],
            [(f" {fit(words, width)}", palette.muted)],
        ]
        self.bar("verdict").put(rows)

    # ---- finding the tokens

    @background(group="worst", exclusive=True)
    def _rank(self, sort: WorstSort, text: str) -> None:
        """Find the worst tokens: a second for millions of them."""
        worker = get_current_worker()
        pair = self.worst.pair
        candidates = np.arange(pair.tokens)
        if text:
            candidates = parse_filter(text).tokens(self._filter_input())
        ranking = rank_tokens(pair, sort, candidates)
        for capture in (pair.a, pair.b):
            capture.rank.whole()  # read here, not while rows are drawn
        if not worker.is_cancelled:
            self.post_message(TokensRanked(sort, text, ranking))

    @on(TokensRanked)
    def _on_ranked(self, message: TokensRanked) -> None:
        worst = self.worst
        worst.sort = message.sort
        worst.filter = message.filter
        worst.take(message.ranking)
        self.list.selected = 0
        self.list.rows_changed()
        if len(worst):
            return
        if worst.filter:
            self.warn(f"no token has {visible(worst.filter)}  (Esc removes the filter)")
        else:
            self.say("A and B give every token the same log-probability")

    # ---- order and filter

    def action_sort(self) -> None:
        """By the next number."""
        following = WORST_SORTS.index(self.worst.sort) + 1
        self._sort_by(following % len(WORST_SORTS))

    def action_sorts(self) -> None:
        """List the orders."""
        from logdrift.tui.screens.texts import Picker

        palette = self.palette

        def row(index: int, width: int) -> Row:
            sort = WORST_SORTS[index]
            words = fit(sort.words, max(1, width - 11))
            return [(f" {fit(sort.name, 10)}", palette.strong), (words, palette.muted)]

        start = WORST_SORTS.index(self.worst.sort)
        picker = Picker("Sort tokens by", "", len(WORST_SORTS), row, start)
        self.choose(picker, self._sort_by)

    def _sort_by(self, index: int) -> None:
        sort = WORST_SORTS[index]
        self.say(f"tokens by {sort.words}")
        self._rank(sort, self.worst.filter)

    def action_filter(self) -> None:
        """Ask which tokens to list."""
        from logdrift.tui.screens.prompt import LinePrompt

        prompt = LinePrompt(
            "Filter",
            "text · #30010 · > divergent · >0.3 · + or - by sign · mean>0.05"
            " · * marked",
            self.worst.filter,
            problem=filter_problem,
            history="filter",
        )
        self.say("")
        self.ask(prompt, self.filter_by)

    def filter_by(self, text: str) -> None:
        """List the tokens that a filter keeps; "" lists all."""
        self.say("")
        self._rank(self.worst.sort, text)

    # ---- going on from a token

    @on(Rows.Moved)
    def _on_moved(self) -> None:
        self.say("")

    @on(Rows.Chosen)
    def action_to_tokens(self) -> None:
        """Show the token in the text."""
        row = self.list.here
        if row is None:
            return
        self.dismiss()
        self._origin.jump(row.position)
        self._origin.to_tokens()

    def action_why(self) -> None:
        """The causes of the pair."""
        from logdrift.tui.screens.why import WhyScreen

        self.say("")
        self.app.push_screen(WhyScreen(self._origin))

    def action_clear(self) -> None:
        """Esc removes the filter; without one it leaves."""
        if self.worst.filter:
            self.filter_by("")
        else:
            self.action_back()

    def action_copy(self) -> None:
        """Copy as many rows as a terminal takes."""
        table, rows = self.worst.as_table(clipboard.LIMIT)
        outcome = self.logdrift.copy_text(table)
        if rows < len(self.worst):
            outcome = f"copied the first {counted(rows, 'row')}: Ctrl+S saves all"
        self.say(outcome)

    def text_to_save(self) -> str:
        table, _ = self.worst.as_table()
        return table
