"""`logdrift.record`: what a trainer saw, as a session, whatever its processes suffer."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import logdrift
from logdrift.core.compare.framework_names import FRAMEWORKS, names_of
from logdrift.core.errors import CannotWrite
from logdrift.core.recording import parts, stream
from logdrift.core.recording.recorder import TrainingRecorder
from logdrift.core.session.importers import import_session
from tests.common import NAN, REPOSITORY, Fields, refused


def batch(
    rows: int, seed: int, size: float | Sequence[float] = 0.02
) -> dict[str, np.ndarray]:
    """``rows`` prompts of 3 and completions of 5 tokens; the noise of each row is of
    ``size`` nats.
    """
    rng = np.random.default_rng(seed)
    trainer = rng.normal(-2, 0.3, (rows, 5)).astype(np.float32)
    noise = rng.normal(0, 1, (rows, 5)) * np.reshape(size, (-1, 1))
    return {
        "prompts": rng.integers(0, 100, (rows, 3)),
        "completions": rng.integers(0, 100, (rows, 5)),
        "trainer": trainer,
        "rollout": (trainer - noise).astype(np.float32),
    }


def added(
    recorder: TrainingRecorder, made: dict[str, np.ndarray], **others: Any
) -> None:
    sides = {side: made[side] for side in ("trainer", "rollout")}
    recorder.add(made["prompts"], made["completions"], sides, **others)


def test_a_session_holds_what_was_added(tmp_path: Path) -> None:
    """Padding is gone, what does not count is no score, and each row has its step,
    version and reward.
    """
    with logdrift.record(tmp_path / "run", model="tiny") as recorder:
        recorder.add(
            prompt_ids=[[0, 7, 8], [7, 8, 9]],
            prompt_mask=[[0, 1, 1], [1, 1, 1]],
            completion_ids=[[4, 5, 6, 0], [4, 5, 0, 0]],
            completion_mask=[[1, 1, 1, 0], [1, 1, 0, 0]],
            mask=[[1, 0, 1, 0], [1, 1, 0, 0]],
            logprobs={
                "trainer": [[-1, 0, -3, 0], [-1, NAN, 0, 0]],
                "rollout": [[-1.5, 0, -3, 0], [-math.inf, -2, 0, 0]],
            },
            step=7,
            versions=["6", 5],
            rewards=[1, 0.5],
        )
    session = logdrift.open_session(tmp_path / "run")
    assert session.manifest.model.id == "tiny"
    assert session.state == "complete"
    sequences = session.sequences
    order = np.argsort(-np.diff(sequences.offsets), kind="stable")
    rows = {tuple(sequences.ids(i).tolist()): i for i in order}
    assert set(rows) == {(7, 8, 4, 5, 6), (7, 8, 9, 4, 5)}
    first = rows[7, 8, 4, 5, 6]
    second = rows[7, 8, 9, 4, 5]
    assert sequences.prompt_lengths[[first, second]].tolist() == [2, 3]
    assert sequences.steps is not None
    assert sequences.rewards is not None
    assert sequences.steps.tolist() == [7, 7]
    assert sequences.rewards[[first, second]].tolist() == [1, 0.5]

    def row(label: str, which: int) -> list[float]:
        start, stop = sequences.bounds(which)
        return session.capture(label).logprob.rows(start, stop).tolist()

    np.testing.assert_equal(row("trainer/recorded", first), [NAN, NAN, -1, NAN, -3])
    np.testing.assert_equal(
        row("rollout/recorded", second), [NAN] * 3 + [-math.inf, -2]
    )
    start, stop = sequences.bounds(first)
    assert sequences.mask[start:stop].tolist() == [1, 1, 1, 0, 1]
    pair = logdrift.make_pair(session, "trainer", "rollout")
    assert pair.nan_a.sum() == 1, "a NaN that counts was computed"
    rollout = session.capture("rollout/recorded")
    assert rollout.versions is not None
    places = rollout.versions.whole()
    assert rollout.version_names[places[sequences.offsets[second]]] == "5"


class Tensor:
    """As a tensor of torch is used: on another device, with a gradient, in a dtype that
    NumPy does not know.
    """

    def __init__(self, values: Any, state: str = "gradient") -> None:
        self.values, self.state = values, state

    def _as(self, state: str, after: str) -> Tensor:
        assert self.state == after, (self.state, after)
        return Tensor(self.values, state)

    def detach(self) -> Tensor:
        return self._as("bfloat16", "gradient")

    def float(self) -> Tensor:
        return self._as("device", "bfloat16")

    def cpu(self) -> Tensor:
        return Tensor(self.values, "here")

    def numpy(self) -> np.ndarray:
        assert self.state == "here"
        return np.asarray(self.values)


def test_tensors_are_taken_by_what_they_can_do(tmp_path: Path) -> None:
    made = batch(2, seed=0)
    tensors = {name: Tensor(values) for name, values in made.items()}
    with logdrift.record(tmp_path / "a") as recorder:
        added(recorder, tensors)  # type: ignore[arg-type]
    with logdrift.record(tmp_path / "b", seed=0) as recorder:
        added(recorder, {name: values.tolist() for name, values in made.items()})  # type: ignore[misc]
    a = logdrift.open_session(tmp_path / "a")
    b = logdrift.open_session(tmp_path / "b")
    for session in (a, b):
        pair = logdrift.make_pair(session, "trainer", "rollout")
        size = np.abs(made["trainer"] - made["rollout"]).mean()
        assert pair.metrics().errors.mae == pytest.approx(size, rel=1e-5)


def test_nothing_of_torch_or_a_screen_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys, logdrift\n"
        "assert 'numpy' not in sys.modules\n"
        "with logdrift.record(sys.argv[1]) as r:\n"
        "    r.add([[1]], [[2]], {'trainer': [[-1]], 'rollout': [[-1]]}, step=1)\n"
        "    r.metrics('verl')\n"
        "heavy = {'torch', 'textual', 'transformers', 'plotext', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


# ---- numbers


@pytest.mark.parametrize("framework", ["logdrift", *FRAMEWORKS])
def test_numbers_are_those_of_the_session(framework: str, tmp_path: Path) -> None:
    """Of the latest step alone, whole, by every framework's names."""
    with logdrift.record(tmp_path / "run") as recorder:
        added(recorder, batch(4, seed=9, size=5), step=1)
        for seed in range(3):
            added(recorder, batch(4, seed=seed), step=2)
        numbers = recorder.metrics(framework)
    with logdrift.record(tmp_path / "step") as recorder:
        for seed in range(3):
            added(recorder, batch(4, seed=seed), step=2)
    session = logdrift.open_session(tmp_path / "step")
    found = logdrift.make_pair(session, "trainer", "rollout").metrics()
    from logdrift.core.compare.metric import METRICS

    names = {path: path for path in numbers}
    if framework != "logdrift":
        names = {row.name: row.metric for row in names_of(framework)}
        assert set(names) == set(numbers)
    for name, path in names.items():
        # Another order of the sequences: sums differ in their last digits.
        expected = METRICS[path].read(found)
        assert numbers[name] == pytest.approx(expected, rel=1e-6), name
    assert json.loads(json.dumps(numbers)) == numbers


