"""Dumps as tools write them: first scores, lists with an id twice, masks, keys of other
tools, text alone, pickles.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session


def dump(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def imported(folder: Path, *lines: dict[str, Any]) -> tuple[Session, tuple[str, ...]]:
    notes = import_session(
        "jsonl", [str(dump(folder / "dump.jsonl", *lines))], folder / "out"
    )
    return open_session(folder / "out"), notes


def logprobs(session: Session, label: str = "x/recorded") -> list[float | None]:
    return [
        None if np.isnan(v) else round(float(v), 3)
        for v in session.capture(label).logprob.whole()
    ]


# ---- the first token


@pytest.mark.parametrize("sequences", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_the_first_score_of_a_completion_without_its_prompt_is_kept(
    tmp_path: Path, sequences: int, length: int
) -> None:
    line = {
        "token_ids": list(range(length)),
        "captures": {"x": {"logprobs": [-0.5] * length, "entropy": [0.25] * length}},
    }
    session, notes = imported(tmp_path, *[line] * sequences)
    assert logprobs(session) == [-0.5] * length * sequences and notes == ()
    entropy = session.capture("x/recorded").entropy
    assert entropy is not None and (entropy.whole() == 0.25).all()


def test_an_entry_for_the_first_token_of_a_prompt_is_no_score_and_that_is_said(
    tmp_path: Path,
) -> None:
    line = {
        "token_ids": [1, 2, 3],
        "prompt_length": 1,
        "captures": {"x": [-11.0, -1.0, -2.0], "y": [None, -1.0, -2.0]},
    }
    session, notes = imported(tmp_path, line, line)
    assert logprobs(session) == [None, -1.0, -2.0] * 2
    assert len(notes) == 1 and notes[0].startswith(
        "2 entries of x for first tokens are left out"
    )
    assert session.manifest.notes == notes, "kept with the session"


def test_zeros_in_front_of_every_sequence_are_filled_in(tmp_path: Path) -> None:
    def line(trainer: float, engine: float) -> dict[str, Any]:
        return {
            "token_ids": [1, 2],
            "captures": {"trainer": [trainer, -1.0], "x": [engine, -1.0]},
        }

    session, notes = imported(tmp_path, line(0.0, 0.0), line(0.0, -0.5))
    assert logprobs(session, "trainer/recorded") == [None, -1.0] * 2
    assert logprobs(session) == [0.0, -1.0, -0.5, -1.0], "one token may well be certain"
    assert [note.partition(" of ")[2].split()[0] for note in notes] == ["trainer"]


# ---- lists of alternatives


def with_lists(rows: list[list[tuple[int, float]]], ids: list[int]) -> dict[str, Any]:
    body = {
        "logprobs": [None] + [-1.0] * (len(ids) - 1),
        "top_ids": [None, *[[i for i, _ in row] for row in rows]],
        "top_logprobs": [None, *[[v for _, v in row] for row in rows]],
    }
    return {"token_ids": ids, "captures": {"x": body}}


def random_rows(k: int, count: int, seed: int) -> list[list[tuple[int, float]]]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = rng.choice(1000, k, replace=False)
        values = -np.sort(rng.uniform(0.01, 9.0, k).astype(np.float32))
        rows.append([(int(i), float(v)) for i, v in zip(ids, values, strict=True)])
    return rows


@pytest.mark.parametrize("k", [2, 5, 20])
def test_the_flat_form_with_the_token_in_front_reads_as_the_lists_without_it(
    tmp_path: Path, k: int
) -> None:
    plain = random_rows(k, 30, seed=k)
    targets, flat = [], []
    for index, row in enumerate(plain):
        beyond = index % 3 == 0
        target = (2000 + index, -12.0) if beyond else row[index % k]
        targets.append(target[0])
        flat.append([target, *row])
    for name, rows in (("plain", plain), ("flat", flat)):
        (tmp_path / name).mkdir()
        session, notes = imported(tmp_path / name, with_lists(rows, [0, *targets]))
        capture = session.capture("x/recorded")
        found = [
            [(int(i), float(v)) for i, v in zip(ids, values, strict=True) if i >= 0]
            for ids, values in zip(
                capture.top_ids.whole()[1:],
                capture.top_logprobs.whole()[1:],
                strict=True,
            )
        ]
        assert found == plain
        assert [note[:12] for note in notes] == (
            [] if name == "plain" else ["30 lists of "]
        )


def test_an_id_with_two_values_is_refused_with_line_and_entry(tmp_path: Path) -> None:
    line = with_lists(
        [[(7, -0.5), (8, -1.0)], [(7, -0.5), (8, -1.0), (7, -2.0)]], [1, 2, 3]
    )
    with pytest.raises(
        InputError, match=r"line 1: captures\.x\.top_ids\[2\] lists id 7 twice"
    ):
        imported(tmp_path, line)


# ---- masks


def test_what_a_captures_own_mask_leaves_out_is_no_score(tmp_path: Path) -> None:
    body = {"logprobs": [-1.0, 0.0, -2.0], "mask": [1, 0, 1]}
    line = {
        "token_ids": [9, 1, 2, 3],
        "prompt_length": 1,
        "captures": {"x": body, "y": [-1.0, -3.0, -2.0]},
    }
    session, notes = imported(tmp_path, line)
    assert logprobs(session) == [None, -1.0, None, -2.0]
    assert logprobs(session, "y/recorded") == [None, -1.0, -3.0, -2.0]
    assert session.sequences.mask.tolist() == [1, 1, 1, 1]
    assert notes == ("1 entry of x is not a score by its mask",)


# ---- lines of other tools

IDS, NUMBERS = [1, 2, 3], [-0.5, -1.0, -2.0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            {"prompt_ids": IDS, "gen_ids": IDS, "gen_logprobs": NUMBERS, "text": "abc"},
            [
                (
                    "write prompt_ids + gen_ids as token_ids and the length of"
                    " prompt_ids as prompt_length"
                ),
                "write gen_logprobs as captures.NAME.logprobs",
                "leave text out",
            ],
        ),
        (
            {"prompt_token_ids": IDS, "token_ids": IDS, "logprobs": NUMBERS},
            [
                "write prompt_token_ids + token_ids as token_ids",
                "write logprobs as captures.NAME.logprobs",
            ],
        ),
        (
            {
                "tokens": IDS,
                "response_length": 2,
                "loss_mask": [1, 1],
                "rollout_log_probs": [-0.5, -1.0],
                "reward": 1.0,
            },
            [
                "rename tokens to token_ids",
                "the number of ids minus response_length as prompt_length",
                "write rollout_log_probs as captures.NAME.logprobs",
                "rename loss_mask to mask",
            ],
        ),
        (
            {
                "input_ids": IDS,
                "prompt_len": 1,
                "old_log_probs": NUMBERS,
                "ref_logprobs": NUMBERS,
            },
            [
                "rename input_ids to token_ids",
                "rename prompt_len to prompt_length",
                "old_log_probs",
                "ref_logprobs",
            ],
        ),
        (
            {
                "token_ids": IDS,
                "prompt_length": 1,
                "logprobs": NUMBERS,
                "finish_reason": "stop",
            },
            [
                "write logprobs as captures.NAME.logprobs",
                "rename finish_reason to finish",
            ],
        ),
        (
            {"prompt": "a", "response": "b", "logprobs": NUMBERS},
            [
                "add token_ids, the ids of the prompt and the completion",
                "leave prompt, response out",
            ],
        ),
        (
            {
                "prompt_tokens": IDS,
                "output_tokens": IDS,
                "gen_logprobs": NUMBERS,
                "gen_top_ids": [],
                "top_logprobs": [],
            },
            [
                "write prompt_tokens + output_tokens as token_ids",
                "write gen_logprobs as captures.NAME.logprobs",
                "write gen_top_ids as captures.NAME.top_ids",
                "write top_logprobs as captures.NAME.top_logprobs",
            ],
        ),
        (
            {"completion_ids": IDS, "completion": "abc"},
            ["the prompt's ids + completion_ids as token_ids"],
        ),
    ],
)
def test_lines_of_other_tools_say_which_keys_to_rename(
    tmp_path: Path, line: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(
        InputError, match=r"line 1: has the keys of another tool"
    ) as caught:
        imported(tmp_path, line)
    for part in said:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "line",
    [
        {"input": "2+2?", "output": "4", "gts": "4", "score": 1.0, "step": 7},
        {"prompt": "a", "completion": "b", "reward": 0.5, "advantage": 0.1},
        {"messages": [{"role": "user", "content": "a"}], "response": "b"},
        {
            "task_id": "t",
            "seqlen": 9,
            "prompt": "a",
            "completion": "b",
            "version_rle": [[3, 9]],
            "rewards": [1.0],
        },
    ],
)
def test_a_dump_of_text_alone_is_answered_with_what_to_switch_on(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="no token ids or log-probabilities") as caught:
        imported(tmp_path, line)
    assert "calculate_log_probs=True" in str(caught.value) and "docs/import.md" in str(
        caught.value
    )


class _Runs:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("name", ["jsonl", "openai", "prime-rl"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("archive", [False, True])
def test_a_pickle_is_named_and_never_opened(
    tmp_path: Path, name: str, protocol: int, archive: bool
) -> None:
    data = pickle.dumps({"samples": _Runs(tmp_path / "it-ran")}, protocol)
    path = tmp_path / "rollout_0.pt"
    if archive:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("rollout_0/data.pkl", data)
    else:
        path.write_bytes(data)
    kind = "is a dump of torch" if archive else "is a pickle"
    with pytest.raises(InputError, match=rf"{kind}.*docs/import\.md"):
        import_session(name, [str(path)], tmp_path / "out")
    if archive:
        assert guess_format(path) == "slime"
    else:
        with pytest.raises(InputError, match=kind):
            guess_format(path)
    assert [p.name for p in tmp_path.iterdir()] == ["rollout_0.pt"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PAR1\0\0", "parquet"),
        (b"\x28\xb5\x2f\xfd\0", "zstd"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x93NUMPY\1", "NumPy"),
    ],
)
def test_other_binary_files_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "dump"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        import_session("jsonl", [str(path)], tmp_path / "out")


# ---- prime-rl


def test_the_folder_above_the_steps_names_them(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        folder = tmp_path / "run" / "token_exports" / f"step_{step}"
        folder.mkdir(parents=True)
        (folder / "rank_0.jsonl").write_text("{}\n")
    for given in (tmp_path / "run", tmp_path / "run" / "token_exports"):
        for call in (
            lambda given=given: import_session(
                "prime-rl", [str(given)], tmp_path / "out"
            ),
            lambda given=given: guess_format(given),
        ):
            with pytest.raises(
                InputError, match=r"give one of step_1, step_2, step_10"
            ) as caught:
                call()
            assert str(tmp_path / "run" / "token_exports") in str(caught.value)
