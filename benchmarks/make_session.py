"""Write a generated session of any size, for benchmarks and for tests that need shapes
rather than engines.

    python benchmarks/make_session.py OUT --tokens 1000000 --sequences 2000 --top-k 20

The numbers are drawn, not measured: logprobs of a peaked distribution, with a bf16-like
zero-mean difference between captures and a share of divergent tokens. Its manifest says
so in its title.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from logdrift.core.facts import Facts
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    SequencesInfo,
    capture_part,
    sequence_part,
)
from logdrift.core.session.writer import (
    merge_pieces,
    sequence_tensors,
    write_manifest,
    write_part,
)

_TEXT = (
    "the of and to in is that it for was on are as with they at be this have from or"
    " had by word but not what all were we when your can said there use an each which"
    " she do how their if will up other about out many then them"
)
PIECES = [f" {word}".encode() for word in _TEXT.split()] + [
    b"\n",
    b".",
    b",",
    b"def",
    b"(",
    b")",
    b":",
    b"    ",
    "中".encode(),
    "文".encode(),
    "é".encode(),
    "🙂".encode(),
    b"\xf0\x9f",
    b"\x98\x80",
    b"\x1b[31m",
    "\u202e".encode(),
    b"0",
    b"1",
    b"2",
    b"<|im_end|>",
]
CAPTURES = (
    ("reference", "transformers", "float32", "prefill", "reference", 0.0),
    ("trainer", "transformers", "bfloat16", "prefill", "trainer", 0.02),
    ("vllm", "vllm", "bfloat16", "decode", "rollout", 0.025),
    ("vllm", "vllm", "bfloat16", "prefill", "rollout", 0.025),
)


def make_session(
    out: Path, tokens: int, sequences: int, top_k: int, captures: int = 3, seed: int = 0
) -> Path:
    """Write the session to ``out`` in parts of at most 256 sequences and return the
    folder.
    """
    rng = np.random.default_rng(seed)
    lengths = np.maximum(
        2,
        rng.multinomial(tokens - 2 * sequences, np.full(sequences, 1 / sequences)) + 2,
    )
    prompts = np.minimum(lengths - 1, np.maximum(1, lengths // 4)).astype(np.int32)
    out.mkdir(parents=True, exist_ok=True)
    merge_pieces(out, dict(enumerate(PIECES)))
    infos = [
        CaptureInfo(
            f"{n}/{p}",
            n,
            e,
            d,
            p,
            1,
            r,
            "complete",
            Facts(
                engine=e,
                dtype=d,
                decode_logprobs="raw",
                prefill_logprobs="raw",
                temperature=1.0,
                rank_counts="strict",
            ),
        )
        for n, e, d, p, r, _ in CAPTURES[:captures]
    ]
    sequence_parts: list[Any] = []
    first = 0
    while first < sequences:
        count = min(256, sequences - first)
        n, at = lengths[first : first + count], len(sequence_parts)
        total = int(n.sum())
        ids = rng.integers(0, len(PIECES), total).astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(n)])
        split = [ids[offsets[i] : offsets[i + 1]] for i in range(count)]
        tensors = sequence_tensors(
            split, prompts[first : first + count].tolist(), ["length"] * count
        )
        sequence_parts.append(
            write_part(out, sequence_part(at), tensors, first, count, total)
        )
        base, lower = _distribution(rng, ids, top_k)
        for index, (*_, path, _role, noise) in enumerate(CAPTURES[:captures]):
            tensors = _capture(
                rng,
                ids,
                base,
                lower,
                top_k,
                noise,
                offsets,
                prompts[first : first + count],
                path,
            )
            info = infos[index]
            part = write_part(
                out, capture_part(info.label, at), tensors, first, count, total
            )
            infos[index] = info._replace(parts=(*info.parts, part))
        first += count
    manifest = Manifest(
        id=f"generated-{tokens}",
        title=f"generated, {tokens} tokens (drawn numbers, no engine)",
        created="2026-01-01T00:00:00Z",
        logdrift_version="generated",
        model=ModelInfo("generated", vocab_size=1024),
        sequences=SequencesInfo(sequences, "vllm", tuple(sequence_parts)),
        captures=tuple(infos),
    )
    write_manifest(out, manifest)
    return out


def _distribution(
    rng: np.random.Generator, ids: np.ndarray, top_k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Target logprob and the K best alternatives' logprobs of a peaked distribution,
    float32.
    """
    best = -rng.exponential(0.4, len(ids))
    gaps = rng.exponential(0.6, (len(ids), max(1, top_k) - 1)).cumsum(1)
    lower = np.concatenate([best[:, None], best[:, None] - 0.3 - gaps], 1).astype(
        np.float32
    )
    chosen = np.minimum(rng.geometric(0.75, len(ids)) - 1, top_k + 3)
    inside = np.minimum(chosen, lower.shape[1] - 1)
    base = np.take_along_axis(lower, inside[:, None], 1)[:, 0] - (chosen > inside) * 1.5
    return base.astype(np.float32), lower


def _capture(
    rng: np.random.Generator,
    ids: np.ndarray,
    base: np.ndarray,
    lower: np.ndarray,
    top_k: int,
    noise: float,
    offsets: np.ndarray,
    prompts: np.ndarray,
    path: str,
) -> dict[str, np.ndarray]:
    size = len(ids)
    delta = rng.normal(0, noise, size) * (1 + np.abs(base))
    delta[rng.random(size) < (0.05 if noise else 0.0)] *= 12
    logprob = np.minimum(0, base + delta).astype(np.float32)
    top = np.minimum(0, lower + rng.normal(0, noise, lower.shape)).astype(np.float32)
    order = np.argsort(-top, axis=1)
    others = (ids[:, None] + 1 + np.arange(lower.shape[1])) % len(PIECES)
    top_ids = np.take_along_axis(others, order, 1).astype(np.int32)
    top = np.take_along_axis(top, order, 1)
    rank = (1 + (top > logprob[:, None]).sum(1)).astype(np.int32)
    at = np.minimum(rank - 1, lower.shape[1] - 1)
    inside = rank <= lower.shape[1]
    top_ids[inside, at[inside]], top[inside, at[inside]] = ids[inside], logprob[inside]
    unscored = (
        offsets[:-1]
        if path == "prefill"
        else np.concatenate(
            [np.arange(s, s + p) for s, p in zip(offsets[:-1], prompts, strict=True)]
        )
    )
    logprob[unscored], rank[unscored], top_ids[unscored], top[unscored] = (
        np.nan,
        0,
        -1,
        np.nan,
    )
    out = {
        "logprob": logprob,
        "rank": rank,
        "top_ids": top_ids[:, :top_k],
        "top_logprobs": top[:, :top_k],
    }
    return out if path == "decode" else {**out, "entropy": -base}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--sequences", type=int, default=2_000)
    parser.add_argument("--top-k", type=int, default=20)
    parser.add_argument(
        "--captures", type=int, default=3, choices=range(1, len(CAPTURES) + 1)
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = make_session(
        args.out, args.tokens, args.sequences, args.top_k, args.captures, args.seed
    )
    print(
        json.dumps(
            {"session": str(folder), "tokens": args.tokens, "sequences": args.sequences}
        )
    )


if __name__ == "__main__":
    main()
