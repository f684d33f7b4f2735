"""Prompts as a worker with a tokenizer returned them: the supervisor has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.capture.prompt import Prompt
from logdrift.core.capture.start import run_prepare
from logdrift.core.capture.tokenizing import tokenizing_backend
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import CapturePlan
from logdrift.core.protocol import ModelSource, PrepareJob, error_in
from logdrift.core.session.scratch import brief_folder

_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class Prepared:
    """The prompts as the tokenizing worker returned them.

    ``vocab_size`` and ``max_positions`` are the model's, None where its config does not
    tell; ``max_length`` is the longest sequence that can come of the prompts.
    """

    token_ids: list[list[int]]
    prompt_lengths: list[int]
    vocab_size: int | None
    max_length: int
    max_positions: int | None
    roles: list[list[int] | None]
    retokenised: list[Any]

    def role_arrays(self) -> list[npt.NDArray[np.uint8] | None]:
        """The roles of the ids of each prompt, None where not known."""
        arrays: list[npt.NDArray[np.uint8] | None] = []
        for roles in self.roles:
            array = None
            if roles is not None:
                array = np.asarray(roles, np.uint8)
            arrays.append(array)
        return arrays

    def arrays(self) -> list[npt.NDArray[np.int32]]:
        """The ids of each prompt."""
        return [np.asarray(ids, np.int32) for ids in self.token_ids]


def prepare_prompts(
    plan: CapturePlan, model: str, prompts: Sequence[Prompt]
) -> Prepared:
    """Tokenise and check the prompts in the interpreter of a backend.

    Raises InputError for a prompt, LogdriftError where the worker fails.
    """
    spec = tokenizing_backend(plan.backends)
    lines = [prompt.to_json() for prompt in prompts]
    job = PrepareJob(
        model=ModelSource(model, plan.revision),
        sampling=plan.sampling,
        prompts=tuple(lines),
        trust_remote_code=plan.trust_remote_code,
    )
    with brief_folder() as scratch:
        log = scratch / "prepare.log"
        for message in run_prepare(spec, job, log):
            kind = message["type"]
            if kind == "failed":
                raise error_in(message)
            if kind == "prepared":
                return Prepared(
                    token_ids=message["token_ids"],
                    prompt_lengths=message["prompt_lengths"],
                    vocab_size=message["vocab_size"],
                    max_length=message["max_length"],
                    max_positions=message["max_positions"],
                    roles=message["roles"],
                    retokenised=message["retokenised"],
                )
        raise LogdriftError(
            f"the interpreter of backend {spec.name!r} ended while reading the prompts"
            f" ({_last_line(log)}): see logdrift env check {spec.engine}",
            field=f"backend[{spec.name}].engine",
        )


def _last_line(log: Path) -> str:
    printed = log.read_text(errors="replace")
    lines = printed.strip().splitlines()
    if not lines:
        return "it printed nothing"
    return lines[-1][:_LONGEST_LINE]
