"""The session folder: the only channel between capturing and everything else.

The reader's names are found here too, but imported when first asked for: a command that
needs `visible` or the lock alone does not wait for NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logdrift.core.session.reader import (
        Capture,
        Pieces,
        Sequences,
        Session,
        open_session,
    )

__all__ = ["Capture", "Pieces", "Sequences", "Session", "open_session"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from logdrift.core.session import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
