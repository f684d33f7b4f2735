"""A session of conversations: roles, a mask, and weights that change while the rollout
samples.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from logdrift.core.session.importers import import_session
from tests.common import Fields

_TEXT = """
the a of to and is in that it for with on as by at from this sum six two
answer question result tool file code run test say why plus minus five
"""
WORDS = tuple(_TEXT.split())
_PROMPT = 5


def conversation(
    turns: int, seed: int, version: int, *, newest: int = 9, growth: float = 0.0
) -> Fields:
    """A line of jsonl: a question, then answers with a tool's output between them.

    The version of the rollout's weights rises by 1 in the middle of its completion; the
    trainer has ``newest``. Δ has a standard deviation of 0.1 nats, and ``growth`` more
    for each version that the rollout was behind.
    """
    rng = np.random.default_rng(seed)
    roles: list[list[object]] = [["system", 2], ["user", 3]]
    mask = [1] * _PROMPT
    for turn in range(turns):
        length = int(rng.integers(3, 8))
        roles.append(["assistant", length])
        mask += [1] * length
        if turn + 1 < turns:
            roles.append(["tool", 2])
            mask += [0, 0]
    tokens = len(mask)
    completion = tokens - _PROMPT
    half = completion // 2
    later = version + 1
    versions = [[version, half], [later, completion - half]]
    of_token = np.full(tokens, later)
    of_token[: _PROMPT + half] = version
    spread = 0.1 + growth * (newest - of_token)
    rollout = -rng.exponential(1.0, tokens)
    noise = rng.normal(0, spread)
    trainer = np.minimum(0, rollout + noise)
    ids = rng.integers(0, len(WORDS), tokens).tolist()
    return {
        "token_ids": ids,
        "tokens": [f" {WORDS[token_id]}" for token_id in ids],
        "prompt_length": _PROMPT,
        "roles": roles,
        "mask": mask,
        "captures": {
            "trainer": {"logprobs": trainer.tolist(), "weight_version": newest},
            "vllm/decode": {
                "logprobs": rollout[_PROMPT:].tolist(),
                "versions": versions,
            },
        },
    }


def make_conversations(folder: Path, count: int = 9) -> Path:
    """The session folder of ``count`` conversations of one turn to three."""
    lines = [conversation(1 + i % 3, i, 5 + i % 2) for i in range(count)]
    file = folder / "turns.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    import_session("jsonl", [str(file)], folder / "session")
    return folder / "session"
