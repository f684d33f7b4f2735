"""What a signature needs before it may speak: without it, its causes appear under *Not
checked*, never as passed or failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.fits import MIN_GAPS
from logdrift.core.diagnose.view import MIN_SHARED, count_of
from logdrift.core.numbers import counted

RECORDED = "capture the same token ids with logdrift"
"""The fix for what an imported file does not say."""
WIDER_LISTS = f"capture with top_k of at least {MIN_SHARED} on both sides"

LONG = 24
"""Scored tokens from which a sequence's start can be told from its end, and which each
of two groups of tokens needs to be held against the other. By judgement.
"""
FIRST_TOKENS = 3
"""The last position of a sequence's first tokens, which no rotation of RoPE moves much.
"""
LINE_ROWS = 30
"""Tokens with shared alternatives from which a line through them means anything. By
judgement.
"""


class Lack(NamedTuple):
    """What is missing for a signature, and how the user can give it."""

    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Need:
    """One condition. ``lacking`` returns what is missing in a case, None where the
    condition holds.
    """

    lacking: Callable[[Case], Lack | None]


def tokens(count: int) -> Need:
    """At least ``count`` tokens with a finite score on both sides."""

    def lacking(case: Case) -> Lack | None:
        scored = len(case.view.at)
        if scored >= count:
            return None
        return Lack(
            f"both sides score {counted(scored, 'token')}, {count} are needed",
            "capture more tokens",
        )

    return Need(lacking)


def long_sequences(count: int, length: int) -> Need:
    """At least ``count`` sequences with ``length`` tokens scored on both sides."""

    def lacking(case: Case) -> Lack | None:
        scored = np.bincount(case.view.sequence, minlength=max(case.pair.count, 1))
        long = count_of(scored >= length)
        if long >= count:
            return None
        several = "sequence has" if long == 1 else "sequences have"
        needed = counted(count, "sequence")
        return Lack(
            f"{long:,} {several} {length} tokens scored on both sides, {count} must",
            f"capture at least {needed} of more than {length} tokens",
        )

    return Need(lacking)


def listed_rows(count: int, width: int) -> Need:
    """At least ``count`` tokens for which both sides list ``width`` alternatives or
    more.
    """

    def lacking(case: Case) -> Lack | None:
        narrow = min(case.pair.a.top_k, case.pair.b.top_k)
        if narrow == 0:
            return Lack("no top-k lists on both sides", WIDER_LISTS)
        listed = count_of(case.view.list_width >= width)
        if listed >= count:
            return None
        if narrow < width:
            why = (
                f"too few alternatives: the top-k lists hold {narrow}, {width} are"
                " needed"
            )
            return Lack(why, WIDER_LISTS)
        why = (
            f"both sides list {width} alternatives for {counted(listed, 'token')},"
            f" {count} are needed"
        )
        return Lack(why, "capture more tokens with their lists")

    return Need(lacking)


def shared_rows(count: int) -> Need:
    """At least ``count`` tokens whose two lists share enough ids for a fit."""
    width = listed_rows(count, MIN_SHARED)

    def lacking(case: Case) -> Lack | None:
        missing = width.lacking(case)
        if missing is not None:
            return missing
        sharing = len(case.view.shared.at)
        if sharing >= count:
            return None
        why = (
            f"both lists share {MIN_SHARED} alternatives at"
            f" {counted(sharing, 'token')}, {count} are needed"
        )
        return Lack(why, "capture more tokens, or wider lists")

    return Need(lacking)


def _gaps(case: Case) -> Lack | None:
    if min(lattice.gaps for lattice in case.lattices) >= MIN_GAPS:
        return None
    return Lack("too few alternatives for the lattice of the logits", WIDER_LISTS)


def _start(case: Case) -> Lack | None:
    if (case.view.position <= FIRST_TOKENS).any():
        return None
    return Lack(
        "no token at the start of a sequence is scored on both sides",
        "capture scores of the prompts too (path prefill)",
    )


def _both_parts(case: Case) -> Lack | None:
    inside = case.view.in_completion
    if min(int(inside.sum()), int((~inside).sum())) >= LONG:
        return None
    return Lack(
        "prompts and completions are not both scored on both sides",
        "capture scores of the prompts too (path prefill)",
    )


def _batches(case: Case) -> Lack | None:
    if all(info.path != "recorded" for info in case.infos):
        return None
    return Lack("which sequences shared a batch is not recorded", RECORDED)


START = Need(_start)
"""A scored token among the first of a sequence."""
GAPS = Need(_gaps)
"""Enough gaps between alternatives for a lattice."""
PROMPTS_AND_COMPLETIONS = Need(_both_parts)
"""At least `LONG` tokens of each."""
BATCHES = Need(_batches)
"""Parts that are batches: logdrift's own captures."""
