"""Facts: how a backend really ran, as observed after it started, not as it was asked to
run.

A field that could not be observed stays ``None`` ("unknown" on every screen and in
every report): a missing observation is not a pass, and the gate lowers its verdict for
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from logdrift.core.session.schema import Unfit, kinds_of, maybe, table, text

LogprobSemantics = Literal["raw", "processed", "temperature_scaled"]
TieRule = Literal["strict", "inclusive"]
Batch = Literal["together", "alone"]
"""How the sequences of a part reach an engine: as one batch, or each in a batch of its
own.
"""

FILLED_BEHIND = "behind the last token"
"""`Facts.padding` where batches are filled up behind their sequences, on which no token
of a causal model looks.
"""

_NOTHING: Mapping[str, Any] = {}


class Facts(NamedTuple):
    """Observed state of one backend.

    ``decode_logprobs`` and ``prefill_logprobs`` say what the returned numbers mean on
    each path: ``raw`` is log-softmax of the untouched logits, ``temperature_scaled`` of
    logits / T, ``processed`` of logits after penalties, temperature and top-p/top-k
    truncation. ``logits_dtype`` is the precision to which logits were rounded, whatever
    they were widened to afterwards. ``rank_counts`` says how ties enter a rank:
    ``strict`` counts strictly more likely ids, ``inclusive`` also counts ids tied with
    the target. ``padding`` is how sequences are filled up to one length in a batch:
    ``none`` where an engine computes only real tokens (what graphs add to a batch is
    part of ``execution_mode``). Digests are of the files that this backend was started
    with. ``adds_bos`` and ``template_digest`` are those of the tokenizer beside its
    weights, whoever made the ids. ``config_overrides`` are fields of the model's config
    that its options changed, as the engine resolved them; empty where none was changed.
    ``top_p``, ``top_k`` and ``min_p`` are what tokens were sampled with; 1, 0 and 0 cut
    nothing off. ``weight_version`` names the weights, as a trainer counts its updates.
    ``reproducible``: each part was a batch by itself, so that it gives the same numbers
    whenever it is computed; else the engine filled its batches from many parts.
    ``told`` are the facts that a user stated of numbers from elsewhere: no engine was
    there to observe them. ``probed`` are those that a running server does not tell, and
    that were concluded from its answers to requests made for it.
    """

    engine: str | None = None
    engine_version: str | None = None
    python_version: str | None = None
    torch_version: str | None = None
    transformers_version: str | None = None
    cuda_version: str | None = None
    driver_version: str | None = None
    device: str | None = None
    device_name: str | None = None
    device_count: int | None = None
    threads: int | None = None

    dtype: str | None = None
    head_dtype: str | None = None
    logits_dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None

    decode_logprobs: LogprobSemantics | None = None
    prefill_logprobs: LogprobSemantics | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    rank_counts: TieRule | None = None

    attention_backend: str | None = None
    execution_mode: str | None = None
    model_class: str | None = None
    prefix_cache: bool | None = None
    chunked_prefill: bool | None = None
    chunk_size: int | None = None
    max_batch_sequences: int | None = None
    padding: str | None = None
    max_length: int | None = None
    tensor_parallel: int | None = None
    batch_invariant: bool | None = None
    reproducible: bool | None = None

    vocab_size: int | None = None
    logits_size: int | None = None
    weights_digest: str | None = None
    weight_version: str | None = None
    tokenizer_digest: str | None = None
    config_digest: str | None = None
    template_digest: str | None = None
    adds_bos: bool | None = None
    config_overrides: Mapping[str, Any] | None = None

    environment: Mapping[str, str] = _NOTHING
    extra: Mapping[str, Any] = _NOTHING
    told: tuple[str, ...] = ()
    probed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Every field by name; ``None`` means unknown."""
        values = self._asdict()
        return {name: _plain(value) for name, value in values.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Facts:
        """Inverse of `to_json`. Keys that a newer logdrift added are kept under
        ``extra``.

        A value of another kind than its field (a mapping as dtype) is no observation of
        it: the field stays None, and the value is kept under ``extra`` as well.
        """
        values: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in data.items():
            try:
                values[name] = _KINDS[name](value)
            except (KeyError, Unfit):
                if value is not None:
                    others[name] = value
        if others:
            values["extra"] = {**values.get("extra", {}), **others}
        return cls(**values)


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    return value


# These are any text: a newer engine may need words that this version does not know,
# and they are compared and shown as they are.
_KINDS = kinds_of(
    Facts,
    decode_logprobs=maybe(text),
    prefill_logprobs=maybe(text),
    rank_counts=maybe(text),
    environment=table(_as_text),
)
