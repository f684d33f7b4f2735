"""Sequences as HTML text with every token on a background by its delta."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import figure
from logdrift.core.report.scale import THRESHOLD, levels
from logdrift.core.report.sequence_parts import SequencePart
from logdrift.core.session.joining import LONGEST
from logdrift.core.session.reader import Pieces, Session
from logdrift.core.session.visible import visible, visible_bytes

TokenIds = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


def sequence_text(session: Session, pair: Pair, part: SequencePart) -> str:
    """The prompt's and the completion's tokens as two blocks of spans; unscored
    neighbours are merged.
    """
    first_token, _ = pair.sequences.bounds(part.sequence)
    prompt = pair.sequences.prompt_lengths[part.sequence]
    not_before = max(int(prompt), part.start)
    end_of_prompt = min(not_before, part.stop)

    def block(name: str, start: int, stop: int) -> str:
        if start == stop:
            return ""
        low = first_token + start
        high = first_token + stop
        run = TokenRun(session, pair, start, low, high)
        title = f'<span class="part">{name}</span>'
        spans = "".join(run.spans())
        return f'<div class="text {name}">{title}{spans}</div>'

    prompt_text = block("prompt", part.start, end_of_prompt)
    completion_text = block("completion", end_of_prompt, part.stop)
    return prompt_text + completion_text


class TokenRun:
    """Tokens ``low:high`` of a pair, the first at ``position`` of its sequence."""

    def __init__(
        self, session: Session, pair: Pair, position: int, low: int, high: int
    ) -> None:
        self.session = session
        self.pair = pair
        self.position = position
        self.low = low
        self.ids = pair.sequences.token_ids[low:high]
        self.delta = pair.delta[low:high]
        self.broken = pair.broken[low:high]
        self.scored = pair.scored[low:high]
        self.levels = levels(self.delta, self.scored, THRESHOLD)
        self.rank_a = pair.a.rank.rows(low, high)
        self.rank_b = pair.b.rank.rows(low, high)

    def spans(self) -> Iterator[str]:
        """A span for each token with a number, and one for all others in a row."""
        known = self.scored | self.broken
        plain = ""
        for first, last, text in joined(self.session, self.ids):
            tokens = slice(first, last)
            if not known[tokens].any():
                plain += _lines(text)
                continue
            if plain:
                yield f'<span class="un">{plain}</span>'
                plain = ""
            places = range(first, last)
            tips = map(self._tip, places)
            tip = "\n".join(tips)
            style = self._style(tokens)
            yield f'<span{style} title="{escape(tip)}">{_lines(text)}</span>'
        if plain:
            yield f'<span class="un">{plain}</span>'

    def _style(self, tokens: slice) -> str:
        """The class of tokens that are shown as one: that of the largest gap."""
        if self.broken[tokens].any():
            return ' class="nan"'
        steps = self.levels[tokens]
        farthest = np.abs(steps).argmax()
        level = int(steps[farthest])
        side = "o" if level > 0 else "b"
        if level:
            return f' class="{side}{abs(level)}"'
        return ""

    def _tip(self, at: int) -> str:
        pair = self.pair
        flat = self.low + at
        value = float(self.delta[at])
        delta = figure(value, sign=True)
        a = _score(pair.logprob_a, pair.nan_a, flat)
        b = _score(pair.logprob_b, pair.nan_b, flat)
        lines = (
            f"{self.position + at}: Δ {delta}",
            f"A {a}, rank {self.rank_a[at] or '?'}",
            f"B {b}, rank {self.rank_b[at] or '?'}",
        )
        return "\n".join(lines)


def _score(logprob: npt.NDArray[np.float32], broken: Mask, at: int) -> str:
    if broken[at]:
        return "NaN"
    value = float(logprob[at])
    return figure(value)


def joined(session: Session, ids: TokenIds) -> Iterator[tuple[int, int, str]]:
    """(first, last + 1, visible text) of each token; tokens that only together are
    valid UTF-8 come as one.
    """
    pieces = session.pieces
    at = 0
    while at < len(ids):
        token_id = int(ids[at])
        step = 1
        text = pieces.text(token_id)
        raw = pieces.get(token_id)
        if raw is not None:
            step = _whole(pieces, ids, at, raw)
        end = at + step
        if step > 1:
            parts = [pieces[part] for part in ids[at:end].tolist()]
            text = visible_bytes(b"".join(parts))
        yield at, end, text
        at = end


def _whole(pieces: Pieces, ids: TokenIds, at: int, raw: bytes) -> int:
    """How many tokens from ``at`` make valid UTF-8 where the first alone does not; 1
    where none do.
    """
    for step in range(1, LONGEST + 1):
        try:
            raw.decode("utf-8")
            return step
        except UnicodeDecodeError as error:
            # A wrong byte stays wrong whatever follows; only an end that was cut off
            # can be completed.
            is_cut_off = error.reason == "unexpected end of data"
            following_at = at + step
            if not is_cut_off or following_at >= len(ids):
                return 1
        following = pieces.get(int(ids[following_at]))
        if following is None:
            return 1
        raw += following
    return 1


def _lines(text: str) -> str:
    """Escaped, and a line really ends where a newline is shown."""
    safe = escape(visible(text))
    return safe.replace("↵", "↵\n")
