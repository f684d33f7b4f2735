"""What a session holds: token ids, the scores of captures, and the text of ids."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from logdrift.core.session.files import JsonObject
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.schema import Unfit, shown
from logdrift.core.session.tensors import Column
from logdrift.core.session.visible import visible_bytes

if TYPE_CHECKING:
    import numpy as np

    # Not imported to open a session: together a tenth of what that costs.
    import numpy.typing as npt


NO_STEP = -1
"""In place of a training step that is not known."""


@dataclass(frozen=True, eq=False, repr=False)
class Sequences:
    """Token ids of all finished sequences.

    token_ids i32[N], offsets i64[S+1], prompt_lengths i32[S], mask u8[N] (1 = counts in
    metrics), finish u8[S] (`logdrift.core.session.writer.FINISH_CODES`).

    roles u8[N] say from whose message a token is
    (`logdrift.core.session.message_roles`); None where nothing tells. steps i64[S] are
    the training steps in which the sequences were recorded (`NO_STEP`: unknown),
    rewards f32[S] what they earned (NaN: unknown); None where nothing tells.
    """

    token_ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    prompt_lengths: npt.NDArray[np.int32]
    mask: npt.NDArray[np.uint8]
    finish: npt.NDArray[np.uint8]
    roles: npt.NDArray[np.uint8] | None = None
    steps: npt.NDArray[np.int64] | None = None
    rewards: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.prompt_lengths)

    @property
    def tokens(self) -> int:
        return len(self.token_ids)

    def bounds(self, sequence: int) -> tuple[int, int]:
        """(start, stop) of a sequence in the flat arrays."""
        start = self.offsets[sequence]
        stop = self.offsets[sequence + 1]
        return int(start), int(stop)

    def ids(self, sequence: int) -> npt.NDArray[np.int32]:
        start, stop = self.bounds(sequence)
        return self.token_ids[start:stop]


class Capture(NamedTuple):
    """A capture's arrays over its finished sequences, flat in the order of `Sequences`.

    logprob f32[N], rank i32[N], top_ids i32[N, K], top_logprobs f32[N, K], entropy
    f32[N] or None (nats). nan u8[N]: 1 where the score was computed and is NaN. Where
    nan is None, every NaN of ``logprob`` is a missing score.

    versions i32[N] are places in ``version_names``: the weights with which this backend
    sampled a token, -1 where that is not known; None where it is known of no token.
    """

    info: CaptureInfo
    sequences: int
    logprob: Column
    rank: Column
    top_ids: Column
    top_logprobs: Column
    entropy: Column | None
    nan: Column | None = None
    versions: Column | None = None
    version_names: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        return len(self.logprob)

    @property
    def top_k(self) -> int:
        return self.top_ids.width


class Pieces(Mapping[int, bytes]):
    """id -> bytes of every id that occurs in the session."""

    def __init__(self, encoded: Mapping[str, str]) -> None:
        self._encoded = encoded
        self._shown: dict[int, str] = {}

    def __getitem__(self, token_id: int) -> bytes:
        encoded = self._encoded[str(token_id)]
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise KeyError(token_id) from None

    def __iter__(self) -> Iterator[int]:
        return (int(key) for key in self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)

    def text(self, token_id: int) -> str:
        """The piece as text that is safe on a terminal; ``<id N>`` where the session
        does not know it.
        """
        shown = self._shown.get(token_id)
        if shown is not None:
            return shown
        piece = self.get(token_id)
        if piece is None:
            shown = f"<id {token_id}>"
        else:
            shown = visible_bytes(piece)
        self._shown[token_id] = shown
        return shown


def encoded_pieces(value: Any) -> dict[str, str]:
    """An object of texts by id, for `Pieces`. The texts stay encoded: few of them are
    ever asked for. Raises `schema.Unfit`.
    """
    if not isinstance(value, dict):
        raise Unfit("is not an object")
    if "" not in value and _all_fit(value):
        return value
    for key, text in value.items():
        if not isinstance(text, str):
            unfit = Unfit(f"is {shown(text)}: a text is expected")
            raise unfit.inside(key[:40])
        if not _is_digits(key):
            raise Unfit(f"{shown(key)} is not a token id")
    return value


def _all_fit(value: JsonObject) -> bool:
    """Whether every key is an id and every value a text, looked at all at once: a
    vocabulary has 100,000 entries, and the first screen waits.
    """
    joined_keys = "".join(value)
    if not _is_digits(joined_keys):
        return False
    types = set(map(type, value.values()))
    return types <= {str}


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
