"""logdrift with the toy engine of the tests: real supervisors, workers, environments
and screens, without the start of a real engine.
"""

from __future__ import annotations

import os
import signal
import time
import zipfile
from pathlib import Path

from endurance.strikes import WORKER, victims
from endurance.surroundings import Surroundings
from endurance.undertakings import (
    OUT,
    PATIENCE,
    Capture,
    Export,
    Import,
    Into,
    Resume,
    Undertaking,
    ended,
    started,
)
from endurance.undertakings_more import Environment, Experiment, Recording, Screen
from tests.toy_site import TOY, ToySite, toy_model

_PROMPTS = 6
_SAMPLES = "toy:bfloat16,paths=decode+prefill,mode=fixed"
_SCORES = "toy:float32,paths=prefill@reference"


class ToyWorld:
    """The copy of logdrift below ``folder``, what is done there, and sessions that are
    there before.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.surroundings = Surroundings(folder / "temporary")
        self.site = ToySite(folder)
        self.model = toy_model(folder / "model")
        _add_recipe(self.site.site)
        self.wheels = _wheels(folder / "wheels")

    def command(self, *arguments: object) -> list[str]:
        return self.site.command(*arguments)

    def variables(self) -> dict[str, str]:
        return self.site.environment(
            **self.surroundings.variables,
            PIP_NO_INDEX="1",
            PIP_FIND_LINKS=str(self.wheels),
        )

    def undertakings(self) -> list[Undertaking]:
        """What is done with the toy engine; what takes long, or hits several kinds of
        process, in its share.
        """
        whole = self._whole()
        lines = self._exported(whole)
        half = self._half()
        capture = Capture(self, self._given(_SAMPLES, _SCORES))
        resume = Resume(self, half)
        into = Into(self, whole, _SCORES.replace("reference", "more"))
        recording = Recording(self)
        experiment = Experiment(self, whole)
        screen = Screen(self, half)
        quick = [
            *(capture, into, resume, recording),
            *(experiment, Import(self, "session", whole), Export(self, "jsonl", whole)),
            *(capture, resume, recording, screen),
            *(Import(self, "jsonl", lines), Export(self, "csv", whole)),
            *(capture, into, resume, experiment),
            screen,
        ]
        return [*quick, *quick, Environment(self)]

    def _given(self, *specs: str) -> list[object]:
        texts = [f"TEXT {number}" for number in range(_PROMPTS)]
        flags: list[object] = ["--model", self.model, "--max-tokens", 4]
        flags += ["--part-sequences", 1]
        for text in texts:
            flags += ["--text", text]
        for spec in specs:
            flags += ["--backend", spec]
        return flags

    def _whole(self) -> Path:
        """A finished session."""
        place = self._place("whole")
        whole = Capture(self, self._given(_SAMPLES, _SCORES))
        whole.finish(place)
        return place / OUT

    def _exported(self, session: Path) -> Path:
        place = self._place("exported")
        file = place / "tokens.jsonl"
        argv = self.command("export", session, "-o", file)
        ended(started(argv, self.variables(), place), place)
        return file

    def _half(self) -> Path:
        """A session whose worker was ended when it had scored one part of six: the toy
        engine waits there.
        """
        place = self._place("half")
        capture = Capture(self, self._given(_SAMPLES, _SCORES))
        argv = self.command(*capture.arguments(place))
        waits = {**self.variables(), "TOY_WAITS": "1"}
        process = started(argv, waits, place)
        _wait_for_part(place / OUT / "captures" / "toy" / "prefill")
        for worker in victims(process.pid, WORKER):
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.5)
        process.terminate()
        process.wait(PATIENCE)
        return place / OUT

    def _place(self, name: str) -> Path:
        place = self.folder / name
        place.mkdir()
        return place


def _wait_for_part(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not list(folder.glob("part-*")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no part in {folder}")
        time.sleep(0.05)
    time.sleep(0.5)  # until it is listed


def _add_recipe(site: Path) -> None:
    """Let `env create toy` install the engine's library."""
    folder = site / "logdrift" / "core" / "engines" / "toy" / "recipes"
    folder.mkdir()
    (folder / "cpu.txt").write_text("toy-library==7.0\n")


def _wheels(folder: Path) -> Path:
    """A package index of one wheel: the toy engine's library, and as much of torch as
    the probe of an environment asks for.
    """
    folder.mkdir()
    name = "toy_library-7.0"
    info = f"{name}.dist-info"
    library = (TOY / "environment" / "toy_library.py").read_text()
    # The environment has no NumPy, and the probe asks for no number.
    library = library.partition("import numpy")[0] + "VERSION = '7.0'\n"
    files = {
        "toy_library.py": library,
        "torch.py": _TORCH,
        "numpy.py": "",
        "safetensors.py": "",
        f"{info}/METADATA": _METADATA,
        f"{info}/WHEEL": _WHEEL,
    }
    for number in range(300):
        files[f"toy_more/part_{number}.py"] = f"NUMBER = {number}\n"
    listed = [f"{file},," for file in (*files, f"{info}/RECORD")]
    files[f"{info}/RECORD"] = "\n".join(listed) + "\n"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        for file, content in files.items():
            wheel.writestr(file, content)
    return folder


_METADATA = "Metadata-Version: 2.1\nName: toy-library\nVersion: 7.0\n"
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_TORCH = """__version__ = "0"


class cuda:
    is_available = staticmethod(lambda: False)
"""
