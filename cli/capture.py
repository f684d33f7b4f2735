"""`logdrift capture`: make a session, or go on with one."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from logdrift.cli.trusting import add_flag, confirmed
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.interrupts import cancellable
from logdrift.core.numbers import counted
from logdrift.core.paths import user_path
from logdrift.core.plan import (
    BackendSpec,
    CapturePlan,
    SamplingSpec,
    load_plan,
    parse_spec,
)
from logdrift.core.session.layout import LOGS, read_manifest
from logdrift.core.session.visible import visible

_SAMPLING_FLAGS = ("temperature", "top_p", "max_tokens", "seed")
_PLAN_FLAGS = (
    "plan",
    "model",
    "revision",
    "prompts",
    "text",
    "backend",
    "python",
    "top_k",
    *_SAMPLING_FLAGS,
    "title",
    "part_sequences",
    "trust_remote_code",
    "continue_final_message",
    "add_generation_prompt",
)
"""Flags that are a field of a plan, by their names in the parsed arguments."""
_NEW_SESSION_FLAGS = (
    "plan",
    "prompts",
    "text",
    *_SAMPLING_FLAGS,
    "title",
    "continue_final_message",
    "add_generation_prompt",
)
"""Flags that have no meaning for a session that is there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = (
        "A backend SPEC is ENGINE[:DTYPE][,option=value...][@NAME], e.g."
        " transformers:float32@reference,"
        " vllm:bfloat16,enforce_eager=true,repeats=2 or"
        " sglang,python=/path/to/python. Options go to the engine by its own names;"
        " python, role, paths (joined by +), repeats, alone, reproducible, model,"
        " revision and gpus are logdrift's (docs/plan.md)."
        " vllm,server=http://localhost:8000 asks a server that runs already"
        " (docs/capture.md)."
    )
    _add_model_and_prompts(parser)
    _add_backends(parser)
    _add_sampling(parser)
    _add_session(parser)
    _add_ways_to_run(parser)


def _add_model_and_prompts(parser: argparse.ArgumentParser) -> None:
    """The flags of what is scored, and with which model."""
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="plan in TOML; flags below override it",
    )
    parser.add_argument(
        "--model",
        metavar="M",
        help="local folder, hub id, or smollm2 (the small model)",
    )
    parser.add_argument("--revision", metavar="R", help="revision of a hub model")
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        help=(
            "JSONL: {prompt}, {messages} or {token_ids, prompt_length}; docs/plan.md"
            " has all keys"
        ),
    )
    final_turn = parser.add_mutually_exclusive_group()
    final_turn.add_argument(
        "--continue-final-message",
        action="store_true",
        help="continue the last assistant message instead of answering it",
    )
    final_turn.add_argument(
        "--add-generation-prompt",
        action="store_true",
        help="close the last assistant message and answer it",
    )
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="T",
        help="a prompt as text (repeatable)",
    )


def _add_backends(parser: argparse.ArgumentParser) -> None:
    """The flags of what scores it, and what is kept of each token."""
    parser.add_argument(
        "--backend",
        action="append",
        default=[],
        metavar="SPEC",
        help="a backend (repeatable)",
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="ENGINE=PATH",
        help="interpreter of an engine",
    )
    parser.add_argument(
        "--top-k",
        type=int,
        metavar="K",
        help="alternatives kept per token (default 20)",
    )


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """The flags of how completions are sampled."""
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="X",
        help="sampling temperature (default 1)",
    )
    parser.add_argument(
        "--top-p", type=float, metavar="X", help="sampling top-p (default 1)"
    )
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="longest completion (default 128)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="sequence i is sampled with seed N + i (default 0)",
    )


def _add_session(parser: argparse.ArgumentParser) -> None:
    """The flags of the session that is written."""
    parser.add_argument(
        "--title", metavar="T", help="title shown in the list of sessions"
    )
    parser.add_argument(
        "--part-sequences",
        type=int,
        metavar="N",
        help="sequences a part; a crash loses one part (default 8)",
    )
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run code that comes with the model",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--out", type=Path, metavar="SESSION", help="session folder to write"
    )
    place.add_argument(
        "--into",
        type=Path,
        metavar="SESSION",
        help=(
            "session that is there: the backends score its own ids, and what it holds"
            " stays as it is (docs/capture.md)"
        ),
    )


