"""Before and after in the explorer: an earlier session beside the one that is shown,
for the chart of the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message
from textual.worker import get_current_worker

from logdrift.core.compare.pair import Pair
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.visible import visible
from logdrift.tui.faults import background
from logdrift.tui.models.state import ViewState
from logdrift.tui.screens.explorer_levels import ExplorerLevels

if TYPE_CHECKING:
    from logdrift.core.charts.data import ChangeData
    from logdrift.tui.widgets.reading import Row


@dataclass(eq=False, repr=False)
class ChangeFound(Message):
    """The pair on the screen was compared with that of an earlier session. ``asked``:
    the user waits for the chart.
    """

    pair: Pair
    old: Path
    change: ChangeData
    words: str
    asked: bool


@dataclass(eq=False, repr=False)
class ChangeFailed(Message):
    """An earlier session could not be compared with this one."""

    text: str


class ExplorerBefore(ExplorerLevels, inherit_bindings=False):
    """Asks for the earlier session and keeps what the chart is made from. ``before`` is
    compared from the start.
    """

    def __init__(
        self,
        session: Session,
        view_state: ViewState,
        *,
        before: Path | None,
        classes: str,
    ) -> None:
        super().__init__(session, view_state, classes=classes)
        self.before = before
        self.change: ChangeData | None = None

    def want_chart(self) -> None:
        """Have the chart of what is shown now."""
        raise NotImplementedError

    def show_change(self) -> None:
        """Bring the chart of the change to where it is seen."""
        raise NotImplementedError

    def action_before(self) -> None:
        """Ask for the earlier session."""
        from logdrift.tui.models.sessions import session_folders
        from logdrift.tui.screens.texts import Picker

        if self.pair is None:
            self.say("there is no pair to compare yet", warn=True)
            return
        here = self.session.folder.resolve()
        places = dict.fromkeys(
            path.resolve() for path in (self.logdrift.sessions_dir, here.parent)
        )
        folders = [
            folder
            for place in places
            for folder in session_folders(place)[0]
            if folder != here
        ]
        if not folders:
            self.say(
                "there is no other session in this folder to compare with", warn=True
            )
            return
        rows: list[Path | None] = [
            *([None] if self.before is not None else []),
            *folders,
        ]
        palette = self.palette

        def row(index: int, width: int) -> Row:
            folder = rows[index]
            if folder is None:
                return [(" none: take the comparison away", palette.muted)]
            mark = (
                "•"
                if self.before is not None and folder == self.before.resolve()
                else " "
            )
            return [(f" {mark} {visible(folder.name)}", palette.text)]

        def answered(index: int | None) -> None:
            if index is not None:
                self.compare_with(rows[index], asked=True)

        head = f" the same pair, before, of: · after: {visible(self.session.name)}"
        start = next(
            (i for i, f in enumerate(rows) if f is not None and self.before == f), 0
        )
        self._ask(Picker("Earlier session", head, len(rows), row, start), answered)

    def compare_with(self, folder: Path | None, *, asked: bool) -> None:
        """Compare the pair with that of ``folder`` from now on; None: with none."""
        self.before, self.change = folder, None
        self.want_chart()
        if folder is not None and self.pair is not None:
            if asked:
                self.say(f"comparing with {visible(folder.name)}")
            self._compare(folder, self.pair, asked)

    def compare_again(self) -> None:
        """Another pair, or more of it, is shown."""
        if self.before is not None:
            self.compare_with(self.before, asked=False)

    @background(
        group="change", exclusive=True, failed=lambda words: ChangeFailed(words)
    )
    def _compare(self, folder: Path, new: Pair, asked: bool) -> None:
        from logdrift.core.charts.change import change_data
        from logdrift.core.compare.pair import default_scope, make_pair
        from logdrift.core.compare.sessions import compare_sessions
        from logdrift.core.report.diff import both_pairs

        worker = get_current_worker()
        old = open_session(folder)
        text = f"{new.a.info.label}:{new.b.info.label}"
        known = {info.label for info in old.captures}
        same = {new.a.info.label, new.b.info.label} <= known
        labels, _ = both_pairs(old, new.session, text if same else None, text)
        scopes = {default_scope(session.sequences) for session in (old, new.session)}
        scope = scopes.pop() if len(scopes) == 1 else "all"
        found = compare_sessions(make_pair(old, *labels), new, scope, resamples=0)
        words = f"before: {visible(old.name)}" + (
            "" if same else f", its pair {visible(' → '.join(labels))}"
        )
        if not worker.is_cancelled:
            change = change_data(old.name, new.session.name, found)
            self.post_message(ChangeFound(new, folder, change, words, asked))

    @on(ChangeFound)
    def _on_change_found(self, message: ChangeFound) -> None:
        if self.pair is not message.pair or self.before != message.old:
            return
        self.change = message.change
        self.want_chart()
        if message.asked:
            self.say(message.words)
            self.show_change()

    @on(ChangeFailed)
    def _on_change_failed(self, message: ChangeFailed) -> None:
        self.before = None
        self.say("")
        self.logdrift.show_error(message.text)
