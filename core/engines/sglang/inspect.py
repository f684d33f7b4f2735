"""Reaching the model of a running `sgl.Engine`, which lives in scheduler processes that
SGLang spawns.

SGLang lets an engine name the function that those processes run
(``Engine.run_scheduler_process_func``). Ours adds one method to the scheduler, which
`Engine.collective_rpc` calls on every rank, and then runs SGLang's own; nothing that
computes is touched. Used only where a question is asked (`BackendSettings.asked`),
never for a capture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logdrift.core.session.scratch import brief_folder


def run_scheduler(*args: Any, **kwargs: Any) -> Any:
    """SGLang's ``run_scheduler_process`` with `_inspect` on the scheduler. A function
    of the module: it is pickled by name.
    """
    from sglang.srt.managers import scheduler  # type: ignore[import-not-found,unused-ignore]

    scheduler.Scheduler.logdrift_inspect = _inspect
    return scheduler.run_scheduler_process(*args, **kwargs)


def _inspect(self: Any, function: str, arguments: Mapping[str, Any], out: str) -> None:
    """Write what ``function`` says of this rank's model to ``out/RANK.json``: an RPC of
    SGLang has no answer of its own.
    """
    import torch

    from logdrift.core.engines.about import resolve

    with torch.inference_mode():
        found = resolve(function)(self.tp_worker.model_runner.model, arguments)
    rank = int(getattr(self.world_group, "rank_in_group", 0))
    Path(out, f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")


def inspected_engine() -> Any:
    """The class of an engine that `inspect_ranks` can ask."""
    from sglang.srt.entrypoints.engine import (  # type: ignore[import-not-found,unused-ignore]
        Engine,
    )

    class Inspected(Engine):  # type: ignore[misc,unused-ignore]
        run_scheduler_process_func = staticmethod(run_scheduler)

    return Inspected


def inspect_ranks(
    engine: Any, function: str, arguments: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """``function(model, arguments)`` in every scheduler, rank 0 first. Raises what
    SGLang raises.
    """
    with brief_folder() as out:
        engine.collective_rpc(
            "logdrift_inspect",
            function=function,
            arguments=dict(arguments),
            out=str(out),
        )
        found = sorted(out.glob("*.json"), key=lambda path: int(path.stem))
        return [json.loads(path.read_text(encoding="utf-8")) for path in found]
