"""What of a session is exported: which captures, and which of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare.pair import Pair, Scope, completion_mask, make_pair
from logdrift.core.compare.pairs import label_of
from logdrift.core.errors import InputError
from logdrift.core.session.reader import Session

if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ExportChoice:
    """The captures called ``labels``, and the tokens that ``kept`` keeps.

    ``pair`` gives every row its delta; None: rows have none.
    """

    session: Session
    labels: tuple[str, ...]
    pair: Pair | None
    kept: Bools | None
    """bool[N] over the session's tokens; None: all of them."""


def choose(
    session: Session,
    captures: Sequence[str] = (),
    pair: tuple[str, str] | None = None,
    scope: Scope = "all",
    threshold: float | None = None,
) -> ExportChoice:
    """Choose captures by label, backend or role; without any, all that have a finished
    sequence.

    ``pair`` chooses its two captures, and ``threshold`` the tokens of a pair whose
    |delta| is at least so many nats. Raises InputError for unknown captures, for both
    ways to name them, and where there is nothing to export.
    """
    if captures and pair:
        raise InputError("--capture and --pair both choose captures: give one of them")
    if threshold is not None and pair is None:
        raise InputError(
            "--threshold is about the delta of a pair: give --pair A:B too"
        )
    labels = _labels(session, pair or captures)
    if not labels:
        raise InputError(
            f"session {session.folder}: no capture has a finished sequence",
            remedy="go on with logdrift capture --resume",
        )
    compared = None
    if pair is not None:
        compared = make_pair(session, *pair)
    kept = _kept(session, scope, compared, threshold)
    return ExportChoice(session, labels, compared, kept)


def _labels(session: Session, named: Sequence[str]) -> tuple[str, ...]:
    """The labels that are meant, each once."""
    if named:
        labels = [label_of(session, name) for name in named]
    else:
        labels = [info.label for info in session.captures if info.sequences]
    different = dict.fromkeys(labels)
    return tuple(different)


def _kept(
    session: Session, scope: Scope, pair: Pair | None, threshold: float | None
) -> Bools | None:
    kept = _within(session, scope)
    if pair is None or threshold is None:
        return kept
    beyond = np.zeros(session.sequences.tokens, np.bool_)
    size = np.abs(pair.delta)
    beyond[: pair.tokens] = size >= threshold
    if kept is None:
        return beyond
    return kept & beyond


def _within(session: Session, scope: Scope) -> Bools | None:
    """The tokens of a scope, whether they count or not."""
    if scope == "all":
        return None
    sequences = session.sequences
    in_completion = completion_mask(sequences, len(sequences))
    if scope == "completion":
        return in_completion
    return ~in_completion
