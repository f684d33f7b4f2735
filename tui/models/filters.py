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
_DELTA_NAMES = (_DELTA, "Δ", "δ")
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
        kept_sequences = self._of_sequences(of)
        offsets = of.sequences.offsets
        lengths = np.diff(offsets)
        flags &= np.repeat(kept_sequences, lengths)
        return np.flatnonzero(flags)

    def keeps(self, of: FilterInput) -> Flags:
        """The sequences, bool[S], that hold such a token."""
        kept_sequences = self._of_sequences(of)
        if not self._about_tokens:
            return kept_sequences
        flags = self._of_tokens(of)
        positions = np.flatnonzero(flags)
        with_token = sequences_with(positions, of.sequences.offsets)
        return kept_sequences & with_token

    @property
    def _about_tokens(self) -> bool:
        if self.words or self.ids:
            return True
        if self.marked or self.beyond:
            return True
        return any(bound.of_token for bound in self.bounds)

    def _of_tokens(self, of: FilterInput) -> Flags:
        """Which tokens its conditions on tokens keep, bool[N]."""
        count = of.sequences.tokens
        flags = np.ones(count, np.bool_)
        if self.words:
            matches = of.find(self.words)
            flags &= _covered(matches, count)
        if self.ids:
            ids = list(self.ids)
            matches = find_ids(of.sequences, ids)
            flags &= _covered(matches, count)
        if self.marked:
            exists = of.marked < count
            marked = of.marked[exists]
            flags &= _at(marked, count)
        if self.beyond:
            divergent = _divergent(of)
            flags &= _at(divergent, count)
        for bound in self.bounds:
            if bound.of_token:
                flags &= _where(bound, of, count)
        return flags

    def _of_sequences(self, of: FilterInput) -> Flags:
        """Which sequences its conditions on sequences keep, bool[S]."""
        count = len(of.sequences)
        flags = np.ones(count, np.bool_)
        for bound in self.bounds:
            if bound.of_token:
                continue
            kept = np.zeros(count, np.bool_)
            if of.pair is not None:
                reduction = per_sequence.reduction(bound.name)
                numbers = reduction.values(of.pair, of.threshold)
                compared = len(numbers)
                kept[:compared] = bound.holds(numbers)
            flags &= kept
        return flags


def _covered(matches: Matches, count: int) -> Flags:
    """Which of ``count`` tokens belong to a match."""
    change = np.zeros(count + 1, np.int64)
    np.add.at(change, matches.starts, 1)
    np.add.at(change, matches.ends, -1)
    depth = np.cumsum(change[:-1])
    return depth > 0


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
        sizes = token_sizes(pair)
        kept = bound.holds(sizes)
    else:
        kept = bound.holds(pair.delta)
        kept &= pair.scored
    compared = pair.tokens
    flags[:compared] = kept
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
    words = TokenFilter(words=rest)
    return _joined(conditions, words)


def filter_problem(text: str) -> str:
    """What is wrong with a typed filter, "" for nothing."""
    try:
        parse_filter(text)
    except InputError as error:
        return str(error)
    return ""


def _is_quoted(text: str) -> bool:
    first = text[:1]
    last = text[-1:]
    return len(text) > 2 and first == last == '"'


def _only_signs(conditions: TokenFilter) -> bool:
    """Whether no condition compares with a number."""
    signs = _SIGNS.values()
    return all(bound in signs for bound in conditions.bounds)


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
    bound = _SIGNS.get(word)
    if bound is None:
        written = _COMPARISON.fullmatch(word.replace("−", "-"))
        if written is None:
            return None
        bound = _bound(word, written)
    return TokenFilter(bounds=(bound,))


def _bound(word: str, written: re.Match[str]) -> Bound:
    """The bound of a comparison. InputError for one that says nothing."""
    name, sign, number, is_percent = written.groups()
    name = name.lower()
    above = sign == ">"
    value = float(number)
    if is_percent:
        value /= 100
    if name in _DELTA_NAMES:
        return Bound(_DELTA, above, value)
    if name in SEQUENCE_NUMBERS:
        return Bound(name, above, value)
    if name:
        advice = _name_advice(name)
        raise InputError(f'there is no number {name!r}: {advice} As text: "{word}"')
    if number[0] in "+-":
        return Bound(_DELTA, above, value)
    if above:
        return Bound(_SIZE, above, value)
    raise InputError(
        f"{word!r} holds for nearly every token: write <-{value:g} where B gives"
        f" more, or worst<{value:g}"
    )


def _name_advice(name: str) -> str:
    """What to write instead of a number that does not exist."""
    near = difflib.get_close_matches(name, SEQUENCE_NUMBERS, n=1)
    if near:
        return f"did you mean {near[0]}?"
    names = ", ".join(SEQUENCE_NUMBERS)
    return f"use {names}"


def _with_ids(conditions: TokenFilter, text: str) -> TokenFilter:
    ids = parse_ids(text)
    if ids is None:
        raise InputError(
            f'{text!r} is not an id: write #30010, or "{text}" for the text'
        )
    with_ids = TokenFilter(ids=tuple(ids))
    return _joined(conditions, with_ids)


def _refuse_half_comparison(text: str) -> None:
    """InputError for a word that begins as a comparison and has no number."""
    is_one_word = " " not in text
    if is_one_word and text[0] in "<>":
        raise InputError(
            f"{text!r} compares with no number: write >0.3 or <-0.2, or"
            f' "{text}" for the text'
        )
