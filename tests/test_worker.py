"""What the worker does between supervisor and engine that needs no engine to be
seen.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.engines import ENGINES
from logdrift.core.engines.about import Loading
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
from logdrift.core.worker import identity
from logdrift.core.worker.base import BackendSettings, MismatchError, Scores
from logdrift.core.worker.captures import Captures, PartSequences
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
