"""vLLM (V1 engine, offline ``LLM``): decode, prefill and forced decode on ids that
logdrift holds itself.

How it is run, and why:

- The engine core runs in this process (``VLLM_ENABLE_V1_MULTIPROCESSING=0`` unless the
  user set it). In a process of its own it may start its first step before all requests
  of a part have arrived, so the batches, and with them the numbers, would differ from
  run to run. Where the user asks for that process, the first requests are queued while
  the scheduler is paused.
- vLLM is kept full (`VllmBackend.stream`): it is given sequences of many parts, and its
  own scheduler decides what it computes at once. Batch composition changes numbers, so
  a capture that goes on after a break differs from an undisturbed one by the floor of
  the batch's shape. A reproducible backend is given one part at a time, and a part
  gives the same numbers whenever it is run.
- The prefix cache is emptied before each part, or each capture in full batches. Our
  own option ``warm_prefix_cache=true`` then runs each prompt once before forced decode,
  which so finds it in the cache (scoring never reads the cache) and is done part after
  part. Options whose name starts with ``VLLM_`` are set as environment variables.
- ``max_model_len`` is the longest sequence + 1: vLLM refuses to score a sequence as
  long as ``max_model_len``, since it always samples one token more (which is dropped
  here). Where the longest sequence has every position of the model, vLLM is made to
  allow that one more (``VLLM_ALLOW_LONG_MAX_MODEL_LEN``): the sampled token is never
  fed, so no position beyond the model's is computed.
- On a CPU, ``enforce_eager`` defaults to True (inductor costs about 100 s at start),
  ``torch.compile`` is off with it (vLLM otherwise compiles even the rank counter, 15 s
  and a C++ compiler), and the KV cache to 1 GiB (``VLLM_CPU_KVCACHE_SPACE``): left
  alone, vLLM takes 92% of the memory. One thread per core but one computes, as vLLM's
  own executor would have it (bfloat16 numbers depend on the number of threads).
- Options go to ``LLM`` by vLLM's own names and win over these defaults, except
  ``max_logprobs``, which is raised to the top-k that is kept. Those that belong to the
  plan (model, revision, dtype) are refused.

Ranks: vLLM counts ids tied with the target into its rank. Where the returned top-k
reaches down to the target the strict rank is exact (1 + returned values above the
target's) and is given; below the k-th only vLLM's count is known. Facts therefore say
``inclusive``, the weaker promise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from logdrift.core.engines.vllm import start as vllm_start
from logdrift.core.engines.vllm.requests import Request, Requests
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.worker.base import (
    MINUS_INFINITY,
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
    check_length,
    in_order,
    mark_nan,
)


class VllmBackend:
    """`logdrift.core.worker.base.Backend` for vLLM. Not thread-safe; one engine per
    process.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._mode = vllm_start.check_mode(settings)
        self._llm: Any = None
        self._vocab_size = 0
        self._max_length = 0

    def open(self) -> Facts:
        """Start the engine (20-30 s) and observe it. Raises InputError for an option
        vLLM does not have or that would break the numbers, LogdriftError where the
        engine does not start or the sequences do not fit.
        """
        self._llm, environment = vllm_start.start(self._settings)
        facts = vllm_start.facts(
            self._settings, self._llm, self._mode, self._sampling(0, 1), environment
        )
        self._vocab_size = facts.vocab_size or 0
        self._max_length = facts.max_length or 0
        self._check_room()
        return facts

    def resolved_config(self) -> Mapping[str, Any]:
        """The config that vLLM builds the model from, with ``hf_overrides`` in it."""
        return dict(self._llm.llm_engine.vllm_config.model_config.hf_config.to_dict())

    @property
    def full_batches(self) -> tuple[str, ...]:
        """Paths of `stream`. The prefix cache is warmed for one batch at a time."""
        if self._settings.spec.options.get(vllm_start.WARM):
            return ("decode", "prefill")
        return ("decode", "prefill", "forced_decode")

    def stream(self, path: str, take: Take) -> Iterator[tuple[AskedSequence, Answer]]:
        """`logdrift.core.worker.base.FullBatches`: twice as many requests as vLLM
        computes at once are queued, so that its scheduler always finds the next ones.
        """
        scheduler = self._llm.llm_engine.vllm_config.scheduler_config
        return self._flow(path, take, most=2 * scheduler.max_num_seqs)

    def generate(
        self, prompts: Sequence[IdArray], seeds: Sequence[int], progress: Progress
    ) -> list[Generation]:
        """Sample one completion per prompt; logprobs of the sampled ids as
        `Facts.decode_logprobs` says (nats).

        Every sampling parameter is given explicitly, so of the model's
        generation_config only its end-of-sequence ids count. The end-of-sequence id
        that stopped a completion is its last id and is scored.
        """
        asked = asked_prompts(prompts, seeds)
        return cast(list[Generation], self._together("decode", asked, progress))

    def score(self, sequences: Sequence[IdArray], progress: Progress) -> list[Scores]:
        """Score given ids in one pass: raw log-softmax of the logits (nats), whatever
        the sampling parameters.
        """
        asked = asked_sequences(sequences)
        return cast(list[Scores], self._together("prefill", asked, progress))

    def forced_decode(
        self,
        sequences: Sequence[IdArray],
        prompt_lengths: Sequence[int],
        progress: Progress,
    ) -> list[Scores]:
        """Decode step by step along given ids, KV cache and all; prompt entries stay
        unscored.

        With model runner V2 by vLLM's trace replay (written from its source, not yet
        run on a GPU), with V1 by `logdrift.core.engines.vllm.forced.ForcedIds`.
        Sequences without a completion come back unscored.
        """
        if "forced_decode" not in self._settings.paths:
            raise LogdriftError(
                "vllm: forced_decode was not among the paths that the engine was opened"
                " with"
            )
        check_length(len(prompt_lengths), len(sequences), "prompt lengths")
        asked = [
            AskedSequence(index, ids, length, f"sequence {index} of the part")
            for index, (ids, length) in enumerate(
                zip(sequences, prompt_lengths, strict=True)
            )
        ]
        return cast(list[Scores], self._together("forced_decode", asked, progress))

    def _together(
        self, path: str, asked: Sequence[AskedSequence], progress: Progress
    ) -> list[Answer]:
        """Answers to one batch, in order. All is checked before anything runs."""
        for one in asked:
            self._check_asked(path, one)
        take = partial(next, iter(asked), None)
        answers = self._flow(path, take, most=len(asked))
        return in_order(answers, asked, progress)

    def _flow(
        self, path: str, take: Take, most: int
    ) -> Iterator[tuple[AskedSequence, Answer]]:
        """Requests through the engine, at most ``most`` at once, each answer as soon
        as it is there. The prefix cache is empty at first.
        """
        if self._llm is None:
            raise LogdriftError("vllm is not running")
        requests = Requests(self._llm)
        with requests.running():
            while True:
                new, unasked = self._taken(path, take, most - requests.number)
                for one in unasked:
                    yield one, Scores.empty(len(one.ids), self._settings.top_k)
                requests.add(new)
                if not requests.number:
                    if unasked:
                        continue  # answers that are written make room for more
                    return
                for one, output in requests.step():
                    yield one, self._answer(path, one, output)

    def _taken(
        self, path: str, take: Take, room: int
    ) -> tuple[list[Request], list[AskedSequence]]:
        """Up to ``room`` new requests, and what was taken that nothing is asked of: no
        completion to be forced.
        """
        requests: list[Request] = []
        unasked: list[AskedSequence] = []
        while len(requests) < room and (one := take()) is not None:
            self._check_asked(path, one)
            if path == "forced_decode" and one.prompt_length == len(one.ids):
                unasked.append(one)
                continue
            requests.append(self._request(path, one))
        return requests, unasked

    def _check_asked(self, path: str, one: AskedSequence) -> None:
        if path == "forced_decode":
            self._check_forced(one)
        else:
            self._check(one, room=1)

    def _request(self, path: str, one: AskedSequence) -> Request:
        prompt = one.ids
        if path == "decode":
            new_tokens = self._settings.new_tokens(len(prompt), self._max_length)
            return Request(one, prompt, self._sampling(one.seed, new_tokens))
        if path == "prefill":
            return Request(one, prompt, self._scoring())
        completion = prompt[one.prompt_length :].tolist()
        prompt = prompt[: one.prompt_length]
        warm = bool(self._settings.spec.options.get(vllm_start.WARM))
        return Request(one, prompt, self._forcing_parameters(completion), warm)

    def _answer(self, path: str, one: AskedSequence, output: Any) -> Answer:
        if path == "decode":
            return self._generation(one, output)
        if path == "prefill":
            return self._prefilled(one, output)
        return self._forced_scores(one, output.outputs[0])

    def _prefilled(self, one: AskedSequence, output: Any) -> Scores:
        check_length(len(output.prompt_logprobs), len(one.ids), one.what)
        return unpack(
            output.prompt_logprobs,
            one.ids,
            first=1,
            skipped=1,
            top_k=self._settings.top_k,
            what=one.what,
        )

    def _check_forced(self, one: AskedSequence) -> None:
        self._check(one, room=0)
        if not 0 < one.prompt_length <= len(one.ids):
            raise MismatchError(
                f"{one.what}: prompt length {one.prompt_length} of {len(one.ids)} ids"
            )

    def _forced_scores(self, one: AskedSequence, completion: Any) -> Scores:
        what = f"{one.what}, forced decode"
        if list(completion.token_ids) != one.ids[one.prompt_length :].tolist():
            raise MismatchError(
                f"{what}: engine decoded other ids than it was forced to"
            )
        return unpack(
            completion.logprobs,
            one.ids,
            first=one.prompt_length,
            skipped=0,
            top_k=self._settings.top_k,
            what=what,
        )

    def inspect(
        self, function: str, arguments: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """What ``module:function`` says of the loaded model
        (`logdrift.core.worker.questions`), for each rank. LogdriftError where the
        user's own ``worker_extension_cls`` took our place beside the model.
        """
        call = (function, dict(arguments))
        try:
            return list(self._llm.collective_rpc("logdrift_inspect", args=call))
        except Exception as error:
            if self._settings.spec.options.get("worker_extension_cls"):
                raise LogdriftError(
                    "vllm: its model cannot be reached: leave out worker_extension_cls"
                ) from error
            raise LogdriftError(
                f"vllm: its model cannot be looked at: {vllm_start.cause(error)}"
            ) from error

    def close(self) -> None:
        """Shut the engine down, its child processes included. Safe to call twice."""
        llm = self._llm
        self._llm = None
        if llm is None:
            return
        import multiprocessing

        llm.llm_engine.engine_core.shutdown()
        # vLLM kills an engine core that is slow to end, but does not wait for it.
        for child in multiprocessing.active_children():
            child.join(timeout=10)

    def _check_room(self) -> None:
        if self._settings.top_k > self._vocab_size:
            self.close()
            raise LogdriftError(
                f"vllm: top_k {self._settings.top_k} is more than the"
                f" {self._vocab_size} ids of the vocabulary: give less"
            )
        longest = self._settings.max_length
        limit = self._max_length
        paths = self._settings.paths
        room = 1 if "prefill" in paths else 0
        if longest + room > limit:
            self.close()
            has_own_limit = "max_model_len" in self._settings.spec.options
            own = "raise max_model_len, or " if has_own_limit else ""
            raise LogdriftError(
                f"vllm takes at most {limit - room} tokens per sequence here"
                f" (max_model_len {limit}), the longest sequence has up to {longest}:"
                f" {own}shorten the prompts or sampling.max_tokens"
            )

    def _check(self, one: AskedSequence, room: int) -> None:
        ids = one.ids
        if len(ids) == 0:
            raise MismatchError(
                f"{one.what}: it has no ids, and vllm needs at least one"
            )
        check_ids(ids, self._vocab_size, one.what)
        if len(ids) + room > self._max_length:
            raise MismatchError(
                f"{one.what}: it has {len(ids)} tokens, and vllm takes"
                f" {self._max_length - room} (max_model_len {self._max_length})"
            )

    def _scoring(self) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=self._settings.top_k,
            detokenize=False,
            flat_logprobs=True,
        )

    def _sampling(self, seed: int, max_tokens: int) -> Any:
        from vllm import SamplingParams

        spec = self._settings.sampling
        return SamplingParams(
            temperature=spec.temperature,
            top_p=spec.top_p,
            top_k=spec.top_k,
            min_p=spec.min_p,
            repetition_penalty=spec.repetition_penalty,
            max_tokens=max_tokens,
            seed=seed,
            logprobs=self._settings.top_k,
            detokenize=False,
            flat_logprobs=True,
        )

    def _forcing_parameters(self, ids: list[int]) -> Any:
        from vllm import SamplingParams

        common: dict[str, Any] = {
            "max_tokens": len(ids),
            "temperature": 0.0,
            "ignore_eos": True,
            "logprobs": self._settings.top_k,
            "detokenize": False,
            "flat_logprobs": True,
        }
        model_config = self._llm.llm_engine.vllm_config.model_config
        if getattr(model_config, "enable_trace_replay", False):
            return SamplingParams(**common, trace_decode_token_ids=ids)
        from logdrift.core.engines.vllm.forced import FORCED_IDS

        return SamplingParams(**common, extra_args={FORCED_IDS: ids})

    def _generation(self, one: AskedSequence, output: Any) -> Generation:
        completion = output.outputs[0]
        prompt = one.ids
        if completion.finish_reason not in ("stop", "length"):
            raise LogdriftError(
                f"{one.what}: vllm ended it with {completion.finish_reason!r}"
            )
        sampled = np.asarray(completion.token_ids, np.int32)
        ids = np.concatenate([prompt, sampled]).astype(np.int32)
        check_ids(ids, self._vocab_size, one.what)
        scores = unpack(
            completion.logprobs,
            ids,
            first=len(prompt),
            skipped=0,
            top_k=self._settings.top_k,
            what=one.what,
        )
        return Generation(ids, len(prompt), str(completion.finish_reason), scores)