def test_there_are_no_numbers_of_one_side(tmp_path: Path) -> None:
    with logdrift.record(tmp_path / "run") as recorder:
        recorder.add([[1]], [[2]], {"rollout": [[-1.0]]})
        assert recorder.metrics() == {}
        with refused("'nobody' is unknown"):
            recorder.metrics("nobody")


# ---- the size


def test_the_sample_is_uniform_and_the_worst_are_kept(tmp_path: Path) -> None:
    """One sequence in ten is bad; the sample has them in that share, and the session
    ``worst`` has the very worst.
    """
    rows = 2000
    sizes = np.where(np.arange(rows) % 10 == 0, 2.0, 0.02)
    made = batch(rows, seed=3, size=sizes)
    made["prompts"][:, 0] = sizes > 1
    with logdrift.record(
        tmp_path / "run", max_tokens=4000, worst_tokens=80, part_tokens=1000, seed=1
    ) as recorder:
        for start in range(0, rows, 50):
            some = slice(start, start + 50)
            added(recorder, {name: values[some] for name, values in made.items()})
    session = logdrift.open_session(tmp_path / "run")
    sequences = session.sequences
    assert 1000 < sequences.tokens <= 4000
    bad = sequences.token_ids[sequences.offsets[:-1]] == 1
    # Binomial: 4 standard deviations around a share of 0.1.
    assert abs(bad.mean() - 0.1) < 4 * math.sqrt(0.09 / len(bad))
    (note,) = session.manifest.notes
    assert f"{len(sequences):,} of 2,000 recorded sequences, a uniform sample" in note
    level = round(math.log2(rows / len(sequences)))
    assert f"1 in {2**level:,}," in note
    listed = {part.file for part in session.manifest.sequences.parts}
    there = {
        f"sequences/{path.name}" for path in (tmp_path / "run/sequences").iterdir()
    }
    assert listed == there, "what fell out of the sample is deleted"

    worst = logdrift.open_session(tmp_path / "run" / "worst")
    gaps = np.abs(made["trainer"] - made["rollout"]).max(axis=1)
    order = np.argsort(-gaps)[: len(worst.sequences)]
    expected = [
        np.concatenate([made["prompts"][i], made["completions"][i]]) for i in order
    ]
    assert len(expected) == 10
    kept = [worst.sequences.ids(i).tolist() for i in range(10)]
    assert kept == [ids.tolist() for ids in expected]


