"""`logdrift.core.worker.base.Backend` on a running server: what the servers of all
engines have in common.

It sends ids and compares the ids that come back. It asks for nothing that would change
the server.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import (
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NoReturn, TypeVar, cast

from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.plan import SamplingSpec
from logdrift.core.servers.client import ServerClient
from logdrift.core.servers.keys import key_of
from logdrift.core.servers.probe import (
    COLD,
    PROBE_ALTERNATIVES,
    PROBE_IDS,
    WARM,
    Mode,
    mode_of,
)
from logdrift.core.servers.readings import ServerReading
from logdrift.core.servers.versions import last_version
from logdrift.core.worker.base import (
    Answer,
    AskedSequence,
    BackendSettings,
    Generation,
    IdArray,
    MismatchError,
    Progress,
    Scores,
    Take,
    asked_prompts,
    asked_sequences,
    check_ids,
    in_order,
)

_T = TypeVar("_T")
_Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about one sequence: ``ids`` i32[T] go in, up to ``new_tokens`` are
    sampled behind them with ``sampling`` and ``seed`` (0: the ids are scored), and each
    token comes with ``top_k`` alternatives. ``request`` is the name that the server
    gets, ``what`` the one in messages.
    """

    ids: IdArray
    new_tokens: int
    seed: int
    sampling: SamplingSpec
    top_k: int
    request: str
    what: str


