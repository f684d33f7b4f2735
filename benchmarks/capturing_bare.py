"""Run by an engine's interpreter for `benchmarks.capturing`: the same requests made
straight to the engine, all at once.

    python capturing_bare.py ENGINE WORK.json OUT.json
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLES: Mapping[str, Mapping[str, str]] = {
    "vllm": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
}
"""What an engine is started with besides what logdrift sets for every worker."""
_LOWEST, _HIGHEST = 1_000, 40_000
"""Ids that prompts are made of: no special tokens."""
_BATCH = 16


@dataclass(frozen=True)
class Work:
    """What is asked of an engine."""

    model: str
    dtype: str
    prompts: int
    sequences: int
    new_tokens: int
    rounds: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def prompts_of(work: Work) -> list[list[int]]:
    """Prompts of 8 to 48 ids."""
    return _random_ids(work.prompts, 8, 48)


def _random_ids(count: int, least: int, most: int) -> list[list[int]]:
    chance = random.Random(7)
    return [
        [
            chance.randrange(_LOWEST, _HIGHEST)
            for _ in range(chance.randint(least, most))
        ]
        for _ in range(count)
    ]


def vllm_alone(work: Work) -> dict[str, Any]:
    """vLLM as it is by default, but eager, as logdrift runs it on a CPU."""
    import vllm

    prompts = prompts_of(work)
    longest = max(map(len, prompts)) + work.new_tokens
    llm = vllm.LLM(
        model=work.model,
        dtype=work.dtype,
        enforce_eager=True,
        max_model_len=longest + 1,
        max_logprobs=20,
    )
    sampling = [
        vllm.SamplingParams(max_tokens=work.new_tokens, logprobs=20, seed=number)
        for number in range(len(prompts))
    ]
    began = time.perf_counter()
    outputs = llm.generate(
        [{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False
    )
    decode = time.perf_counter() - began
    whole = [
        {"prompt_token_ids": [*one.prompt_token_ids, *one.outputs[0].token_ids]}
        for one in outputs
    ]
    scoring = vllm.SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=20)
    began = time.perf_counter()
    llm.generate(whole, scoring, use_tqdm=False)
    return {"decode": decode, "prefill": time.perf_counter() - began}


def sglang_alone(work: Work) -> dict[str, Any]:
    """SGLang with what a CPU needs, and a KV pool with room for all requests."""
    import sglang  # type: ignore[import-not-found,unused-ignore]

    prompts = prompts_of(work)
    longest = max(map(len, prompts)) + work.new_tokens + 7
    engine = sglang.Engine(
        model_path=work.model,
        dtype=work.dtype,
        device="cpu",
        attention_backend="torch_native",
        mem_fraction_static=0.7,
        max_total_tokens=len(prompts) * longest,
        max_running_requests=len(prompts),
        disable_overlap_schedule=True,
        log_level="warning",
    )
    began = time.perf_counter()
    outputs = engine.generate(
        input_ids=prompts,
        sampling_params={"max_new_tokens": work.new_tokens, "temperature": 1.0},
        return_logprob=True,
        top_logprobs_num=20,
    )
    decode = time.perf_counter() - began
    whole = [
        [*ids, *one["output_ids"]] for ids, one in zip(prompts, outputs, strict=True)
    ]
    began = time.perf_counter()
    engine.generate(
        input_ids=whole,
        sampling_params={"max_new_tokens": 0, "temperature": 0.0},
        return_logprob=True,
        logprob_start_len=0,
        top_logprobs_num=20,
    )
    seconds = {"decode": decode, "prefill": time.perf_counter() - began}
    engine.shutdown()
    return seconds


def transformers_both(work: Work) -> dict[str, Any]:
    """Pairs of seconds: the bare forward and the scorer, over one loaded model."""
    import numpy as np

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from logdrift.core.engines.transformers.backend import TransformersBackend
    from logdrift.core.plan import BackendSpec, SamplingSpec
    from logdrift.core.worker.base import AskedSequence, BackendSettings

    sequences = [
        np.asarray(ids, np.int32) for ids in _random_ids(work.sequences, 32, 256)
    ]
    spec = BackendSpec("benchmark", "transformers", work.dtype, options={"pack": True})
    backend = TransformersBackend(
        BackendSettings(
            work.model, None, spec, SamplingSpec(), ("prefill",), 20, 256, 8
        )
    )
    backend.open()
    asked = [
        AskedSequence(number, ids, len(ids), f"sequence {number}")
        for number, ids in enumerate(sequences)
    ]

    def scorer() -> None:
        left = iter(asked)
        for _ in backend.stream("prefill", lambda: next(left, None)):
            pass

    def forward() -> None:
        _forward(backend._model, sequences)

    pairs = []
    for number in range(work.rounds + 1):
        runs = [forward, scorer]
        if number % 2:
            runs.reverse()
        seconds = {run.__name__: _seconds(run) for run in runs}
        pairs.append((seconds["forward"], seconds["scorer"]))
    return {"pairs": pairs[1:]}  # the first one warms up


def _seconds(run: Any) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _forward(model: Any, sequences: Any) -> None:
    """Full logits of batches of nearly one length."""
    import torch

    ordered = sorted(sequences, key=len, reverse=True)
    with torch.inference_mode():
        for first in range(0, len(ordered), _BATCH):
            batch = ordered[first : first + _BATCH]
            ids = torch.zeros(len(batch), len(batch[0]), dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, own in enumerate(batch):
                ids[row, : len(own)] = torch.from_numpy(own)
                mask[row, : len(own)] = 1
            ids, mask = ids.to(model.device), mask.to(model.device)
            model(ids, attention_mask=mask, use_cache=False)
    if model.device.type == "cuda":
        torch.cuda.synchronize()


_ALONE = {
    "vllm": vllm_alone,
    "sglang": sglang_alone,
    "transformers": transformers_both,
}

if __name__ == "__main__":
    found = _ALONE[sys.argv[1]](Work(**json.loads(sys.argv[2])))
    Path(sys.argv[3]).write_text(json.dumps(found))
