"""What an import changed or left out, counted and put into words."""

from __future__ import annotations

import re


class Notes:
    """What an import changed or left out, counted by kind.

    Each kind is one sentence, with ``{n}`` for its number and ``{one|many}`` for words
    that depend on it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, sentence: str, number: int = 1) -> None:
        """Add ``number`` to what ``sentence`` counts."""
        if number:
            self._counts[sentence] = self._counts.get(sentence, 0) + number

    def sentences(self) -> tuple[str, ...]:
        """One sentence each, in the order in which they first came up."""
        return tuple(_worded(text, number) for text, number in self._counts.items())


_BY_NUMBER = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")


def _worded(sentence: str, number: int) -> str:
    words = _BY_NUMBER.sub(lambda both: both[1 if number == 1 else 2], sentence)
    return words.replace("{n}", f"{number:,}")
