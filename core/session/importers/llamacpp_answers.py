"""llama.cpp's native answers of ``/completion`` with ``n_probs``: the completion, an id
beside each token, under ``completion_probabilities`` or ``probs``.

Its log-probabilities are of the untouched logits; with ``post_sampling_probs`` it sends
probabilities of what sampling left, under the keys ``prob`` and ``top_probs``. With a
draft model some releases write 0.0 for every token (llama.cpp#27972).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.answer_records import ServerAnswer
from logdrift.core.session.importers.columns import is_real
from logdrift.core.session.importers.scored_tokens import (
    IdList,
    ScoredTokens,
    llamacpp_tokens,
)

_SETTINGS = ("temperature", "top_p", "top_k", "min_p")
_FINISH = {"limit": "length", "eos": "stop", "word": "stop"}
PROBABILITIES = "completion_probabilities"
_OTHER_NAME = "probs"
"""What llama.cpp's own documentation calls the list in places."""
_ALL_ZERO = (
    "{n} {answer|answers} of %s {has|have} exactly 0.0 for every token, as llama.cpp"
    " writes with a draft model: no log-probabilities of the model. Ask again without"
    " one"
)


def is_llamacpp(data: JsonObject) -> bool:
    """Whether an object is an answer of ``/completion``, or a chunk of one."""
    if PROBABILITIES in data:
        return True
    if "content" not in data:
        return False
    if isinstance(data.get(_OTHER_NAME), list):
        return True
    # The last chunk of a stream has no probabilities any more.
    return isinstance(data.get("stop"), bool)


def probabilities(answer: JsonObject) -> Any:
    """The list of what each token was; empty where there is none."""
    listed = answer.get(PROBABILITIES)
    if listed is None:
        listed = answer.get(_OTHER_NAME)
    return listed or []


def scored(place: Place, answer: JsonObject) -> ServerAnswer:
    """One answer. Raises InputError naming it, and for a release that names no ids."""
    entries = probabilities(answer)
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
        remarks=_remarks(tokens),
    )


def _remarks(tokens: ScoredTokens) -> list[str]:
    """What is to be said of the scores. A completion of a single token may well have
    probability 1.
    """
    are_zero = [token.logprob == 0 for token in tokens]
    if len(tokens) > 1 and all(are_zero):
        return [_ALL_ZERO]
    return []


def _ids(tokens: ScoredTokens, place: Place) -> IdList:
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


def _observed(answer: JsonObject, is_processed: bool) -> JsonObject:
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
