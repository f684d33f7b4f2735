"""The tokens that changed between two sessions: a row for each."""

from __future__ import annotations

from rich.cells import cell_len
from textual.strip import Strip

from logdrift.tui.glyphs import fit, fit_end
from logdrift.tui.models.comparison import ChangedToken
from logdrift.tui.widgets.lines import Row, Runs, strip_of
from logdrift.tui.widgets.rows import Rows

_WORD = 8
_PLACE = 9
_NUMBER = 9


class ChangedTokens(Rows):
    """Δ before and after, by how much |Δ| changed, and the token in its context."""

    fixed = 2

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.tokens: tuple[ChangedToken, ...] = ()
        self.aside = ""

    def put(self, tokens: tuple[ChangedToken, ...], aside: str) -> None:
        """List other tokens."""
        self.tokens = tokens
        self.aside = aside
        self.selected = 0
        self.rows_changed()

    @property
    def line_count(self) -> int:
        return len(self.tokens)

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            title = "Tokens that changed most"
            if not self.tokens:
                title = "No token changed"
            return self.title_line(title, width, self.aside)
        texts = [
            f" {fit('', _WORD)}",
            fit("place", _PLACE),
            fit("Δ before", _NUMBER, right=True),
            fit("Δ after", _NUMBER, right=True),
            fit("by", _NUMBER, right=True),
            "  text",
        ]
        run = ("".join(texts), self.palette.muted)
        return strip_of([run], width)

    def runs(self, index: int, width: int) -> Row:
        palette = self.palette
        token = self.tokens[index]
        style = palette.bad if token.worse else palette.good
        numbers = [
            fit(token.place, _PLACE),
            fit(token.delta_earlier, _NUMBER, right=True),
            fit(token.delta_later, _NUMBER, right=True),
            fit(token.change, _NUMBER, right=True),
            "  ",
        ]
        words = "".join(numbers)
        room = width - 1 - _WORD - cell_len(words)
        return [
            (f" {fit(token.word, _WORD)}", style),
            (words, palette.text),
            *self._text_runs(token, room),
        ]

    def _text_runs(self, token: ChangedToken, room: int) -> Runs:
        """The token with the text around it, those of all rows below each other."""
        palette = self.palette
        before_room = max(0, room * 2 // 5)
        before = token.before
        blanks = " " * max(0, before_room - cell_len(before))
        piece_room = room - before_room
        piece = token.token
        if cell_len(piece) > piece_room:
            piece = fit(piece, piece_room)
        after_room = piece_room - cell_len(piece)
        return [
            (blanks + fit_end(before, before_room - len(blanks)), palette.muted),
            (piece, palette.strong),
            (fit(token.after, after_room), palette.muted),
        ]
