"""`logdrift why SESSION --run`: one-knob experiments, planned, run within a budget, and
judged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from logdrift.cli.why_print import print_why
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.investigate.budget import DEFAULT_BUDGET, parse_budget, write_budget
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
    """Whether the flags ask for experiments. InputError for flags that belong to them
    without --run.
    """
    if args.run or args.dry_run:
        return True
    given = {
        "--budget": args.budget,
        "--repeats": args.repeats,
        "--only": args.only,
        "--detach": args.detach,
    }
    for flag, value in given.items():
        if value:
            raise InputError(
                f"{flag} is for experiments: add --run (or --dry-run to see the plan)"
            )
    return False


def _budget(text: str) -> float:
    try:
        return parse_budget(text)
    except InputError as error:
        raise InputError(f"--budget {error.reason}", field=error.field) from None


def run(
    args: argparse.Namespace, session: Session, labels: list[tuple[str, str]]
) -> int:
    """Plan, run and judge the experiments of one pair; the plan and progress go to
    stderr, the diagnosis to stdout.

    LogdriftError where an experiment failed; the others are done then all the same.
    """
    from logdrift.cli.trusting import confirmed
    from logdrift.core.compare.pair import make_pair
    from logdrift.core.investigate.experiment_jobs import plan_experiments
    from logdrift.core.session.experiments import check_writable

    if len(labels) > 1:
        raise InputError("experiments explain one pair at a time: give --pair once")
    budget = _budget(args.budget) if args.budget else DEFAULT_BUDGET
    repeats = _REPEATS if args.repeats is None else args.repeats
    if repeats < 2:
        raise InputError(
            f"--repeats {repeats}: give 2 or more: a single capture shows no noise"
        )
    if not args.dry_run:
        check_writable(session)
    pair = make_pair(session, *labels[0])
    proposal = plan_experiments(session, pair, repeats=repeats)
    experiments, proposal = _choice(proposal, args.only)
    if not experiments and not args.dry_run:
        raise InputError(f"{labels[0][0]} -> {labels[0][1]}: {_nothing(proposal)}")
    if args.dry_run:
        return _show_plan(args, session, proposal, experiments, budget, repeats)
    confirmed(session.folder, session.manifest, flag=args.trust_session)
    if args.detach:
        return _detach(session, pair, experiments, budget, repeats)
    _print_plan(session, experiments, proposal, budget, repeats, sys.stderr)
    outcomes = _run(session, pair, experiments, budget, repeats)
    print_why(session, labels, as_json=args.json)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise LogdriftError(
            f"{len(failed)} of {len(outcomes)} experiments failed, the others stand:"
            f" see {session.folder / 'why/experiments'}"
        )
    return 0


def _choice(
    proposal: Proposal, only: Sequence[str]
) -> tuple[list[Experiment], Proposal]:
    """What is to run, and the proposal with what was not asked for taken out of what it
    leaves out.
    """
    from logdrift.core.diagnose.experiments import ALL, chosen

    if not only:
        return [
            each for each in proposal.experiments if each.id in proposal.deciding
        ], proposal
    experiments = chosen(proposal.experiments, only)
    if ALL in only:
        return experiments, proposal
    causes = {each.cause for each in experiments}
    return experiments, replace(
        proposal,
        experiments=tuple(experiments),
        left_out=tuple(each for each in proposal.left_out if each.cause in causes),
    )


def _nothing(proposal: Proposal) -> str:
    """Why nothing is to run."""
    if not proposal.experiments:
        return f"there is no experiment to run: {proposal.why_none}"
    return (
        "no experiment can prove or refute what is likely here: choose of the"
        f" {len(proposal.experiments)} others with --only CODE, or all of them with"
        " --only all (see --dry-run)"
    )


def _show_plan(
    args: argparse.Namespace,
    session: Session,
    proposal: Proposal,
    experiments: list[Experiment],
    budget: float,
    repeats: int,
) -> int:
    from logdrift.core.report.strict_json import dump

    if args.json:
        plan = {
            "schema": 1,
            "session": session.name,
            "budget": budget,
            "repeats": repeats,
            "experiments": [
                {**each.to_json(), "chosen": each in experiments}
                for each in proposal.experiments
            ],
            "left_out": [each.to_json() for each in proposal.left_out],
        }
        sys.stdout.write(dump(plan))
    else:
        _print_plan(session, experiments, proposal, budget, repeats, sys.stdout)
    sys.stdout.flush()
    return 0


def _print_plan(
    session: Session,
    experiments: list[Experiment],
    proposal: Proposal,
    budget: float,
    repeats: int,
    stream: Any,
) -> None:
    from logdrift.core.diagnose.experiments import controls
    from logdrift.core.report.experiments import plan_document
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.paint.text import paint_text

    unchanged = controls(session, experiments)
    canvas = canvas_of(stream)
    others = [each for each in proposal.experiments if each not in experiments]
    document = plan_document(
        experiments,
        proposal.left_out,
        unchanged,
        budget=budget,
        repeats=repeats,
        others=others,
    )
    stream.write(paint_text(document, canvas))
    if not experiments:
        print(*canvas.wrap(_nothing(proposal)), sep="\n", file=stream)
    stream.flush()


def _detach(
    session: Session,
    pair: Pair,
    experiments: list[Experiment],
    budget: float,
    repeats: int,
) -> int:
    from logdrift.core.investigate.experiment_jobs import start_experiments

    pid = start_experiments(
        session,
        pair,
        [each.id for each in experiments],
        budget_s=budget,
        repeats=repeats,
    )
    print(
        visible(
            f"experiments run in the background (process {pid}): logdrift why"
            f" {session.folder} shows what they find"
        )
    )
    return 0


def _run(
    session: Session,
    pair: Pair,
    experiments: list[Experiment],
    budget: float,
    repeats: int,
) -> list[Outcome]:
    from logdrift.cli.progress import progress_view
    from logdrift.core.investigate.experiments import run_experiments

    with progress_view() as view:
        return run_experiments(
            session,
            pair,
            experiments,
            budget_s=budget,
            repeats=repeats,
            report=_with_headings(view),
        )


def _with_headings(
    view: Callable[[Mapping[str, Any]], None],
) -> Callable[[Mapping[str, Any]], None]:
    """The supervisor's progress, under a line for each experiment and one for what came
    of it.
    """

    def show(event: Mapping[str, Any]) -> None:
        if event["type"] != "experiment":
            view(event)
            return
        said = f"[{event['place']}/{event['of']}] {event['title']}"
        if event["state"] == "ended":
            said = f"[{event['place']}/{event['of']}] {event['outcome']['sentence']}"
        print(visible(said), file=sys.stderr, flush=True)

    return show
