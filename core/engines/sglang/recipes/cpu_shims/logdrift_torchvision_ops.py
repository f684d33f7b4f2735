"""Lets torchvision be imported beside a CPU build of torch. Loaded at start by logdrift_sglang_cpu.pth.

SGLang imports torchvision even for a plain text model. The registry's torchvision is linked to CUDA: next to a CPU
torch its compiled operators cannot load, and then ``torchvision/_meta_registrations.py`` fails with "operator
torchvision::nms does not exist". Declaring the two schemas is enough: no text model calls them. It is a .pth file in
site-packages because SGLang spawns its scheduler and detokenizer, and each of these processes needs it.
"""

import sys
from importlib import machinery

_keep = []  # type: ignore[var-annotated]


class _DeclareOperators:
    """Runs once, when torchvision is about to be imported; finds nothing itself."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        import torch

        # With a CUDA torch the compiled operators do load, and a second declaration would be an error.
        if (
            torch.version.cuda is None
            and machinery.PathFinder.find_spec(name) is not None
        ):
            library = torch.library.Library("torchvision", "DEF")
            library.define(
                "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
            library.define(
                "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
            _keep.append(library)  # the schemas go when it is collected
        return None


sys.meta_path.insert(0, _DeclareOperators())
