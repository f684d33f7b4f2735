"""Some sequences of a session, as a session of their own in memory: what is asked of
the steps of a recording is then what is asked of any session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from logdrift.core.session.contents import Capture, Sequences
from logdrift.core.session.layout import CaptureInfo, Part
from logdrift.core.session.reader import Session
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.tensors import Column

if TYPE_CHECKING:
    Array = npt.NDArray[Any]

_IN_MEMORY = "in memory"
"""In place of the name of a part's file."""


def with_sequences(
    session: Session, labels: Sequence[str], chosen: npt.NDArray[np.int64]
) -> Session:
    """``session`` with the captures ``labels`` over the sequences ``chosen`` i64[n]
    alone, in their order.

    They are read whole. Raises InputError as the session itself does where a part is
    damaged.
    """
    sequences = session.sequences
    captures = [session.capture(label) for label in labels]
    # A capture that is being written has the first sequences alone.
    finished = min(capture.sequences for capture in captures)
    chosen = chosen[chosen < finished]
    tokens = _tokens_of(sequences, chosen)
    picked = _picked(sequences, chosen, tokens)
    of_labels = {}
    for capture in captures:
        own = _capture_of(capture, picked, tokens)
        of_labels[capture.info.label] = own
    infos = [capture.info for capture in of_labels.values()]
    part = _part_of(len(chosen), len(tokens))
    listed = session.manifest.sequences._replace(
        planned=len(chosen), parts=(part,), retokenised=None, ahead=()
    )
    manifest = session.manifest._replace(sequences=listed, captures=tuple(infos))
    selected = Session(session.folder, manifest, session._stamp, session.patient)
    selected._captures.update(of_labels)
    # The slot of a cached property, which would read the parts of the folder.
    selected.__dict__["sequences"] = picked
    selected.__dict__["pieces"] = session.pieces
    return selected


def _tokens_of(sequences: Sequences, chosen: Array) -> Array:
    """The flat positions of the tokens of some sequences, i64[N]."""
    spans = [np.empty(0, np.int64)]
    for sequence in chosen.tolist():
        start, stop = sequences.bounds(sequence)
        span = np.arange(start, stop)
        spans.append(span)
    return np.concatenate(spans)


def _picked(sequences: Sequences, chosen: Array, tokens: Array) -> Sequences:
    lengths = np.diff(sequences.offsets)[chosen]
    ends = np.cumsum(lengths, dtype=np.int64)
    return Sequences(
        token_ids=sequences.token_ids[tokens],
        offsets=np.concatenate([np.zeros(1, np.int64), ends]),
        prompt_lengths=sequences.prompt_lengths[chosen],
        mask=sequences.mask[tokens],
        finish=sequences.finish[chosen],
        roles=_rows(sequences.roles, tokens),
        steps=_rows(sequences.steps, chosen),
        rewards=_rows(sequences.rewards, chosen),
    )


def _rows(values: Array | None, places: Array) -> Array | None:
    if values is None:
        return None
    rows: Array = values[places]
    return rows


def _capture_of(capture: Capture, picked: Sequences, tokens: Array) -> Capture:
    info = _info_of(capture.info, picked)
    versions, names = _versions_of(capture, tokens)
    return capture._replace(
        info=info,
        sequences=len(picked),
        logprob=_column(capture.logprob, tokens),
        rank=_column(capture.rank, tokens),
        top_ids=_column(capture.top_ids, tokens),
        top_logprobs=_column(capture.top_logprobs, tokens),
        entropy=_column_or_none(capture.entropy, tokens),
        nan=_column_or_none(capture.nan, tokens),
        versions=versions,
        version_names=names,
    )


def _info_of(info: CaptureInfo, picked: Sequences) -> CaptureInfo:
    """One part of the ids that were scored, where the whole capture is known to have
    scored those of the session.
    """
    part = _part_of(len(picked), picked.tokens)
    if all(own.ids_digest is not None for own in info.finished):
        part = part._replace(ids_digest=ids_digest(picked.token_ids))
    return info._replace(parts=(part,), ahead=())


def _part_of(sequences: int, tokens: int) -> Part:
    return Part(file=_IN_MEMORY, first_sequence=0, sequences=sequences, tokens=tokens)


def _column(column: Column, tokens: Array) -> Column:
    rows = column.whole()[tokens]
    return Column([rows])


def _column_or_none(column: Column | None, tokens: Array) -> Column | None:
    if column is None:
        return None
    return _column(column, tokens)


def _versions_of(
    capture: Capture, tokens: Array
) -> tuple[Column | None, tuple[str, ...]]:
    """The versions of some tokens, and the names of those that occur."""
    column = capture.versions
    if column is None:
        return None, ()
    places = column.whole()[tokens]
    known = np.unique(places[places >= 0])
    names = [capture.version_names[place] for place in known.tolist()]
    renamed = np.searchsorted(known, places)
    own_places = np.where(places >= 0, renamed, -1).astype(np.int32)
    return Column([own_places]), tuple(names)