def _add_ways_to_run(parser: argparse.ArgumentParser) -> None:
    """The flags of how the captures are run."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume the session at --out or --into with its own plan",
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="capture in the background: goes on when the terminal closes",
    )
    add_flag(parser)
    parser.add_argument(
        "--parallel",
        action="store_true",
        help="run backends at once where their devices differ",
    )


def run(args: argparse.Namespace) -> int:
    """Capture. Exit 0 when every capture is complete, 1 when one failed."""
    with cancellable():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    out = _session_of(args)
    if args.resume:
        _refuse_flags_of_a_plan(args)
        _confirm(out, args)
    elif args.into is not None:
        _add_into(out, args)
    elif args.trust_session:
        raise InputError(
            "--trust-session confirms the plan of a session: add --resume or --into"
        )
    else:
        from logdrift.core.capture.create import create_session

        create_session(plan_from(args), out, narrate)
    return start(out, detach=args.detach, parallel=args.parallel)


def _session_of(args: argparse.Namespace) -> Path:
    """The folder that is captured into. Raises InputError where none is named."""
    for path in (args.out, args.into):
        if path is not None:
            return user_path(str(path))
    raise InputError(
        "--out is missing: name the session folder to write, e.g. --out sessions/mine"
    )


def _confirm(folder: Path, args: argparse.Namespace) -> None:
    """Have the plan of a session confirmed that is not this user's own. Raises
    InputError where it has none.
    """
    manifest = read_manifest(folder)
    if not manifest.plan:
        raise InputError(
            "it was imported, so there is nothing to resume",
            where=f"session {folder}",
            remedy="score its ids with --into and a --backend",
        )
    confirmed(folder, manifest, flag=args.trust_session)


def _add_into(folder: Path, args: argparse.Namespace) -> None:
    """Add the backends to the session that is there. Raises InputError."""
    from logdrift.core.capture.into import PlanWish, add_backends

    for name in _NEW_SESSION_FLAGS:
        if _was_given(args, name):
            raise InputError(
                f"--into scores the ids that the session has: leave out --{_flag(name)}"
            )
    if not args.backend:
        raise InputError(
            "--into needs a backend that scores the session's ids",
            remedy="give one (--backend transformers@trainer)",
        )
    if read_manifest(folder).plan:
        _confirm(folder, args)
    specs = [parse_spec(text) for text in args.backend]
    wish = PlanWish(
        model=args.model,
        revision=args.revision,
        top_k=args.top_k,
        part_sequences=args.part_sequences,
        trust_remote_code=args.trust_remote_code or None,
    )
    add_backends(folder, with_interpreters(specs, args.python), wish, narrate)


def _refuse_flags_of_a_plan(args: argparse.Namespace) -> None:
    """Raise InputError where --resume is given flags that its plan would override."""
    for name in _PLAN_FLAGS:
        if _was_given(args, name):
            raise InputError(
                f"--resume uses the session's own plan: leave out --{_flag(name)}"
            )


def _was_given(args: argparse.Namespace, name: str) -> bool:
    value = getattr(args, name)
    absent = value is None or value is False or value == []  # 0 is a value
    return not absent


def _flag(name: str) -> str:
    return name.replace("_", "-")


def narrate(text: str) -> None:
    """Narration goes to stderr: stdout is for data."""
    print(visible(text), file=sys.stderr, flush=True)


def start(folder: Path, *, detach: bool = False, parallel: bool = False) -> int:
    """Run what a session lacks, with progress, or in the background.

    Raises LogdriftError where a capture is not complete afterwards.
    """
    if detach:
        return _detach(folder, parallel)
    from logdrift.cli.progress import progress_view
    from logdrift.core.capture.supervisor import run_session

    try:
        with progress_view() as view:
            complete = run_session(folder, view, parallel=parallel)
    except KeyboardInterrupt:
        narrate(
            f"what is finished is kept: go on with logdrift capture --out {folder}"
            " --resume"
        )
        raise
    if not complete:
        raise _incomplete(folder)
    narrate(f"session complete: {folder}")
    # Imported here: only a capture that is done has numbers to read.
    from logdrift.cli.closing import closing_lines

    for line in closing_lines(folder):
        narrate(line)
    return 0


def _incomplete(folder: Path) -> LogdriftError:
    """The error for captures that are not complete; prints why each is not."""
    captures = read_manifest(folder).captures
    failed = [capture for capture in captures if capture.status != "complete"]
    for capture in failed:
        reason = (capture.failure_lines or ["not reached"])[0]
        narrate(f"{capture.label}: {reason}")
    all_of_them = counted(len(captures), "capture")
    return LogdriftError(
        f"{folder} lacks {len(failed)} of {all_of_them}: see {folder / LOGS}, fix it,"
        f" and go on with logdrift capture --out {folder} --resume"
    )


def _detach(folder: Path, parallel: bool) -> int:
    from logdrift.core.capture.background import start_background

    pid = start_background(folder, parallel=parallel)
    print(
        visible(
            f"capturing in the background (process {pid}): watch it with logdrift open"
            f" {shlex.quote(str(folder))}"
        )
    )
    return 0


def plan_from(args: argparse.Namespace) -> CapturePlan:
    """The plan: the file, if any, overridden by flags.

    Raises InputError that names the flag or key.
    """
    sampling = _given(args, _SAMPLING_FLAGS)
    changes = _changes(args)
    if args.plan is not None:
        plan = load_plan(args.plan)
        plan = replace(plan, **changes, sampling=replace(plan.sampling, **sampling))
    else:
        changes.setdefault("model", "")
        changes.setdefault("backends", ())
        plan = CapturePlan(**changes, sampling=SamplingSpec(**sampling))
    backends = with_interpreters(plan.backends, args.python)
    return replace(plan, backends=backends)


def _given(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The values of the flags that were given."""
    values = {name: getattr(args, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of a plan that flags set."""
    changes = _given(args, ("model", "revision", "top_k", "title", "part_sequences"))
    if args.prompts is not None or args.text:
        # They replace all prompts of the plan file: nobody who gives --text means to
        # score that file too.
        changes["prompts_file"] = args.prompts
        changes["texts"] = tuple(args.text)
    if args.backend:
        changes["backends"] = tuple(parse_spec(spec) for spec in args.backend)
    for name in (
        "trust_remote_code",
        "continue_final_message",
        "add_generation_prompt",
    ):
        if getattr(args, name):
            changes[name] = True
    return changes


def with_interpreters(
    specs: Sequence[BackendSpec], choices: Sequence[str]
) -> tuple[BackendSpec, ...]:
    """The backends with an interpreter for each ENGINE=PATH; raises InputError."""
    engines = {spec.engine for spec in specs}
    paths: dict[str, str] = {}
    for choice in choices:
        engine, _, path = choice.partition("=")
        if not path:
            raise InputError(
                f"--python {choice}: give ENGINE=PATH, e.g. vllm=~/venv/bin/python"
            )
        if engine not in engines:
            raise InputError(f"--python {choice}: no backend of the plan uses {engine}")
        paths[engine] = path
    backends = []
    for spec in specs:
        python = spec.python or paths.get(spec.engine)
        backends.append(replace(spec, python=python))
    return tuple(backends)
