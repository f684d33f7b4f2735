"""vLLM (V1 engine, offline ``LLM``): decode, prefill and forced decode on ids that
logdrift holds itself.

How it is run, and why:

- The engine core runs in this process (``VLLM_ENABLE_V1_MULTIPROCESSING=0`` unless the
  user set it). In a process of its own it may start its first step before all requests
  of a part have arrived, so the batches, and with them the numbers, would differ from
  run to run. Where the user asks for that process, requests are queued while the
  scheduler is paused. A part gives the same numbers whenever it is run; a part cut
  otherwise need not, because batch composition does change the decode path.
- The prefix cache is emptied before each part, so that no part depends on those before
  it. Our own option ``warm_prefix_cache=true`` then runs each prompt once before forced
  decode, which so finds it in the cache (scoring never reads the cache). Options whose
  name starts with ``VLLM_`` are set as environment variables.
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

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from logdrift.core.engines.vllm import start as vllm_start
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.worker.base import (
    MINUS_INFINITY,
    BackendSettings,
    Generation,
    IdArray,
    MismatchError,
    Progress,
    Scores,
    check_ids,
    check_length,
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

    def generate(
        self, prompts: Sequence[IdArray], seeds: Sequence[int], progress: Progress
    ) -> list[Generation]:
        """Sample one completion per prompt; logprobs of the sampled ids as
        `Facts.decode_logprobs` says (nats).

        Every sampling parameter is given explicitly, so of the model's
        generation_config only its end-of-sequence ids count. The end-of-sequence id
        that stopped a completion is its last id and is scored.
        """
        check_length(len(seeds), len(prompts), "seeds")
        for index, prompt in enumerate(prompts):
            self._check(prompt, index, room=1)
        params = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            new_tokens = self._settings.new_tokens(len(prompt), self._max_length)
            params.append(self._sampling(seed, new_tokens))
        outputs = self._run(prompts, params, progress)
        answered = zip(prompts, outputs, strict=True)
        return [
            self._generation(prompt, output, index)
            for index, (prompt, output) in enumerate(answered)
        ]

    def score(self, sequences: Sequence[IdArray], progress: Progress) -> list[Scores]:
        """Score given ids in one pass: raw log-softmax of the logits (nats), whatever
        the sampling parameters.
        """
        from vllm import SamplingParams

        for index, ids in enumerate(sequences):
            self._check(ids, index, room=1)
        top_k = self._settings.top_k
        params = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=top_k,
            detokenize=False,
            flat_logprobs=True,
        )
        outputs = self._run(sequences, [params.clone() for _ in sequences], progress)
        scores = []
        for index, (ids, output) in enumerate(zip(sequences, outputs, strict=True)):
            what = f"sequence {index} of the part"
            check_length(len(output.prompt_logprobs), len(ids), what)
            of_sequence = unpack(
                output.prompt_logprobs, ids, first=1, skipped=1, top_k=top_k, what=what
            )
            scores.append(of_sequence)
        return scores

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
        scores = []
        decoded = []
        prompts = []
        params = []
        for index, ids in enumerate(sequences):
            prompt_length = prompt_lengths[index]
            self._check_forced(ids, prompt_length, index)
            scores.append(Scores.empty(len(ids), self._settings.top_k))
            if prompt_length == len(ids):
                progress(1, len(ids))
                continue
            decoded.append(index)
            prompts.append(ids[:prompt_length])
            params.append(self._forcing_parameters(ids[prompt_length:].tolist()))
        outputs = self._run(prompts, params, progress)
        for index, output in zip(decoded, outputs, strict=True):
            scores[index] = self._forced_scores(
                output.outputs[0], sequences[index], prompt_lengths[index], index
            )
        return scores

    def _check_forced(self, ids: IdArray, prompt_length: int, index: int) -> None:
        self._check(ids, index, room=0)
        if not 0 < prompt_length <= len(ids):
            raise MismatchError(
                f"sequence {index} of the part: prompt length {prompt_length} of"
                f" {len(ids)} ids"
            )

    def _forced_scores(
        self, completion: Any, ids: IdArray, prompt_length: int, index: int
    ) -> Scores:
        what = f"sequence {index} of the part, forced decode"
        if list(completion.token_ids) != ids[prompt_length:].tolist():
            raise MismatchError(
                f"{what}: engine decoded other ids than it was forced to"
            )
        top_k = self._settings.top_k
        return unpack(
            completion.logprobs,
            ids,
            first=prompt_length,
            skipped=0,
            top_k=top_k,
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

    def _check(self, ids: IdArray, index: int, room: int) -> None:
        what = f"sequence {index} of the part"
        if len(ids) == 0:
            raise MismatchError(f"{what}: it has no ids, and vllm needs at least one")
        check_ids(ids, self._vocab_size, what)
        if len(ids) + room > self._max_length:
            raise MismatchError(
                f"{what}: it has {len(ids)} tokens, and vllm takes"
                f" {self._max_length - room} (max_model_len {self._max_length})"
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

    def _run(
        self, prompts: Sequence[IdArray], params: Sequence[Any], progress: Progress
    ) -> list[Any]:
        """Requests of one part through the engine, answers in the order of
        ``prompts``.
        """
        if self._llm is None:
            raise LogdriftError("vllm is not running")
        if not prompts:
            return []
        try:
            finished = self._step_through(prompts, params, progress)
        except LogdriftError:
            raise
        except Exception as error:
            raise LogdriftError(f"vllm failed: {vllm_start.cause(error)}") from error
        check_length(len(finished), len(prompts), "vllm requests")
        outputs = sorted(finished, key=lambda output: int(output.request_id))
        for index, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
            if list(output.prompt_token_ids) != prompt.tolist():
                raise MismatchError(
                    f"sequence {index} of the part: engine answered for other ids than"
                    " it was given"
                )
        return outputs

    def _step_through(
        self, prompts: Sequence[IdArray], params: Sequence[Any], progress: Progress
    ) -> list[Any]:
        llm = self._llm
        engine = llm.llm_engine
        hold = not vllm_start.in_process(llm)
        llm.reset_prefix_cache()
        self._warm(prompts, params)
        if hold:
            llm.sleep(level=0)
        llm.enqueue(
            [{"prompt_token_ids": prompt.tolist()} for prompt in prompts],
            list(params),
            use_tqdm=False,
        )
        if hold:
            llm.wake_up(tags=["scheduling"])
        finished = []
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    finished.append(output)
                    progress(1, _tokens_of(output))
        return finished

    def _warm(self, prompts: Sequence[IdArray], params: Sequence[Any]) -> None:
        """Run the prompts of a forced decode once, so that their blocks stand in the
        prefix cache.
        """
        forced = any(
            p.extra_args or getattr(p, "trace_decode_token_ids", None) for p in params
        )
        if not forced or not self._settings.spec.options.get(vllm_start.WARM):
            return
        from vllm import SamplingParams

        once = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False)
        self._llm.generate(
            [{"prompt_token_ids": prompt.tolist()} for prompt in prompts],
            [once.clone() for _ in prompts],
            use_tqdm=False,
        )

    def _generation(self, prompt: IdArray, output: Any, index: int) -> Generation:
        completion = output.outputs[0]
        what = f"prompt {index} of the part"
        if completion.finish_reason not in ("stop", "length"):
            raise LogdriftError(
                f"{what}: vllm ended it with {completion.finish_reason!r}"
            )
        sampled = np.asarray(completion.token_ids, np.int32)
        ids = np.concatenate([prompt, sampled]).astype(np.int32)
        check_ids(ids, self._vocab_size, what)
        scores = unpack(
            completion.logprobs,
            ids,
            first=len(prompt),
            skipped=0,
            top_k=self._settings.top_k,
            what=what,
        )
        return Generation(ids, len(prompt), str(completion.finish_reason), scores)


def _tokens_of(output: Any) -> int:
    """Tokens of a finished request: of a scored one not the token that vLLM samples
    behind it.
    """
    scored = output.prompt_logprobs is not None
    if scored:
        return len(output.prompt_token_ids)
    return len(output.prompt_token_ids) + len(output.outputs[0].token_ids)


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