def test_all_processes_have_one_sample(tmp_path: Path) -> None:
    """A process that keeps more than another one holds back what would make its
    sequences likelier.
    """
    folder = tmp_path / "run"
    with logdrift.record(folder, rank=0, max_tokens=4000, part_tokens=500) as wide:
        for seed in range(10):
            added(wide, batch(40, seed=seed))
        wide.flush()
        with logdrift.record(folder, rank=1, max_tokens=500, part_tokens=500) as narrow:
            for seed in range(10, 20):
                added(narrow, batch(40, seed=seed))
        session = logdrift.open_session(folder)
    lists = [json.loads(path.read_text()) for path in (folder / "streams").iterdir()]
    levels = {one["level"] for one in lists}
    assert len(levels) == 2
    kept = 0
    for one in lists:
        sample = [part for part in one["parts"] if part["level"] >= max(levels)]
        kept += sum(part["sequences"]["sequences"] for part in sample)
    assert len(session.sequences) == kept
    assert kept < sum(one["seen"] for one in lists) / 4


# ---- processes that end

WORKER = """
import sys
import numpy as np
import logdrift
from tests.test_record import added, batch

folder, rank = sys.argv[1], int(sys.argv[2])
recorder = logdrift.record(folder, rank=rank, part_tokens=64)
step = 0
while True:
    added(recorder, batch(4, seed=1000 * rank + step), step=step)
    step += 1
    if step % 5 == 0:
        recorder.flush()
        print(4 * step, flush=True)
"""


def started(folder: Path, rank: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), str(rank)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=os.environ
    )


def test_killed_processes_lose_what_was_in_flight_alone(tmp_path: Path) -> None:
    """Three at once; the session opens while they write, after one was killed, and
    after all were.
    """
    folder = tmp_path / "run"
    workers = [started(folder, rank) for rank in range(3)]
    flushed = [0, 0, 0]
    try:
        for round_ in range(4):
            for rank, worker in enumerate(workers):
                assert worker.stdout is not None
                if worker.poll() is None:
                    flushed[rank] = int(worker.stdout.readline())
            session = logdrift.open_session(folder)
            assert len(session.sequences) >= sum(flushed)
            session.verify("trainer/recorded", "rollout/recorded")
            if round_ == 1:
                workers[1].send_signal(signal.SIGKILL)
                workers[1].wait()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    session = logdrift.open_session(folder)
    pair = logdrift.make_pair(session, "trainer", "rollout")
    ranks = {0: 0, 1: 0, 2: 0}
    for i in range(len(session.sequences)):
        ids = session.sequences.ids(i)[:3].tolist()
        for rank in ranks:
            ranks[rank] += _is_of(ids, rank, session.sequences.steps[i])
    assert all(ranks[rank] >= flushed[rank] for rank in ranks), (ranks, flushed)
    assert 0.01 < pair.metrics().errors.mae < 0.03
    again = tmp_path / "copy"
    import_session("session", [str(folder)], again)
    assert len(logdrift.open_session(again).sequences) == len(session.sequences)


def _is_of(prompt: list[int], rank: int, step: int) -> bool:
    made = batch(4, seed=1000 * rank + int(step))
    return prompt in made["prompts"].tolist()


