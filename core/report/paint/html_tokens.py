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
from logdrift.core.session.reader import Pieces, Session
from logdrift.core.session.visible import visible, visible_bytes

_LONGEST = 4
"""Bytes of a UTF-8 character: so many tokens at most are joined into one."""


def sequence_text(session: Session, pair: Pair, shown: SequencePart) -> str:
    """The prompt's and the completion's tokens as two blocks of spans; unscored
    neighbours are merged.
    """
    offset = pair.sequences.bounds(shown.sequence)[0]
    border = int(
        np.clip(pair.sequences.prompt_lengths[shown.sequence], shown.start, shown.stop)
    )
    blocks = []
    for name, start, stop in (
        ("prompt", shown.start, border),
        ("completion", border, shown.stop),
    ):
        if stop > start:
            body = "".join(_spans(session, pair, offset, start, stop))
            blocks.append(
                f'<div class="text {name}"><span class="part">{name}</span>{body}</div>'
            )
    return "".join(blocks)


def _spans(
    session: Session, pair: Pair, offset: int, start: int, stop: int
) -> Iterator[str]:
    low, high = offset + start, offset + stop
    delta, scored, broken = (
        pair.delta[low:high],
        pair.scored[low:high],
        pair.broken[low:high],
    )
    step = levels(delta, scored, THRESHOLD)
    ranks = pair.a.rank.rows(low, high), pair.b.rank.rows(low, high)
    plain = ""
    for first, last, text in joined(session, pair.sequences.token_ids[low:high]):
        if not (scored | broken)[first:last].any():
            plain += _lines(text)
            continue
        if plain:
            yield f'<span class="un">{plain}</span>'
            plain = ""
        tips = [
            f"{start + i}: Δ {figure(float(delta[i]), sign=True)}\nA"
            f" {_score(pair.logprob_a, pair.nan_a, low + i)}, rank"
            f" {ranks[0][i] or '?'}\nB {_score(pair.logprob_b, pair.nan_b, low + i)},"
            f" rank {ranks[1][i] or '?'}"
            for i in range(first, last)
        ]
        level = int(step[first:last][np.argmax(np.abs(step[first:last]))])
        style = f' class="{"o" if level > 0 else "b"}{abs(level)}"' if level else ""
        if broken[first:last].any():
            style = ' class="nan"'
        yield f'<span{style} title="{escape(chr(10).join(tips))}">{_lines(text)}</span>'
    if plain:
        yield f'<span class="un">{plain}</span>'


def _score(
    logprob: npt.NDArray[np.float32], broken: npt.NDArray[np.bool_], at: int
) -> str:
    return "NaN" if broken[at] else figure(float(logprob[at]))


def joined(
    session: Session, ids: npt.NDArray[np.int32]
) -> Iterator[tuple[int, int, str]]:
    """(first, last + 1, visible text) of each token; tokens that only together are
    valid UTF-8 come as one.
    """
    pieces = session.pieces
    at = 0
    while at < len(ids):
        raw = pieces.get(int(ids[at]))
        step = 1 if raw is None else _whole(pieces, ids, at, raw)
        if step > 1:
            text = visible_bytes(b"".join(pieces[int(i)] for i in ids[at : at + step]))
        else:
            text = pieces.text(int(ids[at]))
        yield at, at + step, text
        at += step


def _whole(pieces: Pieces, ids: npt.NDArray[np.int32], at: int, raw: bytes) -> int:
    """How many tokens from ``at`` make valid UTF-8 where the first alone does not; 1
    where none do.
    """
    for step in range(1, _LONGEST + 1):
        try:
            raw.decode("utf-8")
            return step
        except UnicodeDecodeError as error:
            # A wrong byte stays wrong whatever follows; only an end that was cut off
            # can be completed.
            if error.reason != "unexpected end of data" or at + step >= len(ids):
                return 1
        following = pieces.get(int(ids[at + step]))
        if following is None:
            return 1
        raw += following
    return 1


def _lines(text: str) -> str:
    """Escaped, and a line really ends where a newline is shown."""
    return escape(visible(text)).replace("↵", "↵\n")
