"""Transformers, the trainer's side: scores given ids in one pass and samples with the
KV cache.

Options go to ``AutoModelForCausalLM.from_pretrained`` by its own names
(``attn_implementation``, ``device_map``, ``gguf_file``, any field of the model's
config, ...), except for logdrift's own (`logdrift.core.engines.transformers.options`).

Sequences are computed one at a time, unpadded and without a mask, so neighbours cannot
change a number. Scoring runs the backbone once, then the model's own head over chunks
of rows (`logdrift.core.engines.transformers.head`).

Run on CPUs only so far: what is said of GPUs here and in `reduce` follows from the
code, and has not been measured.
"""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from logdrift.core.engines.about import resolve
from logdrift.core.engines.transformers import options
from logdrift.core.engines.transformers.facts import observe
from logdrift.core.engines.transformers.failures import (
    drawn,
    explained,
    failing_as,
    is_out_of_memory,
)
from logdrift.core.engines.transformers.head import MIN_ROWS, Head
from logdrift.core.engines.transformers.options import Options
from logdrift.core.engines.transformers.recorder import Recorder
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.worker.base import (
    BackendSettings,
    Generation,
    IdArray,
    MismatchError,
    Progress,
    Scores,
    check_ids,
)
from logdrift.core.worker.reduce import Reducer

Tensor = Any

# glibc keeps freed pieces up to 32 MiB for the next chunk; larger ones go back and
# fault in anew, page by page (511 bfloat16 rows of SmolLM2's head: 200 ms at once, 170
# ms as two chunks of 256)
_MEMORY_MB = {"cpu": 31}
_MEMORY_MB_GPU = 1024


