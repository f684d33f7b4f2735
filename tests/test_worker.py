"""What the worker does between supervisor and engine that needs no engine to be
seen.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.capture.ledger import listed
from logdrift.core.engines import ENGINES
from logdrift.core.engines.about import Loading
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.protocol import (
    BackendStart,
    CaptureJob,
    Channel,
    ModelSource,
    PendingCapture,
    job_message,
    job_of,
)
from logdrift.core.session.layout import Part
from logdrift.core.worker import identity, open_parts
from logdrift.core.worker.base import (
    AskedSequence,
    BackendSettings,
    MismatchError,
    Scores,
    Take,
)
from logdrift.core.worker.behind import Behind
from logdrift.core.worker.captures import Captures
from logdrift.core.worker.open_parts import OpenParts, PartSequences
from tests.common import Fields


class Recorder:
    """Stands where an engine does and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[list[int]]] = []

    def score(self, sequences: Sequence[np.ndarray], progress: Any) -> list[Scores]:
        self.asked.append([ids.tolist() for ids in sequences])
        if any(len(ids) > 5 for ids in sequences):
            raise MismatchError("sequence 0 of the part: too long")
        for ids in sequences:
            progress(1, len(ids))
        return [Scores.empty(len(ids), 0) for ids in sequences]

    def forced_decode(
        self,
        sequences: Sequence[np.ndarray],
        prompt_lengths: Sequence[int],
        progress: Any,
    ) -> list[Scores]:
        assert len(prompt_lengths) == len(sequences)
        return [
            Scores(
                np.full(len(ids), length, np.float32),
                score.rank,
                score.top_ids,
                score.top_logprobs,
            )
            for ids, length, score in zip(
                sequences, prompt_lengths, self.score(sequences, progress), strict=True
            )
        ]


@pytest.fixture
def captures() -> Iterator[Captures]:
    ours, theirs = socket.socketpair()
    spec = BackendSpec("v", "vllm", paths=("prefill", "forced_decode"), alone=True)
    job = CaptureJob(
        start=BackendStart(
            spec=spec,
            model=ModelSource("m"),
            tokenizer=ModelSource("m"),
            sampling=SamplingSpec(),
            top_k=20,
            part_sequences=8,
            max_length=64,
        ),
        folder="",
        token="",
        captures=(),
        planned=0,
        parts=0,
    )
    received = job_of(json.loads(json.dumps(job_message(job))))
    assert isinstance(received, CaptureJob)
    made = Captures(received, Channel(theirs))
    yield made
    made.watch.stop()
    ours.close()
    theirs.close()


ROWS = [np.arange(n, dtype=np.int32) for n in (3, 5, 2)]
PART = PartSequences(index=1, first=8, sequences=ROWS, prompt_lengths=[1, 2, 1])


def test_alone_means_one_request_and_its_answer_at_a_time(captures: Captures) -> None:
    assert captures.spec.alone
    engine: Any = Recorder()
    job = PendingCapture("v/prefill#alone", "prefill", 1, 0, "alone")
    scores = captures._scores(engine, job, PART)
    assert engine.asked == [[row.tolist()] for row in ROWS]
    found = [len(score.logprob) for score in scores]
    expected = [3, 5, 2]
    assert found == expected


def test_alone_on_forced_decode_gives_each_sequence_its_own_boundary(
    captures: Captures,
) -> None:
    engine: Any = Recorder()
    scores = captures._scores(
        engine,
        PendingCapture("v/f", "forced_decode", 1, 0, "alone"),
        PART,
    )
    assert engine.asked == [[row.tolist()] for row in ROWS]
    found = [score.logprob[0] for score in scores]
    expected = [1, 2, 1]
    assert found == expected


def test_a_failure_alone_names_the_session_s_sequence(captures: Captures) -> None:
    engine: Any = Recorder()
    part = PartSequences(
        index=1,
        first=8,
        sequences=[*ROWS, np.arange(9, dtype=np.int32)],
        prompt_lengths=[1, 1, 1, 1],
    )
    with pytest.raises(
        MismatchError, match=r"v/prefill#alone, sequence 11: .*too long"
    ):
        captures._scores(
            engine,
            PendingCapture("v/prefill#alone", "prefill", 1, 0, "alone"),
            part,
        )


