"""What all full screens share: smallest size, line of keys, messages, drawing anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import Reactive
from textual.screen import ModalScreen, Screen, ScreenResultType
from textual.widget import Widget

from logdrift.tui.actions import NO_WORDS, Hint, Scope, Words, key_hints
from logdrift.tui.bindings import scopes_of
from logdrift.tui.faults import Safe
from logdrift.tui.palette import Palette
from logdrift.tui.services import Services, services
from logdrift.tui.widgets.bars import Hints

if TYPE_CHECKING:
    from logdrift.tui.models.command_line import WordTaker

MIN_WIDTH = 60
MIN_HEIGHT = 20


_UNANSWERED = object()
"""Instead of the answer of a screen that was not left yet."""
WINDOW_STYLES = Path(__file__).with_name("windows.tcss")
"""The layout of windows, read when the first one opens."""
Choice = ModalScreen[int | None]
"""A window that answers with the index of a row."""
Question = ModalScreen[str | None]
"""A window that answers with what was typed."""


class Saved(Message):
    """A file was written, or ``problem`` says why not."""

    def __init__(self, words: str, problem: str | None = None) -> None:
        super().__init__()
        self.words = words
        self.problem = problem


class SafeScreen(Safe, Screen[ScreenResultType]):
    """Every screen and window: it is left once, and not while another one stands over
    it. A window names `ModalScreen` first, for its style.

    Keys may come faster than screens do: the application keeps those that come before a
    screen stands, and drops those that are meant for one that has left
    (`LogdriftApp.on_event`).
    """

    _answer: Any = _UNANSWERED
    _is_new = True

    @property
    def logdrift(self) -> Services:
        """What the application offers."""
        return services(self)

    @property
    def stands(self) -> bool:
        """Whether its panes are there: not before it is mounted, and no more once it,
        or the program, has left.
        """
        app = self.app
        if app._exit or app._closing:
            return False
        is_open = any(self is screen for screen in app.screen_stack)
        return self.is_mounted and is_open

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Leave with an answer: at once, or as soon as nothing stands over this screen.
        What comes second does nothing.
        """
        if self.app.screen is self:
            return super().dismiss(result)
        if self.stands and self._answer is _UNANSWERED:
            self._answer = result
        return AwaitComplete()

    def on_saved(self, message: Saved) -> None:
        """Say what became of a file."""
        hints = self.query(Hints).last()
        if message.problem is None:
            hints.say(message.words)
        else:
            hints.say("not written")
            self.logdrift.show_error(message.problem)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        if self._is_new:
            self._is_new = False
            # The first screen was styled as it was made. Others have layouts that are
            # read when they open.
            is_first = len(self.app.screen_stack) == 1
            event.refresh_styles = not is_first
        if self._answer is not _UNANSWERED:
            self.dismiss(self._answer)

    def _post_mount(self) -> None:
        super()._post_mount()  # type: ignore[no-untyped-call]
        self.app.call_later(self.logdrift.type_early)


