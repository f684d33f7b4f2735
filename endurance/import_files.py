"""Whole files of every format that can be imported without an engine, to be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests import made_recordings as made

Make = Callable[[Path], Path]
"""Writes files of a format into a folder; the file or folder to import."""

_LINE = {
    "token_ids": [5, 6, 7, 8],
    "prompt_length": 2,
    "mask": [0, 0, 1, 1],
    "captures": {
        "vllm/decode": {
            "logprobs": [None, -0.5, -1.0, -2.0],
            "dtype": "bfloat16",
            "temperature": 0.6,
        },
        "trainer": [None, -0.6, -1.1, -2.2],
    },
    "tokens": ["a", "b", "c", "d"],
    "step": 3,
    "reward": 1.0,
}
_NEMO = {
    "content": [["a question", "an answer"]],
    "rewards": [1.0],
    "input_lengths": [4],
    "token_ids": [[11, 12, 13, 14, 0]],
    "token_loss_mask": [[0, 0, 1, 1, 0]],
    "sample_loss_mask": [1.0],
    "advantages": [[0.0, 0.0, 0.5, 0.5, 0.0]],
    "generation_logprobs": [[0.0, 0.0, -1.0, -2.0, 0.0]],
    "prev_logprobs": [[0.0, -0.5, -1.1, -2.1, 0.0]],
    "idx": 0,
}
_EXPORT = {
    "schema_version": 1,
    "token_ids": [5, 6, 7],
    "loss_mask": [False, True, True],
    "inference_logprobs": [0.0, -1.0, -2.0],
    "trainer_logprobs": [0.0, -1.5, -2.5],
}
_TRACE = {
    "id": "e-a",
    "kind": "train",
    "traces": [
        {
            "id": "a",
            "nodes": [
                {
                    "message": {"role": "user", "content": "…"},
                    "token_ids": [11, 12],
                    "mask": [False, False],
                },
                {
                    "message": {"role": "assistant", "content": "…"},
                    "token_ids": [21, 22],
                    "mask": [True, True],
                    "parent": 0,
                    "sampled": True,
                    "logprobs": [-0.5, -0.25],
                },
            ],
            "rewards": {"right": {"score": 1.0, "weight": 1.0}},
            "info": {"kind": "train"},
            "calls": [{"finish_reason": "stop"}],
        }
    ],
}
_ANNOTATION = {
    "version": 1,
    "trace_id": "a",
    "info": {},
    "branches": [
        {
            "index": 0,
            "trainer_logprobs": [None, None, -0.4, -0.3],
            "entropies": [None, None, 0.5, 0.5],
            "is_masked": [None] * 4,
        }
    ],
}


def _written(path: Path, *records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [json.dumps(record) for record in records]
    path.write_text("\n".join(texts) + "\n")
    return path


def _compressed(folder: Path) -> Path:
    path = folder / "dump.jsonl.zst"
    text = f"{json.dumps(_LINE)}\n" * 3
    compressor = zstandard.ZstdCompressor()
    path.write_bytes(compressor.compress(text.encode()))
    return path


def _traces(folder: Path) -> Path:
    stream = folder / "run" / "monitors" / "file" / "traces"
    _written(stream / "stream" / "00000.jsonl", _TRACE)
    _written(stream / "annotations" / "trainer" / "00000.jsonl", _ANNOTATION)
    for name in ("stream", "annotations/trainer"):
        (stream / f"{name}.index").write_text("{}\n")
    return folder / "run"


def _ranks(folder: Path) -> Path:
    drawn = made.draw(1, 4, 7)
    tokens = [*drawn.ids[1:], -1]
    logprobs = [*drawn.logprobs[1:], 0.0]
    entries = []
    for position, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
        entry = {
            "global_position": position,
            "token_id": token,
            "logprob": logprob,
            "is_valid": token != -1,
        }
        entries.append(entry)
    data = {
        "rank": 0,
        "tp_size": 1,
        "cp_size": 1,
        "pp_size": 1,
        "logprob_entries": [entries],
    }
    _written(folder / "ranks" / "rank_0.json", data)
    return folder / "ranks"


def _columns(folder: Path) -> Path:
    path = folder / "rollout_1.parquet"
    row = {
        "sample_index": 0,
        "response_length": 3,
        "total_length": 5,
        "tokens": [31, 32, 33, 34, 35],
        "loss_mask": [1, 0, 1],
        "rollout_log_probs": [-0.5, 0.0, -1.5],
    }
    types = {
        "sample_index": pa.int32(),
        "response_length": pa.int32(),
        "total_length": pa.int32(),
        "tokens": pa.list_(pa.int32()),
        "loss_mask": pa.list_(pa.int8()),
        "rollout_log_probs": pa.list_(pa.float32()),
    }
    pq.write_table(pa.Table.from_pylist([row] * 3, schema=pa.schema(types)), path)
    return path


def _answers(form: Callable[[made.Drawn], Any]) -> Make:
    def make(folder: Path) -> Path:
        drawn = [made.draw(seed) for seed in range(2)]
        return made.lines(folder / "answers.jsonl", map(form, drawn))

    return make


def _stream(chunks: Callable[[made.Drawn], Sequence[Any]]) -> Make:
    def make(folder: Path) -> Path:
        return made.events(folder / "stream.txt", chunks(made.draw(1)))

    return make


def _array(folder: Path) -> Path:
    answers = [made.chat(made.draw(seed)) for seed in range(2)]
    path = folder / "answers.json"
    path.write_text(json.dumps(answers, indent=1))
    return path


FILES: dict[str, Make] = {
    "jsonl": lambda folder: _written(folder / "dump.jsonl", _LINE, _LINE, _LINE),
    "jsonl.zst": _compressed,
    "nemo-rl": lambda folder: _written(folder / "train_data_step7.jsonl", _NEMO, _NEMO),
    "prime-rl exports": lambda folder: _written(folder / "rank_0.jsonl", _EXPORT),
    "prime-rl traces": _traces,
    "megatron": _ranks,
    "miles": _columns,
    "openai chat": _answers(made.chat),
    "openai array": _array,
    "openai stream": _stream(made.chat_chunks),
    "openai completion": _answers(lambda drawn: made.echo(drawn, 0)),
    "openai prompt": _answers(made.scored_prompt),
    "llama.cpp": _answers(made.llamacpp_native),
    "sglang": _answers(made.sglang),
    "vllm": _answers(made.request_output),
    "tensorrt-llm": _answers(made.tensorrt_output),
    "engine-outputs": _answers(made.compare_script),
}
"""Whole files by what they are called in the table."""
