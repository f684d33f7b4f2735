"""A planted session as users hold it: as captured, as a dump with lists and no facts,
as a dump of chosen tokens alone.

The dumps are real files in the jsonl format and go through the real importer, so
nothing reaches the diagnosis that a user's own dump would not hold.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
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
from logdrift.core.planted.faults import BY_NAME, Fault
from logdrift.core.session.importers import import_session
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.reader import Capture, Session, open_session

Form = Literal["captured", "lists", "chosen"]
FORMS: tuple[Form, ...] = get_args(Form)
IN_WORDS: dict[Form, str] = {
    "captured": "as captured",
    "lists": "a dump with lists, no facts",
    "chosen": "a dump of chosen tokens",
}
SIDES = ("trainer", "rollout")


def in_form(session: Session, form: Form, folder: Path) -> Session:
    """``session`` in another form: its trainer and its rollout as a dump, imported into
    ``folder`` (made anew).
    """
    if form == "captured":
        return session
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / "dump.jsonl"
    write_dump(session, file, lists=form == "lists")
    import_session("jsonl", [str(file)], folder / "session")
    return open_session(folder / "session")


def write_dump(session: Session, file: Path, *, lists: bool) -> None:
    """One line a sequence with the log-probabilities of both sides and, where asked,
    their alternatives.
    """
    captures = {name: session.capture(f"{name}/prefill") for name in SIDES}
    with open(file, "w", encoding="utf-8") as out:
        for sequence in range(len(session.sequences)):
            start, stop = session.sequences.bounds(sequence)
            line = {
                "token_ids": session.sequences.ids(sequence).tolist(),
                "prompt_length": int(session.sequences.prompt_lengths[sequence]),
                "captures": {
                    name: _scores(capture, start, stop, lists)
                    for name, capture in captures.items()
                },
            }
            out.write(json.dumps(line) + "\n")


def _scores(capture: Capture, start: int, stop: int, lists: bool) -> dict[str, Any]:
    out: dict[str, Any] = {
        "logprobs": [_number(value) for value in capture.logprob.rows(start, stop)]
    }
    if not lists:
        return out
    ids = capture.top_ids.rows(start, stop)
    values = capture.top_logprobs.rows(start, stop)
    rows = [_listed(*row) for row in zip(ids, values, strict=True)]
    out["top_ids"] = [[i for i, _ in row] or None for row in rows]
    out["top_logprobs"] = [[value for _, value in row] or None for row in rows]
    return out


def _listed(ids: np.ndarray, values: np.ndarray) -> list[tuple[int, float]]:
    """The alternatives of one token with their values, padding left out."""
    return [
        (int(i), float(value))
        for i, value in zip(ids, values, strict=True)
        if i >= 0 and np.isfinite(value)
    ]


def _number(value: np.float32) -> float | None:
    if np.isnan(value):
        return None
    return float(value)


FormAnswer = Literal["first", "second", "cannot be told", "wrong", "clean"]
ANSWERS: tuple[FormAnswer, ...] = get_args(FormAnswer)


@dataclass(frozen=True, slots=True)
class JudgedForm:
    """What the diagnosis made of one planted session in one form. ``named`` are its
    first causes with their scores.
    """

    fault: str
    background: str
    form: Form
    answer: FormAnswer
    named: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "planted": self.fault,
            "background": self.background,
            "form": self.form,
            "answer": self.answer,
            "named": [{"cause": code, "score": score} for code, score in self.named],
        }


def judge_forms(
    folder: Path, work: Path, forms: Sequence[Form] = FORMS
) -> list[JudgedForm]:
    """Every planted session of ``folder`` in each of ``forms``; ``work`` is a folder
    for the dumps, made and taken away.
    """
    out = []
    try:
        for path in sorted(folder.glob("*-*")):
            background, _, name = path.name.partition("-")
            if name not in BY_NAME or not (path / MANIFEST).exists():
                continue
            session = open_session(path)
            out += [
                _judged(in_form(session, form, work), BY_NAME[name], background, form)
                for form in forms
            ]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out


def _judged(session: Session, fault: Fault, background: str, form: Form) -> JudgedForm:
    diagnosis = diagnose(session, make_pair(session, *SIDES))
    named = tuple(
        (cause.cause, round(cause.score, 3)) for cause in diagnosis.causes[:3]
    )
    return JudgedForm(
        fault=fault.name,
        background=background,
        form=form,
        answer=answer_of(fault, diagnosis),
        named=named,
    )


def answer_of(fault: Fault, diagnosis: Diagnosis) -> FormAnswer:
    """Where the right cause stands.

    *Wrong* is any other cause that is called likely, and noise called likely of a gap
    that is larger than noise. A gap within the usual range of the precision that had to
    be assumed cannot be told from rounding.
    """
    likely = [cause.cause for cause in diagnosis.causes if cause.score >= LIKELY]
    if any(code != NOISE and code not in fault.causes for code in likely):
        return "wrong"
    codes = [cause.cause for cause in diagnosis.causes]
    right = fault.causes[0]
    first = codes[0] if codes else None
    if right == NOISE:
        return "clean"
    if first == right:
        return "first"
    if first in fault.causes or right in codes[:2]:
        return "second"
    usual = USUAL[str(diagnosis.size["dtype"] or "bfloat16")]
    beyond_noise = float(diagnosis.size["mae"] or 0.0) > usual.high
    if likely == [NOISE] and beyond_noise:
        return "wrong"
    return "cannot be told"


def form_totals(rows: Iterable[JudgedForm]) -> dict[Form, dict[FormAnswer, int]]:
    """How many answers of each kind in each form."""
    counts: dict[Form, Counter[FormAnswer]] = {}
    for row in rows:
        counts.setdefault(row.form, Counter())[row.answer] += 1
    return {
        form: {answer: counted[answer] for answer in ANSWERS}
        for form, counted in counts.items()
    }
