"""Which metrics a name that is none may mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from logdrift.core.compare.metric.parts import near_bucket, part_paths

_SHOWN = 3
_SLIP = 2
"""Letters by which the length of a mistyped name may differ from the one meant."""


def hint(name: str, paths: Sequence[str]) -> str:
    """What to say of a name; ``paths`` are those of all metrics but the parts'."""
    near = _near(name.lower(), paths)
    if not near:
        return "docs/metrics.md lists them all"
    return f"did you mean {' or '.join(near)}?"


def _near(text: str, paths: Sequence[str]) -> Sequence[str]:
    """At most three paths that look like ``text``."""
    starting = [path for path in paths if text and f".{text}" in path]
    if starting:
        return starting[:_SHOWN]
    of_parts = _near_parts(text)
    if of_parts:
        return of_parts
    similar = difflib.get_close_matches(text, paths, n=_SHOWN, cutoff=0.75)
    if similar:
        return similar
    # By its last part: both `mea` and `error.mea` are near errors.mae.
    last_part = _last_part(text)
    by_last_part = {}
    for path in reversed(paths):
        name = _last_part(path)
        if abs(len(name) - len(last_part)) <= _SLIP:
            by_last_part[name] = path
    parts = difflib.get_close_matches(last_part, by_last_part, n=_SHOWN, cutoff=0.6)
    return [by_last_part[name] for name in parts]


def _near_parts(text: str) -> Sequence[str]:
    """Metrics of parts, which are named in full: those with all words of the name in
    its order, else those like it.
    """
    kind, dot, rest = text.partition(".")
    if kind == "buckets":
        return near_bucket(rest)
    paths = part_paths()
    of_kind = [path for path in paths if path.startswith(f"{kind}.")]
    if not dot and not of_kind:
        return []
    holding = [path for path in paths if _holds(path, text)]
    if holding:
        return difflib.get_close_matches(text, holding, n=_SHOWN, cutoff=0.0)
    rests = [path.partition(".")[2] for path in of_kind]
    near = difflib.get_close_matches(rest, rests, n=_SHOWN, cutoff=0.6)
    return [f"{kind}.{one}" for one in near]


def _holds(path: str, text: str) -> bool:
    """Whether a path has the words of a name between its dots, in their order."""
    left: Iterable[str] = iter(path.split("."))
    return all(word in left for word in text.split("."))


def _last_part(path: str) -> str:
    _, _, last = path.rpartition(".")
    return last
