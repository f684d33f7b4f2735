"""Run by an engine's interpreter: load tiny models of many families and ask what was
loaded.

    python weights_families.py MODEL OUT.json {"engine":, "dtype":, "folder":,
    "families": [...]}

``folder`` is what weights_models.py has made. Each engine runs the model as it is, and
is held against its own files and against those with one tensor changed. One engine
after the other in this process, since an import takes longer than a start.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# As a worker does it: `core` alone, nothing else of the tool may leak into the engine's
# interpreter.
runpy.run_path(str(ROOT / "core" / "worker" / "launch.py"))

os.environ.setdefault("HF_HUB_OFFLINE", "1")

KEPT = (
    "name",
    "how",
    "same",
    "l2",
    "share",
    "units",
    "limit",
    "columns",
    "of",
    "reason",
    "loaded",
    "kind",
)
OPTIONS = {"sglang": {"skip_tokenizer_init": True, "max_total_tokens": 2048}}


def main(out: Path, wish: dict[str, Any]) -> None:
    found = {}
    for family in wish["families"]:
        started = time.monotonic()
        found[family] = of_family(family, wish)
        found[family]["seconds"] = round(time.monotonic() - started, 1)
        print(f"{wish['engine']} {family}: {found[family]['seconds']} s", flush=True)
    out.write_text(json.dumps(found))


def of_family(family: str, wish: dict[str, Any]) -> dict[str, Any]:
    from logdrift.core.engines import ENGINES
    from logdrift.core.engines.about import resolve

    answer = resolve(ENGINES[wish["engine"]].answers["weights"])
    model = str(Path(wish["folder"], family))
    backend = opened(wish["engine"], wish["dtype"], model)
    try:
        as_is = answer(backend, {"model": model}, Path())
        changed = answer(backend, {"model": f"{model}-changed"}, Path())
    finally:
        backend.close()
    return {"as is": summary(as_is), "changed": summary(changed)}


def opened(engine: str, dtype: str, model: str) -> Any:
    from logdrift.core.engines import ENGINES
    from logdrift.core.engines.about import resolve
    from logdrift.core.plan import BackendSpec, SamplingSpec
    from logdrift.core.worker.base import BackendSettings

    settings = BackendSettings(
        model=model,
        revision=None,
        spec=BackendSpec("asked", engine, dtype, options=OPTIONS.get(engine, {})),
        sampling=SamplingSpec(),
        paths=("prefill",),
        top_k=5,
        max_length=64,
        max_prompts=8,
        asked=True,
    )

    backend = resolve(ENGINES[engine].backend)(settings)
    backend.open()
    return backend


def summary(found: dict[str, Any]) -> dict[str, Any]:
    tensors = [{name: tensor.get(name) for name in KEPT} for tensor in found["tensors"]]
    return {"tensors": tensors, "tied": found["tied"], "extra": found["extra"]}


if __name__ == "__main__":
    main(Path(sys.argv[2]), json.loads(sys.argv[3]))
