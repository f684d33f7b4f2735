"""Dumps of slime and miles as the real torch writes them: read by torch's restricted
reader in the environment of Transformers, and nothing in them is ever run.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.capture import torch_dumps
from logdrift.core.capture.environments import NoInterpreter
from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session
from tests.common import REPOSITORY, refused

_READER = REPOSITORY / "core" / "worker" / "torch_dump.py"
Notes = tuple[str, ...]
TRAINER = "trainer/prefill"
ROLLOUT = "rollout/recorded"
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


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def import_dump(path: Path, out: Path, **options: Any) -> Notes:
    return import_session("slime", [str(path)], out, **options)


def imported(path: Path, out: Path) -> tuple[Session, Notes]:
    assert guess_format(path) == "slime"
    notes = import_dump(path, out)
    session = open_session(out)
    return session, notes


def ran_nothing(dumps: Path) -> bool:
    """No dump has made the file that those make which run code."""
    trace = dumps / "it-ran"
    return not trace.exists()


def holds(session: Session, label: str, wanted: Sequence[float | None]) -> None:
    # As floats, None is NaN.
    numbers = np.asarray(wanted, np.float32)
    found = session.capture(label).logprob.whole()
    np.testing.assert_array_equal(found, numbers)


def test_a_rollout_is_read_with_its_arrays_of_numpy(dumps: Path, out: Path) -> None:
    session, notes = imported(dumps / "rollout" / "3.pt", out)
    sequences = session.sequences
    first = [31, 32, 33, 34, 35]
    second = [31, 32, 34, 34, 35]
    assert sequences.token_ids.tolist() == first + second
    assert sequences.prompt_lengths.tolist() == [2, 2]
    of_first = [None, None, -0.5, None, -1.5]
    of_second = [None, None, -1.5, None, -1.5]
    holds(session, ROLLOUT, of_first + of_second)
    roles = [info.role for info in session.captures]
    assert roles == ["rollout"]
    (note,) = notes
    assert "masked tokens" in note


def test_a_train_dump_has_both_sides(dumps: Path, out: Path) -> None:
    session, notes = imported(dumps / "train" / "3.pt", out)
    labels = [info.label for info in session.captures]
    assert labels == [TRAINER, ROLLOUT]
    of_each = [None, None, -0.25, -2.0, -1.25]
    holds(session, TRAINER, of_each * 2)
    entropy = session.capture(TRAINER).entropy
    assert entropy is not None
    of_completion = entropy.whole()[2:5]
    assert of_completion.tolist() == [0.5, 0.25, 1.0]
    assert "ref_log_probs of 2 samples are left out: they are of another model" in notes


def test_the_ranks_of_a_folder_are_put_together_step_by_step(
    dumps: Path, out: Path
) -> None:
    session, _ = imported(dumps / "ranks", out)
    eighths = [-i / 8 for i in range(1, 7)]
    of_each = [None, None, *eighths]
    holds(session, TRAINER, of_each * 4)
    firsts = session.sequences.token_ids[::8]
    # Two steps of two samples each.
    assert firsts.tolist() == [10, 11, 10, 11]


def test_one_rank_alone_says_what_is_missing(dumps: Path, out: Path) -> None:
    with refused(r"9_1\.pt, samples \[0\]: log_probs was spread"):
        imported(dumps / "ranks" / "9_1.pt", out)


def test_plain_records_of_miles_are_read_without_its_code(
    dumps: Path, out: Path
) -> None:
    session, _ = imported(dumps / "miles" / "3.pt", out)
    versions = session.capture(ROLLOUT).versions
    assert versions is not None
    assert versions.whole().tolist() == [-1, -1, 0, 0, -1]


def test_a_bad_sample_is_left_out_where_that_is_asked(dumps: Path, out: Path) -> None:
    path = dumps / "refused" / "numbers.pt"
    notes = import_dump(path, out, skip_bad=True)
    session = open_session(out)
    assert len(session.sequences) == 1
    (note,) = [note for note in notes if "left out 1 bad" in note]
    assert "samples [1]" in note


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
        import_dump(path, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message
    assert ran_nothing(dumps)
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
    written = (dumps / "refusals.json").read_text()
    refusals = json.loads(written)
    message = {"file": 0, **refusals[name]}
    error = torch_dumps.refusal(message, [Path("3.pt")])
    words = str(error)
    assert words.startswith(f"3.pt: {said}")
    assert "\n" not in words
    assert ran_nothing(dumps)


@pytest.mark.parametrize("name", ["legacy.pt", "cut.pt", "plain.pkl"])
def test_a_file_of_another_layout_is_not_opened(
    dumps: Path, out: Path, name: str
) -> None:
    with refused(r"is not a dump of torch\.save"):
        import_dump(dumps / name, out)


def test_bytes_that_were_changed_are_refused_in_one_line(
    dumps: Path, tmp_path: Path
) -> None:
    dump = dumps / "rollout" / "3.pt"
    data = bytearray(dump.read_bytes())
    stop = data.index(b"samples")
    start = stop - 20
    data[start:stop] = os.urandom(20)
    changed = tmp_path / "3.pt"
    changed.write_bytes(data)
    with refused(r"3\.pt: is damaged") as caught:
        import_dump(changed, tmp_path / "out")
    words = str(caught.value)
    assert "\n" not in words


def test_without_an_environment_one_line_says_how_to_make_it(
    dumps: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(engine: str) -> None:
        raise NoInterpreter(f"no interpreter for {engine}")

    monkeypatch.setattr(torch_dumps, "find_interpreter", nowhere)
    path = dumps / "rollout" / "3.pt"
    with refused("logdrift env create transformers"):
        import_dump(path, out)


def test_a_folder_without_dumps_is_refused(tmp_path: Path, out: Path) -> None:
    with refused(r"no \.pt file in it"):
        import_dump(tmp_path, out)
