"""The self-test of ``logdrift doctor``: plant every fault, diagnose, and say whether
the targets are met.

What is finished is kept in the cache folder under a digest of what made it, so an
interrupted self-test goes on where it was and a changed logdrift starts over.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from logdrift.core.capture.create import create_session
from logdrift.core.capture.environments import (
    Interpreter,
    default_device,
    engine_environment,
    find_interpreter,
)
from logdrift.core.capture.jobs import (
    Report,
    Step,
    last_output,
    locked,
    printable_line,
    run_logged,
)
from logdrift.core.capture.models import SMALL_MODEL, resolve_model
from logdrift.core.capture.supervisor import run_session
from logdrift.core.config import cache_folder
from logdrift.core.engines import TRAINER
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.planted import engines as planted_engines
from logdrift.core.planted.engine_judge import judge_engines, unfinished
from logdrift.core.planted.faults import FAULTS
from logdrift.core.planted.forms import IN_WORDS, JudgedForm, form_totals, judge_forms
from logdrift.core.planted.judge import (
    JudgedSession,
    judge_folder,
    named_json,
    totals,
)
from logdrift.core.planted.sizes import LENGTHS, LONG, PROMPT, lengths_of, take
from logdrift.core.session.layout import MANIFEST

HERE = Path(__file__).parent
_IDS = HERE / "smollm2_ids.json"
"""The sequences that faults are planted in, sampled by the small model."""
WHAT = "self-test"
BACKGROUNDS = ("float32", "bfloat16")
_SECONDS = {1: 45.0, 2: 80.0}
"""Measured on one thread of the machine that docs/why.md describes, engine start
included.
"""

_NAMED_FIRST = 0.9
"""Share of the faults that must be named first."""
_SAMPLED_SECONDS = 60.0
"""Seconds that a sampled session takes."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What was judged. ``blind``: from the numbers alone; ``with_facts``: with what
    engines show of themselves too.

    ``lacking`` are faults that could not be planted, each with the reason.
    """

    blind: tuple[JudgedSession, ...]
    with_facts: tuple[JudgedSession, ...]
    lacking: tuple[tuple[str, str], ...] = ()
    forms: tuple[JudgedForm, ...] = ()
    """The planted sessions as users hold them."""

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """Targets that are missed, each in one line; empty where all are met."""
        missed = [f"{name}: not planted: {why}" for name, why in self.lacking]
        missed += _shortfalls("from the numbers alone", self.blind)
        missed += _shortfalls("with the facts", self.with_facts)
        for form, answers in form_totals(self.forms).items():
            wrong = answers["wrong"]
            if wrong:
                missed.append(
                    f"{IN_WORDS[form]}: {wrong} wrong and likely, none wanted"
                )
        return tuple(missed)

    def to_json(self) -> dict[str, Any]:
        """``targets_met``, ``shortfalls``, and for each way its ``totals`` and
        ``rows``.
        """
        return {
            "targets_met": not self.shortfalls,
            "shortfalls": list(self.shortfalls),
            "blind": _rows_json(self.blind),
            "told": _rows_json(self.with_facts),
            "forms": {
                "totals": form_totals(self.forms),
                "rows": [judged.to_json() for judged in self.forms],
            },
        }


def _shortfalls(how: str, judged: Sequence[JudgedSession]) -> list[str]:
    """Targets that one way of judging misses."""
    counts = totals(judged)
    faults = counts["faults"]
    first = counts["first"]
    missed = []
    if first < _NAMED_FIRST * faults:
        missed.append(
            f"{how}: {first} of {faults} faults named first, {_NAMED_FIRST:.0%} wanted"
        )
    for name in ("missed", "false alarms", "guessed"):
        count = counts[name]
        if count:
            missed.append(f"{how}: {count} {name}, none wanted")
    return missed


def _rows_json(judged: Sequence[JudgedSession]) -> dict[str, Any]:
    rows = [_row_json(row) for row in judged]
    return {"totals": totals(judged), "rows": rows}


def _row_json(row: JudgedSession) -> dict[str, Any]:
    return {
        "planted": row.fault,
        "background": row.background,
        "outcome": row.outcome,
        "mae": row.mae,
        "named": named_json(row.named),
        "counted": row.asked,
    }


def backgrounds(quick: bool) -> tuple[str, ...]:
    """Precisions that faults are planted in: ``quick`` leaves bfloat16 out."""
    if quick:
        return BACKGROUNDS[:1]
    return BACKGROUNDS


def estimate(quick: bool, engines: Sequence[str] = ()) -> float:
    """Seconds on two cores, when nothing is kept."""
    seconds = _SECONDS[len(backgrounds(quick))]
    for engine in engines:
        for state in planted_engines.STATES[engine].values():
            seconds += state.seconds
    sessions = set()
    for fault in planted_engines.FAULTS:
        if fault.engine in engines:
            sessions.add(planted_engines.session_of(fault))
    return seconds + _SAMPLED_SECONDS * len(sessions)


def folder_of(engine: Interpreter) -> Path:
    """Where the self-test's sessions are kept, by a digest of what plants them and of
    the interpreter.
    """
    interpreter = str(engine.python)
    digest = hashlib.sha256(interpreter.encode())
    planting = [*HERE.rglob("*.py"), *HERE.glob("*.json")]
    for file in sorted(planting):
        name = file.name.encode()
        digest.update(name + b"\0" + file.read_bytes())
    environment = engine.python.parent.parent
    marker = environment / "logdrift-env.json"
    if marker.is_file():
        digest.update(marker.read_bytes())
    name_of_folder = digest.hexdigest()[:16]
    return cache_folder() / "selftest" / name_of_folder


def run_self_test(
    report: Report,
    cancel: threading.Event,
    *,
    quick: bool = False,
    engines: Sequence[str] = (),
) -> SelfTest:
    """Plant what is not planted yet, then judge everything.

    Raises LogdriftError where Transformers cannot be run, Cancelled after ``cancel``
    (what is finished stays), InputError for an engine that has no planted faults.
    """
    check_engines(engines)
    interpreter = find_interpreter(TRAINER)
    model = Path(resolve_model(SMALL_MODEL, report))
    folder = folder_of(interpreter)
    planted_in = backgrounds(quick)
    with locked(folder, report, cancel, WHAT):
        _forget_others(folder)
        small = folder / "smollm2"
        plant_small(interpreter, model, small, planted_in, report, cancel)
        self_test = _judged_small(small, folder / "forms", planted_in)
        if not engines:
            return self_test
        planted = folder / "engines"
        _plant_engines(interpreter, model, planted, engines, report, cancel)
        return _with_engines(self_test, planted, engines)


def _judged_small(small: Path, work: Path, planted: Sequence[str]) -> SelfTest:
    """The small model's sessions in the backgrounds ``planted``, each way and form."""

    def judged(*, blind: bool) -> tuple[JudgedSession, ...]:
        rows = judge_folder(small, blind=blind)
        return tuple(row for row in rows if row.background in planted)

    forms = judge_forms(small, work)
    return SelfTest(
        blind=judged(blind=True),
        with_facts=judged(blind=False),
        forms=tuple(form for form in forms if form.background in planted),
    )


