"""Lists of the most likely ids as vLLM packs them for ``packed_top_logprobs``: bytes of
whole tables in base64.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from logdrift.core.session.files import JsonObject


class Alternatives(NamedTuple):
    """What names the alternatives of a token (`named_ids`), and their
    log-probabilities, both as written.
    """

    names: Collection[Any] = ()
    logprobs: Collection[Any] = ()


NO_ALTERNATIVES = Alternatives()


def packed_rows(packed: JsonObject | list[JsonObject]) -> list[Alternatives]:
    """The most likely ids of each token. ``packed`` is a block with ``shape`` [tokens,
    k], ``token_ids_b64`` (little-endian int32) and ``logprobs_b64`` (float32), or the
    blocks of a stream.

    Raises ValueError, TypeError and KeyError for anything else.
    """
    blocks = packed
    if isinstance(packed, dict):
        blocks = [packed]
    rows: list[Alternatives] = []
    for block in blocks:
        ids = _table(block, "token_ids", "<i4")
        logprobs = _table(block, "logprobs", "<f4")
        lists = zip(ids.tolist(), logprobs.tolist(), strict=True)
        rows += [Alternatives(*row) for row in lists]
    return rows


def _table(block: Any, name: str, dtype: str) -> npt.NDArray[Any]:
    """The table ``name`` of a block, with one row a token."""
    written = block.get(f"{name}_dtype", dtype)
    if written != dtype:
        raise ValueError(f"{name} are {written}, not {dtype}")
    text = block[f"{name}_b64"]
    data = base64.b64decode(text, validate=True)
    values = np.frombuffer(data, dtype)
    shape = block["shape"]
    return values.reshape(shape)
