"""What differs in config, tokenizer and template, by name, where the session keeps more
than their digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from logdrift.core.compare.gate.case import GateCase, GateSide, Reason, caution, note
from logdrift.core.compare.loaded.config import (
    canonical,
    config_differences,
    config_values,
    one_writer,
)
from logdrift.core.compare.loaded.difference import Difference, sentence
from logdrift.core.compare.loaded.template import template_differences
from logdrift.core.compare.loaded.tokenizer import tokenizer_differences
from logdrift.core.errors import InputError
from logdrift.core.session.loaded import Loaded

_SEE_KEYS = "capture again to see which keys differ"


def loaded_of(case: GateCase, side: GateSide) -> Loaded | None:
    """None where the session has digests alone, or its file cannot be read
    (`check_unread` says so).
    """
    try:
        return case.session.loaded(side.label)
    except InputError:
        return None


def check_unread(case: GateCase) -> Iterator[Reason]:
    """A file that should say what was loaded and does not."""
    for side in case.sides:
        try:
            case.session.loaded(side.label)
        except InputError as error:
            yield caution(
                "unread", f"what {side.label} loaded is not compared by name: {error}"
            )


def _both(case: GateCase) -> tuple[Loaded, Loaded] | None:
    a, b = (loaded_of(case, side) for side in case.sides)
    if a is None or b is None:
        return None
    return (a, b)


def config_of(case: GateCase) -> tuple[Difference, ...] | None:
    """Differences of the resolved configs; None where they are not known on both
    sides.
    """
    both = _both(case)
    if both is None or both[0].config is None or both[1].config is None:
        return None
    return config_differences(*both, whole=one_writer(case.a.info, case.b.info))


def tokenizer_of(case: GateCase) -> tuple[Difference, ...]:
    both = _both(case)
    if both is None:
        return ()
    return tokenizer_differences(*both)


def template_of(case: GateCase) -> tuple[Difference, ...]:
    both = _both(case)
    if both is None:
        return ()
    return template_differences(*both)


def config_reasons(
    case: GateCase, overridden: Sequence[Mapping[str, Any]]
) -> Iterator[Reason]:
    """What the configs differ in. ``overridden`` are the fields that options changed,
    which have a reason of their own.
    """
    differences = config_of(case)
    if differences is None:
        if case.differ("config_digest"):
            yield _other_digest(case)
        return
    names = _names(overridden)
    counting = []
    for difference in differences:
        if difference.counts and difference.key not in names:
            counting.append(difference)
    if counting:
        yield caution(
            "config",
            f"the configs of {case.a.label} against {case.b.label} differ:"
            f" {sentence(counting)}: load one config on both sides.",
            tuple(counting),
        )
    elif case.differ("config_digest"):
        yield _other_files(case, differences)


def _other_digest(case: GateCase) -> Reason:
    a, b = (str(digest)[:19] for digest in case.both("config_digest"))
    return caution(
        "config",
        f"config.json of {case.a.label} and {case.b.label} differ ({a}… and {b}…), and"
        " the session has no more than these digests: compare their RoPE, soft-capping"
        f" and window settings, or {_SEE_KEYS}.",
    )


def _other_files(case: GateCase, differences: Iterable[Difference]) -> Reason:
    """Other files, with no difference that counts."""
    others = tuple(difference for difference in differences if not difference.counts)
    if others:
        outcome = f"differ in {sentence(others)}, which changes no score"
    else:
        outcome = "came out alike in every key"
    return note(
        "config_files",
        f"config.json of {case.a.label} and {case.b.label} are different files, but the"
        f" configs of the engines {outcome}.",
        others,
    )


def effect_of(
    case: GateCase, fields: Mapping[str, Any]
) -> tuple[Difference, ...] | None:
    """What overridden ``fields`` are on both sides in the resolved configs; None where
    the configs do not show it.

    Empty where every one of them is in both configs with one value. An option that no
    config holds may act elsewhere in the engine: the configs do not show it.
    """
    both = _both(case)
    found = config_of(case)
    if both is None or found is None:
        return None
    names = _names((fields,))
    differences = tuple(difference for difference in found if difference.key in names)
    if differences:
        return differences
    values = [config_values(side) for side in both]
    spelled = canonical(_nested(fields)).keys()
    if all(name in value for name in spelled for value in values):
        return ()
    return None


def _names(tables: Iterable[Mapping[str, Any]]) -> set[str]:
    """Flat names of overridden fields, as they were given and as a resolved config
    spells them.
    """
    names: set[str] = set()
    for table in tables:
        names |= table.keys()
        names |= canonical(_nested(table)).keys() - {"rope_parameters.rope_type"}
    return names


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in flat.items():
        *folders, last = name.split(".")
        table = out
        for folder in folders:
            below = table.setdefault(folder, {})
            table = below if isinstance(below, dict) else {}
        table[last] = value
    return out
