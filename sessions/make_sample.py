"""Make the shipped sample session again: `make sample` (all three engines on a CPU, a
few minutes).

Batches of one sequence, because vLLM's CPU kernels give decode and prefill the same
bits from two on (docs/engines.md), and the sample should show all that a session can
show.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from logdrift.cli.capture import start
from logdrift.cli.demo import demo_plan, set_up
from logdrift.core.capture.create import create_session
from logdrift.core.errors import LogdriftError
from logdrift.core.session.layout import EVENTS, LOGS, PROMPTS

FOLDER = Path(__file__).resolve().parent / "sample-smollm2"
ENGINES = ["vllm", "sglang"]
_TITLE = (
    "sample: SmolLM2-135M on a CPU, vLLM and SGLang against Transformers, one sequence"
    " at a time"
)
_NOT_SHIPPED = (LOGS, EVENTS, PROMPTS)
"""They name folders of the machine that captured, and nobody needs them to read the
numbers.
"""


def main() -> int:
    set_up(ENGINES, "smollm2")
    new = FOLDER.with_name("sample-new")
    shutil.rmtree(new, ignore_errors=True)
    plan = demo_plan(ENGINES, "smollm2", max_tokens=64)
    together = tuple(
        replace(spec, alone=False) for spec in plan.backends
    )  # here every sequence is alone already
    create_session(
        replace(plan, title=_TITLE, part_sequences=1, backends=together), new
    )
    start(new)
    _join_parts(new)
    for name in _NOT_SHIPPED:
        path = new / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    new.rename(FOLDER)
    return 0


def _join_parts(folder: Path) -> None:
    """One part a tensor file instead of one a sequence: the same numbers in 8 files
    instead of 192.
    """
    import numpy as np

    from logdrift.core.session.layout import (
        Part,
        capture_part,
        ids_digest,
        read_manifest,
        sequence_part,
    )
    from logdrift.core.session.tensors import read_tensors
    from logdrift.core.session.writer import write_manifest, write_part

    manifest = read_manifest(folder)

    def join(parts: tuple[Part, ...], name: str) -> tuple[Part, ...]:
        loaded = [read_tensors(folder / part.file) for part in parts]
        tensors = {
            key: np.concatenate([t[key] for t in loaded])
            for key in loaded[0]
            if key != "offsets"
        }
        if "offsets" in loaded[0]:
            lengths = np.concatenate([np.diff(t["offsets"]) for t in loaded])
            tensors["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(
                np.int64
            )
        sequences, tokens = (
            sum(p.sequences for p in parts),
            sum(p.tokens for p in parts),
        )
        joined = write_part(
            folder, name.replace("part-00000", "joined"), tensors, 0, sequences, tokens
        )
        for part in parts:
            (folder / part.file).unlink()
        (folder / joined.file).rename(folder / name)
        return (joined._replace(file=name),)

    ids = [
        read_tensors(folder / part.file)["token_ids"]
        for part in manifest.sequences.parts
    ]
    for capture in manifest.captures:
        if [part.ids_digest for part in capture.parts] != [
            ids_digest(row) for row in ids
        ]:
            raise LogdriftError(
                f"{capture.label} scored other ids than the session holds"
            )
    whole = ids_digest(np.concatenate(ids))
    captures = tuple(
        # Joining changes the files, not how they were captured: each sequence in a
        # batch of its own.
        c._replace(
            batch="alone",
            parts=tuple(
                p._replace(ids_digest=whole)
                for p in join(c.parts, capture_part(c.label, 0))
            ),
        )
        for c in manifest.captures
    )
    sequences = manifest.sequences._replace(
        parts=join(manifest.sequences.parts, sequence_part(0))
    )
    plan = {
        **manifest.plan,
        "part_sequences": manifest.sequences.planned,
    }  # what the files now are
    write_manifest(
        folder, manifest._replace(plan=plan, captures=captures, sequences=sequences)
    )


if __name__ == "__main__":
    sys.exit(main())
