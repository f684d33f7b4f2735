"""What looks like a cause and is another one: nothing that is not true is called
likely, in dumps as users have them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import LIKELY
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import open_session
from tests.planted.made import Text, draw, log_softmax

Values = np.ndarray
BOTH_SIDES = pytest.mark.parametrize(
    "swapped", [False, True], ids=["rollout", "trainer"]
)
LONG = (90,) * 8 + (40,) * 4
PROMPT = 10


def text_of(seed: int, lengths: Sequence[int] = LONG) -> Text:
    return draw(seed, tuple(lengths))


class Side:
    """One side's log-probabilities of a text, f64[T, V] for each sequence, and what is
    recorded of them.
    """

    def __init__(
        self,
        text: Text,
        size: float,
        seed: int,
        temperature: Sequence[float] | float = 1.0,
    ) -> None:
        rng = np.random.default_rng([seed, 77])
        factors = np.broadcast_to(np.asarray(temperature, float), (len(text.ids),))
        noisy = [rows + rng.normal(0, size, rows.shape) for rows in text.logits]
        self.values = [
            log_softmax(rows / factor)
            for rows, factor in zip(noisy, factors, strict=True)
        ]
        self.chosen = [
            np.take_along_axis(rows, ids[:, None], 1)[:, 0]
            for rows, ids in zip(self.values, text.ids, strict=True)
        ]

    def share_a_prompt(self, length: int) -> Side:
        """The numbers of the first sequence's first tokens stand in all sequences, as
        one context has one score.
        """
        for row in range(1, len(self.chosen)):
            self.values[row][:length] = self.values[0][:length]
            self.chosen[row][:length] = self.chosen[0][:length]
        return self

    def recorded(self, change: Callable[[Values], Values]) -> Side:
        """Chosen tokens as ``change`` makes them, each sequence behind its first
        token.
        """
        for row in range(len(self.chosen)):
            self.chosen[row][1:] = change(self.chosen[row][1:])
        return self

    def rounded(self, change: Callable[[Values], Values]) -> Side:
        """All numbers as ``change`` makes them, lists too."""
        self.values = [change(rows) for rows in self.values]
        self.chosen = [change(row) for row in self.chosen]
        return self

    def moved(self, rows: Sequence[int], lag: int) -> Side:
        """Values and lists of some sequences stand ``lag`` tokens late."""
        for row in rows:
            self.values[row] = np.roll(self.values[row], lag, axis=0)
            self.chosen[row] = np.roll(self.chosen[row], lag)
        return self

    def lines(self, width: int, completions: bool) -> list[dict[str, list[object]]]:
        out = []
        for rows, chosen in zip(self.values, self.chosen, strict=True):
            order = np.argsort(-rows, axis=1, kind="stable")[:, :width]
            begin = PROMPT if completions else 1
            line: dict[str, list[object]] = {
                "logprobs": [None] * begin + [float(x) for x in chosen[begin:]]
            }
            if width:
                top = np.take_along_axis(rows, order, 1)
                line["top_ids"] = [None] * begin + [
                    list(map(int, row)) for row in order[begin:]
                ]
                line["top_logprobs"] = [None] * begin + [
                    list(map(float, row)) for row in top[begin:]
                ]
            out.append(line)
        return out


def why(
    folder: Path,
    text: Text,
    a: Side,
    b: Side,
    *,
    width: int = 0,
    completions: bool = False,
    told: int = PROMPT,
    swapped: bool = False,
    facts: Sequence[str] = (),
) -> Diagnosis:
    """The diagnosis of a dump of both; ``told`` is the length of the prompts that its
    lines name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    a, b = (b, a) if swapped else (a, b)
    with (folder / "dump.jsonl").open("w") as out:
        for ids, x, y in zip(
            text.ids,
            a.lines(width, completions),
            b.lines(width, completions),
            strict=True,
        ):
            line = {
                "token_ids": ids.tolist(),
                "prompt_length": told,
                "captures": {"trainer": x, "rollout": y},
            }
            out.write(json.dumps(line) + "\n")
    import_session("jsonl", [str(folder / "dump.jsonl")], folder / "s", facts=facts)
    session = open_session(folder / "s")
    return diagnose(session, make_pair(session, "trainer", "rollout"))


def likely(found: Diagnosis) -> set[str]:
    return {cause.cause for cause in found.causes if cause.score >= LIKELY} - {NOISE}


@BOTH_SIDES
@pytest.mark.parametrize("told", [0, 4, PROMPT - 1])
def test_a_wrong_length_of_the_prompts_is_no_shift(
    tmp_path: Path, told: int, swapped: bool
) -> None:
    """Both sides begin at the same token, and stand where they belong."""
    text = text_of(told)
    found = why(
        tmp_path,
        text,
        Side(text, 0.03, 1),
        Side(text, 0.03, 2),
        completions=True,
        told=told,
        swapped=swapped,
    )
    assert likely(found) == set()
    assert found.noise


