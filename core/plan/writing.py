"""A plan written as TOML, as `logdrift.core.plan.load_plan` reads it.

No library writes it: see docs/decisions.md, "Plans as TOML".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.plan.backend import BackendSpec
from logdrift.core.plan.capture import CapturePlan

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
_FINAL_TURN = ("continue_final_message", "add_generation_prompt")
_SAMPLING_NOTES = {"top_k": "  # most likely tokens to sample from, 0: all"}
"""Comments behind fields: the plan has another ``top_k``."""
_ALWAYS = ("name", "engine", "dtype", "role", "repeats")
"""Fields of a backend that are written though they have their default value."""
_ORDER = (
    "name",
    "engine",
    "dtype",
    "role",
    "paths",
    "repeats",
    "alone",
    "reproducible",
    "gpus",
)
"""The first fields of a backend; the others follow as they are declared."""


def plan_toml(plan: CapturePlan) -> str:
    """The plan as TOML, ending in a newline.

    Fields that have their default and are rarely changed are left out. The file of
    prompts is written with its absolute path, since the plan may be saved in any
    folder. Raises InputError for a value that TOML cannot hold (null, half a surrogate
    pair).
    """
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: CapturePlan) -> Iterator[str]:
    yield f"model = {_value(plan.model, 'model')}"
    if plan.revision is not None:
        yield f"revision = {_value(plan.revision, 'revision')}"
    if plan.title:
        yield f"title = {_value(plan.title, 'title')}"
    yield f"top_k = {plan.top_k}  # alternatives kept for each token"
    yield f"part_sequences = {plan.part_sequences}"
    if plan.trust_remote_code:
        yield "trust_remote_code = true"
    yield from _prompts(plan)
    yield from ("", "[sampling]")
    for field in fields(plan.sampling):
        value = getattr(plan.sampling, field.name)
        note = _SAMPLING_NOTES.get(field.name, "")
        yield f"{field.name} = {_value(value, f'sampling.{field.name}')}{note}"
    for spec in plan.backends:
        yield from ("", "[[backend]]", *_backend(spec))


def _prompts(plan: CapturePlan) -> Iterator[str]:
    final_turn = [name for name in _FINAL_TURN if getattr(plan, name)]
    has_prompts = plan.prompts_file is not None or plan.texts
    if not has_prompts and not final_turn:
        return
    yield from ("", "[prompts]")
    if plan.prompts_file is not None:
        path = str(Path(plan.prompts_file).absolute())
        yield f"file = {_value(path, 'prompts.file')}"
    if plan.texts:
        yield "texts = ["
        yield from (f"  {_value(text, 'prompts.texts')}," for text in plan.texts)
        yield "]"
    yield from (f"{name} = true" for name in final_turn)


def _backend(spec: BackendSpec) -> Iterator[str]:
    where = f"backend {spec.name!r}: "
    for field in sorted(fields(spec), key=_rank):
        value = getattr(spec, field.name)
        if field.name == "options":
            continue  # a table, which TOML has below the other fields
        if field.name in _ALWAYS or value != field.default:
            yield f"{field.name} = {_value(value, where + field.name)}"
    if spec.options:
        yield "[backend.options]"
        for key, value in spec.options.items():
            yield f"{_key(key, where)} = {_value(value, f'{where}option {key!r}')}"


def _rank(field: Field[Any]) -> int:
    """Where a field stands in `_ORDER`; sorting keeps the order of the others."""
    if field.name in _ORDER:
        return _ORDER.index(field.name)
    return len(_ORDER)


def _key(key: str, where: str) -> str:
    if _BARE.fullmatch(key):
        return key
    return _text(key, f"{where}option {key!r}")


def _value(value: Any, where: str) -> str:
    if isinstance(value, bool):
        if value:
            return "true"
        return "false"
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)  # inf and nan are TOML's words too
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return _inline_table(value, where)
    if isinstance(value, list | tuple):
        items = [_value(item, where) for item in value]
        return f"[{', '.join(items)}]"
    written = json.dumps(value, default=repr)
    raise InputError(
        f"{where} is {written}, which TOML cannot hold", remedy="leave it out"
    )


def _inline_table(table: Mapping[Any, Any], where: str) -> str:
    if not table:
        return "{}"
    entries = []
    for key, value in table.items():
        name = _key(str(key), where)
        entries.append(f"{name} = {_value(value, where)}")
    return f"{{ {', '.join(entries)} }}"


def _text(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        reason = f"{where} holds half a surrogate pair, which TOML cannot hold"
        raise InputError(reason, remedy="leave it out") from None
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0], f"\\u{ord(match[0]):04X}")
