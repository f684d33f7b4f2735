"""The screens that open from the explorer: matrix, settings, limits, report."""

from __future__ import annotations

from tui.screens.asking import AskingScreen

_FOR_A_PAIR = frozenset({
    "limits", "next_divergence", "previous_divergence", "threshold", "threshold_up", "threshold_down",
})  # fmt: skip


class Companions(AskingScreen, inherit_bindings=False):
    """Each is imported when it is first opened, and shows the pair that the explorer has."""

    @property
    def _labels(self) -> tuple[str, str] | None:
        return self.view.labels if self.view is not None else None

    def applies(self, name: str) -> bool:
        return name not in _FOR_A_PAIR or self.pair is not None

    def repaint_passage(self) -> None:
        """What is shown of the sequence has changed."""
        raise NotImplementedError

    def recoloured(self) -> None:
        self.repaint_passage()

    def action_matrix(self) -> None:
        from tui.screens.matrix import MatrixScreen

        self.say("")
        self.app.push_screen(MatrixScreen(self.session, self._labels, self._choose_pair))

    def action_facts(self) -> None:
        from tui.screens.settings import FactsScreen

        self.say("")
        gate = self.view.gate if self.view is not None else None
        self.app.push_screen(FactsScreen(self.session, self._labels, gate))

    def action_limits(self) -> None:
        from tui.screens.thresholds import LimitsScreen

        if self.pair is None:
            self.say("there is no pair to compare yet", warn=True)
            return
        self.say("")
        self.app.push_screen(LimitsScreen(self.pair))

    def action_report(self) -> None:
        from tui.screens.report import ReportScreen

        self.say("")
        self.app.push_screen(ReportScreen(self.session, self._labels))
