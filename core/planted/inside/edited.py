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
LAUNCH = HERE.parents[1] / "worker" / "launch.py"


def _is_elsewhere(entry: str) -> bool:
    """Whether an entry of ``sys.path`` is another folder than this file's."""
    return Path(entry or ".").resolve() != HERE


sys.path[:] = [entry for entry in sys.path if _is_elsewhere(entry)]
runpy.run_path(str(LAUNCH))

from logdrift.core.planted.inside.scoring import Model  # noqa: E402
from logdrift.core.planted.inside.weights import MODEL  # noqa: E402


def main(model: Path, out: Path, fault: str, size: float) -> None:
    """Weights are bfloat16, as those of the small model are. The folder appears whole
    or not at all.
    """
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    loaded = Model.load(model, "bfloat16")
    plant = MODEL[fault]
    with plant(loaded, size):
        loaded.net.save_pretrained(temporary)
    for file in model.iterdir():
        _copy_beside_weights(file, temporary)
    temporary.rename(out)


def _copy_beside_weights(file: Path, folder: Path) -> None:
    """Copy a file of the model (tokenizer, settings) unless it holds weights or was
    saved with them.
    """
    copy = folder / file.name
    is_weights = file.suffix == ".safetensors"
    if is_weights or not file.is_file() or copy.exists():
        return
    shutil.copyfile(file, copy)


if __name__ == "__main__":
    _, model_folder, out_folder, fault_name, fault_size = sys.argv
    main(
        model=Path(model_folder),
        out=Path(out_folder),
        fault=fault_name,
        size=float(fault_size),
    )
