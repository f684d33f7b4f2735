"""What a run writes down of a session: its manifest, and the events that narrate it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from logdrift.core.credentials import masked_text, secret_values
from logdrift.core.session.layout import CaptureInfo, Manifest, Part
from logdrift.core.session.retokenised import with_rows
from logdrift.core.session.writer import append_event, write_manifest

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]
"""Told every event of a run, ``stage`` and ``failed`` among them."""


def listed(
    parts: tuple[Part, ...], ahead: tuple[Part, ...], finished: Part
) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """The parts that follow one another, and those behind a gap, with one more that is
    ``finished``.
    """
    waiting = {part.first_sequence: part for part in (*ahead, finished)}
    following = list(parts)
    end = sum(part.sequences for part in parts)
    while end in waiting:
        part = waiting.pop(end)
        following.append(part)
        end += part.sequences
    behind = [waiting[first] for first in sorted(waiting)]
    return tuple(following), tuple(behind)


class Ledger:
    """The manifest of a session that is being captured, written after every change.

    The manifest in memory is the truth: the holder of the lock ``token`` is its one
    writer. Every method that writes raises `lock.Gone` where the folder does not hold
    that lock any more, LogdriftError where the disk fails.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, token: str, on_event: OnEvent
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.token = token
        self._on_event = on_event

    def captures_of(self, backend: str) -> list[CaptureInfo]:
        """The captures of a backend, in the order in which they are made."""
        captures = self.manifest.captures
        return [capture for capture in captures if capture.backend == backend]

    def open_captures(self, backend: str) -> list[CaptureInfo]:
        """Those of a backend that are not complete."""
        captures = self.captures_of(backend)
        return [capture for capture in captures if capture.status != "complete"]

    def add_part(self, label: str, part: Part) -> None:
        """List one more finished part of a capture; `save` writes it."""
        capture = self.manifest.capture(label)
        parts, ahead = listed(capture.parts, capture.ahead, part)
        self.update(label, parts=parts, ahead=ahead)

    def update(self, label: str, **changes: Any) -> None:
        """Change fields of one capture; `save` writes them."""
        captures = []
        for capture in self.manifest.captures:
            if capture.label == label:
                capture = capture._replace(**changes)
            captures.append(capture)
        self.manifest = self.manifest._replace(captures=tuple(captures))

    def add_sequences(self, part: Part, rows: Sequence[Any]) -> None:
        """List one more part of the sequences, and what a tokenizer made of their text
        (`logdrift.core.session.retokenised`).
        """
        sequences = self.manifest.sequences
        first = part.first_sequence
        parts, ahead = listed(sequences.parts, sequences.ahead, part)
        sequences = sequences._replace(
            parts=parts,
            ahead=ahead,
            retokenised=with_rows(sequences.retokenised, first, rows),
        )
        self.manifest = self.manifest._replace(sequences=sequences)

    def reset_unfinished(self) -> None:
        """Everything that ran or failed is pending again."""
        for capture in self.manifest.captures:
            if capture.status in ("running", "failed"):
                self.update(capture.label, status="pending", failure=None)

    def fail(self, backend: str, error: str, log_tail: str = "") -> None:
        """Write down why a backend failed, with the last lines of its log."""
        secrets = secret_values(os.environ)
        error = masked_text(error, secrets)
        log_tail = masked_text(log_tail, secrets)
        if log_tail:
            failure = f"{error}\n{log_tail}"
        else:
            failure = error
        for capture in self.open_captures(backend):
            self.update(capture.label, status="failed", failure=failure)
        self.save()
        self.event({"type": "failed", "backend": backend, "error": error})

    def save(self) -> None:
        """Write the manifest."""
        write_manifest(self.folder, self.manifest, self.token)

    def event(self, event: Event) -> None:
        """Append an event, with the time, and tell whoever listens."""
        now = round(time.time(), 3)
        stamped = {"t": now, **event}
        append_event(self.folder, stamped, self.token)
        self._on_event(stamped)
