"""Small sessions with chosen numbers, written by the real writer and opened by the real
reader.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.capture import trust
from logdrift.core.facts import Facts
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    Part,
    SequencesInfo,
    capture_part,
    read_manifest,
    sequence_part,
)
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.writer import (
    merge_pieces,
    sequence_tensors,
    write_manifest,
    write_part,
)
from tests.common import Fields

BROKEN = math.copysign(math.nan, -1)
"""A score that was computed and is NaN; plain NaN is a missing score. The sign tells
the two apart, in here alone.
"""

FACTS: Fields = {
    "engine_version": "1.2.3",
    "dtype": "bfloat16",
    "head_dtype": "bfloat16",
    "logits_dtype": "float32",
    "device": "cpu",
    "attention_backend": "sdpa",
    "quantization": "none",
    "decode_logprobs": "raw",
    "prefill_logprobs": "raw",
    "temperature": 1.0,
    "vocab_size": 100,
    "weights_digest": "sha256:" + "a" * 64,
    "model_class": "MadeForCausalLM",
    "tokenizer_digest": "sha256:" + "b" * 64,
    "config_digest": "sha256:" + "c" * 64,
    "template_digest": "sha256:" + "d" * 64,
    "adds_bos": False,
    "config_overrides": {},
    "padding": "none",
    "torch_version": "2.13.0",
    "execution_mode": "eager",
    "kv_cache_dtype": "auto",
    "prefix_cache": False,
    "chunked_prefill": False,
    "max_batch_sequences": 1,
    "max_length": 1 << 20,
    "tensor_parallel": 1,
    "batch_invariant": False,
}
"""Facts with which nothing is left to say."""


def capture(
    label: str, logprobs: Sequence[Sequence[float] | np.ndarray], **changes: Any
) -> tuple[CaptureInfo, list[np.ndarray]]:
    """A capture with one row of logprobs per sequence; ``changes`` are those of
    CaptureInfo, ``facts`` of Facts.
    """
    backend, path = label.partition("#")[0].split("/")
    mark = label.partition("#")[2]
    facts = changes.pop("facts", {})
    role = backend if backend in ("reference", "trainer") else "rollout"
    values: Fields = {
        "backend": backend,
        "engine": "transformers" if role != "rollout" else "vllm",
        "dtype": "bfloat16",
        "path": path,
        "repeat": int(mark) if mark.isdigit() else 1,
        "role": role,
        "status": "complete",
        "batch": "alone" if mark == "alone" else "together",
        "facts": None if facts is None else Facts(**{**FACTS, **facts}),
        **changes,
    }
    return CaptureInfo(label, **values), [
        np.asarray(row, np.float32) for row in logprobs
    ]


def write_session(
    folder: Path,
    prompts: Sequence[int],
    captures: Sequence[tuple[CaptureInfo, list[np.ndarray]]],
    *,
    lengths: Sequence[int] | None = None,
    masks: Sequence[Sequence[int]] | None = None,
    pieces: Mapping[int, bytes] | None = None,
    per_part: int = 2,
    **manifest: Any,
) -> Session:
    """A session of the sequences that the captures have (or ``lengths``), parts of
    ``per_part`` sequences.
    """
    longest = max(captures, key=lambda c: len(c[1]))[1] if captures else []
    sizes = list(lengths) if lengths is not None else [len(row) for row in longest]
    folder.mkdir(parents=True)
    known = pieces or {i: f" w{i}".encode() for i in range(max([*sizes, 1]))}
    merge_pieces(folder, known)
    ids = [np.arange(n, dtype=np.int32) % len(known) for n in sizes]
    parts: list[Part] = []
    for first in range(0, len(sizes), per_part):
        chosen = range(first, min(first + per_part, len(sizes)))
        mask = (
            None if masks is None else [np.asarray(masks[i], np.uint8) for i in chosen]
        )
        tensors = sequence_tensors(
            [ids[i] for i in chosen],
            [prompts[i] for i in chosen],
            ["stop"] * len(chosen),
            mask,
        )
        name = sequence_part(len(parts))
        parts.append(
            write_part(
                folder, name, tensors, first, len(chosen), sum(sizes[i] for i in chosen)
            )
        )
    infos = [
        _write_capture(folder, info, rows, per_part, ids) for info, rows in captures
    ]
    values: Fields = {
        "id": "made",
        "created": "2026-01-01T00:00:00Z",
        "model": ModelInfo("made", vocab_size=100),
        "sequences": SequencesInfo(len(sizes), None, tuple(parts)),
        "captures": tuple(infos),
        **manifest,
    }
    write_manifest(folder, Manifest(**values))
    return open_session(folder)


def _write_capture(
    folder: Path,
    info: CaptureInfo,
    rows: list[np.ndarray],
    per_part: int,
    ids: list[np.ndarray],
) -> CaptureInfo:
    parts: list[Part] = []
    for first in range(0, len(rows), per_part):
        chosen = rows[first : first + per_part]
        logprob = np.concatenate(chosen)
        tensors = {
            "logprob": logprob,
            "rank": np.where(np.isnan(logprob), 0, 1).astype(np.int32),
            "top_ids": np.zeros((len(logprob), 1), np.int32),
            "top_logprobs": logprob[:, None],
        }
        broken = np.isnan(logprob) & np.signbit(logprob)
        if broken.any():
            tensors["nan"] = broken.astype(np.uint8)
        name = capture_part(info.label, len(parts))
        part = write_part(folder, name, tensors, first, len(chosen), len(logprob))
        parts.append(
            part._replace(
                ids_digest=ids_digest(np.concatenate(ids[first : first + len(chosen)])),
            )
        )
    return info._replace(parts=tuple(parts))


def seal(folder: Path) -> Session:
    """The session opened again after parts were rewritten, each listed with the digest
    of what it holds now.
    """
    path = folder / "session.json"
    data = json.loads(path.read_text())
    for part in [
        *data["sequences"]["parts"],
        *(part for info in data["captures"] for part in info["parts"]),
    ]:
        part["digest"] = (
            "sha256:" + hashlib.sha256((folder / part["file"]).read_bytes()).hexdigest()
        )
    path.write_text(json.dumps(data))
    return open_session(folder)


def edit_manifest(session: Session, change: Any) -> Session:
    """The session again after ``change(manifest as dict)`` was applied to its
    session.json.
    """
    path = session.folder / "session.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return open_session(session.folder)


def captured_here(folder: Path) -> Path:
    """Have the session count as this user's own, as one that was captured with logdrift
    does; its folder.
    """
    trust.remember(read_manifest(folder))
    return folder


def compared_pair(folder: Path) -> tuple[Path, Path]:
    """Two sessions of the same 16 sequences: in ``a`` the rollout is ten times nearer to
    the trainer than in ``b``, but for one token in four.
    """
    count = 16
    length = 24
    prompt = 4
    trainer = [[-2.0] * length for _ in range(count)]
    folders = []
    for name, sizes in (("a", (0.01, 0.1)), ("b", (0.1, 0.01))):
        off = np.random.default_rng(1).normal(0, 1, (count, length))
        off[:, ::4] *= sizes[1]
        off[:, 1::4] *= sizes[0]
        off[:, 2::4] *= sizes[0]
        off[:, 3::4] *= sizes[0]
        captures = [
            capture("trainer/prefill", trainer),
            capture("vllm/prefill", (-2 - np.abs(off)).tolist()),
        ]
        write_session(folder / name, [prompt] * count, captures)
        folders.append(folder / name)
    first, second = folders
    return first, second
