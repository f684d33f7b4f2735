"""Sequences as lines that ``logdrift import jsonl`` reads back bit for bit.

A line says ``exact``: its numbers stand as they are
(`logdrift.core.session.importers.exact_lines` reads them). What is true of a capture
stands in its first line, and the bytes of an id in the first line that has it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.export.capture_line import CaptureLine
from logdrift.core.export.choice import ExportChoice
from logdrift.core.export.digits import json_numbers
from logdrift.core.export.json_texts import array_text, object_text, runs_text, whole
from logdrift.core.export.rows import FINISHES
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.message_roles import role_name
from logdrift.core.session.reader import Capture, Pieces, Session

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_UNKNOWN = "unknown"
"""What stands in place of the name of a model that nothing told."""


def write_jsonl(choice: ExportChoice, file: BinaryIO) -> int:
    """Write every sequence as a line; their number. Raises InputError for a choice of
    tokens: a line is a whole sequence.
    """
    if choice.kept is not None or choice.pair is not None:
        raise InputError(
            "export --to jsonl writes whole sequences: --scope, --pair and --threshold"
            " choose tokens",
            remedy="choose captures with --capture, or export --to csv",
        )
    session = choice.session
    captures = [session.capture(label) for label in choice.labels]
    texts = _NewPieces(session.pieces)
    count = len(session.sequences)
    for sequence in range(count):
        line = _SequenceLine(session, sequence, captures)
        text = line.text(texts)
        file.write(text.encode())
    return count


class _NewPieces:
    """The bytes of ids, each given once."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._given: set[int] = set()

    def of(self, token_ids: Array) -> dict[str, str]:
        """Those of ``token_ids`` that were not given before, as base64 by id."""
        texts = {}
        different = set(token_ids.tolist())
        new = different - self._given
        for token_id in sorted(new):
            piece = self._pieces.get(token_id)
            if piece is None:
                continue
            encoded = base64.b64encode(piece)
            texts[str(token_id)] = encoded.decode()
        self._given |= new
        return texts


class _SequenceLine:
    """One sequence with what the captures say of it."""

    def __init__(
        self, session: Session, sequence: int, captures: Sequence[Capture]
    ) -> None:
        self._session = session
        self._sequence = sequence
        start, stop = session.sequences.bounds(sequence)
        self._part = slice(start, stop)
        self._captures = [CaptureLine(capture, start, stop) for capture in captures]

    def text(self, texts: _NewPieces) -> str:
        entries = self._entries()
        pieces = texts.of(self._listed_ids())
        if pieces:
            entries["pieces"] = json.dumps(pieces)
        is_first = self._sequence == 0
        if is_first:
            entries |= self._model()
        bodies = {}
        for one in self._captures:
            body = one.entries(first=is_first)
            bodies[one.label] = object_text(body)
        entries["captures"] = object_text(bodies)
        return object_text(entries) + "\n"

    def _entries(self) -> dict[str, str]:
        """What is true of the sequence."""
        sequences = self._session.sequences
        sequence = self._sequence
        ids = sequences.token_ids[self._part]
        prompt = sequences.prompt_lengths[sequence]
        code = int(sequences.finish[sequence])
        entries = {
            "exact": "true",
            "token_ids": array_text(whole(ids)),
            "prompt_length": str(prompt),
            "finish": json.dumps(_finish(code)),
        }
        mask = sequences.mask[self._part]
        if not mask.all():
            entries["mask"] = array_text(whole(mask))
        if sequences.roles is not None:
            codes = sequences.roles[self._part]
            names = [role_name(code) for code in codes.tolist()]
            entries["roles"] = runs_text(names)
        return entries | self._training()

    def _training(self) -> dict[str, str]:
        """The step and the reward, where they are known."""
        sequences = self._session.sequences
        entries = {}
        if sequences.steps is not None:
            step = int(sequences.steps[self._sequence])
            if step != NO_STEP:
                entries["step"] = str(step)
        if sequences.rewards is not None:
            one = slice(self._sequence, self._sequence + 1)
            (reward,) = json_numbers(sequences.rewards[one])
            entries["reward"] = reward
        return entries

    def _model(self) -> Mapping[str, str]:
        model = self._session.manifest.model.id
        if model in ("", _UNKNOWN):
            return {}
        return {"model": json.dumps(model)}

    def _listed_ids(self) -> Array:
        """Every id that the line names."""
        ids = [self._session.sequences.token_ids[self._part]]
        ids += [one.listed_ids for one in self._captures]
        return np.concatenate(ids)


def _finish(code: int) -> str:
    """How a completion ended; unknown where a newer version has another word for it."""
    if code < len(FINISHES):
        return FINISHES[code]
    return FINISHES[0]
