"""Comparing the pair with an earlier session, for the chart of the change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.dom import DOMNode
from textual.message import Message
from textual.worker import get_current_worker

from logdrift.core.compare.pair import Pair, Scope
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.visible import visible
from logdrift.tui.faults import background
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.panes import PaneGroup
from logdrift.tui.screens.origin import Labels

if TYPE_CHECKING:
    from logdrift.core.charts.data import ChangeData
    from logdrift.tui.widgets.reading import Row


@dataclass(eq=False, repr=False)
class ChangeFound(Message):
    """The pair on the screen was compared with that of an earlier session.

    ``words`` name the pair it was compared with. ``asked``: the reader chose the
    session, and the chart is brought to the front.
    """

    pair: Pair
    folder: Path
    change: ChangeData
    words: str
    asked: bool


@dataclass(eq=False, repr=False)
class ChangeFailed(Message):
    """An earlier session could not be compared with this one."""

    text: str


class EarlierSession:
    """Asks for the earlier session and compares the pair with it.

    ``folder`` is the one to compare from the start, ``sessions_dir`` a folder with
    other sessions. ``show_change`` brings the chart to the front.
    """

    def __init__(
        self,
        node: DOMNode,
        explorer: Explorer,
        panes: PaneGroup,
        dialogue: Dialogue,
        *,
        folder: Path | None,
        sessions_dir: Callable[[], Path],
        show_change: Callable[[], None],
    ) -> None:
        self.node = node
        self._explorer = explorer
        self._panes = panes
        self._dialogue = dialogue
        self.folder = folder
        self._sessions_dir = sessions_dir
        self._show_change = show_change

    def choose(self) -> None:
        """List the sessions to compare with."""
        if self._explorer.pair is None:
            self._dialogue.warn("there is no pair to compare yet")
            return
        folders = self._other_folders()
        if folders:
            self._ask(folders)
        else:
            words = "there is no other session in this folder to compare with"
            self._dialogue.warn(words)

    def _ask(self, folders: list[Path | None]) -> None:
        """Ask for one of the folders, or for none where one is compared already."""
        from logdrift.tui.screens.texts import Picker

        choices = folders
        if self.folder is not None:
            choices = [None, *folders]
        compared = [
            at for at, choice in enumerate(choices) if self._is_compared(choice)
        ]
        start = next(iter(compared), 0)
        later_name = visible(self._explorer.session.name)
        head = f" the same pair, before, of: · after: {later_name}"

        def row(index: int, width: int) -> Row:
            return self._row(choices[index])

        def chosen(index: int) -> None:
            folder = choices[index]
            self.compare_with(folder, asked=True)

        picker = Picker("Earlier session", head, len(choices), row, start)
        self._dialogue.choose(picker, chosen)

    def _other_folders(self) -> list[Path | None]:
        """The sessions of the list, and those beside this one: each once, however many
        links lead to it, and not this one.
        """
        from logdrift.core.session.folders import session_folders

        session = self._explorer.session
        this = session.folder.resolve()
        listed = self._sessions_dir().resolve()
        others: dict[Path, Path] = {}
        for place in (listed, this.parent):
            folders, _ = session_folders(place)
            for folder in folders:
                others.setdefault(folder.resolve(), folder)
        others.pop(this, None)
        return list(others.values())

    def _row(self, folder: Path | None) -> Row:
        palette = self._dialogue.palette
        if folder is None:
            return [(" none: stop comparing", palette.muted)]
        mark = "•" if self._is_compared(folder) else " "
        name = visible(folder.name)
        return [(f" {mark} {name}", palette.text)]

    def _is_compared(self, folder: Path | None) -> bool:
        if folder is None or self.folder is None:
            return False
        return folder.resolve() == self.folder.resolve()

    def compare_with(self, folder: Path | None, *, asked: bool) -> None:
        """Compare the pair with that of ``folder`` from now on; None: with none."""
        self.folder = folder
        self._panes.change = None
        self._panes.show_chart()
        pair = self._explorer.pair
        if folder is None or pair is None:
            return
        if asked:
            name = visible(folder.name)
            self._dialogue.say(f"comparing with {name}", stays=True)
        self._compare(folder, pair, asked)

    def compare_again(self, *, asked: bool = False) -> None:
        """Compare again, because another pair or more of it is shown."""
        if self.folder is not None:
            self.compare_with(self.folder, asked=asked)

    @background(group="change", exclusive=True, failed=ChangeFailed)
    def _compare(self, folder: Path, new: Pair, asked: bool) -> None:
        from logdrift.core.charts.change import change_data
        from logdrift.core.compare.pair import make_pair
        from logdrift.core.compare.sessions import compare_sessions

        worker = get_current_worker()
        old = open_session(folder)
        labels, same = _labels_in(old, new)
        words = f"before: {visible(old.name)}"
        if not same:
            old_names = " → ".join(labels)
            words += f", its pair {visible(old_names)}"
        old_pair = make_pair(old, *labels)
        scope = _scope_of_both(old, new.session)
        comparison = compare_sessions(old_pair, new, scope, resamples=0)
        if not worker.is_cancelled:
            change = change_data(old.name, new.session.name, comparison)
            message = ChangeFound(new, folder, change, words, asked)
            self.node.post_message(message)

    def found(self, message: ChangeFound) -> None:
        """Show the change, if the same pair and folder are still compared."""
        if self._explorer.pair is not message.pair:
            return
        if self.folder != message.folder:
            return
        self._panes.change = message.change
        self._panes.show_chart()
        if message.asked:
            self._dialogue.say(message.words)
            self._show_change()

    def failed(self, message: ChangeFailed) -> None:
        """Stop comparing, and show why."""
        self.folder = None
        self._dialogue.say("")
        self._dialogue.show_error(message.text)


def _labels_in(old: Session, new: Pair) -> tuple[Labels, bool]:
    """The labels of the earlier session's pair, and whether they are those of
    ``new``.
    """
    from logdrift.core.report.diff import both_pairs

    a = new.a.info.label
    b = new.b.info.label
    new_text = f"{a}:{b}"
    old_labels = {info.label for info in old.captures}
    is_same = a in old_labels and b in old_labels
    old_text = new_text if is_same else None
    pair, _ = both_pairs(old, new.session, old_text, new_text)
    return pair, is_same


def _scope_of_both(old: Session, new: Session) -> Scope:
    """The scope of both reports; all tokens where their scopes differ."""
    from logdrift.core.compare.pair import default_scope

    scope = default_scope(old.sequences)
    if scope == default_scope(new.sequences):
        return scope
    return "all"
