"""Decoding: raw logprobs equal prefill's, whatever the sampling; seeds; ends; hostile
defaults. Prints JSON.

Usage: transformers_generate.py SMALL_MODEL WORK_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers_common import build, new_backend, quiet, worst

from logdrift.core.plan import SamplingSpec

PATHS = ("decode", "prefill")


def differences(backend: Any, generations: list[Any]) -> dict[str, Any]:
    """Completion entries of decode minus those of prefill."""
    prefill = backend.score([g.token_ids for g in generations], quiet)
    pairs = [
        (g.scores, p, slice(g.prompt_length, None))
        for g, p in zip(generations, prefill, strict=True)
    ]
    delta = np.concatenate(
        [d.logprob[at].astype(np.float64) - p.logprob[at] for d, p, at in pairs]
    )
    return {
        "tokens": int(delta.size),
        "mae": float(np.abs(delta).mean()),
        "max": float(np.abs(delta).max()),
        "top_max": max(
            worst(d.top_logprobs[at], p.top_logprobs[at]) for d, p, at in pairs
        ),
        "entropy_max": max(worst(d.entropy[at], p.entropy[at]) for d, p, at in pairs),
        "rank_differs": int(
            sum((d.rank[at] != p.rank[at]).sum() for d, p, at in pairs)
        ),
        "prompt_unscored": all(
            bool(
                np.isnan(g.scores.logprob[: g.prompt_length]).all()
                and (g.scores.rank[: g.prompt_length] == 0).all()
            )
            for g in generations
        ),
        "all_scored": not bool(np.isnan(delta).any()),
        "lengths": all(
            len(g.scores.logprob) == len(g.token_ids) == len(g.scores.top_ids)
            for g in generations
        ),
    }


def prompts(backend: Any, folder: Path) -> list[Any]:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ("The capital of France is", "def fibonacci(n):\n", "1, 1, 2, 3, 5,")
    return [np.asarray(tokenizer(text)["input_ids"], np.int32) for text in texts]


def small_model(folder: Path) -> dict[str, Any]:
    """T = 1 in float32 and, with the same weights, in float64; then T = 0.7 with
    everything else on.
    """
    backend = new_backend(folder, paths=PATHS, sampling=SamplingSpec(max_tokens=80))
    facts = backend.open()
    given = prompts(backend, folder)
    plain = backend.generate(given, [0, 1, 2], quiet)
    out: dict[str, Any] = {
        "cache_dtype": facts.kv_cache_dtype,
        "T=1": differences(backend, plain),
    }
    out["prompts_kept"] = all(
        np.array_equal(g.token_ids[: len(p)], p)
        for g, p in zip(plain, given, strict=True)
    )
    out["same_seed_alone"] = bool(
        np.array_equal(
            backend.generate([given[1]], [1], quiet)[0].token_ids, plain[1].token_ids
        )
    )
    out["other_seed"] = bool(
        np.array_equal(
            backend.generate([given[1]], [9], quiet)[0].token_ids, plain[1].token_ids
        )
    )
    backend.settings = backend._sampler.settings = new_backend(
        folder,
        sampling=SamplingSpec(
            temperature=0.7,
            top_p=0.9,
            top_k=40,
            min_p=0.02,
            repetition_penalty=1.3,
            max_tokens=30,
        ),
    ).settings
    warped = backend.generate(given, [0, 1, 2], quiet)
    out["T=0.7"] = differences(backend, warped)
    out["T=0.7 outside top-k"] = int(
        sum((g.scores.rank[g.prompt_length :] > 40 * 3).sum() for g in warped)
    )
    backend.settings = backend._sampler.settings = new_backend(
        folder, sampling=SamplingSpec(temperature=0.0, max_tokens=12)
    ).settings
    greedy = backend.generate(given[:1], [0], quiet)[0]
    out["greedy_ranks"] = sorted(
        {int(r) for r in greedy.scores.rank[greedy.prompt_length :]}
    )
    backend._model.double()
    out["float64"] = differences(backend, plain_in_float64(backend, plain))
    return out


def plain_in_float64(backend: Any, plain: list[Any]) -> list[Any]:
    """Decode anew with the model in float64, from the same prompts."""
    backend.settings = backend._sampler.settings = new_backend(
        "", sampling=SamplingSpec(max_tokens=30)
    ).settings
    return list(
        backend.generate(
            [g.token_ids[: g.prompt_length] for g in plain], [0, 1, 2], quiet
        )
    )


def hostile_defaults(work: Path) -> dict[str, Any]:
    """Sampling defaults in the model folder change nothing; its end-of-sequence ids do
    hold.
    """
    prompt = np.arange(3, 9, dtype=np.int32)
    sampling = SamplingSpec(max_tokens=40)

    def run(name: str, **config: Any) -> tuple[Any, Any]:
        folder = build("llama", work / name)
        (folder / "generation_config.json").write_text(json.dumps(config))
        backend = new_backend(folder, paths=PATHS, sampling=sampling)
        backend.open()
        return backend, backend.generate([prompt], [4], quiet)[0]

    _, clean = run("clean", eos_token_id=1030)
    backend, hostile = run(
        "hostile",
        eos_token_id=1030,
        do_sample=True,
        temperature=0.1,
        top_k=1,
        top_p=0.1,
        min_p=0.9,
        typical_p=0.2,
        repetition_penalty=5.0,
        no_repeat_ngram_size=1,
        suppress_tokens=list(range(500)),
        begin_suppress_tokens=[7],
        min_new_tokens=39,
        max_length=10,
        max_new_tokens=2,
        num_beams=3,
        epsilon_cutoff=0.5,
        forced_eos_token_id=600,
        sequence_bias=[[[9], 50.0]],
        bad_words_ids=[[11]],
        renormalize_logits=True,
        use_cache=False,
        exponential_decay_length_penalty=[1, 5.0],
        top_h=0.3,
        guidance_scale=3.0,
    )
    fourth = int(clean.token_ids[len(prompt) + 3])
    _, stopped = run("stopping", eos_token_id=[1030, fourth])
    new = clean.token_ids[len(prompt) :].tolist()
    return {
        "same_ids": bool(np.array_equal(clean.token_ids, hostile.token_ids)),
        "same_logprobs": worst(clean.scores.logprob, hostile.scores.logprob),
        "finish": [clean.finish, hostile.finish, stopped.finish],
        "stopped_at_first": (
            len(stopped.token_ids) == len(prompt) + new.index(fourth) + 1
        ),
        "last_token_scored": not bool(np.isnan(stopped.scores.logprob[-1])),
        "hostile": differences(backend, [hostile]),
    }


def end_of_positions(work: Path) -> dict[str, Any]:
    """A completion stops where the model has no more positions (256)."""
    backend = new_backend(
        build("llama", work / "short"),
        paths=PATHS,
        sampling=SamplingSpec(max_tokens=40),
    )
    backend.open()
    backend._sampler._eos = ()
    done = backend.generate([np.full(250, 7, np.int32)], [0], quiet)[0]
    return {
        "length": len(done.token_ids),
        "finish": done.finish,
        **differences(backend, [done]),
    }


def families(work: Path) -> dict[str, Any]:
    """Decode equals prefill where something stands between hidden state and logits, and
    without attention.
    """
    out = {}
    for family in ("gemma2", "cohere", "granite", "phi", "mamba"):
        backend = new_backend(
            build(family, work / family),
            paths=PATHS,
            sampling=SamplingSpec(max_tokens=40),
        )
        backend.open()
        out[family] = differences(
            backend, backend.generate([np.arange(3, 40, dtype=np.int32)], [1], quiet)
        )
    return out


if __name__ == "__main__":
    small = Path(sys.argv[1])
    work = Path(sys.argv[2])
    torch.set_num_threads(
        1
    )  # as fast for single tokens, and bearable on a busy machine
    print(
        json.dumps(
            {
                "small": small_model(small),
                "hostile": hostile_defaults(work),
                "positions": end_of_positions(work),
                "families": families(work),
            }
        )
    )