def test_a_part_of_an_import_is_scored_in_batches_of_the_plan(
    captures: Captures,
) -> None:
    """Parts of an import hold up to 4,096 sequences: no engine is given them at
    once.
    """
    engine: Any = Recorder()
    rows = [np.arange(2 + number % 3, dtype=np.int32) for number in range(19)]
    part = PartSequences(index=1, first=40, sequences=rows, prompt_lengths=[1] * 19)
    job = PendingCapture("v/prefill", "prefill", 1, 0)
    scores = captures._scores(engine, job, part)
    expected = [8, 8, 3]
    assert [len(asked) for asked in engine.asked] == expected
    found = [len(score.logprob) for score in scores]
    assert found == [len(row) for row in rows]
    rows[17] = np.arange(9, dtype=np.int32)
    with pytest.raises(MismatchError, match="v/prefill, batch of sequence 56 and"):
        captures._scores(engine, job, part)


def test_a_tokenizer_elsewhere_is_named_to_the_engine_only_where_it_is_elsewhere() -> (
    None
):
    def settings(tokenizer: str | None) -> BackendSettings:
        return BackendSettings(
            "m", None, BackendSpec("v", "vllm"), None, (), 0, 1, 1, tokenizer=tokenizer
        )  # type: ignore[arg-type]

    assert [settings(t).other_tokenizer for t in (None, "", "m", "session")] == [
        None,
        None,
        None,
        "session",
    ]


@pytest.mark.parametrize(
    ("engine", "options", "known"),
    [
        *((engine, {}, True) for engine in ENGINES),
        ("vllm", {"load_format": "safetensors"}, True),
        ("sglang", {"load_format": "safetensors"}, True),
        ("vllm", {"load_format": "dummy"}, False),
        ("sglang", {"load_format": "dummy"}, False),
        ("transformers", {"gguf_file": "x.gguf"}, False),
        ("transformers", {"variant": "fp16"}, False),
        *(
            (name, {option: "elsewhere"}, False)
            for name, engine in ENGINES.items()
            for option in engine.loading.elsewhere
        ),
    ],
)
def test_weights_that_were_not_read_have_no_digest(
    tmp_path: Path, engine: str, options: Fields, known: bool
) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    found = identity.identity(
        model=str(tmp_path),
        revision=None,
        options=options,
        text=None,
        loading=ENGINES[engine].loading,
    )
    assert (found["weights_digest"] is not None) is known
    assert found["config_digest"] is not None
    assert found["tokenizer_digest"] is None
    assert found["template_digest"] is None
    assert found["adds_bos"] is None


def test_a_hub_id_that_is_not_in_the_cache_is_unknown() -> None:
    found = identity.identity(
        model="no-such-organisation/no-such-model",
        revision=None,
        options={},
        text=None,
        loading=Loading(),
    )
    assert set(found.values()) == {None}


class Tokenizer:
    """As far as `TokenText` asks it: ids of words, with or without what it adds by
    itself.
    """

    def __init__(self, bos: int | None, added: list[int], plain: list[int]) -> None:
        self.bos_token_id, self._added, self._plain = bos, added, plain

    def __call__(
        self, text: str, add_special_tokens: bool = True
    ) -> dict[str, list[int]]:
        return {"input_ids": self._added if add_special_tokens else self._plain}


@pytest.mark.parametrize(
    ("tokenizer", "adds"),
    [
        (Tokenizer(1, [1, 81], [81]), True),
        (Tokenizer(1, [81], [81]), False),
        (Tokenizer(None, [81], [81]), False),
        (Tokenizer(1, [81, 2], [81]), False),  # an end-of-sequence id is none
        (Tokenizer(1, [], []), False),
    ],
)
def test_whether_a_tokenizer_adds_bos(tokenizer: Tokenizer, adds: bool) -> None:
    from logdrift.core.worker.tokens import TokenText

    text = TokenText.__new__(TokenText)
    text.tokenizer = tokenizer
    assert text.adds_bos() is adds


# -- full batches


class Backwards:
    """Stands where an engine does that fills its batches: takes ``most`` sequences at
    once and answers the last of them first.
    """

    full_batches = ("prefill",)

    def __init__(self, most: int) -> None:
        self.most = most
        self.in_flight = 0
        self.twice = False

    def stream(self, path: str, take: Take) -> Iterator[tuple[AskedSequence, Scores]]:
        waiting: list[AskedSequence] = []
        while True:
            while len(waiting) < self.most and (one := take()) is not None:
                waiting.append(one)
            if not waiting:
                return
            self.in_flight = max(self.in_flight, len(waiting))
            one = waiting.pop()
            scores = Scores.empty(len(one.ids), 0)
            scores.logprob[:] = one.number
            yield one, scores
            if self.twice:
                yield one, scores


def parts_of(count: int, size: int, tokens: int = 3) -> Iterator[PartSequences]:
    for index in range(count):
        rows = [np.arange(tokens, dtype=np.int32)] * size
        yield PartSequences(index, index * size, rows, [1] * size)


