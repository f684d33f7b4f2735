"""Which step of a training a session belongs to: one rule, and what told it.

In this order: the fact ``step`` of one of its captures, the step of its sequences
(`logdrift.record` and the importers of trainers write it), a number in its name, its
title, or the name of its model (``step_40``, ``checkpoint-40``, ``iter_0000040``).
What a model is called by its maker is no step: ``stepfun-ai/Step-3``, ``Step-3.5``. In
a name or title the name of the model is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.reader import Session

StepSource = Literal["facts", "sequences", "name", "title", "model"]
SOURCE_WORDS: dict[StepSource, str] = {
    "facts": "the fact step",
    "sequences": "the step recorded with each sequence",
    "name": "the name of the session",
    "title": "the title of the session",
    "model": "the name of the model",
}
"""What told the step, as outputs say it."""

_STEP = re.compile(
    r"(?:step|iteration|iter|checkpoint|ckpt|update)s?[_\-.= ]{0,2}(\d{1,15})"
    # Not the beginning of a longer number, nor of one with decimals, a version.
    r"(?!\d|\.\d{1,2}(?!\d))",
    re.IGNORECASE,
)
_PRODUCT = re.compile(r"(?:^|--)Step-?\d|stepfun")
"""A part of a path that names a model of StepFun, or that maker: a training writes its
files otherwise. ``--`` stands for / in a cache of the hub.
"""
_MAKER = "stepfun"
_NUMBER = re.compile(r"\d{1,15}")
_NUMBER_ALONE = re.compile(r"^\d{1,15}$")


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A step, and what told it."""

    number: int
    source: StepSource


def step_of_session(session: Session) -> TrainingStep | None:
    """The one step of a session; None where nothing tells it, or its sequences are of
    several.
    """
    for step in _told(session):
        return step
    return None


def _told(session: Session) -> Iterator[TrainingStep]:
    for number in _facts(session):
        yield TrainingStep(number, "facts")
    steps = recorded_steps(session)
    if len(steps) == 1:
        yield TrainingStep(steps[0], "sequences")
    manifest = session.manifest
    model = manifest.model.id
    texts: dict[StepSource, Iterable[str]] = {
        "name": [_without(session.name, model)],
        "title": [_without(manifest.title, model)],
        "model": reversed(_files(model)),
    }
    for source, names in texts.items():
        for name in names:
            step = step_in(name)
            if step is not None:
                yield TrainingStep(step, source)


def _facts(session: Session) -> Iterator[int]:
    for info in session.captures:
        if info.facts is None:
            continue
        value = info.facts.extra.get("step")
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            yield int(value)
        elif type(value) is int and value >= 0:
            yield value


def recorded_steps(session: Session) -> list[int]:
    """The steps of the sequences, each once, in order; empty where none is known."""
    steps = session.sequences.steps
    if steps is None:
        return []
    known = np.unique(steps[steps != NO_STEP])
    numbers: list[int] = known.tolist()
    return numbers


def step_in(name: str) -> int | None:
    """The step that a name tells, its last one; None where it tells none. A name may be
    the number itself.
    """
    if _NUMBER.fullmatch(name):
        return int(name)
    found = _STEP.findall(name)
    if found:
        return int(found[-1])
    return None


def without_step(name: str) -> str:
    """The name of a model without the step that it tells: those of one training are
    alike then.
    """
    parts = []
    files = set(_files(name))
    for part in name.split("/"):
        if part in files:
            part = _NUMBER_ALONE.sub("*", part)
            part = _STEP.sub(_starred, part)
        parts.append(part)
    return "/".join(parts)


def _starred(match: re.Match[str]) -> str:
    words = match[0]
    return words.removesuffix(match[1]) + "*"


def _files(model: str) -> list[str]:
    """The parts of a model's path that a training may have named."""
    files = []
    before = ""
    for part in model.split("/"):
        if not before.startswith(_MAKER) and not _PRODUCT.search(part):
            files.append(part)
        before = part
    return files


def _without(text: str, model: str) -> str:
    """A name or title without the name of the model in it."""
    name = Path(model).name
    if _STEP.search(name):
        return text.replace(name, "")
    return text
