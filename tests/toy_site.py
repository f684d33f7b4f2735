"""A copy of logdrift with the toy engine in it (``tests/toy_engine``), run as a program:
real supervisors and workers without the start of a real engine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.common import REPOSITORY, Run

TOY = REPOSITORY / "tests" / "toy_engine"
MAIN = "import sys; from logdrift.cli.main import main; sys.exit(main())"


class ToySite:
    """logdrift with the toy engine, and no other engine, below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = _site(folder / "site")
        self.home = folder / "home"
        self.home.mkdir()

    def command(self, *arguments: object, script: Path | None = None) -> list[str]:
        """What runs logdrift, or a script, as the copy has it."""
        start = ["-c", MAIN] if script is None else [str(script)]
        return [sys.executable, *start, *map(str, arguments)]

    def environment(self, **more: str) -> dict[str, str]:
        """The variables that it runs with."""
        environment = {
            **os.environ,
            "PYTHONPATH": f"{self.site}{os.pathsep}{REPOSITORY}",
            "LOGDRIFT_CACHE": str(self.home / "cache"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "CUDA_VISIBLE_DEVICES": "",
            "TOY_ROUNDING": "stochastic",
            "COLUMNS": "120",
            **more,
        }
        environment.pop("LOGDRIFT_CONFIG", None)
        return environment

    def run(
        self,
        *arguments: object,
        script: Path | None = None,
        before: Callable[[], object] | None = None,
        **variables: str,
    ) -> Any:
        """Run it to its end, with these variables too; ``before`` is done first in its
        process.
        """
        return subprocess.run(
            self.command(*arguments, script=script),
            capture_output=True,
            text=True,
            env=self.environment(**variables),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            preexec_fn=before,
            check=False,
        )

    def begin(self, *arguments: object, **variables: str) -> subprocess.Popen[str]:
        """Begin to run it, with these variables too."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment(**variables),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
        )


def toy_runner(folder: Path) -> Run:
    """`ToySite.run` of a new copy."""
    return ToySite(folder).run


def toy_model(folder: Path, vocabulary: int = 64, **config: object) -> Path:
    """A model folder that the toy engine takes."""
    folder.mkdir(parents=True)
    data = json.dumps({"vocab_size": vocabulary, **config})
    (folder / "config.json").write_text(data)
    save_file({"weight": np.zeros(3, np.float32)}, folder / "model.safetensors")
    return folder


def _site(folder: Path) -> Path:
    """logdrift, to which the engine was added, and the engine's library."""
    package = folder / "logdrift"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "logdrift", package, ignore=ignored)
    shutil.copytree(TOY / "environment", folder, ignore=ignored, dirs_exist_ok=True)
    engines = package / "core" / "engines"
    shutil.copytree(TOY / "room", engines / "toy", ignore=ignored)
    table = engines / "__init__.py"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    lines.insert(lines.index('    "sglang",\n') + 1, '    "toy",\n')
    table.write_text("".join(lines), encoding="utf-8")
    return folder
