"""`logdrift why SESSION --run`: one-knob experiments, run within a budget and
judged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from logdrift.cli.why_print import print_why
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.investigate.budget import DEFAULT_BUDGET, parse_budget, write_budget
from logdrift.core.numbers import counted
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible

if TYPE_CHECKING:
    from logdrift.core.compare.pair import Pair
    from logdrift.core.diagnose.experiments import Experiment, Proposal
    from logdrift.core.diagnose.outcomes import Outcome

_REPEATS = 2


def add_arguments(parser: Any) -> None:
    """The flags of this part of the command."""
    group = parser.add_argument_group(
        "experiments (one knob changed, captured again on the same tokens)"
    )
    group.add_argument(
        "--run",
        action="store_true",
        help="run the experiments that can decide, within the budget",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print the plan of --run and exit"
    )
    group.add_argument(
        "--budget",
        metavar="TIME",
        help=f"time that --run may take, e.g. 90s, 10m, 1h (default"
        f" {write_budget(DEFAULT_BUDGET)})",
    )
    group.add_argument(
        "--repeats",
        type=int,
        metavar="N",
        help=f"captures of each change, 2 or more (default {_REPEATS})",
    )
    group.add_argument(
        "--only",
        metavar="CODE",
        action="append",
        default=[],
        help=(
            "experiments of this cause, or with this id, or all; may be given again"
            " (default: those that can prove or refute what is likely)"
        ),
    )
    group.add_argument(
        "--detach",
        action="store_true",
        help="run them in the background: they go on when the terminal closes",
    )


def wanted(args: argparse.Namespace) -> bool:
    """Whether the flags ask for experiments.

    Raises InputError for flags that belong to experiments without --run.
    """
    if args.run or args.dry_run:
        return True
    flags = {
        "--budget": args.budget,
        "--repeats": args.repeats,
        "--only": args.only,
        "--detach": args.detach,
    }
    for flag, value in flags.items():
        if value:
            raise InputError(
                f"{flag} is for experiments: add --run (or --dry-run to see the plan)"
            )
    return False


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What is to run.

    Attributes:
        experiments: those that were asked for, or can decide.
        proposal: all that could run, and what was left out and why.
        budget: seconds that all may take together.
        repeats: captures of each change.
    """

    experiments: list[Experiment]
    proposal: Proposal
    budget: float
    repeats: int

    @property
    def others(self) -> list[Experiment]:
        """Those that could run as well."""
        return [
            experiment
            for experiment in self.proposal.experiments
            if experiment not in self.experiments
        ]


def run(
    args: argparse.Namespace, session: Session, labels: list[tuple[str, str]]
) -> int:
    """Plan, run and judge the experiments of one pair; the plan and progress go to
    stderr, the diagnosis to stdout.

    Raises LogdriftError where an experiment failed, after the others have run.
    """
    from logdrift.cli.trusting import confirmed
    from logdrift.core.compare.pair import make_pair
    from logdrift.core.session.experiments import check_writable

    if len(labels) > 1:
        raise InputError("experiments explain one pair at a time: give --pair once")
    budget = _budget(args.budget)
    repeats = _repeats(args.repeats)
    if not args.dry_run:
        check_writable(session)
    pair = make_pair(session, *labels[0])
    plan = _plan(session, pair, args.only, budget, repeats)
    if args.dry_run:
        return _show_plan(plan, session, as_json=args.json)
    if not plan.experiments:
        a, b = labels[0]
        raise InputError(f"{a} -> {b}: {_why_nothing_runs(plan.proposal)}")
    confirmed(session.folder, session.manifest, flag=args.trust_session)
    if args.detach:
        return _detach(session, pair, plan)
    _print_plan(plan, session, sys.stderr)
    outcomes = _run(session, pair, plan)
    print_why(session, labels, as_json=args.json)
    _refuse_failures(outcomes, session)
    return 0


def _budget(text: str | None) -> float:
    """Seconds for all experiments together."""
    if not text:
        return DEFAULT_BUDGET
    try:
        return parse_budget(text)
    except InputError as error:
        raise InputError(f"--budget {error.reason}", field=error.field) from None


def _repeats(repeats: int | None) -> int:
    if repeats is None:
        return _REPEATS
    if repeats < 2:
        raise InputError(
            f"--repeats {repeats}: give 2 or more: a single capture shows no noise"
        )
    return repeats


