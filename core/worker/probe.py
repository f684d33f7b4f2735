"""Asks an interpreter what it holds: ``python -I probe.py MODULES DISTRIBUTIONS`` (two
JSON lists of names).

Imports each module as a worker would and prints one last line ``logdrift-probe:{...}``:
versions, GPUs, or ``error``. Run by path; nothing imports it, and it is written so that
even an old Python can say that it is too old.
"""

import json
import os
import sys

MARK = "logdrift-probe:"


def main():  # type: ignore[no-untyped-def]
    found = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    try:
        if sys.version_info < (3, 10):  # noqa: UP036
            raise RuntimeError(
                "Python {}.{} is too old, a worker needs 3.10 or newer".format(
                    *sys.version_info[:2]
                )
            )
        _look(found, json.loads(sys.argv[1]), json.loads(sys.argv[2]))  # type: ignore[no-untyped-call]
    except BaseException as error:
        found["error"] = f"{type(error).__name__}: {error}"
    sys.stdout.write("\n" + MARK + json.dumps(found) + "\n")
    sys.stdout.flush()
    # Some engines start threads on import that would keep the interpreter for seconds.
    os._exit(0)


def _look(found, modules, distributions):  # type: ignore[no-untyped-def]
    import importlib.metadata

    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as error:
            raise ImportError(
                f"import {name} fails: {type(error).__name__}: {error}"
            ) from error
    import torch

    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found["torch"] = str(torch.__version__)
    found["gpus"] = []
    if torch.cuda.is_available():
        found["gpus"] = [
            torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())
        ]


if __name__ == "__main__":
    main()  # type: ignore[no-untyped-call]
