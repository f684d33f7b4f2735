"""What `sgl.Engine` answers, read by position on the ids that were sent and checked
against them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from logdrift.core.worker.base import (
    FloatArray,
    Generation,
    IdArray,
    MismatchError,
    Scores,
    check_length,
    logprob_from,
    mark_nan,
)


def check_echo(ids: IdArray, echoed: Sequence[int], vocabulary: int, what: str) -> None:
    """Raises MismatchError unless equal, where the last id of the vocabulary may come
    back as 0.
    """
    returned = np.asarray(echoed, np.int64)
    is_last_id = ids == vocabulary - 1
    last_id_as_zero = is_last_id & (returned == 0)
    same = (returned == ids) | last_id_as_zero
    if bool(same.all()):
        return
    position = int(np.flatnonzero(~same)[0])
    scored = int(returned[position])
    sent = int(ids[position])
    raise MismatchError(f"{what}: SGLang scored id {scored} at {position}, not {sent}")


def read_generation(
    prompt: IdArray, answer: Mapping[str, Any], top_k: int, most: int, what: str
) -> Generation:
    """Prompt and new ids with their scores. Raises MismatchError on other lengths, ids
    or more than ``most`` new ones.
    """
    meta = answer["meta_info"]
    new = np.asarray(answer["output_ids"], np.int32)
    rows = meta["output_token_logprobs"]
    check_length(len(rows), new.size, what)
    if new.size > most:
        raise MismatchError(
            f"{what}: SGLang generated {new.size} tokens where {most} were asked"
        )
    scored_ids = [token_id for _, token_id, *_ in rows]
    if scored_ids != new.tolist():
        raise MismatchError(f"{what}: SGLang scored other ids than it generated")
    whole = np.concatenate([prompt, new])
    scores = Scores.empty(whole.size, top_k)
    tops = meta.get("output_top_logprobs") or []
    fill(scores, prompt.size, rows, tops, what)
    finish_reason = meta.get("finish_reason") or {}
    finish = finish_reason.get("type")
    if finish not in ("stop", "length"):
        finish = "unknown"
    return Generation(
        token_ids=whole.astype(np.int32),
        prompt_length=int(prompt.size),
        finish=finish,
        scores=scores,
    )


def fill(
    scores: Scores, start: int, rows: Sequence[Any], tops: Sequence[Any], what: str
) -> None:
    """Write one (logprob, id, text) and one list of K such per position from ``start``
    on.

    SGLang gives no rank: it is 1 + the alternatives strictly above the target where the
    target is at least as likely as the last of them, else unknown.
    """
    top_k = scores.top_ids.shape[1]
    stop = start + len(rows)
    check_length(stop, scores.logprob.size, what)
    scores.logprob[start:stop] = [logprob_from(logprob) for logprob, *_ in rows]
    if top_k and rows:
        _fill_alternatives(scores, start, tops, what)
    mark_nan(scores, start)


def _fill_alternatives(
    scores: Scores, start: int, tops: Sequence[Any], what: str
) -> None:
    length, top_k = scores.top_ids.shape
    what = f"{what}: alternatives"
    check_length(len(tops), length - start, what)
    ids = []
    logprobs = []
    for alternatives in tops:
        check_length(len(alternatives), top_k, f"{what} of a position")
        ids.append([token_id for _, token_id, *_ in alternatives])
        logprobs.append([logprob_from(logprob) for logprob, *_ in alternatives])
    values: FloatArray = np.array(logprobs, np.float32)
    target = scores.logprob[start:]
    least_likely = values[:, -1]
    is_above = values > target[:, None]
    above = is_above.sum(axis=1)
    scores.top_ids[start:] = ids
    scores.top_logprobs[start:] = values
    scores.rank[start:] = np.where(target >= least_likely, 1 + above, 0)
