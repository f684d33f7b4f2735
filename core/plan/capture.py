"""A whole capture: the model, its prompts, and the backends in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from logdrift.core.credentials import masked, secret_in
from logdrift.core.errors import InputError
from logdrift.core.plan.backend import BackendSpec, secret_error
from logdrift.core.plan.sampling import SamplingSpec
from logdrift.core.session.schema import checked, items, record, text

_LARGEST_TOP_K = 1024


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """A whole capture: one model, its prompts, the backends in order.

    ``top_k`` alternatives are kept of each token. Of conversations that end in an
    assistant turn, ``continue_final_message`` continues that turn and
    ``add_generation_prompt`` answers it, unless their own line says which.
    """

    model: str
    backends: tuple[BackendSpec, ...]
    prompts_file: str | None = None
    texts: tuple[str, ...] = ()
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    revision: str | None = None
    title: str = ""
    top_k: int = 20
    part_sequences: int = 8
    trust_remote_code: bool = False
    continue_final_message: bool = False
    add_generation_prompt: bool = False

    def __post_init__(self) -> None:
        self._check_presence()
        self._check_values()
        self._check_names()
        self._check_generators()

    def _check_presence(self) -> None:
        if not self.model:
            remedy = "give a folder, a hub id or smollm2 (--model)"
            raise InputError("model is missing", field="model", remedy=remedy)
        if not self.backends:
            remedy = "give at least one (--backend transformers:float32@reference)"
            raise InputError("no backend", field="backends", remedy=remedy)

    def _check_values(self) -> None:
        if not 0 <= self.top_k <= _LARGEST_TOP_K:
            reason = f"top_k is {self.top_k}"
            remedy = f"give 0 to {_LARGEST_TOP_K}"
            raise InputError(reason, field="top_k", remedy=remedy)
        if self.part_sequences < 1:
            reason = f"part_sequences is {self.part_sequences}"
            raise InputError(reason, field="part_sequences", remedy="give 1 or more")
        if self.continue_final_message and self.add_generation_prompt:
            raise InputError(
                "continue_final_message and add_generation_prompt exclude each other",
                field="continue_final_message",
                remedy="give one",
            )
        for name in ("model", "revision", "title"):
            value = getattr(self, name)
            secret = secret_in(value, name)
            if secret is not None:
                raise secret_error(secret, field=name)

    def _check_names(self) -> None:
        names = Counter(spec.name for spec in self.backends)
        for name, count in names.items():
            if count > 1:
                raise InputError(
                    f"two backends are called {name!r}",
                    field=f"backend[{name}].name",
                    remedy="give one another name with @NAME",
                )

    def _check_generators(self) -> None:
        decoding = [spec.name for spec in self.backends if "decode" in spec.paths]
        if len(decoding) > 1:
            raise InputError(
                f"{' and '.join(decoding)} both have path decode",
                field=f"backend[{decoding[-1]}].paths",
                remedy="one backend generates the sequences of a session, the others"
                " score them (prefill, forced_decode)",
            )

    @property
    def final_turn(self) -> Literal["answer", "continue"] | None:
        """What is done with an assistant turn at the end of a conversation.

        None: each line has to say it.
        """
        if self.continue_final_message:
            return "continue"
        if self.add_generation_prompt:
            return "answer"
        return None

    @property
    def generator(self) -> BackendSpec | None:
        """The backend that samples the completions, if any."""
        for spec in self.backends:
            if "decode" in spec.paths:
                return spec
        return None

    def with_paths(self, *, generate: bool) -> CapturePlan:
        """The plan with the paths filled in that were left open.

        The generating backend decodes and prefills, the others prefill. Raises
        InputError where ``generate`` is False (sequences are complete) but a backend
        was asked to decode.
        """
        generator = None
        if generate:
            generator = self._generator_to_be()
        else:
            self._refuse_generator()
        backends = []
        for spec in self.backends:
            if not spec.paths:
                paths = _usual_paths(spec is generator)
                spec = replace(spec, paths=paths)
            backends.append(spec)
        return replace(self, backends=tuple(backends))

    def _refuse_generator(self) -> None:
        if self.generator is not None:
            raise self.generator.error(
                "paths",
                "path decode samples new tokens, but every prompt already has its"
                " completion",
                "use prefill or forced_decode",
            )

    def _generator_to_be(self) -> BackendSpec:
        """The backend with path decode, else one whose paths are open.

        Of those, the first rollout, or else the first.
        """
        if self.generator is not None:
            return self.generator
        open_paths = [spec for spec in self.backends if not spec.paths]
        for spec in open_paths:
            if spec.role == "rollout":
                return spec
        if open_paths:
            return open_paths[0]
        raise InputError(
            "the prompts have no completions and no backend has path decode",
            field="backends",
            remedy="add it to one backend",
        )

    def to_json(self) -> dict[str, Any]:
        """As saved in a session's manifest and shown as TOML."""
        data = asdict(self)
        data["backends"] = [spec.to_json() for spec in self.backends]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CapturePlan:
        """Inverse of `to_json`; unknown keys are left out.

        Raises InputError where a value is of another type.
        """
        values = checked(_plan_kind, data, "the plan")
        return cls(**_without_credentials(values))


def _usual_paths(generates: bool) -> tuple[str, ...]:
    if generates:
        return ("decode", "prefill")
    return ("prefill",)


_backend_kind = record(BackendSpec, role=text)
_sampling_kind = record(SamplingSpec)


def _saved_backend(value: Any) -> BackendSpec:
    values = _backend_kind(value)
    return BackendSpec(**_without_credentials(values))


def _saved_sampling(value: Any) -> SamplingSpec:
    values = _sampling_kind(value)
    return SamplingSpec(**values)


_plan_kind = record(
    CapturePlan, backends=items(_saved_backend), sampling=_saved_sampling
)


def _without_credentials(values: dict[str, Any]) -> dict[str, Any]:
    """Saved values with credentials masked: an older logdrift may not have recognised
    them.
    """
    plain = dict(values)
    for name in ("backends", "sampling"):
        plain.pop(name, None)
    if secret_in(plain) is None:
        return values
    return {**values, **masked(plain)}
