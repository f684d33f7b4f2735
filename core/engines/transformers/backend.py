"""Transformers, the trainer's side: scores given ids in one pass and samples with the
KV cache.

Options go to ``AutoModelForCausalLM.from_pretrained`` by its own names
(``attn_implementation``, ``device_map``, ``gguf_file``, any field of the model's
config, ...), except for these, which are this backend's:

``device``         ``cuda:0``, ``cpu``, ...; left out, a GPU if there is one.
``device_map`` excludes it. ``head_dtype``     ``float32`` multiplies with a float32
copy of the head: the "float32 head" baseline. ``memory_mb``      MiB of logits and
buffers in work at once (31 on a CPU, 1,024 on a GPU). ``batch_tokens``   rows per chunk
of the head, instead of those that ``memory_mb`` gives. ``threads``        CPU threads
of torch. ``deterministic``  ``true``: deterministic torch algorithms only, an error
where an operation has none. ``compile``        ``true``: the backbone through
torch.compile (inductor) when scoring; sampling stays eager. ``hidden_states``
``device`` (default): the last hidden state stays where it was made. ``host``: it is
copied to the
                   host, and back chunk by chunk. ``host_nonblocking``: the same through
                   pinned memory, without
                   waiting for each copy. On a CPU all three are one.
``oom_rows``       chunks of more rows than this run out of memory on purpose: the way
that a real shortage takes.

None of the last two may change a number: they are for the experiments that show it.

Sequences are computed one at a time, unpadded and without a mask, so neighbours cannot
change a number. Scoring runs the backbone once, then the model's own head over chunks
of rows (`logdrift.core.engines.transformers.head`).

Run on CPUs only so far: what is said of GPUs here and in `reduce` follows from the
code, and has not been measured.
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from logdrift.core.engines.about import resolve
from logdrift.core.engines.transformers.facts import observe
from logdrift.core.engines.transformers.head import MIN_ROWS, Head
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.worker.base import (
    Generation,
    IdArray,
    MismatchError,
    Progress,
    Scores,
    Settings,
    check_ids,
    check_length,
    first_rows,
)
from logdrift.core.worker.observe import dtype_name
from logdrift.core.worker.reduce import Reducer

Tensor = Any

_OWN = (
    "device",
    "head_dtype",
    "memory_mb",
    "batch_tokens",
    "threads",
    "deterministic",
    "compile",
    "hidden_states",
    "oom_rows",
)
_PLACES = ("device", "host", "host_nonblocking")
# glibc keeps freed pieces up to 32 MiB for the next chunk; larger ones go back and
# fault in anew, page by page (511 bfloat16 rows of SmolLM2's head: 200 ms at once, 170
# ms as two chunks of 256)
_MEMORY_MB = {"cpu": 31}
_MEMORY_MB_GPU = 1024
_RECORDED_ROWS = 16
_NO_PROBABILITIES = "probability tensor contains"
"""torch.multinomial's words (ATen/native/Distributions)."""
_LONGEST_TEXT = 400
_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "could not allocate",
    "bad_alloc",
)


