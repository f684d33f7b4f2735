"""Rollouts that frameworks write as text: `import` says what to do with them, and a
capture takes them as prompts with their completions, with a warning.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logdrift.core.capture.create import create_session
from logdrift.core.capture.prompt import Prompt
from logdrift.core.capture.prompts import read_prompts
from logdrift.core.capture.text_dumps import notes_on
from logdrift.core.errors import InputError
from logdrift.core.plan import BackendSpec, CapturePlan
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import open_session
from tests.common import Fields, refused


def verl(i: int) -> Fields:
    return {
        "input": f"user\n{i}+1?\nassistant\n",
        "output": f"It is {i + 1}.",
        "gts": str(i + 1),
        "score": 1.0,
        "step": 7,
        "uid": f"s_{i}_0",
    }


def openrlhf(i: int) -> Fields:
    return {"input": f"{i}+1?", "output": f"It is {i + 1}."}


def areal(i: int) -> Fields:
    return {
        "task_id": f"t{i}",
        "sample_idx": 0,
        "seqlen": 9,
        "prompt_len": 4,
        "head_version": 3,
        "tail_version": 3,
        "version_rle": [[3, 9]],
        "reward": 1.0,
        "prompt": f"{i}+1?",
        "completion": f"It is {i + 1}.",
        "segments": [{"role": "assistant", "len": 5, "text": "..."}],
    }


def trl(i: int) -> Fields:
    return {
        "step": 10,
        "prompt": f"{i}+1?",
        "completion": f"It is {i + 1}.",
        "accuracy_reward": 0.5,
        "advantage": -0.25,
    }


TOOLS: dict[str, Callable[[int], Fields]] = {
    "verl": verl,
    "OpenRLHF": openrlhf,
    "AReaL": areal,
    "TRL": trl,
}


def written(folder: Path, tool: str, *lines: Fields) -> Path:
    """The lines as the tool writes them: TRL as parquet, the others as JSONL."""
    if tool == "TRL":
        path = folder / "completions_00010.parquet"
        pq.write_table(pa.Table.from_pylist(list(lines)), path)
        return path
    path = folder / "7.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def notes(prompts: list[Prompt]) -> tuple[str, ...]:
    return notes_on(prompt.dump for prompt in prompts if prompt.dump is not None)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_dump_of_text_is_prompts_with_completions_and_a_warning(
    tmp_path: Path, tool: str
) -> None:
    lines = [TOOLS[tool](i) for i in range(3)]
    prompts = read_prompts(str(written(tmp_path, tool, *lines)))
    asked = [line.get("input", line.get("prompt")) for line in lines]
    assert [prompt.text for prompt in prompts] == asked
    completions = [prompt.completion for prompt in prompts]
    assert completions == [f"It is {i + 1}." for i in range(3)]
    first, *others = notes(prompts)
    assert first.startswith(f"these texts are a dump of {tool}: it has no token ids")
    unread = " ".join(others)
    kept = ("input", "output", "prompt", "completion", "head_version", "tail_version")
    assert all(key in unread for key in lines[0] if key not in kept)


def test_the_version_of_the_weights_is_told_where_all_of_a_completion_has_it(
    tmp_path: Path,
) -> None:
    mixed = {**areal(1), "tail_version": 4}
    one, other = read_prompts(str(written(tmp_path, "AReaL", areal(0), mixed)))
    assert one.told == {"weight_version": "3"}
    assert other.told == {}
    assert "head_version" in notes([other])[1]


def test_a_conversation_in_a_dump_is_messages(tmp_path: Path) -> None:
    prompt = [{"role": "user", "content": "1+1?"}]
    path = written(tmp_path, "AReaL", {**areal(0), "prompt": prompt})
    (read,) = read_prompts(str(path))
    assert read.messages is not None
    assert read.completion == "It is 1."


def test_lines_of_prompts_are_not_taken_for_dumps(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "1+1?", "completion": "2"}\n')
    (prompt,) = read_prompts(str(path))
    assert prompt.dump is None
    assert notes([prompt]) == ()


@pytest.mark.parametrize(
    ("tool", "change", "said"),
    [
        (
            "verl",
            {"output": ""},
            "7.jsonl line 2: output is empty: nothing was sampled",
        ),
        ("verl", {"input": 5}, "7.jsonl line 2: prompt is not text"),
        ("verl", {"output": ["a"]}, "7.jsonl line 2: completion is not text"),
        ("AReaL", {"head_version": [3], "tail_version": [3]}, "weight_version is [3]"),
        ("TRL", {"completion": ""}, "row 1: completion is empty: nothing was sampled"),
        ("TRL", {"prompt": None}, "row 1: a line is exactly one of"),
    ],
)
def test_what_is_wrong_in_a_dump_is_said_with_its_line(
    tmp_path: Path, tool: str, change: Fields, said: str
) -> None:
    form = TOOLS[tool]
    path = written(tmp_path, tool, form(0), {**form(1), **change})
    with pytest.raises(InputError) as caught:
        read_prompts(str(path))
    assert said in str(caught.value)
    assert caught.value.file == str(path)


def test_parquet_of_another_kind_is_refused_as_prompts(tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    pq.write_table(pa.table({"price": [1.0]}), path)
    with refused("row 0: a line is exactly one of"):
        read_prompts(str(path))
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), path)
    with refused("the file holds no row"):
        read_prompts(str(path))


@pytest.mark.parametrize("tool", TOOLS)
def test_an_import_says_in_one_line_what_such_a_dump_is_for(
    tmp_path: Path, tool: str
) -> None:
    path = written(tmp_path, tool, TOOLS[tool](0))
    name = "miles" if tool == "TRL" else "jsonl"
    attempts: list[Callable[[], Any]] = [
        lambda: import_session(name, [str(path)], tmp_path / "out")
    ]
    if tool != "TRL":
        attempts.append(lambda: guess_format(path))
    for attempt in attempts:
        with pytest.raises(InputError) as caught:
            attempt()
        message = str(caught.value)
        assert "no token ids or log-probabilities" in message
        assert "\n" not in message
        assert "logdrift capture --prompts" in message
        assert "docs/import.md, From a trainer" in message


@pytest.mark.engine
def test_a_session_of_a_dump_keeps_the_warning(
    small_model: Path, transformers_python: Path, tmp_path: Path
) -> None:
    path = written(tmp_path, "verl", verl(1), verl(2))
    plan = CapturePlan(
        model=str(small_model),
        prompts_file=str(path),
        backends=(BackendSpec(engine="transformers", name="trainer"),),
    )
    said: list[str] = []
    create_session(plan, tmp_path / "session", said.append)
    session = open_session(tmp_path / "session")
    assert session.manifest.notes[0].startswith("these texts are a dump of verl")
    assert said[:2] == [f"note: {note}" for note in session.manifest.notes]
    assert session.sequences.prompt_lengths.min() > 0
    assert len(session.sequences) == 2
