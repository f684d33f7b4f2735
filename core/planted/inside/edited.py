"""Save a model with a fault in its weights as a folder that every engine loads. Runs in
the engine's interpreter.

python core/planted/inside/edited.py MODEL OUT FAULT SIZE
"""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
runpy.run_path(str(HERE.parents[1] / "worker" / "launch.py"))

from logdrift.core.planted.inside.scoring import Model  # noqa: E402
from logdrift.core.planted.inside.weights import MODEL  # noqa: E402


def main(model: Path, out: Path, fault: str, size: float) -> None:
    """Weights are bfloat16, as those of the small model are. The folder appears whole
    or not at all.
    """
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    loaded = Model.load(model, "bfloat16")
    with MODEL[fault](loaded, size):
        loaded.net.save_pretrained(temporary)
    for file in model.iterdir():
        copy = temporary / file.name
        is_weights = file.suffix == ".safetensors"
        if file.is_file() and not is_weights and not copy.exists():
            shutil.copyfile(file, copy)
    temporary.rename(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