@BOTH_SIDES
@pytest.mark.parametrize("sequences", [6, 12, 24])
def test_a_prompt_that_all_share_is_not_filled_in(
    tmp_path: Path, sequences: int, swapped: bool
) -> None:
    """One context has one score, as often as it is asked for: at another temperature it
    is far from the other side's each time.
    """
    text = text_of(sequences, (300,) * sequences)
    text = Text(
        [np.concatenate([text.ids[0][:4], ids[4:]]) for ids in text.ids], text.logits
    )
    a = Side(text, 0.03, 1).share_a_prompt(4)
    b = Side(text, 0.03, 2, 0.5).share_a_prompt(4)
    assert likely(why(tmp_path, text, a, b, swapped=swapped)) <= {"temperature"}


@BOTH_SIDES
@pytest.mark.parametrize("samples", [2, 4])
def test_samples_of_one_text_are_not_rows_of_one_another(
    tmp_path: Path, samples: int, swapped: bool
) -> None:
    """Some of them at another temperature: the others, of the same ids, fit better, and
    are no other text.
    """
    once = text_of(3, (60,) * 5)
    text = Text(
        [ids for ids in once.ids for _ in range(samples)],
        [rows for rows in once.logits for _ in range(samples)],
    )
    temperatures = [0.4 if row % samples == 0 else 1.0 for row in range(len(text.ids))]
    found = why(
        tmp_path,
        text,
        Side(text, 0.01, 1),
        Side(text, 0.01, 2, temperatures),
        swapped=swapped,
    )
    assert "other_rows" not in likely(found)


@BOTH_SIDES
@pytest.mark.parametrize("digits", [0, 1, 2])
def test_rounded_numbers_are_no_16_bit_logits(
    tmp_path: Path, digits: int, swapped: bool
) -> None:
    text = text_of(digits)
    a = Side(text, 1e-6, 1)
    b = Side(text, 1e-6, 2).rounded(lambda values: np.round(values, digits))
    assert likely(why(tmp_path, text, a, b, width=20, swapped=swapped)) == {"cut"}


@BOTH_SIDES
@pytest.mark.parametrize("width", [5, 20])
def test_lists_that_were_stored_in_float16_are_no_float16_logits(
    tmp_path: Path, width: int, swapped: bool
) -> None:
    text = text_of(width)

    def bfloat16_logits(rows: Values) -> Values:
        step = np.exp2(np.floor(np.log2(np.abs(rows) + 1e-9)) - 7)
        return np.round(rows / step) * step

    rounded = Text(text.ids, [bfloat16_logits(rows) for rows in text.logits])
    a = Side(rounded, 0.0, 1)
    b = Side(text, 0.03, 2).rounded(lambda rows: rows.astype(np.float16).astype(float))
    assert "compute_dtype" not in likely(
        why(tmp_path, text, a, b, width=width, swapped=swapped)
    )


@BOTH_SIDES
@pytest.mark.parametrize("width", [2, 20])
def test_values_of_another_place_are_not_of_other_ids(
    tmp_path: Path, width: int, swapped: bool
) -> None:
    text = text_of(5)
    a = Side(text, 0.03, 1)
    b = Side(text, 0.03, 2, 0.6).moved([1], 1)
    assert "ids" not in likely(why(tmp_path, text, a, b, width=width, swapped=swapped))


@BOTH_SIDES
@pytest.mark.parametrize("value", [0.0, -100.0])
@pytest.mark.parametrize("few", [1, 2])
def test_a_few_values_that_were_filled_in_are_not_of_other_ids(
    tmp_path: Path, value: float, few: int, swapped: bool
) -> None:
    text = text_of(6)
    a = Side(text, 0.03, 1)
    b = Side(text, 0.03, 2)
    for row in range(few):
        b.chosen[row][-1] = value
    assert likely(why(tmp_path, text, a, b, width=20, swapped=swapped)) <= {"filled"}


SUMS: dict[str, Callable[[Values], Values]] = {
    "running sums": np.cumsum,
    "divided by the length": lambda row: row / len(row),
}


@BOTH_SIDES
@pytest.mark.parametrize(
    "lengths", [LONG, (30,) * 3, (200, 220)], ids=["some", "short", "long"]
)
@pytest.mark.parametrize("unit", SUMS)
def test_sums_and_means_of_a_sequence_are_named(
    tmp_path: Path, unit: str, lengths: tuple[int, ...], swapped: bool
) -> None:
    text = text_of(7, lengths)
    found = why(
        tmp_path,
        text,
        Side(text, 0.03, 1),
        Side(text, 0.03, 2).recorded(SUMS[unit]),
        swapped=swapped,
    )
    assert likely(found) == {"units"}, found.verdict
    assert unit in found.causes[0].evidence[0].sentence


