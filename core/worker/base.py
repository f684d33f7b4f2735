"""What every engine backend gives to the worker, and the shapes in which it gives it.

Position convention, everywhere: entry ``i`` scores ``token_ids[i]`` given the ids
before it. The first token of a sequence has no score. Unscored entries are NaN
(logprob, entropy), 0 (rank) and id -1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.session.scores import FlagArray as FlagArray
from logdrift.core.session.scores import FloatArray as FloatArray
from logdrift.core.session.scores import IdArray as IdArray
from logdrift.core.session.scores import Scores as Scores
from logdrift.core.session.scores import first_rows as first_rows

Progress = Callable[[int, int], None]
"""Called with (sequences, tokens) finished since the call before."""


class MismatchError(LogdriftError):
    """An engine answered with another length, or for other ids, than it was given.

    Such an answer is never truncated or realigned.
    """


def mark_nan(scores: Scores, first: int) -> None:
    """Mark NaN scores from ``first`` on as the engine's own answer.

    Every one of these entries was asked of it, so a NaN is no missing score. The rank
    and the alternatives beside it mean nothing and are removed.
    """
    assert scores.nan is not None
    broken = np.isnan(scores.logprob)
    broken[:first] = False
    scores.nan[broken] = 1
    scores.rank[broken] = 0
    scores.top_ids[broken] = -1
    scores.top_logprobs[broken] = np.nan


@dataclass(frozen=True, slots=True)
class Generation:
    """A sampled completion: ``token_ids`` i32[T] is prompt + completion, ``scores``
    covers all T (prompt entries unscored), ``finish`` is ``stop``, ``length`` or
    ``unknown``.
    """

    token_ids: IdArray
    prompt_length: int
    finish: str
    scores: Scores


Answer = Generation | Scores


def tokens_of(answer: Answer) -> int:
    """How many tokens an answer is about."""
    if isinstance(answer, Generation):
        return len(answer.token_ids)
    return len(answer.logprob)


@dataclass(frozen=True, slots=True)
class AskedSequence:
    """One sequence about which an engine is asked: ``ids`` i32[T], of which the first
    ``prompt_length`` are its prompt. ``seed`` counts where a completion is sampled,
    ``what`` names it in messages, ``number`` tells it apart from others.
    """

    number: int
    ids: IdArray
    prompt_length: int
    what: str
    seed: int = 0


Take = Callable[[], AskedSequence | None]
"""Gives the next sequence; None where there is none for now."""


def asked_prompts(
    prompts: Sequence[IdArray], seeds: Sequence[int]
) -> list[AskedSequence]:
    """The prompts of a part, each to be gone on with from its own seed. Raises
    MismatchError where there are more of one than of the other.
    """
    check_length(len(seeds), len(prompts), "seeds")
    return [
        AskedSequence(index, ids, len(ids), f"prompt {index} of the part", seed)
        for index, (ids, seed) in enumerate(zip(prompts, seeds, strict=True))
    ]


def asked_sequences(sequences: Sequence[IdArray]) -> list[AskedSequence]:
    """The sequences of a part, each to be scored whole."""
    return [
        AskedSequence(index, ids, len(ids), f"sequence {index} of the part")
        for index, ids in enumerate(sequences)
    ]


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """What a backend is opened with.

    ``model`` is a local folder or hub id; ``max_length`` the longest sequence (prompt +
    completion) of the session, which a completion must not pass; ``paths`` those that
    will be asked for; ``top_k`` the number of alternatives kept per position;
    ``max_prompts`` the number of sequences in a part, ``sequences`` that of the session
    (0: not known); ``tokenizer`` the session's model
    where this backend's own is another one, whose folder may hold no tokenizer;
    ``asked`` a question will be put to the loaded model
    (`logdrift.core.worker.questions`), so it must be reachable.
    """

    model: str
    revision: str | None
    spec: BackendSpec
    sampling: SamplingSpec
    paths: tuple[str, ...]
    top_k: int
    max_length: int
    max_prompts: int
    trust_remote_code: bool = False
    tokenizer: str | None = None
    asked: bool = False
    sequences: int = 0

    def new_tokens(self, prompt_length: int, limit: int | None = None) -> int:
        """How many tokens are sampled after a prompt: ``max_tokens``, or what the
        longest sequence (and the ``limit`` of the engine, where it has one) leaves; at
        least 1.
        """
        if limit is None:
            longest = self.max_length
        else:
            longest = min(self.max_length, limit)
        return max(1, min(self.sampling.max_tokens, longest - prompt_length))

    @property
    def other_tokenizer(self) -> str | None:
        """What to name to an engine that would look for a tokenizer beside the weights;
        None: it is there.
        """
        if self.tokenizer not in (None, "", self.model):
            return self.tokenizer
        return None


class Backend(Protocol):
    """One engine in this process: what every engine has.

    The worker calls `open` once, then the paths that the engine's ``about.paths``
    lists, then `close`.

    A path is a protocol of its own, which an engine has only where it lists the path:
    `Decoder` (``decode``), `Scorer` (``prefill``), `ForcedDecoder`
    (``forced_decode``).
    """

    def __init__(self, settings: BackendSettings) -> None: ...

    def open(self) -> Facts:
        """Load the model and observe how it really runs. Raises LogdriftError with one
        line.
        """
        ...

    def resolved_config(self) -> Mapping[str, Any] | None:
        """The model's config as the engine resolved it, overrides included; None where
        it does not tell.
        """
        ...

    def inspect(
        self, function: str, arguments: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """What ``module:function`` says of the loaded model, ``function(model,
        arguments)``, for each rank (`logdrift.core.worker.questions`). Asked only of an
        engine that answers questions.
        """
        ...

    def close(self) -> None:
        """Free the engine and its processes. Safe to call twice."""
        ...


class FullBatches(Protocol):
    """An engine that fills its batches itself, from any number of parts.

    ``full_batches`` are the paths that it does this for. It has the other methods too:
    a reproducible backend is asked part after part.
    """

    full_batches: Collection[str]

    def stream(self, path: str, take: Take) -> Iterator[tuple[AskedSequence, Answer]]:
        """Take sequences as the engine has room for them, and give each answer as soon
        as it is there, in any order, until all that was taken is answered and there is
        no more. How many are in work at once is bounded by the engine.
        """
        ...


class Decoder(Protocol):
    """An engine with path ``decode``."""

    def generate(
        self, prompts: Sequence[IdArray], seeds: Sequence[int], progress: Progress
    ) -> list[Generation]:
        """Sample one completion per prompt, each from its own seed."""
        ...


class Scorer(Protocol):
    """An engine with path ``prefill``."""

    def score(self, sequences: Sequence[IdArray], progress: Progress) -> list[Scores]:
        """Score given ids in one pass."""
        ...


class ForcedDecoder(Protocol):
    """An engine with path ``forced_decode``."""

    def forced_decode(
        self,
        sequences: Sequence[IdArray],
        prompt_lengths: Sequence[int],
        progress: Progress,
    ) -> list[Scores]:
        """Decode step by step along given ids; prompt entries stay unscored."""
        ...


def check_ids(token_ids: IdArray, vocab_size: int, what: str) -> None:
    """Raise `MismatchError` for ids outside ``[0, vocab_size)``, before an engine sees
    them: they kill some engines.
    """
    bad = token_ids[(token_ids < 0) | (token_ids >= vocab_size)]
    if bad.size:
        raise MismatchError(
            f"{what}: token id {int(bad[0])} is outside the vocabulary of"
            f" {vocab_size} ids"
        )


def check_length(got: int, expected: int, what: str) -> None:
    """Raise `MismatchError` unless an engine returned exactly one entry per
    position.
    """
    if got != expected:
        raise MismatchError(
            f"{what}: engine returned {got} entries for {expected} positions"
        )


def in_order(
    answers: Iterable[tuple[AskedSequence, Answer]],
    asked: Sequence[AskedSequence],
    progress: Progress,
) -> list[Answer]:
    """What a stream answers about ``asked``, in their order, each told to ``progress``
    as it comes. Raises MismatchError where one has no answer.
    """
    found = {}
    for one, answer in answers:
        progress(1, tokens_of(answer))
        found[one.number] = answer
    check_length(len(found), len(asked), "requests")
    return [found[one.number] for one in asked]


MINUS_INFINITY = -9999.0
"""At and below it an engine's number stands for minus infinity: vLLM writes -9999.0,
SGLang the least float32.
"""

ROUNDED_UP = 1e-3
"""Nats by which rounding may lift a logprob above 0: far more than it does, and far
less than any real fault.
"""


def logprob_from(value: Any) -> float:
    """An engine's number as a logprob in nats: NaN for None, -inf for what stands for
    it.
    """
    if value is None:
        return float("nan")
    number = float(value)
    if number <= MINUS_INFINITY:
        return float("-inf")
    return number
