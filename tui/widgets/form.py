"""A form as one pane: fields line by line. The screen keeps the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.actions import commands
from logdrift.tui.glyphs import fit
from logdrift.tui.models.capture_rows import FormRow
from logdrift.tui.models.flow import fragments_of
from logdrift.tui.services import services
from logdrift.tui.widgets.line_edit import TypedLine, line_runs, typed
from logdrift.tui.widgets.lines import Lines, Run, strip_of

_FIELDS = ("text", "choice", "button")
_CHOOSES = {"left": -1, "right": 1, "space": 1, "enter": 1}
"""Keys that step through choices, and how far."""


class Owner(Protocol):
    """Holds the values. It is called and not sent messages: the next key may come
    before a message is handled, and it must meet the lines that this one has made
    (typing in the last prompt puts another one below it).
    """

    def typed(self, key: str, text: str) -> None:
        """The text of a field has changed."""

    def stepped(self, key: str, step: int) -> None:
        """The user steps to the next (or previous) choice of a field."""

    def pressed(self, key: str) -> None:
        """A button was pressed."""


class Form(Lines, inherit_bindings=False):
    """Shows `FormRow` lines; the field with the cursor is typed in, stepped or
    pressed.
    """

    fixed = 1

    def __init__(self, title: str, owner: Owner, *, id: str) -> None:
        super().__init__(id=id)
        self._owner = owner
        self.title_text = title
        self.source: Sequence[FormRow] = ()
        self.rows: list[FormRow] = []
        self.selected = 0
        self.edit = TypedLine()
        self._editing = ""

    @property
    def line_count(self) -> int:
        return len(self.rows)

    @property
    def here(self) -> FormRow | None:
        """The field with the cursor."""
        if self.selected < len(self.rows):
            return self.rows[self.selected]
        return None

    def show(self, rows: Sequence[FormRow], *, key: str | None = None) -> None:
        """Other lines; the cursor stays in its field, or goes to ``key``. Only lines
        that differ are painted again.
        """
        before = self.rows
        was = self.selected
        top = self.top
        here = self.here.key if self.here is not None else ""
        self.source = rows
        self.rows = []
        for row in rows:
            self.rows += self._wrapped(row)
        self.selected = self._index_of(here if key is None else key)
        self._keep_typing(moved=key is not None)
        self.top = max(0, min(self.top, self.line_count - self.page))
        self.reveal(self.selected, 2)
        if len(before) != len(self.rows) or self.top != top:
            self.refresh()
            return
        for index, (old, new) in enumerate(zip(before, self.rows, strict=True)):
            if old != new or index in (was, self.selected):
                self.refresh_line(index)

    def _index_of(self, key: str) -> int:
        """The line of a field; where it is gone, the field nearest to the cursor."""
        for index, row in enumerate(self.rows):
            if row.key == key and row.kind in _FIELDS:
                return index
        return self._field_from(min(self.selected, len(self.rows) - 1), 1)

    def _keep_typing(self, *, moved: bool) -> None:
        """Go on with what is typed, or begin with the field that the cursor came to."""
        here = self.here
        if here is None:
            return
        if moved or here.key != self._editing:
            self._begin(here)
        elif here.kind == "text":
            # What was typed since these lines were made is newer than they are.
            self.rows[self.selected] = replace(here, value=self.edit.text)

    def _wrapped(self, row: FormRow) -> list[FormRow]:
        """What is wrong is shown in full, on as many lines as that takes."""
        width = self.inner_width - 4 - row.indent
        if row.kind != "bad" or width < 10:
            return [row]
        lines = [replace(row, value=text, label="") for text in _wrap(row.value, width)]
        lines[0] = replace(lines[0], label="✗")
        return lines

    def on_resize(self, event: events.Resize) -> None:
        self.show(self.source)
        self.refresh()

    def _begin(self, row: FormRow) -> None:
        self.edit = TypedLine.of(row.value)
        self._editing = row.key

    # ---- drawing

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line(self.title_text, width)

    def line(self, index: int, width: int) -> Strip:
        row = self.rows[index]
        p = self.palette
        if row.kind == "head":
            rule = "─" * max(0, width - cell_len(row.label) - 3)
            return strip_of([(f" {row.label} ", p.strong), (rule, p.muted)], width)
        indent = " " * (row.indent + 1)
        if row.kind == "bad":
            text = f"{indent}{fit(row.label, 2)}{row.value}"
            return strip_of([(text, p.bad)], width)
        cells = _label_cells(row, width)
        here = index == self.selected
        label = fit(indent + row.label, cells), self._label_style(row, here)
        value = self._value(row, width - cells - 1, here)
        return strip_of([label, (" ", p.text), *value], width)

    def _label_style(self, row: FormRow, here: bool) -> Style:
        palette = self.palette
        if here and self.has_focus:
            return palette.selected
        if here:
            return palette.selected_idle
        if row.kind == "button":
            return palette.accent
        return palette.muted

    def _value(self, row: FormRow, room: int, here: bool) -> list[Run]:
        """The value, and the note behind it where there is room for both."""
        note = f"  {row.note}" if row.note else ""
        value_cells = cell_len(visible(row.value))
        needed = max(16, min(value_cells, 60) + 1)
        if not note or room - cell_len(note) < needed:
            return self._value_runs(row, room, here)
        runs = self._value_runs(row, room - cell_len(note), here)
        return [*runs, (note, self.palette.muted)]

    def _value_runs(self, row: FormRow, room: int, here: bool) -> list[Run]:
        palette = self.palette
        value = visible(row.value)
        if row.kind == "text":
            edit = self.edit if here else TypedLine(row.value)
            cursor = here and self.has_focus
            return line_runs(edit, room, palette, cursor=cursor)
        if row.kind == "choice":
            framed = f"‹ {value} ›" if here else f"  {value}"
            return [(fit(framed, room), palette.text)]
        style = palette.bad if row.mark == "bad" else palette.text
        return [(fit(value, room), style)]

    # ---- moving

    def _field_from(self, index: int, step: int) -> int:
        """The nearest field from a line on; where there is none in that direction, the
        last one in the other.
        """
        last = len(self.rows)
        downwards = range(index, last)
        upwards = range(index, -1, -1)
        lines: list[int] = [*upwards, *downwards]
        if step > 0:
            lines = [*downwards, *upwards]
        for line in lines:
            if 0 <= line < last and self.rows[line].kind in _FIELDS:
                return line
        return 0

    def move(self, index: int, step: int = 1) -> None:
        """Put the cursor in the field on a line, or the next one in the direction of
        ``step``.
        """
        line = max(0, min(index, len(self.rows) - 1))
        index = self._field_from(line, step)
        if index == self.selected:
            return
        self.refresh_line(self.selected)
        self.selected = index
        self._begin(self.rows[index])
        self.refresh_line(index)
        self.reveal(index, 2)
        if index == self._field_from(0, 1):
            self.scroll_top(0)

    def step(self, step: int) -> None:
        """To the next field, or one page of them."""
        self.move(self.selected + step, 1 if step > 0 else -1)

    # ---- keys and mouse

    def on_key(self, event: events.Key) -> None:
        step = self._steps().get(event.key)
        if step is not None:
            # Not by a binding: those are done later than the key after them, which
            # would land in the old field.
            event.stop()
            self.step(step)
            return
        row = self.here
        if row is None:
            return
        if row.kind == "text":
            self._type(row, event)
        elif row.kind == "choice" and event.key in _CHOOSES:
            event.stop()
            self._owner.stepped(row.key, _CHOOSES[event.key])
        elif row.kind == "button" and event.key in ("enter", "space"):
            event.stop()
            self._owner.pressed(row.key)

    def _steps(self) -> Mapping[str, int]:
        """Keys that go to another field, and how far."""
        keymap = services(self).keymap
        distances = {
            "next_field": 1,
            "previous_field": -1,
            "fields_down": self.page - 2,
            "fields_up": 2 - self.page,
        }
        steps: dict[str, int] = {}
        for command in commands("form"):
            if command.name in distances:
                for key in keymap.get(command.id, command.keys):
                    steps[key] = distances[command.name]
        return steps

    def _type(self, row: FormRow, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            self.step(1)
            return
        after = typed(self.edit, event)
        if after is not None:
            event.stop()
            self._take(row, after)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        row = self.here
        text = event.text
        if row is None or row.kind != "text":
            return
        if not row.key.startswith("prompts.text"):
            # A prompt may have lines; a path that was copied with its line break is
            # meant without.
            text = " ".join(text.split("\n")).strip()
        self._take(row, self.edit.insert(text))

    def _take(self, row: FormRow, edit: TypedLine) -> None:
        changed = edit.text != self.edit.text
        self.edit = edit
        self.refresh_line(self.selected)
        if changed:
            self.rows[self.selected] = replace(row, value=edit.text)
            self._owner.typed(row.key, edit.text)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        if self.here is None or self.here.kind != "text":
            return False
        return character is not None and character.isprintable()

    def on_click(self, event: events.Click) -> None:
        index = self.top + event.y - self.fixed
        if event.y < self.fixed or index >= self.line_count:
            return
        row = self.rows[index]
        if row.kind not in _FIELDS:
            return
        again = index == self.selected
        self.move(index)
        if row.kind == "button":
            self._owner.pressed(row.key)
        elif row.kind == "choice" and again:
            self._owner.stepped(row.key, 1)


def _label_cells(row: FormRow, width: int) -> int:
    """Cells of the label; a button without a value has all that it needs."""
    cells = min(20, max(14, width // 4))
    if row.kind == "button" and not row.value:
        return max(cells, cell_len(row.label) + row.indent + 2)
    return cells


def _wrap(text: str, width: int) -> list[str]:
    """Visible text in rows of at most ``width`` cells, cut between words where that is
    near; at least one row.
    """
    rows = []
    row = ""
    room = width
    for word in visible(text).replace(" ", "\0 ").split("\0"):
        for fragment in fragments_of(word) if word else ():
            if fragment.cells > room:
                rows.append(row)
                row = ""
                room = width
                if fragment.text == " ":
                    continue
            row += fragment.text
            room -= fragment.cells
    rows.append(row)
    return [row.strip() for row in rows]
