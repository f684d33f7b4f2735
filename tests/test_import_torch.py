"""Dumps of slime and miles as the real torch writes them: read by torch's restricted
reader in the environment of Transformers, and nothing in them is ever run.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from logdrift.core.capture import torch_dumps
from logdrift.core.capture.environments import NoInterpreter
from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session
from tests.conftest import REPOSITORY

_READER = REPOSITORY / "core" / "worker" / "torch_dump.py"
_SCRIPT = REPOSITORY / "tests" / "engine_scripts" / "torch_dumps.py"
pytestmark = pytest.mark.usefixtures("transformers_python")


@pytest.fixture(scope="module")
def dumps(transformers_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    subprocess.run(
        [str(transformers_python), str(_SCRIPT), str(folder), str(_READER)],
        check=True,
        timeout=300,
    )
    return folder


def imported(path: Path, out: Path) -> tuple[Session, tuple[str, ...]]:
    assert guess_format(path) == "slime"
    notes = import_session("slime", [str(path)], out)
    return open_session(out), notes


def numbers(session: Session, label: str) -> list[float | None]:
    values = session.capture(label).logprob.whole().tolist()
    return [None if np.isnan(value) else value for value in values]


def test_a_rollout_is_read_with_its_arrays_of_numpy(
    dumps: Path, tmp_path: Path
) -> None:
    session, notes = imported(dumps / "rollout" / "3.pt", tmp_path / "out")
    assert session.sequences.token_ids.tolist() == [
        *[31, 32, 33, 34, 35],
        *[31, 32, 34, 34, 35],
    ]
    assert session.sequences.prompt_lengths.tolist() == [2, 2]
    assert numbers(session, "rollout/recorded") == [
        *[None, None, -0.5, None, -1.5],
        *[None, None, -1.5, None, -1.5],
    ]
    assert [info.role for info in session.captures] == ["rollout"]
    assert len(notes) == 1 and "masked tokens" in notes[0]


def test_a_train_dump_has_both_sides(dumps: Path, tmp_path: Path) -> None:
    session, notes = imported(dumps / "train" / "3.pt", tmp_path / "out")
    assert [info.label for info in session.captures] == [
        "trainer/prefill",
        "rollout/recorded",
    ]
    assert numbers(session, "trainer/prefill") == [None, None, -0.25, -2.0, -1.25] * 2
    entropy = session.capture("trainer/prefill").entropy
    assert entropy is not None
    assert entropy.whole()[2:5].tolist() == [0.5, 0.25, 1.0]
    assert "ref_log_probs of 2 samples are left out: they are of another model" in notes


def test_the_ranks_of_a_folder_are_put_together_step_by_step(
    dumps: Path, tmp_path: Path
) -> None:
    session, _ = imported(dumps / "ranks", tmp_path / "out")
    sequence = [None, None, *(-i / 8 for i in range(1, 7))]
    assert numbers(session, "trainer/prefill") == sequence * 4
    firsts = session.sequences.token_ids[::8].tolist()
    assert firsts == [10, 11, 10, 11], "two steps of two samples each"


def test_one_rank_alone_says_what_is_missing(dumps: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"9_1\.pt, samples \[0\]: log_probs was spread"
    ):
        imported(dumps / "ranks" / "9_1.pt", tmp_path / "out")


def test_plain_records_of_miles_are_read_without_its_code(
    dumps: Path, tmp_path: Path
) -> None:
    session, _ = imported(dumps / "miles" / "3.pt", tmp_path / "out")
    versions = session.capture("rollout/recorded").versions
    assert versions is not None
    assert versions.whole().tolist() == [-1, -1, 0, 0, -1]


def test_a_bad_sample_is_left_out_where_that_is_asked(
    dumps: Path, tmp_path: Path
) -> None:
    path = dumps / "refused" / "numbers.pt"
    notes = import_session("slime", [str(path)], tmp_path / "out", skip_bad=True)
    assert len(open_session(tmp_path / "out").sequences) == 1
    assert any("left out 1 bad" in note and "samples [1]" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adapter", "asks for miles.utils.types.AdapterRef when it is loaded"),
        ("system", "asks for posix.system when it is loaded"),
        ("numbers", "samples [1]: loss_mask has 1 entries"),
        ("unscored", "has neither rollout_log_probs nor log_probs"),
    ],
)
def test_what_is_no_plain_dump_is_refused_in_one_line_and_nothing_runs(
    dumps: Path, tmp_path: Path, name: str, said: str
) -> None:
    path = dumps / "refused" / f"{name}.pt"
    with pytest.raises(InputError) as caught:
        import_session("slime", [str(path)], tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message and "\n" not in message
    assert not (dumps / "it-ran").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adapter", "asks for miles.utils.types.AdapterRef when it is loaded"),
        ("system", "asks for posix.system when it is loaded"),
        ("open", "asks for io.open when it is loaded"),
        ("eval", "asks for builtins.eval when it is loaded"),
        ("getattr", "asks for builtins.getattr when it is loaded"),
        ("weights", "is an object of weight: a dump of slime or miles has samples"),
        ("text", "samples is not a list of objects"),
    ],
)
def test_every_refusal_is_one_line_that_names_what_was_asked_for(
    dumps: Path, name: str, said: str
) -> None:
    refused = json.loads((dumps / "refusals.json").read_text())[name]
    error = torch_dumps.refusal({"file": 0, **refused}, [Path("3.pt")])
    assert str(error).startswith(f"3.pt: {said}") and "\n" not in str(error)
    assert not (dumps / "it-ran").exists()


@pytest.mark.parametrize("name", ["legacy.pt", "cut.pt", "plain.pkl"])
def test_a_file_of_another_layout_is_not_opened(
    dumps: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=r"is not a dump of torch\.save"):
        import_session("slime", [str(dumps / name)], tmp_path / "out")


def test_bytes_that_were_changed_are_refused_in_one_line(
    dumps: Path, tmp_path: Path
) -> None:
    data = bytearray((dumps / "rollout" / "3.pt").read_bytes())
    at = data.index(b"samples")
    data[at - 20 : at] = os.urandom(20)
    (tmp_path / "3.pt").write_bytes(data)
    with pytest.raises(InputError, match=r"3\.pt: is damaged") as caught:
        import_session("slime", [str(tmp_path / "3.pt")], tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_without_an_environment_one_line_says_how_to_make_it(
    dumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(engine: str) -> None:
        raise NoInterpreter(f"no interpreter for {engine}")

    monkeypatch.setattr(torch_dumps, "find_interpreter", nowhere)
    path = dumps / "rollout" / "3.pt"
    with pytest.raises(InputError, match="logdrift env create transformers"):
        import_session("slime", [str(path)], tmp_path / "out")


def test_a_folder_without_dumps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.pt file in it"):
        import_session("slime", [str(tmp_path)], tmp_path / "out")
