"""The options of a Transformers backend that are logdrift's own; all others go to
``from_pretrained`` by its own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from logdrift.core.engines.transformers.head import MIN_ROWS
from logdrift.core.errors import LogdriftError

PLACES = ("device", "host", "host_nonblocking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options, with their defaults. The last two may change no number: they are for
    the experiments that show it.
    """

    device: str | None = None
    """``cuda:0``, ``cpu``, ...; None: a GPU if there is one. Excludes
    ``device_map``.
    """
    head_dtype: str | None = None
    """``float32`` multiplies with a float32 copy of the head: the "float32 head"
    baseline.
    """
    memory_mb: int | None = None
    """MiB of logits and buffers in work at once; None: 31 on a CPU, 1,024 on a GPU,
    less where memory is short.
    """
    batch_tokens: int | None = None
    """Rows per chunk of the head, instead of those that ``memory_mb`` gives."""
    pack: bool = False
    """Sequences of nearly one length are scored together."""
    pack_tokens: int | None = None
    """Tokens of such a pack, padding included; None: by the memory that is free, up to
    2,048 on a CPU and 32,768 on a GPU.
    """
    threads: int | None = None
    """CPU threads of torch."""
    deterministic: bool = False
    """Deterministic torch algorithms only; an error where an operation has none."""
    compile: bool = False
    """The backbone through torch.compile (inductor) when scoring; sampling stays
    eager.
    """
    hidden_states: str = "device"
    """``device``: the last hidden state stays where it was made. ``host``: it is copied
    to the host, and back chunk by chunk. ``host_nonblocking``: the same through pinned
    memory, without waiting for each copy. On a CPU all three are one.
    """
    oom_rows: int | None = None
    """Chunks of more rows than this run out of memory on purpose: the way that a real
    shortage takes.
    """


OWN = tuple(field.name for field in fields(Options))


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our own options, and those for ``from_pretrained``."""
    own = {name: value for name, value in options.items() if name in OWN}
    others = {name: value for name, value in options.items() if name not in OWN}
    return own, others


def checked(own: Mapping[str, Any], others: Mapping[str, Any]) -> Options:
    """Our own options. Raises LogdriftError for a value that they do not take."""
    for name in ("threads", "memory_mb", "batch_tokens", "pack_tokens"):
        _check_whole(own, name, 1)
    if own.get("oom_rows") is not None:
        _check_whole(own, "oom_rows", MIN_ROWS)
    for name in ("compile", "deterministic", "pack"):
        if not isinstance(own.get(name, False), bool):
            raise _refusal(own, name, "give true or false")
    if own.get("head_dtype") not in (None, "auto", "float32"):
        raise _refusal(own, "head_dtype", "give float32, or leave it out")
    if own.get("hidden_states", "device") not in PLACES:
        raise _refusal(own, "hidden_states", f"give {', '.join(PLACES)}")
    if "device" in own and "device_map" in others:
        raise LogdriftError(
            "transformers: options device and device_map exclude each other: leave one"
            " out"
        )
    return Options(**own)


def _check_whole(own: Mapping[str, Any], name: str, least: int) -> None:
    value = own.get(name, least)
    # A bool is an int for Python, and no number for a user.
    if type(value) is not int or value < least:
        raise _refusal(own, name, f"give a whole number of {least} or more")


def _refusal(own: Mapping[str, Any], name: str, fix: str) -> LogdriftError:
    return LogdriftError(f"transformers: option {name}={own[name]!r}: {fix}")
