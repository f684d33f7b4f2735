"""With which weights an engine sampled the tokens of an answer.

vLLM and newer SGLang write ``weight_versions``, runs ``{version, start, end}`` of the
sampled tokens; SGLang also ``weight_version``, the one with which it answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import is_whole
from logdrift.core.session.importers.spans import versions_of
from logdrift.core.session.weight_versions import VersionSpans

DEFAULT = "default"
"""What SGLang calls weights that were never updated."""
_SEVERAL = "weight_versions"


def answer_versions(meta: JsonObject, tokens: int, place: Place) -> VersionSpans | None:
    """The versions of the ``tokens`` that were sampled; None where nothing tells.
    Raises InputError for runs that do not fit these tokens.
    """
    key = _SEVERAL
    several = meta.get(key)
    if isinstance(several, list) and several:
        versions = _of_tokens(several, tokens, place)
    else:
        key = "weight_version"
        version = meta.get(key)
        versions = _of_all(version, tokens)
    if not versions:
        return None
    return versions_of(versions, tokens, 0, place, key)


def _of_all(version: Any, tokens: int) -> JsonList:
    """One version for all tokens; nothing where it is none."""
    is_name = isinstance(version, str | int)
    if not is_name or version == DEFAULT:
        return []
    return [version] * tokens


def _of_tokens(several: JsonList, tokens: int, place: Place) -> JsonList:
    """One version a token, None where no run has it."""
    are_runs = [isinstance(run, Mapping) for run in several]
    if not all(are_runs):
        return list(several)
    versions: list[Any] = [None] * tokens
    for run in several:
        start, end = _bounds(run, tokens, place)
        version = run.get("version")
        if version != DEFAULT:
            length = end - start
            versions[start:end] = [version] * length
    return versions


def _bounds(run: JsonObject, tokens: int, place: Place) -> tuple[int, int]:
    """The first sampled token of a run, and the one behind its last."""
    start: Any = run.get("start")
    end: Any = run.get("end")
    are_whole = is_whole(start, tokens) and is_whole(end, tokens)
    if are_whole and start <= end:
        return start, end
    raise place.error(
        f"{_SEVERAL} goes from {start!r} to {end!r}: {tokens} tokens were sampled"
    )
