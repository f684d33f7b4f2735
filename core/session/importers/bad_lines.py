"""Lines and sequences that cannot be imported: the first one ends the import, or all
are left out and counted (``--skip-bad``).
"""

from __future__ import annotations

from logdrift.core.errors import InputError
from logdrift.core.numbers import counted

_SHOWN = 3
"""Of the errors of lines that are left out."""


class BadLines:
    """What is wrong with lines. Where ``skip`` is False an error passes."""

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self._first: list[InputError] = []
        self.number = 0

    def left_out(self) -> BadLines:
        """Inside ``with`` is what is done with one line or sequence."""
        return self

    def __enter__(self) -> None:
        """Nothing is to be done before a line."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        """Whether the error of a line ends here."""
        if not self.skip or not isinstance(error, InputError):
            return False
        self.number += 1
        if self.number <= _SHOWN:
            self._first.append(error)
        return True

    def sentences(self) -> tuple[str, ...]:
        """How many were left out, and why the first of them; nothing where none was."""
        if not self.number:
            return ()
        number = counted(self.number, "bad line")
        reasons = [str(error) for error in self._first]
        more = self.number - len(reasons)
        if more:
            reasons.append(f"and {more:,} more")
        listed = "; ".join(reasons)
        return (f"left out {number}: {listed}",)

    def raise_first(self) -> None:
        """Raise the first error: where nothing is left it is the reason."""
        for error in self._first:
            raise error
