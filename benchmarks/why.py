"""Time of the passive diagnosis beside the report of the same pair, on one core.

    python benchmarks/why.py [--tokens 100000] [--top-k 20] [--runs 3] [--json]

A generated session (its numbers are drawn) with two captures and a reference. Every run
opens it anew. Seconds are of the processor, so more threads would not make them fewer.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.make_session import make_session
from benchmarks.ratios import Ratio, in_words, say
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.signatures import SIGNATURES
from logdrift.core.diagnose.signatures.recording import recording_faults
from logdrift.core.report.build import report_pair
from logdrift.core.session.reader import open_session


def timed(folder: Path, work: Callable[[Pair], Any]) -> float:
    """Processor seconds of ``work`` on the pair of a session that was just opened."""
    session = open_session(folder)
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    start = time.process_time()
    work(pair)
    return time.process_time() - start


def by_signature(folder: Path) -> dict[str, float]:
    """Seconds of each signature; the first that asks for a shared array pays for it."""
    session = open_session(folder)
    case = Case(session, make_pair(session, "trainer/prefill", "vllm/decode"))
    out = {}
    start = time.process_time()
    recording_faults(case)
    out["faults of recording"] = time.process_time() - start
    for signature in SIGNATURES:
        start = time.process_time()
        if signature.applies(case) and signature.lacking(case) is None:
            list(signature.evidence(case))
        out[signature.name] = time.process_time() - start
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--top-k", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = make_session(
            Path(work) / "made", args.tokens, max(2, args.tokens // 500), args.top_k, 3
        )
        why, report = [], []
        for _ in range(args.runs):
            why.append(timed(folder, lambda pair: diagnose(pair.session, pair)))
            report.append(timed(folder, lambda pair: report_pair(pair, "all")))
        parts = by_signature(folder)
    a, b = statistics.median(why), statistics.median(report)
    out = {
        "tokens": args.tokens,
        "top_k": args.top_k,
        "why_s": a,
        "report_s": b,
        "ratio": a / b,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "signatures_s": parts,
    }
    say(
        Ratio(
            name=f"why of {args.tokens:,} tokens",
            ours=in_words(a),
            against="the report of the pair",
            peer=in_words(b),
            ratio=a / b,
        )
    )
    if args.json:
        print(json.dumps(out, indent=1))
        return
    print(
        f"{args.tokens:,} tokens, top-{args.top_k}: diagnosis {a:.2f} s, report {b:.2f}"
        f" s, ratio {a / b:.2f}"
    )
    for name, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {name:<16} {seconds:6.3f} s")


if __name__ == "__main__":
    main()
