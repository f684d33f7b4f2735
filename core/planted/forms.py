"""A planted session as users hold it: as captured, as a dump with lists and no facts,
as a dump of chosen tokens alone.

The dumps are real files in the jsonl format and go through the real importer, so
nothing reaches the diagnosis that a user's own dump would not hold.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.usual import USUAL
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import LIKELY
from logdrift.core.planted.faults import Fault
from logdrift.core.planted.judge import (
    NamedCause,
    named_in,
    named_json,
    planted_sessions,
)
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import Capture, Session, open_session

Form = Literal["captured", "lists", "chosen"]
FORMS: tuple[Form, ...] = get_args(Form)
IN_WORDS: dict[Form, str] = {
    "captured": "as captured",
    "lists": "a dump with lists, no facts",
    "chosen": "a dump of chosen tokens",
}
SIDES = ("trainer", "rollout")
Json = dict[str, Any]
"""A JSON object."""


def in_form(session: Session, form: Form, folder: Path) -> Session:
    """``session`` in another form: its trainer and its rollout as a dump, imported into
    ``folder`` (made anew).
    """
    if form == "captured":
        return session
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dump = folder / "dump.jsonl"
    imported = folder / "session"
    write_dump(session, dump, lists=form == "lists")
    import_session("jsonl", [str(dump)], imported)
    return open_session(imported)


def write_dump(session: Session, file: Path, *, lists: bool) -> None:
    """One line a sequence with the log-probabilities of both sides and, where asked,
    their alternatives.
    """
    with open(file, "w", encoding="utf-8") as out:
        for sequence in range(len(session.sequences)):
            dumped = _dumped(session, sequence, lists)
            line = json.dumps(dumped)
            out.write(line + "\n")


def _dumped(session: Session, sequence: int, lists: bool) -> Json:
    """One sequence as a line of a dump holds it."""
    sequences = session.sequences
    ids = sequences.ids(sequence)
    prompt_length = sequences.prompt_lengths[sequence]
    start, stop = sequences.bounds(sequence)
    scores = {}
    for side in SIDES:
        capture = session.capture(f"{side}/prefill")
        scores[side] = _scores(capture, start, stop, lists)
    return {
        "token_ids": ids.tolist(),
        "prompt_length": int(prompt_length),
        "captures": scores,
    }


def _scores(capture: Capture, start: int, stop: int, lists: bool) -> Json:
    """One sequence of a capture as a line of a dump holds it."""
    logprobs = capture.logprob.rows(start, stop)
    scores: Json = {"logprobs": [_number(value) for value in logprobs]}
    if not lists:
        return scores
    ids_rows = capture.top_ids.rows(start, stop)
    values_rows = capture.top_logprobs.rows(start, stop)
    top_ids = []
    top_logprobs = []
    for ids, values in zip(ids_rows, values_rows, strict=True):
        is_listed = (ids >= 0) & np.isfinite(values)
        listed_ids = ids[is_listed].tolist()
        listed_values = values[is_listed].tolist()
        top_ids.append(listed_ids or None)
        top_logprobs.append(listed_values or None)
    scores["top_ids"] = top_ids
    scores["top_logprobs"] = top_logprobs
    return scores


def _number(value: np.float32) -> float | None:
    if np.isnan(value):
        return None
    return float(value)


FormAnswer = Literal["first", "second", "cannot be told", "wrong", "clean"]
ANSWERS: tuple[FormAnswer, ...] = get_args(FormAnswer)
FormCounts = dict[FormAnswer, int]
"""How many sessions got each answer."""


@dataclass(frozen=True, slots=True)
class JudgedForm:
    """What the diagnosis made of one planted session in one form. ``named`` are its
    first causes with their scores.
    """

    fault: str
    background: str
    form: Form
    answer: FormAnswer
    named: tuple[NamedCause, ...]

    def to_json(self) -> Json:
        """JSON-ready."""
        return {
            "planted": self.fault,
            "background": self.background,
            "form": self.form,
            "answer": self.answer,
            "named": named_json(self.named),
        }


def judge_forms(
    folder: Path, work: Path, forms: Sequence[Form] = FORMS
) -> list[JudgedForm]:
    """Every planted session of ``folder`` in each of ``forms``; ``work`` is a folder
    for the dumps, made and taken away.
    """
    judged = []
    try:
        for path, background, fault in planted_sessions(folder):
            session = open_session(path)
            for form in forms:
                held = in_form(session, form, work)
                judged.append(_judged_form(held, fault, background, form))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return judged


def _judged_form(
    session: Session, fault: Fault, background: str, form: Form
) -> JudgedForm:
    pair = make_pair(session, *SIDES)
    diagnosis = diagnose(session, pair)
    return JudgedForm(
        fault=fault.name,
        background=background,
        form=form,
        answer=answer_of(fault, diagnosis),
        named=named_in(diagnosis),
    )


def answer_of(fault: Fault, diagnosis: Diagnosis) -> FormAnswer:
    """Where the right cause stands.

    *Wrong* is any other cause that is called likely, and noise called likely of a gap
    that is larger than noise. A gap within the usual range of the precision that had to
    be assumed cannot be distinguished from rounding.
    """
    causes = []
    likely = set()
    for ranked in diagnosis.causes:
        causes.append(ranked.cause)
        if ranked.score >= LIKELY:
            likely.add(ranked.cause)
    allowed = {NOISE, *fault.causes}
    if not likely <= allowed:
        return "wrong"
    if fault.causes[0] == NOISE:
        return "clean"
    place = _place(causes, fault)
    if place is not None:
        return place
    if likely == {NOISE} and _is_beyond_noise(diagnosis):
        return "wrong"
    return "cannot be told"


def _place(causes: Sequence[str], fault: Fault) -> FormAnswer | None:
    """Where the right cause stands among the first two of the ranking ``causes``;
    another cause of the fault at the top counts as *second*. None: not there.
    """
    if not causes:
        return None
    first = causes[0]
    right = fault.causes[0]
    if first == right:
        return "first"
    if right in causes[:2] or first in fault.causes:
        return "second"
    return None


def _is_beyond_noise(diagnosis: Diagnosis) -> bool:
    """Whether the gap is larger than usual for the dtype that had to be assumed."""
    size = diagnosis.size
    dtype = str(size["dtype"] or "bfloat16")
    mae = float(size["mae"] or 0.0)
    return mae > USUAL[dtype].high


def form_totals(rows: Iterable[JudgedForm]) -> dict[Form, FormCounts]:
    """How many answers of each kind in each form."""
    totals: dict[Form, FormCounts] = {}
    for row in rows:
        if row.form not in totals:
            totals[row.form] = dict.fromkeys(ANSWERS, 0)
        counts = totals[row.form]
        counts[row.answer] += 1
    return totals
