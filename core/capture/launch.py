"""The script that an engine's interpreter is started with: ``python core/capture/launch.py FD``.

It makes the package `core`, and nothing else of logdrift's environment, importable there, and runs the worker.
Engines that spawn processes import this file again in each of them, so `core` is importable there too.
"""

import gc
import importlib.util
import sys
from pathlib import Path


def make_core_importable() -> None:
    """Register `core` by its folder. Its parent must not enter sys.path: it may be the site-packages of logdrift's own
    environment, whose NumPy and others would shadow the engine's; nor must this folder, whose modules have common names."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    if "core" in sys.modules:
        return
    package = here.parent
    spec = importlib.util.spec_from_file_location(
        "core", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["core"] = module
    spec.loader.exec_module(module)


# Importing an engine makes much and drops next to nothing: looking for garbage after every 700 objects is a seventh of it,
# in each of the engine's processes.
gc.set_threshold(10_000)

make_core_importable()

if __name__ == "__main__":
    from core.capture.worker import main

    sys.exit(main(int(sys.argv[1])))
