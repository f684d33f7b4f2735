"""The script that an engine's interpreter is started with: ``python
.../core/worker/launch.py FD``.

It makes the package `logdrift`, and nothing else of its environment, importable there,
and runs the worker. Engines that spawn processes import this file again in each of
them, so `logdrift` is importable there too.
"""

import atexit
import gc
import importlib.util
import sys
from pathlib import Path


def make_logdrift_importable() -> None:
    """Register `logdrift` by its folder.

    The folder's parent must not enter sys.path: it may be the site-packages of
    logdrift's own environment, whose NumPy and others would shadow the engine's. Nor
    must the folder of this script, whose modules have common names.
    """
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    if "logdrift" in sys.modules:
        return
    package = here.parent.parent
    if not (package / "__init__.py").is_file():
        # A checkout: the package is a folder of links beside `core`.
        package = package / "logdrift"
    spec = importlib.util.spec_from_file_location(
        "logdrift", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["logdrift"] = module
    spec.loader.exec_module(module)


# Importing an engine makes much and drops next to nothing: looking for garbage after
# every 700 objects is a seventh of it, in each of the engine's processes.
gc.set_threshold(10_000)
# Nor is there any at the end, but Python looks for it several times: a second of
# processor time in each worker. What is frozen is not looked through. Registered first,
# this runs behind all that an engine does at its own end.
atexit.register(gc.freeze)

make_logdrift_importable()

if __name__ == "__main__":
    from logdrift.core.worker.main import main

    sys.exit(main(int(sys.argv[1])))
