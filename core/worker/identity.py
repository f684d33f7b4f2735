"""Which files a backend was started with, as its worker sees them: digests, and what
its tokenizer does by itself.

Only what is certain is reported. Options that make an engine read its weights
elsewhere, or not at all, leave the weights unknown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logdrift.core.digests import (
    config_digest,
    limited_weights_digest,
    tokenizer_digest,
)
from logdrift.core.engines.about import Loading
from logdrift.core.worker.tokens import TokenText
from logdrift.core.worker.weights_map import snapshot_folder


def identity(
    model: str,
    revision: str | None,
    options: Mapping[str, Any],
    text: TokenText | None,
    loading: Loading,
) -> dict[str, Any]:
    """Facts fields ``weights_digest``, ``config_digest``, ``tokenizer_digest``,
    ``template_digest`` and ``adds_bos``.

    ``model`` and ``options`` are what the engine was started with, ``text`` the
    tokenizer beside those weights, if any. ``loading`` says which options of the engine
    make it read other weights.
    """
    digests: dict[str, str | None] = dict.fromkeys(
        ("weights_digest", "config_digest", "tokenizer_digest")
    )
    folder = _folder(model, revision, options)
    if folder is not None:
        digests["config_digest"] = config_digest(folder)
        digests["tokenizer_digest"] = tokenizer_digest(folder)
        if _plain(options, loading):
            digests["weights_digest"] = limited_weights_digest(folder)
    return {
        **digests,
        "template_digest": _template_digest(text),
        "adds_bos": None if text is None else text.adds_bos(),
    }


def _plain(options: Mapping[str, Any], loading: Loading) -> bool:
    """The engine reads the safetensors files beside config.json."""
    plain = str(options.get("load_format", "auto")) in loading.plain
    return plain and not any(name in options for name in loading.elsewhere)


def _folder(
    model: str, revision: str | None, options: Mapping[str, Any]
) -> Path | None:
    """The folder itself, or where the hub's cache holds the snapshot that was just
    loaded.
    """
    is_elsewhere = "download_dir" in options or "cache_dir" in options
    if is_elsewhere and not Path(model).is_dir():
        return None
    return snapshot_folder(model, revision)


def _template_digest(text: TokenText | None) -> str | None:
    template = None if text is None else text.template
    if template is None:
        return None
    if not isinstance(template, str):
        template = json.dumps(template, sort_keys=True)
    digest = hashlib.sha256(template.encode("utf-8", "surrogatepass"))
    return f"sha256:{digest.hexdigest()}"
