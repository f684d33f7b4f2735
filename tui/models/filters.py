"""What a typed filter asks for, of tokens and of sequences.

``#30010`` an id, ``>`` beyond the threshold, ``>0.3`` and ``<-0.2`` by delta, ``+`` and
``-`` by its sign, ``mean>0.05`` by a number of the sequence, ``*`` a mark, and anything
else text; several of these with blanks between them, text last. Text in double quotes
is text, whatever it looks like.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from logdrift.core.compare import per_sequence
from logdrift.core.compare.pair import Pair
from logdrift.core.errors import InputError
from logdrift.core.session.reader import Sequences
from logdrift.core.session.search import Matches, find_ids, parse_ids
from logdrift.tui.models.listing import sequences_with
from logdrift.tui.models.sizes import token_sizes

if TYPE_CHECKING:
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_COMPARISON = re.compile(rf"(\w*)([<>])=?({_NUMBER})(%?)", re.IGNORECASE)
_SIZE = "size"
_DELTA = "delta"
SEQUENCE_NUMBERS = tuple(
    reduction.name
    for reduction in per_sequence.REDUCTIONS
    if reduction.name != "number"
)
"""The numbers of a sequence that a filter can name."""


class Bound(NamedTuple):
    """A number of a token (``size``, ``delta``) or of a sequence, above or below a
    value.
    """

    name: str
    above: bool
    value: float

    def holds(self, numbers: npt.NDArray[np.floating]) -> Flags:
        """Where it holds; nowhere for NaN."""
        with np.errstate(invalid="ignore"):
            if self.above:
                return np.asarray(numbers > self.value)
            return np.asarray(numbers < self.value)

    @property
    def of_token(self) -> bool:
        """Whether it is about tokens, and not about sequences."""
        return self.name in (_SIZE, _DELTA)


_SIGNS = {
    "+": Bound(_DELTA, above=True, value=0.0),
    "-": Bound(_DELTA, above=False, value=0.0),
    "−": Bound(_DELTA, above=False, value=0.0),
}
"""Which side gives more, as it is typed."""


class FilterInput(NamedTuple):
    """What a filter looks at: the pair, the threshold in nats, the marked positions,
    and how text is found.
    """

    sequences: Sequences
    pair: Pair | None
    threshold: float
    marked: Positions
    find: Callable[[str], Matches]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFilter:
    """A filter; all of its conditions hold for one token.

    ``beyond``: beyond the threshold. ``words`` are text to find, "" for none.
    """

    words: str = ""
    ids: tuple[int, ...] = ()
    marked: bool = False
    beyond: bool = False
    bounds: tuple[Bound, ...] = ()

    def tokens(self, of: FilterInput) -> Positions:
        """The flat positions of the tokens that it keeps, ascending.

        Walks all tokens: not for an event loop.
        """
        flags = self._of_tokens(of)
        sequences = self._of_sequences(of)
        lengths = np.diff(of.sequences.offsets)
        flags &= np.repeat(sequences, lengths)
        return np.flatnonzero(flags)

    def keeps(self, of: FilterInput) -> Flags:
        """The sequences, bool[S], that hold such a token."""
        sequences = self._of_sequences(of)
        if not self._about_tokens:
            return sequences
        positions = np.flatnonzero(self._of_tokens(of))
        return sequences & sequences_with(positions, of.sequences.offsets)

    @property
    def _about_tokens(self) -> bool:
        of_tokens = [bound for bound in self.bounds if bound.of_token]
        asks = (self.words, self.ids, self.marked, self.beyond, of_tokens)
        return any(map(bool, asks))

    def _of_tokens(self, of: FilterInput) -> Flags:
        """Which tokens its conditions on tokens keep, bool[N]."""
        count = of.sequences.tokens
        flags = np.ones(count, np.bool_)
        if self.words:
            flags &= _covered(of.find(self.words), count)
        if self.ids:
            flags &= _covered(find_ids(of.sequences, list(self.ids)), count)
        if self.marked:
            flags &= _at(of.marked[of.marked < count], count)
        if self.beyond:
            flags &= _at(_divergent(of), count)
        for bound in self.bounds:
            if bound.of_token:
                flags &= _where(bound, of, count)
        return flags

    def _of_sequences(self, of: FilterInput) -> Flags:
        """Which sequences its conditions on sequences keep, bool[S]."""
        flags = np.ones(len(of.sequences), np.bool_)
        for bound in self.bounds:
            if bound.of_token:
                continue
            kept = np.zeros(len(of.sequences), np.bool_)
            if of.pair is not None:
                reduction = per_sequence.reduction(bound.name)
                numbers = reduction.values(of.pair, of.threshold)
                kept[: len(numbers)] = bound.holds(numbers)
            flags &= kept
        return flags


def _covered(matches: Matches, count: int) -> Flags:
    """Which of ``count`` tokens belong to a match."""
    change = np.zeros(count + 1, np.int64)
    np.add.at(change, matches.starts, 1)
    np.add.at(change, matches.ends, -1)
    return np.cumsum(change[:-1]) > 0


def _at(positions: Positions, count: int) -> Flags:
    flags = np.zeros(count, np.bool_)
    flags[positions] = True
    return flags


def _divergent(of: FilterInput) -> Positions:
    if of.pair is None:
        return np.empty(0, np.int64)
    return of.pair.divergences(of.threshold)


def _where(bound: Bound, of: FilterInput, count: int) -> Flags:
    """The tokens for which a bound holds, bool[count]."""
    flags = np.zeros(count, np.bool_)
    pair = of.pair
    if pair is None:
        return flags
    if bound.name == _SIZE:
        flags[: pair.tokens] = bound.holds(token_sizes(pair))
    else:
        flags[: pair.tokens] = bound.holds(pair.delta) & pair.scored
    return flags


# What is typed.


def parse_filter(text: str) -> TokenFilter:
    """The filter that a text asks for. InputError says what is not understood."""
    text = text.strip()
    if _is_quoted(text):
        return TokenFilter(words=text[1:-1])
    conditions, rest = _split(text)
    if rest.startswith("#"):
        return _with_ids(conditions, rest)
    if not rest:
        return conditions
    if _is_quoted(rest):
        rest = rest[1:-1]
    elif _only_signs(conditions):
        # A star or a sign before text is text too: lists in Markdown begin so.
        _refuse_half_comparison(text)
        return TokenFilter(words=text)
    else:
        _refuse_half_comparison(rest)
    return _joined(conditions, TokenFilter(words=rest))


def filter_problem(text: str) -> str:
    """What is wrong with a typed filter, "" for nothing."""
    try:
        parse_filter(text)
    except InputError as error:
        return str(error)
    return ""


def _is_quoted(text: str) -> bool:
    return len(text) > 2 and text[0] == text[-1] == '"'


def _only_signs(conditions: TokenFilter) -> bool:
    """Whether no condition compares with a number."""
    return all(bound in _SIGNS.values() for bound in conditions.bounds)


def _split(text: str) -> tuple[TokenFilter, str]:
    """The conditions at the start of a text, and what is left of it."""
    conditions = TokenFilter()
    rest = text
    while rest:
        word, _, following = rest.partition(" ")
        condition = _condition(word)
        if condition is None:
            break
        conditions = _joined(conditions, condition)
        rest = following.strip()
    return conditions, rest


def _joined(one: TokenFilter, other: TokenFilter) -> TokenFilter:
    """A filter with the conditions of both."""
    return TokenFilter(
        words=one.words or other.words,
        ids=one.ids or other.ids,
        marked=one.marked or other.marked,
        beyond=one.beyond or other.beyond,
        bounds=one.bounds + other.bounds,
    )


def _condition(word: str) -> TokenFilter | None:
    """What a word asks for; None where it is text."""
    if word == "*":
        return TokenFilter(marked=True)
    if word == ">":
        return TokenFilter(beyond=True)
    if word in _SIGNS:
        return TokenFilter(bounds=(_SIGNS[word],))
    written = _COMPARISON.fullmatch(word.replace("−", "-"))
    if written is None:
        return None
    name, sign_text, number, is_percent = written.groups()
    value = float(number)
    if is_percent:
        value /= 100
    bound = _bound(
        word, name.lower(), sign_text == ">", value, signed=number[0] in "+-"
    )
    return TokenFilter(bounds=(bound,))


def _bound(word: str, name: str, above: bool, value: float, *, signed: bool) -> Bound:
    """The bound of a comparison. InputError for one that says nothing."""
    if name in ("", "Δ", "δ", _DELTA):
        if signed or name:
            return Bound(_DELTA, above, value)
        if above:
            return Bound(_SIZE, above, value)
        raise InputError(
            f"{word!r} holds for nearly every token: write <-{value:g} where B gives"
            f" more, or worst<{value:g}"
        )
    if name in SEQUENCE_NUMBERS:
        return Bound(name, above, value)
    near = difflib.get_close_matches(name, SEQUENCE_NUMBERS, n=1)
    if near:
        advice = f"did you mean {near[0]}?"
    else:
        advice = f"use {', '.join(SEQUENCE_NUMBERS)}"
    raise InputError(f'there is no number {name!r}: {advice} As text: "{word}"')


def _with_ids(conditions: TokenFilter, text: str) -> TokenFilter:
    ids = parse_ids(text)
    if ids is None:
        raise InputError(
            f'{text!r} is not an id: write #30010, or "{text}" for the text'
        )
    return _joined(conditions, TokenFilter(ids=tuple(ids)))


def _refuse_half_comparison(text: str) -> None:
    """InputError for a word that begins as a comparison and has no number."""
    is_one_word = " " not in text
    if is_one_word and text[0] in "<>":
        raise InputError(
            f"{text!r} compares with no number: write >0.3 or <-0.2, or"
            f' "{text}" for the text'
        )
