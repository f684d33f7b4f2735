"""Turns and groups of tokens against loops over tokens, and where reports show them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.cli.main import main
from logdrift.core.compare.groups import (
    BEYOND,
    GroupedTokens,
    TokenGroup,
    grouped_tokens,
)
from logdrift.core.compare.matrix import matrix_cell, matrix_metrics
from logdrift.core.compare.metric import metric
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.compare.turns import Messages, messages_of
from logdrift.core.compare.versions import version_changes
from logdrift.core.report.scale import THRESHOLD
from logdrift.core.session.contents import Sequences
from logdrift.core.session.importers import import_session
from logdrift.core.session.message_roles import (
    ASSISTANT,
    MESSAGE_ROLES,
    SYSTEM,
    TOOL,
    UNKNOWN,
    USER,
)
from logdrift.core.session.reader import open_session
from logdrift.tui.models.state import DEFAULT_THRESHOLD
from tests.made_turns import make_conversations


class Drawn(NamedTuple):
    """One sequence: roles and mask of each token, and how many are the prompt."""

    roles: list[int]
    mask: list[int]
    prompt: int


@st.composite
def sequences_drawn(draw: st.DrawFn) -> Drawn:
    """Runs of one role, as conversations have, and also none at all."""
    runs = st.tuples(st.integers(0, 6), st.integers(1, 5), st.integers(0, 1))
    roles: list[int] = []
    mask: list[int] = []
    for role, length, counts in draw(st.lists(runs, max_size=6)):
        roles += [role] * length
        mask += [counts] * length
    prompt = draw(st.integers(0, len(roles)))
    return Drawn(roles, mask, prompt)


def sequences_of(drawn: Sequence[Drawn], *, told: bool = True) -> Sequences:
    lengths = [len(one.roles) for one in drawn]
    joined = [role for one in drawn for role in one.roles]
    masks = [counts for one in drawn for counts in one.mask]
    return Sequences(
        token_ids=np.zeros(len(joined), np.int32),
        offsets=np.array([0, *itertools.accumulate(lengths)], np.int64),
        prompt_lengths=np.array([one.prompt for one in drawn], np.int32),
        mask=np.array(masks, np.uint8),
        finish=np.zeros(len(drawn), np.uint8),
        roles=np.array(joined, np.uint8) if told else None,
    )


def kind(role: int, counts: int, in_prompt: bool) -> str:
    """What a token is, in words: its role, else what its place says."""
    if role in (SYSTEM, USER, ASSISTANT, TOOL):
        return MESSAGE_ROLES[role]
    if in_prompt:
        return "prompt"
    if counts:
        return "assistant"
    return "masked"


def turns_by_loop(drawn: Drawn, told: bool) -> list[int]:
    """The turn of each token of a sequence, 0 for none."""
    turns = []
    turn = 0
    before = ""
    for index, role in enumerate(drawn.roles):
        now = kind(role if told else UNKNOWN, drawn.mask[index], index < drawn.prompt)
        if now == "assistant" and before != "assistant":
            turn += 1
        turns.append(turn if now == "assistant" else 0)
        before = now
    return turns


@given(st.lists(sequences_drawn(), max_size=5), st.booleans())
def test_turns_are_those_of_a_loop_over_tokens(drawn: list[Drawn], told: bool) -> None:
    messages = messages_of(sequences_of(drawn, told=told))
    expected = [turns_by_loop(one, told) for one in drawn]
    assert messages.turn_of_token.tolist() == list(itertools.chain(*expected))
    counts = [max(turns, default=0) for turns in expected]
    assert messages.turns_of_sequence.tolist() == counts
    assert messages.has_turns == (max(counts, default=0) > 1)


@given(st.lists(sequences_drawn(), max_size=5))
def test_messages_cover_every_token_once(drawn: list[Drawn]) -> None:
    sequences = sequences_of(drawn)
    messages = messages_of(sequences)
    assert messages.starts[-1] == sequences.tokens
    assert (np.diff(messages.starts) > 0).all()
    for sequence, (first, last) in enumerate(itertools.pairwise(messages.first)):
        start, stop = sequences.bounds(sequence)
        assert messages.starts[first] == start
        assert messages.starts[last] == stop
    for message, start in enumerate(messages.starts[:-1]):
        _one_role(sequences, messages, message)
        assert messages.at(int(start)) == message


def _one_role(sequences: Sequences, messages: Messages, message: int) -> None:
    """All tokens of a message have its role."""
    assert sequences.roles is not None
    start, stop = messages.starts[message : message + 2]
    roles = set(sequences.roles[start:stop].tolist())
    known = {role if role < len(MESSAGE_ROLES) else UNKNOWN for role in roles}
    role = int(messages.roles[message])
    assert role in known or role == ASSISTANT
    assert known <= {role, UNKNOWN}


@given(st.lists(sequences_drawn(), min_size=1, max_size=4), st.integers(0, 4))
def test_the_first_sequences_alone_have_the_same_turns(
    drawn: list[Drawn], count: int
) -> None:
    count = min(count, len(drawn))
    sequences = sequences_of(drawn)
    some = messages_of(sequences, count)
    tokens = int(sequences.offsets[count])
    whole = messages_of(sequences).turn_of_token
    assert some.turn_of_token.tolist() == whole[:tokens].tolist()


def test_the_header_of_an_answer_belongs_to_the_answer() -> None:
    """A template's ``assistant`` header ends the prompt, the completion goes on."""
    header = Drawn(
        roles=[USER, USER, ASSISTANT, UNKNOWN, UNKNOWN],
        mask=[1] * 5,
        prompt=3,
    )
    messages = messages_of(sequences_of([header]))
    expected = [0, 0, 1, 1, 1]
    assert messages.turn_of_token.tolist() == expected
    assert messages.roles.tolist() == [USER, ASSISTANT]


