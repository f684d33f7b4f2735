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
from logdrift.core.session.importers.columns import is_real
from logdrift.core.session.importers.scored_tokens import ScoredTokens, llamacpp_tokens

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
    is_processed = "prob" in entries[0]
    return ServerAnswer(
        place=place,
        given=[],
        given_tokens=[],
        new=_ids(tokens, place),
        new_tokens=tokens,
        finish=_finish(answer),
        model=_model(answer),
        observed=_observed(answer, is_processed),
    )


def _ids(tokens: ScoredTokens, place: Place) -> list[int]:
    ids = []
    for token in tokens:
        if token.token_id is None:
            raise place.error(
                "no token ids: this release of llama.cpp names texts alone",
                "use a newer one",
            )
        ids.append(token.token_id)
    return ids


def _finish(answer: JsonObject) -> str:
    reason = str(answer.get("stop_type"))
    return _FINISH.get(reason, "unknown")


def _model(answer: JsonObject) -> str | None:
    model = answer.get("model")
    if isinstance(model, str) and model:
        return model
    return None


def _observed(answer: JsonObject, is_processed: bool) -> dict[str, Any]:
    mode = "raw"
    if is_processed:
        mode = "processed"
    observed: dict[str, Any] = {
        "engine": "llama.cpp",
        "decode_logprobs": mode,
        "prefill_logprobs": mode,
    }
    settings = answer.get("generation_settings")
    if not isinstance(settings, Mapping):
        return observed
    for key in _SETTINGS:
        value: Any = settings.get(key)
        if not is_real(value):
            continue
        if key == "top_k":
            observed[key] = int(value)
        else:
            observed[key] = float(value)
    return observed
