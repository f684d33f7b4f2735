"""SGLang's native answers of ``/generate``: ``meta_info`` with ``[log-probability, id,
text]`` of prompt and completion.

``input_token_logprobs`` begin at ``logprob_start_len`` and their first entry has no
score. SGLang writes 0 for the last id of the vocabulary there, so the ids of
``prompt_token_ids`` go first, where it was asked for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.importers.records import ids_of
from logdrift.core.session.importers.rows import Row, sglang_rows
from logdrift.core.session.importers.scored import Scored, filled

_UNREAD = (
    "input_token_ids_logprobs",
    "output_token_ids_logprobs",
    "input_top_logprobs_val_flat",
    "output_top_logprobs_val_flat",
    "output_token_sampling_mask",
    "routed_experts",
    "hidden_states",
)
_DEFAULT_VERSION = "default"
"""What SGLang calls weights that nobody has updated."""


def scored(where: str, answer: Mapping[str, Any]) -> Scored:
    """One answer. Raises InputError naming it."""
    meta = answer["meta_info"]
    if not isinstance(meta, Mapping):
        raise InputError(f"{where}: meta_info is no object")
    before, behind = (_rows(meta, side, where) for side in ("input", "output"))
    if not before and not behind:
        raise InputError(
            f'{where}: has no log-probabilities: ask SGLang with "return_logprob": true'
        )
    given, given_rows = _prompt(answer, meta, before, where)
    new = _named(behind, where)
    told = answer.get("output_ids")
    if told and ids_of(told, where, "output_ids").tolist() != new:
        raise InputError(
            f"{where}: output_ids are not the ids of output_token_logprobs"
        )
    return Scored(
        where=where,
        given=given,
        given_rows=given_rows,
        new=new,
        new_rows=behind,
        finish=_finish(meta.get("finish_reason")),
        observed=_observed(meta),
        unread=filled(meta, _UNREAD),
    )


def _rows(meta: Mapping[str, Any], side: str, where: str) -> list[Row]:
    values = meta.get(f"{side}_token_logprobs") or []
    if not isinstance(values, list):
        raise InputError(f"{where}: {side}_token_logprobs is no list")
    return sglang_rows(
        values, meta.get(f"{side}_top_logprobs"), f"{where}: {side}_token_logprobs"
    )


def _prompt(
    answer: Mapping[str, Any], meta: Mapping[str, Any], rows: list[Row], where: str
) -> tuple[Sequence[int], list[Row]]:
    told = answer.get("prompt_token_ids") or meta.get("prompt_token_ids")
    if not told:
        return _named(rows, where), rows
    ids = ids_of(told, where, "prompt_token_ids").tolist()
    if len(rows) > len(ids):
        raise InputError(
            f"{where}: {len(rows)} input_token_logprobs for {len(ids)} ids of the"
            " prompt"
        )
    missing = len(ids) - len(rows)
    for token_id, row in zip(ids[missing:], rows, strict=True):
        if row.token_id not in (token_id, 0):
            raise InputError(
                f"{where}: input_token_logprobs name id {row.token_id} where the prompt"
                f" has {token_id}"
            )
    return ids, [Row()] * missing + rows


def _named(rows: Sequence[Row], where: str) -> list[int]:
    for index, row in enumerate(rows):
        if row.token_id is None:
            raise InputError(
                f"{where}: entry {index} of a token's log-probabilities names no id"
            )
    return [row.token_id for row in rows if row.token_id is not None]


def _finish(reason: Any) -> str:
    kind = reason.get("type") if isinstance(reason, Mapping) else reason
    return {"stop": "stop", "length": "length"}.get(str(kind), "unknown")


def _observed(meta: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"engine": "sglang"}
    version = meta.get("weight_version")
    if isinstance(version, str | int) and str(version) != _DEFAULT_VERSION:
        out["weight_version"] = str(version)[:100]
    return out