DYING = """
import os, signal, sys
import logdrift
from logdrift.core.session import below
from tests.test_record import added, batch

left = int(sys.argv[2])
for name in ("_rename", "write_new"):
    real = getattr(below, name)
    def dying(*args, real=real):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)
    setattr(below, name, dying)
recorder = logdrift.record(sys.argv[1], part_tokens=64, max_tokens=200, seed=0)
for step in range(12):
    added(recorder, batch(4, seed=step), step=step)
    recorder.flush()
"""


@pytest.mark.parametrize("writes", [1, 2, 4, 7, 11, 16, 25, 40, 61])
def test_a_session_opens_wherever_its_writer_was_killed(
    writes: int, tmp_path: Path
) -> None:
    """At the first writes, between the files of a part, before a list, while the sample
    is thinned.
    """
    folder = tmp_path / "run"
    command = [sys.executable, "-c", DYING, str(folder), str(writes)]
    run = subprocess.run(command, cwd=REPOSITORY, timeout=60)
    assert run.returncode == -signal.SIGKILL
    if (folder / "session.json").exists():
        session = logdrift.open_session(folder)
        session.verify(*[info.label for info in session.captures])
    with logdrift.record(folder) as recorder:
        added(recorder, batch(4, seed=99), step=99)
    session = logdrift.open_session(folder)
    session.verify("trainer/recorded", "rollout/recorded")


# ---- what goes wrong


def test_a_full_disk_ends_the_recording_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logdrift.record(tmp_path / "run") as recorder:
        added(recorder, batch(2, seed=0))
        recorder.flush()

        def full(*args: Any, **others: Any) -> None:
            raise CannotWrite("cannot write: No space left on device")

        monkeypatch.setattr(parts, "write_part", full)
        added(recorder, batch(2, seed=1))
        with pytest.warns(UserWarning, match="stopped recording: .*No space left"):
            recorder.flush()
        assert isinstance(recorder.problem, CannotWrite)
        added(recorder, batch(2, seed=2))
    assert len(logdrift.open_session(tmp_path / "run").sequences) == 2


def test_what_the_disk_cannot_take_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    real = parts.write_part

    def slow(*args: Any, **others: Any) -> Any:
        go.wait()
        return real(*args, **others)

    monkeypatch.setattr(parts, "write_part", slow)
    monkeypatch.setattr(stream, "MOST_BACKLOG", 30)
    with logdrift.record(tmp_path / "run", part_tokens=1) as recorder:
        for seed in range(9):
            added(recorder, batch(2, seed=seed))
        go.set()
    session = logdrift.open_session(tmp_path / "run")
    (note,) = session.manifest.notes
    lost = int(note.split()[0])
    assert lost > 0
    assert lost + len(session.sequences) == 18
    assert "disk was slower" in note


def test_a_fault_of_ours_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from logdrift.core import errors

    with logdrift.record(tmp_path / "run") as recorder:
        monkeypatch.setattr(parts, "write_part", None)
        added(recorder, batch(2, seed=0))
        with pytest.warns(UserWarning, match="unexpected TypeError"):
            recorder.flush()
    errors.unforeseen.clear()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"completion_ids": [[1, 2], [3]]}, "entries in row 1"),
        ({"mask": [[1, 1]]}, "mask has 1 rows, completion_ids 2"),
        ({"prompt_mask": [[1], [1]]}, "prompt_mask has 1 entries in row 0"),
        ({"rewards": [1.0]}, "rewards has 1 entries for 2 rows"),
        ({"versions": ["a"]}, "versions has 1 entries for 2 rows"),
        ({"logprobs": {}}, "logprobs is empty"),
        ({"logprobs": {"trainer": "x", "rollout": 1}}, "not a tensor, array or list"),
        ({"logprobs": {"a b": [[-1, -1], [-1, -1]]}}, "a b"),
        ({"completion_ids": np.ones(3)}, "1 dimensions"),
    ],
)
def test_what_does_not_fit_is_said_at_once(
    changes: Fields, said: str, tmp_path: Path
) -> None:
    two_rows = [[-1, -1], [-1, -1]]
    sides = {"trainer": two_rows, "rollout": two_rows}
    arguments = {
        "prompt_ids": [[1, 2], [3, 4]],
        "completion_ids": [[1, 2], [3, 4]],
        "logprobs": sides,
    }
    with logdrift.record(tmp_path / "run") as recorder:
        with refused(said):
            recorder.add(**{**arguments, **changes})
        recorder.add(**arguments)
    assert len(logdrift.open_session(tmp_path / "run").sequences) == 2


