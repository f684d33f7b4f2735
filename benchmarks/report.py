"""Time and memory of `logdrift report --json` for one pair, beside the plain NumPy
kernels that its numbers need.

    python benchmarks/make_session.py MILLION --tokens 1000000 --sequences 2000 --top-k
    20
    python benchmarks/report.py MILLION

The kernels are what somebody would write who wants the numbers alone: no corners, no
blocks by design, float64. Both run in this process, interleaved, so the ratio (limit 2)
means something on a noisy machine; the command runs in a process of its own, for its
peak memory (limit 1.5 GB).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratios import Ratio, in_words, say
from logdrift.core.compare.pair import Pair, default_pair, make_pair
from logdrift.core.report.build import build_report
from logdrift.core.report.strict_json import dump
from logdrift.core.session.reader import Session, open_session

LIMIT = 2.0
BLOCK = 1 << 12  # its arrays stay in the second-level cache


def kernels(pair: Pair) -> dict[str, Callable[[], object]]:
    """One plain kernel for each group of numbers, on arrays that are there already."""
    keep = pair.scope_mask("completion")
    a32, b32 = pair.logprob_a[keep], pair.logprob_b[keep]
    a, b = a32.astype(np.float64), b32.astype(np.float64)
    d = a - b
    lengths = pair.count_per_sequence(keep)
    lengths = lengths[lengths > 0]
    starts = np.cumsum(lengths) - lengths
    rng = np.random.default_rng(0)

    def errors() -> object:
        x = a - b
        return (
            np.abs(x).mean(),
            np.sqrt((x * x).mean()),
            x.mean(),
            np.corrcoef(a, b),
            (x == 0).mean(),
            np.abs(x).max(),
        )

    def probability() -> object:
        p, q = np.exp(a), np.exp(b)
        gap = np.abs(p - q)
        return (
            gap.mean(),
            gap.max(),
            gap.std(),
            np.corrcoef(p, q),
            np.exp(np.abs(d)).mean(),
        )

    def mismatch() -> object:
        r = np.exp(d)
        k3, reverse = (r - d - 1).mean(), (1 / r + d - 1).mean()
        outside = [
            ((r < low) | (r > high)).mean()
            for low, high in ((0.9, 1.1), (0.8, 1.2), (0.7, 1.3))
        ]
        ess = r.sum() ** 2 / (len(r) * (r * r).sum())
        held = np.clip(r, 0.5, 2)
        total = np.add.reduceat(d, starts)
        per = np.add.reduceat(np.exp(np.abs(d)), starts) / lengths
        ppl = [np.exp(-np.add.reduceat(x, starts) / lengths).mean() for x in (a, b)]
        js = np.log(np.cosh(d / 2)).mean()
        return (
            k3,
            reverse,
            outside,
            ess,
            held.std(),
            held.sum(),
            np.exp(total),
            per,
            ppl,
            js,
            np.quantile(r, 0.99),
        )

    def interval() -> object:
        sums = np.stack(
            [
                np.add.reduceat(x, starts)
                for x in (np.abs(d), d * d, d, np.exp(d) - d - 1)
            ]
        )
        drawn = rng.integers(0, len(lengths), (2000, len(lengths)))
        weights = np.stack([np.bincount(row, minlength=len(lengths)) for row in drawn])
        return (weights @ sums.T) / (weights @ lengths)[:, None]

    def buckets() -> object:
        out = []
        position = np.arange(len(d)) - np.repeat(starts, lengths)
        for value, edges in (
            (b, np.log([1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99])),
            (position, 2.0 ** np.arange(12)),
        ):
            index = np.searchsorted(edges, value, "right")
            out += [
                np.bincount(index, w, len(edges) + 1) for w in (d, np.abs(d), d * d)
            ]
            out += [np.abs(d)[index == i].max(initial=0) for i in range(len(edges) + 1)]
        return out

    def topk() -> object:
        at = np.flatnonzero(keep)
        overlap, bound = 0, 0.0
        for start in range(0, len(at), BLOCK):
            rows = slice(int(at[start]), int(at[min(start + BLOCK, len(at)) - 1]) + 1)
            ids = [
                np.ascontiguousarray(c.top_ids.rows(rows.start, rows.stop).T)
                for c in (pair.a, pair.b)
            ]
            la, lb = (
                np.ascontiguousarray(c.top_logprobs.rows(rows.start, rows.stop).T)
                for c in (pair.a, pair.b)
            )
            value = np.full(lb.shape, np.nan, np.float32)
            for k in range(len(ids[0])):
                np.copyto(value, la[k], where=ids[0][k] == ids[1])
            found = ~np.isnan(value)
            overlap += int(found.sum())
            q, p = (
                np.where(found, np.exp(lb, dtype=np.float64), 0.0),
                np.where(found, np.exp(value), 0.0),
            )
            rest = np.maximum(1 - p.sum(0), 1e-9), np.maximum(1 - q.sum(0), 1e-9)
            bound += float(
                np.where(found, q * (lb - value), 0.0).sum()
                + (rest[1] * np.log(rest[1] / rest[0])).sum()
            )
            _ = (1 - np.exp(la).sum(0)).mean(), (1 - np.exp(lb).sum(0)).mean()
            _ = (la > pair.logprob_a[rows]).sum(0) != (lb > pair.logprob_b[rows]).sum(0)
        return overlap, bound

    return {
        "difference, masks": lambda: (_delta(pair), pair.scope_mask("completion")),
        "errors": errors,
        "percentiles": lambda: np.quantile(np.abs(d), (0.5, 0.9, 0.99, 0.999)),
        "probability": probability,
        "mismatch": mismatch,
        "intervals": interval,
        "buckets": buckets,
        "worst tokens": lambda: np.argpartition(np.abs(d), len(d) - 20)[-20:],
        "top-k, KL": topk,
        "other scopes": lambda: [
            _errors_of(pair, scope) for scope in ("prompt", "all")
        ],
    }


def _delta(pair: Pair) -> np.ndarray:
    delta = pair.logprob_a - pair.logprob_b
    counted = (
        (pair.sequences.mask[: pair.tokens] == 1)
        & ~np.isnan(pair.logprob_a)
        & ~np.isnan(pair.logprob_b)
    )
    counted_deltas: np.ndarray = delta[counted]
    return counted_deltas


def _errors_of(pair: Pair, scope: str) -> object:
    d = pair.delta[pair.scope_mask(scope)].astype(np.float64)  # type: ignore[arg-type]
    if not len(d):
        return None
    size = np.abs(d)
    return (
        size.mean(),
        np.sqrt((d * d).mean()),
        np.quantile(size, (0.5, 0.9, 0.99, 0.999)),
        (np.exp(d) - d - 1).mean(),
    )


def _timed(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _dump_report(session: Session, labels: tuple[str, str]) -> None:
    dump(build_report(session, [labels], "completion"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("session", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    labels = default_pair(open_session(args.session))
    assert labels is not None
    session = open_session(args.session)
    plain = kernels(make_pair(session, *labels))
    times: dict[str, list[float]] = {name: [] for name in plain}
    whole: list[float] = []
    for _ in range(args.runs):
        for name, kernel in plain.items():
            times[name].append(_timed(kernel))
        fresh = open_session(args.session)  # nothing kept from the run before
        write_report = partial(_dump_report, fresh, labels)
        whole.append(_timed(write_report))
    total = sum(statistics.median(t) for t in times.values())
    print(
        f"{session.sequences.tokens:,} tokens, {len(session.captures)} captures,"
        f" {':'.join(labels)}, {args.runs} runs"
    )
    for name, t in times.items():
        print(f"  {name:20}{1000 * statistics.median(t):9.1f} ms")
    print(f"  {'kernels in all':20}{1000 * total:9.1f} ms")
    print(
        f"  {'report':20}{1000 * statistics.median(whole):9.1f} ms   ratio"
        f" {statistics.median(whole) / total:.2f}"
    )
    say(
        Ratio(
            name=f"report of {session.sequences.tokens:,} tokens",
            ours=in_words(statistics.median(whole)),
            against="the NumPy kernels of its numbers",
            peer=in_words(total),
            ratio=statistics.median(whole) / total,
            limit=LIMIT,
        )
    )
    command = [
        sys.executable,
        "-m",
        "logdrift.cli.main",
        "report",
        str(args.session),
        "--pair",
        ":".join(labels),
        "--json",
    ]
    seconds = _timed(
        lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"  the command: {seconds:.1f} s, peak memory {peak:,.0f} MiB (mapped files"
        " included)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
