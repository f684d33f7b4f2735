"""What is done to whole sessions, from the list of them: compare, rename, delete,
capture, cancel, resume.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from textual import on
from textual.message import Message

from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import byte_size
from logdrift.core.paths import user_path
from logdrift.core.session.visible import visible
from logdrift.tui.actions import key_of
from logdrift.tui.faults import background
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.screens.base import MIN_WIDTH
from logdrift.tui.screens.starting import NotConfirmed, StartingScreen
from logdrift.tui.tones import indented
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.session_list import SessionList

Result = TypeVar("Result")


@dataclass
class Sized(Message):
    """How much a session holds is known: now it can be asked whether it shall go."""

    row: SessionRow
    words: str


@dataclass
class Managed(Message):
    """Something was done to a session; ``folder`` is where it is now, None where it is
    gone.
    """

    words: str
    folder: Path | None = None


@dataclass
class Refused(Message):
    """Something could not be done. ``window``: too much for one line."""

    words: str
    window: bool = False


@dataclass
class Compared(Message):
    """The diff of two sessions is there."""

    old: Path
    new: Path
    lines: tuple[Sequence[Run], ...]


class ManagingScreen(StartingScreen, inherit_bindings=False):
    """Asks where something would be lost, works in threads, and tells how it went; the
    list itself is the subclass's.
    """

    _folder: Path

    @property
    def list(self) -> SessionList:
        return self.query_one(SessionList)

    def look_again(self, select: Path | None = None) -> None:
        """Look at the folder now; ``select`` is selected as soon as it is there."""
        raise NotImplementedError

    def _key(self, name: str) -> str:
        return key_of("sessions", name, self.logdrift.keymap)

    # ---- two sessions against each other

    def action_mark(self) -> None:
        """Mark the session, or compare the marked one with this one."""
        row = self._whole()
        if row is None:
            return
        marked = self.list.marked
        if marked is None:
            self._mark(row.folder)
            self.say(
                f"{row.name} is the earlier one: Space on another compares the two,"
                " Esc removes the mark"
            )
        elif marked == row.folder:
            self._mark(None)
            self.say("")
        else:
            self._mark(None)
            self.say(f"comparing {visible(marked.name)} with {row.name}")
            # Of the window: borders and scroll bar go off.
            self._compare(
                marked, row.folder, min(100, max(MIN_WIDTH, self.app.size.width)) - 4
            )

    def _mark(self, folder: Path | None) -> None:
        view = self.list
        for index, row in enumerate(view.sessions):
            if row.folder in (view.marked, folder):
                view.refresh_line(index)
        view.marked = folder

    @background(
        group="compare",
        exclusive=True,
        failed=lambda words: Refused(words, window=True),
    )
    def _compare(self, old: Path, new: Path, width: int) -> None:
        from logdrift.core.report.diff import both_pairs, diff_sessions
        from logdrift.core.report.diff_document import diff_document
        from logdrift.core.report.layout import Canvas
        from logdrift.core.report.paint.text import styled_lines
        from logdrift.core.session.reader import open_session

        sessions = open_session(old), open_session(new)
        diff = diff_sessions(*sessions, *both_pairs(*sessions, None, None))
        lines = styled_lines(diff_document(diff), Canvas(width))
        rows = indented(lines, self.palette)
        self.post_message(Compared(old, new, rows))

    @on(Compared)
    def _on_compared(self, message: Compared) -> None:
        from logdrift.tui.screens.diff import DiffScreen

        self.say("")
        self.app.push_screen(DiffScreen(message.old, message.new, message.lines))

    # ---- rename and delete

    def action_rename(self) -> None:
        from logdrift.core.session.manage import check_name
        from logdrift.tui.screens.prompt import LinePrompt

        row = self._idle("renamed")
        if row is None:
            return
        others = {
            other.folder.name for other in self.list.rows if other.folder != row.folder
        }

        def problem(text: str) -> str:
            try:
                name = check_name(text)
            except LogdriftError as error:
                return str(error)
            if name in others:
                return f"{name} exists already: give another name"
            return ""

        def answered(name: str | None) -> None:
            if name is not None:
                self._rename(row, name)

        words = "another name for the folder: commands call the session by it"
        self.app.push_screen(
            LinePrompt(f"Rename {row.name}", words, row.name, problem=problem), answered
        )

    @background(group="manage", writes=True, failed=lambda words: Refused(words))
    def _rename(self, row: SessionRow, name: str) -> None:
        from logdrift.core.session.manage import rename_session

        self._manage(
            lambda: rename_session(row.folder, name),
            lambda folder: f"{row.name} is now {visible(folder.name)}",
        )

    def action_delete(self) -> None:
        row = self._idle("deleted")
        if row is not None:
            self._measure(row)

    @background(group="manage", writes=True, failed=lambda words: Refused(words))
    def _measure(self, row: SessionRow) -> None:
        from logdrift.core.session.manage import folder_size

        if row.folder.is_symlink():
            self.post_message(Sized(row, "it is a link: what it leads to stays"))
            return
        found = folder_size(row.folder)
        self.post_message(
            Sized(
                row,
                f"{found.files:,} file{'' if found.files == 1 else 's'},"
                f" {byte_size(found.size)}",
            )
        )

    @on(Sized)
    def _on_sized(self, message: Sized) -> None:
        from logdrift.tui.screens.confirm import Confirm

        row = message.row

        def answered(index: int | None) -> None:
            if index == 1:
                self._delete(row)

        self.app.push_screen(
            Confirm(
                f"Delete {row.name}? {message.words}",
                "Yes, delete it: this cannot be undone",
            ),
            answered,
        )

    @background(group="manage", writes=True, failed=lambda words: Refused(words))
    def _delete(self, row: SessionRow) -> None:
        from logdrift.core.session.manage import delete_session

        self._manage(
            lambda: delete_session(row.folder), lambda _: f"{row.name} is deleted"
        )

    # ---- from elsewhere

    def action_import_session(self) -> None:
        """Ask for a folder or file; what it is is seen by what is in it."""
        from logdrift.core.session.importers.formats import kinds_in_words
        from logdrift.tui.screens.prompt import LinePrompt

        def problem(text: str) -> str:
            path = user_path(text.strip())
            if text.strip() and os.path.exists(path):
                return ""
            return "no such folder or file"

        def answered(text: str | None) -> None:
            if text is not None:
                path = user_path(text.strip())
                self.say(f"importing {visible(path.name)}")
                self._import(path)

        words = f"path of {kinds_in_words()}"
        self.app.push_screen(LinePrompt("Import", words, problem=problem), answered)

    @background(group="manage", writes=True, failed=lambda words: Refused(words))
    def _import(self, path: Path) -> None:
        from logdrift.core.session.importers import guess_format, import_session
        from logdrift.core.session.manage import free_name

        notes: list[str] = []

        def bring() -> Path:
            out = self._folder / free_name(
                self._folder, path.resolve().name.removesuffix(".jsonl")
            )
            notes.extend(import_session(guess_format(path), [str(path)], out))
            return out

        def brought(folder: Path) -> str:
            if len(notes) == 1:
                number = "1 note"
            else:
                number = f"{len(notes)} notes"
            if notes:
                said = f"; the gate shows {number} on it"
            else:
                said = ""
            return f"{visible(folder.name)} is imported: Enter opens it{said}"

        self._manage(bring, brought)

    # ---- captures

    def action_new_capture(self) -> None:
        from logdrift.tui.screens.new_capture import NewCaptureScreen

        def answered(folder: Path | None) -> None:
            if folder is not None:
                self.look_again(folder)
                self.say(
                    f"{visible(folder.name)} is being captured in the background: Enter"
                    f" looks at it, {self._key('cancel_capture')} cancels it"
                )

        self.say("")
        self.app.push_screen(NewCaptureScreen(self._folder), answered)

    def action_cancel_capture(self) -> None:
        from logdrift.tui.screens.confirm import Confirm

        row = self.list.here
        if row is None or row.state != "running":
            self.say("no capture is running here", warn=True)
            return

        def answered(index: int | None) -> None:
            if index == 1:
                self.say(f"ending the capture of {row.name}")
                self._cancel(row)

        if row.progress is None:
            share = ""
        else:
            share = f" It is at {row.progress:.0%}."
        self.app.push_screen(
            Confirm(
                f"End the capture of {row.name}?{share}",
                "Yes, end it: what is finished stays",
                "No, let it run",
            ),
            answered,
        )

    @background(group="manage", writes=True, failed=lambda words: Refused(words))
    def _cancel(self, row: SessionRow) -> None:
        from logdrift.core.capture.background import cancel_capture

        self._manage(
            lambda: cancel_capture(row.folder),
            lambda _: f"{row.name} is cancelled: {self._key('resume')} goes on with it",
        )

    def action_resume(self) -> None:
        row = self._idle("resumed")
        if row is None:
            return
        if row.problem is not None or row.state == "complete":
            self.say(
                f"{row.name} lacks nothing" if row.problem is None else row.problem,
                warn=True,
            )
            return
        self.say(f"starting to capture what {row.name} lacks")
        self._resume(row)

    @background(group="manage", writes=True, failed=lambda words: Refused(words))
    def _resume(self, row: SessionRow) -> None:
        from logdrift.core.capture.background import start_background
        from logdrift.core.capture.trust import Stranger

        try:
            self._manage(
                lambda: start_background(row.folder),
                lambda _: f"{row.name} goes on in the background",
            )
        except Stranger as stranger:
            self.post_message(NotConfirmed(stranger, lambda: self._resume(row)))

    # ---- what all of them share

    def _idle(self, done: str) -> SessionRow | None:
        """The selected session, unless it is being written: that is said instead."""
        row = self.list.here
        if row is None:
            self.say("there is no session to be " + done, warn=True)
        elif row.state == "running":
            self.say(
                f"{row.name} is being written and cannot be {done}: wait for it, or"
                f" cancel it ({self._key('cancel_capture')})",
                warn=True,
            )
            return None
        return row

    def _whole(self) -> SessionRow | None:
        row = self.list.here
        if row is not None and row.problem:
            self.say(f"{row.name} does not open: {row.problem}", warn=True)
            return None
        return row

    def _manage(
        self, act: Callable[[], Result], words: Callable[[Result], str]
    ) -> None:
        """Do something to a session in this thread and tell how it went. Raises
        `Stranger` where it would start what nobody has confirmed.
        """
        result = act()
        self.post_message(
            Managed(words(result), result if isinstance(result, Path) else None)
        )

    @on(Managed)
    def _on_managed(self, message: Managed) -> None:
        self.look_again(message.folder)
        self.say(message.words)

    @on(Refused)
    def _on_refused(self, message: Refused) -> None:
        self.look_again()
        self.say("")
        if message.window or len(message.words) > self.app.size.width - 4:
            self.logdrift.show_error(message.words)
        else:
            self.say(message.words, warn=True)
