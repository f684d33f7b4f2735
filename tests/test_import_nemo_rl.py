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

from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session

Line = dict[str, Any]
NAN = float("nan")
PADDED = 9
"""Entries of each list: that of the longest sample of the batch."""


def sample(masks: list[int], seed: int = 0, **other: Any) -> Line:
    """A line as `Logger.log_batched_dict_as_jsonl` writes it: a microbatch of one."""
    draw = np.random.default_rng(seed)
    length = len(masks)
    filler = [0] * (PADDED - length)
    trainer = [-round(value, 3) for value in draw.random(length).tolist()]
    engine = [
        value - 0.25 if on else 0.0 for value, on in zip(trainer, masks, strict=True)
    ]
    return {
        "content": [["a question", "an answer"]],
        "rewards": [1.0],
        "input_lengths": [length],
        "token_ids": [[*range(11, 11 + length), *filler]],
        "token_loss_mask": [[*masks, *filler]],
        "sample_loss_mask": [1.0],
        "advantages": [[0.5 * on for on in masks] + filler],
        "generation_logprobs": [[*engine, *filler]],
        "prev_logprobs": [[0.0, *trainer[1:], *filler]],
        "idx": 0,
        **other,
    }


def written(folder: Path, *lines: Line, step: int = 7) -> Path:
    path = folder / f"train_data_step{step}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def imported(path: Path, out: Path) -> tuple[Session, tuple[str, ...]]:
    assert guess_format(path) == "nemo-rl"
    notes = import_session("nemo-rl", [str(path)], out)
    return open_session(out), notes


def column(session: Session, label: str) -> np.ndarray:
    found: np.ndarray = session.capture(label).logprob.whole()
    return found


def test_a_whole_sample_comes_back_at_its_tokens(tmp_path: Path) -> None:
    line = sample([0, 0, 1, 1, 1])
    session, notes = imported(written(tmp_path, line), tmp_path / "out")
    assert session.sequences.token_ids.tolist() == [11, 12, 13, 14, 15]
    assert session.sequences.prompt_lengths.tolist() == [2]
    assert session.sequences.mask.tolist() == [1] * 5
    engine = line["generation_logprobs"][0][2:5]
    np.testing.assert_array_equal(
        column(session, "inference/recorded"),
        np.asarray([NAN, NAN, *engine], np.float32),
    )
    trainer = line["prev_logprobs"][0][1:5]
    np.testing.assert_array_equal(
        column(session, "trainer/prefill"), np.asarray([NAN, *trainer], np.float32)
    )
    roles = {info.label: info.role for info in session.captures}
    assert roles == {"trainer/prefill": "trainer", "inference/recorded": "rollout"}
    assert "train_data_step7.jsonl" in session.manifest.title
    assert any("1 sequence has advantages: not kept" in note for note in notes)
    sequences = session.sequences
    assert sequences.rewards is not None and sequences.rewards.tolist() == [1.0]
    assert sequences.steps is not None and sequences.steps.tolist() == [7]


def test_the_step_names_the_weights_of_the_trainer(tmp_path: Path) -> None:
    files = [written(tmp_path, sample([0, 1, 1]), step=step) for step in (7, 12)]
    import_session("nemo-rl", [str(file) for file in files], tmp_path / "out")
    session = open_session(tmp_path / "out")
    facts = {info.label: info.facts for info in session.captures}
    trainer = facts["trainer/prefill"]
    assert trainer is not None and trainer.weight_version == "7,12"
    engine = facts["inference/recorded"]
    assert engine is None or engine.weight_version is None


def test_turns_of_an_environment_are_shown_and_count_in_no_number(
    tmp_path: Path,
) -> None:
    masks = [0, 0, 1, 1, 0, 0, 1, 1]
    session, _ = imported(written(tmp_path, sample(masks)), tmp_path / "out")
    assert session.sequences.prompt_lengths.tolist() == [2]
    assert session.sequences.mask.tolist() == [1, 1, 1, 1, 0, 0, 1, 1]
    scored = ~np.isnan(column(session, "inference/recorded"))
    assert scored.tolist() == [bool(on) for on in masks]
    trained = ~np.isnan(column(session, "trainer/prefill"))
    assert trained.tolist() == [False] + [True] * 7


