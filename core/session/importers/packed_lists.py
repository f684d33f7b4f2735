"""Lists of the most likely ids as vLLM packs them for ``packed_top_logprobs``: bytes of
whole tables in base64.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.session.files import JsonObject

Alternatives = tuple[tuple[int | None, Any], ...]
"""(id, log-probability as written) of each; id None where text alone is named."""


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
        for row_ids, row_logprobs in zip(ids, logprobs, strict=True):
            row = zip(row_ids.tolist(), row_logprobs.tolist(), strict=True)
            rows.append(tuple(row))
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
