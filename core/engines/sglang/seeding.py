"""Draws of SGLang that do not depend on what was sampled before."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from typing import Any


class SeedGenerator:
    """A custom logit processor that changes no logit: it seeds torch's generator before
    each draw.

    The seed of a draw is a digest of (seed, step) of every row of the batch, so the
    same part draws the same tokens whatever was sampled before it. Runs inside the
    scheduler; ``params`` are the requests' ``custom_params``, which live as long as the
    request and hold its step.
    """

    def __call__(self, logits: Any, params: Sequence[dict[str, Any]]) -> Any:
        import torch

        state = hashlib.sha256()
        for row in params:
            step = row["step"] = row.get("step", -1) + 1
            state.update(b"%d:%d;" % (row["seed"], step))
        torch.manual_seed(int.from_bytes(state.digest()[:8], "big") >> 1)
        return logits

    @classmethod
    def serialised(cls) -> str:
        """As SGLang sends processors to its scheduler
        (sampling/custom_logit_processor.py), here by reference.
        """
        return json.dumps({"callable": pickle.dumps(cls).hex()})