@given(st.lists(st.integers(-1, 2), max_size=30))
def test_boundaries_are_where_a_known_version_changes(places: list[int]) -> None:
    expected = []
    before = -1
    for index, place in enumerate(places):
        if place >= 0:
            if before >= 0 and place != before:
                expected.append(index)
            before = place
    column = np.array(places, np.int32)
    assert version_changes(column, 0, len(places)) == expected


# ---- groups of a session


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_conversations(tmp_path_factory.mktemp("turns"))


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return make_pair(open_session(folder), "trainer", "vllm/decode")


def names_by_loop(pair: Pair, which: str) -> Iterator[tuple[int, str | None]]:
    """Each token of the completions, and the name of its group."""
    sequences = pair.sequences
    roles = sequences.roles
    versions = pair.b.versions
    assert roles is not None
    assert versions is not None
    for sequence in range(pair.count):
        start, stop = sequences.bounds(sequence)
        one = Drawn(
            roles[start:stop].tolist(),
            sequences.mask[start:stop].tolist(),
            int(sequences.prompt_lengths[sequence]),
        )
        turns = turns_by_loop(one, told=True)
        for position in range(start + one.prompt, stop):
            version = pair.b.version_names[versions.whole()[position]]
            names = {
                "by_turn": str(turns[position - start] or "") or None,
                "by_role": MESSAGE_ROLES[roles[position]],
                "by_version": version,
                "by_lag": str(9 - int(version)),
            }
            yield position, names[which]


def group_by_loop(pair: Pair, which: str, name: str) -> TokenGroup:
    chosen = [
        position
        for position, own in names_by_loop(pair, which)
        if own == name and pair.scored[position]
    ]
    delta = [float(pair.delta[position]) for position in chosen]
    size = [abs(value) for value in delta]
    k3 = [math.expm1(value) - value for value in delta]
    n = len(delta)
    return TokenGroup(
        name=name,
        tokens=n,
        sequences=len({pair.sequence_of(position) for position in chosen}),
        mean=math.fsum(delta) / n,
        mae=math.fsum(size) / n,
        rmse=math.sqrt(math.fsum(value * value for value in delta) / n),
        max_abs=max(size),
        k3=math.fsum(k3) / n,
        beyond=sum(value > BEYOND for value in size) / n,
    )


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("by_turn", ["1", "2", "3"]),
        ("by_role", ["assistant"]),
        ("by_version", ["5", "6", "7"]),
        ("by_lag", ["2", "3", "4"]),
    ],
)
def test_the_numbers_of_a_group_are_those_of_a_loop(
    pair: Pair, which: str, names: list[str]
) -> None:
    groups = getattr(pair.metrics().buckets, which)
    assert [group.name for group in groups] == names
    for group in groups:
        expected = group_by_loop(pair, which, group.name)
        # Sums of some hundred float64 round to about 1e-14 of their size.
        for number, value in expected.to_json().items():
            found = getattr(group, number)
            assert found == (
                value
                if isinstance(value, str | int)
                else pytest.approx(value, rel=1e-11, abs=1e-14)
            )


