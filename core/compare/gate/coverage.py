"""Do both captures score the same tokens after the same tokens? Ids, boundary,
truncation, padding, first token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare.gate.case import (
    GateCase,
    GateSide,
    Reason,
    caution,
    note,
    refuse,
)
from logdrift.core.compare.gate.loaded import template_of
from logdrift.core.compare.loaded.difference import sentence
from logdrift.core.facts import FILLED_BEHIND
from logdrift.core.numbers import counted
from logdrift.core.session.sent_ids import ids_digest

if TYPE_CHECKING:
    import numpy.typing as npt

_BOS = frozenset(
    (
        "<s>",
        "<bos>",
        "[BOS]",
        "[CLS]",
        "<|bos|>",
        "<|begin_of_text|>",
        "<|startoftext|>",
        "<|begin_of_sentence|>",
        "<｜begin▁of▁sentence｜>",
        "<|endoftext|>",
    )
)
"""Start tokens, as tokenizers call them."""
_PAD = re.compile(
    r"\[PAD\]|</s>|<eos>|<unk>|<[|｜]?\S*pad\S*[|｜]?>|<\|(endoftext|end_of_text|im_end|eot_id)\|>"
)
"""Tokens that fill up a batch, as tokenizers call them."""

_TO_GRAPHS = "to graph sizes"
"""Facts.padding of engines that replay a captured graph: the sequences themselves are
not padded.
"""


def check_ids(case: GateCase) -> Iterator[Reason]:
    """Every part must have scored the ids that the session holds; the reader has seen
    to it that it covers them.
    """
    digests: _Digests = {}  # both sides mostly have the same parts
    for side in case.sides:
        part = _part_with_other_ids(case, side, digests)
        if part is not None:
            yield refuse(
                "ids",
                f"{side.label} scored other token ids in {part} than the session"
                " holds, so its numbers are of other tokens: capture it again from"
                " these ids.",
            )


_Digests = dict[tuple[int, int], str]
"""By the first of the sequences and the one behind the last."""


def _part_with_other_ids(
    case: GateCase, side: GateSide, digests: _Digests
) -> str | None:
    """The sequences of the first part whose ids are not those of the session."""
    first = 0
    for part in side.info.parts:
        end = first + part.sequences
        if part.ids_digest is not None:
            span = (first, end)
            if span not in digests:
                digests[span] = _digest(case, first, end)
            if part.ids_digest != digests[span]:
                return f"sequences {first} to {end - 1}"
        first = end
    return None


def _digest(case: GateCase, first: int, end: int) -> str:
    sequences = case.pair.sequences
    first_token = int(sequences.offsets[first])
    end_token = int(sequences.offsets[end])
    return ids_digest(sequences.token_ids[first_token:end_token])


def check_tokens(case: GateCase) -> Iterator[Reason]:
    """Something must be left to compare, and sequences without a completion are
    named.
    """
    if not case.pair.count:
        empty = " and ".join(
            side.label for side in case.sides if not side.info.sequences
        )
        yield refuse(
            "empty",
            f"no finished sequence in {empty}: there is nothing to compare yet.",
        )
        return
    if any(side.whole_scope for side in case.broken):
        pass  # `logdrift.core.compare.gate.values.check_nan` says why there is nothing
    elif not case.pair.scored.any():
        yield refuse(
            "empty",
            "no token has a score on both sides: compare captures that score the same"
            " part of the sequences.",
        )
    elif not case.pair.scope_mask(case.scope).any():
        yield refuse(
            "empty",
            f"no {case.scope} token has a score on both sides, so there is nothing to"
            " compare: take another --scope or pair (decode captures have no scores of"
            " prompts).",
        )
    is_bare = case.prompt_lengths == case.lengths
    bare = int(is_bare.sum())
    if 0 < bare < case.pair.count:
        yield note(
            "no_completion",
            f"{_share(bare, case)} have no completion, so numbers over completions"
            " leave them out: look at them with --scope prompt.",
        )


def _scored_or_masked(case: GateCase, side: GateSide) -> npt.NDArray[np.int64]:
    """Flat positions that have a score, be it NaN, or need none because the mask leaves
    them out.
    """
    return np.flatnonzero(case.answered(side) | ~case.counted)


def _first(
    case: GateCase, entries: npt.NDArray[np.int64], begin: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The first of ``entries`` at or behind ``begin`` (flat, i64[S]) within each
    sequence, -1 where there is none.
    """
    places = np.searchsorted(entries, begin)
    behind_all = np.iinfo(np.int64).max
    first = np.append(entries, behind_all)[places]
    is_inside = first < case.ends
    inside: npt.NDArray[np.int64] = np.where(is_inside, first, -1)
    return inside


