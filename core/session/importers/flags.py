"""What users know of numbers from elsewhere, told by the command as ``--fact
NAME.temperature=0.6``.

`logdrift.core.told` has the facts that can be told.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.told import TELLABLE, value_of

FactsByName = dict[str, Any]
FactsByLabel = dict[str, FactsByName]
"""By the label of the capture."""


def told_by_flags(
    texts: Sequence[str], captures: Iterable[CaptureInfo]
) -> FactsByLabel:
    """Facts by capture label, of texts ``NAME.FACT=VALUE`` or, for every capture,
    ``FACT=VALUE``.

    NAME is a capture's label, or its backend's name, which stands for all of its
    captures. Raises InputError for a name or fact that is unknown, a value that does
    not do, and a fact told twice.
    """
    infos = list(captures)
    told: FactsByLabel = {info.label: {} for info in infos}
    for text in texts:
        place = Place(f"--fact {text}")
        left, equals, value = text.partition("=")
        if not equals or not left:
            raise place.error("write NAME.FACT=VALUE, such as vllm.temperature=0.6")
        name, _, key = left.rpartition(".")
        _check_fact(key, place)
        fact = value_of(key, value, f"--fact {left}")
        for label in _labels(name, infos, place):
            facts = told[label]
            before = facts.setdefault(key, fact)
            if before != fact:
                raise place.error(f"{key} of {label} was given before as {before!r}")
    return told


def _check_fact(key: str, place: Place) -> None:
    if key in TELLABLE:
        return
    if key == "mask":
        remedy = "give it in jsonl lines (docs/import.md)"
        raise place.error("a mask is one value a token", remedy)
    advice = _advice(key, TELLABLE, "known")
    raise place.error(f"fact {key!r} is unknown", advice)


def _advice(word: str, known: Sequence[str], there: str) -> str:
    """A question for the word that a misspelt one may stand for, else all there are."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    words = ", ".join(known)
    return f"{there} are {words}"


def _labels(name: str, infos: Sequence[CaptureInfo], place: Place) -> list[str]:
    """The captures that a name stands for."""
    labels = []
    known: list[str] = []
    for info in infos:
        names = (info.backend, info.label)
        known += names
        if not name or name in names:
            labels.append(info.label)
    if labels or not name:
        return labels
    different = dict.fromkeys(known)
    advice = _advice(name, list(different), "there")
    raise place.error(f"capture {name!r} is unknown", advice)


def joined(file: JsonObject, flags: JsonObject, label: str) -> JsonObject:
    """What a file and the command tell of one capture. Raises InputError where they
    contradict.
    """
    for key, value in flags.items():
        in_file = file.get(key, value)
        if in_file != value:
            place = Place(f"--fact {label}.{key}={value}")
            raise place.error(f"the file says {in_file!r}", "leave one of them out")
    return {**file, **flags}
