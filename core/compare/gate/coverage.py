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
    count,
    note,
    refuse,
)
from logdrift.core.compare.gate.loaded import template_of
from logdrift.core.compare.loaded import sentence
from logdrift.core.session.layout import ids_digest

if TYPE_CHECKING:
    import numpy.typing as npt

# What sequences begin with by themselves, and what batches are filled up with, as
# tokenizers call them.
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
_PAD = re.compile(
    r"\[PAD\]|</s>|<eos>|<unk>|<[|｜]?\S*pad\S*[|｜]?>|<\|(endoftext|end_of_text|im_end|eot_id)\|>"
)

_TO_GRAPHS = "to graph sizes"
"""Facts.padding of engines that replay a captured graph: the sequences themselves are
not padded.
"""


def check_ids(case: GateCase) -> Iterator[Reason]:
    """Every part must have scored the ids that the session holds; the reader has seen
    to it that it covers them.
    """
    sequences = case.pair.sequences
    digests: dict[tuple[int, int], str] = {}  # both sides mostly have the same parts
    for side in case.sides:
        at = 0
        for part in side.info.parts:
            last = at + part.sequences
            where = f"sequences {at} to {last - 1}"
            if part.ids_digest is not None:
                span = (int(sequences.offsets[at]), int(sequences.offsets[last]))
                if span not in digests:
                    digests[span] = ids_digest(sequences.token_ids[slice(*span)])
                if part.ids_digest != digests[span]:
                    yield refuse(
                        "ids",
                        f"{side.label} scored other token ids in {where} than the"
                        " session holds, so its numbers are of other tokens: capture"
                        " it again from these ids.",
                    )
                    break
            at = last


