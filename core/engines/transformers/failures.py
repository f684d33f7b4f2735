"""What goes wrong in Transformers and torch, as one line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from logdrift.core.errors import LogdriftError
from logdrift.core.worker.observe import dtype_name

_NO_PROBABILITIES = "probability tensor contains"
"""torch.multinomial's words (ATen/native/Distributions)."""
_UNKNOWN_OPTION = r"__init__\(\) got an unexpected keyword argument ('\w+')"
_LONGEST_TEXT = 400
_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "could not allocate",
    "bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """torch raises its own class on a GPU, but on a CPU a RuntimeError with the
    allocator's or oneDNN's words.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in _OUT_OF_MEMORY
    )


@contextmanager
def failing_as(what: str) -> Iterator[None]:
    """Any exception of the engine as a LogdriftError in one line; the original stays
    attached for ``--debug``.
    """
    try:
        yield
    except LogdriftError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        option = re.search(_UNKNOWN_OPTION, text)
        if option is not None:
            raise LogdriftError(
                f"{what}: neither from_pretrained nor the model's config knows"
                f" {option[1]}"
            ) from error
        if is_out_of_memory(error):
            text = f"out of memory: {text}"
        raise LogdriftError(
            f"{what}: {type(error).__name__}: {text[:_LONGEST_TEXT]}"
        ) from error


@contextmanager
def drawn(what: str, dtype: Any) -> Iterator[None]:
    """torch draws no token from probabilities that are NaN: what that means, in place
    of its words.
    """
    try:
        yield
    except RuntimeError as error:
        if _NO_PROBABILITIES not in str(error):
            raise
        if dtype == torch.float16:
            fix = "run it in bfloat16 or float32"
        else:
            fix = "look for NaN in its weights"
        raise LogdriftError(
            f"{what}: the logits are NaN or infinite in {dtype_name(dtype)}, so"
            f" no token can be drawn: {fix}"
        ) from error


@contextmanager
def explained(text: str) -> Iterator[None]:
    """Running out of memory as a LogdriftError that says what did not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise LogdriftError(f"out of memory: {text}") from error
