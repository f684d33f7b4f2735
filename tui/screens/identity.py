"""Identity: the saved answers to what each engine really loaded."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual import events, on
from textual.message import Message

from logdrift.core.session.reader import Session
from logdrift.tui.faults import background
from logdrift.tui.screens.texts import TextScreen

if TYPE_CHECKING:
    from logdrift.core.report.identity import BackendIdentity


@dataclass
class IdentityRead(Message):
    """The saved checks were read, by backend, or ``problem`` says why not; ``missing``
    are backends that were not asked, ``failed`` those whose last check failed, and why.
    """

    found: Mapping[str, BackendIdentity]
    missing: tuple[str, ...] = ()
    problem: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def any_asked(self) -> bool:
        """Whether a backend was asked, also where its check failed."""
        return bool(self.found or self.failed)

    @property
    def nothing_known(self) -> bool:
        """Whether no backend was asked, and reading did not fail either."""
        return not self.any_asked and not self.problem


def _not_read(words: str) -> IdentityRead:
    return IdentityRead({}, problem=words)


class IdentityScreen(TextScreen):
    """The checks of all backends; without any the command alone, which ``c`` copies."""

    SAVED_AS = "identity.txt"

    def __init__(self, session: Session) -> None:
        super().__init__("Identity: what each engine loaded", ["being read"])
        self.session = session
        self.session_folder = session.folder
        self._read: IdentityRead | None = None

    @property
    def command(self) -> str:
        """What starts each backend once more and asks it."""
        folder = shlex.quote(str(self.session.folder))
        return f"logdrift why {folder} --identity"

    def action_copy_text(self) -> None:
        """Copy the text; where no backend was asked, the command that asks them."""
        read = self._read
        if read is not None and read.nothing_known:
            outcome = self.logdrift.copy_text(self.command)
            self.tell(outcome)
        else:
            super().action_copy_text()

    def on_mount(self) -> None:
        self.read_saved()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._lay_out)

    @background(group="identity", exclusive=True, failed=_not_read)
    def read_saved(self) -> None:
        """Read the saved checks."""
        from logdrift.core.report.identity import identities_of
        from logdrift.core.session.identity import saved_failures, saved_identities

        session = self.session
        saved = saved_identities(session.folder)
        found = identities_of(session, saved)
        failed = saved_failures(session.folder)
        backends = {info.backend for info in session.captures}
        asked = saved.keys() | failed.keys()
        missing = tuple(sorted(backends - asked))
        self.post_message(IdentityRead(found, missing, failed=failed))

    @on(IdentityRead)
    def _on_read(self, message: IdentityRead) -> None:
        self._read = message
        self._lay_out()

    def _lay_out(self) -> None:
        """Laid out by the report in the width of the window."""
        read = self._read
        if read is None:
            return
        lines = [read.problem]
        if not read.problem:
            lines = self._checked(read)
        if read.missing:
            lines += self._not_checked(read)
        self.reading.put(self.title_text, lines)

    def _checked(self, read: IdentityRead) -> list[str]:
        """What was found, as the report prints it."""
        from logdrift.core.report.identity import identity_document
        from logdrift.core.report.layout import Canvas
        from logdrift.core.report.paint.text import paint_text

        width = max(40, self.reading.inner_width)
        document = identity_document(read.found, read.failed)
        text = paint_text(document, Canvas(width))
        return text.splitlines()

    def _not_checked(self, read: IdentityRead) -> list[str]:
        """The backends that were not asked, and the command that asks them."""
        head = ["No backend has been asked yet."]
        if read.any_asked:
            names = ", ".join(read.missing)
            head = ["", f"Not checked: {names}."]
        return [
            *head,
            "This starts each once more and compares every tensor:",
            "",
            self.command,
        ]
