"""The digest of the token ids that a capture scored, as its engine was sent them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt


def ids_digest(token_ids: npt.NDArray[Any]) -> str:
    """``sha256:`` and 64 hex digits of token ids as little-endian int32, one after the
    other: 3 ms for a million.
    """
    little_endian = np.ascontiguousarray(token_ids, "<i4")
    hasher = hashlib.sha256(little_endian.data)
    return f"sha256:{hasher.hexdigest()}"
