"""What an engine loaded, by name, as JSON of bounded size: its resolved config, and
what identifies a tokenizer.

Nothing of the machine and nothing secret is kept: paths, addresses and credentials
become a word in their place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from logdrift.core.credentials import holds_secret, names_secret
from logdrift.core.json_values import bounded
from logdrift.core.session.loaded import Loaded
from logdrift.core.worker.base import Backend
from logdrift.core.worker.one_line import one_line
from logdrift.core.worker.tokens import TokenText

BLOCK_IDS = 1024
"""Ids that share one digest: 128 digests for a vocabulary of 128k."""
_DIGITS = 8
"""Hex digits of a block's digest: two blocks that differ look alike once in four
billion.
"""
_ADDED = 512
"""Added tokens that are listed; reserved ones of some families are thousands, which one
digest covers.
"""
_TEMPLATE = 100_000
"""Characters of a template that are kept: those of released models have up to 20,000.
"""
_STEPS = ("normalizer", "pre_tokenizer", "decoder", "post_processor")
_MACHINE = re.compile(r"^(/|~|[A-Za-z]:\\|\\\\)|://")
_LEFT_OUT = "left out"
Json = dict[str, Any]
"""Values by name, JSON-ready."""


def loaded_of(backend: Backend, text: TokenText | None) -> Loaded:
    """What ``backend`` loaded and ``text``, the tokenizer beside its weights. What
    cannot be seen stays None: a capture is worth more than the names of its settings.
    """

    def config() -> dict[str, Any] | None:
        resolved = backend.resolved_config()
        return config_values(resolved)

    return Loaded(
        config=_tried("its config", config),
        tokenizer=_tried("its tokenizer", lambda: tokenizer_values(text)),
        templates=_tried("its chat template", lambda: template_values(text)),
    )


def _tried(what: str, look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception as error:  # configs and tokenizers may run any code
        reason = one_line(error)
        print(f"logdrift: {what} could not be looked at: {reason}", flush=True)
        return None


def config_values(config: Mapping[str, Any] | None) -> Json | None:
    """A config as its ``to_dict`` gives it, without what names the machine."""
    if config is None:
        return None
    public = {}
    for name, value in config.items():
        is_private = str(name).startswith("_")
        if not is_private:
            public[name] = value
    cleaned: Json = _cleaned(bounded(public))
    return cleaned


def _cleaned(value: Any, name: str = "") -> Any:
    is_harmless = value is None or isinstance(value, (bool, int, float))
    if is_harmless:
        return value
    if name and names_secret(name):
        return _LEFT_OUT
    if isinstance(value, dict):
        return {key: _cleaned(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, name) for item in value]
    if isinstance(value, str) and _is_private(value):
        return _LEFT_OUT
    return value


def _is_private(text: str) -> bool:
    """Whether a text names the machine or holds a secret."""
    names_the_machine = _MACHINE.search(text) is not None
    return names_the_machine or holds_secret(text)


def tokenizer_values(text: TokenText | None) -> Json | None:
    """Vocabulary, special and added tokens by name and id, and the kinds of the steps
    from text to ids and back.
    """
    if text is None:
        return None
    tokenizer = text.tokenizer
    pieces = {}
    for token, token_id in tokenizer.get_vocab().items():
        pieces[int(token_id)] = str(token)
    values = {
        "class": type(tokenizer).__name__,
        "vocabulary": len(pieces),
        "special": _special_tokens(tokenizer),
        "adds_bos": text.adds_bos(),
        **_added_tokens(tokenizer),
        **_pipeline(tokenizer),
        "block_ids": BLOCK_IDS,
        "vocabulary_blocks": list(_blocks(pieces)),
    }
    kept: Json = bounded(values)
    return kept


def _special_tokens(tokenizer: Any) -> Json:
    special: Json = {}
    for name, token in tokenizer.special_tokens_map.items():
        if isinstance(token, list | tuple):
            special[name] = [str(one) for one in token]
        else:
            token_id = tokenizer.convert_tokens_to_ids(str(token))
            special[name] = f"{token} (id {token_id})"
    return special


def _added_tokens(tokenizer: Any) -> Json:
    decoder = getattr(tokenizer, "added_tokens_decoder", {})
    added = []
    for token_id, token in decoder.items():
        added.append((int(token_id), str(token)))
    added.sort()
    listed = {str(token_id): token for token_id, token in added[:_ADDED]}
    rest = [str(pair) for pair in added[_ADDED:]]
    rest_digest = None
    if rest:
        rest_digest = _digest(rest)
    return {"added": listed, "added_digest": rest_digest}


def _pipeline(tokenizer: Any) -> Json:
    """The steps of a tokenizer of the `tokenizers` library; empty for those that are
    code alone.
    """
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        return {}
    data = json.loads(fast.to_str())
    model = dict(data.get("model") or {})
    merges = model.pop("merges", None) or []
    merge_texts = [_merge_text(merge) for merge in merges]
    model.pop("vocab", None)
    steps = {name: data.get(name) for name in _STEPS}
    return {
        "model": model,
        **steps,
        "merges": len(merges),
        "merges_digest": _digest(merge_texts),
    }


def _merge_text(merge: str | Iterable[str]) -> str:
    """``a b``, as older files write a merge, of ``[a, b]``, as newer ones do."""
    if isinstance(merge, str):
        return merge
    return " ".join(merge)


def _blocks(pieces: Mapping[int, str]) -> Iterable[str]:
    """One short digest for each `BLOCK_IDS` ids and their texts."""
    if not pieces:
        return
    end = max(pieces) + 1
    for first in range(0, end, BLOCK_IDS):
        ids = range(first, first + BLOCK_IDS)
        lines = [f"{i}\t{pieces[i]}" for i in ids if i in pieces]
        digest = _digest(lines)
        yield digest[:_DIGITS]


def _digest(lines: Iterable[str]) -> str:
    hasher = hashlib.sha256()
    for line in lines:
        encoded = line.encode("utf-8", "surrogatepass")
        hasher.update(encoded + b"\0")
    return hasher.hexdigest()


def template_values(text: TokenText | None) -> dict[str, str] | None:
    """Chat templates by name, ``default`` where there is one alone; empty where the
    tokenizer has none.
    """
    if text is None:
        return None
    templates = text.template
    if not templates:
        return {}
    if not isinstance(templates, Mapping):
        templates = {"default": templates}
    kept = {}
    for name, template in templates.items():
        kept[str(name)] = str(template)[:_TEMPLATE]
    return kept