def _with_engines(
    self_test: SelfTest, planted: Path, engines: Sequence[str]
) -> SelfTest:
    """``self_test`` with what was planted in the engines themselves."""
    lacking = []
    for fault, why in unfinished(planted, engines):
        name = f"{fault.engine}: {fault.name}"
        lacking.append((name, why))
    blind = judge_engines(planted, engines, blind=True)
    with_facts = judge_engines(planted, engines, blind=False)
    return replace(
        self_test,
        blind=(*self_test.blind, *blind),
        with_facts=(*self_test.with_facts, *with_facts),
        lacking=tuple(lacking),
    )


def check_engines(engines: Sequence[str]) -> None:
    """Raises InputError for one without planted faults or without an interpreter."""
    for engine in engines:
        if engine not in planted_engines.STATES:
            possible = " and ".join(planted_engines.STATES)
            raise InputError(f"--engines {engine}: faults are planted in {possible}")
        find_interpreter(engine)


def _forget_others(folder: Path) -> None:
    """Sessions of other versions are of no use any more."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other.is_dir() and other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _environment(interpreter: Interpreter, model: Path) -> dict[str, str]:
    cores = os.cpu_count() or 1
    threads = min(cores, 8)
    of_engine = engine_environment(TRAINER, default_device(), str(model))
    return {
        "OMP_NUM_THREADS": str(threads),
        **of_engine,
        **interpreter.env,
        **_kept_environment(),
    }


def _kept_environment() -> dict[str, str]:
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None:
        return {}
    return {"OMP_NUM_THREADS": threads}


def plant_small(
    interpreter: Interpreter,
    model: Path,
    out: Path,
    precisions: Sequence[str],
    report: Report,
    cancel: threading.Event,
) -> None:
    """Plant every fault in ``model``, one session each in ``out``; those that are there
    stay. Raises LogdriftError, Cancelled.
    """
    manifests = []
    for background in precisions:
        for fault in FAULTS:
            folder = out / f"{background}-{fault.name}"
            manifests.append(folder / MANIFEST)

    def done() -> int:
        return sum(manifest.exists() for manifest in manifests)

    total = len(manifests)
    if done() == total:
        return
    tick = _ticker(report, done, total, "planting faults in the small model")
    argv = [
        str(interpreter.python),
        str(HERE / "inside" / "worker.py"),
        str(model),
        str(out),
        "--ids",
        str(_IDS),
        "--backgrounds",
        ",".join(precisions),
    ]
    _run(argv, out, cancel, tick, _environment(interpreter, model))


def _ticker(
    report: Report, done: Callable[[], int], total: int, doing: str
) -> Callable[[], None]:
    def tick() -> None:
        step = Step(WHAT, doing, done(), total)
        report(step)

    tick()
    return tick


def _run(
    argv: Sequence[str],
    out: Path,
    cancel: threading.Event,
    tick: Callable[[], None],
    env: Mapping[str, str],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    log = out.parent / f"{out.name}.log"
    status = run_logged(argv, log, cancel, tick, env=env)
    if status == 0:
        return
    why = "the worker ended"
    for line in last_output(log).splitlines():
        if line.strip():
            why = printable_line(line)
    raise LogdriftError(f"{WHAT}: {why} (log: {log})")


def _plant_engines(
    interpreter: Interpreter,
    model: Path,
    folder: Path,
    engines: Sequence[str],
    report: Report,
    cancel: threading.Event,
) -> None:
    """Edit the weights that need it, then capture every session of ``engines``."""
    weights = folder / "weights"
    for name, (fault, size) in planted_engines.edits(engines).items():
        out = weights / name
        if out.exists():
            continue
        argv = [
            str(interpreter.python),
            str(HERE / "inside" / "edited.py"),
            str(model),
            str(out),
            fault,
            str(size),
        ]
        tick = _ticker(report, lambda: 0, 0, f"editing weights: {fault}")
        _run(argv, weights / "log", cancel, tick, _environment(interpreter, model))
    ids = _engine_ids()
    for planned in planted_engines.sessions(engines, str(model), ids, PROMPT, folder):
        _capture(planned, folder / planned.name, report)


def _engine_ids() -> list[Sequence[int]]:
    """The sequences that faults of engines are planted in."""
    text = _IDS.read_text(encoding="utf-8")
    stored = json.loads(text)["ids"]
    lengths = lengths_of(LENGTHS) + lengths_of(LONG)
    return take(stored, lengths)


def _capture(planned: planted_engines.Planned, folder: Path, report: Report) -> None:
    """Create the session, or go on with it; an engine that fails fails its own
    faults.
    """
    manifest = folder / MANIFEST
    if not manifest.exists():
        create_session(planned.plan, folder)
    backends = [spec.name for spec in planned.plan.backends]

    def on_event(event: Mapping[str, Any]) -> None:
        if event["type"] != "backend":
            return
        backend = event["backend"]
        done = backends.index(backend)
        doing = f"{planned.name}: {backend}"
        report(Step(WHAT, doing, done, len(backends)))

    run_session(folder, on_event)
