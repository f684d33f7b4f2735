"""What an import changed or left out, counted and put into words."""

from __future__ import annotations

import re
from collections import Counter


class Notes:
    """What an import changed or left out, counted by kind.

    Each kind is one sentence, with ``{n}`` for its number and ``{one|many}`` for words
    that depend on it.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, sentence: str, number: int = 1) -> None:
        """Add ``number`` to what ``sentence`` counts."""
        if number:
            self._counts[sentence] += number

    def copy(self) -> Notes:
        """The notes as they are now."""
        copy = Notes()
        copy._counts.update(self._counts)
        return copy

    def restore(self, earlier: Notes) -> None:
        """Forget what was counted since `copy` gave ``earlier``."""
        self._counts = earlier._counts

    def sentences(self) -> tuple[str, ...]:
        """One sentence each, in the order in which they first came up."""
        in_words = []
        for sentence, number in self._counts.items():
            words = _worded(sentence, number)
            in_words.append(words)
        return tuple(in_words)


_BY_NUMBER = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")


def _worded(sentence: str, number: int) -> str:
    form = 2
    if number == 1:
        form = 1
    words = _BY_NUMBER.sub(lambda forms: forms[form], sentence)
    return words.replace("{n}", f"{number:,}")
