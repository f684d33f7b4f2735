"""The captures of imported records: their labels, and the facts that are told of
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from logdrift.core.engines import PATHS
from logdrift.core.errors import InputError
from logdrift.core.facts import Batch, Facts
from logdrift.core.plan import ROLES, check_backend_name, label_of
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.flags import joined, told_by_flags
from logdrift.core.session.importers.records import CaptureSource
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.told import facts_of, with_told

UNKNOWN = "unknown"


def captures_of(
    names: Iterable[str],
    sources: Mapping[str, CaptureSource],
    facts: Sequence[str],
) -> dict[str, CaptureInfo]:
    """The captures by the ``names`` that files give them.

    Raises InputError for a name that is no label, two names of one label, and a bad
    fact.
    """
    infos = {}
    for name in names:
        source = sources.get(name, CaptureSource())
        infos[name] = _info(name, source)
    labels = [info.label for info in infos.values()]
    _check_labels(labels)
    flags = told_by_flags(facts, infos.values())
    with_facts = {}
    for name, info in infos.items():
        source = sources.get(name, CaptureSource())
        own_flags = flags[info.label]
        with_facts[name] = _with_facts(info, source, own_flags)
    return with_facts


def labels_of(names: Iterable[str]) -> dict[str, str]:
    """The labels of captures by the names that files give them. Raises InputError as
    `captures_of` does.
    """
    infos = captures_of(names, {}, ())
    return {name: info.label for name, info in infos.items()}


def _info(name: str, source: CaptureSource) -> CaptureInfo:
    """``NAME``, ``NAME/PATH``, ``NAME/PATH#2`` or ``NAME/PATH#alone`` as a capture's
    label; without a path its numbers were recorded.
    """
    plain, mark, number = name.partition("#")
    backend, slash, path = plain.partition("/")
    check_backend_name(backend)
    if not slash:
        path = "recorded"
    if path not in PATHS:
        known = ", ".join(PATHS)
        raise InputError(
            f"capture {name!r}: path {path!r} is unknown", remedy=f"use {known}"
        )
    repeat = 1
    batch: Batch = "together"
    if number == "alone":
        batch = "alone"
    elif mark:
        repeat = _repeat(name, number)
    return CaptureInfo(
        label=label_of(backend, path, repeat, batch),
        backend=backend,
        engine=source.engine or UNKNOWN,
        dtype=UNKNOWN,
        path=path,
        repeat=repeat,
        role=_role(name, backend, source),
        status="complete",
        batch=batch,
    )


def _repeat(name: str, number: str) -> int:
    if number.isdecimal():
        repeat = int(number)
        if repeat >= 2:
            return repeat
    raise InputError(f"capture {name!r}: a repeat is #2 or more")


def _role(name: str, backend: str, source: CaptureSource) -> str:
    by_name = "rollout"
    if backend in ROLES:
        by_name = backend
    role = source.role or by_name
    if role not in ROLES:
        known = ", ".join(ROLES)
        raise InputError(
            f"capture {name!r}: role {role!r} is unknown", remedy=f"use {known}"
        )
    return role


def _check_labels(labels: Sequence[str]) -> None:
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(
                f"two captures are called {label}", remedy="give one another name"
            )


def _with_facts(
    info: CaptureInfo, source: CaptureSource, flags: JsonObject
) -> CaptureInfo:
    given = joined(source.told, flags, info.label)
    engine = given.get("engine", info.engine)
    dtype = given.get("dtype", info.dtype)
    if source.facts is None:
        facts = facts_of(info.path, given, source.observed)
    else:
        facts = with_told(source.facts, info.path, flags)
    return info._replace(
        engine=engine,
        dtype=dtype,
        facts=facts,
    )


_SHOWN_VERSIONS = 8


def with_versions(info: CaptureInfo) -> CaptureInfo:
    """The capture with the fact of which weights its tokens are, where its parts tell
    and nothing else does: the first versions, separated by commas.
    """
    facts = info.facts or Facts()
    versions: dict[str, None] = {}
    for part in info.parts:
        versions |= dict.fromkeys(part.versions)
    if not versions or facts.weight_version is not None:
        return info
    shown = list(versions)[:_SHOWN_VERSIONS]
    return info._replace(facts=facts._replace(weight_version=",".join(shown)))
