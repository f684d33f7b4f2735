"""What engine scripts hold an engine's numbers against: Transformers in float32, in the
engine's own interpreter.
"""

from __future__ import annotations

from typing import Any


class Reference:
    """The same ids are asked about again and again (decode, prefill, forced, tempered):
    each sequence runs once.
    """

    def __init__(self, model: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(
            model, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        self._logits: dict[bytes, Any] = {}

    def rows(self, ids: Any, temperature: float = 1.0) -> Any:
        """Log-softmax in float64 of the full logits over ``temperature``, f64[T, V];
        row i scores id i + 1.
        """
        import numpy as np

        key = np.asarray(ids, np.int64).tobytes()
        with self._torch.inference_mode():
            if key not in self._logits:
                self._logits[key] = self._model(
                    self._torch.tensor(np.asarray(ids, np.int64)[None])
                ).logits[0]
            return (self._logits[key].double() / temperature).log_softmax(-1).numpy()

    def logprobs(self, ids: Any, temperature: float = 1.0) -> list[float]:
        """Log-probability of each id given those before it, NaN for the first."""
        rows = self.rows(ids, temperature)
        return [
            float("nan"),
            *(float(rows[i, token]) for i, token in enumerate(ids[1:])),
        ]
