"""Samples of slime's and miles' dumps as plain data: what is a score, which weights
sampled it, and how the slices of ranks are put together. No torch is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from logdrift.core.errors import InputError, Place
from logdrift.core.session.importers.cp_slices import SlicedSequence
from logdrift.core.session.importers.records import ImportContext, Record
from logdrift.core.session.importers.samples import record_of
from logdrift.core.worker import torch_dump

PLACE = Place("3.pt, samples [0]", file="3.pt")
BOTH = ("log_probs", "rollout_log_probs")


def sample(**changes: Any) -> dict[str, Any]:
    """Two turns with the output of a tool between them."""
    return {
        "tokens": [31, 32, 33, 34, 35, 36, 37],
        "response_length": 5,
        "loss_mask": [1, 1, 0, 0, 1],
        "rollout_log_probs": [-0.5, -0.25, 0.0, 0.0, -1.5],
        "log_probs": [-0.625, -0.125, -3.0, -4.0, -1.25],
        "status": "completed",
        **changes,
    }


def record(fields: Any = BOTH, **changes: Any) -> tuple[Record, tuple[str, ...]]:
    context = ImportContext()
    found = record_of(sample(**changes), fields, PLACE, context)
    assert found is not None
    return found, context.notes.sentences()


def numbers(record: Record, name: str) -> list[float | None]:
    values = record.captures[name].logprob.tolist()
    return [None if np.isnan(value) else value for value in values]


def test_numbers_of_the_response_stand_at_their_tokens_and_the_mask_takes_out_the_rest() -> (
    None
):
    found, notes = record()
    assert found.prompt_length == 2 and found.finish == "stop"
    assert found.mask is not None and found.mask.tolist() == [1, 1, 1, 1, 0, 0, 1]
    assert numbers(found, "rollout/recorded") == [
        *[None, None, -0.5, -0.25],
        *[None, None, -1.5],
    ]
    assert numbers(found, "trainer/prefill") == [
        *[None, None, -0.625, -0.125],
        *[-3.0, -4.0, -1.25],
    ]
    assert notes == (
        "2 entries of rollout/recorded are of masked tokens and only fill the list up:"
        " they are not scores",
    )


@pytest.mark.parametrize("placeholder", [0.0, 0, 1, 1.0, -9999.0, -9999])
def test_a_placeholder_of_a_masked_token_is_no_score(placeholder: float) -> None:
    values = [-0.5, -0.25, placeholder, placeholder, -1.5]
    found, _ = record(rollout_log_probs=values)
    assert numbers(found, "rollout/recorded")[4:6] == [None, None]


def test_zero_of_a_token_that_counts_is_a_score() -> None:
    found, _ = record(rollout_log_probs=[0.0, -0.25, 0.0, 0.0, -1.5])
    assert numbers(found, "rollout/recorded")[2] == 0.0


def test_train_dumps_name_the_same_fields_in_the_plural() -> None:
    plural = sample()
    plural["response_lengths"] = plural.pop("response_length")
    plural["loss_masks"] = plural.pop("loss_mask")
    found = record_of(plural, BOTH, PLACE, ImportContext())
    wanted, _ = record()
    assert found is not None
    assert numbers(found, "trainer/prefill") == numbers(wanted, "trainer/prefill")


def test_a_sample_without_a_response_is_left_out_and_one_without_numbers_unscored() -> (
    None
):
    context = ImportContext()
    empty = sample(response_length=0, tokens=[31])
    assert record_of(empty, BOTH, PLACE, context) is None
    failed = record_of(sample(rollout_log_probs=None), BOTH, PLACE, context)
    assert failed is not None
    assert numbers(failed, "rollout/recorded") == [None] * 7
    assert context.notes.sentences()[:2] == (
        "1 sample has no response and is left out",
        "1 sequence of rollout/recorded has no log-probabilities",
    )


def test_the_entropy_of_a_train_dump_is_the_trainers() -> None:
    found, _ = record(entropy=[0.5, 0.25, 0.125, 1.0, 2.0])
    entropy = found.captures["trainer/prefill"].entropy
    assert entropy is not None and entropy[2:].tolist() == [0.5, 0.25, 0.125, 1.0, 2.0]
    assert found.captures["rollout/recorded"].entropy is None


SPANS = [
    {"version": "6", "abs_start": 2, "abs_end": 3},
    {"version": "7", "abs_start": 3, "abs_end": 4},
]


@pytest.mark.parametrize(
    ("versions", "tokens"),
    [
        (["12"], [None, None, "12", "12", "12", "12", "12"]),
        (["12", "12", "12"], [None, None, "12", "12", "12", "12", "12"]),
        # One version a turn.
        (["12", "13"], [None, None, "12", "12", None, None, "13"]),
        # miles: spans of a call, as plain records and as the stand-in of its class.
        ([SPANS, []], [None, None, "6", "7", None, None, None]),
        ([{"spans": SPANS}], [None, None, "6", "7", None, None, None]),
    ],
)
def test_versions_of_the_weights_are_told_of_each_token(
    versions: Any, tokens: list[str | None]
) -> None:
    found, _ = record(weight_versions=versions)
    spans = found.captures["rollout/recorded"].versions
    assert spans is not None
    assert [v for version, n in spans for v in [version] * n] == tokens
    assert found.captures["trainer/prefill"].versions is None


def test_versions_that_cannot_be_placed_are_said() -> None:
    found, notes = record(weight_versions=["1", "2", "3"])
    assert found.captures["rollout/recorded"].versions is None
    assert any("several versions of the weights" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": []}, "tokens is not a list with at least one id"),
        ({"tokens": [1, -1]}, "tokens[1] is -1"),
        ({"response_length": 8}, "response_length is 8 of 7 tokens"),
        ({"response_length": "5"}, "response_length is '5'"),
        ({"response_length": None}, "response_length is None"),
        ({"loss_mask": [1, 1, 0]}, "loss_mask has 3 entries: the response has 5"),
        ({"loss_mask": [1, 1, 2, 0, 1]}, "loss_mask holds something else"),
        ({"rollout_log_probs": [-0.5]}, "rollout_log_probs has 1 entries"),
        ({"log_probs": "x"}, "log_probs is not a list"),
        ({"log_probs": [-1, -1, 0.5, -1, -1]}, "log_probs[4] is 0.5"),
        ({"entropy": [-1.0] * 5}, "entropy[2] is -1.0"),
        (
            {"weight_versions": [[{"version": "6", "abs_start": 5, "abs_end": 9}]]},
            "weight_versions holds {'version': '6', 'abs_start': 5, 'abs_end': 9}",
        ),
        ({"weight_versions": "6"}, "weight_versions is not a list"),
    ],
)
def test_what_is_wrong_in_a_sample_is_said_with_its_place(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        record(**change)
    assert str(caught.value).startswith("3.pt, samples [0]: ")
    assert said in str(caught.value) and caught.value.file == "3.pt"


# ---- ranks


def zigzag(values: list[Any], tokens: int, cp_size: int, padded: int) -> dict[int, Any]:
    """Each rank's part, by the definition: position p scores token p + 1, and a rank
    has the chunks r and 2 * cp_size - 1 - r.
    """
    size = (padded + 2 * cp_size - 1) // (2 * cp_size)
    prompt = tokens - len(values)
    parts: dict[int, Any] = {rank: [] for rank in range(cp_size)}
    for rank in range(cp_size):
        for chunk in (rank, 2 * cp_size - 1 - rank):
            for position in range(chunk * size, (chunk + 1) * size):
                token = position + 1
                if prompt <= token < tokens:
                    parts[rank].append(values[token - prompt])
    return parts


@pytest.mark.parametrize("cp_size", [1, 2, 3, 4])
@pytest.mark.parametrize(("tokens", "response"), [(8, 6), (9, 3), (5, 1), (40, 33)])
@pytest.mark.parametrize("padding", [0, 7])
def test_slices_of_ranks_are_put_together(
    cp_size: int, tokens: int, response: int, padding: int
) -> None:
    values = [float(-i) for i in range(response)]
    padded = tokens + padding
    parts = {0: values}
    if cp_size > 1:
        parts = zigzag(values, tokens, cp_size, padded)
    sequence = SlicedSequence(tokens, response, cp_size, padded)
    assert sequence.whole(parts, PLACE, "log_probs") == values


def test_a_missing_rank_and_a_wrong_length_are_said() -> None:
    sequence = SlicedSequence(8, 6, 2, 8)
    with pytest.raises(InputError, match="rank 0 is not here: give the folder"):
        sequence.whole({1: [0.0, 0.0]}, PLACE, "log_probs")
    with pytest.raises(
        InputError, match=r"log_probs of rank 1 has 3 entries: .* has 4"
    ):
        sequence.whole({0: [0.0] * 2, 1: [0.0] * 3}, PLACE, "log_probs")


def rank_dump(file: int, cp_rank: int, **columns: Any) -> torch_dump.Dump:
    data = {
        "rollout_id": 5,
        "rank": file,
        "cp_rank": cp_rank,
        "cp_size": 2,
        "rollout_data": columns,
    }
    return torch_dump.Dump(file, data)


def test_ranks_of_one_step_hold_each_sample_once() -> None:
    same = {
        "sample_indices": [4, 4],
        "tokens": [[1, 2, 3, 4], [1, 2, 3, 4]],
        "response_lengths": [3, 3],
    }
    other = {"sample_indices": [9], "tokens": [[5, 6]], "response_lengths": [1]}
    # Data parallel 0 has two ranks of context parallelism, two stages of a pipeline.
    ranks = [
        rank_dump(0, 0, **same, log_probs=None),
        rank_dump(1, 1, **same, log_probs=None),
        rank_dump(2, 0, **same, log_probs=[[-1.0], [-4.0]]),
        rank_dump(3, 1, **same, log_probs=[[-2.0, -3.0], [-5.0, -6.0]]),
        rank_dump(4, 0, **other, log_probs=[[-7.0]]),
        rank_dump(5, 1, **other, log_probs=[[]]),
    ]
    messages = list(torch_dump.rows(ranks))
    assert [message["slices"]["log_probs"] for message in messages] == [
        {0: [-1.0], 1: [-2.0, -3.0]},
        {0: [-4.0], 1: [-5.0, -6.0]},
        {0: [-7.0], 1: []},
    ]
    assert [message["row"]["tokens"] for message in messages] == [
        [1, 2, 3, 4],
        [1, 2, 3, 4],
        [5, 6],
    ]
    assert {tuple(message["fields"]) for message in messages} == {("log_probs",)}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda columns: columns.pop("tokens"),
        lambda columns: columns.update(log_probs=[[-1.0]]),
        lambda columns: columns.update(sample_indices=[1, 2, 3]),
    ],
)
def test_columns_of_a_rank_that_do_not_fit_are_refused(
    spoil: Callable[[dict[str, Any]], None],
) -> None:
    columns = {
        "sample_indices": [4, 5],
        "tokens": [[1, 2], [3, 4]],
        "response_lengths": [1, 1],
        "log_probs": [[-1.0], [-2.0]],
    }
    spoil(columns)
    with pytest.raises(torch_dump.RefusedDump, match="columns"):
        list(torch_dump.rows([rank_dump(0, 0, **columns)]))