def check_truncated(case: GateCase) -> Iterator[Reason]:
    """A side that has seen only a part of the sequences gives probabilities after other
    tokens.
    """
    if not case.pair.count:
        return
    longest = int(case.lengths.max())
    for side, other in case.crossed:
        limit = side.facts.max_length
        if limit is not None and limit < longest:
            yield refuse(
                "truncated",
                f"{side.label} takes {counted(limit, 'token')} at most and the longest"
                f" sequence has {longest:,}, so it cannot have seen all of it: raise"
                " its maximum length, or capture shorter sequences.",
            )
        elif side.info.path == "prefill":
            yield from _late_prefill(case, side, other)


def _late_prefill(case: GateCase, side: GateSide, other: GateSide) -> Iterator[Reason]:
    """A prefill scores all but the first token; one that begins later was cut, or
    scored only the end.
    """
    second = case.starts + 1
    first = _first(case, _scored_or_masked(case, side), second)
    late = first > second
    if not late.any():
        return
    if other.info.path == "prefill":
        first_of_other = _first(case, _scored_or_masked(case, other), second)
        if np.array_equal(first_of_other, first):
            return
    ends = second + np.maximum(case.prompt_lengths - 1, 0)
    begins_at_end = first == ends
    if bool(begins_at_end[first >= 0].all()):
        yield caution(
            "boundary",
            f"{side.label} has scores for the completions only: make sure that it was"
            " given the prompts before them.",
        )
        return
    unscored = first - second
    worst = int(unscored[late].max()) + 1
    yield refuse(
        "truncated",
        f"{side.label} has no score before token {worst:,} in {_of(late, case)}: its"
        " context was cut, or it scored only the end: give it the whole sequences.",
    )


def check_notes(case: GateCase) -> Iterator[Reason]:
    """What an import, or a capture of the lines' own numbers, left out or joined, kept
    with the session.
    """
    if case.session.is_import:
        source = "import"
    else:
        source = "lines of the prompts"
    for text in case.session.manifest.notes:
        yield note("imported", f"{source}: {text}.")


def check_boundary(case: GateCase) -> Iterator[Reason]:
    """What was decoded begins where the session's prompts end; one off, and every
    number is at another token.
    """
    if not case.pair.count:
        return
    ends = case.starts + np.maximum(case.prompt_lengths, 1)
    completed = case.ends > ends
    for side in case.sides:
        if not side.decodes and side.info.path != "recorded":
            continue
        first = _first(case, _scored_or_masked(case, side), ends)
        is_late = completed & (first > ends)
        yield from _misplaced(case, side, is_late, first - ends, "behind")
        if side.decodes:
            answered = np.flatnonzero(case.answered(side))
            begun = _first(case, answered, case.starts + 1)
            is_early = completed & (begun >= 0) & (begun < ends)
            yield from _misplaced(case, side, is_early, ends - begun, "before")


def check_without_prompt(case: GateCase) -> Iterator[Reason]:
    """A completion without its prompt: a side with a score for its first token knew
    what stood before, and one without had nothing before it.
    """
    if not case.pair.count:
        return
    without_prompt = case.prompt_lengths == 0
    first_tokens = case.starts[without_prompt & (case.lengths > 0)]
    for side, other in case.crossed:
        scored = case.answered(side)[first_tokens]
        unscored = ~case.answered(other)[first_tokens]
        number = int((scored & unscored).sum())
        if number:
            yield caution(
                "no_prompt",
                f"{_share(number, case)} have no prompt in the session: {side.label}"
                f" knew what stood before them and {other.label} did not, so their"
                " numbers are given other contexts: import them with their prompts.",
            )


def _misplaced(
    case: GateCase,
    side: GateSide,
    wrong: npt.NDArray[np.bool_],
    by: npt.NDArray[np.int64],
    where: str,
) -> Iterator[Reason]:
    """Sequences of ``wrong`` bool[S] in which a side begins ``by`` i64[S] tokens
    ``where`` (before or behind) the end of the prompt.
    """
    if not wrong.any():
        return
    low = int(by[wrong].min())
    high = int(by[wrong].max())
    distance = counted(high, "token")
    if low < high:
        distance = f"up to {distance}"
    yield caution(
        "boundary",
        f"{side.label} begins {distance} {where} the end of the prompt in"
        f" {_of(wrong, case)}: check the prompt lengths, an off-by-one puts every"
        " number at another token.",
    )