def test_sides_stay_the_same_and_a_closed_recorder_says_so(tmp_path: Path) -> None:
    one_token = {"trainer": [[-1]], "rollout": [[-1]]}
    recorder = logdrift.record(tmp_path / "run")
    recorder.add([[1]], [[2]], one_token)
    with refused("of rollout, before of trainer, rollout"):
        recorder.add([[1]], [[2]], {"rollout": [[-1]]})
    recorder.close()
    recorder.close()
    with refused("closed"):
        recorder.add([[1]], [[2]], one_token)


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with refused("is no recording"):
        logdrift.record(tmp_path)
    with refused("is no recording"):
        logdrift.record(tmp_path / "mine.txt")
    found = [path.name for path in tmp_path.iterdir()]
    assert found == ["mine.txt"]


@pytest.mark.parametrize(("text", "name"), [("3", "rank-00003-"), ("x", "rank-00000-")])
def test_the_launcher_names_the_process(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", text)
    for _ in range(2):
        with logdrift.record(tmp_path / "run") as recorder:
            added(recorder, batch(2, seed=0))
    files = sorted(path.name for path in (tmp_path / "run" / "streams").iterdir())
    found = [file[:14] for file in files]
    assert found == [f"{name}000", f"{name}001"]
    assert len(logdrift.open_session(tmp_path / "run").sequences) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ('{"level": 0, "seen": 0, "captures": []}', "parts is missing"),
        ('{"level": -1, "seen": 0, "captures": [], "parts": []}', "level"),
    ],
)
def test_a_damaged_list_is_named(text: str, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with logdrift.record(folder) as recorder:
        added(recorder, batch(2, seed=0))
    (file,) = (folder / "streams").iterdir()
    file.write_text(text)
    with refused(said) as error:
        logdrift.open_session(folder)
    assert file.name in str(error.value)


# ---- the documents' examples


def _snippets() -> Fields:
    """The functions of docs/python.md, by name."""
    text = (REPOSITORY / "docs" / "python.md").read_text("utf-8")
    names: Fields = {}
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if program.startswith("def record_"):
            exec(program, names)
    return names


class Batch:
    """What the snippets read of verl's DataProto."""

    def __init__(self, batch: dict[str, np.ndarray]) -> None:
        self.batch = batch


PROMPT = [7, 8]
COMPLETION = [4, 5, 6]
TRAINER = [-1.0, -2.0, -3.0]
ROLLOUT = [-1.5, -2.5, -3.5]
MASK = [1, 0, 1]


def verl() -> Batch:
    """Prompts padded on the left, responses on the right."""
    rows = {
        "prompts": [[0, *PROMPT]],
        "responses": [[*COMPLETION, 0]],
        "attention_mask": [[0, 1, 1, 1, 1, 1, 0]],
        "response_mask": [[*MASK, 0]],
        "old_log_probs": [[*TRAINER, 0.0]],
        "rollout_log_probs": [[*ROLLOUT, 0.0]],
        "token_level_scores": [[0.0, 0.0, 0.25, 0.0]],
    }
    return Batch({name: np.array(values) for name, values in rows.items()})


def slime() -> Fields:
    """Lists of one array for each sample of this rank; ``raw_reward`` is that of all
    ranks.
    """
    return {
        "tokens": [np.array([*PROMPT, *COMPLETION])],
        "response_lengths": [3],
        "loss_masks": [np.array(MASK)],
        "log_probs": [np.array(TRAINER)],
        "rollout_log_probs": [np.array(ROLLOUT)],
        "rewards": [0.25],
        "raw_reward": [1.0, 0.0, 0.5],
    }


def nemo_rl() -> Fields:
    """Whole sequences, padded on the right, with 0.0 where nothing is trained on."""
    return {
        "input_ids": np.array([[*PROMPT, *COMPLETION, 0]]),
        "input_lengths": np.array([5]),
        "token_mask": np.array([[0, 0, *MASK, 0]]),
        "prev_logprobs": np.array([[0.0, 0.0, *TRAINER, 0.0]]),
        "generation_logprobs": np.array([[0.0, 0.0, *ROLLOUT, 0.0]]),
    }


@pytest.mark.parametrize("made", [verl, slime, nemo_rl])
def test_a_snippet_records_what_its_framework_has(made: Any, tmp_path: Path) -> None:
    """On a batch of the framework's own structure."""
    record = _snippets()[f"record_{made.__name__}"]
    with logdrift.record(tmp_path / "run") as recorder:
        record(recorder, made(), 3)
    session = logdrift.open_session(tmp_path / "run")
    sequences = session.sequences
    assert sequences.ids(0).tolist() == [*PROMPT, *COMPLETION]
    assert sequences.prompt_lengths.tolist() == [2]
    assert sequences.steps is not None
    assert sequences.steps.tolist() == [3]
    if made is nemo_rl:
        assert sequences.rewards is None
    else:
        assert sequences.rewards is not None
        assert sequences.rewards.tolist() == [0.25]
    for label, values in (("trainer/recorded", TRAINER), ("rollout/recorded", ROLLOUT)):
        logprob = session.capture(label).logprob.whole()
        expected = [NAN, NAN, values[0], NAN, values[2]]
        np.testing.assert_equal(logprob.tolist(), expected)


def test_a_sample_of_slime_may_have_no_response(tmp_path: Path) -> None:
    """One that was stopped before its first token."""
    data = slime()
    nothing = np.array([])
    data["tokens"].append(np.array(PROMPT))
    data["response_lengths"].append(0)
    data["rewards"].append(0.0)
    for name in ("loss_masks", "log_probs", "rollout_log_probs"):
        data[name].append(nothing)
    with logdrift.record(tmp_path / "run") as recorder:
        _snippets()["record_slime"](recorder, data, 3)
    sequences = logdrift.open_session(tmp_path / "run").sequences
    found = sorted(sequences.ids(number).tolist() for number in range(len(sequences)))
    assert found == [PROMPT, [*PROMPT, *COMPLETION]]


@pytest.mark.engine
def test_the_example_trains_and_records(
    transformers_python: Path, small_model: Path, tmp_path: Path
) -> None:
    """Two steps of the loop on the small model."""
    out = tmp_path / "grpo"
    command = [str(transformers_python), str(REPOSITORY / "examples" / "grpo.py")]
    command += ["--model", str(small_model), "--out", str(out)]
    command += ["--steps", "2", "--tokens", "6"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("training/rollout_probs_diff_mean") == 2
    session = logdrift.open_session(out)
    assert len(session.sequences) == 2 * 2 * 2
    assert session.sequences.steps is not None
    assert set(session.sequences.steps.tolist()) == {0, 1}
    found = logdrift.make_pair(session, "trainer", "rollout").metrics()
    assert found.tokens == 8 * 6
    # bfloat16 against float32: 0.005 to 0.06 is usual (core/compare/usual.py).
    assert 0.002 < found.errors.mae < 0.1
    known = [session.pieces.get(i) for i in session.sequences.ids(0).tolist()]
    assert all(known), "the text of ids comes from the model's folder"


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("session.json", {"sequences": "x"}, "sequences is 'x': an object is expected"),
        ("session.json", {"notes": 7}, "notes is 7: a list is expected"),
        ("stream", {"captures": [{"label": {}}]}, "label is an object: a text is"),
        ("stream", {"captures": [{}]}, "label is missing"),
    ],
)
def test_what_is_joined_is_checked_first(
    tmp_path: Path, file: str, change: Fields, said: str
) -> None:
    with logdrift.record(tmp_path / "run", model="tiny") as recorder:
        added(recorder, batch(2, seed=0))
    path = tmp_path / "run" / file
    if file == "stream":
        (path,) = (tmp_path / "run" / "streams").glob("*.json")
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **change}))
    with refused(said):
        logdrift.open_session(tmp_path / "run")


@pytest.mark.parametrize("lost", [1, 2])
def test_parts_whose_list_is_gone_are_told_of(lost: int, tmp_path: Path) -> None:
    for _ in range(2):
        with logdrift.record(tmp_path / "run") as recorder:
            added(recorder, batch(4, seed=1))
    assert logdrift.open_session(tmp_path / "run").manifest.notes == ()
    lists = sorted((tmp_path / "run" / "streams").iterdir())
    for file in lists[:lost]:
        file.unlink()
    notes = logdrift.open_session(tmp_path / "run").manifest.notes
    assert len(notes) == lost
    for file, note in zip(lists, notes, strict=False):
        assert f"what {file.stem} recorded is not counted" in note
