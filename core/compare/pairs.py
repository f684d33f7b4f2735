"""Which pairs of a session are worth looking at, and how a person names one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from logdrift.core.errors import InputError
from logdrift.core.session.layout import SAMPLED_PATHS, CaptureInfo
from logdrift.core.session.reader import Session

PairLabels = tuple[str, str]
"""The labels of the captures A and B of a pair."""
Captures = tuple[CaptureInfo, CaptureInfo]


class BackendCaptures(NamedTuple):
    """The captures of one backend, in the order of the session."""

    captures: tuple[CaptureInfo, ...]

    @property
    def name(self) -> str:
        """The backend's name."""
        return self.captures[0].backend

    @property
    def role(self) -> str:
        """`trainer`, `rollout` or `reference`."""
        return self.captures[0].role

    @property
    def paths(self) -> list[CaptureInfo]:
        """Of each path the capture that stands for it.

        It is no repeat, and scored together with others where that was done.
        """

        def rank(capture: CaptureInfo) -> tuple[bool, int]:
            return capture.batch != "together", capture.repeat

        best: dict[str, CaptureInfo] = {}
        for capture in self.captures:
            current = best.setdefault(capture.path, capture)
            if rank(capture) < rank(current):
                best[capture.path] = capture
        return list(best.values())

    @property
    def main(self) -> CaptureInfo:
        """The capture that stands for the backend.

        It is what a rollout recorded while decoding, and what a scorer scored.
        """
        paths = self.paths
        main_paths: tuple[str, ...] = ("prefill",)
        if self.role == "rollout":
            main_paths = SAMPLED_PATHS
        for capture in paths:
            if capture.path in main_paths:
                return capture
        return paths[0]


def backends_of(captures: Iterable[CaptureInfo]) -> list[BackendCaptures]:
    """The captures by backend, in the order of the session."""
    backends: dict[str, list[CaptureInfo]] = {}
    for capture in captures:
        backends.setdefault(capture.backend, []).append(capture)
    return [BackendCaptures(tuple(own)) for own in backends.values()]


def finished_backends(session: Session) -> list[BackendCaptures]:
    """The backends of a session, without captures that have no finished sequence."""
    return backends_of(info for info in session.captures if info.sequences > 0)


def with_role(backends: Sequence[BackendCaptures], role: str) -> list[BackendCaptures]:
    """The backends that have a role."""
    return [backend for backend in backends if backend.role == role]


def list_pairs(session: Session) -> list[tuple[str, str]]:
    """The pairs worth looking at, as labels (A, B), most wanted first.

    Trainer -> each rollout path; reference -> trainer; reference -> each rollout path;
    paths of one backend (decode -> prefill), its repeats (#2 -> the first) and its
    sequences one at a time (#alone -> the first); backends of one role against each
    other. Captures without a finished sequence are left out.
    """
    backends = finished_backends(session)
    references = with_role(backends, "reference")
    trainers = with_role(backends, "trainer")
    rollouts = with_role(backends, "rollout")

    pairs = every_pair(scorers(trainers), paths(rollouts))
    pairs += every_pair(scorers(references), scorers(trainers))
    pairs += every_pair(scorers(references), paths(rollouts))
    for backend in backends:
        pairs += pairs_within(backend)
    for peers in (references, trainers, rollouts):
        for first, second in itertools.combinations(peers, 2):
            pairs += pairs_between(first, second)
    return without_repeats(pairs)


def scorers(backends: Sequence[BackendCaptures]) -> list[CaptureInfo]:
    """What each trainer or reference scored."""
    return [backend.main for backend in backends]


def paths(backends: Sequence[BackendCaptures]) -> list[CaptureInfo]:
    """Every path of every backend."""
    captures: list[CaptureInfo] = []
    for backend in backends:
        captures += backend.paths
    return captures


def every_pair(
    firsts: Sequence[CaptureInfo], seconds: Sequence[CaptureInfo]
) -> list[Captures]:
    """Each of ``firsts`` against each of ``seconds``."""
    return list(itertools.product(firsts, seconds))


def pairs_within(backend: BackendCaptures) -> list[Captures]:
    """The paths of a backend against each other, then repeats against their first."""
    first_of = {capture.path: capture for capture in backend.paths}
    pairs = list(itertools.combinations(first_of.values(), 2))
    for capture in backend.captures:
        first = first_of[capture.path]
        if capture is not first:
            pairs.append((capture, first))
    return pairs


def pairs_between(first: BackendCaptures, second: BackendCaptures) -> list[Captures]:
    """Like against like: decode steps, prefill.

    Where nothing is alike, the captures that stand for each backend.
    """
    alike = []
    for a, b in every_pair(first.paths, second.paths):
        both_prefill = a.path == b.path == "prefill"
        neither_prefill = "prefill" not in (a.path, b.path)
        if both_prefill or neither_prefill:
            alike.append((a, b))
    return alike or [(first.main, second.main)]


def without_repeats(pairs: Iterable[Captures]) -> list[tuple[str, str]]:
    """The labels of pairs, each pair once."""
    return list(dict.fromkeys((a.label, b.label) for a, b in pairs))


def default_pair(session: Session) -> tuple[str, str] | None:
    """Trainer -> the rollout's decode, else the first of `list_pairs`.

    None where there is nothing to compare yet.
    """
    pairs = list_pairs(session)
    captures = {capture.label: capture for capture in session.captures}
    for a, b in pairs:
        roles = (captures[a].role, captures[b].role)
        b_sampled = captures[b].path in SAMPLED_PATHS
        if roles == ("trainer", "rollout") and b_sampled:
            return a, b
    if pairs:
        return pairs[0]
    return None


def parse_pair(session: Session, text: str) -> tuple[str, str]:
    """``A:B`` as two labels of the session.

    Each side is a label (``vllm/prefill#2``), a backend (``vllm``: the path that stands
    for it) or a role that only one backend has. InputError says what is wrong and which
    labels there are.
    """
    names = [name.strip() for name in text.split(":")]
    if len(names) != 2 or "" in names:
        raise InputError(
            f"pair {text!r}: write it as A:B, for example {_example(session)}"
        )
    first, second = (label_of(session, name) for name in names)
    if first == second:
        raise InputError(
            f"pair {text!r}: both sides are {first}: name two captures, for example"
            f" {_example(session)}"
        )
    return first, second


def label_of(session: Session, name: str) -> str:
    """The label that a label, a backend or a role means.

    InputError for an unknown name, and for a role that several backends have.
    """
    labels = [capture.label for capture in session.captures]
    if name in labels:
        return name
    backends = backends_of(session.captures)
    for backend in backends:
        if backend.name == name:
            return backend.main.label
    with_this_role = with_role(backends, name)
    if not with_this_role:
        known = ", ".join(labels) or "none"
        raise InputError(f"no capture {name!r}: the session has {known}")
    if len(with_this_role) > 1:
        names = ", ".join(backend.name for backend in with_this_role)
        raise InputError(
            f"{name!r} is ambiguous: the backends {names} have this role: use one of"
            " their names"
        )
    return with_this_role[0].main.label


def _example(session: Session) -> str:
    pair = default_pair(session)
    if pair:
        return ":".join(pair)
    return "trainer/prefill:vllm/decode"
