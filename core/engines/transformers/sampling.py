"""Sampling with ``model.generate``, one prompt at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from logdrift.core.engines.transformers.failures import drawn, explained
from logdrift.core.engines.transformers.recorder import Recorder
from logdrift.core.worker.base import (
    BackendSettings,
    Generation,
    IdArray,
    MismatchError,
    Scores,
)
from logdrift.core.worker.reduce import Reducer


class CompletionSampler:
    """Samples completions of up to ``limit`` tokens, prompt included (None: no limit),
    with a loaded model.
    """

    def __init__(
        self, settings: BackendSettings, model: Any, device: Any, limit: int | None
    ) -> None:
        """Takes the model folder's sampling defaults away: ``generate`` would fill
        every unset parameter from them.
        """
        self.settings = settings
        self._model = model
        self._device = device
        self._limit = limit
        self._eos: tuple[int, ...] = ()
        eos = model.generation_config.eos_token_id
        if eos is None:
            eos = model.config.get_text_config().eos_token_id
        if isinstance(eos, (list, tuple)):
            self._eos = tuple(eos)
        elif eos is not None:
            self._eos = (eos,)
        model.generation_config = transformers.GenerationConfig()

    def sample(
        self, prompt: IdArray, seed: int, what: str, reducer: Reducer
    ) -> Generation:
        """One completion, with the scores of its tokens by ``reducer``. Raises
        LogdriftError where it does not fit into memory, or nothing can be drawn.
        """
        new_tokens = self.settings.new_tokens(len(prompt), self._limit)
        length = len(prompt) + new_tokens
        scores = Scores.empty(length, self.settings.top_k, entropy=True)
        recorder = Recorder(scores, len(prompt), reducer)
        tokens = torch.as_tensor(prompt, dtype=torch.int64, device=self._device)[None]
        torch.manual_seed(seed)
        does_not_fit = (
            f"{what}: the model does not fit {len(prompt)} + {new_tokens} tokens"
        )
        with explained(does_not_fit), drawn(what, self._model.dtype):
            ids = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=self._generation_config(new_tokens),
                logits_processor=self._processors(recorder),
            )[0]
        token_ids = ids.to(torch.int32).cpu().numpy()
        if not np.array_equal(token_ids[: len(prompt)], prompt):
            raise MismatchError(
                f"{what}: the engine answered with other prompt ids than it was given"
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
