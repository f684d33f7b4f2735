"""What names a token in an answer: its id, or a text that holds the id, as vLLM writes
it for ``return_tokens_as_token_ids``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from logdrift.core.session.files import JsonList
from logdrift.core.session.importers.arrays import quick_ids
from logdrift.core.session.importers.columns import is_whole
from logdrift.core.session.importers.json_library import library
from logdrift.core.session.scores import IdArray

_PREFIX = "token_id:"
NAMED = _PREFIX.encode()
"""How the bytes of a text begin that names an id."""
_NEXT = f",{_PREFIX}"
_FEW = 4
"""So many names are read faster one by one."""
_DIGITS = b"0123456789,"
_MOST_DIGITS = 10
"""Of an id of 32 bits."""


def id_named(name: Any) -> int | None:
    """The id that ``name`` is or holds; None for a text of another kind."""
    if isinstance(name, str):
        return _id_in(name)
    if is_whole(name):
        return int(name)
    return None


def _id_in(text: str) -> int | None:
    """The id behind the prefix."""
    if not text.startswith(_PREFIX):
        return None
    digits = text.removeprefix(_PREFIX)
    is_number = digits.isascii() and digits.isdigit()
    if not is_number or len(digits) > _MOST_DIGITS:
        return None
    return int(digits)


def each_named(names: JsonList) -> Sequence[int | None]:
    """The id that each of ``names`` is or holds; None where one names none."""
    ids = None
    if len(names) > _FEW:
        ids = ids_named(names)
    if ids is None:
        return list(map(id_named, names))
    found: list[int] = ids.tolist()
    return found


def ids_named(names: JsonList) -> IdArray | None:
    """i32[n]: the id that each of ``names`` is or holds; None where one names none."""
    ids = quick_ids(names)
    if ids is not None:
        return ids
    try:
        joined = ",".join(names)
    except TypeError:
        return None
    return _written_ids(joined, len(names))


def _written_ids(joined: str, number: int) -> IdArray | None:
    """The ids of ``number`` texts between commas; None where they are no names of ids.
    A JSON library reads ids in a fifth of the time that Python's ``int`` takes.
    """
    if not joined.startswith(_PREFIX):
        return None
    if joined.count(_NEXT) != number - 1:
        return None
    written = joined.encode("utf-8", "surrogatepass").translate(None, NAMED)
    left_out = len(joined) - len(written)
    if left_out != number * len(_PREFIX):
        return None
    # JSON takes numbers of other forms too, and spaces around them.
    if written.translate(None, _DIGITS):
        return None
    try:
        ids = library().loads(b"[" + written + b"]")
    except ValueError:
        return None
    if len(ids) != number:
        return None
    return quick_ids(ids)
