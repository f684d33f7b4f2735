"""Commands on whole sessions: compare, rename, delete, import, capture, resume."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from textual import on
from textual.message import Message

from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import byte_size, counted
from logdrift.core.paths import user_path
from logdrift.core.session.visible import visible
from logdrift.tui.actions import key_of
from logdrift.tui.faults import background
from logdrift.tui.models.comparison import Comparison, compare_folders
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.screens.folder_reader import FolderReader
from logdrift.tui.screens.starting import NotConfirmed, StartingScreen
from logdrift.tui.widgets.session_list import SessionList


@dataclass
class Sized(Message):
    """The size of a session is known: the question whether to delete it can be
    asked.
    """

    row: SessionRow
    words: str


@dataclass
class Managed(Message):
    """Something was done to a session; ``folder`` is where it is now, None for
    nowhere.
    """

    words: str
    folder: Path | None = None


@dataclass
class Refused(Message):
    """Something could not be done; ``window``: the words need a window."""

    words: str
    window: bool = False


def _refused_in_window(words: str) -> Refused:
    return Refused(words, window=True)


@dataclass
class Compared(Message):
    """The diff of two sessions was made."""

    comparison: Comparison


class ManagingScreen(StartingScreen, inherit_bindings=False):
    """Asks before something is lost, works in threads, and says how it went.

    Subclasses show the list of the sessions that `reader` reads.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.reader = FolderReader(self, folder)
        self.awaited: Path | None = None
        """A session to select as soon as it is listed."""
        self.added: dict[Path, tuple[str, ...]] = {}
        """Backends that were added to sessions: their pair is shown first."""

    @property
    def list(self) -> SessionList:
        return self.query_one(SessionList)

    def look_again(self, select: Path | None = None) -> None:
        """Look at the folder now; ``select`` is selected as soon as it is there."""
        self.awaited = select
        self.reader.look_now()

    def _key(self, name: str) -> str:
        keymap = self.logdrift.keymap
        return key_of("sessions", name, keymap)

    # ---- two sessions against each other

    def action_mark(self) -> None:
        """Mark the session, or compare the marked one with this one."""
        row = self._readable()
        if row is None:
            return
        marked = self.list.marked
        if marked is None:
            self._mark(row.folder)
            self.say(
                f"Space on the later one compares it with {row.name}, Esc removes the"
                " mark",
                stays=True,
            )
            return
        self._mark(None)
        if marked == row.folder:
            self.say("")
            return
        earlier_name = visible(marked.name)
        self.say(f"comparing {earlier_name} with {row.name}", stays=True)
        self._compare(marked, row.folder)

    def _mark(self, folder: Path | None) -> None:
        view = self.list
        changed = (view.marked, folder)
        for index, row in enumerate(view.sessions):
            if row.folder in changed:
                view.refresh_line(index)
        view.marked = folder

    @background(group="compare", exclusive=True, failed=_refused_in_window)
    def _compare(self, earlier: Path, later: Path) -> None:
        comparison = compare_folders(earlier, later)
        self.post_message(Compared(comparison))

    @on(Compared)
    def _on_compared(self, message: Compared) -> None:
        from logdrift.tui.screens.diff import DiffScreen

        self.say("")
        diff = DiffScreen(message.comparison)
        self.app.push_screen(diff)

    # ---- rename and delete

    def action_rename(self) -> None:
        from logdrift.tui.screens.prompt import LinePrompt

        row = self._idle("renamed")
        if row is None:
            return

        def taken(name: str) -> None:
            self._rename(row, name)

        prompt = LinePrompt(
            f"Rename {row.name}",
            "another name for the folder: commands call the session by it",
            row.name,
            problem=lambda name: self._problem_with_name(name, row),
        )
        self.ask(prompt, taken)

    def _problem_with_name(self, text: str, renamed: SessionRow) -> str:
        """Why a session cannot get a name; "" where it can."""
        from logdrift.core.session.manage import check_name

        try:
            name = check_name(text)
        except LogdriftError as error:
            return str(error)
        for row in self.list.rows:
            is_another = row.folder != renamed.folder
            if is_another and row.folder.name == name:
                return f"{name} exists already: give another name"
        return ""

    @background(group="manage", writes=True, failed=Refused)
    def _rename(self, row: SessionRow, name: str) -> None:
        from logdrift.core.session.manage import rename_session

        folder = rename_session(row.folder, name)
        words = f"{row.name} is now {visible(folder.name)}"
        self.post_message(Managed(words, folder))

    def action_delete(self) -> None:
        row = self._idle("deleted")
        if row is not None:
            self._measure(row)

    @background(group="manage", writes=True, failed=Refused)
    def _measure(self, row: SessionRow) -> None:
        from logdrift.core.session.manage import folder_size

        if row.folder.is_symlink():
            words = "it is a link: what it leads to stays"
        else:
            held = folder_size(row.folder)
            files = counted(held.files, "file")
            words = f"{files}, {byte_size(held.size)}"
        self.post_message(Sized(row, words))

    @on(Sized)
    def _on_sized(self, message: Sized) -> None:
        from logdrift.tui.screens.confirm import Confirm

        row = message.row

        def confirmed() -> None:
            self._delete(row)

        question = Confirm(
            f"Delete {row.name}? {message.words}",
            "Yes, delete it: this cannot be undone",
        )
        self.confirm(question, confirmed)

    @background(group="manage", writes=True, failed=Refused)
    def _delete(self, row: SessionRow) -> None:
        from logdrift.core.session.manage import delete_session

        delete_session(row.folder)
        words = f"{row.name} is deleted"
        self.post_message(Managed(words))

    # ---- from elsewhere

    def action_import_session(self) -> None:
        """Ask for a folder or file; its format is seen from its contents."""
        from logdrift.core.session.importers.formats import kinds_in_words
        from logdrift.tui.screens.prompt import LinePrompt

        def taken(text: str) -> None:
            path = user_path(text.strip())
            name = visible(path.name)
            self.say(f"importing {name}", stays=True)
            self._import(path)

        words = f"path of {kinds_in_words()}"
        prompt = LinePrompt("Import", words, problem=_missing_path)
        self.ask(prompt, taken)

    @background(group="manage", writes=True, failed=Refused)
    def _import(self, path: Path) -> None:
        from logdrift.core.session.importers import guess_format, import_session
        from logdrift.core.session.importers.compressed import unpacked_name
        from logdrift.core.session.manage import free_name

        sessions = self.reader.folder
        file_name = unpacked_name(path.resolve().name)
        name = free_name(sessions, file_name.removesuffix(".jsonl"))
        folder = sessions / name
        kind = guess_format(path)
        notes = import_session(kind, [str(path)], folder)
        words = f"{visible(name)} is imported as {kind}: Enter opens it"
        words += _notes_in_words(len(notes))
        self.post_message(Managed(words, folder))

    # ---- captures

    def action_new_capture(self) -> None:
        from logdrift.tui.screens.new_capture import NewCaptureScreen

        def answered(folder: Path | None) -> None:
            if folder is not None:
                self._say_captured(folder, folder.name)

        self.say("")
        form = NewCaptureScreen(self.reader.folder)
        self.app.push_screen(form, answered)

    def action_add_backend(self) -> None:
        from logdrift.tui.screens.add_backend import Names, ask_backends

        row = self._idle("added to")
        if row is None:
            return
        if row.problem is not None:
            self.warn(row.problem)
            return
        folder = row.folder

        def started(names: Names) -> None:
            self.added[folder] = names
            self._say_captured(folder, ", ".join(names))

        ask_backends(self, folder, started)

    def _say_captured(self, folder: Path, name: str) -> None:
        """Something is being captured into a folder."""
        self.look_again(folder)
        cancel_key = self._key("cancel_capture")
        self.say(
            f"{visible(name)} is being captured in the background: Enter looks at it,"
            f" {cancel_key} cancels it"
        )

    def action_cancel_capture(self) -> None:
        from logdrift.tui.screens.confirm import Confirm

        row = self.list.here
        if row is None or row.state != "running":
            self.warn("no capture is running here")
            return

        def confirmed() -> None:
            self.say(f"ending the capture of {row.name}", stays=True)
            self._cancel(row)

        title = f"End the capture of {row.name}?"
        if row.progress is not None:
            title += f" It is at {row.progress:.0%}."
        question = Confirm(
            title, "Yes, end it: what is finished stays", "No, let it run"
        )
        self.confirm(question, confirmed)

    @background(group="manage", writes=True, failed=Refused)
    def _cancel(self, row: SessionRow) -> None:
        from logdrift.core.capture.background import cancel_capture

        cancel_capture(row.folder)
        resume_key = self._key("resume")
        words = f"{row.name} is cancelled: {resume_key} goes on with it"
        self.post_message(Managed(words))

    def action_resume(self) -> None:
        row = self._idle("resumed")
        if row is None:
            return
        if row.problem is not None:
            self.warn(row.problem)
        elif row.state == "complete":
            self.warn(f"{row.name} lacks nothing")
        else:
            self.say(f"starting to capture what {row.name} lacks", stays=True)
            self._resume(row)

    @background(group="manage", writes=True, failed=Refused)
    def _resume(self, row: SessionRow) -> None:
        from logdrift.core.capture.background import start_background
        from logdrift.core.capture.trust import Stranger

        try:
            start_background(row.folder)
        except Stranger as stranger:
            again = partial(self._resume, row)
            self.post_message(NotConfirmed(stranger, again))
            return
        words = f"{row.name} goes on in the background"
        self.post_message(Managed(words))

    # ---- what all of them share

    def _idle(self, done: str) -> SessionRow | None:
        """The selected session; None, with a message, while it is being written."""
        row = self.list.here
        if row is None:
            self.warn(f"there is no session to be {done}")
            return None
        if row.state == "running":
            cancel_key = self._key("cancel_capture")
            words = (
                f"{row.name} is being written and cannot be {done}: wait for it, or"
                f" cancel it ({cancel_key})"
            )
            self.warn(words)
            return None
        return row

    def _readable(self) -> SessionRow | None:
        """The selected session; None, with a message, where it does not open."""
        row = self.list.here
        if row is not None and row.problem:
            self.warn(f"{row.name} does not open: {row.problem}")
            return None
        return row

    @on(Managed)
    def _on_managed(self, message: Managed) -> None:
        self.look_again(message.folder)
        self.say(message.words)

    @on(Refused)
    def _on_refused(self, message: Refused) -> None:
        words = message.words
        self.look_again()
        self.say("")
        room = self.app.size.width - 4
        if message.window or len(words) > room:
            self.logdrift.show_error(words)
        else:
            self.warn(words)


def _missing_path(text: str) -> str:
    """What is wrong with a path to import from; "" for nothing."""
    typed = text.strip()
    if typed and os.path.exists(user_path(typed)):
        return ""
    return "no such folder or file"


def _notes_in_words(count: int) -> str:
    if not count:
        return ""
    return f"; the gate shows {counted(count, 'note')} on it"