def check_start(case: GateCase) -> Iterator[Reason]:
    """The start token: twice, or missing where the tokenizer adds it; and tokenizers
    that would build other ids.
    """
    if case.differ("template_digest"):
        yield _other_template(case)
    if case.differ("adds_bos"):
        with_start, without = case.with_and_without("adds_bos")
        yield note(
            "bos",
            f"the tokenizer of {with_start.label} adds a start token and that of"
            f" {without.label} none: exchange ids, as here, never text.",
        )
    if case.pair.count:
        yield from _start_tokens(case)


def _other_template(case: GateCase) -> Reason:
    differences = template_of(case)
    if differences:
        labels = f"{case.a.label} against {case.b.label}"
        where = f" ({labels}: {sentence(differences)})"
    else:
        where = ""
    return note(
        "template",
        f"the chat templates of the two models differ{where}; both scored the"
        " session's ids, so these numbers are not affected, but prompts made from"
        " messages would be: use one template.",
        differences,
    )


def _start_tokens(case: GateCase) -> Iterator[Reason]:
    if "recorded" in (case.a.info.path, case.b.info.path):
        say = caution
    else:
        say = note
    begun, twice = _starts(case)
    if twice:
        yield say(
            "bos",
            f"{_share(twice, case)} begin with the start token twice, which no training"
            " text does: build the prompts without adding it to a template that"
            " has it.",
        )
    without = case.pair.count - begun
    if without and True in case.both("adds_bos"):
        yield say(
            "bos",
            f"the tokenizer adds a start token, but {_share(without, case)} begin"
            " without it: both sides score them alike, far from what the model was"
            " trained on.",
        )


def _starts(case: GateCase) -> tuple[int, int]:
    """Sequences that begin with what looks like a start token, and those that begin
    with it twice.
    """
    is_filled = case.lengths > 0
    lengths = case.lengths[is_filled]
    begins = case.starts[is_filled]
    ids = case.pair.sequences.token_ids
    text = case.session.pieces.text
    first_ids, counts = np.unique(ids[begins], return_counts=True)
    # The start token is one id, so the most frequent ones are enough to look at.
    most_frequent = np.argsort(-counts)[:8]
    for index in most_frequent:
        start_id = first_ids[index]
        if text(int(start_id)) in _BOS:
            is_begun = (lengths > 1) & (ids[begins] == start_id)
            second_ids = ids[begins[is_begun] + 1]
            twice = np.count_nonzero(second_ids == start_id)
            return int(counts[index]), int(twice)
    if len(first_ids) == 1:
        # One id at the start of every sequence is a start token, whatever its name.
        return case.pair.count, 0
    return 0, 0


def check_padding(case: GateCase) -> Iterator[Reason]:
    """Padding in the batches of one side, or left in the sequences of both."""
    for side, other in case.crossed:
        padding = side.facts.padding
        # `check_execution` reports graphs. Here one side alone rounds its batches up.
        if padding == _TO_GRAPHS:
            other_has_none = other.facts.padding == "none"
            if other_has_none and not case.differ("execution_mode"):
                yield case.setting(
                    "padding",
                    f"{side.label} fills batches up {padding} and {other.label} does"
                    " not, another matrix shape: set graph padding alike to see its"
                    " share.",
                )
        elif padding not in (None, "none", FILLED_BEHIND):
            yield caution(
                "padding",
                f"{side.label} was computed with padded batches ({padding}), which"
                " masks and position ids must undo: score one sequence at a time to be"
                " sure.",
            )
    if filled := _filled_up(case):
        yield caution(
            "padding",
            f"{_share(filled, case)} end in padding that counts as text, where no two"
            " engines agree: cut it off or set its mask to 0.",
        )


def _filled_up(case: GateCase) -> int:
    """Sequences whose last two counted tokens are one id that looks like padding."""
    ids = case.pair.sequences.token_ids
    ends = case.ends[case.lengths > 1]
    are_alike = ids[ends - 1] == ids[ends - 2]
    are_counted = case.counted[ends - 1] & case.counted[ends - 2]
    ends = ends[are_alike & are_counted]
    last_ids, counts = np.unique(ids[ends - 1], return_counts=True)
    filled = 0
    for token_id, sequences in zip(last_ids.tolist(), counts.tolist(), strict=True):
        text = case.session.pieces.text(token_id)
        if _PAD.fullmatch(text):
            filled += sequences
    return filled


def _of(chosen: npt.NDArray[np.bool_], case: GateCase) -> str:
    return _share(int(chosen.sum()), case)


def _share(number: int, case: GateCase) -> str:
    return f"{number:,} of {counted(case.pair.count, 'sequence')}"
