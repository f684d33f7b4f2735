"""What users know of numbers from elsewhere, told by the command as ``--fact
NAME.temperature=0.6``.

`logdrift.core.told` has the facts that can be told.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.told import TELLABLE, value_of


def told_by_flags(
    texts: Sequence[str], captures: Iterable[CaptureInfo]
) -> dict[str, dict[str, Any]]:
    """Facts by capture label, of texts ``NAME.FACT=VALUE`` or, for every capture,
    ``FACT=VALUE``.

    NAME is a capture's label, or its backend's name, which stands for all of its
    captures. Raises InputError for a name or fact that is unknown, a value that does
    not do, and a fact told twice.
    """
    infos = list(captures)
    told: dict[str, dict[str, Any]] = {info.label: {} for info in infos}
    for text in texts:
        left, equals, value = text.partition("=")
        if not equals or not left:
            raise InputError(
                f"--fact {text}: write NAME.FACT=VALUE, such as vllm.temperature=0.6"
            )
        name, _, key = left.rpartition(".")
        _check_fact(key, text)
        found = value_of(key, value, f"--fact {left}")
        for label in _labels(name, infos, text):
            if told[label].setdefault(key, found) != found:
                raise InputError(
                    f"--fact {text}: {key} of {label} was told before as"
                    f" {told[label][key]!r}"
                )
    return told


def _check_fact(key: str, text: str) -> None:
    if key in TELLABLE:
        return
    if key == "mask":
        raise InputError(
            f"--fact {text}: a mask is one value a token: give it in jsonl lines"
            " (docs/import.md)"
        )
    near = difflib.get_close_matches(key, TELLABLE, n=1)
    said = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(TELLABLE)}"
    raise InputError(f"--fact {text}: fact {key!r} is unknown: {said}")


def _labels(name: str, infos: Sequence[CaptureInfo], text: str) -> list[str]:
    if not name:
        return [info.label for info in infos]
    found = [info.label for info in infos if name in (info.label, info.backend)]
    if found:
        return found
    known = list(
        dict.fromkeys(word for info in infos for word in (info.backend, info.label))
    )
    near = difflib.get_close_matches(name, known, n=1)
    said = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise InputError(f"--fact {text}: capture {name!r} is unknown: {said}")


def joined(
    file: Mapping[str, Any], flags: Mapping[str, Any], label: str
) -> dict[str, Any]:
    """What a file and the command tell of one capture. Raises InputError where they
    contradict.
    """
    for key, value in flags.items():
        if file.get(key, value) != value:
            raise InputError(
                f"--fact {label}.{key}={value}: the file says {file[key]!r}: leave one"
                " of them out"
            )
    return {**file, **flags}
