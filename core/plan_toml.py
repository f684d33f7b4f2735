"""A plan written as TOML, as `logdrift.core.plan.load_plan` reads it: to be looked at,
saved, edited by hand and loaded again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.plan import BackendSpec, CapturePlan

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')
_SHORT = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
}


def plan_toml(plan: CapturePlan) -> str:
    """The plan as TOML, ending in a newline. What is at its default and rarely wanted
    is left out.

    The file of prompts is written with its whole path: a relative one would be read
    relative to wherever the plan is saved. Raises InputError for a value that TOML
    cannot hold (null, half a surrogate pair).
    """
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: CapturePlan) -> Iterator[str]:
    yield f"model = {_value(plan.model, 'model')}"
    if plan.revision is not None:
        yield f"revision = {_value(plan.revision, 'revision')}"
    if plan.title:
        yield f"title = {_value(plan.title, 'title')}"
    yield f"top_k = {plan.top_k}"
    yield f"part_sequences = {plan.part_sequences}"
    if plan.trust_remote_code:
        yield "trust_remote_code = true"
    yield from _prompts(plan)
    yield from ("", "[sampling]")
    for f in fields(plan.sampling):
        yield (
            f"{f.name} = {_value(getattr(plan.sampling, f.name), f'sampling.{f.name}')}"
        )
    for spec in plan.backends:
        yield from ("", "[[backend]]", *_backend(spec))


def _prompts(plan: CapturePlan) -> Iterator[str]:
    final_turn = [
        name
        for name in ("continue_final_message", "add_generation_prompt")
        if getattr(plan, name)
    ]
    if plan.prompts_file is None and not plan.texts and not final_turn:
        return
    yield from ("", "[prompts]")
    if plan.prompts_file is not None:
        yield (
            f"file = {_value(str(Path(plan.prompts_file).absolute()), 'prompts.file')}"
        )
    if plan.texts:
        yield "texts = ["
        yield from (f"  {_value(text, 'prompts.texts')}," for text in plan.texts)
        yield "]"
    yield from (f"{name} = true" for name in final_turn)


def _backend(spec: BackendSpec) -> Iterator[str]:
    where = f"backend {spec.name!r}: "
    for name in ("name", "engine", "dtype", "role"):
        yield f"{name} = {_value(getattr(spec, name), where + name)}"
    if spec.paths:
        yield f"paths = {_value(list(spec.paths), where + 'paths')}"
    yield f"repeats = {spec.repeats}"
    if spec.alone:
        yield "alone = true"
    for name in ("gpus", "python", "model", "revision"):
        if getattr(spec, name) is not None:
            yield f"{name} = {_value(getattr(spec, name), where + name)}"
    if spec.options:
        yield "[backend.options]"
        for key, value in spec.options.items():
            yield f"{_key(key, where)} = {_value(value, f'{where}option {key!r}')}"


def _key(key: str, where: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key, f"{where}option {key!r}")


def _value(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)  # inf and nan are TOML's words too
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        inside = ", ".join(
            f"{_key(str(key), where)} = {_value(item, where)}"
            for key, item in value.items()
        )
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item, where) for item in value)}]"
    raise InputError(
        f"{where} is {json.dumps(value, default=repr)}, which TOML cannot hold: leave"
        " it out"
    )


def _text(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            f"{where} holds half a surrogate pair, which TOML cannot hold: leave it out"
        ) from None
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0], f"\\u{ord(found[0]):04X}")
