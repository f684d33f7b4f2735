"""The exporters of docs/import.md, run on objects with the structure that each framework
documents: what they write is imported with every number at its token.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import Session, open_session
from tests.common import REPOSITORY, Fields


class _Tensor(list[Any]):
    """Nested lists with the one method of a tensor that the exporters use."""

    def tolist(self) -> list[Any]:
        return list(self)


def table(*rows: str) -> _Tensor:
    """A row of numbers for each text."""
    return _Tensor([_numbers(row) for row in rows])


def _numbers(row: str) -> list[float]:
    return [float(word) if "." in word else int(word) for word in row.split()]


def docs_functions(name: str) -> Callable[..., Any]:
    """The functions of the code in docs/import.md."""
    text = (REPOSITORY / "docs" / "import.md").read_text(encoding="utf-8")
    found: Fields = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec("import json\n" + code, found)
    function: Callable[..., Any] = found[name]
    return function


def imported(folder: Path, written: str, name: str = "jsonl") -> Session:
    path = folder / "dump.jsonl"
    path.write_text(written)
    import_session(name, [str(path)], folder / "out")
    return open_session(folder / "out")


def numbers(session: Session, label: str) -> list[float | None]:
    values = session.capture(label).logprob.whole().tolist()
    return [None if np.isnan(value) else value for value in values]


# Two sequences: prompts of 2 and 3 tokens, completions of 2 and 3, a token of a tool in
# the second one.
IDS = [1, 2, 6, 7, 3, 4, 5, 8, 9, 10]
TRAINER = [None, None, -0.5, -1.0, None, None, None, -2.0, None, -3.0]
ROLLOUT = [None, None, -0.25, -1.5, None, None, None, -2.5, None, -3.5]


def verl() -> Any:
    """agent_loop's batch: prompts padded on the left, responses on the right."""
    batch = {
        "prompts": table("0 1 2", "3 4 5"),
        "responses": table("6 7 0", "8 9 10"),
        "attention_mask": table("0 1 1 1 1 0", "1 1 1 1 1 1"),
        "response_mask": table("1 1 0", "1 0 1"),
        "old_log_probs": table("-0.5 -1.0 0.0", "-2.0 0.0 -3.0"),
        "rollout_log_probs": table("-0.25 -1.5 0.0", "-2.5 0.0 -3.5"),
    }
    return SimpleNamespace(batch=batch)


def trl() -> Any:
    return {
        "prompt_ids": table("0 1 2", "3 4 5"),
        "prompt_mask": table("0 1 1", "1 1 1"),
        "completion_ids": table("6 7 0", "8 9 10"),
        "completion_mask": table("1 1 0", "1 1 1"),
        "tool_mask": table("1 1 0", "1 0 1"),
        "old_per_token_logps": table("-0.5 -1.0 -9.0", "-2.0 -8.0 -3.0"),
        "sampling_per_token_logps": table("-0.25 -1.5 0.0", "-2.5 0.0 -3.5"),
        "advantages": _Tensor([0.5, -0.5]),
    }


def areal() -> Any:
    """Trajectories padded on the right; prox_logp is of the token behind each."""
    return {
        "input_ids": table("1 2 6 7 0 0", "3 4 5 8 9 10"),
        "attention_mask": table("1 1 1 1 0 0", "1 1 1 1 1 1"),
        "loss_mask": table("0 0 1 1 0 0", "0 0 0 1 0 1"),
        "logprobs": table("0.0 0.0 -0.25 -1.5 0.0 0.0", "0 0 0 -2.5 0.0 -3.5"),
        "prox_logp": table(
            "-7.0 -0.5 -1.0 -7.0 0.0 0.0", "-7.0 -7.0 -2.0 -8.0 -3.0 -7.0"
        ),
        "versions": table("-1 -1 3 3 -1 -1", "-1 -1 -1 3 -1 4"),
    }


def openrlhf() -> Any:
    """An Experience: masks and log-probabilities have one entry less than there are
    tokens, and 0.0 where the action mask is 0.
    """
    return SimpleNamespace(
        sequences=table("1 2 6 7 0 0", "3 4 5 8 9 10"),
        attention_mask=table("1 1 1 1 0 0", "1 1 1 1 1 1"),
        action_mask=table("0 1 1 0 0", "0 0 1 0 1"),
        action_log_probs=table("0.0 -0.5 -1.0 0 0", "0 0.0 -2.0 0.0 -3.0"),
        rollout_log_probs=table("0.0 -0.25 -1.5 0 0", "0 0 -2.5 0.0 -3.5"),
    )


@pytest.mark.parametrize("framework", [verl, trl, areal, openrlhf])
def test_what_an_exporter_writes_is_imported_with_every_number_at_its_token(
    tmp_path: Path, framework: Callable[[], Any]
) -> None:
    written = io.StringIO()
    docs_functions(f"write_{framework.__name__}")(framework(), written)
    session = imported(tmp_path, written.getvalue())
    assert session.sequences.token_ids.tolist() == IDS
    assert session.sequences.prompt_lengths.tolist() == [2, 3]
    assert numbers(session, "trainer/recorded") == TRAINER
    assert numbers(session, "rollout/recorded") == ROLLOUT


def test_a_batch_of_trl_without_tools_is_written_whole(tmp_path: Path) -> None:
    batch = trl()
    del batch["tool_mask"]
    written = io.StringIO()
    docs_functions("write_trl")(batch, written)
    session = imported(tmp_path, written.getvalue())
    assert numbers(session, "trainer/recorded")[8] == -8.0


@pytest.mark.parametrize("name", ["verl", "trl", "areal", "openrlhf"])
def test_an_exporter_is_about_ten_lines(name: str) -> None:
    text = (REPOSITORY / "docs" / "import.md").read_text(encoding="utf-8")
    body = text.partition(f"def write_{name}(")[2].partition("\n\n")[0].splitlines()
    assert len(body) <= 12


# ---- outputs of an engine that was called from Python


@dataclass
class _Logprob:
    """vLLM's Logprob."""

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class _CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, _Logprob]] | None
    routed_experts: Any = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class _RequestOutput:
    """What is no record of plain fields in vLLM: it has metrics and objects beside."""

    prompt_token_ids: list[int]
    prompt_logprobs: list[dict[int, _Logprob] | None] | None
    outputs: list[_CompletionOutput]
    num_cached_tokens: int = 0
    metrics: object = field(default_factory=object)


def test_outputs_of_vllm_are_written_by_their_fields(tmp_path: Path) -> None:
    output = _CompletionOutput(
        index=0,
        text=" c",
        token_ids=[6, 7],
        cumulative_logprob=-1.75,
        logprobs=[{6: _Logprob(-0.25, 1)}, {7: _Logprob(-1.5, 2), 9: _Logprob(-1, 1)}],
        routed_experts=np.zeros((3, 2), np.uint8),
        finish_reason="stop",
    )
    request = _RequestOutput([1, 2], [None, {2: _Logprob(-3.0, 4)}], [output])
    docs_functions("write_outputs")([request], tmp_path / "written.jsonl")
    written = (tmp_path / "written.jsonl").read_text()
    session = imported(tmp_path, written, "vllm")
    expected = [1, 2, 6, 7]
    assert session.sequences.token_ids.tolist() == expected
    assert numbers(session, "dump/recorded") == [None, -3.0, -0.25, -1.5]
