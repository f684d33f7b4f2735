"""llama.cpp's native answers of ``/completion`` with ``n_probs``: the completion, an id
beside each token.

Its log-probabilities are of the untouched logits; with ``post_sampling_probs`` it sends
probabilities of what sampling left, under the keys ``prob`` and ``top_probs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.answer_records import ServerAnswer
from logdrift.core.session.importers.scored_tokens import llamacpp_tokens

_SETTINGS = ("temperature", "top_p", "top_k", "min_p")
_FINISH = {"limit": "length", "eos": "stop", "word": "stop"}


def scored(place: Place, answer: JsonObject) -> ServerAnswer:
    """One answer. Raises InputError naming it, and for a release that names no ids."""
    entries = answer.get("completion_probabilities")
    if not isinstance(entries, list) or not entries:
        raise place.error(
            "completion_probabilities is empty", "ask llama.cpp with n_probs"
        )
    tokens = llamacpp_tokens(entries, place)
    ids = [token.token_id for token in tokens if token.token_id is not None]
    if len(ids) < len(tokens):
        raise place.error(
            "no token ids: this release of llama.cpp names texts alone",
            "use a newer one",
        )
    model = answer.get("model")
    return ServerAnswer(
        place=place,
        given=[],
        given_tokens=[],
        new=ids,
        new_tokens=tokens,
        finish=_FINISH.get(str(answer.get("stop_type")), "unknown"),
        model=model if isinstance(model, str) and model else None,
        observed=_observed(answer, "prob" in entries[0]),
    )


def _observed(answer: JsonObject, processed: bool) -> dict[str, Any]:
    mode = "processed" if processed else "raw"
    out: dict[str, Any] = {
        "engine": "llama.cpp",
        "decode_logprobs": mode,
        "prefill_logprobs": mode,
    }
    settings = answer.get("generation_settings")
    if not isinstance(settings, Mapping):
        return out
    for key in _SETTINGS:
        value = settings.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            out[key] = int(value) if key == "top_k" else float(value)
    return out