class BaseScreen(SafeScreen[None], inherit_bindings=False):
    """Subclasses name their scopes, give their `panes`, and `draw` what depends on the
    size and the colours.

    Textual calls the `on_` methods of a class and of all its bases: a subclass never
    calls those of `super()`.
    """

    # Textual repaints the whole screen when the focus moves; here each pane repaints
    # its own title.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    LATER = 0.1
    """Seconds after the first screen at which threads are started: until then every
    core works for that screen.
    """
    SCOPES: ClassVar[tuple[Scope, ...]] = ()

    _draw_waits = False

    @property
    def palette(self) -> Palette:
        return self.logdrift.palette

    def panes(self) -> ComposeResult:
        """What stands above the line of keys."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw what is cut to the size of the screen or has colours of its own; panes
        that draw themselves need nothing.
        """

    def compose(self) -> ComposeResult:
        # Known before the first layout, or it would be done twice.
        self.size_classes(*self.app.size)
        yield from self.panes()
        yield Hints(id="hints")

    def on_mount(self) -> None:
        self._say_too_small()
        self.show_hints()
        self.draw_soon()

    def draw_soon(self) -> None:
        """`draw` after the next refresh, once however often it is asked for: opening
        a screen asks several times.
        """
        if not self._draw_waits:
            self._draw_waits = True
            self.call_after_refresh(self._draw_now)

    def _draw_now(self) -> None:
        self._draw_waits = False
        self.draw()

    def size_classes(self, width: int, height: int) -> None:
        """Set the classes that depend on the size of the terminal."""
        too_small = width < MIN_WIDTH or height < MIN_HEIGHT
        self.set_class(too_small, "-toosmall")

    def _say_too_small(self) -> None:
        """The words are made on the first terminal that needs them: few do."""
        # A screen that is leaving still hears of the terminal's size.
        if not self.is_attached:
            return
        if self.has_class("-toosmall") and not self.query("#toosmall"):
            from logdrift.tui.widgets.too_small import TooSmall

            least = Size(MIN_WIDTH, MIN_HEIGHT)
            self.mount(TooSmall(least))

    @property
    def hint_line(self) -> Hints:
        """The line of keys, which also shows messages."""
        return self.query_one("#hints", Hints)

    def say(self, text: str, *, stays: bool = False) -> None:
        """Put a message on the line of keys, until the next one or until it was read.

        ``stays``: it is true until the next one, as that something is being made.
        """
        self.hint_line.say(text, stays=stays)

    def warn(self, text: str) -> None:
        """Like `say`, for what is wrong or cannot be done."""
        self.hint_line.say(text, self.palette.warn)

    # ---- windows that ask

    def choose(self, picker: Choice, chosen: Callable[[int], object]) -> None:
        """Ask for a row of a list; ``chosen`` is not called without an answer."""

        def answered(index: int | None) -> None:
            if index is not None:
                chosen(index)

        self.app.push_screen(picker, answered)

    def confirm(self, question: Choice, confirmed: Callable[[], object]) -> None:
        """Ask yes or no; ``confirmed`` is called for yes."""

        def answered(index: int | None) -> None:
            if index == 1:
                confirmed()

        self.app.push_screen(question, answered)

    def ask(self, prompt: Question, taken: Callable[[str], object]) -> None:
        """Ask for a line; ``taken`` is not called without an answer."""

        def answered(text: str | None) -> None:
            if text is not None:
                taken(text)

        self.app.push_screen(prompt, answered)

    # ---- keys, colours and size

    def watch_focused(self) -> None:
        """Another pane has the focus: the line of keys is its own."""
        if self.is_mounted:
            self.show_hints()

    def show_hints(self) -> None:
        """Put the keys of the focused pane and of the screen on the line of keys."""
        hints = self.hints()
        for line in self.query("#hints").results(Hints):
            line.show(hints)

    def hints(self) -> list[Hint]:
        """The keys that matter here, those of the focused pane first."""
        return key_hints(
            *self.SCOPES,
            "app",
            panes=scopes_of(self.focused),
            keymap=self.logdrift.keymap,
            applies=self.applies,
            words=self.other_words(),
        )

    def applies(self, name: str) -> bool:
        """Whether a command has something to do now: the palette and the line of keys
        name it only then. Its key says why it has not.
        """
        return True

    def other_words(self) -> Words:
        """Words of commands on the line of keys that are others now, by action."""
        return NO_WORDS

    def word_takers(self) -> dict[str, WordTaker]:
        """The commands of ``:`` that take words, by the word they begin with."""
        return {}

    def recoloured(self) -> None:
        """The theme was changed: draw anew what cannot be given other colours as it
        stands.
        """
        self.draw()

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        # Textual has the top screen repaint where the one below it changed, though
        # nothing of that is seen: moving in a chart on the whole screen moves the
        # explorer's cursor, which would send half a megabyte. Panes repaint themselves.
        if regions and not layout and not recompose:
            return self
        return super().refresh(
            *regions, repaint=repaint, layout=layout, recompose=recompose
        )

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self.size_classes(width, height)
        self._say_too_small()
        self.draw_soon()

    def action_back(self) -> None:
        """Leave this screen; the last one ends the program."""
        if len(self.app.screen_stack) > 1:
            self.dismiss()
        elif self.stands:
            self.app.exit(0)
