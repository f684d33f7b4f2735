"""A written part of a capture, put right when the whole file has been read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors.numpy import load

from logdrift.core.session.importers.fillers import Correction
from logdrift.core.session.layout import Part
from logdrift.core.session.scores import Array, Scores, widened
from logdrift.core.session.writer import write_part

Tensors = Mapping[str, Array]
"""Those of a part by name."""
_FILLERS = {"top_ids": -1, "top_logprobs": math.nan}
"""What fills a row of alternatives up."""


class _Rows(NamedTuple):
    """The entries of one sequence in the tensors of a part."""

    rows: slice
    prompt_length: int


def corrected_part(
    folder: Path,
    part: Part,
    sequences: str,
    width: int,
    correction: Correction,
) -> Part:
    """Write a part of a capture again, with ``width`` alternatives and corrected, and
    return its manifest entry. ``sequences`` is the file of the part's sequences.

    Errors are those of `write_part`.
    """
    tensors = _loaded(folder / part.file)
    if correction.is_needed:
        of_sequences = _loaded(folder / sequences)
        for one in _sequences(of_sequences):
            scores = _scores(tensors, one.rows)
            correction.apply(scores, one.prompt_length)
    nan = tensors.get("nan")
    if nan is not None and not nan.any():
        del tensors["nan"]
    for name, filler in _FILLERS.items():
        table = tensors[name]
        tensors[name] = widened(table, width, filler)
    written = write_part(
        folder,
        part.file,
        tensors,
        first_sequence=part.first_sequence,
        sequences=part.sequences,
        tokens=part.tokens,
    )
    return part._replace(digest=written.digest)


def _loaded(path: Path) -> dict[str, Array]:
    """The tensors of a file, writable."""
    data = path.read_bytes()
    tensors = load(data)
    return {name: tensor.copy() for name, tensor in tensors.items()}


def _sequences(tensors: Tensors) -> Iterator[_Rows]:
    offsets = tensors["offsets"]
    lengths = tensors["prompt_lengths"]
    prompt_lengths = lengths.tolist()
    bounds = itertools.pairwise(offsets.tolist())
    pairs = zip(bounds, prompt_lengths, strict=True)
    for (start, stop), prompt_length in pairs:
        rows = slice(start, stop)
        yield _Rows(rows, prompt_length)


def _scores(tensors: Tensors, rows: slice) -> Scores:
    """The scores of one sequence, as views of the part's tensors."""
    views = {name: tensor[rows] for name, tensor in tensors.items()}
    return Scores(
        logprob=views["logprob"],
        rank=views["rank"],
        top_ids=views["top_ids"],
        top_logprobs=views["top_logprobs"],
        entropy=views.get("entropy"),
        nan=views.get("nan"),
    )
