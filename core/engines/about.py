"""What is known of an engine before it is started: the record that each engine's own
``core/engines/NAME/about.py`` fills in.

Standard library only: every part of logdrift may import it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from logdrift.core.engines.faults import EngineFault, EngineState
from logdrift.core.engines.knobs import KnobTable


def resolve(path: str) -> Any:
    """What ``module:name`` names. The module is imported now, and not before: it may
    run in one engine's interpreter only.
    """
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


PATHS = ("decode", "prefill", "forced_decode", "recorded")


@dataclass(frozen=True, slots=True)
class PathNeed:
    """A path of an engine that works with one value of an option alone, which is also
    its default.
    """

    path: str
    option: str
    value: str
    otherwise: str
    """What another value would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """How the interpreter of an engine is made and checked, and how a worker is started
    in it.
    """

    imports: tuple[str, ...]
    """Modules that a worker imports: an environment is checked by importing them."""
    newest_python: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Per device of a recipe, where not every Python that logdrift supports works."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set for every worker, unless the user has set them."""
    cpu_variables: Mapping[str, str] = field(default_factory=dict)
    """Set as well for a worker on a CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """What moves the numbers of an engine, by the engine's own names.

    ``variables`` are environment variables, each with the values that are the same as
    leaving it out, and ``prefixes`` how all variables of the engine begin. ``settings``
    are names in `Facts.extra`. ``precisions`` (facts or variables) hold the precision
    of float32 products, ``tf32`` whether they are reduced. ``speculative`` are options
    that decode with a draft.
    """

    prefixes: tuple[str, ...] = ()
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    tf32: tuple[str, ...] = ()
    speculative: tuple[str, ...] = ()
    batch_invariant: bool = False
    """The engine has a batch-invariant (deterministic) mode, and says whether it is
    on.
    """
    cache_dtype: bool = False
    """The engine keeps keys and values in a dtype of its own choice, and says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """By which options the model differs from the files beside its config.json.

    ``elsewhere``: the weights are not those safetensors files; ``plain``: the values of
    ``load_format`` under which they are. ``random``: settings, each as
    ``option=value``, under which no checkpoint is read and the weights are random.
    ``config``: options that change fields of the config, as a table.
    """

    elsewhere: tuple[str, ...] = ()
    plain: tuple[str, ...] = ("auto",)
    random: tuple[str, ...] = ()
    config: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """How a server of an engine is asked that somebody has started.

    ``backend`` is the ``module:class`` that speaks its protocol, in logdrift's own
    interpreter. ``key_variable`` is where a key is looked for unless the user names
    another place.
    """

    backend: str
    paths: tuple[str, ...]
    key_variable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What may be asked of an engine before it is started.

    ``backend`` is the ``module:class`` that the worker opens in the engine's
    interpreter. ``package`` is the module whose import proves that an interpreter holds
    the engine; ``distributions`` are the names under which it may be installed.
    ``needs`` are its paths that not every option allows; ``server`` is None where it
    has none to attach to.
    """

    name: str
    backend: str
    package: str
    distributions: tuple[str, ...]
    paths: tuple[str, ...]
    default_role: Literal["reference", "trainer", "rollout"]
    process: Process
    server: RunningServer | None = None
    needs: tuple[PathNeed, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    """Question (`logdrift.core.worker.questions`) -> ``module:function``."""
    hook_options: Mapping[str, Any] = field(default_factory=dict)
    """Options without which hooks on layers do not fire, or not for every layer."""
    replays: bool = False
    """It can run a recorded residual stream through its own layers."""
    debuggers: str | None = None
    """``module:function`` that writes a script for the engine's own debuggers:
    ``(model, spec or None, token ids, layer or None) -> text``.
    """
    numbers: Numerics = field(default_factory=Numerics)
    loading: Loading = field(default_factory=Loading)
    knobs: KnobTable = field(default_factory=dict)
    faults: tuple[EngineFault, ...] = ()
    """What it can be made to show, for `logdrift doctor --self-test`; each is started
    as one of ``states``.
    """
    states: Mapping[str, EngineState] = field(default_factory=dict)

    def refusal(self, path: str, options: Mapping[str, Any]) -> str | None:
        """Why ``path`` does not work with these options of a backend, known before it
        is started; None where it does.
        """
        for need in self.needs:
            value = options.get(need.option, need.value)
            if need.path == path and value != need.value:
                return (
                    f"{path} needs {need.option}={need.value}: with {value}"
                    f" {need.otherwise}"
                )
        return None
