"""An exception of an engine or a library as one line."""

from __future__ import annotations


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception as one printable line: its type where the text is empty, the first
    lines joined otherwise.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) <= limit:
        return text
    return text[: limit - 1] + "…"