@BOTH_SIDES
@pytest.mark.parametrize("reduce", [np.mean, np.sum], ids=["mean", "sum"])
def test_one_number_for_each_sequence_is_named(
    tmp_path: Path, reduce: Callable[[Values], float], swapped: bool
) -> None:
    text = text_of(8)
    b = Side(text, 0.03, 2).recorded(lambda row: np.full(len(row), reduce(row)))
    found = why(tmp_path, text, Side(text, 0.03, 1), b, swapped=swapped)
    assert likely(found) == {"filled"}
    assert "a sum or a mean over the sequence" in found.causes[0].evidence[0].sentence


@BOTH_SIDES
@pytest.mark.parametrize("bound", [-4.0, -8.0])
@pytest.mark.parametrize("width", [0, 5, 20])
def test_a_bound_is_one_at_any_temperature_and_no_soft_cap(
    tmp_path: Path, bound: float, width: int, swapped: bool
) -> None:
    text = text_of(9)
    b = Side(text, 0.03, 2, 0.85).rounded(lambda values: np.maximum(values, bound))
    found = likely(
        why(tmp_path, text, Side(text, 0.03, 1), b, width=width, swapped=swapped)
    )
    assert "cut" in found
    assert found <= {"cut", "temperature"}


@BOTH_SIDES
@pytest.mark.parametrize("value", [-100.0, -500.0])
def test_a_value_far_below_all_others_is_found_in_a_text_that_stands_twice(
    tmp_path: Path, value: float, swapped: bool
) -> None:
    once = text_of(10, (40,) * 2)
    text = Text(once.ids * 3, once.logits * 3)
    b = Side(text, 0.03, 2).rounded(lambda values: np.round(values, 4))
    b.chosen[3][:] = value
    assert likely(
        why(tmp_path, text, Side(text, 0.03, 1), b, width=5, swapped=swapped)
    ) == {"filled"}


@BOTH_SIDES
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_some_sequences_at_another_temperature_are_no_soft_cap_and_no_other_weights(
    tmp_path: Path, temperature: float, swapped: bool
) -> None:
    text = text_of(11)
    temperatures = [
        temperature if row % 3 == 0 else 1.0 for row in range(len(text.ids))
    ]
    found = why(
        tmp_path,
        text,
        Side(text, 0.03, 1),
        Side(text, 0.03, 2, temperatures),
        width=20,
        swapped=swapped,
    )
    assert likely(found) <= {"temperature"}


@BOTH_SIDES
@pytest.mark.parametrize("size", [0.07, 0.085])
def test_more_than_usual_is_never_likely_noise(
    tmp_path: Path, size: float, swapped: bool
) -> None:
    text = text_of(12)
    a = Side(text, 0.0, 1)
    b = Side(text, 0.0, 2)
    rng = np.random.default_rng(1)
    b.chosen = [
        np.minimum(row + rng.normal(0, size / 0.8, len(row)), -1e-6) for row in b.chosen
    ]
    found = why(tmp_path, text, a, b, swapped=swapped, facts=("dtype=bfloat16",))
    assert 0.06 < found.size["mae"] < 0.088
    assert not found.noise
    assert likely(found) == set()


def test_what_grows_may_be_a_penalty(tmp_path: Path) -> None:
    """The longer a text, the more of its tokens occurred before."""
    text = text_of(13, (200,) * 8)
    b = Side(text, 0.03, 2)
    rng = np.random.default_rng(2)
    b.chosen = [
        np.minimum(
            row - rng.normal(0, 0.3, len(row)) * np.log1p(np.arange(len(row)) / 4),
            -1e-3,
        )
        for row in b.chosen
    ]
    assert "config" not in likely(why(tmp_path, text, Side(text, 0.03, 1), b))


@BOTH_SIDES
@pytest.mark.parametrize("tokens", [32, 40])
def test_values_in_four_decimals_take_nothing_from_noise(
    tmp_path: Path, tokens: int, swapped: bool
) -> None:
    """Just enough tokens to call it likely, with a rounding that is seen and moves
    nothing.
    """
    text = text_of(tokens, (tokens + 1,))
    a, b = (
        Side(text, 0.03, seed).rounded(lambda values: np.round(values, 4))
        for seed in (1, 2)
    )
    assert why(tmp_path, text, a, b, swapped=swapped).noise


@BOTH_SIDES
@pytest.mark.parametrize("share", [0.6, 0.78])
def test_a_side_that_just_misses_the_lattice_is_not_off_it(
    tmp_path: Path, share: float, swapped: bool
) -> None:
    """16-bit logits on both sides, some of them blurred on one: no difference of the
    head.
    """
    text = text_of(14)
    rng = np.random.default_rng(3)
    on_steps = Text(text.ids, [np.round(rows * 16) / 16 for rows in text.logits])
    blurred = [
        np.where(
            rng.random((len(rows), 1)) < share,
            rows,
            rows + rng.normal(0, 0.01, rows.shape),
        )
        for rows in on_steps.logits
    ]
    b = Side(Text(text.ids, blurred), 0.0, 2)
    assert not likely(
        why(tmp_path, text, Side(on_steps, 0.0, 1), b, width=20, swapped=swapped)
    ) & {
        "head_dtype",
        "compute_dtype",
    }
