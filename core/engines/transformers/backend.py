"""Transformers, the trainer's side: scores given ids in one pass and samples with the
KV cache.

Options go to ``AutoModelForCausalLM.from_pretrained`` by its own names
(``attn_implementation``, ``device_map``, ``gguf_file``, any field of the model's
config, ...), except for logdrift's own (`logdrift.core.engines.transformers.options`).

Sequences are computed one at a time, unpadded and without a mask, so neighbours cannot
change a number. With ``pack`` they are scored together with others of nearly one length
(`logdrift.core.engines.transformers.packs`), where neighbours change a number by the
floor of the batch's shape. Scoring runs the backbone once, then the model's own head
over chunks of rows (`logdrift.core.engines.transformers.head`).

Run on CPUs only so far: what is said of GPUs here and in `reduce` follows from the
code, and has not been measured.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from logdrift.core.engines.about import resolve
from logdrift.core.engines.transformers import options
from logdrift.core.engines.transformers.facts import observe
from logdrift.core.engines.transformers.failures import (
    explained,
    failing_as,
    is_out_of_memory,
)
from logdrift.core.engines.transformers.head import (
    MIN_ROWS,
    Head,
    hidden_of,
    with_hidden,
)
from logdrift.core.engines.transformers.memory import free_memory, free_what_is_left
from logdrift.core.engines.transformers.options import Options
from logdrift.core.engines.transformers.packs import (
    ScoredRows,
    apart,
    packs,
    padded,
    rows_of,
)
from logdrift.core.engines.transformers.rope import follows_longest
from logdrift.core.engines.transformers.sampling import CompletionSampler
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import FILLED_BEHIND, Facts
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
    check_ids,
)
from logdrift.core.worker.reduce import Reducer

Tensor = Any

# glibc keeps freed pieces up to 32 MiB for the next chunk; larger ones go back and
# fault in anew, page by page (511 bfloat16 rows of SmolLM2's head: 200 ms at once, 170
# ms as two chunks of 256)
_MEMORY_MB = {"cpu": 31}
_MEMORY_MB_GPU = 1024
_MOST_MEMORY = 1 / 8
"""Of what is free, for the logits in work at once, and as much again for a pack."""
_PACK_TOKENS = {"cpu": 2048}
_PACK_TOKENS_GPU = 32768
"""Tokens of a pack, where there is memory for them: more are not faster."""
_PACK_SEQUENCES = 128
_WIDTHS = 16
"""Hidden states of a token that a layer holds at once, about: its input, queries, keys,
values and what is inside of its MLP, with room to spare.
"""


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
        self._pack_tokens = 0
        """0: sequences are not packed."""
        self._sampler: CompletionSampler | None = None

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
                pack={
                    "tokens": self._pack_tokens,
                    "sequences": _PACK_SEQUENCES,
                    "padding": FILLED_BEHIND,
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
                ids = np.asarray(ids, np.int32)
                out.append(self._score(ids, f"sequence {index}"))
            progress(1, len(ids))
        return out

    @property
    def full_batches(self) -> tuple[str, ...]:
        """Paths of `stream`."""
        if self._pack_tokens:
            return ("prefill",)
        return ()

    def stream(self, path: str, take: Take) -> Iterator[tuple[AskedSequence, Answer]]:
        """`logdrift.core.worker.base.FullBatches` for path ``prefill``: packs of
        sequences of nearly one length.
        """
        for pack in packs(take, lambda: self._pack_tokens, _PACK_SEQUENCES):
            self._check([one.ids for one in pack], 0, [one.what for one in pack])
            with (
                failing_as(f"transformers failed on {pack[0].what} and its pack"),
                torch.inference_mode(),
            ):
                found = self._score_pack(pack)
            yield from zip(pack, found, strict=True)

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
                ids = np.asarray(prompt, np.int32)
                out.append(self._generate(ids, seed, f"prompt {index}"))
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
        self._model = self._head = self._reducer = self._sampler = None
        free_what_is_left()

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
        if self._may_pack():
            self._pack_tokens = self._own.pack_tokens or self._pack_for_memory()
        if "decode" in self.settings.paths:
            self._sampler = CompletionSampler(
                self.settings, model, self._device, self._limit
            )

    def _may_pack(self) -> bool:
        """Whether sequences are packed: they are to be scored, and this model gives a
        sequence the same hidden states beside a longer one, up to the rounding of
        another matrix size (2**-6 of the largest, as `Head` allows).
        """
        assert self._head is not None
        is_scored = "prefill" in self.settings.paths
        wanted = self._own.pack and is_scored and not self.settings.spec.reproducible
        if not wanted or self._head.method != "chunks":
            return False
        if follows_longest(self._model.config.to_dict()):
            return False
        longer = np.arange(6, dtype=np.int32) % self._vocab_size
        shorter = longer[1:4]
        try:
            both = hidden_of(
                self._head.backbone(padded([longer, shorter], self._device))
            )
            alone = hidden_of(self._head.backbone(padded([shorter], self._device)))
            gap = (both[1, :3].double() - alone[0].double()).abs().amax()
        except (TypeError, AttributeError, IndexError, ValueError, RuntimeError):
            return False  # it takes one sequence at a time
        return bool(gap <= alone.double().abs().amax() / 64)

    def _pack_for_memory(self) -> int:
        """Tokens of a pack: as many as are fast, fewer where memory is short."""
        config = self._model.config.get_text_config()
        width = max(
            int(getattr(config, "hidden_size", None) or 0),
            int(getattr(config, "intermediate_size", None) or 0),
            1,
        )
        most = _PACK_TOKENS.get(self._device.type, _PACK_TOKENS_GPU)
        free = free_memory(self._device)
        if free is None:
            return most
        a_token: int = _WIDTHS * width * self._model.dtype.itemsize
        return max(1, min(most, int(free * _MOST_MEMORY) // a_token))

    def _budget(self) -> int:
        """MiB of logits and buffers in work at once."""
        default = _MEMORY_MB.get(self._device.type, _MEMORY_MB_GPU)
        free = free_memory(self._device)
        if free is None:
            return default
        return max(1, min(default, int(free * _MOST_MEMORY) >> 20))

    def _rows_for_memory(self) -> int:
        assert self._head is not None
        budget = self._own.memory_mb or self._budget()
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

    # -- scoring

    def _score(self, ids: IdArray, what: str) -> Scores:
        """One sequence by itself, unpadded."""
        assert self._head is not None
        scores = Scores.empty(len(ids), self.settings.top_k, entropy=True)
        if len(ids) < 2:
            return scores
        tokens = torch.as_tensor(ids, dtype=torch.int64, device=self._device)[None]
        with explained(
            f"{what}: the model itself does not fit {len(ids)} tokens: give shorter"
            " ones"
        ):
            hidden = self._head.backbone(tokens)
            hidden = self._head.keep(hidden, self._own.hidden_states)
        rows = ScoredRows(hidden, tokens, tokens[0, 1:], first=1)
        self._score_all(scores, rows, what)
        return scores

    def _score_pack(self, pack: Sequence[AskedSequence]) -> list[Scores]:
        """Sequences together, the longest first; in two packs where memory is short,
        and in smaller ones from then on.
        """
        sequences = [np.asarray(one.ids, np.int32) for one in pack]
        if len(pack) == 1 or len(sequences[0]) < 2:
            pairs = zip(sequences, pack, strict=True)
            return [self._score(ids, one.what) for ids, one in pairs]
        rows = self._pack_rows([ids for ids in sequences if len(ids) > 1])
        if rows is None:
            self._pack_tokens = max(1, self._pack_tokens // 2)
            free_what_is_left()
            half = len(pack) // 2
            return self._score_pack(pack[:half]) + self._score_pack(pack[half:])
        top_k = self.settings.top_k
        joined = Scores.empty(len(rows.targets), top_k, entropy=True)
        self._score_all(joined, rows, f"{pack[0].what} and its pack")
        return apart(joined, sequences, top_k)

    def _pack_rows(self, pack: Sequence[IdArray]) -> ScoredRows | None:
        """The rows of a pack after the backbone; None where memory ran out."""
        assert self._head is not None
        try:
            tokens = padded(pack, self._device)
            backbone = self._head.backbone(tokens)
            rows = rows_of(hidden_of(backbone), tokens, pack)
            backbone = with_hidden(backbone, rows.hidden)
            kept = self._head.keep(backbone, self._own.hidden_states)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return replace(rows, hidden=kept)

    def _score_all(self, scores: Scores, rows: ScoredRows, what: str) -> None:
        """The head in chunks; one that does not fit into memory is halved, for all that
        follow too.
        """
        start = 0
        end = len(rows.targets)
        while start < end:
            stop = start + self._chunk(end - start)
            if self._score_rows(scores, rows, start, stop):
                start = stop
            else:
                self._halve(stop - start, what)

    def _chunk(self, rows: int) -> int:
        """Rows of the next chunk of ``rows``: chunks are of even length, so that none
        is a few rows only.
        """
        chunks = math.ceil(rows / self._rows)
        return math.ceil(rows / chunks)

    def _score_rows(
        self, scores: Scores, rows: ScoredRows, start: int, stop: int
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
            logits = self._head.logits(rows.hidden, rows.ids, start, stop)
            targets = rows.targets[start:stop].to(logits.device)
            self._reducer.into(scores, rows.first + start, logits, targets)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False  # left first: the traceback holds on to the tensors
        return True

    def _halve(self, rows: int, what: str) -> None:
        if rows <= MIN_ROWS:
            raise LogdriftError(
                f"{what}: out of memory for the logits of {rows} tokens: free some"
                " memory"
            )
        self._rows = rows // 2
        self._reducer = None
        free_what_is_left()

    def _generate(self, prompt: IdArray, seed: int, what: str) -> Generation:
        if self._sampler is None:
            raise LogdriftError("transformers: it was not opened to sample")
        if self._reducer is None:
            self._reducer = self._new_reducer()
        return self._sampler.sample(prompt, seed, what, self._reducer)

    # -- checks

    def _check(
        self, sequences: Sequence[IdArray], room: int, names: Sequence[str] = ()
    ) -> None:
        head = self._head
        if head is None:
            raise LogdriftError("transformers: the backend is not open")
        names = names or [f"sequence {index}" for index in range(len(sequences))]
        for what, ids in zip(names, sequences, strict=True):
            if len(ids) == 0:
                raise MismatchError(f"{what}: no token ids")
            known_ids = min(self._vocab_size, head.logits_size)
            check_ids(np.asarray(ids), known_ids, what)
            if self._limit is not None and len(ids) + room > self._limit:
                more = " and room for a new one" if room else ""
                raise MismatchError(
                    f"{what}: {len(ids)} tokens{more} are more than the"
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