def test_a_sample_out_of_the_loss_counts_in_no_number(tmp_path: Path) -> None:
    lines = [sample([0, 1, 1]), sample([0, 1, 1], sample_loss_mask=[0.0])]
    session, notes = imported(written(tmp_path, *lines), tmp_path / "out")
    assert session.sequences.mask.tolist() == [1, 1, 1, 0, 0, 0]
    assert any("1 sequence has sample_loss_mask 0" in note for note in notes)


@pytest.mark.parametrize("filler", [0.0, 1.0, -9999.0])
def test_placeholders_of_masked_tokens_are_no_scores(
    filler: float, tmp_path: Path
) -> None:
    line = sample([0, 0, 1, 1])
    for key in ("generation_logprobs", "prev_logprobs"):
        line[key][0][:2] = [filler, filler]
    session, _ = imported(written(tmp_path, line), tmp_path / "out")
    for label in ("inference/recorded", "trainer/prefill"):
        scored = ~np.isnan(column(session, label))
        assert scored.tolist() == [False, False, True, True]


def test_several_samples_of_one_microbatch_are_several_sequences(
    tmp_path: Path,
) -> None:
    one, two = sample([0, 1, 1]), sample([0, 0, 1], seed=1)
    both = {
        key: value + two[key] if isinstance(value, list) else value
        for key, value in one.items()
    }
    apart, _ = imported(written(tmp_path, one, two), tmp_path / "apart")
    joined, _ = imported(written(tmp_path, both), tmp_path / "joined")
    for label in ("inference/recorded", "trainer/prefill"):
        np.testing.assert_array_equal(column(apart, label), column(joined, label))


def without(key: str) -> Callable[[Line], None]:
    return lambda line: line.pop(key)


def put(key: str, value: Any) -> Callable[[Line], None]:
    return lambda line: line.update({key: value})


BROKEN: dict[str, tuple[Callable[[Line], Any], str]] = {
    "no ids": (
        without("token_ids"),
        r"token_ids is missing.*log_data\[\"token_ids\"\]",
    ),
    "no mask": (without("token_loss_mask"), "token_loss_mask is missing"),
    "no numbers": (without("prev_logprobs"), "prev_logprobs is missing"),
    "longer than its list": (put("input_lengths", [99]), "input_lengths is 99"),
    "of no length": (put("input_lengths", [0]), "input_lengths is 0"),
    "a list too short": (
        put("generation_logprobs", [[0.0, -1.0]]),
        "generation_logprobs has 2 entries, token_ids 9",
    ),
    "two samples of one": (put("prev_logprobs", [[], []]), "is of 2 samples"),
    "a flag of two": (put("token_loss_mask", [[2] * PADDED]), "token_loss_mask holds"),
    "a probability": (
        put("prev_logprobs", [[0.9] * PADDED]),
        r"prev_logprobs\[\d\] is 0.9: a log-probability is at most 0",
    ),
    "an id below 0": (put("token_ids", [[-1] * PADDED]), r"token_ids\[0\] is -1"),
    "a list not in a list": (put("prev_logprobs", [-1.0]), "not a list in a list"),
}


@pytest.mark.parametrize(("breaks", "wanted"), BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_named(
    breaks: Callable[[Line], Any], wanted: str, tmp_path: Path
) -> None:
    good = sample([0, 0, 1, 1])
    bad = copy.deepcopy(good)
    breaks(bad)
    path = written(tmp_path, good, bad, good)
    with pytest.raises(InputError, match=wanted) as caught:
        import_session("nemo-rl", [str(path)], tmp_path / "out")
    assert (caught.value.file, caught.value.line) == (str(path), 2)
    assert not (tmp_path / "out").exists()
    notes = import_session("nemo-rl", [str(path)], tmp_path / "out", skip_bad=True)
    assert len(open_session(tmp_path / "out").sequences) == 2
    assert any("left out 1 bad line" in note for note in notes)