def test_what_a_session_does_not_know_is_none(tmp_path: Path) -> None:
    file = tmp_path / "plain.jsonl"
    captures = {"trainer": [-1, -1, -1], "x": [-2, -2, -2]}
    line = {"token_ids": [1, 2, 3], "captures": captures}
    file.write_text(json.dumps(line))
    import_session("jsonl", [str(file)], tmp_path / "out")
    buckets = (
        make_pair(open_session(tmp_path / "out"), "trainer", "x").metrics().buckets
    )
    assert buckets.by_turn is None
    assert buckets.by_role is None
    assert buckets.by_version is None
    assert buckets.by_lag is None


def test_without_tokens_there_is_no_group(pair: Pair) -> None:
    nothing = np.zeros(pair.tokens, np.bool_)
    groups = grouped_tokens(pair, nothing)
    assert groups == GroupedTokens((), (), (), ())


def test_a_limit_names_a_group(pair: Pair) -> None:
    numbers = pair.metrics()
    turns = numbers.buckets.by_turn
    assert turns is not None
    assert metric("buckets.by_turn.2.mae").read(numbers) == turns[1].mae
    assert metric("buckets.by_role.assistant.k3").read(numbers) is not None
    assert metric("buckets.by_lag.2.tokens").unit == "tokens"
    assert metric("buckets.by_turn.9.mae").read(numbers) is None


def test_the_threshold_of_groups_is_the_explorers() -> None:
    assert BEYOND == THRESHOLD == DEFAULT_THRESHOLD


# ---- reports


@pytest.mark.parametrize("form", ["--md", "--html", ""])
def test_every_form_of_the_report_has_the_groups(
    folder: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["report", str(folder), form]
    assert main([word for word in command if word]) == 0
    text = capsys.readouterr().out
    assert "Error by turn of the assistant" in text
    assert "Error by version of the weights" in text
    assert "7 (2 behind)" in text
    assert "Error by role" not in text  # one role alone tells nothing


def test_the_json_has_all_of_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folder), "--json"]) == 0
    buckets = json.loads(capsys.readouterr().out)["pairs"][0]["buckets"]
    found = [group["name"] for group in buckets["by_turn"]]
    expected = ["1", "2", "3"]
    assert found == expected
    assert set(buckets["by_lag"][0]) == {
        "name",
        "tokens",
        "sequences",
        "mean",
        "mae",
        "rmse",
        "max_abs",
        "k3",
        "beyond",
    }


# ---- the matrix


def test_the_matrix_shows_the_mae_of_each_turn_role_and_age(
    folder: Path, pair: Pair
) -> None:
    paths = matrix_metrics(pair.session)
    groups = [path for path in paths if path.startswith("buckets.")]
    assert groups == [
        *[f"buckets.by_turn.{turn}.mae" for turn in (1, 2, 3)],
        *[f"buckets.by_role.{role}.mae" for role in MESSAGE_ROLES[1:]],
        *[f"buckets.by_lag.{lag}.mae" for lag in (0, 1, 2)],
    ]
    cell = matrix_cell(pair.session, "trainer", "vllm", groups[1], "completion")
    turns = pair.metrics().buckets.by_turn
    assert turns is not None
    assert cell.value == turns[1].mae


def test_the_columns_of_a_pair_have_turn_and_role(pair: Pair) -> None:
    columns = pair.columns()
    assert columns["turn"].tolist() == pair.messages.turn_of_token.tolist()
    assert pair.sequences.roles is not None
    assert columns["role"].tolist() == pair.sequences.roles.tolist()