class TransformersBackend:
    """`logdrift.core.worker.base.Backend` for Transformers. Paths: ``prefill``
    (`score`), ``decode`` (`generate`).
    """

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self._asked, self._pretrained = options.split(settings.spec.options)
        self._own = Options()
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
        self._own = options.checked(self._asked, self._pretrained)
        self._configure_torch()
        transformers.utils.logging.disable_progress_bar()
        if _is_path(self.settings.model) and not Path(self.settings.model).is_dir():
            raise LogdriftError(f"model {self.settings.model}: no such folder")
        with failing_as(f"transformers cannot load {self.settings.model!r}"):
            self._model = self._load()
        with (
            failing_as(f"transformers cannot run {self.settings.model!r}"),
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
                    "hidden_states": self._own.hidden_states,
                    "oom_rows": self._own.oom_rows,
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
                failing_as(f"transformers failed on sequence {index}"),
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
                failing_as(f"transformers failed on prompt {index}"),
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
        if self._own.threads is not None:
            torch.set_num_threads(self._own.threads)
        if self._own.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.deterministic = True

    def _load(self) -> Any:
        settings = self.settings
        default_device = "cuda" if torch.cuda.is_available() else "cpu"
        model = transformers.AutoModelForCausalLM.from_pretrained(
            settings.model,
            dtype=settings.spec.dtype,
            revision=settings.revision or "main",
            trust_remote_code=settings.trust_remote_code,
            **self._pretrained,
        )
        if "device_map" not in self._pretrained:
            model = model.to(torch.device(self._own.device or default_device))
        return model.eval()

    def _prepare(self) -> None:
        model = self._model
        embedding = model.get_input_embeddings().weight
        self._device = embedding.device
        self._vocab_size = int(embedding.shape[0])
        self._limit = _positions(model)
        wide_head = self._own.head_dtype == "float32"
        self._head = Head(model, self._vocab_size, float32=wide_head)
        if self._own.compile:
            self._head.compile()
        if self._own.hidden_states != "device" and self._head.method != "chunks":
            raise LogdriftError(
                "option hidden_states: this model's head does not run by itself: leave"
                " the option out"
            )
        self._rows = self._own.batch_tokens or self._rows_for_memory()
        if "decode" in self.settings.paths:
            self._replace_generation_config()

    def _rows_for_memory(self) -> int:
        assert self._head is not None
        default = _MEMORY_MB.get(self._device.type, _MEMORY_MB_GPU)
        budget = self._own.memory_mb or default
        per_logit: int = self._head.logits_dtype.itemsize
        if self._device.type != "cpu":
            # The reducer's two float32 buffers are as long as the chunk there.
            per_logit += 8
        return max(1, (budget << 20) // (per_logit * self._head.logits_size))

    def _new_reducer(self) -> Reducer:
        assert self._head is not None
        on_cpu = self._device.type == "cpu"
        return Reducer(
            self._head.logits_size,
            self.settings.top_k,
            self._head.logits_device,
            block_rows=None if on_cpu else self._rows,
        )

    def _replace_generation_config(self) -> None:
        """Take the model folder's sampling defaults away: ``generate`` would fill every
        unset parameter from them.
        """
        eos = self._model.generation_config.eos_token_id
        if eos is None:
            eos = self._model.config.get_text_config().eos_token_id
        if isinstance(eos, (list, tuple)):
            self._eos = tuple(eos)
        elif eos is not None:
            self._eos = (eos,)
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
        with explained(
            f"sequence {index}: the model itself does not fit {len(ids)} tokens: give"
            " shorter ones"
        ):
            hidden = self._head.backbone(tokens)
            hidden = self._head.keep(hidden, self._own.hidden_states)
        start = 0
        end = len(ids) - 1
        while start < end:
            stop = start + self._chunk(end - start)
            if self._score_rows(scores, hidden, tokens, start, stop):
                start = stop
            else:
                self._halve(stop - start, index)
        return scores

    def _chunk(self, rows: int) -> int:
        """Rows of the next chunk of ``rows``: chunks are of even length, so that none
        is a few rows only.
        """
        chunks = math.ceil(rows / self._rows)
        return math.ceil(rows / chunks)

    def _score_rows(
        self, scores: Scores, hidden: Any, tokens: Tensor, start: int, stop: int
    ) -> bool:
        """Fill the entries that rows ``start .. stop`` predict; False where memory ran
        out.
        """
        assert self._head is not None
        try:
            if self._own.oom_rows is not None and stop - start > self._own.oom_rows:
                raise MemoryError  # on purpose: the option asks for it
            if self._reducer is None:
                self._reducer = self._new_reducer()
            logits = self._head.logits(hidden, tokens, start, stop)
            targets = tokens[0, start + 1 : stop + 1].to(logits.device)
            self._reducer.into(scores, start + 1, logits, targets)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
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
        new_tokens = self.settings.new_tokens(len(prompt), self._limit)
        if self._reducer is None:
            self._reducer = self._new_reducer()
        length = len(prompt) + new_tokens
        scores = Scores.empty(length, self.settings.top_k, entropy=True)
        recorder = Recorder(scores, len(prompt), self._reducer)
        tokens = torch.as_tensor(prompt, dtype=torch.int64, device=self._device)[None]
        torch.manual_seed(seed)
        does_not_fit = (
            f"prompt {index}: the model does not fit {len(prompt)} + {new_tokens}"
            " tokens"
        )
        with explained(does_not_fit), drawn(index, self._model.dtype):
            ids = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=self._generation_config(new_tokens),
                logits_processor=self._processors(recorder),
            )[0]
        token_ids = ids.to(torch.int32).cpu().numpy()
        if not np.array_equal(token_ids[: len(prompt)], prompt):
            raise MismatchError(
                f"prompt {index}: the engine answered with other prompt ids than it was"
                " given"
            )
        finish = "stop" if int(token_ids[-1]) in self._eos else "length"
        return Generation(token_ids, len(prompt), finish, recorder.finish(ids))

    def _processors(self, recorder: Recorder) -> Any:
        """The recorder comes first: before the penalty, which is applied here for that
        reason.
        """
        processors = transformers.LogitsProcessorList([recorder])
        penalty = self.settings.sampling.repetition_penalty
        if penalty != 1.0:
            penalise = transformers.RepetitionPenaltyLogitsProcessor(penalty)
            processors.append(penalise)
        return processors

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
            repetition_penalty=1.0,  # applied after the recorder, in `_processors`
            eos_token_id=list(self._eos) or None,
            pad_token_id=self._eos[0] if self._eos else 0,
        )
        if sampling.temperature > 0:
            config.temperature = sampling.temperature
            config.top_k = sampling.top_k
            config.top_p = sampling.top_p
            config.min_p = sampling.min_p or None
        return config

    def _check(self, sequences: Sequence[IdArray], room: int) -> None:
        head = self._head
        if head is None:
            raise LogdriftError("transformers: the backend is not open")
        for index, ids in enumerate(sequences):
            if len(ids) == 0:
                raise MismatchError(f"sequence {index}: no token ids")
            known_ids = min(self._vocab_size, head.logits_size)
            check_ids(np.asarray(ids), known_ids, f"sequence {index}")
            if self._limit is not None and len(ids) + room > self._limit:
                more = " and room for a new one" if room else ""
                raise MismatchError(
                    f"sequence {index}: {len(ids)} tokens{more} are more than the"
                    f" model's {self._limit} positions"
                )


def _positions(model: Any) -> int | None:
    """How many positions the model has; None where its config gives no number."""
    config = model.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        return positions
    return None


def _is_path(model: str) -> bool:
    """Whether a model is meant as a folder: a hub id is ``name`` or ``owner/name``,
    relative to nothing.
    """
    return (
        model.startswith(("/", ".", "~"))
        or model.count("/") > 1
        or (os.sep != "/" and os.sep in model)
    )
