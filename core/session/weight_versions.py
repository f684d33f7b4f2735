"""With which version of the weights tokens were sampled: one name for a run of tokens.

An engine that gets new weights while it generates goes on with the same sequence, so a
sequence may have several versions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    VersionArray = npt.NDArray[np.int32]

UNKNOWN_VERSION = -1
"""Stands for a version that is not known, in the column ``versions``."""
LONGEST_VERSION = 100
"""Characters of a version's name that are kept."""


class VersionSpan(NamedTuple):
    """``tokens`` tokens that follow one another and have one version; None: it is not
    known.
    """

    version: str | None
    tokens: int


VersionSpans = tuple[VersionSpan, ...]


def span_tokens(spans: Iterable[VersionSpan]) -> int:
    """How many tokens the spans cover."""
    return sum(span.tokens for span in spans)


def first_spans(spans: VersionSpans, length: int) -> VersionSpans:
    """The spans of the first ``length`` tokens."""
    kept = []
    left = length
    for version, tokens in spans:
        count = min(tokens, left)
        if count > 0:
            span = VersionSpan(version, count)
            kept.append(span)
        left -= count
    return tuple(kept)


def spans_of(versions: Iterable[str | None]) -> VersionSpans:
    """The spans of one version a token."""
    spans = []
    for version, run in itertools.groupby(versions):
        tokens = sum(1 for _ in run)
        spans.append(VersionSpan(version, tokens))
    return tuple(spans)


def version_names(sequences: Iterable[VersionSpans | None]) -> tuple[str, ...]:
    """The versions of several sequences, each once, in order."""
    names: dict[str, None] = {}
    for spans in sequences:
        for version, _ in spans or ():
            if version is not None:
                names[version] = None
    return tuple(names)


def version_column(
    sequences: Sequence[VersionSpans | None],
    lengths: Sequence[int],
    names: Sequence[str],
) -> VersionArray:
    """i32[N]: the place in ``names`` of the version of each token, -1 unknown."""
    places: dict[str | None, int] = {None: UNKNOWN_VERSION}
    for place, name in enumerate(names):
        places[name] = place
    columns = [np.empty(0, np.int32)]
    for spans, length in zip(sequences, lengths, strict=True):
        if spans is None:
            spans = (VersionSpan(None, length),)
        values = [places[version] for version, _ in spans]
        counts = [tokens for _, tokens in spans]
        column = np.repeat(np.array(values, np.int32), counts)
        columns.append(column)
    return np.concatenate(columns)
