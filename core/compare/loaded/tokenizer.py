"""Two backends' tokenizers against each other: which ids stand for other texts, and how
text is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from logdrift.core.compare.loaded.difference import (
    DIGESTS_DIFFER,
    Difference,
    ValuesOfSides,
    value_differences,
)
from logdrift.core.json_values import flatten, shown
from logdrift.core.session.loaded import Loaded

_DIGESTS = ("vocabulary_blocks", "merges_digest", "added_digest", "block_ids")


def tokenizer_values(loaded: Loaded) -> dict[str, Any]:
    """The tokenizer flat by dotted names, without the digests of its vocabulary."""
    kept = loaded.tokenizer or {}
    tokenizer = dict(kept)
    for name in _DIGESTS:
        tokenizer.pop(name, None)
    return flatten(tokenizer)


def tokenizer_differences(a: Loaded, b: Loaded) -> tuple[Difference, ...]:
    """What differs between the tokenizers: how ids are text first, then how text is
    cut.
    """
    if a.tokenizer is None or b.tokenizer is None:
        return ()
    values_a = tokenizer_values(a)
    values_b = tokenizer_values(b)
    sides = ValuesOfSides(values_a, values_b)
    vocabularies = _vocabularies(a.tokenizer, b.tokenizer)
    differences = list(vocabularies)
    for name in sides.names:
        if sides.both_have(name):
            differences += value_differences(name, sides)
        elif not sides.is_table_with_entries(name):
            one_sided = sides.one_sided(name)
            differences.append(one_sided)
    return tuple(differences)


def _vocabularies(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """Ranges of ids that stand for other texts, from one digest a block; merges and
    added tokens beyond those listed.
    """
    size = a.get("block_ids")
    size_of_b = b.get("block_ids")
    if isinstance(size, int) and size == size_of_b:
        other_blocks = _other_blocks(a, b, size)
        for first_block, last_block in _runs(other_blocks):
            next_block = last_block + 1
            first = first_block * size
            last = next_block * size - 1
            name = f"text of ids {first:,} to {last:,}"
            yield Difference(name, *DIGESTS_DIFFER)
    if _has_other_digest("merges_digest", a, b):
        merges_a = a.get("merges")
        merges_b = b.get("merges")
        text_a = shown(merges_a)
        text_b = shown(merges_b)
        yield Difference("merges", text_a, f"{text_b} others")
    if _has_other_digest("added_digest", a, b):
        yield Difference("added tokens beyond those listed", *DIGESTS_DIFFER)


def _has_other_digest(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether both sides have a digest, and not the same."""
    digest_a = a.get(name)
    digest_b = b.get(name)
    if digest_a is None or digest_b is None:
        return False
    return bool(digest_a != digest_b)


def _other_blocks(a: Mapping[str, Any], b: Mapping[str, Any], size: int) -> list[int]:
    """Blocks of ids with other texts.

    The block in which one vocabulary ends is left out: the sizes show that.
    """
    blocks_a = _list(a.get("vocabulary_blocks"))
    blocks_b = _list(b.get("vocabulary_blocks"))
    others = []
    blocks = zip(blocks_a, blocks_b, strict=False)
    for number, (block_a, block_b) in enumerate(blocks):
        if block_a != block_b:
            others.append(number)
    ids_a = a.get("vocabulary")
    ids_b = b.get("vocabulary")
    if ids_a == ids_b:
        return others
    known_ids = [ids for ids in (ids_a, ids_b) if isinstance(ids, int)]
    shared_ids = min(known_ids, default=0)
    shared = []
    for number in others:
        stop = (number + 1) * size
        if stop <= shared_ids:
            shared.append(number)
    return shared


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    return []


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Consecutive numbers as first and last."""
    first: int | None = None
    last = -1
    for number in numbers:
        if first is None:
            first = number
        elif number != last + 1:
            yield first, last
            first = number
        last = number
    if first is not None:
        yield first, last
