"""Identity: the saved answers to what each engine really loaded, and asking them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.message import Message

from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.screens.asking import AskingScreen
from logdrift.tui.screens.origin import Labels
from logdrift.tui.screens.searching import SearchKeys, TextSearch
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.reading import Reading, Row

if TYPE_CHECKING:
    from logdrift.core.report.identity import BackendIdentity

_TITLE = "Identity: what each engine loaded"


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
        asked = self.found or self.failed
        return bool(asked)

    @property
    def nothing_known(self) -> bool:
        """Whether no backend was asked, and reading did not fail either."""
        return not self.any_asked and not self.problem


def _not_read(words: str) -> IdentityRead:
    return IdentityRead({}, problem=words)


class IdentityScreen(SearchKeys, AskingScreen, inherit_bindings=False):
    """The checks of all backends; ``x`` asks those of the pair, or all."""

    BINDINGS = bindings("identity", "reading")
    SCOPES = ("identity", "reading")
    AUTO_FOCUS = "#text"
    SAVED_AS = "identity.txt"
    QUESTION = "identity"
    CANCEL = "Cancel the identity check?"

    def __init__(self, session: Session, labels: Labels | None = None) -> None:
        super().__init__()
        self.session = session
        self.labels = labels
        self.search = TextSearch(self, self.say)
        self._read: IdentityRead | None = None

    def panes(self) -> ComposeResult:
        yield Bar(id="verdict")
        yield Reading(_TITLE, ["being read"], id="text")

    @property
    def reading(self) -> Reading:
        """The text of the answers."""
        return self.query_one(Reading)

    @property
    def command(self) -> str:
        """What starts each backend once more and asks it, in a shell."""
        path = str(self.session.folder)
        folder = shlex.quote(path)
        return f"logdrift why {folder} --identity"

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
        backends -= saved.keys()
        backends -= failed.keys()
        missing = tuple(sorted(backends))
        read = IdentityRead(found, missing, failed=failed)
        self.post_message(read)

    @on(IdentityRead)
    def _on_read(self, message: IdentityRead) -> None:
        self._read = message
        self._lay_out()

    # ---- showing

    def draw(self) -> None:
        if not self.size.width:
            return
        rows: list[Row] = []
        words = self._what_it_does()
        muted = self.palette.muted
        rows += self.paragraph(words, muted, most=2)
        state = self.state_run()
        if state is not None:
            text, style = state
            rows += self.paragraph(text, style, most=2)
        self.bar("verdict").put(rows)

    def _what_it_does(self) -> str:
        key = self.key("start")
        return (
            f"{key} starts engines of this session once more and compares every tensor"
            " that they loaded with the files on disk."
        )

    def _lay_out(self) -> None:
        """Laid out by the report in the width of the window."""
        read = self._read
        if read is None:
            return
        lines = [visible(read.problem)]
        if not read.problem:
            lines = self._checked(read)
        if read.missing:
            lines += self._not_checked(read)
        self.reading.put(_TITLE, lines)

    def _checked(self, read: IdentityRead) -> list[str]:
        """What was found, as the report prints it."""
        from logdrift.core.report.identity import identity_document
        from logdrift.core.report.layout import Canvas
        from logdrift.core.report.paint.text import paint_text

        width = max(40, self.reading.text_width)
        canvas = Canvas(width)
        document = identity_document(read.found, read.failed)
        text = paint_text(document, canvas)
        return text.splitlines()

    def _not_checked(self, read: IdentityRead) -> list[str]:
        """The backends that were not asked, and how to ask them."""
        start = self.key("start")
        copy = self.key("copy_command")
        head = ["No backend has been asked yet."]
        if read.any_asked:
            names = ", ".join(read.missing)
            head = ["", f"Not checked: {names}."]
        return [
            *head,
            f"Press {start} to ask them from here, or run this in a shell ({copy}"
            " copies it):",
            "",
            self.command,
        ]

    # ---- asking

    def action_start(self) -> None:
        """Ask which backends, then start them."""
        from logdrift.tui.screens.texts import Picker

        if self.refused_to_start():
            return
        choices = self._choices()
        if not choices:
            self.warn("this session was not captured here: no engine can be asked")
            return

        def row(index: int, width: int) -> Row:
            palette = self.palette
            if not index:
                return [(" No, start nothing", palette.text)]
            choice = choices[index - 1]
            words = self._choice_in_words(choice)
            return [(f" {words}", palette.bad)]

        def chosen(index: int) -> None:
            if index:
                choice = choices[index - 1]
                start = self._starter(choice)
                self.ask_engines(start)

        title = "Start engines in the background and ask what they loaded?"
        count = len(choices) + 1
        picker = Picker(title, "", count, row)
        self.choose(picker, chosen)

    def _known(self) -> list[str]:
        """The backends that the plan can start."""
        plan = self.session.plan
        if plan is None:
            return []
        return [spec.name for spec in plan.backends]

    def _choices(self) -> list[Sequence[str]]:
        """The backends that may be asked together: those of the pair first."""
        known = self._known()
        of_pair = self._of_pair(known)
        choices: list[Sequence[str]] = []
        is_part = len(of_pair) < len(known)
        if of_pair and is_part:
            choices.append(of_pair)
        if known:
            choices.append(known)
        return choices

    def _choice_in_words(self, backends: Sequence[str]) -> str:
        names = _joined(backends)
        count = len(backends)
        known = self._known()
        if count < len(known):
            return f"Yes, the backends of this pair: {names}"
        if count == 1:
            return f"Yes, {names}"
        return f"Yes, all {count} backends: {names}"

    def _of_pair(self, known: Sequence[str]) -> list[str]:
        """The backends of the pair's captures that the plan can start."""
        names = []
        manifest = self.session.manifest
        for label in self.labels or ():
            capture = manifest.capture(label)
            names.append(capture.backend)
        distinct = dict.fromkeys(names)
        return [name for name in distinct if name in known]

    def _starter(self, backends: Sequence[str]) -> Callable[[], int]:
        def start() -> int:
            from logdrift.core.investigate.question_jobs import start_identity

            return start_identity(self.session, backends)

        return start

    # ---- commands

    def text_to_save(self) -> str:
        return self.reading.plain


def _joined(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return visible(text)
