"""Files that are not what they were given as: each is recognised, and answered with how to get what can be read.

Nothing is ever unpickled: a pickle runs code when it is loaded.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.session.files import open_regular

_MAGIC = (
    (b"PAR1", "a parquet file"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x93NUMPY", "an array of NumPy"),
)
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_EXPORT = "write token ids and log-probabilities as jsonl where the file was made (docs/import.md, From a trainer)"


def refuse_binary(path: Path) -> None:
    """Raise InputError for a file that holds no text, and say how to convert it; one that cannot be read is left be."""
    try:
        with open(open_regular(path), "rb") as file:
            start = file.read(8)
    except OSError:
        return
    if start.startswith(_PICKLES) or _is_torch_archive(path, start):
        raise InputError(
            f"{path}: is a pickle (torch.save or pickle.dump), which runs code when it is loaded, so it is not opened: "
            f"{_EXPORT}"
        )
    for magic, what in _MAGIC:
        if start.startswith(magic):
            raise InputError(f"{path}: is {what}, not JSON: unpack or convert it to jsonl first (docs/import.md)")
    if start.startswith(b"PK\x03\x04"):
        raise InputError(f"{path}: is a zip archive, not JSON: unpack it first")


def _is_torch_archive(path: Path, start: bytes) -> bool:
    if not start.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


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
_NEW_IDS = tuple(f"{word}_{kind}" for word in _NEW for kind in ("ids", "token_ids", "tokens"))
_ALL_IDS = ("input_ids", "ids", "tokens", "sequence", "sequences", "all_ids", "full_ids")
_MASKS = (
    "loss_mask", "response_mask", "completion_mask", "action_mask", "token_loss_mask", "loss_masks", "assistant_mask",
)  # fmt: skip
_PROMPT_LENGTHS = ("prompt_len", "prompt_lens", "n_prompt", "num_prompt_tokens", "prompt_tokens", "prompt_size")
_NEW_LENGTHS = ("response_length", "response_len", "completion_length", "completion_tokens", "gen_len")
_FINISH = ("finish_reason", "stop_reason", "status")
_LOGPROBS = re.compile(r"(^|_)(log_?p(rob)?s?|log_?probabilit(y|ies)|lps?)$")
_TEXTS = ("text", "prompt", "completion", "response", "output", "input", "content", "messages", "answer", "question")


def refuse_line(data: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise InputError for a line of another tool, naming which of its keys to rename; a line that is ours passes.

    Nothing is guessed: that a list belongs to the ids beside it is for its author to say.
    """
    if set(data) <= set(known) or "captures" in data:
        return
    _refuse_text(data, where)
    told = _renames(data)
    if not any(keys for keys, _ in told):
        return
    left = [key for key in data if key not in known and not any(key in said for said, _ in told)]
    steps = [text for _, text in told]
    if left:
        steps.append(f"leave {', '.join(left)} out")
    raise InputError(f"{where}: has the keys of another tool: {'; '.join(steps)} (docs/import.md, jsonl)")


def _refuse_text(data: Mapping[str, Any], where: str) -> None:
    """A dump of text and rewards, as verl's and TRL's rollouts are: it has neither ids nor log-probabilities."""
    texts = [key for key in _TEXTS if isinstance(data.get(key), str | list)]
    if not texts or any(_numbers(value) and _is_of_tokens(key) for key, value in data.items()):
        return
    raise InputError(
        f"{where}: holds text ({', '.join(texts)}) and no token ids or log-probabilities, so there is nothing to "
        "compare: verl's rollout_data_dir and TRL's completions are such dumps. Switch log-probabilities on (verl: "
        f"actor_rollout_ref.rollout.calculate_log_probs=True) and {_EXPORT}"
    )


def _is_of_tokens(key: str) -> bool:
    ids = key == "token_ids" or key in _PROMPT_IDS or key in _NEW_IDS or key in _ALL_IDS
    return ids or _LOGPROBS.search(key.lower()) is not None


def _numbers(value: Any) -> bool:
    """A list of numbers, or of lists of them."""
    if not isinstance(value, list) or not value:
        return False
    first = next((item for item in value if item is not None), None)
    return _numbers(first) or (isinstance(first, int | float) and not isinstance(first, bool))


def _renames(data: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """(keys of the line, what to do with them), in the order of our own keys."""
    prompt = _first(data, _PROMPT_IDS)
    new = _first(data, _NEW_IDS) or ("token_ids" if prompt and "token_ids" in data else None)
    whole = _first(data, _ALL_IDS)
    out: list[tuple[tuple[str, ...], str]] = []
    if prompt and new:
        out.append(((prompt, new), f"write {prompt} + {new} as token_ids and the length of {prompt} as prompt_length"))
    elif prompt and whole:
        out.append(((prompt, whole), f"write {whole} as token_ids and the length of {prompt} as prompt_length"))
    elif new and whole:
        out.append(((whole, new), f"write {whole} + {new} as token_ids and the length of {whole} as prompt_length"))
    elif whole and "token_ids" not in data:
        out.append(((whole,), f"rename {whole} to token_ids"))
    elif new and "token_ids" not in data:
        out.append(((new,), f"write the prompt's ids + {new} as token_ids, and the prompt's length as prompt_length"))
    if not (prompt or new or whole or "token_ids" in data):
        out.append(((), "add token_ids, the ids of the prompt and the completion"))
    length = next((key for key in _PROMPT_LENGTHS if isinstance(data.get(key), int)), None)
    if length and not prompt:
        out.append(((length,), f"rename {length} to prompt_length"))
    rest = next((key for key in _NEW_LENGTHS if isinstance(data.get(key), int)), None)
    if rest and not prompt and not length and "prompt_length" not in data:
        out.append(((rest,), f"write the number of ids minus {rest} as prompt_length"))
    for key, value in data.items():
        column = _column_of(key) if isinstance(value, list) else None
        if column == "logprobs":
            out.append(((key,), f"write {key} as captures.NAME.logprobs, with a name for what computed it"))
        elif column is not None:
            out.append(((key,), f"write {key} as captures.NAME.{column}"))
    mask = next((key for key in _MASKS if isinstance(data.get(key), list)), None)
    if mask:
        out.append(((mask,), f"rename {mask} to mask"))
    if any(keys for keys, _ in out) and (
        finish := next((key for key in _FINISH if isinstance(data.get(key), str)), None)
    ):
        out.append(((finish,), f"rename {finish} to finish (stop or length)"))
    return out


def _column_of(key: str) -> str | None:
    """Which list of a capture a key means by its name, None where it means none."""
    name = key.lower()
    if "top" in name.split("_") or "topk" in name:
        return "top_logprobs" if "log" in name else "top_ids" if "id" in name else None
    if name.endswith(("entropy", "entropies")):
        return "entropy"
    if name.endswith(("rank", "ranks")):
        return "ranks"
    return "logprobs" if _LOGPROBS.search(name) else None


def _first(data: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of ``names`` that holds numbers; ``tokens`` of texts are ours."""
    return next((name for name in names if _numbers(data.get(name))), None)
