"""SGLang in this process: `sgl.Engine` on ids, with what it really reports for them.

Settled by reading SGLang 0.5.23 and by runs of it (paths below are under sglang/srt):

- Numbers are joined by position on the ids that were sent. The echo replaces the last
  id of the vocabulary by 0 (managers/scheduler_components/logprob_result_processor.py)
  and serves only to prove that an answer is ours.
- Input logprobs are never tempered; output logprobs are log-softmax(logits / T) and see
  penalties (layers/sampler.py). What was asked for decides which it is, and the Facts
  say so.
- A list of id lists reaches the scheduler as one message
  (managers/tokenizer_manager.py, batch tokenisation), so the batches that it forms, and
  with them the rounding, depend on the part alone once the cache is empty.
- `sampling_seed` counts only under deterministic inference. Elsewhere tokens are drawn
  from torch's global generator, whose state depends on all that was sampled before: see
  `SeedGenerator`.
- Ids outside the vocabulary, or more alternatives than ids, end the scheduler on a CPU:
  refused here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from logdrift.core.engines.sglang.batches import Batch, Batches, last_line
from logdrift.core.engines.sglang.facts import (
    context_length,
    facts_of,
    seeding_of,
    seeds_itself,
)
from logdrift.core.engines.sglang.inspect import inspect_ranks, inspected_engine
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.worker.base import (
    Answer,
    AskedSequence,
    BackendSettings,
    Generation,
    IdArray,
    Progress,
    Scores,
    Take,
    asked_prompts,
    asked_sequences,
    tokens_of,
)

# managers/tp_worker.py: an input must be shorter than min(context, KV pool) - 6
_RESERVED = 7
_FLUSH_SECONDS = 30.0
_CANCEL_SECONDS = 1.0
_FULL = 96
"""Sequences that are computed at once on a CPU, where the session has so many: more
give no more tokens a second there."""
_FULL_TOKENS = 1 << 16
"""Of the KV pool on a CPU, unless a part needs more."""
_DIED = "SGLang: a process of the engine died: its log says why"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_lost = threading.Event()
"""A child has died. What a signal handler raises may be swallowed by whatever happens
to run, so this is asked as well.
"""


def child_failed(*_: Any) -> None:
    """Handler of SIGQUIT, by which SGLang's children (and its watchdog over them)
    report that one has died.

    SGLang's own handler kills this process with SIGKILL and loses the reason. This one
    is for the start; later `SglangBackend._child_died` takes over. A function of the
    module, because SGLang pickles its arguments.
    """
    _lost.set()
    raise LogdriftError(_DIED)


class SglangBackend:
    """`logdrift.core.worker.base.Backend` on `sgl.Engine`. Options are SGLang's
    ServerArgs by name; options whose name starts with ``SGLANG_`` are set as
    environment variables before the engine is imported.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._where = f"backend {settings.spec.name!r}"
        self._engine: Any = None
        self._batches: Batches | None = None
        self._most_in_flight = settings.max_prompts
        # the plan's paths, not only those still missing: a resumed capture starts the
        # same engine, with the same facts
        self._decodes = "decode" in (*settings.paths, *settings.spec.paths)

    def open(self) -> Facts:
        """Start the engine and observe it. Raises LogdriftError in one line; the
        engine's own words are in the log.
        """
        before: dict[int, Any] = {
            number: signal.getsignal(number) for number in _SIGNALS
        }
        _lost.clear()
        try:
            self._set_environment()
            arguments = self._arguments()
            import sglang  # type: ignore[import-not-found,unused-ignore]

            asked = self._settings.asked
            engine_class = inspected_engine() if asked else sglang.Engine
            self._engine = engine_class(**arguments)
            info = self._engine.get_server_info()
            self._restore_signals(before)
            return self._observe(info)
        except LogdriftError as error:
            self.close()
            raise LogdriftError(str(error), where=self._where) from error
        except Exception as error:
            self.close()
            raise LogdriftError(
                f"SGLang did not start: {last_line(error)}", where=self._where
            ) from error

    def resolved_config(self) -> Mapping[str, Any]:
        """The config that SGLang builds the model from, with
        ``json_model_override_args`` in it.
        """
        return dict(self._engine.tokenizer_manager.model_config.hf_config.to_dict())

    full_batches = ("decode", "prefill")

    def stream(self, path: str, take: Take) -> Iterator[tuple[AskedSequence, Answer]]:
        """`logdrift.core.worker.base.FullBatches`: messages of as many sequences as a
        part has, and in all twice as many sequences as SGLang computes at once, so that
        its scheduler always finds the next ones.
        """
        self._flushed()
        running: dict[asyncio.Task[Any], Batch] = {}
        try:
            while True:
                self._fill(running, path, take)
                if not running:
                    return
                for task in self._finished(running):
                    batch = running.pop(task)
                    with self._told():
                        found = task.result()
                    answers = self._made.answers(batch, found)
                    yield from zip(batch.asked, answers, strict=True)
        finally:
            self._cancel(running)

    def generate(
        self, prompts: Sequence[IdArray], seeds: Sequence[int], progress: Progress
    ) -> list[Generation]:
        """Sample the part as one batch. Raises MismatchError where an answer does not
        fit its prompt.
        """
        asked = asked_prompts(prompts, seeds)
        return cast(list[Generation], self._together("decode", asked, progress))

    def score(self, sequences: Sequence[IdArray], progress: Progress) -> list[Scores]:
        """Prefill the part as one batch. Raises MismatchError where an answer does not
        fit its sequence.
        """
        asked = asked_sequences(sequences)
        return cast(list[Scores], self._together("prefill", asked, progress))

    def inspect(
        self, function: str, arguments: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """What ``module:function`` says of the loaded model
        (`logdrift.core.worker.questions`), for each rank.
        """
        try:
            if _lost.is_set():
                raise LogdriftError(_DIED)
            return inspect_ranks(self._engine, function, arguments)
        except LogdriftError as error:
            raise LogdriftError(str(error), where=self._where) from error
        except Exception as error:
            words = f"its model cannot be looked at: {last_line(error)}"
            raise self._failure(words) from error

    def close(self) -> None:
        """Kill the engine's processes (all children of this process, that is SGLang's
        way) and reap them.
        """
        engine = self._engine
        self._engine = None
        self._batches = None
        if engine is not None:
            engine.shutdown()
            _remove_leftovers(engine)
        for child in multiprocessing.active_children():
            child.kill()
            child.join()

    def _set_environment(self) -> None:
        for name, value in self._settings.spec.options.items():
            if name.startswith("SGLANG_"):
                number = int(value) if isinstance(value, bool) else value
                os.environ[name] = str(number)
        if self._on_cpu():
            os.environ.setdefault("SGLANG_USE_CPU_ENGINE", "1")

    def _on_cpu(self) -> bool:
        import torch

        device = self._settings.spec.options.get("device")
        if device:
            return bool(device == "cpu")
        return not torch.accelerator.is_available()

    def _arguments(self) -> dict[str, Any]:
        settings = self._settings
        arguments: dict[str, Any] = {
            "model_path": settings.model,
            "revision": settings.revision,
            "dtype": settings.spec.dtype,
            "trust_remote_code": settings.trust_remote_code,
            "random_seed": settings.sampling.seed,
            "log_level": "warning",
        }
        if settings.other_tokenizer is not None:
            arguments["tokenizer_path"] = settings.other_tokenizer
        if threading.current_thread() is threading.main_thread():
            arguments["custom_sigquit_handler"] = child_failed
        if self._on_cpu():
            arguments |= self._cpu_arguments()
        options = self._options()
        seeded = seeds_itself(options) or options.get("enable_watermark")
        if self._decodes and not seeded:
            arguments["enable_custom_logit_processor"] = True
        return {**arguments, **self._context(arguments, options), **options}

    def _cpu_arguments(self) -> dict[str, Any]:
        settings = self._settings
        longest = settings.max_length + _RESERVED
        part = max(settings.max_prompts, 1)
        batch = part
        if not (settings.spec.reproducible or settings.asked):
            batch = max(part, min(settings.sequences, _FULL))
        tokens = max(part * longest, min(batch * longest, _FULL_TOKENS))
        return {
            "device": "cpu",
            "attention_backend": "torch_native",
            # A bound for the profile of free memory, from which the KV pool would be
            # sized; max_total_tokens is it.
            "mem_fraction_static": 0.7,
            "max_total_tokens": tokens,
            "max_running_requests": batch,
            "disable_overlap_schedule": True,
            # Its scheduler looks for work without a pause otherwise, and takes a core
            # from its own other processes and from whatever else runs.
            "sleep_on_idle": True,
        }

    def _options(self) -> dict[str, Any]:
        """The user's options that are SGLang's arguments."""
        options = {
            name: value
            for name, value in self._settings.spec.options.items()
            if not name.startswith("SGLANG_")
        }
        for name in ("model_path", "revision"):
            if name in options:
                raise LogdriftError(
                    f"option {name!r} cannot be set here: write model, or revision, as"
                    " the backend's own key"
                )
        overrides = options.get("json_model_override_args")
        if isinstance(overrides, Mapping):
            # A spec reads JSON, SGLang wants its text.
            options["json_model_override_args"] = json.dumps(overrides)
        return options

    def _context(
        self, arguments: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A ``context_length`` for sequences that reach into the positions that SGLang
        keeps free at the model's end.

        It wants `_RESERVED` positions more than an input has, and then uses none of
        them: what it samples behind the last position is never fed. Empty where the
        sequences fit anyway, or do not fit the model.
        """
        longest = self._settings.max_length
        positions = None if "context_length" in options else context_length(arguments)
        if positions is None or not positions - _RESERVED < longest <= positions:
            return {}
        os.environ["SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN"] = "1"
        return {"context_length": longest + _RESERVED}

    def _restore_signals(self, before: Mapping[int, Any]) -> None:
        """Take back the handlers that SGLang puts on its loop with the first request:
        the worker owns its signals.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        loop = self._engine.loop

        async def remove() -> None:  # uvloop removes handlers only while it runs
            for taken in (signal.SIGTERM, signal.SIGQUIT):
                loop.remove_signal_handler(taken)

        loop.run_until_complete(remove())
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.signal(signal.SIGQUIT, self._child_died)

    def _child_died(self, *_: Any) -> None:
        """An exception would be swallowed by the running loop, and the request would be
        waited for forever.
        """
        if self._engine is None or not self._engine.loop.is_running():
            child_failed()
        _lost.set()
        self._engine.loop.stop()

    @property
    def _made(self) -> Batches:
        if self._batches is None:
            raise LogdriftError("SGLang is not running", where=self._where)
        return self._batches

    def _together(
        self, path: str, asked: Sequence[AskedSequence], progress: Progress
    ) -> list[Answer]:
        """One batch on an empty cache; answers in the order of ``asked``."""
        batch = self._made.of(path, asked)
        if not asked:
            return []
        self._flushed()
        with self._told():
            found = self._engine.generate(**batch.arguments)
        answers = self._made.answers(batch, found)
        progress(len(answers), sum(map(tokens_of, answers)))
        return answers

    def _fill(
        self, running: dict[asyncio.Task[Any], Batch], path: str, take: Take
    ) -> None:
        """Send as many messages more as may be in flight."""
        in_flight = sum(len(batch.asked) for batch in running.values())
        while in_flight < self._most_in_flight:
            asked = self._taken(take)
            if not asked:
                return
            batch = self._made.of(path, asked)
            sent = self._engine.async_generate(**batch.arguments)
            running[self._engine.loop.create_task(sent)] = batch
            in_flight += len(asked)

    def _taken(self, take: Take) -> list[AskedSequence]:
        """The sequences of one more message."""
        asked: list[AskedSequence] = []
        most = self._settings.max_prompts
        while len(asked) < most and (one := take()) is not None:
            asked.append(one)
        return asked

    def _finished(
        self, running: Mapping[asyncio.Task[Any], Batch]
    ) -> set[asyncio.Task[Any]]:
        """The messages that are answered, once there is one."""
        first = asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        with self._told():
            done, _ = self._engine.loop.run_until_complete(first)
        return set(done)

    def _cancel(self, running: Mapping[asyncio.Task[Any], Batch]) -> None:
        """Wait for none of the messages any more."""
        for task in running:
            task.cancel()
        if running and not _lost.is_set():
            ended = asyncio.wait(running, timeout=_CANCEL_SECONDS)
            with contextlib.suppress(Exception):  # what failed is told already
                self._engine.loop.run_until_complete(ended)

    def _flushed(self) -> None:
        with self._told():
            if _lost.is_set():
                raise LogdriftError(_DIED)
            self._empty_cache()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What SGLang raises, as one line."""
        try:
            yield
        except LogdriftError as error:
            raise LogdriftError(str(error), where=self._where) from error
        except Exception as error:
            words = f"SGLang refused a request: {last_line(error)}"
            raise self._failure(words) from error

    def _failure(self, words: str) -> LogdriftError:
        """A dead child is the reason of all that fails after it."""
        reason = _DIED if _lost.is_set() else words
        return LogdriftError(reason, where=self._where)

    def _empty_cache(self) -> None:
        """SGLang refuses while it still puts the last answer away, which takes it a few
        steps of its loop.
        """
        until = time.monotonic() + _FLUSH_SECONDS
        while not self._engine.flush_cache().success:
            if time.monotonic() > until:
                raise LogdriftError(
                    f"SGLang did not empty its cache within {_FLUSH_SECONDS:.0f}"
                    " seconds"
                )
            time.sleep(0.02)

    def _observe(self, info: Mapping[str, Any]) -> Facts:
        settings = self._settings
        state = {**info, **(info.get("internal_states") or [{}])[0]}
        config = self._engine.tokenizer_manager.model_config
        vocabulary = int(config.vocab_size)
        limit = int(state["max_req_input_len"]) - 1
        if settings.top_k > vocabulary:
            raise LogdriftError(
                f"top_k {settings.top_k} is more than the {vocabulary} ids of the"
                " vocabulary: give less"
            )
        if settings.max_length > limit:
            raise LogdriftError(
                f"the longest sequence has {settings.max_length} tokens, this SGLang"
                f" engine takes {limit}: raise context_length or max_total_tokens"
                " where the model allows it"
            )
        self._batches = Batches(
            settings=settings,
            vocabulary=vocabulary,
            limit=limit,
            seeding=seeding_of(state) if self._decodes else None,
            where=self._where,
            requests=itertools.count(),
        )
        facts = facts_of(state, config, settings.sampling, limit, decodes=self._decodes)
        at_once = facts.max_batch_sequences or settings.max_prompts
        self._most_in_flight = 2 * at_once
        return facts


def _remove_leftovers(engine: Any) -> None:
    """At each shutdown SGLang leaves the sockets that its processes spoke on, and a
    small file in shared memory.
    """
    for name, address in vars(getattr(engine, "port_args", object)).items():
        if name.endswith("_ipc_name") and str(address).startswith("ipc://"):
            with contextlib.suppress(OSError):
                Path(address.removeprefix("ipc://")).unlink(missing_ok=True)
    try:
        from sglang.srt.managers.load_snapshot import (  # type: ignore[import-not-found,unused-ignore]
            shm_path_for,
        )

        Path(shm_path_for(engine.port_args.instance_id)).unlink(missing_ok=True)
    except (ImportError, AttributeError, OSError):
        return