class ServerBackend(ABC):
    """One running server. Options are `logdrift.core.plan.server.ServerOptions`."""

    paths: ClassVar[Mapping[str, str]]
    """All that may be asked for, each path with its method: nothing that changes the
    server.
    """
    engine: ClassVar[str]

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self.options = settings.spec.server_options()
        self.vocabulary: int | None = None
        self.limit: int | None = None
        self.version: str | None = None
        self._runner: asyncio.Runner | None = None
        self._client: ServerClient | None = None
        self._number = 0

    # -- what each engine's server does in its own way

    @abstractmethod
    async def describe(self) -> Facts:
        """What the server tells of itself; sets ``limit`` and ``vocabulary`` where it
        tells them. Raises LogdriftError where it serves something else.
        """

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The path on which tokens are sampled and scored."""

    @abstractmethod
    def body(self, wanted: Wanted) -> _Body:
        """The body of a request."""

    @abstractmethod
    def generation(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Generation:
        """The completion in an answer, checked. Raises MismatchError."""

    @abstractmethod
    def scores(
        self, wanted: Wanted, answer: Mapping[str, Any], reading: ServerReading
    ) -> Scores:
        """The scores in an answer, checked. Raises MismatchError."""

    @abstractmethod
    def with_semantics(self, facts: Facts, mode: Mode | None) -> Facts:
        """Facts with what decode log-probabilities mean where the probe gave
        ``mode``.
        """

    # -- Backend

    def open(self) -> Facts:
        """Look at the server and probe what it does not tell. Raises LogdriftError."""
        self._runner = asyncio.Runner()
        try:
            return self._run(self._opened())
        except BaseException:
            self.close()
            raise

    def resolved_config(self) -> Mapping[str, Any] | None:
        """A server does not tell the config of its model."""
        return None

    def inspect(self, function: str, arguments: Mapping[str, Any]) -> NoReturn:
        """A server does not let its model be looked at."""
        raise LogdriftError(
            f"{self.engine} runs as a server, whose model cannot be looked at",
            remedy="score with it instead: its numbers are those of the weights that it"
            " holds now",
        )

    def generate(
        self, prompts: Sequence[IdArray], seeds: Sequence[int], progress: Progress
    ) -> list[Generation]:
        """Sample one completion per prompt, all requests of a part at once as far as
        the server bears it.
        """
        asked = asked_prompts(prompts, seeds)
        return cast(list[Generation], self._together("decode", asked, progress))

    def score(self, sequences: Sequence[IdArray], progress: Progress) -> list[Scores]:
        """Score given ids in one pass: raw log-softmax of the logits (nats)."""
        asked = asked_sequences(sequences)
        return cast(list[Scores], self._together("prefill", asked, progress))

    full_batches: ClassVar[tuple[str, ...]] = ("decode", "prefill")

    def stream(self, path: str, take: Take) -> Iterator[tuple[AskedSequence, Answer]]:
        """`logdrift.core.worker.base.FullBatches`: as many requests at once as
        ``concurrency`` allows and the server bears. The first failure ends them all.
        """
        tasks: dict[asyncio.Task[Answer], AskedSequence] = {}
        try:
            while True:
                self._fill(tasks, path, take)
                if not tasks:
                    return
                for task in self._run(_finished(tasks)):
                    yield tasks.pop(task), task.result()
        finally:
            if tasks and self._runner is not None:
                self._run(_cancelled(tasks))

    def close(self) -> None:
        """Close the connections; the server goes on. Safe to call twice."""
        runner, client = self._runner, self._client
        self._runner = None
        self._client = None
        if runner is None:
            return
        if client is not None:
            runner.run(client.close())
        runner.close()

    # -- asking

    @property
    def client(self) -> ServerClient:
        """The connections to the server."""
        assert self._client is not None
        return self._client

    room: ClassVar[int] = 0
    """Positions behind a sequence without which the server does not score it."""

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._runner is None:
            work.close()
            raise LogdriftError(f"the connection to {self.engine} is closed")
        return self._runner.run(work)

    def _fill(
        self, tasks: dict[asyncio.Task[Answer], AskedSequence], path: str, take: Take
    ) -> None:
        """Begin as many requests more as may be in flight."""
        if self._runner is None:
            raise LogdriftError(f"the connection to {self.engine} is closed")
        loop = self._runner.get_loop()
        while len(tasks) < self.options.concurrency and (one := take()) is not None:
            task = loop.create_task(self._about(path, one))
            tasks[task] = one

    def _together(
        self, path: str, asked: Sequence[AskedSequence], progress: Progress
    ) -> list[Answer]:
        """Answers to one part, in order. All is checked before anything is sent."""
        for one in asked:
            self._check_asked(path, one)
        take = partial(next, iter(asked), None)
        return in_order(self.stream(path, take), asked, progress)

    async def _about(self, path: str, one: AskedSequence) -> Answer:
        """The answer about one sequence."""
        self._check_asked(path, one)
        wanted = self._wanted(one.ids, one.what)
        if path == "decode":
            new_tokens = self.settings.new_tokens(len(one.ids), self.limit)
            wanted = replace(wanted, new_tokens=new_tokens, seed=one.seed)
            return await self._generated(wanted)
        return await self._scored(wanted)

    async def _opened(self) -> Facts:
        spec = self.settings.spec
        assert spec.server is not None
        about = ENGINES[spec.engine].server
        assert about is not None
        self._client = ServerClient(
            address=spec.server,
            options=self.options,
            key=key_of(spec),
            paths=self.paths,
            variable=about.key_variable,
        )
        facts = self._with_dtype(await self.describe())
        self._check_room()
        facts = facts._replace(weight_version=_named_version(self.version))
        if "decode" not in self.settings.paths:
            return facts
        facts = await self._probed(facts)
        sampling = self.settings.sampling
        return facts._replace(
            weight_version=_named_version(self.version),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
        )

    def _with_dtype(self, facts: Facts) -> Facts:
        """Facts with the dtype that the user knows, where the server does not tell
        it. Raises LogdriftError where it tells another.
        """
        asked = self.settings.spec.dtype
        if asked == "auto" or facts.dtype == asked:
            return facts
        if facts.dtype is None:
            return facts._replace(dtype=asked, told=("dtype",))
        raise self.client.error(
            f"it runs in {facts.dtype}, and the backend is given as {asked}",
            "leave out the dtype",
        )

    async def _probed(self, facts: Facts) -> Facts:
        """Facts with the meaning of decode log-probabilities, found by two requests."""
        warm = await self._probe(WARM)
        cold = await self._probe(COLD)
        return self.with_semantics(facts, mode_of(warm, cold))

    async def _probe(self, temperature: float) -> Scores:
        top_k = self.settings.top_k
        if top_k < 2:
            top_k = PROBE_ALTERNATIVES
        wanted = replace(
            self._wanted(PROBE_IDS, f"the probe at temperature {temperature:g}"),
            new_tokens=1,
            sampling=SamplingSpec(temperature=temperature),
            top_k=top_k,
        )
        generation = await self._generated(wanted)
        scores = generation.scores
        self.version = self.version or last_version(scores.versions)
        return scores

    def _wanted(self, ids: IdArray, what: str) -> Wanted:
        self._number += 1
        return Wanted(
            ids=ids,
            new_tokens=0,
            seed=0,
            sampling=self.settings.sampling,
            top_k=self.settings.top_k,
            request=f"logdrift-{uuid.uuid4().hex[:12]}-{self._number}",
            what=what,
        )

    async def _generated(self, wanted: Wanted) -> Generation:
        answer, reading = await self._answer(wanted)
        made = self.generation(wanted, answer, reading)
        new_tokens = len(made.token_ids) - made.prompt_length
        if not 1 <= new_tokens <= wanted.new_tokens:
            reading.wrong(f"{new_tokens} tokens, where {wanted.new_tokens} were asked")
        self._check_vocabulary(made.token_ids, made.scores, reading)
        return made

    async def _scored(self, wanted: Wanted) -> Scores:
        answer, reading = await self._answer(wanted)
        found = self.scores(wanted, answer, reading)
        self._check_vocabulary(wanted.ids, found, reading)
        return found

    async def _answer(self, wanted: Wanted) -> tuple[dict[str, Any], ServerReading]:
        def body(number: int) -> _Body:
            # A server may still be at work for a try whose connection was lost.
            request = f"{wanted.request}.{number}"
            return self.body(replace(wanted, request=request))

        what = f"{wanted.what} ({wanted.request})"
        answer = await self.client.ask(self.endpoint, body, what)
        return answer, ServerReading(what, self.client.mismatch)

    # -- checks

    def check_weight_version(self, version: Any) -> None:
        """Raise LogdriftError where scores are not of the weights of those before.
        None: the server does not tell.
        """
        if version is None:
            return
        named = str(version)[:100]
        before = self.version or named
        self.version = before
        if named != before:
            raise self.client.error(
                f"its weights were changed meanwhile, from version {before} to {named}",
                "score while nothing updates it, in a new session",
            )

    def _check_asked(self, path: str, one: AskedSequence) -> None:
        ids, what = one.ids, one.what
        room = self.room if path == "prefill" else 1
        if len(ids) == 0:
            raise MismatchError(f"{what}: it has no ids")
        if self.vocabulary is not None:
            check_ids(ids, self.vocabulary, what)
        if self.limit is not None and len(ids) + room > self.limit:
            raise self.client.mismatch(
                f"{what}: it has {len(ids)} tokens, and the server takes"
                f" {self.limit - room}"
            )

    def _check_vocabulary(
        self, ids: IdArray, scores: Scores, reading: ServerReading
    ) -> None:
        if self.vocabulary is None:
            return
        for found in (ids, scores.top_ids):
            largest = int(found.max(initial=0))
            if largest >= self.vocabulary:
                reading.wrong(
                    f"id {largest} is outside the vocabulary of {self.vocabulary} ids"
                )

    def _check_room(self) -> None:
        """Raise LogdriftError where the longest sequence does not fit the server."""
        longest = self.settings.max_length
        room = self.room if "prefill" in self.settings.paths else 0
        if self.limit is None or longest + room <= self.limit:
            return
        raise self.client.error(
            f"it takes at most {self.limit - room} tokens per sequence, the longest"
            f" sequence has up to {longest}",
            "start it with a larger length, or shorten the prompts or"
            " sampling.max_tokens",
        )


async def _finished(tasks: Iterable[asyncio.Task[_T]]) -> set[asyncio.Task[_T]]:
    """Those that are done, once there is one."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End what is left of them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _named_version(version: str | None) -> str | None:
    """Both engines call weights that were never updated ``default``."""
    if version == "default":
        return None
    return version
