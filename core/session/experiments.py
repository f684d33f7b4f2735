"""Experiments saved in a session: ``why/experiments/ID/``, each a session folder with
``experiment.json``.

This module only reads them; `logdrift.core.diagnose` knows what an experiment means.
``experiment.json`` holds ``schema``, ``pair`` (two labels), ``experiment``
(`logdrift.core.diagnose.experiments.Experiment`), ``outcome`` (null until it was
judged), ``repeats``, ``began`` and ``ended`` (seconds since 1970). A control (an
unchanged backend captured again, for the floor) has ``control`` in place of
``experiment``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.paths import refuse_shipped
from logdrift.core.session.below import refuse_links
from logdrift.core.session.events import read_events
from logdrift.core.session.files import RECORD_BYTES, JsonObject, read_json
from logdrift.core.session.layout import EVENTS, MANIFEST
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.schema import (
    Unfit,
    anything,
    fields,
    items,
    maybe,
    number,
    table,
    text,
    whole,
)

FOLDER = "why/experiments"
RECORD = "experiment.json"
SCHEMA = 1
_record = fields(
    {
        "schema": whole(),
        "pair": maybe(items(text)),
        "experiment": table(anything),
        "control": table(anything),
        "outcome": maybe(table(anything)),
        "repeats": whole(),
        "began": number,
        "ended": maybe(number),
    }
)
"""What is read of ``experiment.json``; `logdrift.core.diagnose` knows what an
experiment and its outcome hold.
"""


@dataclass(frozen=True)
class SavedExperiment:
    """One folder below `FOLDER`. ``id`` is its name, ``record`` what
    ``experiment.json`` says.
    """

    folder: Path
    record: JsonObject

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def pair(self) -> tuple[str, str] | None:
        """The labels that it is about; None for a control."""
        pair = self.record.get("pair")
        if not isinstance(pair, list):
            return None
        if len(pair) != 2:
            return None
        first, second = pair
        return str(first), str(second)

    @property
    def outcome(self) -> JsonObject | None:
        """What came of it; None until it was judged."""
        outcome = self.record.get("outcome")
        if isinstance(outcome, Mapping):
            return outcome
        return None

    @cached_property
    def session(self) -> Session | None:
        """The experiment as a session of its own; None where nothing was captured
        yet.
        """
        manifest = self.folder / MANIFEST
        if manifest.exists():
            return open_session(self.folder)
        return None


def read_record(folder: Path) -> JsonObject | None:
    """``experiment.json`` of one experiment's folder; None where there is none that can
    be read.
    """
    with contextlib.suppress(InputError):
        return _read(folder)
    return None


def _read(folder: Path) -> JsonObject | None:
    """As `read_record`. Raises InputError for a damaged one."""
    if _leads_out(folder):
        return None
    with contextlib.suppress(OSError, Unfit):
        data = read_json(folder / RECORD, RECORD_BYTES)
        _record(data)
        if data.get("schema") == SCHEMA:
            return data  # type: ignore[no-any-return]
    return None


def _leads_out(folder: Path) -> bool:
    try:
        for name in (folder.name, f"{folder.name}/{RECORD}"):
            refuse_links(folder.parent, name)
    except InputError:
        return True
    return False


def damaged_records(session_folder: Path) -> list[InputError]:
    """What is wrong with each record that is there and cannot be read. `saved` leaves
    them out, and an outcome may not be gone unsaid.
    """
    errors = []
    for folder in _folders(session_folder):
        try:
            _read(folder)
        except InputError as error:
            errors.append(error)
    return errors


def _folders(session_folder: Path) -> list[Path]:
    """The folders of experiments and controls, by name."""
    with contextlib.suppress(OSError):
        entries = sorted((session_folder / FOLDER).iterdir())
        return [path for path in entries if path.is_dir()]
    return []


def saved(session_folder: Path) -> list[SavedExperiment]:
    """All experiments and controls of a session, by name. A folder without a readable
    record does not count.
    """
    experiments: list[SavedExperiment] = []
    for folder in _folders(session_folder):
        record = read_record(folder)
        if record is not None:
            experiments.append(SavedExperiment(folder, record))
    return experiments


Seconds = tuple[float, float]
"""How long the start of an engine took, and the capture after it."""


def timings(session_folder: Path) -> dict[str, Seconds]:
    """How long each label took, from the last run of each in ``events.jsonl``; empty
    where there is none.

    A resumed capture did only what was left, so one is counted only where its worker
    began and ended it in one go.
    """
    clock = _Timings()
    for event in read_events(session_folder / EVENTS):
        if "t" in event:
            clock.take(event)
    return clock.of_labels


class _Timings:
    """`timings` of the events so far."""

    def __init__(self) -> None:
        self.of_labels: dict[str, Seconds] = {}
        self._backend = ""
        self._began: float | None = None
        self._start_seconds: float | None = None
        self._last = 0.0

    def take(self, event: JsonObject) -> None:
        """Go on with the next event, which has a time."""
        kind = event.get("type")
        now = float(event["t"])
        if kind == "backend":
            backend = event.get("backend")
            self._backend = str(backend)
            self._began = now
            self._start_seconds = None
            self._last = now
        elif kind == "facts" and self._began is not None:
            self._start_seconds = now - self._began
            self._last = now
        elif kind == "captured" and self._start_seconds is not None:
            label = str(event.get("label"))
            if label.startswith(f"{self._backend}/"):
                capture_seconds = now - self._last
                self.of_labels[label] = (self._start_seconds, capture_seconds)
            self._last = now
        elif kind in ("failed", "cancelled", "run"):
            self._start_seconds = None


def check_writable(session: Session) -> None:
    """Raise InputError where nothing can be added to this session: it is shipped with
    logdrift, or the user may not write it.
    """
    import os

    refuse_shipped(session.folder)
    can_write = os.access(session.folder, os.W_OK)
    if not can_write:
        raise InputError(
            f"session {session.folder} cannot be written to: copy it and go on with the"
            " copy"
        )
