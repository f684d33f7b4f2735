"""Run by vLLM's interpreter: drive `VllmBackend` on the small model and write what came
out as JSON.

    python vllm_capture.py MODEL OUT.json {"captures": {NAME: CAPTURE, ...},
                                           "empty": EMPTY_FOLDER}

    CAPTURE  {"dtype":, "mode":, "paths": [], "top_k":, "temperature":, "other":,
              "variables": {}}

One engine after the other in this process, since importing vLLM takes as long as
starting it: first those with variables of their own, for vLLM keeps those of its first
engine in this process. Then all that is refused (vllm_refusals.py).

Log-probabilities are compared here with float64 log-softmax over the full float32
logits of Transformers, which the same interpreter holds; tests/test_vllm_backend.py
judges the numbers.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

from loaded_weights import loaded_weights
from reference import Reference
from streaming import streamed
from texts import TEXTS
from vllm_refusals import importable, refusals

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# As a worker does it: `core` alone, nothing else of the tool may leak into the engine's
# interpreter.
runpy.run_path(str(ROOT / "core" / "worker" / "launch.py"))

os.environ.setdefault("HF_HUB_OFFLINE", "1")

PROMPTS = (
    "The lighthouse keeper looked out at the storm and",
    # twice: another seed must give another completion
    "The lighthouse keeper looked out at the storm and",
    "The sky is blue because",
    "def quicksort(items):",
    "1, 1, 2, 3, 5, 8,",
    "Once upon a time there was a",
    "Translate to French: good morning",
    "你好，",
)
CHAT = "Reply with the single word yes."
MAX_TOKENS = 72


def main(model: str, out: str, wish: dict[str, Any]) -> None:
    found: dict[str, Any] = {"importable": importable()}
    reference = Reference(model)
    for name, capture in wish["captures"].items():
        variables = capture.get("variables", {})
        os.environ.update(variables)
        found[name] = captured(model, capture, reference)
        for variable in variables:
            del os.environ[variable]
    found["refusals"] = refusals(model, wish["empty"])
    Path(out).write_text(json.dumps(found))


def captured(model: str, wish: dict[str, Any], reference: Reference) -> dict[str, Any]:
    import numpy as np
    from transformers import AutoTokenizer

    from logdrift.core.engines.vllm.backend import VllmBackend
    from logdrift.core.plan import BackendSpec, SamplingSpec
    from logdrift.core.worker.base import BackendSettings

    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [np.asarray(tokenizer(text)["input_ids"], np.int32) for text in TEXTS]
    eos = int(tokenizer.eos_token_id)
    last = len(tokenizer) - 1
    strange = np.concatenate(
        [texts[0][:6], [last, eos, last], texts[1][:9], [eos]]
    ).astype(np.int32)
    texts += [strange, texts[0][:1]]
    prompts = [np.asarray(tokenizer(text)["input_ids"], np.int32) for text in PROMPTS]
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": CHAT}], add_generation_prompt=True
    )
    prompts.append(
        np.asarray(chat["input_ids"] if hasattr(chat, "keys") else chat, np.int32)
    )
    longest = max(
        max(len(ids) for ids in texts), max(len(ids) for ids in prompts) + MAX_TOKENS
    )
    settings = BackendSettings(
        model=model,
        revision=None,
        spec=BackendSpec(
            "mu", "vllm", wish["dtype"], options={"logprobs_mode": wish["mode"]}
        ),
        sampling=SamplingSpec(temperature=wish["temperature"], max_tokens=MAX_TOKENS),
        paths=tuple(wish["paths"]),
        top_k=wish["top_k"],
        max_length=longest,
        max_prompts=8,
    )
    backend = VllmBackend(settings)
    result: dict[str, Any] = {
        "facts": backend.open().to_json(),
        "eos": eos,
        "last": last,
        "longest": longest,
    }
    judged = partial(_judged, reference, wish["temperature"])
    result["children"] = children()
    result["text_lengths"] = [len(ids) for ids in texts]

    progress: list[tuple[int, int]] = []
    scores = backend.score(texts, lambda s, n: progress.append((s, n)))
    result["score_progress"] = [sum(column) for column in zip(*progress, strict=True)]
    result["texts"] = [
        judged(ids, 1, found) for ids, found in zip(texts, scores, strict=True)
    ]
    result["score_repeats"] = same(scores, backend.score(texts, quiet))
    alone = [backend.score([ids], quiet)[0] for ids in texts]
    result["score_alone"] = gap(scores, alone)
    result["score_full"] = gap(scores * 2, streamed(backend, "prefill", texts * 2))
    result["refused"] = [
        said(lambda: backend.score([np.asarray([1, last + 1], np.int32)], quiet)),
        said(lambda: backend.score([np.asarray([-1, 1], np.int32)], quiet)),
        said(lambda: backend.score([np.ones(longest + 1, np.int32)], quiet)),
        said(lambda: backend.score([np.ones(0, np.int32)], quiet)),
    ]
    result["longest_scored"] = len(
        backend.score([np.ones(longest, np.int32)], quiet)[0].logprob
    )

    if "decode" in wish["paths"]:
        progress.clear()
        seeds = list(range(len(prompts)))
        made = backend.generate(prompts, seeds, lambda s, n: progress.append((s, n)))
        result["decode_progress"] = [
            sum(column) for column in zip(*progress, strict=True)
        ]
        sequences = [g.token_ids for g in made]
        result["decode_lengths"] = [len(ids) for ids in sequences]
        result["prompts_kept"] = all(
            np.array_equal(g.token_ids[: g.prompt_length], p)
            for g, p in zip(made, prompts, strict=True)
        )
        result["finish"] = [
            [g.finish, int(g.token_ids[-1]), len(g.token_ids) - g.prompt_length]
            for g in made
        ]
        result["decode"] = [
            judged(g.token_ids, g.prompt_length, g.scores) for g in made
        ]
        result["prefill"] = [
            judged(ids, 1, found)
            for ids, found in zip(
                sequences, backend.score(sequences, quiet), strict=True
            )
        ]
        full = streamed(backend, "decode", prompts, seeds)
        result["decode_full"] = [
            judged(g.token_ids, g.prompt_length, g.scores) for g in full
        ]
        if wish["dtype"] == "bfloat16":
            again = backend.generate(prompts, seeds, quiet)
            result["decode_repeats"] = same(
                [g.scores for g in made], [g.scores for g in again]
            ) and all(
                np.array_equal(g.token_ids, h.token_ids)
                for g, h in zip(made, again, strict=True)
            )
        result["other_seed_differs"] = not np.array_equal(sequences[0], sequences[1])
    if "forced_decode" in wish["paths"]:
        lengths = [min(3, len(ids)) for ids in texts]
        forced = backend.forced_decode(texts, lengths, quiet)
        result["forced_texts"] = [
            judged(ids, length, found)
            for ids, length, found in zip(texts, lengths, forced, strict=True)
        ]
        result["forced_alone"] = gap(
            forced[1:2], backend.forced_decode(texts[1:2], lengths[1:2], quiet)
        )
        full = streamed(backend, "forced_decode", texts * 2)
        result["forced_full"] = gap(forced * 2, full)
        if "decode" in wish["paths"]:
            replay = backend.forced_decode(
                sequences, [g.prompt_length for g in made], quiet
            )
            result["forced"] = [
                judged(g.token_ids, g.prompt_length, found)
                for g, found in zip(made, replay, strict=True)
            ]
            result["forced_is_decode"] = same([g.scores for g in made], replay)
        else:
            result["forced_repeats"] = same(
                forced, backend.forced_decode(texts, lengths, quiet)
            )
    if wish.get("other"):
        result["weights"] = loaded_weights(backend, model, wish["other"])
    backend.close()
    backend.close()
    result["children_after"] = children()
    result["after_close"] = said(lambda: backend.score(texts, quiet))
    return result


def _judged(
    reference: Reference, temperature: float, ids: Any, first: int, scores: Any
) -> dict[str, Any]:
    """Deltas to the reference at each scored position, and whether shape, rank and
    top-k are as promised.
    """
    import numpy as np

    raw = reference.rows(ids)
    tempered = reference.rows(ids, temperature)
    target = ids[first:].astype(np.int64)
    positions = np.arange(first, len(ids))
    expected = raw[positions - 1, target]
    got = scores.logprob[first:].astype(np.float64)
    top_ids = scores.top_ids[first:]
    top = scores.top_logprobs[first:]
    rank = 1 + (raw[positions - 1] > expected[:, None]).sum(-1)
    held = (top_ids == ids[first:, None]).sum(-1)
    k = top.shape[1]
    return {
        "unscored": bool(
            np.isnan(scores.logprob[:first]).all()
            and (scores.rank[:first] == 0).all()
            and (scores.top_ids[:first] == -1).all()
        ),
        "length": len(scores.logprob),
        "ids": ids.tolist(),
        "got": got.tolist(),
        "expected": expected.tolist(),
        "tempered": tempered[positions - 1, target].tolist(),
        "rank": scores.rank[first:].tolist(),
        "expected_rank": rank.tolist(),
        "top_shape": list(scores.top_ids.shape),
        "top_distinct": all(len(set(row.tolist())) == k for row in top_ids),
        "top_sorted": bool((np.diff(top, axis=1) <= 0).all()),
        "top_max": (
            float(
                np.abs(
                    top
                    - np.take_along_axis(
                        raw[positions - 1], top_ids.astype(np.int64), 1
                    )
                ).max()
            )
            if top.size
            else 0.0
        ),
        "in_top": int((held == 1).sum()),
        "out_of_top": int((held == 0).sum()),
        "twice_in_top": int((held > 1).sum()),
        "target_is_its_top_entry": bool(
            np.array_equal(
                top[top_ids == ids[first:, None]], scores.logprob[first:][held == 1]
            )
        ),
    }


def same(one: Any, two: Any) -> bool:
    """Bit for bit, top-k and ranks included."""
    import numpy as np

    return all(
        np.array_equal(
            getattr(a, name),
            getattr(b, name),
            equal_nan=name.endswith(("prob", "probs")),
        )
        for a, b in zip(one, two, strict=True)
        for name in ("logprob", "rank", "top_ids", "top_logprobs")
    )


def gap(one: Any, two: Any) -> dict[str, float]:
    import numpy as np

    delta = np.concatenate(
        [np.abs(a.logprob - b.logprob) for a, b in zip(one, two, strict=True)]
    )
    return {"mean": float(np.nanmean(delta)), "max": float(np.nanmax(delta))}


def said(call: Any) -> str:
    """The one line with which ``call`` is refused."""
    from logdrift.core.errors import LogdriftError

    try:
        call()
    except LogdriftError as error:
        return f"{type(error).__name__}: {error}"
    return "not refused"


def children() -> list[str]:
    """Names of live processes below this one, multiprocessing's resource tracker (which
    ends with us) left out.
    """
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.ZombieProcess:
            line = f"zombie {process.name()}"
        if "resource_tracker" not in line:
            found.append(line[:80])
    return sorted(found)


def quiet(sequences: int, tokens: int) -> None:
    """No progress wanted."""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