class TransformersBackend:
    """`logdrift.core.worker.base.Backend` for Transformers. Paths: ``prefill``
    (`score`), ``decode`` (`generate`).
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        options = dict(settings.spec.options)
        self._own: dict[str, Any] = {
            key: options.pop(key) for key in _OWN if key in options
        }
        self._options = options
        self._model: Any = None
        self._head: Head | None = None
        self._reducer: Reducer | None = None
        self._device: Any = None
        self._vocab_size = 0
        self._limit: int | None = None
        self._rows = 1
        self._eos: tuple[int, ...] = ()

    def open(self) -> Facts:
        """Load the model, try its head on a few ids, and say how it runs. Raises
        LogdriftError with one line.
        """
        self._configure_torch()
        transformers.utils.logging.disable_progress_bar()
        if _is_path(self.settings.model) and not Path(self.settings.model).is_dir():
            raise LogdriftError(f"model {self.settings.model}: no such folder")
        with _one_line(f"transformers cannot load {self.settings.model!r}"):
            self._model = self._load()
        with (
            _one_line(f"transformers cannot run {self.settings.model!r}"),
            torch.inference_mode(),
        ):
            self._prepare()
            assert self._head is not None
            return observe(
                self._model,
                self.settings,
                device=self._device,
                vocab_size=self._vocab_size,
                max_length=self._limit,
                head={
                    "dtype": self._head.dtype,
                    "logits_dtype": self._head.logits_dtype,
                    "logits_size": self._head.logits_size,
                    "method": self._head.method,
                    "rows": self._rows,
                    "mode": "compile inductor" if self._head.compiled else "eager",
                    "hidden_states": self._own.get("hidden_states", "device"),
                    "oom_rows": self._own.get("oom_rows"),
                },
            )

    def resolved_config(self) -> Mapping[str, Any]:
        """The config of the loaded model."""
        return dict(self._model.config.to_dict())

    def score(self, sequences: Sequence[IdArray], progress: Progress) -> list[Scores]:
        """Path ``prefill``: each sequence alone, one forward pass, entropy included.

        Raises MismatchError before anything runs for ids or lengths that the model does
        not have, LogdriftError where memory is short even for the logits of a few
        tokens.
        """
        self._check(sequences, 0)
        out = []
        for index, ids in enumerate(sequences):
            with (
                _one_line(f"transformers failed on sequence {index}"),
                torch.inference_mode(),
            ):
                out.append(self._score(np.asarray(ids, np.int32), index))
            progress(1, len(ids))
        return out

    def generate(
        self, prompts: Sequence[IdArray], seeds: Sequence[int], progress: Progress
    ) -> list[Generation]:
        """Path ``decode``: sample one completion per prompt with ``model.generate``,
        one prompt at a time.

        Logprobs, ranks, top-k and entropy are those of the model's logits before any
        penalty, temperature or truncation. A completion ends at ``sampling.max_tokens``
        or where the model has no more positions.
        """
        self._check(prompts, 1)
        if len(seeds) != len(prompts):
            raise MismatchError(f"{len(prompts)} prompts but {len(seeds)} seeds")
        out = []
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            with (
                _one_line(f"transformers failed on prompt {index}"),
                torch.inference_mode(),
            ):
                out.append(self._generate(np.asarray(prompt, np.int32), seed, index))
            progress(1, len(out[-1].token_ids))
        return out

    def inspect(
        self, function: str, arguments: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """What ``module:function`` says of the loaded model
        (`logdrift.core.worker.questions`), in a list of one.
        """
        with torch.inference_mode():
            return [dict(resolve(function)(self._model, arguments))]

    def close(self) -> None:
        """Free the model and its memory. Safe to call twice."""
        self._model = self._head = self._reducer = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # -- opening

    def _configure_torch(self) -> None:
        own = self._own
        for key in ("threads", "memory_mb", "batch_tokens"):
            if key in own and (
                not isinstance(own[key], int)
                or isinstance(own[key], bool)
                or own[key] < 1
            ):
                raise LogdriftError(
                    f"transformers: option {key}={own[key]!r}: give a whole number of 1"
                    " or more"
                )
        if own.get("head_dtype") not in (None, "auto", "float32"):
            raise LogdriftError(
                f"transformers: option head_dtype={own['head_dtype']!r}: give float32,"
                " or leave it out"
            )
        if own.get("oom_rows") is not None and (
            type(own["oom_rows"]) is not int or own["oom_rows"] < MIN_ROWS
        ):
            raise LogdriftError(
                f"transformers: option oom_rows={own['oom_rows']!r}: give a whole"
                f" number of {MIN_ROWS} or more"
            )
        for key in ("compile", "deterministic"):
            if not isinstance(own.get(key, False), bool):
                raise LogdriftError(
                    f"transformers: option {key}={own[key]!r}: give true or false"
                )
        if own.get("hidden_states", "device") not in _PLACES:
            raise LogdriftError(
                f"transformers: option hidden_states={own['hidden_states']!r}: give"
                f" {', '.join(_PLACES)}"
            )
        if "device" in own and "device_map" in self._options:
            raise LogdriftError(
                "transformers: options device and device_map exclude each other: leave"
                " one out"
            )
        if "threads" in own:
            torch.set_num_threads(own["threads"])
        if own.get("deterministic"):
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.deterministic = True

    def _load(self) -> Any:
        settings = self.settings
        device = self._own.get("device") or (
            "cuda" if torch.cuda.is_available() else "cpu"
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(
            settings.model,
            dtype=settings.spec.dtype,
            revision=settings.revision or "main",
            trust_remote_code=settings.trust_remote_code,
            **self._options,
        )
        if "device_map" not in self._options:
            model = model.to(torch.device(device))
        return model.eval()

    def _prepare(self) -> None:
        model = self._model
        self._device = model.get_input_embeddings().weight.device
        self._vocab_size = int(model.get_input_embeddings().weight.shape[0])
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._limit = int(limit) if isinstance(limit, int) and limit > 0 else None
        self._head = Head(
            model, self._vocab_size, float32=self._own.get("head_dtype") == "float32"
        )
        if self._own.get("compile"):
            self._head.compile()
        if (
            self._own.get("hidden_states", "device") != "device"
            and self._head.method != "chunks"
        ):
            raise LogdriftError(
                "option hidden_states: this model's head does not run by itself: leave"
                " the option out"
            )
        self._rows = self._own.get("batch_tokens") or self._rows_for_memory()
        if "decode" in self.settings.paths:
            self._replace_generation_config()

    def _rows_for_memory(self) -> int:
        assert self._head is not None
        budget: int = self._own.get("memory_mb") or _MEMORY_MB.get(
            self._device.type, _MEMORY_MB_GPU
        )
        per_logit: int = self._head.logits_dtype.itemsize
        if self._device.type != "cpu":
            per_logit += (
                8  # the reducer's two float32 buffers are as long as the chunk there
            )
        return max(1, (budget << 20) // (per_logit * self._head.logits_size))

    def _new_reducer(self) -> Reducer:
        assert self._head is not None
        block = None if self._device.type == "cpu" else self._rows
        return Reducer(
            self._head.logits_size, self.settings.top_k, self._head.logits_device, block
        )

    def _replace_generation_config(self) -> None:
        """Take the model folder's sampling defaults away: ``generate`` would fill every
        unset parameter from them.
        """
        eos = self._model.generation_config.eos_token_id
        eos = self._model.config.get_text_config().eos_token_id if eos is None else eos
        self._eos = (
            tuple(eos)
            if isinstance(eos, (list, tuple))
            else ()
            if eos is None
            else (eos,)
        )
        self._model.generation_config = transformers.GenerationConfig()

    # -- scoring

    def _score(self, ids: IdArray, index: int) -> Scores:
        """Rows of the head in chunks; a chunk that does not fit into memory is halved,
        for all that follow too.
        """
        assert self._head is not None
        scores = Scores.empty(len(ids), self.settings.top_k, entropy=True)
        if len(ids) < 2:
            return scores
        tokens = torch.as_tensor(ids, dtype=torch.int64, device=self._device)[None]
        head, rows_wanted = self._head, len(ids) - 1
        with _explained(
            f"sequence {index}: the model itself does not fit {len(ids)} tokens: give"
            " shorter ones"
        ):
            hidden = head.backbone(tokens)
            hidden = head.keep(hidden, self._own.get("hidden_states", "device"))
        start = 0
        while start < rows_wanted:
            chunks = -(
                -(rows_wanted - start) // self._rows
            )  # of even length, so no chunk is a few rows only
            stop = start + -(-(rows_wanted - start) // chunks)
            if not self._score_rows(scores, hidden, tokens, start, stop):
                self._halve(stop - start, index)
                continue
            start = stop
        return scores

    def _score_rows(
        self, scores: Scores, hidden: Any, tokens: Tensor, start: int, stop: int
    ) -> bool:
        """Fill the entries that rows ``start .. stop`` predict; False where memory ran
        out.
        """
        assert self._head is not None
        try:
            if stop - start > self._own.get("oom_rows", stop):
                raise MemoryError  # on purpose: the option asks for it
            if self._reducer is None:
                self._reducer = self._new_reducer()
            logits = self._head.logits(hidden, tokens, start, stop)
            targets = tokens[0, start + 1 : stop + 1].to(logits.device)
            self._reducer.into(scores, start + 1, logits, targets)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            return False  # left first: the traceback holds on to the tensors
        return True

    def _halve(self, rows: int, index: int) -> None:
        if rows <= MIN_ROWS:
            raise LogdriftError(
                f"sequence {index}: out of memory for the logits of {rows} tokens: free"
                " some memory"
            )
        self._rows = rows // 2
        self._reducer = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # -- generating

    def _generate(self, prompt: IdArray, seed: int, index: int) -> Generation:
        sampling = self.settings.sampling
        new_tokens = self.settings.new_tokens(len(prompt), self._limit)
        if self._reducer is None:
            self._reducer = self._new_reducer()
        scores = Scores.empty(
            len(prompt) + new_tokens, self.settings.top_k, entropy=True
        )
        recorder = _Recorder(scores, len(prompt), self._reducer)
        processors = transformers.LogitsProcessorList([recorder])
        if sampling.repetition_penalty != 1.0:
            processors.append(
                transformers.RepetitionPenaltyLogitsProcessor(
                    sampling.repetition_penalty
                )
            )
        tokens = torch.as_tensor(prompt, dtype=torch.int64, device=self._device)[None]
        torch.manual_seed(seed)
        with (
            _explained(
                f"prompt {index}: the model does not fit {len(prompt)} + {new_tokens}"
                " tokens"
            ),
            _drawn(index, self._model.dtype),
        ):
            ids = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=self._generation_config(new_tokens),
                logits_processor=processors,
            )[0]
        token_ids = ids.to(torch.int32).cpu().numpy()
        if not np.array_equal(token_ids[: len(prompt)], prompt):
            raise MismatchError(
                f"prompt {index}: the engine answered with other prompt ids than it was"
                " given"
            )
        finish = "stop" if int(token_ids[-1]) in self._eos else "length"
        return Generation(token_ids, len(prompt), finish, recorder.finish(ids))

    def _generation_config(self, new_tokens: int) -> Any:
        """Every parameter that has a default other than "off" is given, the rest is
        unset on the model too.
        """
        sampling = self.settings.sampling
        config = transformers.GenerationConfig(
            max_new_tokens=new_tokens,
            do_sample=sampling.temperature > 0,
            num_beams=1,
            use_cache=True,
            repetition_penalty=1.0,  # applied after the recorder, in `_generate`
            eos_token_id=list(self._eos) or None,
            pad_token_id=self._eos[0] if self._eos else 0,
        )
        if sampling.temperature > 0:
            config.temperature = sampling.temperature
            config.top_k, config.top_p = sampling.top_k, sampling.top_p
            config.min_p = sampling.min_p or None
        return config

    def _check(self, sequences: Sequence[IdArray], room: int) -> None:
        head = self._head
        if head is None:
            raise LogdriftError("transformers: the backend is not open")
        for index, ids in enumerate(sequences):
            if len(ids) == 0:
                raise MismatchError(f"sequence {index}: no token ids")
            check_ids(
                np.asarray(ids),
                min(self._vocab_size, head.logits_size),
                f"sequence {index}",
            )
            if self._limit is not None and len(ids) + room > self._limit:
                more = " and room for a new one" if room else ""
                raise MismatchError(
                    f"sequence {index}: {len(ids)} tokens{more} are more than the"
                    f" model's {self._limit} positions"
                )


class _Recorder(transformers.LogitsProcessor):  # type: ignore[misc,name-defined,unused-ignore]
    """First in the list of processors, where the scores are the model's logits in
    float32, and passes them on.

    In transformers 5.19.0 (generation/utils.py `_get_logits_processor`) processors
    given by the caller come after those made from the generation config (penalties,
    biases: none is configured) and before temperature, top-k, top-p and min-p. Rows are
    reduced some at a time, once the tokens drawn from them are known.
    """

    def __init__(self, scores: Scores, prompt_length: int, reducer: Reducer) -> None:
        self._scores = scores
        self._at = prompt_length
        self._reducer = reducer
        self._rows: Tensor | None = None
        self._pending = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._rows is None:
            self._rows = scores.new_empty((_RECORDED_ROWS, scores.shape[-1]))
        if self._pending == _RECORDED_ROWS:
            self._flush(input_ids[0])
        self._rows[self._pending].copy_(scores[0])
        self._pending += 1
        return scores

    def finish(self, ids: Tensor) -> Scores:
        """Scores of ``ids`` int64[T] (prompt + completion); raises MismatchError unless
        every new id has its row.
        """
        self._flush(ids)
        length = int(ids.shape[0])
        check_length(self._at, length, "recorded logits")
        return first_rows(self._scores, length)

    def _flush(self, ids: Tensor) -> None:
        targets = ids[self._at : self._at + self._pending]
        check_length(int(targets.shape[0]), self._pending, "recorded logits")
        if self._rows is not None:
            self._reducer.into(
                self._scores, self._at, self._rows[: self._pending], targets
            )
        self._at += self._pending
        self._pending = 0


def _is_path(model: str) -> bool:
    """Whether a model is meant as a folder: a hub id is ``name`` or ``owner/name``,
    relative to nothing.
    """
    return (
        model.startswith(("/", ".", "~"))
        or model.count("/") > 1
        or (os.sep != "/" and os.sep in model)
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """torch raises its own class on a GPU, but on a CPU a RuntimeError with the
    allocator's or oneDNN's words.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in _OUT_OF_MEMORY
    )


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Any exception of the engine as a LogdriftError in one line; the original stays
    attached for ``--debug``.
    """
    try:
        yield
    except LogdriftError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        option = re.search(
            r"__init__\(\) got an unexpected keyword argument ('\w+')", text
        )
        if option is not None:
            raise LogdriftError(
                f"{what}: neither from_pretrained nor the model's config knows"
                f" {option[1]}"
            ) from error
        if _is_out_of_memory(error):
            text = f"out of memory: {text}"
        raise LogdriftError(
            f"{what}: {type(error).__name__}: {text[:_LONGEST_TEXT]}"
        ) from error


@contextmanager
def _drawn(index: int, dtype: Any) -> Iterator[None]:
    """torch draws no token from probabilities that are NaN: what that means, in place
    of its words.
    """
    try:
        yield
    except RuntimeError as error:
        if _NO_PROBABILITIES not in str(error):
            raise
        fix = (
            "run it in bfloat16 or float32"
            if dtype == torch.float16
            else "look for NaN in its weights"
        )
        raise LogdriftError(
            f"prompt {index}: the logits are NaN or infinite in {dtype_name(dtype)}, so"
            f" no token can be drawn: {fix}"
        ) from error


@contextmanager
def _explained(text: str) -> Iterator[None]:
    """Running out of memory as a LogdriftError that says what did not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise LogdriftError(f"out of memory: {text}") from error
