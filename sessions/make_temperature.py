"""Make the second shipped sample again, the case of the README: `make sample`.

vLLM samples at temperature 0.7 and returns the sampler's log-probabilities, the trainer
computes the model's; one experiment proves it. Some minutes on a CPU, with real
engines. What is run are the commands that a user would type.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from itertools import islice
from pathlib import Path

from logdrift.cli.demo import set_up
from logdrift.cli.main import main as logdrift
from logdrift.core.errors import LogdriftError
from logdrift.core.session.layout import EVENTS, LOGS, PROMPTS

FOLDER = Path(__file__).resolve().parent / "sample-temperature"
DEMO_PROMPTS = Path("core/capture/data/demo_prompts.jsonl")
_TITLE = "temperature 0.7: vLLM returns the sampler's log-probabilities"
_PROMPTS = 12
_TOKENS = 48
_BACKENDS = (
    "transformers:float32@reference",
    "transformers:bfloat16@trainer",
    "vllm:bfloat16,logprobs_mode=processed_logprobs",
)
_NOT_SHIPPED = (LOGS, EVENTS, PROMPTS)
"""They name folders of the machine that captured, and nobody needs them to read the
numbers.
"""


def main() -> int:
    set_up(["vllm"], "smollm2")
    new = FOLDER.with_name("temperature-new")
    shutil.rmtree(new, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        with (FOLDER.parent.parent / DEMO_PROMPTS).open(encoding="utf-8") as lines:
            prompts.write_text("".join(islice(lines, _PROMPTS)), encoding="utf-8")
        _run("capture", *_capture_arguments(prompts), "--out", str(new))
    _run("why", str(new), "--run", "--only", "temperature")
    for manifest in list(new.rglob("session.json")):
        _leave_out(manifest.parent)
    shutil.rmtree(FOLDER, ignore_errors=True)
    new.rename(FOLDER)
    return 0


def _capture_arguments(prompts: Path) -> list[str]:
    arguments = ["--model", "smollm2", "--prompts", str(prompts), "--title", _TITLE]
    arguments += ["--temperature", "0.7", "--max-tokens", str(_TOKENS)]
    for backend in _BACKENDS:
        arguments += ["--backend", backend]
    return arguments


def _run(*arguments: str) -> None:
    """Run a command of logdrift; LogdriftError where it fails."""
    code = logdrift(list(arguments))
    if code:
        raise LogdriftError(f"logdrift {arguments[0]} ended with {code}")


def _leave_out(session: Path) -> None:
    """Remove what a session needs for a resume alone."""
    for name in _NOT_SHIPPED:
        path = session / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
