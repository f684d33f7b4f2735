"""Files of the form for a new capture: the plan, and the token ids that were typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from logdrift.core.errors import CannotWrite
from logdrift.core.plan import CapturePlan
from logdrift.core.plan.writing import plan_toml
from logdrift.tui.models.capture_draft import IDS_FILE


def save_plan(plan: CapturePlan, ids: Sequence[str] | None, path: Path) -> None:
    """Write a plan as TOML, and typed ids into a file beside it. Raises LogdriftError
    where the disk refuses or TOML cannot hold a value.
    """
    try:
        if ids is not None:
            ids_file = path.with_suffix(".ids.jsonl")
            plan = with_ids_file(plan, ids, ids_file)
        toml = plan_toml(plan)
        path.write_text(toml, encoding="utf-8")
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        raise CannotWrite(reason, where=f"plan {path}", file=path) from None


def with_typed_ids(
    plan: CapturePlan, ids: Sequence[str] | None, scratch: Path
) -> CapturePlan:
    """The plan as a capture is started from it: typed ids become a file in ``scratch``,
    which the session does not need afterwards.
    """
    if ids is None:
        return plan
    file = scratch / IDS_FILE
    return with_ids_file(plan, ids, file)


def with_ids_file(plan: CapturePlan, ids: Sequence[str], file: Path) -> CapturePlan:
    """Write the lines ``ids`` into ``file``, from where the plan then has its prompts.
    Raises OSError.
    """
    lines = [f"{line}\n" for line in ids]
    content = "".join(lines)
    file.write_text(content, encoding="utf-8")
    path = file.absolute()
    return replace(plan, prompts_file=str(path))
