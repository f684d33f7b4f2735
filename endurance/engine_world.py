"""logdrift as it is installed, with a real engine and a tiny model."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from endurance.held import left_beside
from endurance.strikes import (
    ENGINE_CHILD,
    TOP,
    WORKER,
    Strike,
    strike,
)
from endurance.surroundings import Surroundings
from endurance.undertakings import OUT, Capture, Into, Resume, Undertaking, ended
from logdrift.core.capture.environments import find_interpreter

LOGDRIFT = Path(sys.executable).parent / "logdrift"
_MODEL = Path(__file__).with_name("tiny_model.py")
_PROMPTS = 8
_SCORES = "transformers:float32@reference"
SAMPLES = {
    "transformers": "transformers:bfloat16,paths=decode+prefill@rollout",
    "vllm": "vllm:bfloat16,paths=decode+prefill,reproducible=true@rollout",
    "sglang": "sglang:bfloat16,paths=decode+prefill,reproducible=true@rollout",
}
_HALF = 12
"""Events after which some of the parts are written, and others are not."""


class EngineWorld:
    """Captures below ``folder`` that ``engine`` samples and Transformers scores."""

    def __init__(self, folder: Path, engine: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.engine = engine
        self.surroundings = Surroundings(folder / "temporary")
        self.model = folder / "model"
        python = find_interpreter("transformers").python
        subprocess.run([str(python), str(_MODEL), str(self.model)], check=True)

    def command(self, *arguments: object) -> list[str]:
        return [str(LOGDRIFT), *map(str, arguments)]

    def variables(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.surroundings.variables,
            "XDG_STATE_HOME": str(self.folder / "state"),
            # Torch keeps this one, beside what is temporary.
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }

    def undertakings(self) -> list[Undertaking]:
        """What is done with the engine."""
        capture = Capture(self, self._given())
        if self.engine != "transformers":
            capture.targets = (TOP, WORKER, ENGINE_CHILD)
            return [capture]
        half = self._half()
        whole = self._whole(half)
        into = Into(self, whole, _SCORES.replace("reference", "more"))
        resume = Resume(self, half)
        return [capture, resume, capture, into, resume]

    def _given(self) -> Sequence[object]:
        given: list[object] = ["--model", self.model, "--max-tokens", 8]
        given += ["--part-sequences", 1]
        for number in range(_PROMPTS):
            given += ["--text", f"w{number} w{number + 1} w{number + 2}"]
        for spec in (SAMPLES[self.engine], _SCORES):
            given += ["--backend", spec]
        return given

    def _half(self) -> Path:
        place = self.folder / "half"
        place.mkdir()
        capture = Capture(self, self._given())
        process = capture.begin(place)
        kill = Strike(WORKER, signal.SIGKILL, seconds=0.0, lines=_HALF)
        strike(kill, process, capture.events(place))
        process.terminate()
        ended(process, place)
        assert not left_beside(place / OUT)
        return place / OUT

    def _whole(self, half: Path) -> Path:
        place = self.folder / "whole"
        place.mkdir()
        shutil.copytree(half, place / OUT)
        Resume(self, half).finish(place)
        return place / OUT
