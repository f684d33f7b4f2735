"""What is true of the toy engine. Standard library only."""

from __future__ import annotations

from logdrift.core.engines.about import Engine, Numerics, Process
from logdrift.core.engines.knobs import EAGER, Knob

ABOUT = Engine(
    name="toy",
    backend="logdrift.core.engines.toy.backend:ToyBackend",
    package="toy_library",
    distributions=("toy-library",),
    paths=("decode", "prefill"),
    default_role="rollout",
    process=Process(imports=("toy_library",), variables={"TOY_SET_BY_LOGDRIFT": "1"}),
    answers={"size": "logdrift.core.engines.toy.backend:size"},
    numbers=Numerics(
        prefixes=("TOY_",),
        variables={"TOY_ROUNDING": ("nearest",)},
        settings=("mode",),
        batch_invariant=True,
    ),
    knobs={
        "compile": (Knob("toy_eager=true", "no compiler", unless=EAGER),),
        "batch": (Knob("mode=plain", "as others run", run="any"),),
    },
)