def finished(
    engine: Backwards, parts: OpenParts
) -> Iterator[tuple[PartSequences, list[float]]]:
    """Each part with the number that stands in the scores of each of its sequences."""
    for asked, answer in engine.stream("prefill", parts.take):
        done = parts.answered(asked, answer)
        if done is not None:
            part, answers = done
            assert all(isinstance(one, Scores) for one in answers)
            yield part, [float(one.logprob[0]) for one in answers]  # type: ignore[union-attr]


def test_an_engine_has_sequences_of_many_parts_at_once() -> None:
    engine = Backwards(most=7)
    parts = OpenParts(parts_of(5, 3), seed=0)
    found = {part.index: numbers for part, numbers in finished(engine, parts)}
    parts.check_empty()
    assert engine.in_flight == 7
    assert found == {
        index: [3 * index, 3 * index + 1, 3 * index + 2] for index in range(5)
    }


def test_no_part_is_begun_while_too_many_answers_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A score without alternatives has two numbers of 4 bytes, and one that marks NaN.
    monkeypatch.setattr(open_parts, "MOST_HELD", 20 * 9)
    opened = OpenParts(parts_of(100, 2, tokens=5), seed=0)
    held = 0
    while (one := opened.take()) is not None:
        if one.number % 2:
            opened.answered(one, Scores.empty(5, 0))
            held += 5
    assert held == 25, "the part that passes the limit is the last that is begun"


def test_an_engine_that_answers_twice_or_not_at_all_is_noticed() -> None:
    engine = Backwards(most=2)
    engine.twice = True
    with pytest.raises(LogdriftError, match="sequence 1: the engine answered twice"):
        list(finished(engine, OpenParts(parts_of(1, 2), seed=0)))
    parts = OpenParts(parts_of(1, 2), seed=0)
    assert parts.take() is not None
    with pytest.raises(LogdriftError, match="sequence 0: the engine gave no answer"):
        parts.check_empty()


def test_an_engine_that_ends_before_all_parts_were_begun_is_noticed() -> None:
    parts = OpenParts(parts_of(2, 1), seed=0)
    one = parts.take()
    assert one is not None
    assert parts.answered(one, Scores.empty(3, 0)) is not None
    with pytest.raises(LogdriftError, match="sequence 1: the engine was not asked"):
        parts.check_empty()


def test_what_may_wait_is_counted_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_parts, "MOST_HELD", 20_000)
    begun = {}
    for top_k in (0, 500):
        opened = OpenParts(parts_of(100, 2, tokens=5), seed=0)
        while (one := opened.take()) is not None:
            begun[top_k] = one.number // 2 + 1
            if one.number % 2:
                opened.answered(one, Scores.empty(5, top_k))
    assert begun == {0: 100, 500: 1}


def test_seeds_are_those_of_the_sequences() -> None:
    parts = OpenParts(parts_of(2, 2), seed=40)
    seeds = []
    while (one := parts.take()) is not None:
        seeds.append(one.seed)
    assert seeds == [40, 41, 42, 43]


def test_what_is_done_behind_is_done_in_order_and_to_the_end() -> None:
    done: list[int] = []
    with Behind() as behind:
        for number in range(20):
            behind.do(partial(done.append, number))
    assert done == list(range(20))


def test_what_fails_behind_is_told_and_the_rest_is_done() -> None:
    done: list[int] = []

    def fail_once() -> None:
        with Behind() as behind:
            behind.do(partial(done.append, 20))
            behind.do(lambda: done.append(1 // 0))

    def fail_beside() -> None:
        with Behind() as behind:
            behind.do(partial(done.append, 21))
            raise KeyError

    with pytest.raises(ZeroDivisionError):
        fail_once()
    with pytest.raises(KeyError):
        fail_beside()
    assert done == [20, 21]


@given(st.permutations(range(8)))
def test_parts_are_listed_in_order_whatever_finishes_first(order: list[int]) -> None:
    following: tuple[Part, ...] = ()
    ahead: tuple[Part, ...] = ()
    finished: set[int] = set()
    for index in order:
        part = Part(f"part-{index}", 3 * index, 3, 9)
        following, ahead = listed(following, ahead, part)
        finished.add(index)
        firsts = [one.first_sequence // 3 for one in (*following, *ahead)]
        assert firsts == sorted(finished)
        assert [one.first_sequence for one in following] == [
            3 * place for place in range(len(following))
        ]
        assert len(following) not in finished
    assert ahead == ()
