"""Lets ``import torchvision`` work where its compiled part cannot load (a CUDA wheel beside a CPU torch).

SGLang imports torchvision whatever the model. Without its shared library, torchvision's Python part fails
on ``operator torchvision::nms does not exist``; declaring the two operators is enough to import it. Loaded at
interpreter start by ``logdrift_torchvision_ops.pth``, so that the processes SGLang spawns have it as well.
"""

from __future__ import annotations

import sys
from typing import Any


class _DeclareOperators:
    """Meta path entry that acts once, when torchvision is about to be imported, and finds nothing itself."""

    libraries: list[Any] = []  # a torch Library takes its operators away when it is collected

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name != "torchvision":
            return
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        import torch

        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        self.libraries.append(library)


sys.meta_path.insert(0, _DeclareOperators())  # type: ignore[arg-type]