def unpack(
    flat: Any, ids: IdArray, *, first: int, skipped: int, top_k: int, what: str
) -> Scores:
    """vLLM's ``FlatLogprobs`` as `Scores` of ``ids`` (i32[T]): row ``skipped + j``
    scores position ``first + j``.

    A row holds the target, then the ``top_k`` best, best first; the target may be among
    those again. (vLLM's list of dicts has k or k+1 entries instead, because there the
    two fall together.) Raises `MismatchError` unless there is exactly one row per
    position, each of ``top_k + 1`` entries with the target first.
    """
    rows = len(ids) - first
    width = top_k + 1
    check_length(len(flat.start_indices) - skipped, rows, what)
    starts = np.asarray(flat.start_indices[skipped:], np.int64)
    widths = np.asarray(flat.end_indices[skipped:], np.int64) - starts
    has_other_widths = bool(np.any(widths != width))
    has_gaps = bool(np.any(np.diff(starts) != width))
    begins_late = rows > 0 and starts[0] != 0
    if has_other_widths or has_gaps or begins_late:
        raise MismatchError(
            f"{what}: engine returned rows of {sorted(set(widths.tolist()))} entries,"
            f" not {width}"
        )
    returned = np.asarray(flat.token_ids, np.int32).reshape(rows, width)
    values = np.asarray(flat.logprobs, np.float32).reshape(rows, width)
    ranks = np.asarray(flat.ranks, np.int32).reshape(rows, width)
    if not np.array_equal(returned[:, 0], ids[first:]):
        raise MismatchError(f"{what}: engine scored other ids than it was given")
    values = np.where(values <= MINUS_INFINITY, np.float32("-inf"), values)
    scores = Scores.empty(len(ids), top_k)
    scores.logprob[first:] = values[:, 0]
    scores.rank[first:] = ranks[:, 0]
    if top_k:
        scores.top_ids[first:] = returned[:, 1:]
        scores.top_logprobs[first:] = values[:, 1:]
        is_within_top_k = values[:, 0] >= values[:, -1]
        strict = 1 + np.sum(values[:, 1:] > values[:, :1], axis=1)
        scores.rank[first:] = np.where(is_within_top_k, strict, ranks[:, 0])
    mark_nan(scores, first)
    return scores
