"""Made answers of engines that were asked: which layer differs, what was loaded. Judged
by the real judges.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from logdrift.core.diagnose.layers import Layers, compare_sides
from logdrift.core.diagnose.layers.errors import MeasuredLayers, unit
from logdrift.core.session.identity import LoadedTensor, LoadedWeights
from tests.common import Fields


def made(layers: int, error: float, seed: int = 0) -> tuple[Fields, Fields]:
    """A stream of ``layers`` + 1 stages, and it with independent relative errors of
    ``error``.
    """
    rng = np.random.default_rng(seed)
    stream = rng.normal(size=(layers + 1, 8, 32)).astype(np.float32)
    logits = rng.normal(size=(8, 16)).astype(np.float32)
    a = {"stream": stream, "final": stream[-1] * 2, "logits": logits}
    off = rng.normal(size=stream.shape).astype(np.float32)
    off *= (
        error
        * np.linalg.norm(stream, axis=-1, keepdims=True)
        / np.linalg.norm(off, axis=-1, keepdims=True)
    )
    return a, {**a, "stream": stream + off}


def put(data: Any, path: str, value: Any) -> None:
    """Put a value into JSON at a path of keys and indices, ``sides/0/name``."""
    *inner, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in inner:
        data = data[part]
    data[last] = value


def with_replay(
    times: list[float], dtype: str = "bfloat16", first: float | None = None
) -> MeasuredLayers:
    """A side whose layers have these own errors (``first``: that of position 0), all
    else right.
    """
    a, _ = made(len(times), 0.0)
    size = np.linalg.norm(a["stream"][1:], axis=-1)
    step = 0.3 * size
    q = float(np.hypot(unit(dtype), unit("float32")))
    difference = np.array(times)[:, None] * q * np.sqrt(size**2 + 8 * step**2)
    if first is not None:
        difference[:, 0] *= first / np.array(times)
    zero = np.zeros(8)
    replay = {
        "size": size,
        "step": step,
        "difference": difference,
        "final_size": size[-1],
        "final_difference": zero,
        "logits_size": size[-1],
        "logits_difference": zero,
    }
    return MeasuredLayers(f"side-{dtype}-{sum(times):.1f}", dtype, a, replay)


def judged(*sides: MeasuredLayers) -> list[Any]:
    """The sides as they are judged against a float32 reference without any error."""
    return list(
        compare_sides(
            sides,
            MeasuredLayers(
                "reference", "float32", made(len(sides[0].arrays["stream"]) - 1, 0.0)[0]
            ),
        )[0]
    )


def a_result() -> Layers:
    """Of sequence 0 as a whole: trainer is rounding, in the other layer 2 is wrong."""
    sides = tuple(
        judged(with_replay([1.3] * 6), with_replay([1.3, 1.3, 30.0, 1.3, 1.3, 1.3]))
    )
    return Layers(
        "x-0-all",
        "trainer/prefill",
        "vllm/prefill",
        0,
        None,
        0,
        7,
        "reference",
        True,
        sides,
        ("a note",),
    )


def loaded(backend: str, **tensors: LoadedTensor) -> LoadedWeights:
    """Three tensors ``a``, ``b`` and ``c`` as on disk, but for those that are given."""
    plain = {
        name: LoadedTensor(
            name,
            True,
            "digest",
            digest=f"d-{name}",
            file_digest=f"f-{name}",
            dtype="bfloat16",
        )
        for name in ("a", "b", "c")
    }
    return LoadedWeights(
        backend, "vllm", tuple((plain | tensors).values()), facts={"dtype": "bfloat16"}
    )


def off(name: str, l2: float = 0.005, **changes: Any) -> LoadedTensor:
    """A tensor that is not the one on disk, by ``l2``."""
    return LoadedTensor(
        name,
        False,
        "digest",
        digest=f"other-{name}",
        l2=l2,
        share=0.6,
        dtype="bfloat16",
        **changes,
    )
