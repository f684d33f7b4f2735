"""What scoring costs over a forward pass: wall time and peak memory, side by side. Run
in an engine interpreter:

    PYTHON benchmarks/scorer.py --model FOLDER [--tokens 512 2048 8192] [--dtypes
    float32 bfloat16]

time    `TransformersBackend.score` (top-20, rank, entropy) over a bare
``model(ids).logits``, in one process per
        dtype and size, the two alternating; median of each and of the ratios of
        neighbouring runs. The last column
        is the ratio of processor time: on a busy machine, and with ``--options
        '{"threads": 1}'``, the better one.
head    for a busy machine: processor time of what the two ways do differently, on one
hidden state: full logits
        against chunks with their reduction, and what they are together with the
        backbone that both share.
        Needs ``--options '{"threads": 1}'``: threads that wait for each other burn
        processor time too.
memory  peak over the loaded, warmed-up model, each way in a fresh process, against
        ``model(ids).logits.float().log_softmax(-1)``: VmHWM, reset before the run.
peers   time of the scorer against what users write for the one log-probability of each
        token (`benchmarks.peers`), the forward pass included on both sides.

``--random VOCABULARY`` scores with a random model of that many ids instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peers import PEERS, Logprobs
from benchmarks.ratios import Ratio, in_words, say

LIMIT_TIME, LIMIT_MEMORY = 1.10, 0.10
WAYS = ("bare", "naive", "backbone", "scorer")


def ways(
    model_path: str, dtype: str, tokens: int, options: dict[str, Any]
) -> dict[str, Callable[[], Any]]:
    """What is compared, each a function without arguments over the same loaded model
    and ids.
    """
    import numpy as np
    import torch

    from logdrift.core.engines.transformers.backend import TransformersBackend
    from logdrift.core.plan import BackendSpec, SamplingSpec
    from logdrift.core.worker.base import BackendSettings

    spec = BackendSpec("benchmark", "transformers", dtype, options=options)
    backend = TransformersBackend(
        BackendSettings(
            model_path, None, spec, SamplingSpec(), ("prefill",), 20, tokens, 1
        )
    )
    backend.open()
    model = backend._model
    ids = np.resize(some_ids(model_path, model.config.vocab_size), tokens)
    batch = torch.from_numpy(ids).long()[None].to(model.device)

    def in_inference_mode(run: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                out = run()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            return out

        return call

    targets = batch[0, 1:]

    def peer(logprobs: Logprobs) -> Callable[[], Any]:
        return in_inference_mode(
            lambda: logprobs(model(batch, use_cache=False).logits[0, :-1], targets)
        )

    return {
        **{name: peer(logprobs) for name, logprobs in PEERS.items()},
        "bare": in_inference_mode(lambda: model(batch, use_cache=False).logits),
        "naive": in_inference_mode(
            lambda: model(batch, use_cache=False).logits.float().log_softmax(-1)
        ),
        "backbone": in_inference_mode(
            lambda: model.base_model(batch, use_cache=False)[0]
        ),
        "scorer": lambda: backend.score([ids], lambda sequences, done: None),
        "batch": lambda: batch,
        "backend": lambda: backend,
        "warm up": in_inference_mode(
            lambda: model(batch[:, :32], use_cache=False).logits
        ),
    }


def some_ids(model_path: str, vocabulary: int) -> Any:
    """Ids of a text, i32; drawn ones for a model without a tokenizer."""
    import numpy as np
    import transformers

    if not list(Path(model_path).glob("tokenizer*")):
        rng = np.random.default_rng(0)
        return rng.integers(0, vocabulary, 10_000).astype(np.int32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path)
    text = Path(argparse.__file__).read_text(encoding="utf-8")
    return np.asarray(tokenizer(text)["input_ids"], np.int32)


def measure_time(
    args: argparse.Namespace,
    dtype: str,
    tokens: int,
    repeats: int,
    peers: Sequence[str] = (),
) -> dict[str, Any]:
    """Seconds of ``bare``, ``scorer`` and the peers, in turns, after one run of
    each.
    """
    runs = ways(args.model, dtype, tokens, args.options)
    order = ["bare", "scorer", *peers]
    seconds: dict[str, list[float]] = {way: [] for way in order}
    processor: dict[str, list[float]] = {way: [] for way in order}
    for repeat in range(repeats + 1):
        order.reverse()
        for way in order:
            began, began_cpu = time.perf_counter(), time.process_time()
            out = runs[way]()
            if repeat:
                seconds[way].append(time.perf_counter() - began)
                processor[way].append(time.process_time() - began_cpu)
            del out
    ratios, cpu = (
        [s / b for b, s in zip(t["bare"], t["scorer"], strict=True)]
        for t in (seconds, processor)
    )
    return {
        "seconds": seconds,
        "median": statistics.median(ratios),
        "ratios": ratios,
        "cpu": statistics.median(cpu),
    }


def measure_head(
    args: argparse.Namespace, dtype: str, tokens: int, repeats: int
) -> dict[str, Any]:
    """Processor seconds of the backbone, once, and of ``full`` logits and ``chunks`` on
    what it gave.
    """
    import torch

    runs = ways(args.model, dtype, tokens, args.options)
    head, batch = runs["backend"]()._head, runs["batch"]()
    seconds: dict[str, list[float]] = {"backbone": [], "full": [], "chunks": []}

    def clocked(name: str, run: Callable[[], Any]) -> Any:
        began = time.process_time()
        out = run()
        seconds[name].append(time.process_time() - began)
        return out

    with torch.inference_mode():
        runs["warm up"]()
        hidden = clocked("backbone", lambda: head.backbone(batch))
        head.backbone = lambda tokens: hidden
        runs["scorer"]()
        for _ in range(repeats):
            clocked("full", lambda: head._from_rows(hidden, batch, 0, tokens))
            clocked("chunks", runs["scorer"])
    return seconds


def measure_memory(
    args: argparse.Namespace, dtype: str, tokens: int, way: str
) -> dict[str, Any]:
    """MiB at the peak of one run of ``way`` over what the process had before."""
    import gc

    runs = ways(args.model, dtype, tokens, args.options)
    runs["warm up"]()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    runs[way]()
    return {"before": before, "peak": _status("VmHWM") - before}


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def child(args: argparse.Namespace, *case: str) -> dict[str, Any]:
    """Run one case in a fresh interpreter; its last line is JSON."""
    command = [
        sys.executable,
        __file__,
        "--model",
        args.model,
        "--options",
        json.dumps(args.options),
        "--case",
        *case,
    ]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model")
    model.add_argument("--random", type=int, metavar="VOCABULARY")
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--repeats", type=int, help="default: 16384 tokens' worth, 5 to 25"
    )
    parser.add_argument("--only", choices=("time", "memory", "head", "peers"))
    parser.add_argument(
        "--options", type=json.loads, default={}, help="backend options, as JSON"
    )
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        kind, dtype, tokens, last = args.case
        if kind == "memory":
            result = measure_memory(args, dtype, int(tokens), last)
        elif kind == "peers":
            result = measure_time(args, dtype, int(tokens), int(last), tuple(PEERS))
        else:
            result = (measure_time if kind == "time" else measure_head)(
                args, dtype, int(tokens), int(last)
            )
        print(json.dumps(result))
        return 0
    held = True
    if args.only == "head":
        return 0 if print_heads(args) else 1
    with contextlib.ExitStack() as stack:
        if args.random is not None:
            work = stack.enter_context(tempfile.TemporaryDirectory())
            args.model = write_model(Path(work, "random"), args.random)
        if args.only in (None, "time"):
            held &= print_times(args)
        if args.only in (None, "peers"):
            print_peers(args)
        if args.only in (None, "memory"):
            held &= print_memory(args)
    return 0 if held else 1


def write_model(folder: Path, vocabulary: int) -> str:
    """A random model of the small model's size with another vocabulary. Ids are drawn,
    since it has no tokenizer.
    """
    from benchmarks.gpu_check.models import Shape, write_random

    shape = Shape(vocabulary, 576, 1536, 30, 9, 3)
    return str(write_random(folder, shape, "cpu"))


def print_times(args: argparse.Namespace) -> bool:
    """Table of times; whether every median ratio is within the limit."""
    held = True
    print(
        f"{'dtype':9} {'tokens':>6} {'runs':>4} {'bare s':>8} {'scorer s':>8}"
        f" {'ratio':>6} {'lowest':>7} {'highest':>7} {'CPU':>6}"
    )
    for dtype in args.dtypes:
        for tokens in args.tokens:
            repeats = args.repeats or min(25, max(5, 16384 // tokens))
            out = child(args, "time", dtype, str(tokens), str(repeats))
            bare, scorer = (
                statistics.median(out["seconds"][way]) for way in ("bare", "scorer")
            )
            ratios = out["ratios"]
            print(
                f"{dtype:9} {tokens:6} {repeats:4} {bare:8.3f} {scorer:8.3f}"
                f" {out['median']:6.3f} {min(ratios):7.3f} {max(ratios):7.3f}"
                f" {out['cpu']:6.3f}",
                flush=True,
            )
            held &= out["median"] <= LIMIT_TIME
            say(
                Ratio(
                    name=f"score {tokens:,} tokens, {dtype}{_vocabulary(args)}",
                    ours=in_words(scorer),
                    against="bare forward, full logits",
                    peer=in_words(bare),
                    ratio=out["median"],
                    limit=LIMIT_TIME,
                )
            )
    print(f"limit: median ratio {LIMIT_TIME:.2f}\n")
    return held


def _vocabulary(args: argparse.Namespace) -> str:
    return f", {args.random:,} ids" if args.random else ""


def print_peers(args: argparse.Namespace) -> None:
    """Table of the scorer's time against what users write."""
    print(
        f"{'dtype':9} {'tokens':>6} {'peer':26} {'s':>8} {'scorer s':>8} {'ratio':>6}"
    )
    for dtype in args.dtypes:
        for tokens in args.tokens:
            repeats = args.repeats or min(25, max(5, 16384 // tokens))
            out = child(args, "peers", dtype, str(tokens), str(repeats))["seconds"]
            scorer = statistics.median(out["scorer"])
            for name in PEERS:
                peer = statistics.median(out[name])
                pairs = zip(out["scorer"], out[name], strict=True)
                ratio = statistics.median(ours / its for ours, its in pairs)
                print(
                    f"{dtype:9} {tokens:6} {name:26} {peer:8.3f} {scorer:8.3f}"
                    f" {ratio:6.3f}",
                    flush=True,
                )
                say(
                    Ratio(
                        name=f"score {tokens:,} tokens, {dtype}{_vocabulary(args)}",
                        ours=in_words(scorer),
                        against=name,
                        peer=in_words(peer),
                        ratio=ratio,
                    )
                )
    print()


def print_heads(args: argparse.Namespace) -> bool:
    """Table of processor times; whether every ratio, the backbone included on both
    sides, is within the limit.
    """
    held = True
    print(
        f"{'dtype':9} {'tokens':>6} {'runs':>4} {'backbone s':>10} {'full s':>7}"
        f" {'chunks s':>8} {'ratio':>6}"
    )
    for dtype in args.dtypes:
        for tokens in args.tokens:
            repeats = args.repeats or 3
            out = child(args, "head", dtype, str(tokens), str(repeats))
            backbone, full, chunks = (
                statistics.median(out[name]) for name in ("backbone", "full", "chunks")
            )
            ratio = (backbone + chunks) / (backbone + full)
            print(
                f"{dtype:9} {tokens:6} {repeats:4} {backbone:10.2f} {full:7.2f}"
                f" {chunks:8.2f} {ratio:6.3f}",
                flush=True,
            )
            held &= ratio <= LIMIT_TIME
    print(f"limit: ratio {LIMIT_TIME:.2f}")
    return held


def print_memory(args: argparse.Namespace) -> bool:
    """Table of peaks; whether the scorer needs at most a tenth of the naive way at
    8,192 tokens and above.
    """
    held = True
    print(
        f"{'dtype':9} {'tokens':>6} {'backbone MiB':>12} {'naive MiB':>10}"
        f" {'scorer MiB':>10} {'ratio':>6}"
    )
    for dtype in args.dtypes:
        for tokens in args.tokens:
            peak = {
                way: child(args, "memory", dtype, str(tokens), way)["peak"]
                for way in WAYS[1:]
            }
            ratio = peak["scorer"] / peak["naive"]
            print(
                f"{dtype:9} {tokens:6} {peak['backbone']:12.0f} {peak['naive']:10.0f}"
                f" {peak['scorer']:10.0f} {ratio:6.3f}",
                flush=True,
            )
            held &= ratio <= LIMIT_MEMORY or tokens < 8192
            say(
                Ratio(
                    name=f"memory of {tokens:,} tokens, {dtype}{_vocabulary(args)}",
                    ours=f"{peak['scorer']:,.0f} MiB",
                    against="full logits + log_softmax",
                    peer=f"{peak['naive']:,.0f} MiB",
                    ratio=ratio,
                    limit=LIMIT_MEMORY if tokens >= 8192 else None,
                )
            )
            say(
                Ratio(
                    name=f"memory of {tokens:,} tokens, {dtype}{_vocabulary(args)}",
                    ours=f"{peak['scorer']:,.0f} MiB",
                    against="bare backbone",
                    peer=f"{peak['backbone']:,.0f} MiB",
                    ratio=peak["scorer"] / peak["backbone"],
                )
            )
    print(f"limit at 8,192 tokens: {LIMIT_MEMORY:.2f}")
    return held


if __name__ == "__main__":
    sys.exit(main())
