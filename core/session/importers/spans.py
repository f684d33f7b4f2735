"""What stays the same for many tokens: the role of a message, the version of the
weights. Files write one value a token, or runs ``[value, number of tokens]``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList
from logdrift.core.session.importers.columns import is_whole
from logdrift.core.session.message_roles import MESSAGE_ROLES, is_known, role_code
from logdrift.core.session.scores import FlagArray
from logdrift.core.session.weight_versions import (
    LONGEST_VERSION,
    VersionSpan,
    VersionSpans,
)


class Run(NamedTuple):
    """``tokens`` tokens that follow one another and have one value."""

    value: Any
    tokens: int


def runs_of(
    values: Any, tokens: int, prompt: int, place: Place, key: str
) -> tuple[Run, ...]:
    """The runs of a list with one entry a token, or of a list of ``[value, number of
    tokens]``; of the whole sequence, or of its completion alone.

    Raises InputError naming the list ``key``.
    """
    if not isinstance(values, list):
        raise place.error(f"{key} is not a list")
    runs = _read_runs(values, place, key)
    lengths = [run.tokens for run in runs]
    covered = sum(lengths)
    completion = tokens - prompt
    if covered == tokens:
        return tuple(runs)
    if covered == completion:
        before = Run(None, prompt)
        return before, *runs
    raise place.error(
        f"{key} covers {covered} tokens: the sequence has {tokens}, its completion"
        f" {completion}"
    )


def _read_runs(values: JsonList, place: Place, key: str) -> list[Run]:
    """Each entry as a run: a pair, or one token."""
    are_lists = [isinstance(value, list) for value in values]
    if not are_lists or not all(are_lists):
        return [Run(value, 1) for value in values]
    runs = []
    for index, value in enumerate(values):
        run = _run(value, place, f"{key}[{index}]")
        runs.append(run)
    return runs


def _run(value: JsonList, place: Place, key: str) -> Run:
    if len(value) == 2:
        run = Run(*value)
        if is_whole(run.tokens):
            return run
    raise place.error(f"{key} is {value!r}", "give [value, number of tokens]")


def roles_of(
    values: Any, tokens: int, prompt: int, place: Place, key: str = "roles"
) -> FlagArray:
    """u8[tokens]: from whose message each token is (`message_roles`), by name. Raises
    InputError.
    """
    runs = runs_of(values, tokens, prompt, place, key)
    codes = [_role(run.value, place, key) for run in runs]
    counts = [run.tokens for run in runs]
    of_runs = np.array(codes, np.uint8)
    return np.repeat(of_runs, counts)


def _role(value: Any, place: Place, key: str) -> int:
    if value is None:
        return role_code(None)
    if not isinstance(value, str) or not is_known(value):
        known = ", ".join(MESSAGE_ROLES)
        raise place.error(f"{key} holds {value!r}", f"use {known}, or null")
    return role_code(value)


def versions_of(
    values: Any, tokens: int, prompt: int, place: Place, key: str = "versions"
) -> VersionSpans:
    """The spans of the versions of the weights, a text or a number each. Raises
    InputError.
    """
    spans: list[VersionSpan] = []
    for value, count in runs_of(values, tokens, prompt, place, key):
        if not count:
            continue
        version = version_text(value, place, key)
        if spans and spans[-1].version == version:
            before = spans.pop()
            count += before.tokens
        span = VersionSpan(version, count)
        spans.append(span)
    return tuple(spans)


def version_text(value: Any, place: Place, key: str) -> str | None:
    """The name of a version; None where it is not known, which AReaL writes as -1.
    Raises InputError.
    """
    if value is None:
        return None
    if type(value) is int:
        if value < 0:
            return None
        return str(value)
    if not _is_name(value):
        raise place.error(
            f"{key} holds {value!r}",
            "give a number or a short text for each version, or null",
        )
    return str(value)


def _is_name(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return 0 < len(value) <= LONGEST_VERSION
