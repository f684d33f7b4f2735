"""Lines of other tools: each is answered with which of its keys to rename.

Nothing is guessed: that a list belongs to the ids beside it is for its author to say.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.columns import is_real

LINE_KEYS = (
    "token_ids",
    "prompt_length",
    "captures",
    "tokens",
    "mask",
    "roles",
    "finish",
    "model",
    "exact",
    "pieces",
    "step",
    "reward",
)
"""The keys of lines of the format ``jsonl``."""
_PROMPT_IDS = (
    "prompt_ids",
    "prompt_token_ids",
    "prompt_tokens",
    "query_ids",
    "context_ids",
    "input_token_ids",
    "input_tokens",
)
_NEW = ("gen", "generated", "completion", "response", "output", "new", "answer")
_ID_WORDS = ("ids", "token_ids", "tokens")
_NEW_IDS = tuple(f"{new}_{ids}" for new in _NEW for ids in _ID_WORDS)
_ALL_IDS = (
    "input_ids",
    "ids",
    "tokens",
    "sequence",
    "sequences",
    "all_ids",
    "full_ids",
)
_MASKS = (
    "loss_mask",
    "response_mask",
    "completion_mask",
    "action_mask",
    "token_loss_mask",
    "loss_masks",
    "assistant_mask",
)
_PROMPT_LENGTHS = (
    "prompt_len",
    "prompt_lens",
    "n_prompt",
    "num_prompt_tokens",
    "prompt_tokens",
    "prompt_size",
)
_NEW_LENGTHS = (
    "response_length",
    "response_len",
    "completion_length",
    "completion_tokens",
    "gen_len",
)
_FINISH = ("finish_reason", "stop_reason", "status")
_LOGPROBS = re.compile(r"(^|_)(log_?p(rob)?s?|log_?probabilit(y|ies)|lps?)$")
_TEXTS = (
    "text",
    "prompt",
    "completion",
    "response",
    "output",
    "input",
    "content",
    "messages",
    "answer",
    "question",
)


def refuse_line(data: JsonObject, place: Place) -> None:
    """Raise InputError for a line of another tool, naming which of its keys to rename;
    a line that is ours passes.
    """
    is_ours = set(data) <= set(LINE_KEYS)
    if is_ours or "captures" in data:
        return
    _refuse_text(data, place)
    renames = _renames(data)
    renamed: set[str] = set()
    for rename in renames:
        renamed.update(rename.keys)
    if not renamed:
        return
    steps = [rename.step for rename in renames]
    renamed.update(LINE_KEYS)
    unused = [key for key in data if key not in renamed]
    if unused:
        names = ", ".join(unused)
        steps.append(f"leave {names} out")
    remedy = "; ".join(steps)
    raise place.error(
        "has the keys of another tool",
        f"{remedy} (docs/import.md, jsonl)",
    )


def _refuse_text(data: JsonObject, place: Place) -> None:
    """A dump of text and rewards, as verl's and TRL's rollouts are: it has neither ids
    nor log-probabilities.
    """
    texts = []
    for key in _TEXTS:
        value = data.get(key)
        if isinstance(value, str | list):
            texts.append(key)
    if not texts or _has_numbers(data):
        return
    names = ", ".join(texts)
    raise place.error(
        f"holds text ({names}) and no token ids or log-probabilities, so there is"
        " nothing to compare: verl's rollout_data_dir, TRL's completions and AReaL's"
        " rollouts are such dumps",
        "take it as prompts with logdrift capture --prompts, which makes ids anew, or"
        " write ids and log-probabilities where the trainer has them (verl:"
        " actor_rollout_ref.rollout.calculate_log_probs=True; docs/import.md, From a"
        " trainer)",
    )


def _has_numbers(data: JsonObject) -> bool:
    """There are ids of tokens, or their log-probabilities."""
    for key, value in data.items():
        is_of_tokens = _is_of_tokens(key)
        if is_of_tokens and _numbers(value):
            return True
    return False


def _is_of_tokens(key: str) -> bool:
    """Whether a key means ids of tokens, or their log-probabilities."""
    if key == "token_ids":
        return True
    for names in (_PROMPT_IDS, _NEW_IDS, _ALL_IDS):
        if key in names:
            return True
    return _LOGPROBS.search(key.lower()) is not None


def _numbers(value: Any) -> bool:
    """A list of numbers, or of lists of them."""
    if not isinstance(value, list):
        return False
    for item in value:
        if item is not None:
            return is_real(item) or _numbers(item)
    return False


class Rename(NamedTuple):
    """Keys of a line, and what to do with them as an imperative."""

    keys: tuple[str, ...]
    step: str


Renames = list[Rename]


def _renames(data: JsonObject) -> Renames:
    """What to do with the keys of a line, in the order of our own keys."""
    renames = _ids(data)
    renames += _lengths(data)
    renames += _columns(data)
    renames += _mask(data)
    # A reason to stop is no sign of another tool by itself: many lines of text have
    # one.
    if any(rename.keys for rename in renames):
        renames += _finish(data)
    return renames


def _ids(data: JsonObject) -> Renames:
    """How to write the ids of prompt and completion as ``token_ids``."""
    prompt = _first(data, _PROMPT_IDS)
    whole = _first(data, _ALL_IDS)
    new = _first(data, _NEW_IDS)
    if new is None and prompt and "token_ids" in data:
        new = "token_ids"
    if prompt and new:
        return [_joined_ids(prompt, new)]
    if prompt and whole:
        step = f"write {whole} as token_ids and the length of {prompt} as prompt_length"
        return [Rename((prompt, whole), step)]
    if new and whole:
        return [_joined_ids(whole, new)]
    if "token_ids" in data:
        return []
    if whole:
        return [Rename((whole,), f"rename {whole} to token_ids")]
    if new:
        step = (
            f"write the prompt's ids + {new} as token_ids, and the prompt's length as"
            " prompt_length"
        )
        return [Rename((new,), step)]
    if prompt:
        return []
    return [Rename((), "add token_ids, the ids of the prompt and the completion")]


def _joined_ids(prompt: str, new: str) -> Rename:
    step = (
        f"write {prompt} + {new} as token_ids and the length of {prompt} as"
        " prompt_length"
    )
    return Rename((prompt, new), step)


def _lengths(data: JsonObject) -> Renames:
    """A length that stands for ``prompt_length``, where no list of prompt ids has it
    already.
    """
    if _first(data, _PROMPT_IDS):
        return []
    length = _key(data, _PROMPT_LENGTHS, int)
    if length:
        return [Rename((length,), f"rename {length} to prompt_length")]
    new_length = _key(data, _NEW_LENGTHS, int)
    if new_length and "prompt_length" not in data:
        step = f"write the number of ids minus {new_length} as prompt_length"
        return [Rename((new_length,), step)]
    return []


def _columns(data: JsonObject) -> Renames:
    """Lists that belong to a capture."""
    renames: Renames = []
    for key, value in data.items():
        if not isinstance(value, list):
            continue
        column = _column_of(key)
        if column is None:
            continue
        step = f"write {key} as captures.NAME.{column}"
        if column == "logprobs":
            step += ", with a name for what computed it"
        renames.append(Rename((key,), step))
    return renames


def _mask(data: JsonObject) -> Renames:
    mask = _key(data, _MASKS, list)
    if mask:
        return [Rename((mask,), f"rename {mask} to mask")]
    return []


def _finish(data: JsonObject) -> Renames:
    finish = _key(data, _FINISH, str)
    if finish:
        step = f"rename {finish} to finish (stop or length)"
        return [Rename((finish,), step)]
    return []


def _key(data: JsonObject, names: tuple[str, ...], kind: type) -> str | None:
    """The first of ``names`` that holds a value of that kind."""
    for name in names:
        value = data.get(name)
        if isinstance(value, kind):
            return name
    return None


def _column_of(key: str) -> str | None:
    """Which list of a capture a key means by its name, None where it means none."""
    name = key.lower()
    words = name.split("_")
    is_top = "top" in words or "topk" in name
    if is_top and "log" in name:
        return "top_logprobs"
    if is_top and "id" in name:
        return "top_ids"
    if is_top:
        return None
    if name.endswith(("entropy", "entropies")):
        return "entropy"
    if name.endswith(("rank", "ranks")):
        return "ranks"
    if _LOGPROBS.search(name):
        return "logprobs"
    return None


def _first(data: JsonObject, names: tuple[str, ...]) -> str | None:
    """The first of ``names`` that holds numbers; ``tokens`` of texts are ours."""
    for name in names:
        if _numbers(data.get(name)):
            return name
    return None
