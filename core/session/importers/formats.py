"""The table of formats, in the order in which they are guessed. A module is imported
when its format is first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from logdrift.core.session.importers.job import ImportJob
    from logdrift.core.session.importers.start import Start


class Importer(Protocol):
    """What the module of a format gives."""

    def guess(self, start: Start) -> bool:
        """Whether a file or folder that begins so is of this format."""

    def run(self, job: ImportJob) -> tuple[str, ...]:
        """Make the session, and return what was left out or joined, a sentence each.

        Raises InputError for files that cannot be imported.
        """


@dataclass(frozen=True, slots=True)
class Format:
    """One line of the table. ``kind`` names what is imported in a word or two, for
    the screen; ``reads`` says it for the help and the docs. ``module`` has the
    functions of `Importer`.
    """

    name: str
    kind: str
    reads: str
    module: str

    def load(self) -> Importer:
        """The module."""
        return cast("Importer", import_module(self.module))


_HERE = "logdrift.core.session.importers"

FORMATS: tuple[Format, ...] = (
    Format(
        "session",
        "a session folder",
        "a session folder from elsewhere, copied and checked",
        f"{_HERE}.folder",
    ),
    Format(
        "slime",
        "slime and miles dumps",
        "rollout and train dumps of slime and miles (.pt), or a folder of them with the"
        " files of all ranks; torch reads them, in the environment of transformers",
        # It starts an interpreter, which is more than what the others here do.
        "logdrift.core.capture.torch_dumps",
    ),
    Format(
        "miles",
        "slime and miles dumps",
        "rollouts that miles' dashboard keeps, dashboard_columns/rollout_N.parquet, or"
        " the folder; needs pyarrow",
        f"{_HERE}.miles_columns",
    ),
    Format(
        "megatron",
        "Megatron's ranks",
        "log-probabilities of a Megatron model alone, rank_N.json of miles'"
        " run_megatron; NAME=FOLDER, one capture each, all ranks put together",
        f"{_HERE}.megatron",
    ),
    Format(
        "prime-rl",
        "prime-rl traces",
        "the trace stream of prime-rl with its annotations (a run's folder, its traces,"
        " or a chunk), and the token exports of older releases",
        f"{_HERE}.prime_rl",
    ),
    Format(
        "jsonl",
        "JSONL",
        "one sequence a line, with any number of captures",
        f"{_HERE}.jsonl",
    ),
    Format(
        "nemo-rl",
        "NeMo-RL logs",
        "what NeMo-RL logs of each step, train_data_stepN.jsonl",
        f"{_HERE}.nemo_rl",
    ),
    Format(
        "openai",
        "answers of servers",
        "answers of an OpenAI-compatible server with token ids, streams and batches"
        " too; NAME=FILE, one capture each",
        f"{_HERE}.openai",
    ),
    Format(
        "sglang",
        "answers of servers",
        "native answers of SGLang's /generate; NAME=FILE, one capture each, joined with"
        " others by ids",
        f"{_HERE}.sglang",
    ),
    Format(
        "vllm",
        "answers of servers",
        "outputs of vLLM's offline LLM class and of TensorRT-LLM's, as JSON; NAME=FILE,"
        " one capture each",
        f"{_HERE}.vllm",
    ),
    Format(
        "engine-outputs",
        "answers of servers",
        "lines of prompt_ids, gen_ids and gen_logprobs, as a public compare script"
        " writes them (engine_outputs.jsonl); NAME=FILE, one capture each",
        f"{_HERE}.compare_script",
    ),
)


def format_names() -> tuple[str, ...]:
    """What `logdrift import` takes as FORMAT."""
    return tuple(one.name for one in FORMATS)


def kinds_in_words() -> str:
    """What can be imported, each kind once: ``a session folder, JSONL or …``."""
    kinds = [one.kind for one in FORMATS]
    *others, last = dict.fromkeys(kinds)
    names = ", ".join(others)
    return f"{names} or {last}"
