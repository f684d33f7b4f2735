"""Ids decoded and encoded again: are they what the tokenizer makes of their own text?

Whoever is sent the text of a sequence, as a trainer that makes ids anew, scores other
ids where they are not. What a model samples often is not, and that is expected; in a
prompt or at a special token it is a finding.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from logdrift.core.errors import LogdriftError
from logdrift.core.protocol import RetokeniseJob
from logdrift.core.session.retokenised import RetokenisedKind
from logdrift.core.session.tensors import read_tensors
from logdrift.core.worker.tokens import TokenText

Row = list[Any] | None
"""One sequence as it is told: None not checked, [] the same ids, else [kind, index of
the first id that differs].
"""
_UNREADABLE = "\ufffd"
"""What decoders put in place of bytes that are no character."""
_MOST_PARTS = 4
"""Tokens that one character can be spread over: it has at most four bytes."""


class _Difference(NamedTuple):
    """The first id that differs, and whether special ids are among the new ones."""

    at: int
    is_special: bool


class Retokeniser:
    """Asks a tokenizer of Transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        known = getattr(tokenizer, "all_special_ids", ())
        added = getattr(tokenizer, "added_tokens_decoder", None) or {}
        special = set(known)
        for token_id, token in added.items():
            if getattr(token, "special", False):
                special.add(token_id)
        self._special = frozenset(special)

    def row(self, ids: Sequence[int], prompt_length: int) -> Row:
        """What becomes of a sequence."""
        row = [int(token_id) for token_id in ids]
        try:
            return self._row(row, prompt_length)
        except Exception:  # tokenizers may run any code
            return None

    def _row(self, ids: list[int], prompt_length: int) -> Row:
        prompt = ids[:prompt_length]
        found, is_whole = self._first_difference(prompt)
        kind: RetokenisedKind = "prompt"
        if found is None:
            found, is_whole = self._first_difference(ids)
            kind = "completion"
        if found is not None:
            if found.is_special:
                kind = "special"
            return [kind, found.at]
        if is_whole:
            return []
        return None

    def _first_difference(self, ids: list[int]) -> tuple[_Difference | None, bool]:
        """Where the ids differ first, and whether all of them could be read as text.

        What lies between special ids is looked at by itself: tokenizers treat blanks
        beside these in many ways.
        """
        is_whole = True
        for start, stop in self._plain_runs(ids):
            run = ids[start:stop]
            if stop == len(ids):
                run = self._without_part(run)
            same = self._encoded_again(run, at_start=start == 0)
            if same is None:
                is_whole = False
                continue
            if same != run:
                at = start + _common(run, same)
                is_plain = self._special.isdisjoint(same)
                return _Difference(at, not is_plain), is_whole
        return None, is_whole

    def _plain_runs(self, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Start and end of the stretches without special ids."""
        start = 0
        for place, token_id in enumerate(ids):
            if token_id in self._special:
                if start < place:
                    yield start, place
                start = place + 1
        if start < len(ids):
            yield start, len(ids)

    def _without_part(self, ids: list[int]) -> list[int]:
        """The ids without those at the end that hold a part of a character."""
        count = len(ids)
        for dropped in range(_MOST_PARTS):
            kept = ids[: count - dropped]
            text = self._text(kept)
            if not text.endswith(_UNREADABLE):
                return kept
        return ids

    def _encoded_again(self, ids: list[int], *, at_start: bool) -> list[int] | None:
        """The ids of their own text; None where they are no text."""
        text = self._text(ids)
        if _UNREADABLE in text:
            return None
        same = self._ids(text)
        if same == ids or at_start:
            return same
        # Some tokenizers put a blank before every text: not behind a newline.
        newline = self._ids("\n")
        behind = self._ids(f"\n{text}")
        if behind == newline + ids:
            return ids
        return same

    def _text(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _ids(self, text: str) -> list[int]:
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return [int(token_id) for token_id in ids]


def rows_of_files(job: RetokeniseJob) -> Iterator[list[Row]]:
    """What becomes of each sequence of each file. Raises LogdriftError where there is
    no tokenizer.
    """
    without_torch(trust_remote_code=job.trust_remote_code)
    model = job.model
    try:
        text = TokenText(model.name, model.revision, job.trust_remote_code)
    except ImportError:
        raise LogdriftError("there is no tokenizer in this environment") from None
    asked = Retokeniser(text.tokenizer)
    for file in job.files:
        tensors = read_tensors(Path(file))
        offsets = tensors["offsets"].tolist()
        lengths = tensors["prompt_lengths"].tolist()
        rows = []
        bounds = itertools.pairwise(offsets)
        for (start, stop), length in zip(bounds, lengths, strict=True):
            ids = tensors["token_ids"][start:stop]
            row = asked.row(ids.tolist(), length)
            rows.append(row)
        yield rows


def without_torch(*, trust_remote_code: bool) -> None:
    """Have Transformers do without torch, whose import takes three times as long as all
    that is asked of a tokenizer. Code of a model's own may need it.
    """
    if not trust_remote_code and "torch" not in sys.modules:
        sys.modules["torch"] = cast(Any, None)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading ids are the same."""
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            return count
        count += 1
    return count
