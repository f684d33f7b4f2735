"""Watching a capture: how soon a finished part is on the screen, and what watching
costs.

    python benchmarks/follow.py [--tokens 60000] [--sequences 128] [--every 3]

A writer publishes the parts of a generated session one after the other, as a capture
does, with its lock held and no engine, while an explorer and a list of sessions watch
on ptys of their own. Follow: from the manifest to the first byte of the answer.
Processor: share of one core while nothing is pressed, with parts coming and between
them. Exit code 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.make_session import make_session
from benchmarks.screen import Terminal
from logdrift.core.session.layout import Manifest, Part, read_manifest
from logdrift.core.session.lock import acquire, release
from logdrift.core.session.reader import open_session
from logdrift.core.session.writer import sequence_tensors, write_manifest, write_part

PARTS = 14
COLUMNS = ("logprob", "rank", "top_ids", "top_logprobs")
MOST_SECONDS, MOST_SHARE = 1.0, 0.05


def in_parts(folder: Path, count: int) -> Manifest:
    """The manifest of a generated session whose columns are cut into ``count`` parts,
    written beside the old ones.
    """
    manifest, session = read_manifest(folder), open_session(folder)
    sequences, step = session.sequences, max(1, len(session.sequences) // count)
    own: list[Part] = []
    parts: dict[str, list[Part]] = {info.label: [] for info in manifest.captures}
    for index, first in enumerate(range(0, len(sequences), step)):
        last = min(len(sequences), first + step)
        low, high = int(sequences.offsets[first]), int(sequences.offsets[last])
        prompts = sequences.prompt_lengths[first:last].tolist()
        tensors = sequence_tensors(
            [sequences.ids(i) for i in range(first, last)],
            prompts,
            ["stop"] * len(prompts),
        )
        own.append(
            write_part(
                folder,
                f"sequences/cut-{index}.safetensors",
                tensors,
                first,
                last - first,
                high - low,
            )
        )
        for label, found in parts.items():
            rows = {
                name: getattr(session.capture(label), name).rows(low, high)
                for name in COLUMNS
            }
            name = f"captures/{label}/cut-{index}.safetensors"
            found.append(
                write_part(folder, name, rows, first, last - first, high - low)
            )
    captures = tuple(
        info._replace(parts=tuple(parts[info.label])) for info in manifest.captures
    )
    return manifest._replace(
        sequences=manifest.sequences._replace(parts=tuple(own)),
        captures=captures,
    )


def publish(folder: Path, whole: Manifest, parts: int) -> None:
    """The manifest of a capture that has finished so many parts of each."""
    captures = tuple(
        info._replace(
            parts=info.parts[:parts],
            status="complete" if parts >= len(info.parts) else "running",
        )
        for info in whole.captures
    )
    write_manifest(folder, whole._replace(captures=captures))


def watch(
    terminals: Sequence[Terminal], seconds: float
) -> tuple[list[float | None], list[float]]:
    """(seconds to the first byte of each, share of a core of each) while they are
    watched for ``seconds``.
    """
    begin, before = time.perf_counter(), [terminal.cpu() for terminal in terminals]
    first: list[float | None] = [None] * len(terminals)
    while (now := time.perf_counter() - begin) < seconds:
        for index, terminal in enumerate(terminals):
            if terminal.read(0.01) and first[index] is None:
                first[index] = time.perf_counter() - begin
    return first, [
        (terminal.cpu() - old) / now
        for terminal, old in zip(terminals, before, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--sequences", type=int, default=128)
    parser.add_argument(
        "--every",
        type=float,
        default=3.0,
        help="seconds from part to part, of all three captures",
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_session(
            Path(scratch) / "sessions" / "run",
            args.tokens,
            args.sequences,
            20,
            captures=3,
        )
        whole = in_parts(folder, PARTS)
        publish(folder, whole, 1)
        acquire(folder, uuid.uuid4().hex)
        logdrift = [sys.executable, "-m", "logdrift.cli.main"]
        terminals = [
            Terminal(
                [*logdrift, "open", str(folder)],
                120,
                36,
                XDG_STATE_HOME=f"{scratch}/state",
            ),
            Terminal(
                [*logdrift, "--sessions", str(folder.parent)],
                120,
                36,
                XDG_STATE_HOME=f"{scratch}/state",
            ),
        ]
        try:
            for terminal, text in zip(
                terminals, (b"Sequence", b"running"), strict=True
            ):
                terminal.wait_for(text)
            watch(terminals, 4.0)
            followed, shares = [], []
            for parts in range(2, PARTS + 1):
                publish(folder, whole, parts)
                first, share = watch(terminals, args.every)
                followed.append(first)
                shares.append(share)
            _, idle = watch(terminals, 8.0)
        finally:
            for terminal in terminals:
                terminal.close()
            release(folder)
    good = True
    for index, name in enumerate(("explorer", "list of sessions")):
        seconds = sorted(
            float("inf") if (after := first[index]) is None else after
            for first in followed
        )
        busy = sum(share[index] for share in shares) / len(shares)
        good &= seconds[-1] <= MOST_SECONDS and max(busy, idle[index]) <= MOST_SHARE
        print(
            f"{name:<18} follows in {seconds[len(seconds) // 2]:.2f} s,"
            f" {seconds[-1]:.2f} at most (limit {MOST_SECONDS:g}); processor {busy:.1%}"
            f" with a part every {args.every:g} s, {idle[index]:.1%} between (limit"
            f" {MOST_SHARE:.0%})"
        )
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
