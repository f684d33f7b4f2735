"""What a capture costs over the engine alone: the same requests made straight to it,
all at once, in processes of their own that take turns.

    python -m benchmarks.capturing [--engines vllm sglang transformers] [--rounds 5]

vllm, sglang  ``--prompts`` (96) prompts of 8 to 48 random ids are sampled for 64 tokens
              and then scored with 20 alternatives: `logdrift capture` as it is, by the
              times of its events, against ``LLM.generate`` and ``Engine.generate`` with
              all requests in one call.
transformers  256 sequences of 32 to 256 ids are scored with top-20, rank and entropy,
              against a batched forward with full logits (16 sequences of nearly one
              length, padded, with a mask), by the times of the calls in one process.

Printed are medians of seconds, and the median of the ratios of neighbouring runs with
the lowest and the highest; exit code 1 where one is above its limit. Starts of engines
do not count. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.capturing_bare import VARIABLES, Work, prompts_of
from logdrift.core.capture.environments import (
    default_device,
    engine_environment,
    find_interpreter,
)
from logdrift.core.capture.models import resolve_model
from logdrift.core.session.events import read_events

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"vllm": 1.05, "sglang": 1.05, "transformers": 1.10}
Seconds = dict[str, float]


def bare(engine: str, work: Work, folder: Path) -> Seconds:
    """Seconds of each path, with the engine alone."""
    interpreter = find_interpreter(engine, None)
    environment = {
        **os.environ,
        **engine_environment(engine, default_device(), work.model),
        **interpreter.env,
        **VARIABLES.get(engine, {}),
    }
    script = ROOT / "benchmarks" / "capturing_bare.py"
    out = folder / "bare.json"
    command = [str(interpreter.python), str(script), engine, work.to_json(), str(out)]
    with open(folder / "bare.log", "ab") as log:
        subprocess.run(
            command, env=environment, stdout=log, stderr=log, check=True, cwd=folder
        )
    return dict(json.loads(out.read_text()))


def captured(engine: str, work: Work, folder: Path) -> Seconds:
    """Seconds of each path of a capture, by its events."""
    prompts = folder / "prompts.jsonl"
    lines = [{"token_ids": ids} for ids in prompts_of(work)]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = folder / "session"
    command = [
        *(sys.executable, "-m", "logdrift", "capture", "--out", str(out)),
        *("--model", work.model, "--prompts", str(prompts)),
        *("--max-tokens", str(work.new_tokens), "--top-k", "20"),
        *("--backend", f"{engine}:{work.dtype},paths=decode+prefill@rollout"),
    ]
    with open(folder / "capture.log", "ab") as log:
        subprocess.run(command, stdout=log, stderr=log, check=True, cwd=ROOT)
    return seconds_of(out / "events.jsonl")


def seconds_of(events: Path) -> Seconds:
    """From the facts of the engine, or the end of the path before, to its own end."""
    found: Seconds = {}
    since = 0.0
    for event in read_events(events):
        if event.get("type") == "facts":
            since = float(event["t"])
        elif event.get("type") == "captured":
            path = str(event["label"]).partition("/")[2]
            found[path] = float(event["t"]) - since
            since = float(event["t"])
    return found


def scored(work: Work, folder: Path, rounds: int) -> list[tuple[Seconds, Seconds]]:
    """The Transformers scorer and the bare forward, taking turns in one process."""
    work = Work(**{**work.__dict__, "rounds": rounds})
    found = bare("transformers", work, folder)
    pairs: Any = found["pairs"]
    return [({"prefill": one}, {"prefill": two}) for one, two in pairs]


def measured(
    engine: str, work: Work, rounds: int, say: Callable[[str], None]
) -> list[tuple[Seconds, Seconds]]:
    """Seconds of the engine alone and of logdrift, of each round."""
    with tempfile.TemporaryDirectory(prefix="logdrift-capturing-") as folder:
        if engine == "transformers":
            return scored(work, Path(folder), rounds)
        pairs = []
        for number in range(rounds):
            here = Path(folder, str(number))
            here.mkdir()
            runs = [bare, captured]
            if number % 2:
                runs.reverse()
            found = {run.__name__: run(engine, work, here) for run in runs}
            pairs.append((found["bare"], found["captured"]))
            say(f"{engine} {number}: {found}")
        return pairs


def rows(engine: str, pairs: Sequence[tuple[Seconds, Seconds]]) -> list[str]:
    """A row of the table for each path; its last cell says whether the limit holds."""
    lines = []
    for path in pairs[0][1]:
        alone = [one[path] for one, _ in pairs]
        ours = [two[path] for _, two in pairs]
        ratios = [b / a for a, b in zip(alone, ours, strict=True)]
        median = statistics.median(ratios)
        verdict = "held" if median <= LIMITS[engine] else "not held"
        lines.append(
            f"| {engine} | {path} | {len(pairs)} | {statistics.median(alone):.2f} |"
            f" {statistics.median(ours):.2f} | {median:.3f} | {min(ratios):.3f} |"
            f" {max(ratios):.3f} | {LIMITS[engine]:.2f} {verdict} |"
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", choices=LIMITS, default=[*LIMITS])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--sequences", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    work = Work(
        model=resolve_model(args.model),
        dtype=args.dtype,
        prompts=args.prompts,
        sequences=args.sequences,
        new_tokens=args.new_tokens,
    )
    lines: list[str] = []
    for engine in args.engines:
        pairs = measured(
            engine, work, args.rounds, lambda text: print(text, file=sys.stderr)
        )
        lines += rows(engine, pairs)
    print(
        "| engine | path | runs | alone s | logdrift s | ratio | lowest | highest |",
        end="",
    )
    print(" limit |\n|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    return int(any("not held" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