def check_tokens(case: GateCase) -> Iterator[Reason]:
    """Something must be left to compare, and sequences without a completion are
    said.
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
    bare = int((case.prompt_lengths == case.lengths).sum())
    if 0 < bare < case.pair.count:
        yield note(
            "no_completion",
            f"{_share(bare, case)} have no completion, so numbers over completions"
            " leave them out: look at them with --scope prompt.",
        )


def _entries(case: GateCase, side: GateSide) -> npt.NDArray[np.int64]:
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
    at = np.searchsorted(entries, begin)
    found = np.append(entries, np.iinfo(np.int64).max)[at]
    inside: npt.NDArray[np.int64] = np.where(
        found < case.pair.sequences.offsets[1 : case.pair.count + 1], found, -1
    )
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
                f"{side.label} takes {limit:,} tokens at most and the longest sequence"
                f" has {longest:,}, so it cannot have seen all of it: raise its maximum"
                " length, or capture shorter sequences.",
            )
        elif side.info.path == "prefill":
            yield from _tails(case, side, other)


def _tails(case: GateCase, side: GateSide, other: GateSide) -> Iterator[Reason]:
    """A prefill scores all but the first token; one that begins later was cut, or
    scored only the end.
    """
    second = case.pair.sequences.offsets[: case.pair.count] + 1
    first = _first(case, _entries(case, side), second)
    late = first > second
    if not late.any():
        return
    if other.info.path == "prefill" and np.array_equal(
        _first(case, _entries(case, other), second), first
    ):
        return
    ends = second + np.maximum(case.prompt_lengths - 1, 0)
    if bool((first == ends)[first >= 0].all()):
        yield caution(
            "boundary",
            f"{side.label} has scores for the completions only: make sure that it was"
            " given the prompts before them.",
        )
        return
    worst = int((first - second)[late].max()) + 1
    yield refuse(
        "truncated",
        f"{side.label} has no score before token {worst:,} in {_of(late, case)}: its"
        " context was cut, or it scored only the end: give it the whole sequences.",
    )


def check_notes(case: GateCase) -> Iterator[Reason]:
    """What an import, or a capture of the lines' own numbers, left out or joined, kept
    with the session.
    """
    if case.session.plan is None:
        source = "import"
    else:
        source = "lines of the prompts"
    for said in case.session.manifest.notes:
        yield note("imported", f"{source}: {said}.")


def check_boundary(case: GateCase) -> Iterator[Reason]:
    """What was decoded begins where the session's prompts end; one off, and every
    number is at another token.
    """
    starts = case.pair.sequences.offsets[: case.pair.count]
    ends = starts + np.maximum(case.prompt_lengths, 1)
    completed = case.lengths > ends - starts
    for side in case.sides:
        if not case.pair.count or not (side.decodes or side.info.path == "recorded"):
            continue
        first = _first(case, _entries(case, side), ends)
        yield from _off(case, side, completed & (first > ends), first - ends, "behind")
        if side.decodes:
            begun = _first(case, np.flatnonzero(case.answered(side)), starts + 1)
            yield from _off(
                case,
                side,
                completed & (begun >= 0) & (begun < ends),
                ends - begun,
                "before",
            )


def _off(
    case: GateCase,
    side: GateSide,
    wrong: npt.NDArray[np.bool_],
    by: npt.NDArray[np.int64],
    where: str,
) -> Iterator[Reason]:
    if wrong.any():
        low = int(by[wrong].min())
        high = int(by[wrong].max())
        if low == high:
            far = count(high, "token")
        else:
            far = f"up to {count(high, 'token')}"
        yield caution(
            "boundary",
            f"{side.label} begins {far} {where} the end of the prompt in"
            f" {_of(wrong, case)}: check the prompt lengths, an off-by-one puts every"
            " number at another token.",
        )


def check_start(case: GateCase) -> Iterator[Reason]:
    """The start token: twice, or missing where the tokenizer adds it; and tokenizers
    that would build other ids.
    """
    if case.differ("template_digest"):
        found = template_of(case)
        if found:
            where = f" ({case.a.label} against {case.b.label}: {sentence(found)})"
        else:
            where = ""
        yield note(
            "template",
            f"the chat templates of the two models differ{where}; both scored the"
            " session's ids, so these numbers are not affected, but prompts made from"
            " messages would be: use one template.",
            found,
        )
    adds = case.both("adds_bos")
    if case.differ("adds_bos"):
        with_start, without = (case.a, case.b) if adds[0] else (case.b, case.a)
        yield note(
            "bos",
            f"the tokenizer of {with_start.label} adds a start token and that of"
            f" {without.label} none: exchange ids, as here, never text.",
        )
    if not case.pair.count:
        return
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
    if True in adds and begun < case.pair.count:
        yield say(
            "bos",
            "the tokenizer adds a start token, but"
            f" {_share(case.pair.count - begun, case)} begin without it: both sides"
            " score them alike, far from what the model was trained on.",
        )


def _starts(case: GateCase) -> tuple[int, int]:
    """Sequences that begin with what looks like a start token, and those that begin
    with it twice.
    """
    begins = case.pair.sequences.offsets[: case.pair.count][case.lengths > 0]
    ids = case.pair.sequences.token_ids
    text = case.session.pieces.text
    firsts, counts = np.unique(ids[begins], return_counts=True)
    # The start token is one id, so the most frequent ones are enough to look at.
    known = [i for i in np.argsort(-counts)[:8] if text(int(firsts[i])) in _BOS]
    if not known:
        # One id at the start of every sequence is a start token, whatever its name.
        begun = case.pair.count if len(firsts) == 1 else 0
        return begun, 0
    pairs = begins[
        (case.lengths[case.lengths > 0] > 1) & (ids[begins] == firsts[known[0]])
    ]
    return int(counts[known[0]]), int((ids[pairs + 1] == ids[pairs]).sum())


def check_padding(case: GateCase) -> Iterator[Reason]:
    """Padding in the batches of one side, or left in the sequences of both."""
    for side, other in case.crossed:
        padding = side.facts.padding
        # `check_execution` reports graphs. Here one side alone rounds its batches up.
        if padding == _TO_GRAPHS:
            if other.facts.padding == "none" and not case.differ("execution_mode"):
                said = (
                    f"{side.label} fills batches up {padding} and {other.label} does"
                    " not, another matrix shape"
                )
                yield case.setting(
                    "padding", f"{said}: set graph padding alike to see its share."
                )
        elif padding is not None and padding != "none":
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
    ends = case.pair.sequences.offsets[1 : case.pair.count + 1][case.lengths > 1]
    ids = case.pair.sequences.token_ids
    ends = ends[
        (ids[ends - 1] == ids[ends - 2])
        & case.counted[ends - 1]
        & case.counted[ends - 2]
    ]
    text = case.session.pieces.text
    last, counts = np.unique(ids[ends - 1], return_counts=True)
    return sum(
        int(n)
        for i, n in zip(last, counts, strict=True)
        if _PAD.fullmatch(text(int(i)))
    )


def _of(chosen: npt.NDArray[np.bool_], case: GateCase) -> str:
    return _share(int(chosen.sum()), case)


def _share(number: int, case: GateCase) -> str:
    return f"{number:,} of {count(case.pair.count, 'sequence')}"
