"""What the engine scripts ask of a running engine about its weights. Imported by
them.
"""

from __future__ import annotations

from typing import Any


def loaded_weights(backend: Any, model: str, other: str) -> dict[str, Any]:
    """The engine runs ``model`` and is held against the files of ``other``, which has
    one tensor of other numbers: how many tensors were read how, and what differs.
    """
    from logdrift.core.worker.weights import merged

    found = merged(
        backend.inspect(
            "logdrift.core.worker.weights_read:read", {"folder": other, "own": model}
        )
    )
    tensors = found["tensors"]
    return {
        "how": sorted({(t["how"], t["same"]) for t in tensors}, key=str),
        "count": {
            how: sum(t["how"] == how for t in tensors)
            for how in ("digest", "probe", None)
        },
        "differ": [t for t in tensors if t["same"] is False],
        "units": max(
            (t["units"] for t in tensors if t["how"] == "probe" and t["same"]),
            default=None,
        ),
        "whole": all(t["columns"] == t["of"] for t in tensors if t["how"] == "probe"),
        "tied": found["tied"],
        "config_differs": found["config_differs"],
    }
