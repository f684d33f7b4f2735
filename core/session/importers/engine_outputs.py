"""Lines of the public script that compares an engine with a trainer's prefill
(``engine_outputs.jsonl``): ``prompt_ids``, ``gen_ids``, ``gen_logprobs`` and ``text``.

The engine's log-probabilities are those of the generated ids alone.
"""

from __future__ import annotations

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.answer_records import ServerAnswer
from logdrift.core.session.importers.columns import ids_of
from logdrift.core.session.importers.scored_tokens import (
    IdList,
    ScoredToken,
    tokens_by_id,
)


def scored(place: Place, line: JsonObject) -> ServerAnswer:
    """One line. Raises InputError naming it."""
    prompt = _ids(line, "prompt_ids", place)
    new = _ids(line, "gen_ids", place)
    key = "gen_logprobs"
    values = line[key]
    if not isinstance(values, list):
        raise place.error(f"{key} is not a list", "give one number for each of gen_ids")
    unscored = [ScoredToken() for _ in prompt]
    return ServerAnswer(
        place=place,
        given=prompt,
        given_tokens=unscored,
        new=new,
        new_tokens=tokens_by_id(values, new, place, key),
    )


def _ids(line: JsonObject, key: str, place: Place) -> IdList:
    column = ids_of(line.get(key), place, key)
    ids: list[int] = column.tolist()
    return ids
