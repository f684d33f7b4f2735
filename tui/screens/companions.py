"""The screens that open from the explorer: matrix, settings, limits, why, report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logdrift.core.session.reader import Session
from logdrift.tui.screens.asking import AskingScreen

if TYPE_CHECKING:
    from logdrift.tui.models.answer import AnswerLine
    from logdrift.tui.models.why import WhyView

_FOR_A_PAIR = frozenset(
    {
        "limits",
        "why",
        "next_divergence",
        "previous_divergence",
        "threshold",
        "threshold_up",
        "threshold_down",
    }
)


class Companions(AskingScreen, inherit_bindings=False):
    """Each is imported when it is first opened, and shows the pair that the explorer
    has.
    """

    answer: AnswerLine | None
    """The sentence on the pair that is shown, once it is worked out."""
    _whys: tuple[Session, dict[tuple[str, str], WhyView]] | None = None

    @property
    def _labels(self) -> tuple[str, str] | None:
        return self.view.labels if self.view is not None else None

    def applies(self, name: str) -> bool:
        return name not in _FOR_A_PAIR or self.pair is not None

    def repaint_passage(self) -> None:
        """What is shown of the sequence has changed."""
        raise NotImplementedError

    @property
    def position(self) -> int:
        """Flat index of the token under the cursor."""
        raise NotImplementedError

    def jump(self, position: int) -> None:
        """Put the cursor on a flat position, to be undone by one key."""
        raise NotImplementedError

    def to_tokens(self) -> None:
        """Give the keys to the text."""
        raise NotImplementedError

    def recoloured(self) -> None:
        self.repaint_passage()

    def action_matrix(self) -> None:
        from logdrift.tui.screens.matrix import MatrixScreen

        self.say("")
        self.app.push_screen(
            MatrixScreen(self.session, self._labels, self._choose_pair)
        )

    def action_facts(self) -> None:
        from logdrift.tui.screens.settings import FactsScreen

        self.say("")
        gate = self.view.gate if self.view is not None else None
        self.app.push_screen(FactsScreen(self.session, self._labels, gate))

    def action_limits(self) -> None:
        from logdrift.tui.screens.limits import LimitsScreen

        if self.pair is None:
            self.say("there is no pair to compare yet", warn=True)
            return
        self.say("")
        self.app.push_screen(LimitsScreen(self.pair, self.answer))

    def action_why(self) -> None:
        from logdrift.tui.screens.why import WhyScreen

        if self.view is None:
            self.say(
                "there is no pair to explain yet: it takes two captures with a finished"
                " sequence",
                warn=True,
            )
            return
        self.say("")
        self.app.push_screen(WhyScreen(self))

    def explained(self, session: Session, labels: tuple[str, str]) -> WhyView | None:
        """The explanation of a pair that was worked out before, of this state of the
        folder.
        """
        return (
            self._whys[1].get(labels)
            if self._whys is not None and self._whys[0] is session
            else None
        )

    def keep_explained(self, session: Session, found: WhyView) -> None:
        """Remember an explanation for as long as the session does not change."""
        if self._whys is None or self._whys[0] is not session:
            self._whys = session, {}
        self._whys[1][found.labels] = found

    def action_report(self) -> None:
        from logdrift.tui.screens.report import ReportScreen

        self.say("")
        self.app.push_screen(ReportScreen(self.session, self._labels))
