"""The answer of the pair in its parts, as they stand above the text: comparable, size,
cause, worst token, share beyond the threshold, floor.

Each is there as soon as it is known: the gate, the numbers and the diagnosis come one
after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import number, percent, short, signed
from logdrift.core.session.visible import visible
from logdrift.core.words import SIZE_WORDS, VERDICTS_IN_A_SENTENCE
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.opening import worst_position
from logdrift.tui.models.places import write_place
from logdrift.tui.models.token_text import token_text

if TYPE_CHECKING:
    from logdrift.core.compare.gate import Gate, Verdict
    from logdrift.core.compare.usual import UsualStanding
    from logdrift.core.diagnose.answer import Answer
    from logdrift.tui.models.answer import AnswerLine

Tone = Literal["good", "warn", "bad", "plain", "muted"]
"""What a part means: all is well, look at it, wrong; ``plain`` is a fact and
``muted`` a number that means nothing, or that is not there yet.
"""

_VERDICT_TONES: dict[Verdict, Tone] = {
    "comparable": "good",
    "caution": "warn",
    "not_comparable": "bad",
}
_SIZE_TONES: dict[UsualStanding, Tone] = {
    "below": "good",
    "usual": "good",
    "unusual": "warn",
    "beyond": "bad",
    "broken": "bad",
}


ANSWER_ACTIONS = frozenset(
    {"facts", "limits", "why", "worst", "threshold", "matrix", "add_backend"}
)
"""The commands of the explorer that parts lead to."""


class AnswerPart(NamedTuple):
    """One part of the answer.

    Attributes:
        name: which one.
        text: the whole of it.
        short: the same in few cells.
        tone: what it means.
        action: the command that leads to its screen, "" for none.
        ends_line: the next part begins the second line.
    """

    name: str
    text: str
    short: str
    tone: Tone
    action: str
    ends_line: bool = False


def answer_parts(explorer: Explorer) -> tuple[AnswerPart, ...]:
    """What is known by now of the pair that is shown; without a pair, what leads to
    one, if anything.
    """
    if explorer.pair is None:
        return tuple(_without_pair(explorer))
    parts = list(_parts(explorer, explorer.pair))
    if explorer.greyed:
        parts = [_without_meaning(part) for part in parts]
    return tuple(parts)


def _without_pair(explorer: Explorer) -> Iterator[AnswerPart]:
    """The way to the other side of a session that has one alone."""
    # Imported here: a first screen mostly has a pair.
    from logdrift.core.report.one_side import lone_capture, only_side

    lone = lone_capture(explorer.session.captures)
    if lone is not None:
        text = visible(only_side(lone))
        yield AnswerPart("verdict", text, "only one side", "warn", "add_backend")


def _without_meaning(part: AnswerPart) -> AnswerPart:
    """A number of a pair that cannot be compared."""
    if part.name in ("verdict", "cause"):
        return part
    return part._replace(tone="muted")


def _parts(explorer: Explorer, pair: Pair) -> Iterator[AnswerPart]:
    view = explorer.view
    if view is None or view.gate is None or view.stats is None:
        words = "judging …"
        yield AnswerPart("verdict", words, words, "muted", "")
        return
    yield verdict_part(view.gate)
    mae = view.stats.mae
    yield from _explained(explorer.answer, mae)
    yield from _worst(explorer, pair)
    yield from _share(explorer, pair)
    yield from _floor(explorer)


def _explained(line: AnswerLine | None, mae: float | None) -> Iterator[AnswerPart]:
    """Size and cause: what the diagnosis says, once it is there."""
    if line is None:
        yield size_part(None, mae)
        yield _cause("looking for the cause …", "cause …", "muted")
    elif line.answer is None:
        yield size_part(None, mae)
        unexplained = _cause(line.sentence, "not explained", "warn")
        yield unexplained._replace(ends_line=True)
    else:
        yield size_part(line.answer, mae)
        yield cause_part(line.answer)


def verdict_part(gate: Gate) -> AnswerPart:
    """Whether the numbers of the pair may be compared, and why not."""
    words = VERDICTS_IN_A_SENTENCE[gate.verdict]
    refused = gate.verdict == "not_comparable"
    text = words
    if refused:
        first = gate.reasons[0]
        reason = visible(first.text).rstrip(".")
        text = f"{words}: {reason}"
    brief = words
    if gate.verdict == "caution":
        brief = "caution"
    tone = _VERDICT_TONES[gate.verdict]
    return AnswerPart("verdict", text, brief, tone, "facts", ends_line=refused)


def size_part(answer: Answer | None, mae: float | None) -> AnswerPart:
    """The MAE and where it stands; ``mae`` until there is an answer."""
    if answer is None:
        return _plain("size", f"MAE {number(mae)}", "limits")
    if answer.comparable == "not_comparable":
        return _plain("size", f"MAE {number(answer.mae)}", "limits")
    if answer.mae is None:
        return AnswerPart("size", "no common score", "no score", "warn", "limits")
    head = f"MAE {number(answer.mae)}"
    if answer.standing is None or answer.usual is None:
        return _plain("size", head, "limits")
    if answer.mae == 0:
        return AnswerPart("size", head, head, "good", "limits")
    word = SIZE_WORDS[answer.standing]
    dtype = answer.usual.dtype
    if answer.assumed:
        dtype += "?"
    text = f"{head} {word} for {dtype} ({answer.usual.words})"
    tone = _SIZE_TONES[answer.standing]
    return AnswerPart("size", text, f"{head} {word}", tone, "limits")


def cause_part(answer: Answer) -> AnswerPart:
    """The likeliest cause, how sure it is, and what has proved it."""
    title = visible(answer.title)
    if answer.cause == "noise":
        brief = "numerical noise"
        if answer.mae == 0:
            brief = "equal bit for bit"
        return _cause(title, brief, "good")
    if answer.cause is None:
        nothing = "nothing to explain"
        brief = visible(answer.brief_title)
        return _cause(title or nothing, brief or nothing, "warn")
    tone: Tone = "warn"
    if answer.proof or answer.sureness == "certain":
        tone = "bad"
    brief = f"{answer.sureness} {title}"
    text = brief
    if answer.proof:
        brief = f"proven {title}"
        proof = visible(answer.proof)
        text = f"{brief}: {proof}"
    return _cause(text, brief, tone)


def _cause(text: str, brief: str, tone: Tone) -> AnswerPart:
    return AnswerPart("cause", text, brief, tone, "why")


def _worst(explorer: Explorer, pair: Pair) -> Iterator[AnswerPart]:
    """The token with the largest gap: its place, its text, its delta."""
    position = worst_position(pair)
    if position is None:
        return
    session = explorer.session
    place = write_place(session.sequences, position)
    nats = float(pair.delta[position])
    delta = signed(nats, 2)
    text = token_text(session, position)
    if bool(pair.broken[position]):
        delta = "NaN"
    brief = f"worst {place} {delta}"
    whole = f"worst {place} “{text}” Δ {delta}"
    yield _plain("worst", whole, "worst", brief)


def _share(explorer: Explorer, pair: Pair) -> Iterator[AnswerPart]:
    """The share of tokens beyond the threshold."""
    scored = int(np.count_nonzero(pair.scored))
    if not scored:
        return
    threshold = explorer.threshold
    beyond = len(pair.divergences(threshold))
    share = percent(beyond, scored)
    text = f"{share} beyond {short(threshold)}"
    yield _plain("share", text, "threshold")


def _floor(explorer: Explorer) -> Iterator[AnswerPart]:
    """What repeats of the same work differ by."""
    numbers = explorer.numbers
    if numbers is None:
        return
    if numbers.floor is None:
        yield _plain("floor", "no floor: nothing repeated", "matrix", "no floor")
    elif numbers.floor == 0:
        yield _plain("floor", "floor 0: repeats agree", "matrix", "floor 0")
    else:
        yield _plain("floor", f"floor {number(numbers.floor, 3)}", "matrix")


def _plain(name: str, text: str, action: str, brief: str = "") -> AnswerPart:
    brief = brief or text
    return AnswerPart(name, text, brief, "plain", action)
