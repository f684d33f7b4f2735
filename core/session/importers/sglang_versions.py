"""With which weights SGLang or vLLM sampled the tokens of an answer.

Newer ones write ``weight_versions``, runs ``{version, start, end}`` of the sampled
tokens; all of SGLang's write ``weight_version``, the one with which they answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.spans import version_text, versions_of
from logdrift.core.session.weight_versions import VersionSpans

DEFAULT = "default"
"""What SGLang calls weights that were never updated."""
_SEVERAL = "weight_versions"


def answer_versions(meta: JsonObject, tokens: int, place: Place) -> VersionSpans | None:
    """The versions of the ``tokens`` that were sampled; None where nothing tells.
    Raises InputError for runs that do not fit these tokens.
    """
    several = meta.get(_SEVERAL)
    if several and isinstance(several, list):
        versions = _of_tokens(several, tokens, place)
        return versions_of(versions, tokens, 0, place, _SEVERAL)
    version = meta.get("weight_version")
    is_name = isinstance(version, str | int)
    if not tokens or not is_name or version == DEFAULT:
        return None
    return versions_of([[version, tokens]], tokens, 0, place, "weight_version")


def _of_tokens(several: Sequence[Any], tokens: int, place: Place) -> list[Any]:
    """One version a token, None where no run has it."""
    if not all(isinstance(run, Mapping) for run in several):
        return list(several)
    versions: list[Any] = [None] * tokens
    for index, run in enumerate(several):
        start = run.get("start")
        end = run.get("end")
        if not _fits(start, end, tokens):
            where = f"{_SEVERAL}[{index}]"
            raise place.error(
                f"{where} goes from {start!r} to {end!r}: {tokens} tokens were sampled"
            )
        name = version_text(run.get("version"), place, _SEVERAL)
        if name != DEFAULT:
            versions[start:end] = [name] * (end - start)
    return versions


def _fits(start: Any, end: Any, tokens: int) -> bool:
    if type(start) is not int or type(end) is not int:
        return False
    return 0 <= start <= end <= tokens
