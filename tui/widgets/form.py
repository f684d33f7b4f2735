"""A form as one pane: fields line by line. The screen keeps the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from rich.cells import cell_len
from rich.style import Style
from textual.events import Click, Key, Paste, Resize
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.actions import commands
from logdrift.tui.glyphs import fit
from logdrift.tui.models.capture_rows import FormRow
from logdrift.tui.services import services
from logdrift.tui.widgets.line_edit import TypedLine, line_runs, typed
from logdrift.tui.widgets.lines import Lines, Runs, strip_of
from logdrift.tui.widgets.reading import line_fragments

_FIELDS = ("text", "choice", "button")
_PRESSES = ("enter", "space")
"""Keys that press a button."""
_ARROW_CELLS = 4
"""Around a chosen value."""
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

    @property
    def _text_here(self) -> FormRow | None:
        """The field with the cursor if it is one for text."""
        row = self.here
        if row is None:
            return None
        if row.kind != "text":
            return None
        return row

    def show(self, rows: Sequence[FormRow], *, key: str | None = None) -> None:
        """Other lines; the cursor stays in its field, or goes to ``key``. Only lines
        that differ are painted again.
        """
        rows_before = self.rows
        selected_before = self.selected
        top_before = self.top
        target = key
        if target is None:
            target = self._key_here()
        self.source = rows
        self.rows = []
        for row in rows:
            self.rows += self._wrapped(row)
        selected = self._index_of(target)
        self.selected = selected
        moved = key is not None
        self._keep_typing(moved=moved)
        self.top = self.top_within(top_before)
        self.reveal(selected, 2)
        count = len(self.rows)
        is_aligned = count == len(rows_before)
        if self.top != top_before or not is_aligned:
            self.refresh()
            return
        self._refresh_changed(rows_before)
        self.refresh_line(selected_before)
        self.refresh_line(selected)

    def _key_here(self) -> str:
        """The key of the field with the cursor, "" without one."""
        row = self.here
        if row is None:
            return ""
        return row.key

    def _refresh_changed(self, before: Sequence[FormRow]) -> None:
        """Repaint the lines that differ from as many before."""
        pairs = zip(before, self.rows, strict=True)
        for index, (old, new) in enumerate(pairs):
            if old != new:
                self.refresh_line(index)

    def _index_of(self, key: str) -> int:
        """The line of a field; where it is gone, the field nearest to the cursor."""
        for index, row in enumerate(self.rows):
            if row.key == key and _is_field(row):
                return index
        last = len(self.rows) - 1
        nearest = min(self.selected, last)
        return self._field_from(nearest, 1)

    def _keep_typing(self, *, moved: bool) -> None:
        """Go on with what is typed, or begin with the field that the cursor came to."""
        row = self.here
        if row is None:
            return
        if moved or row.key != self._editing:
            self._begin(row)
        elif row.kind == "text":
            # What was typed since these lines were made is newer than they are.
            self._put_text(row, self.edit.text)

    def _put_text(self, row: FormRow, text: str) -> None:
        """Show a text in the row with the cursor."""
        typed_row = replace(row, value=text)
        self.rows[self.selected] = typed_row

    def _wrapped(self, row: FormRow) -> list[FormRow]:
        """What is wrong is shown in full, on as many lines as that takes."""
        width = self.inner_width - row.indent
        width -= 4
        if row.kind != "bad" or width < 10:
            return [row]
        lines: list[FormRow] = []
        label = "✗"
        texts = _wrap(row.value, width)
        for text in texts:
            line = replace(row, value=text, label=label)
            lines.append(line)
            label = ""
        return lines

    def on_resize(self, event: Resize) -> None:
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
        if row.kind == "head":
            runs = self._head_runs(row, width)
        elif row.kind == "bad":
            runs = self._bad_runs(row)
        else:
            here = index == self.selected
            runs = self._field_runs(row, width, here)
        return strip_of(runs, width)

    def _head_runs(self, row: FormRow, width: int) -> Runs:
        """The head of a group, and a rule to the right border."""
        palette = self.palette
        head = f" {row.label} "
        rule_cells = width - cell_len(head) - 1
        rule = "─" * max(0, rule_cells)
        return [
            (head, palette.strong),
            (rule, palette.muted),
        ]

    def _bad_runs(self, row: FormRow) -> Runs:
        """A row of what is wrong."""
        indent = _indent(row)
        label = fit(row.label, 2)
        text = f"{indent}{label}{row.value}"
        style = self.palette.bad
        return [(text, style)]

    def _field_runs(self, row: FormRow, width: int, here: bool) -> Runs:
        """The label of a field and its value; ``here``: with the cursor."""
        label_cells = _label_cells(row, width)
        value_cells = width - label_cells - 1
        text = _indent(row) + row.label
        label = fit(text, label_cells)
        style = self._label_style(row, here)
        palette = self.palette
        gap = (" ", palette.text)
        value = self._value(row, value_cells, here)
        return [
            (label, style),
            gap,
            *value,
        ]

    def _label_style(self, row: FormRow, here: bool) -> Style:
        palette = self.palette
        if here and self.has_focus:
            return palette.selected
        if here:
            return palette.selected_idle
        if row.kind == "button":
            return palette.accent
        return palette.muted

    def _value(self, row: FormRow, room: int, here: bool) -> Runs:
        """The value, and the note behind it where there is room for both."""
        if not row.note:
            return self._value_runs(row, room, here)
        note = f"  {row.note}"
        value = visible(row.value)
        value_cells = cell_len(value)
        if row.kind == "choice":
            value_cells += _ARROW_CELLS
        needed = min(value_cells, 60) + 1
        needed = max(16, needed)
        room_beside_note = room - cell_len(note)
        if room_beside_note < needed:
            return self._value_runs(row, room, here)
        runs = self._value_runs(row, room_beside_note, here)
        style = self.palette.muted
        runs.append((note, style))
        return runs

    def _value_runs(self, row: FormRow, room: int, here: bool) -> Runs:
        palette = self.palette
        if row.kind == "text":
            return self._text_runs(row, room, here)
        text = visible(row.value)
        if row.kind == "choice":
            return self._choice_runs(text, room, here)
        style = palette.text
        if row.mark == "bad":
            style = palette.bad
        fitted = fit(text, room)
        return [(fitted, style)]

    def _choice_runs(self, text: str, room: int, here: bool) -> Runs:
        """A chosen value between arrows, which stand out at the cursor."""
        palette = self.palette
        arrows = palette.muted
        if here:
            arrows = palette.accent
        room -= _ARROW_CELLS
        value = fit(text, room)
        value = value.rstrip()
        spare = room - cell_len(value)
        blank = " " * max(0, spare)
        return [
            ("‹ ", arrows),
            (value, palette.text),
            (f" ›{blank}", arrows),
        ]

    def _text_runs(self, row: FormRow, room: int, here: bool) -> Runs:
        """A text field; with the cursor it shows what is typed."""
        edit = TypedLine(row.value)
        if here:
            edit = self.edit
        cursor = here and self.has_focus
        palette = self.palette
        return line_runs(edit, room, palette, cursor=cursor)

    # ---- moving

    def _field_from(self, index: int, step: int) -> int:
        """The nearest field from a line on; where there is none in that direction, the
        last one in the other.
        """
        count = len(self.rows)
        downwards = range(index, count)
        upwards = range(index, -1, -1)
        lines: list[int] = [*upwards, *downwards]
        if step > 0:
            lines = [*downwards, *upwards]
        for line in lines:
            exists = 0 <= line < count
            if not exists:
                continue
            row = self.rows[line]
            if _is_field(row):
                return line
        return 0

    def move(self, index: int, step: int = 1) -> None:
        """Put the cursor in the field on a line, or the next one in the direction of
        ``step``.
        """
        last = len(self.rows) - 1
        line = min(index, last)
        line = max(0, line)
        index = self._field_from(line, step)
        if index == self.selected:
            return
        self.refresh_line(self.selected)
        self.selected = index
        row = self.rows[index]
        self._begin(row)
        self.refresh_line(index)
        self.reveal(index, 2)
        first_field = self._field_from(0, 1)
        if index == first_field:
            self.scroll_top(0)

    def step(self, step: int) -> None:
        """To the next field, or one page of them."""
        direction = -1
        if step > 0:
            direction = 1
        line = self.selected + step
        self.move(line, direction)

    # ---- keys and mouse

    def on_key(self, event: Key) -> None:
        steps = self._steps()
        step = steps.get(event.key)
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
        elif row.kind == "choice":
            self._choose(row, event)
        elif row.kind == "button":
            self._press(row, event)

    def _choose(self, row: FormRow, event: Key) -> None:
        """Step through the choices of a field, if that is what the key does."""
        step = _CHOOSES.get(event.key)
        if step is not None:
            event.stop()
            self._owner.stepped(row.key, step)

    def _press(self, row: FormRow, event: Key) -> None:
        """Press a button, if that is what the key does."""
        if event.key in _PRESSES:
            event.stop()
            self._owner.pressed(row.key)

    def _steps(self) -> Mapping[str, int]:
        """Keys that go to another field, and how far."""
        keymap = services(self).keymap
        page = self.page - 2
        distances = {
            "next_field": 1,
            "previous_field": -1,
            "fields_down": page,
            "fields_up": -page,
        }
        steps: dict[str, int] = {}
        for command in commands("form"):
            distance = distances.get(command.name)
            if distance is None:
                continue
            usual_keys = command.keys
            keys = keymap.get(command.id, usual_keys)
            for key in keys:
                steps[key] = distance
        return steps

    def _type(self, row: FormRow, event: Key) -> None:
        if event.key == "enter":
            event.stop()
            self.step(1)
            return
        after = typed(self.edit, event)
        if after is not None:
            event.stop()
            self._take(row, after)

    def on_paste(self, event: Paste) -> None:
        event.stop()
        row = self._text_here
        text = event.text
        if row is None:
            return
        is_prompt = row.key.startswith("prompts.text")
        if not is_prompt:
            # A prompt may have lines; a path that was copied with its line break is
            # meant without.
            lines = text.split("\n")
            text = " ".join(lines)
            text = text.strip()
        edit = self.edit.insert(text)
        self._take(row, edit)

    def _take(self, row: FormRow, edit: TypedLine) -> None:
        text = edit.text
        changed = text != self.edit.text
        self.edit = edit
        self.refresh_line(self.selected)
        if changed:
            self._put_text(row, text)
            self._owner.typed(row.key, text)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        if self._text_here is None:
            return False
        if character is None:
            return False
        return character.isprintable()

    def on_click(self, event: Click) -> None:
        index = self.line_at(event.y)
        if index is None:
            return
        row = self.rows[index]
        if not _is_field(row):
            return
        was_selected = index == self.selected
        self.move(index)
        if row.kind == "button":
            self._owner.pressed(row.key)
        elif row.kind == "choice" and was_selected:
            self._owner.stepped(row.key, 1)


def _is_field(row: FormRow) -> bool:
    """Whether the cursor can stand in a row."""
    return row.kind in _FIELDS


def _indent(row: FormRow) -> str:
    cells = row.indent + 1
    return " " * cells


def _label_cells(row: FormRow, width: int) -> int:
    """Cells of the label; a button without a value has all that it needs."""
    quarter = width // 4
    cells = max(14, quarter)
    cells = min(20, cells)
    if row.kind == "button" and not row.value:
        label_cells = cell_len(row.label)
        needed = row.indent + label_cells + 2
        return max(cells, needed)
    return cells


def _wrap(text: str, width: int) -> list[str]:
    """Visible text in rows of at most ``width`` cells, cut between words where that is
    near; at least one row.
    """
    rows = []
    row = ""
    room = width
    text = visible(text)
    for fragment in line_fragments(text):
        if fragment.cells > room:
            rows.append(row.strip())
            row = ""
            room = width
            if fragment.text == " ":
                continue
        row += fragment.text
        room -= fragment.cells
    rows.append(row.strip())
    return rows