def _refuse_failures(outcomes: Sequence[Outcome], session: Session) -> None:
    """Raise LogdriftError where an experiment failed."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise LogdriftError(
            f"{len(failed)} of {counted(len(outcomes), 'experiment')} failed, the"
            f" others stand: see {session.folder / 'why/experiments'}"
        )


def _plan(
    session: Session, pair: Pair, only: Sequence[str], budget: float, repeats: int
) -> RunPlan:
    """What is to run. The proposal keeps of what it leaves out only what was asked
    for.
    """
    from logdrift.core.diagnose.experiments import ALL, chosen
    from logdrift.core.investigate.experiment_jobs import plan_experiments

    proposal = plan_experiments(session, pair, repeats=repeats)
    if only:
        experiments = chosen(proposal.experiments, only)
        if ALL not in only:
            proposal = _narrowed(proposal, experiments)
    else:
        experiments = [
            experiment
            for experiment in proposal.experiments
            if experiment.id in proposal.deciding
        ]
    return RunPlan(
        experiments=experiments, proposal=proposal, budget=budget, repeats=repeats
    )


def _narrowed(proposal: Proposal, experiments: Sequence[Experiment]) -> Proposal:
    """A proposal of these experiments alone, and of what was left out of their
    causes.
    """
    causes = {experiment.cause for experiment in experiments}
    left_out = tuple(
        experiment for experiment in proposal.left_out if experiment.cause in causes
    )
    return replace(proposal, experiments=tuple(experiments), left_out=left_out)


def _why_nothing_runs(proposal: Proposal) -> str:
    """Why nothing is to run."""
    if not proposal.experiments:
        return f"there is no experiment to run: {proposal.why_none}"
    return (
        "no experiment can prove or refute what is likely here: choose of the"
        f" {len(proposal.experiments)} others with --only CODE, or all of them with"
        " --only all (see --dry-run)"
    )


def _show_plan(plan: RunPlan, session: Session, *, as_json: bool) -> int:
    """Print the plan of --run, which runs nothing."""
    from logdrift.core.report.strict_json import dump

    if as_json:
        sys.stdout.write(dump(_plan_as_json(plan, session)))
    else:
        _print_plan(plan, session, sys.stdout)
    sys.stdout.flush()
    return 0


def _plan_as_json(plan: RunPlan, session: Session) -> dict[str, Any]:
    experiments = []
    for experiment in plan.proposal.experiments:
        is_chosen = experiment in plan.experiments
        experiments.append({**experiment.to_json(), "chosen": is_chosen})
    return {
        "schema": 1,
        "session": session.name,
        "budget": plan.budget,
        "repeats": plan.repeats,
        "experiments": experiments,
        "left_out": [left_out.to_json() for left_out in plan.proposal.left_out],
    }


def _print_plan(plan: RunPlan, session: Session, stream: Any) -> None:
    from logdrift.core.diagnose.experiments import controls
    from logdrift.core.report.experiments import plan_document
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.paint.text import paint_text

    canvas = canvas_of(stream)
    document = plan_document(
        plan.experiments,
        plan.proposal.left_out,
        controls(session, plan.experiments),
        budget=plan.budget,
        repeats=plan.repeats,
        others=plan.others,
    )
    stream.write(paint_text(document, canvas))
    if not plan.experiments:
        print(*canvas.wrap(_why_nothing_runs(plan.proposal)), sep="\n", file=stream)
    stream.flush()


def _detach(session: Session, pair: Pair, plan: RunPlan) -> int:
    from logdrift.core.investigate.experiment_jobs import start_experiments

    pid = start_experiments(
        session,
        pair,
        [experiment.id for experiment in plan.experiments],
        budget_s=plan.budget,
        repeats=plan.repeats,
    )
    print(
        visible(
            f"experiments run in the background (process {pid}): logdrift why"
            f" {session.folder} shows what they find"
        )
    )
    return 0


def _run(session: Session, pair: Pair, plan: RunPlan) -> list[Outcome]:
    from logdrift.cli.progress import progress_view
    from logdrift.core.investigate.experiments import run_experiments

    with progress_view() as view:
        return run_experiments(
            session,
            pair,
            plan.experiments,
            budget_s=plan.budget,
            repeats=plan.repeats,
            report=_with_headings(view),
        )


def _with_headings(
    view: Callable[[Mapping[str, Any]], None],
) -> Callable[[Mapping[str, Any]], None]:
    """The supervisor's progress, below a line for the start and the end of each
    experiment.
    """

    def show(event: Mapping[str, Any]) -> None:
        if event["type"] != "experiment":
            view(event)
            return
        words = event["title"]
        if event["state"] == "ended":
            words = event["outcome"]["sentence"]
        line = f"[{event['place']}/{event['of']}] {words}"
        print(visible(line), file=sys.stderr, flush=True)

    return show
