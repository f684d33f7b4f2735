"""`logdrift demo`: the small real model through real engines, then the explorer, or the
report off a terminal.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from logdrift.cli.capture import narrate, start
from logdrift.cli.trusting import add_flag, confirmed
from logdrift.core.engines import ROLLOUTS, TRAINER
from logdrift.core.errors import InputError
from logdrift.core.plan import BackendSpec, CapturePlan, SamplingSpec
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.lock import read_lock
from logdrift.core.session.reader import Session, open_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Sets up the engine environments it lacks and the small model, captures 24"
        " varied prompts, and opens the explorer; without a terminal it prints the"
        " report. A finished demo is reopened, an unfinished one resumed."
    )
    parser.add_argument(
        "--engines",
        default=ROLLOUTS[0],
        metavar="LIST",
        help=(
            f"rollout engines, separated by spaces: one or more of"
            f" {', '.join(ROLLOUTS)} (default {ROLLOUTS[0]})"
        ),
    )
    parser.add_argument(
        "--model",
        default="smollm2",
        metavar="M",
        help="local folder or hub id instead of the small model",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=128,
        metavar="N",
        help="longest completion (default 128)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="SESSION",
        help="session folder (default: demo in the folder of sessions)",
    )
    add_flag(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="delete the demo session and start over"
    )


def run(args: argparse.Namespace) -> int:
    """Set up, capture, show."""
    from logdrift.core.config import sessions_folder

    engines = args.engines.replace(",", " ").split()
    unknown = [engine for engine in engines if engine not in ROLLOUTS]
    if unknown or not engines:
        raise InputError(
            f"--engines {args.engines}: give one or more of {', '.join(ROLLOUTS)}"
        )
    folder = args.out or sessions_folder(args.sessions) / "demo"
    if args.fresh:
        _delete(folder)
    code = _capture(args, engines, folder)
    if code != 0:
        return code
    from logdrift.tui.door import on_terminal
    from logdrift.tui.door import run as run_app

    if on_terminal():
        return run_app(folder, folder.parent, mouse=not args.no_mouse)
    from logdrift.cli.report import print_report

    return print_report(folder)


def demo_plan(engines: list[str], model: str, max_tokens: int) -> CapturePlan:
    """Reference, trainer and the rollout engines; the first of them generates.

    A repeat of each side gives the noise floor of a pair; the generator's sequences,
    scored one at a time, show what the batch's shape adds.
    """
    prompts = files("logdrift.core.capture") / "data" / "demo_prompts.jsonl"
    reference = BackendSpec(
        name="reference",
        engine=TRAINER,
        dtype="float32",
        role="reference",
        paths=("prefill",),
    )
    trainer = BackendSpec(
        name="trainer",
        engine=TRAINER,
        dtype="bfloat16",
        role="trainer",
        paths=("prefill",),
        repeats=2,
    )
    generator, *others = engines
    rollouts = [_rollout(generator, generates=True)]
    rollouts += [_rollout(engine, generates=False) for engine in others]
    return CapturePlan(
        model=model,
        title=f"demo: {', '.join(engines)} against Transformers",
        prompts_file=str(prompts),
        sampling=SamplingSpec(temperature=1.0, max_tokens=max_tokens, seed=0),
        backends=(reference, trainer, *rollouts),
    )


def _rollout(engine: str, *, generates: bool) -> BackendSpec:
    return BackendSpec(
        name=engine,
        engine=engine,
        dtype="bfloat16",
        role="rollout",
        paths=("decode", "prefill") if generates else ("prefill",),
        repeats=2,
        alone=generates,
    )


def _capture(args: argparse.Namespace, engines: list[str], folder: Path) -> int:
    """Capture the demo, or what an earlier one lacks; the exit code."""
    from logdrift.core.capture.create import create_session
    from logdrift.core.capture.into import add_backends

    plan = demo_plan(engines, args.model, args.max_tokens)
    if not (folder / MANIFEST).exists():
        set_up(engines, args.model)
        create_session(plan, folder, narrate)
        return start(folder)
    session = open_session(folder)
    _refuse_other_model(session, folder, args.model)
    known = {capture.backend for capture in session.captures}
    missing = [spec for spec in plan.backends if spec.name not in known]
    if session.state == "complete" and not missing:
        narrate(f"{folder} is complete: reopening it (start over with --fresh)")
        return 0
    confirmed(folder, session.manifest, flag=args.trust_session)
    set_up(engines, args.model)
    if missing:
        # The ids are there: what samples in a demo of its own scores here.
        add_backends(folder, [replace(spec, paths=("prefill",)) for spec in missing])
    return start(folder)


def _refuse_other_model(session: Session, folder: Path, model: str) -> None:
    """Raise InputError where an earlier demo is one of another model."""
    captured = session.manifest.model.id
    if captured != model:
        raise InputError(
            f"{folder} is a demo of {captured}, not of {model}: give another"
            " --out, or start over with --fresh"
        )


def set_up(engines: list[str], model: str) -> None:
    """Make the environments and the small model that are still missing."""
    from logdrift.cli.env import ensure_environments, ensure_small_model
    from logdrift.core.capture.models import SMALL_MODEL

    ensure_environments([TRAINER, *engines])
    if model == SMALL_MODEL:
        ensure_small_model()


def _delete(folder: Path) -> None:
    if not folder.exists():
        return
    if not (folder / MANIFEST).exists():
        raise InputError(
            f"--fresh: {folder} is not a session and is left alone: name another --out"
        )
    holder = read_lock(folder)
    if holder is not None:
        raise InputError(
            f"--fresh: {folder} is being written by process {holder.pid}: wait for it"
            " or end it"
        )
    shutil.rmtree(folder)
