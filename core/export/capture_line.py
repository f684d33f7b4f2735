"""What a line of the export says of one capture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core import told
from logdrift.core.errors import InputError
from logdrift.core.export.digits import json_numbers
from logdrift.core.export.json_texts import array_text, runs_text, table_text, whole
from logdrift.core.facts import Facts
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Capture
from logdrift.core.session.scores import Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_UNKNOWN = "unknown"
"""What stands where nothing was told of an engine or a dtype."""
_NO_ALTERNATIVE = -1


class CaptureLine:
    """The tokens ``start`` to ``stop`` of a capture; not scored where it has not come
    so far.
    """

    def __init__(self, capture: Capture, start: int, stop: int) -> None:
        self._capture = capture
        self._scores = _scores(capture, start, stop)
        self._versions = _versions(capture, start, stop)

    @property
    def label(self) -> str:
        return self._capture.info.label

    @property
    def listed_ids(self) -> Array:
        """The ids of all alternatives."""
        ids = self._scores.top_ids
        return ids[ids >= 0]

    def entries(self, first: bool) -> dict[str, str]:
        """The keys of the capture and their values as JSON; ``first``: with what is
        true of all lines.
        """
        scores = self._scores
        logprobs = self._logprobs()
        entries = {"logprobs": array_text(logprobs)}
        if scores.rank.any():
            ranks = whole(scores.rank)
            entries["ranks"] = array_text(ranks)
        if scores.entropy is not None:
            entropies = json_numbers(scores.entropy)
            entries["entropy"] = array_text(entropies)
        if self._capture.top_k:
            entries |= self._alternatives()
        if self._versions:
            entries["versions"] = runs_text(self._versions)
        if first:
            entries |= _told(self._capture.info)
        return entries

    def _logprobs(self) -> list[str]:
        """null is a missing score, the text "NaN" one that was computed."""
        texts = json_numbers(self._scores.logprob)
        if self._scores.nan is None:
            return texts
        places = np.flatnonzero(self._scores.nan)
        for place in places.tolist():
            texts[place] = '"NaN"'
        return texts

    def _alternatives(self) -> dict[str, str]:
        """Rows of ``top_k`` entries, null for one that lists nothing. The first stands
        as it is, so that their number is known.
        """
        ids = self._scores.top_ids
        logprobs = self._scores.top_logprobs
        has_id = ids != _NO_ALTERNATIVE
        has_number = ~np.isnan(logprobs)
        says_something = has_id | has_number
        shown = says_something.any(axis=1)
        shown[:1] = True
        shown_ids = ids[shown].reshape(-1)
        shown_logprobs = logprobs[shown].reshape(-1)
        texts = {
            "top_ids": whole(shown_ids),
            "top_logprobs": json_numbers(shown_logprobs),
        }
        rows = shown.tolist()
        width = self._capture.top_k
        tables = {}
        for name, values in texts.items():
            tables[name] = table_text(values, rows, width)
        return tables


def _versions(capture: Capture, start: int, stop: int) -> list[str | None]:
    """The version of each token; empty where nothing tells."""
    if capture.versions is None or stop > capture.tokens:
        return []
    names = (*capture.version_names, None)
    places = capture.versions.rows(start, stop)
    return [names[place] for place in places.tolist()]


def _scores(capture: Capture, start: int, stop: int) -> Scores:
    if stop > capture.tokens:
        has_entropy = capture.entropy is not None
        return Scores.empty(stop - start, capture.top_k, entropy=has_entropy)
    entropy = None
    if capture.entropy is not None:
        entropy = capture.entropy.rows(start, stop)
    nan = None
    if capture.nan is not None:
        nan = capture.nan.rows(start, stop)
    return Scores(
        logprob=capture.logprob.rows(start, stop),
        rank=capture.rank.rows(start, stop),
        top_ids=capture.top_ids.rows(start, stop),
        top_logprobs=capture.top_logprobs.rows(start, stop),
        entropy=entropy,
        nan=nan,
    )


def _told(info: CaptureInfo) -> dict[str, str]:
    """The role, all facts, and by themselves those that any line can tell
    (`told.TELLABLE`).
    """
    entries = {"role": json.dumps(info.role)}
    if info.facts is not None:
        facts = _facts_of_copy(info, info.facts)
        entries["facts"] = json.dumps(facts)
    for name, value in _known_facts(info).items():
        try:
            fact = told.value_of(name, value, name)
        except InputError:
            continue  # what was observed needs more words than a line can tell
        entries[name] = json.dumps(fact)
    return entries


def _facts_of_copy(info: CaptureInfo, facts: Facts) -> dict[str, Any]:
    """All that is known. A copy has other parts, so how many sequences were together
    in these stands in the limit of the batches.
    """
    limit = facts.max_batch_sequences
    if limit is not None:
        together = min(limit, _together(info))
        facts = facts._replace(max_batch_sequences=together)
    values = facts.to_json().items()
    return {name: value for name, value in values if value is not None}


def _together(info: CaptureInfo) -> int:
    """The most sequences that an engine was given at once."""
    if info.batch == "alone":
        return 1
    return max(info.batch_sizes, default=1)


def _known_facts(info: CaptureInfo) -> dict[str, Any]:
    values: dict[str, Any] = {"engine": info.engine, "dtype": info.dtype}
    if info.facts is not None:
        observed = info.facts.to_json()
        values["logprobs_mode"] = told.mode_of(info.path, info.facts)
        for name in told.TELLABLE:
            value = observed.get(name)
            values[name] = value or values.get(name)
    known = {}
    for name, value in values.items():
        if value is not None and value != _UNKNOWN:
            known[name] = value
    return known
