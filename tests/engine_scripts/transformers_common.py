"""What the transformers_*.py scripts share. They run in the engine's interpreter and
print one line of JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from tiny_models import FAMILIES, build  # noqa: E402

__all__ = ["FAMILIES", "build", "message_of", "new_backend", "quiet", "worst"]


def quiet(sequences: int, tokens: int) -> None:
    """A progress callback that says nothing."""


def new_backend(
    model: Any,
    dtype: str = "float32",
    *,
    paths: tuple[str, ...] = ("prefill",),
    top_k: int = 20,
    sampling: Any = None,
    **options: Any,
) -> Any:
    """A `TransformersBackend` that is not open yet."""
    from logdrift.core.engines.transformers.backend import TransformersBackend
    from logdrift.core.plan import BackendSpec, SamplingSpec
    from logdrift.core.worker.base import BackendSettings

    spec = BackendSpec("test", "transformers", dtype, options=options)
    return TransformersBackend(
        BackendSettings(
            str(model), None, spec, sampling or SamplingSpec(), paths, top_k, 1024, 8
        )
    )


def message_of(run: Any) -> str:
    """Text of the LogdriftError that ``run`` raises, with its class in front; ``nothing
    raised`` if it does not.
    """
    from logdrift.core.errors import LogdriftError

    try:
        run()
    except LogdriftError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing raised"


def worst(a: Any, b: Any) -> float:
    """Largest absolute difference, entries that are NaN or infinite in the same way
    counted as equal.
    """
    import numpy as np

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        return float(np.where(same, 0.0, np.abs(a - b)).max(initial=0.0))
