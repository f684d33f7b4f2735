"""A planted session as users hold it: as captured, as a dump with lists and no facts, as a dump of chosen tokens alone.

The dumps are real files in the jsonl format and go through the real importer, so nothing reaches the diagnosis that a user's own
dump would not hold.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from core.session.importers import import_session
from core.session.reader import Capture, Session, open_session

Form = Literal["captured", "lists", "chosen"]
FORMS: tuple[Form, ...] = get_args(Form)
IN_WORDS: dict[Form, str] = {
    "captured": "as captured",
    "lists": "a dump with lists, no facts",
    "chosen": "a dump of chosen tokens",
}
SIDES = ("trainer", "rollout")


def in_form(session: Session, form: Form, folder: Path) -> Session:
    """``session`` in another form: its trainer and its rollout as a dump, imported into ``folder`` (made anew)."""
    if form == "captured":
        return session
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / "dump.jsonl"
    write_dump(session, file, lists=form == "lists")
    import_session("jsonl", [str(file)], folder / "session")
    return open_session(folder / "session")


def write_dump(session: Session, file: Path, *, lists: bool) -> None:
    """One line a sequence with the log-probabilities of both sides and, where asked, their alternatives."""
    captures = {name: session.capture(f"{name}/prefill") for name in SIDES}
    with open(file, "w", encoding="utf-8") as out:
        for sequence in range(len(session.sequences)):
            start, stop = session.sequences.bounds(sequence)
            line = {
                "token_ids": session.sequences.ids(sequence).tolist(),
                "prompt_length": int(session.sequences.prompt_lengths[sequence]),
                "captures": {name: _scores(capture, start, stop, lists) for name, capture in captures.items()},
            }
            out.write(json.dumps(line) + "\n")


def _scores(capture: Capture, start: int, stop: int, lists: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"logprobs": [_number(value) for value in capture.logprob.rows(start, stop)]}
    if not lists:
        return out
    ids, values = capture.top_ids.rows(start, stop), capture.top_logprobs.rows(start, stop)
    rows = [
        [(int(i), float(value)) for i, value in zip(row_ids, row, strict=True) if i >= 0 and np.isfinite(value)]
        for row_ids, row in zip(ids, values, strict=True)
    ]
    out["top_ids"] = [[i for i, _ in row] or None for row in rows]
    out["top_logprobs"] = [[value for _, value in row] or None for row in rows]
    return out


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)
