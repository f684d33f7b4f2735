"""The screens that open from the explorer: matrix, settings, limits, report, log.

Each is imported when it is first opened, and shows the pair that the explorer has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from logdrift.core.compare.pair import Pair
from logdrift.core.session.visible import visible
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.origin import Labels, Origin

if TYPE_CHECKING:
    from logdrift.tui.models.filters import FilterInput
    from logdrift.tui.screens.add_backend import Names
    from logdrift.tui.widgets.reading import Row


class OtherScreens:
    """Opens other screens on what the explorer shows."""

    def __init__(
        self, screen: BaseScreen, explorer: Explorer, dialogue: Dialogue
    ) -> None:
        self._screen = screen
        self._explorer = explorer
        self._dialogue = dialogue

    def choose_pair(self, take_pair: Callable[[Pair], None]) -> None:
        """Choose a pair from the list of all pairs; ``take_pair`` gets it."""
        from logdrift.tui.screens.pair_picker import ask_pair

        explorer = self._explorer

        def chosen(labels: Labels) -> None:
            self.open_pair(labels, take_pair)

        ask_pair(self._screen, explorer.session, explorer.labels, chosen)

    def open_matrix(self, origin: Origin) -> None:
        """Open the matrix of all pairs: the one chosen there is shown, or explained."""
        from logdrift.tui.screens.matrix import MatrixScreen

        explorer = self._explorer

        def chosen(labels: Labels) -> None:
            self.open_pair(labels, origin.take_pair)

        def explain(labels: Labels) -> None:
            chosen(labels)
            if labels == explorer.labels:
                self.open_why(origin)

        matrix = MatrixScreen(explorer.session, explorer.labels, chosen, explain)
        self._dialogue.open(matrix)

    def open_pair(self, labels: Labels, take_pair: Callable[[Pair], None]) -> None:
        """Open a chosen pair, unless it is shown and saved already."""
        from logdrift.tui.screens.pair_picker import open_labels

        explorer = self._explorer
        is_shown = labels == explorer.labels
        if is_shown and labels == explorer.state.pair:
            return
        session = explorer.session
        pair = open_labels(self._screen, session, labels)
        if pair is not None:
            take_pair(pair)

    def add_backend(self, started: Callable[[Names], None]) -> None:
        """Ask for backends that score the session's ids; ``started`` gets their
        names.
        """
        from logdrift.tui.screens.add_backend import ask_backends

        def answered(names: Names) -> None:
            started(names)
            words = visible(", ".join(names))
            self._dialogue.say(
                f"{words} is being captured in the background: the pair comes when it"
                " is done"
            )

        ask_backends(self._screen, self._explorer.session.folder, answered)

    def show_added(self, names: Names, take_pair: Callable[[Pair], None]) -> bool:
        """Show the pair of backends that were added; whether they have ended, well or
        not.
        """
        from logdrift.tui.models.added_pair import added_pair, how_it_ended

        session = self._explorer.session
        end = how_it_ended(session, names)
        if end is None:
            return False
        if end.failed:
            self._dialogue.warn(end.words)
            return True
        labels = added_pair(session, names)
        if labels is not None:
            self.open_pair(labels, take_pair)
        self._dialogue.say(end.words)
        return True

    def open_facts(self) -> None:
        """Open the settings of both sides, with what the gate found in them."""
        from logdrift.tui.screens.settings import FactsScreen

        explorer = self._explorer
        gate = None
        if explorer.view is not None:
            gate = explorer.view.gate
        facts = FactsScreen(explorer.session, explorer.labels, gate)
        self._dialogue.open(facts)

    def open_limits(self) -> None:
        """Open the limits that frameworks publish, compared with the pair."""
        from logdrift.tui.screens.limits import LimitsScreen

        explorer = self._explorer
        if explorer.pair is None:
            self._dialogue.warn("there is no pair to compare yet")
            return
        limits = LimitsScreen(explorer.pair, explorer.answer)
        self._dialogue.open(limits)

    def open_why(self, origin: Origin) -> None:
        """Open the causes of the difference between the two captures."""
        from logdrift.tui.screens.why import WhyScreen

        if self._explorer.view is None:
            self._dialogue.warn(self._no_pair())
            return
        why = WhyScreen(origin)
        self._dialogue.open(why)

    def _no_pair(self) -> str:
        """Why nothing can be explained, and what to do."""
        from logdrift.core.report.one_side import lone_capture, only_side

        lone = lone_capture(self._explorer.session.captures)
        if lone is not None:
            return only_side(lone)
        return (
            "there is no pair to explain yet: it takes two captures with a finished"
            " sequence"
        )

    def open_worst(
        self, origin: Origin, filter_input: Callable[[], FilterInput]
    ) -> None:
        """Open the worst tokens of all sequences."""
        from logdrift.tui.models.worst import WorstList
        from logdrift.tui.screens.worst import WorstScreen

        explorer = self._explorer
        if explorer.pair is None:
            self._dialogue.warn("there is no pair to compare yet")
            return
        floor = None
        if explorer.numbers is not None:
            floor = explorer.numbers.floor
        worst = WorstList(explorer.pair, explorer.threshold, explorer.fragments)
        screen = WorstScreen(
            origin, worst, filter_input, floor=floor, greyed=explorer.greyed
        )
        self._dialogue.open(screen)

    def open_report(self) -> None:
        """Open the report of the pair."""
        from logdrift.tui.screens.report import ReportScreen

        explorer = self._explorer
        report = ReportScreen(explorer.session, explorer.labels)
        self._dialogue.open(report)

    def open_log(self) -> None:
        """Open the log of a backend; asks which one where there are several."""
        from logdrift.tui.models.backend_log import has_logs

        if not has_logs(self._explorer.session):
            self._dialogue.warn("this session came without logs")
            return
        captures = self._explorer.session.captures
        names = [info.backend for info in captures]
        backends = list(dict.fromkeys(names))
        if not backends:
            self._dialogue.warn("this session has no backends")
        elif len(backends) == 1:
            self._open_log(backends, 0)
        else:
            self._ask_backend(backends)

    def _ask_backend(self, backends: list[str]) -> None:
        from logdrift.tui.screens.texts import Picker

        palette = self._dialogue.palette
        failed = self._failed_backends()

        def row(index: int, width: int) -> Row:
            backend = backends[index]
            name = visible(backend)
            if backend in failed:
                return [(f" {name}  failed", palette.bad)]
            return [(f" {name}", palette.text)]

        def chosen(index: int) -> None:
            self._open_log(backends, index)

        start = 0
        for index, backend in enumerate(backends):
            if backend in failed:
                start = index
                break
        picker = Picker("Logs", " backend", len(backends), row, start)
        self._dialogue.choose(picker, chosen)

    def _failed_backends(self) -> set[str]:
        failed = set()
        for info in self._explorer.session.captures:
            if info.status == "failed":
                failed.add(info.backend)
        return failed

    def _open_log(self, backends: list[str], index: int) -> None:
        from logdrift.tui.screens.log import LogScreen

        log = LogScreen(self._explorer.session, backends, index)
        self._dialogue.open(log)
