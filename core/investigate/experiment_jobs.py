"""Experiments in the background: started so that they outlive the terminal, and ended
from wherever one stands.

``why/experiments`` of the session is all that ties them to whoever looks: its lock says
who runs them, ``events.jsonl`` what is being done, and each experiment's folder how far
it came.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.capture.background import start_detached
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.experiments import Proposal, chosen, propose
from logdrift.core.errors import InputError
from logdrift.core.investigate.budget import DEFAULT_BUDGET
from logdrift.core.investigate.detached import cancel_work, work_noted
from logdrift.core.investigate.experiments import (
    DEFAULT_REPEATS,
    gpu_count,
    run_experiments,
)
from logdrift.core.session.below import folder_at
from logdrift.core.session.experiments import FOLDER, check_writable, timings
from logdrift.core.session.lock import LockHolder, read_lock
from logdrift.core.session.reader import Session, open_session

LOG = "experiments.log"


def plan_experiments(
    session: Session, pair: Pair, *, repeats: int = DEFAULT_REPEATS
) -> Proposal:
    """What would tell on this machine, with times from the session's own events."""
    diagnosis = diagnose(session, pair)
    times = timings(session.folder)
    return propose(session, pair, diagnosis, times, gpus=gpu_count(), repeats=repeats)


def start_experiments(
    session: Session,
    pair: Pair,
    ids: Sequence[str] = (),
    *,
    budget_s: float = DEFAULT_BUDGET,
    repeats: int = DEFAULT_REPEATS,
) -> int:
    """Run experiments (all that are proposed, or those of ``ids``) in a process of its
    own; returns its pid once it has begun. InputError where there is nothing to run or
    the session cannot be written, LogdriftError with its last words where it ends at
    once.
    """
    check_writable(session)
    trust.require(session.folder, session.manifest)
    proposal = plan_experiments(session, pair, repeats=repeats)
    if not chosen(proposal.experiments, ids):
        raise InputError(
            f"{pair.a.info.label} -> {pair.b.info.label}: there is no experiment to run"
        )
    folder = session.folder / FOLDER
    session_folder = session.folder.resolve()
    job = {
        "folder": str(session_folder),
        "pair": [pair.a.info.label, pair.b.info.label],
        "ids": list(ids),
        "budget": budget_s,
        "repeats": repeats,
    }
    module = "logdrift.core.investigate.experiment_jobs"
    words = [module, json.dumps(job)]
    with folder_at(session.folder, FOLDER, create=True):
        return start_detached(words, folder, LOG)


def running(session_folder: Path) -> LockHolder | None:
    """Who runs experiments of this session at this moment, if anybody."""
    return read_lock(session_folder / FOLDER)


def cancel_experiments(session_folder: Path) -> None:
    """End the experiments that run here, with all their workers; what is captured
    stays. InputError where none run here, LogdriftError where they do not end.
    """
    cancel_work(session_folder, FOLDER, "experiments")


def run_chosen(
    session: Session,
    pair: Pair,
    ids: Sequence[str],
    budget_s: float,
    repeats: int,
    report: Callable[[Mapping[str, Any]], None],
) -> None:
    """Propose, choose and run in this process."""
    proposal = plan_experiments(session, pair, repeats=repeats)
    experiments = chosen(proposal.experiments, ids)
    run_experiments(
        session, pair, experiments, budget_s=budget_s, repeats=repeats, report=report
    )


def main(argv: list[str]) -> int:
    """``python -m logdrift.core.investigate.experiment_jobs JSON``: the detached form.
    Everything it has to say is in the folder.
    """
    job = json.loads(argv[0])
    folder = Path(job["folder"])

    def work() -> None:
        session = open_session(folder)
        pair = make_pair(session, *job["pair"])
        run_chosen(
            session,
            pair,
            ids=job["ids"],
            budget_s=job["budget"],
            repeats=job["repeats"],
            report=lambda event: None,
        )

    return work_noted(folder / FOLDER, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
