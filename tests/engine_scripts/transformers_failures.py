"""What goes wrong, as one line each, and running out of memory for real. Prints JSON.

Usage: transformers_failures.py SMALL_MODEL WORK_FOLDER
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streaming import streamed
from transformers_common import build, message_of, new_backend, quiet, worst

from logdrift.core.plan import SamplingSpec


def refusals(work: Path) -> dict[str, str]:
    """Messages of everything that is refused, by what was wrong."""
    good = build("llama", work / "good")
    empty = work / "empty"
    empty.mkdir(exist_ok=True)
    strange = work / "strange"
    strange.mkdir(exist_ok=True)
    (strange / "config.json").write_text(
        '{"model_type": "nonsense", "architectures": ["Nonsense"]}'
    )
    cut = build("llama", work / "cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    opened = new_backend(
        good, paths=("decode", "prefill"), sampling=SamplingSpec(max_tokens=3)
    )
    opened.open()

    def score(*ids: int) -> Callable[[], Any]:
        return lambda: opened.score(
            [np.asarray([1, 2], np.int32), np.asarray(ids, np.int32)], quiet
        )

    out = {
        "no such folder": message_of(new_backend(work / "missing").open),
        "no such hub id": message_of(new_backend("nobody/has-this-model").open),
        "empty folder": message_of(new_backend(empty).open),
        "unknown architecture": message_of(new_backend(strange).open),
        "cut off weights": message_of(new_backend(cut).open),
        "unknown option": message_of(new_backend(good, no_such_option=1).open),
        "unknown attention": message_of(
            new_backend(good, attn_implementation="telepathy").open
        ),
        "threads": message_of(new_backend(good, threads=0).open),
        "head_dtype": message_of(new_backend(good, head_dtype="float8").open),
        "two devices": message_of(
            new_backend(good, device="cpu", device_map="auto").open
        ),
        "no such device": message_of(new_backend(good, device="cuda:9").open),
        "id too large": message_of(score(3, 1031)),
        "id negative": message_of(score(3, -1)),
        "too long": message_of(score(*[3] * 257)),
        "no ids": message_of(score()),
        "prompt too long": message_of(
            lambda: opened.generate([np.full(256, 3, np.int32)], [0], quiet)
        ),
        "seeds": message_of(
            lambda: opened.generate([np.full(2, 3, np.int32)], [0, 1], quiet)
        ),
    }
    opened.close()
    opened.close()
    out["after close"] = message_of(score(1))
    return out


def address_space(extra: int | None) -> None:
    """Let this process have ``extra`` bytes more than it has now; None takes the limit
    away.
    """
    used = next(
        int(x.split()[1])
        for x in Path("/proc/self/status").read_text().splitlines()
        if x.startswith("VmSize")
    )
    limit = resource.RLIM_INFINITY if extra is None else used * 1024 + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def fill_up(spare: int) -> list[Any]:
    """Take all memory that this process may have, freed pieces that the allocator kept
    included, but ``spare`` bytes.
    """
    address_space(0)
    pieces: list[Any] = []
    try:
        while True:
            pieces.append(torch.empty(1 << 20, dtype=torch.uint8))
    except RuntimeError:
        del pieces[-(spare >> 20) :]
    return pieces


def halved_packs(eager: Any) -> dict[str, Any]:
    """Eight sequences, whose attention scores take 288 MB together."""
    chance = np.random.default_rng(4)
    eight = [chance.integers(0, 200_003, 1500).astype(np.int32) for _ in range(8)]
    want = eager.score(eight, quiet)
    before = eager._pack_tokens
    gc.collect()
    address_space(200 << 20)
    got = streamed(eager, "prefill", eight)
    address_space(None)
    return {
        "tokens": [before, eager._pack_tokens],
        "difference": max(
            worst(one.logprob, two.logprob) for one, two in zip(got, want, strict=True)
        ),
    }


def out_of_memory(small: Path, work: Path) -> dict[str, Any]:
    """Under a real limit of the address space: chunks are halved and the numbers stay;
    else one line says it.
    """
    ids = np.random.default_rng(3).integers(0, 200_003, 900).astype(np.int32)
    backend = new_backend(build("large-vocabulary", work / "large"), batch_tokens=900)
    backend.open()
    want = backend.score([ids], quiet)[0]  # 900 rows of logits: 720 MB
    rows_before = backend._rows
    gc.collect()
    address_space(300 << 20)
    got = backend.score([ids], quiet)[0]
    out: dict[str, Any] = {
        "rows": [rows_before, backend._rows],
        "difference": max(
            worst(getattr(got, name), getattr(want, name))
            for name in got.__dataclass_fields__
        ),
    }
    ballast = fill_up(spare=16 << 20)
    out["no room for a chunk"] = message_of(lambda: backend.score([ids], quiet))
    address_space(None)
    ballast.clear()
    again = backend.score([ids], quiet)[0]
    out["afterwards"] = worst(again.logprob, want.logprob)
    backend.close()

    long = np.zeros(1500, np.int32)
    eager = new_backend(
        work / "large", attn_implementation="eager", pack=True, pack_tokens=12_000
    )  # scores of 4 heads, 1500 x 1500: 36 MB
    eager.open()
    out["packs"] = halved_packs(eager)
    address_space(16 << 20)
    out["no room for the backbone"] = message_of(lambda: eager.score([long], quiet))
    eager.close()
    gc.collect()
    address_space(64 << 20)
    out["no room for the weights"] = message_of(new_backend(small).open)
    address_space(None)
    return out


if __name__ == "__main__":
    small = Path(sys.argv[1])
    work = Path(sys.argv[2])
    torch.set_num_threads(1)
    print(
        json.dumps({"refusals": refusals(work), "memory": out_of_memory(small, work)})
    )
