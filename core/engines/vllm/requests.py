"""Requests on their way through vLLM's engine, step by step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.engines.vllm import start as vllm_start
from logdrift.core.errors import LogdriftError
from logdrift.core.worker.base import AskedSequence, IdArray, MismatchError


@dataclass(frozen=True, slots=True)
class Request:
    """What vLLM is given about one sequence: the ids ``prompt`` and its
    ``SamplingParams``. ``warm``: the prompt is run once before, so that its blocks
    stand in the prefix cache.
    """

    asked: AskedSequence
    prompt: IdArray
    params: Any
    warm: bool = False


class Requests:
    """Requests that vLLM has and has not finished."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm
        self._engine = llm.llm_engine
        self._holds = not vllm_start.in_process(llm)
        self._unfinished: dict[str, Request] = {}

    @property
    def number(self) -> int:
        return len(self._unfinished)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """With an empty prefix cache at first, and nothing left in the engine at the
        end, whatever fails.
        """
        self._llm.reset_prefix_cache()
        try:
            yield
        finally:
            if self._unfinished:
                # What failed is told; a broken engine cannot drop requests either.
                with contextlib.suppress(Exception):
                    self._engine.abort_request(list(self._unfinished))

    def add(self, new: Sequence[Request]) -> None:
        """Queue requests: the first ones of all while an engine in a process of its own
        is paused, so that it does not start with some of them.
        """
        if not new:
            return
        with self._told():
            self._warm([request for request in new if request.warm])
            if self._holds:
                self._llm.sleep(level=0)
            names = self._llm.enqueue(
                [_ids(request) for request in new],
                [request.params for request in new],
                use_tqdm=False,
            )
            if self._holds:
                self._llm.wake_up(tags=["scheduling"])
        self._holds = False
        # vLLM answers to a name without what it adds to make it unique.
        known = [name.partition("-")[0] for name in names]
        self._unfinished.update(zip(known, new, strict=True))

    def step(self) -> list[tuple[AskedSequence, Any]]:
        """Let the engine compute one step; what it finished with it.

        Raises LogdriftError where it has nothing to do any more, and answers are owed.
        """
        if not self._engine.has_unfinished_requests():
            request = next(iter(self._unfinished.values()))
            raise LogdriftError(f"vllm gave no answer to {request.asked.what}")
        with self._told():
            outputs = self._engine.step()
        return [self._finished(output) for output in outputs if output.finished]

    def _finished(self, output: Any) -> tuple[AskedSequence, Any]:
        request = self._unfinished.pop(output.request_id)
        if list(output.prompt_token_ids) != request.prompt.tolist():
            raise MismatchError(
                f"{request.asked.what}: engine answered for other ids than it was given"
            )
        return request.asked, output

    def _warm(self, new: Sequence[Request]) -> None:
        if not new:
            return
        from vllm import SamplingParams

        once = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False)
        self._llm.generate(
            [_ids(request) for request in new],
            [once.clone() for _ in new],
            use_tqdm=False,
        )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What vLLM raises, as one line."""
        try:
            yield
        except Exception as error:
            raise LogdriftError(f"vllm failed: {vllm_start.cause(error)}") from error


def _ids(request: Request) -> dict[str, list[int]]:
    return {"prompt_token_ids": request.prompt.tolist()}
