"""Plant faults in a model with plain Transformers and write one session for each. Runs
in the engine's interpreter.

    python core/planted/inside/worker.py MODEL OUT [--backgrounds float32,bfloat16]
    [--faults
    a,b] [--held-out]
        [--lengths 40x4,68x4] [--long 296x1] [--ids FILE] [--little FAMILIES]

Every session holds three captures of the same tokens: ``reference/prefill`` (float32),
``trainer/prefill`` (clean, sdpa attention) and ``rollout/prefill`` (eager attention,
and the fault). A session that is there already is kept.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# `core` alone becomes importable, as in every worker; this folder's modules have common
# names and must not be.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
runpy.run_path(str(HERE.parents[1] / "worker" / "launch.py"))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from logdrift.core.planted.faults import (  # noqa: E402
    BY_NAME,
    FAULTS,
    Fault,
    facts_shown,
)
from logdrift.core.planted.inside.bench import (  # noqa: E402
    Bench,
    CleanSides,
    read_ids,
    sample_ids,
)
from logdrift.core.planted.inside.edits import plant  # noqa: E402
from logdrift.core.planted.inside.little import train  # noqa: E402
from logdrift.core.planted.inside.scoring import Model  # noqa: E402
from logdrift.core.planted.inside.written import (  # noqa: E402
    WrittenSide,
    write_session,
)
from logdrift.core.planted.sizes import (  # noqa: E402
    LENGTHS,
    LONG,
    lengths_of,
    take,
)
from logdrift.core.session.layout import MANIFEST  # noqa: E402

MARK = "planted:"


def facts_of(model: Model, dtype: str, attention: str) -> dict[str, Any]:
    """Facts that leave nothing unknown."""
    return {
        "engine": "transformers",
        "engine_version": "5.19.0",
        "dtype": dtype,
        "head_dtype": dtype,
        "logits_dtype": dtype,
        "device": "cpu",
        "attention_backend": attention,
        "quantization": "none",
        "prefill_logprobs": "raw",
        "decode_logprobs": "raw",
        "temperature": 1.0,
        "vocab_size": model.vocab,
        "logits_size": model.vocab,
        "weights_digest": "sha256:" + "a" * 64,
        "tokenizer_digest": "sha256:" + "b" * 64,
        "config_digest": "sha256:" + "c" * 64,
        "config_overrides": {},
        "padding": "none",
        "torch_version": torch.__version__,
        "execution_mode": "eager",
        "kv_cache_dtype": "auto",
        "prefix_cache": False,
        "chunked_prefill": False,
        "max_batch_sequences": 1,
        "max_length": 1 << 20,
        "tensor_parallel": 1,
        "batch_invariant": False,
        "adds_bos": False,
    }


def write(bench: Bench, fault: Fault, background: str, size: float) -> None:
    """The session of one fault, under the name of background and fault."""
    folder = bench.out / f"{background}-{fault.name}"
    if (folder / MANIFEST).exists():
        return
    count = len(bench.ids) if fault.long else bench.short
    clean = CleanSides(bench, background, count)
    planted = plant(clean, fault.name, size)
    # The digests of the ids are those of what was sent.
    changed = facts_shown(fault, size, background)
    changed.pop("ids_digest", None)
    model = clean.model
    reference = WrittenSide(
        name="reference",
        scores=clean.reference,
        facts=facts_of(model, "float32", "sdpa"),
        sent=clean.ids,
    )
    trainer = WrittenSide(
        name="trainer",
        scores=clean.trainer,
        facts=facts_of(model, background, "sdpa"),
        sent=clean.ids,
    )
    rollout = WrittenSide(
        name="rollout",
        scores=planted.scores,
        facts={**facts_of(model, background, planted.attention), **changed},
        sent=clean.ids if planted.sent is None else planted.sent,
    )
    sides = (reference, trainer, rollout)
    write_session(folder, bench.folder, clean.ids, sides, f"{fault.name} {size:g}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backgrounds", default="float32,bfloat16")
    parser.add_argument("--faults", help="names, by commas (default: all)")
    parser.add_argument("--held-out", action="store_true", help="the other sizes")
    parser.add_argument("--lengths", default=LENGTHS, help="tokens x sequences")
    parser.add_argument(
        "--long", default=LONG, help="sequences for faults that show in long ones alone"
    )
    parser.add_argument(
        "--little",
        help="families, by commas: train MODEL/FAMILY, then plant in OUT/FAMILY",
    )
    parser.add_argument(
        "--ids",
        type=Path,
        help="a file of sequences; without it the model samples its own",
    )
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for family in args.little.split(",") if args.little else ("",):
        model = args.model / family
        out = args.out / family
        if family and not (model / "config.json").exists():
            train(family, model)
        plant_all(model, out, args)


def plant_all(folder: Path, out: Path, args: argparse.Namespace) -> None:
    """Every fault asked for, in one model."""
    out.mkdir(parents=True, exist_ok=True)
    short = lengths_of(args.lengths)
    lengths = short + lengths_of(args.long)
    bench = Bench(folder, out, [], len(short))
    if args.ids:
        sequences = read_ids(args.ids)
    else:
        sequences = sample_ids(bench.model("float32"), lengths, out / "ids.json")
    taken = take([ids.tolist() for ids in sequences], lengths)
    bench.ids = [np.asarray(ids, np.int32) for ids in taken]
    names = args.faults.split(",") if args.faults else BY_NAME
    faults = [fault for fault in FAULTS if fault.name in names]
    for background in args.backgrounds.split(","):
        for fault in faults:
            if background in fault.backgrounds:
                size = fault.other_size if args.held_out else fault.size
                began = time.monotonic()
                write(bench, fault, background, size)
                took = time.monotonic() - began
                print(f"{MARK}{background} {fault.name} {took:.2f}", flush=True)


if __name__ == "__main__":
    main()
