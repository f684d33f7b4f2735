"""NeMo-RL's logs of steps: every number at its token, placeholders as no scores, and bad
lines in one line each.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session
from tests.common import NAN, Fields, refused

Breaks = Callable[[Fields], Any]
"""Makes a line a broken one."""
Notes = tuple[str, ...]
TRAINER = "trainer/prefill"
ENGINE = "inference/recorded"
PADDED = 9
"""Entries of each list: that of the longest sample of the batch."""


def sample(*masks: int, seed: int = 0, **other: Any) -> Fields:
    """A line as `Logger.log_batched_dict_as_jsonl` writes it: a microbatch of one."""
    draw = np.random.default_rng(seed)
    length = len(masks)
    missing = PADDED - length
    filler = [0] * missing
    ids = range(11, 11 + length)
    flags = np.asarray(masks)
    drawn = -draw.random(length)
    trainer = drawn.round(3)
    # What is masked has 0.0, and so has the first token of the trainer's.
    engine = (trainer - 0.25) * flags
    advantages = flags * 0.5
    trainer[0] = 0.0
    return {
        "content": [["a question", "an answer"]],
        "rewards": [1.0],
        "input_lengths": [length],
        "token_ids": [[*ids, *filler]],
        "token_loss_mask": [[*masks, *filler]],
        "sample_loss_mask": [1.0],
        "advantages": [[*advantages.tolist(), *filler]],
        "generation_logprobs": [[*engine.tolist(), *filler]],
        "prev_logprobs": [[*trainer.tolist(), *filler]],
        "idx": 0,
        **other,
    }


def written(folder: Path, *lines: Fields, step: int = 7) -> Path:
    path = folder / f"train_data_step{step}.jsonl"
    texts = map(json.dumps, lines)
    text = "\n".join(texts)
    path.write_text(f"{text}\n")
    return path


def import_logs(*paths: Path, out: Path, **options: Any) -> Notes:
    files = list(map(str, paths))
    return import_session("nemo-rl", files, out, **options)


def imported(path: Path, out: Path) -> tuple[Session, Notes]:
    assert guess_format(path) == "nemo-rl"
    notes = import_logs(path, out=out)
    session = open_session(out)
    return session, notes


def tell(notes: Notes, words: str) -> bool:
    """A note has these words."""
    found = [words in note for note in notes]
    return any(found)


def column(session: Session, label: str) -> np.ndarray:
    found: np.ndarray = session.capture(label).logprob.whole()
    return found


def scored(session: Session, label: str) -> list[bool]:
    """Whether each token has a score."""
    is_number = ~np.isnan(column(session, label))
    flags: list[bool] = is_number.tolist()
    return flags


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_whole_sample_comes_back_at_its_tokens(tmp_path: Path, out: Path) -> None:
    line = sample(0, 0, 1, 1, 1)
    path = written(tmp_path, line)
    session, _ = imported(path, out)
    sequences = session.sequences
    assert sequences.token_ids.tolist() == [11, 12, 13, 14, 15]
    assert sequences.prompt_lengths.tolist() == [2]
    assert sequences.mask.tolist() == [1] * 5
    (engine,) = line["generation_logprobs"]
    scores = [NAN, NAN, *engine[2:5]]
    wanted = np.asarray(scores, np.float32)
    np.testing.assert_array_equal(column(session, ENGINE), wanted)
    (trainer,) = line["prev_logprobs"]
    scores = [NAN, *trainer[1:5]]
    wanted = np.asarray(scores, np.float32)
    np.testing.assert_array_equal(column(session, TRAINER), wanted)


def test_what_a_line_tells_beside_its_numbers(tmp_path: Path, out: Path) -> None:
    path = written(tmp_path, sample(0, 1))
    session, notes = imported(path, out)
    roles = {info.label: info.role for info in session.captures}
    assert roles == {TRAINER: "trainer", ENGINE: "rollout"}
    assert path.name in session.manifest.title
    assert tell(notes, "1 sequence has advantages: not kept")
    rewards = session.sequences.rewards
    assert rewards is not None
    assert rewards.tolist() == [1.0]
    steps = session.sequences.steps
    assert steps is not None
    assert steps.tolist() == [7]


def test_the_step_names_the_weights_of_the_trainer(tmp_path: Path, out: Path) -> None:
    line = sample(0, 1, 1)
    first = written(tmp_path, line, step=7)
    later = written(tmp_path, line, step=12)
    import_logs(first, later, out=out)
    session = open_session(out)
    facts = {info.label: info.facts for info in session.captures}
    trainer = facts[TRAINER]
    assert trainer is not None
    assert trainer.weight_version == "7,12"
    engine = facts[ENGINE]
    assert engine is None or engine.weight_version is None


def test_turns_of_an_environment_are_shown_and_count_in_no_number(
    tmp_path: Path, out: Path
) -> None:
    masks = [0, 0, 1, 1, 0, 0, 1, 1]
    path = written(tmp_path, sample(*masks))
    session, _ = imported(path, out)
    sequences = session.sequences
    assert sequences.prompt_lengths.tolist() == [2]
    assert sequences.mask.tolist() == [1, 1, 1, 1, 0, 0, 1, 1]
    assert scored(session, ENGINE) == list(map(bool, masks))
    assert scored(session, TRAINER) == [False] + [True] * 7


def test_a_sample_out_of_the_loss_counts_in_no_number(
    tmp_path: Path, out: Path
) -> None:
    trained = sample(0, 1, 1)
    left_out = sample(0, 1, 1, sample_loss_mask=[0.0])
    path = written(tmp_path, trained, left_out)
    session, notes = imported(path, out)
    mask = session.sequences.mask
    assert mask.tolist() == [1] * 3 + [0] * 3
    assert tell(notes, "1 sequence has sample_loss_mask 0")


@pytest.mark.parametrize("filler", [0.0, 1.0, -9999.0])
def test_placeholders_of_masked_tokens_are_no_scores(
    filler: float, tmp_path: Path, out: Path
) -> None:
    line = sample(0, 0, 1, 1)
    for key in ("generation_logprobs", "prev_logprobs"):
        (numbers,) = line[key]
        numbers[:2] = [filler, filler]
    path = written(tmp_path, line)
    session, _ = imported(path, out)
    for label in (ENGINE, TRAINER):
        assert scored(session, label) == [False, False, True, True]


def test_several_samples_of_one_microbatch_are_several_sequences(
    tmp_path: Path,
) -> None:
    one = sample(0, 1, 1)
    two = sample(0, 0, 1, seed=1)
    both = dict(one)
    for key, value in two.items():
        if isinstance(value, list):
            both[key] = one[key] + value
    path = written(tmp_path, one, two)
    apart, _ = imported(path, tmp_path / "apart")
    path = written(tmp_path, both)
    joined, _ = imported(path, tmp_path / "joined")
    for label in (ENGINE, TRAINER):
        wanted = column(apart, label)
        np.testing.assert_array_equal(column(joined, label), wanted)


def without(key: str) -> Breaks:
    def breaks(line: Fields) -> None:
        del line[key]

    return breaks


def put(**fields: Any) -> Breaks:
    def breaks(line: Fields) -> None:
        line.update(fields)

    return breaks


PROBABILITIES = [0.9] * PADDED
TWOS = [2] * PADDED
BELOW_0 = [-1] * PADDED


@pytest.mark.parametrize(
    ("breaks", "wanted"),
    [
        pytest.param(
            without("token_ids"),
            r"token_ids is missing.*log_data\[\"token_ids\"\]",
            id="no ids",
        ),
        pytest.param(
            without("token_loss_mask"),
            "token_loss_mask is missing",
            id="no mask",
        ),
        pytest.param(
            without("prev_logprobs"),
            "prev_logprobs is missing",
            id="no numbers",
        ),
        pytest.param(
            put(input_lengths=[99]),
            "input_lengths is 99",
            id="longer than its list",
        ),
        pytest.param(
            put(input_lengths=[0]),
            "input_lengths is 0",
            id="of no length",
        ),
        pytest.param(
            put(generation_logprobs=[[0.0, -1.0]]),
            "generation_logprobs has 2 entries, token_ids 9",
            id="a list too short",
        ),
        pytest.param(
            put(prev_logprobs=[[], []]),
            "is of 2 samples",
            id="two samples of one",
        ),
        pytest.param(
            put(token_loss_mask=[TWOS]),
            "token_loss_mask holds",
            id="a flag of two",
        ),
        pytest.param(
            put(prev_logprobs=[PROBABILITIES]),
            r"prev_logprobs\[\d\] is 0.9: a log-probability is at most 0",
            id="a probability",
        ),
        pytest.param(
            put(token_ids=[BELOW_0]),
            r"token_ids\[0\] is -1",
            id="an id below 0",
        ),
        pytest.param(
            put(prev_logprobs=[-1.0]),
            "not a list in a list",
            id="a list not in a list",
        ),
    ],
)
def test_a_broken_line_is_named(
    breaks: Breaks, wanted: str, tmp_path: Path, out: Path
) -> None:
    good = sample(0, 0, 1, 1)
    bad = copy.deepcopy(good)
    breaks(bad)
    path = written(tmp_path, good, bad, good)
    with refused(wanted) as caught:
        import_logs(path, out=out)
    error = caught.value
    assert error.file == str(path)
    assert error.line == 2
    assert not out.exists()
    notes = import_logs(path, out=out, skip_bad=True)
    session = open_session(out)
    assert len(session.sequences) == 2
    assert tell(notes, "left out 1 bad line")
