"""With which weights a server sampled the tokens of an answer. A server whose trainer
goes on may get new ones in the middle of a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.errors import InputError, Place
from logdrift.core.servers.readings import ServerReading
from logdrift.core.session.importers.answer_versions import answer_versions
from logdrift.core.session.weight_versions import (
    VersionSpan,
    VersionSpans,
    version_names,
)


def sampled_versions(
    told: Mapping[str, Any], prompt: int, new: int, reading: ServerReading
) -> VersionSpans | None:
    """The versions of a sequence of ``prompt`` + ``new`` tokens, unknown for the
    prompt; None where ``told`` names none. Raises MismatchError for runs that do not
    fit.
    """
    place = Place(reading.what)
    try:
        spans = answer_versions(told, new, place)
    except InputError as error:
        reading.wrong(error.reason)
    if spans is None or not version_names([spans]):
        return None
    return (VersionSpan(None, prompt), *spans)


def last_version(spans: VersionSpans | None) -> str | None:
    """The version with which the last token was sampled; None: not told."""
    if not spans:
        return None
    *_, last = spans
    return last.version
