"""Ranks of a Megatron model that was run by itself, and columns of miles' dashboard: one
value a token, at the token that it scores.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session
from tests import made_recordings as made
from tests.made_recordings import Drawn, draw


def numbers(session: Session, label: str) -> list[float | None]:
    values = session.capture(label).logprob.whole().tolist()
    return [None if np.isnan(value) else value for value in values]


# ---- rank_N.json


def chunks(tokens: int, cp_size: int, rank: int) -> list[int]:
    """The positions of a rank of context parallelism: two chunks of 2 * cp_size."""
    size = -(-tokens // (2 * cp_size))
    if cp_size == 1:
        return list(range(tokens))
    own = []
    for chunk in (rank, 2 * cp_size - 1 - rank):
        own += range(chunk * size, (chunk + 1) * size)
    return own


def entry(drawn: Drawn, position: int) -> dict[str, Any]:
    """The label of a position is the token behind it; padding and the last position
    have none.
    """
    behind = position + 1
    if behind >= len(drawn.ids):
        place = position if position < len(drawn.ids) else 0
        return {
            "global_position": place,
            "token_id": -1,
            "logprob": 0.0,
            "is_valid": False,
        }
    return {
        "global_position": position,
        "token_id": drawn.ids[behind],
        "logprob": drawn.logprobs[behind],
        "is_valid": True,
    }


def ranks(folder: Path, drawn: list[Drawn], tp_size: int = 1, cp_size: int = 1) -> Path:
    """The files of a run on tp_size * cp_size ranks."""
    folder.mkdir()
    for rank in range(tp_size * cp_size):
        own = rank // tp_size
        data = {
            "rank": rank,
            "tp_size": tp_size,
            "cp_size": cp_size,
            "pp_size": 1,
            "logprob_entries": [
                [entry(one, p) for p in chunks(len(one.ids), cp_size, own)]
                for one in drawn
            ],
        }
        (folder / f"rank_{rank}.json").write_text(json.dumps(data, indent=2))
    return folder


@pytest.mark.parametrize(("tp_size", "cp_size"), [(1, 1), (2, 1), (1, 2), (2, 3)])
def test_two_layouts_of_one_model_are_two_sides(
    tmp_path: Path, tp_size: int, cp_size: int
) -> None:
    drawn = [draw(1, 4, 7), draw(2, 1, 3)]
    plain = ranks(tmp_path / "plain", drawn)
    spread = ranks(tmp_path / "spread", drawn, tp_size, cp_size)
    assert guess_format(plain) == guess_format(spread) == "megatron"
    assert guess_format(plain / "rank_0.json") == "megatron"
    notes = import_session(
        "megatron", [f"tp1={plain}", f"other={spread}"], tmp_path / "out"
    )
    session = open_session(tmp_path / "out")
    ids = [token for one in drawn for token in one.ids[1:]]
    assert session.sequences.token_ids.tolist() == ids
    wanted = [value for one in drawn for value in one.logprobs[1:]]
    for label in ("tp1/recorded", "other/recorded"):
        assert numbers(session, label) == wanted
    assert [info.role for info in session.captures] == ["trainer", "trainer"]
    assert any("begin with their second token" in note for note in notes)


def test_a_run_is_joined_with_an_engine_that_knows_the_first_token(
    tmp_path: Path,
) -> None:
    drawn = [draw(1), draw(2)]
    folder = ranks(tmp_path / "megatron", drawn)
    generated = made.lines(tmp_path / "gen.jsonl", map(made.chat, drawn))
    files = [f"trainer={folder}", f"vllm/decode={generated}"]
    import_session("megatron", files, tmp_path / "out")
    session = open_session(tmp_path / "out")
    assert session.captures[0].engine == "megatron"
    assert session.sequences.token_ids.tolist() == [i for one in drawn for i in one.ids]
    assert session.sequences.prompt_lengths.tolist() == [one.prompt for one in drawn]
    assert numbers(session, "trainer/recorded") == [
        value for one in drawn for value in one.logprobs
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("logprob_entries"), "logprob_entries is missing"),
        (
            lambda d: d["logprob_entries"].append(3),
            "logprob_entries [1]: is not a list",
        ),
        (lambda d: d["logprob_entries"][0].append(3), "an entry is 3"),
        (
            lambda d: d["logprob_entries"][0][2].update(token_id=-1),
            "token_id at position 2 is -1",
        ),
        (
            lambda d: d["logprob_entries"][0].pop(3),
            "position 3 is missing: give the folder",
        ),
        (
            lambda d: d["logprob_entries"][0][1].update(logprob=0.5),
            "logprob[2] is 0.5: a log-probability is at most 0",
        ),
        (
            lambda d: d["logprob_entries"][0][-1].update(
                is_valid=True, token_id=5, logprob=-1.0
            ),
            "its last position has a label too",
        ),
    ],
)
def test_what_is_wrong_in_a_rank_is_said(
    tmp_path: Path, change: Callable[[Any], Any], said: str
) -> None:
    folder = ranks(tmp_path / "run", [draw(1)])
    path = folder / "rank_0.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as caught:
        import_session("megatron", [str(folder)], tmp_path / "out")
    assert said in str(caught.value) and str(folder) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_ranks_of_two_runs_are_refused(tmp_path: Path) -> None:
    folder = ranks(tmp_path / "run", [draw(1)], tp_size=2)
    other = ranks(tmp_path / "other", [draw(2)], tp_size=2)
    (other / "rank_1.json").rename(folder / "rank_1.json")
    with pytest.raises(InputError, match=r"rank_1\.json.*in the file of another rank"):
        import_session("megatron", [str(folder)], tmp_path / "out")


# ---- dashboard_columns/rollout_N.parquet

SCHEMA = pa.schema(
    {
        "sample_index": pa.int32(),
        "response_length": pa.int32(),
        "total_length": pa.int32(),
        "tokens": pa.list_(pa.int32()),
        "loss_mask": pa.list_(pa.int8()),
        "rollout_log_probs": pa.list_(pa.float32()),
    }
)


def row(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "sample_index": index,
        "response_length": 3,
        "total_length": 5,
        "tokens": [31, 32, 33 + index, 34, 35],
        "loss_mask": [1, 0, 1],
        "rollout_log_probs": [-0.5 - index, 0.0, -1.5],
        **changes,
    }


def columns(path: Path, *rows: dict[str, Any], schema: Any = SCHEMA) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return path


def test_the_columns_of_all_rollouts_of_a_folder_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "dashboard_columns"
    for step in (9, 10):
        columns(folder / f"rollout_{step}.parquet", row(step), row(step + 1))
    assert guess_format(folder) == "miles"
    assert guess_format(folder / "rollout_9.parquet") == "miles"
    notes = import_session("miles", [str(folder)], tmp_path / "out")
    session = open_session(tmp_path / "out")
    wanted: list[float | None] = []
    for index in (9, 10, 10, 11):
        wanted += [None, None, -0.5 - index, None, -1.5]
    assert numbers(session, "rollout/recorded") == wanted
    assert session.sequences.prompt_lengths.tolist() == [2] * 4
    assert len(notes) == 1 and "masked tokens" in notes[0]


def test_more_rows_than_are_read_at_a_time_keep_their_order(tmp_path: Path) -> None:
    path = columns(tmp_path / "rollout_1.parquet", *(row(i) for i in range(150)))
    import_session("miles", [str(path)], tmp_path / "out")
    ids = open_session(tmp_path / "out").sequences.token_ids
    assert ids[2::5].tolist() == [33 + i for i in range(150)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": None}, "tokens is not a list with at least one id"),
        ({"response_length": 9}, "response_length is 9 of 5 tokens"),
        ({"loss_mask": [1]}, "loss_mask has 1 entries"),
        ({"rollout_log_probs": [0.5] * 3}, "rollout_log_probs[2] is 0.5"),
        ({"rollout_log_probs": [-0.5]}, "rollout_log_probs has 1 entries"),
    ],
)
def test_what_is_wrong_in_a_row_is_said(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = columns(tmp_path / "rollout_1.parquet", row(0), row(1, **change))
    with pytest.raises(InputError) as caught:
        import_session("miles", [str(path)], tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(f"{path}, row 1: ") and said in message


def test_files_that_are_no_columns_of_miles_are_refused(tmp_path: Path) -> None:
    schema = pa.schema({"step": pa.int32(), "price": pa.float32()})
    other = columns(
        tmp_path / "other.parquet", {"step": 1, "price": 2.0}, schema=schema
    )
    damaged = tmp_path / "cut.parquet"
    whole = columns(tmp_path / "rollout_1.parquet", row(0)).read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    text = tmp_path / "text.parquet"
    text.write_text("{}")
    for path, said in (
        (other, "lacks the column tokens: it has step, price"),
        (damaged, "is damaged, or no parquet file"),
        (text, "is no parquet file"),
        (tmp_path / "none.parquet", "cannot be read: No such file"),
        (tmp_path / "empty", r"no rollout_\*\.parquet in it"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=said):
            import_session("miles", [str(path)], tmp_path / "out")


def test_without_pyarrow_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = columns(tmp_path / "rollout_1.parquet", row(0))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'logdrift\[parquet\]'"):
        import_session("miles", [str(path)], tmp_path / "out")
