"""Are both sides the same model? Weights, vocabulary, tokenizer, configuration, and
what options made of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from logdrift.core.compare.gate.case import (
    GateCase,
    GateSide,
    Reason,
    caution,
    note,
    refuse,
)
from logdrift.core.compare.gate.loaded import config_reasons, effect_of, tokenizer_of
from logdrift.core.compare.loaded.config import CHANGES_THE_MODEL
from logdrift.core.compare.loaded.difference import Difference, sentence
from logdrift.core.engines import all_names

if TYPE_CHECKING:
    from logdrift.core.plan import BackendSpec, CapturePlan

_SAME_MODEL = (
    (
        "vocab_size",
        "vocabulary",
        "the vocabularies have different sizes",
        "load the same model on both sides",
    ),
    (
        "tokenizer_digest",
        "tokenizer",
        "the tokenizers differ, so one id means two texts",
        "use the same tokenizer files",
    ),
    (
        "weights_digest",
        "weights",
        "the weights differ",
        "load one checkpoint on both sides, or sync the weights",
    ),
)
# Options under which whole configs are changed.
_TABLES = all_names(lambda engine: engine.loading.config)
# Options under which the weights are random.
_RANDOM = all_names(lambda engine: engine.loading.random)
# Precision, attention and quantisation have facts and checks of their own; the rest
# changes no number.
_NOT_THE_MODEL = (
    "head_dtype",
    "dtype",
    "torch_dtype",
    "use_cache",
    "architectures",
    "attn_implementation",
    "quantization_config",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
)


def check_model(case: GateCase) -> Iterator[Reason]:
    """Both sides must be the same model with the same vocabulary."""
    for name, code, what, remedy in _SAME_MODEL:
        if case.differ(name):
            differences = tokenizer_of(case) if code == "tokenizer" else ()
            sides = _sides(case, name, differences)
            yield refuse(code, f"{what} ({sides}): {remedy}.", differences)
    if not case.same_backend:
        yield from _random_weights(case)
    overridden = [overrides(side) or {} for side in case.sides]
    yield from config_reasons(case, overridden)


def _random_weights(case: GateCase) -> Iterator[Reason]:
    """A side that never read the checkpoint is no model to compare with."""
    for setting in _RANDOM:
        name, _, value = setting.partition("=")
        labels = []
        for side in case.sides:
            if str(side.option(name)) == value:
                labels.append(side.label)
        if labels:
            yield refuse(
                "weights",
                f"{' and '.join(labels)} ran with random weights ({setting}): load the"
                " checkpoint.",
            )


def _sides(case: GateCase, name: str, differences: tuple[Difference, ...]) -> str:
    """What a fact is on both sides: by name where that is known, else the values
    themselves.
    """
    if differences:
        return f"{case.a.label} against {case.b.label}: {sentence(differences)}"
    a, b = case.both(name)
    return f"{case.a.label}: {_short(a)}, {case.b.label}: {_short(b)}"


def check_weight_version(case: GateCase) -> Iterator[Reason]:
    """A rollout that lags behind its trainer holds the training between the two in its
    gap.
    """
    if case.differ("weight_version"):
        a, b = case.both("weight_version")
        told = [
            side.label for side in case.sides if "weight_version" in side.facts.told
        ]
        if told:
            by = f" (as stated for {' and '.join(told)})"
        else:
            by = ""
        yield caution(
            "weight_version",
            f"{case.a.label} is of weight version {a}, {case.b.label} of {b}{by}: their"
            " gap holds what training changed in between, so compare numbers of one"
            " version.",
        )


def check_named_model(case: GateCase) -> Iterator[Reason]:
    """Where no digest tells, the plan may: a backend that was given a model of its
    own.
    """
    if None not in case.both("weights_digest") or case.same_backend:
        return
    plan = case.session.plan
    if plan is None or case.a.spec is None or case.b.spec is None:
        return
    a = _model_of(case.a.spec, plan)
    b = _model_of(case.b.spec, plan)
    if a != b:
        yield caution(
            "model",
            f"{case.a.label} was given the model {_named(*a)} and {case.b.label}"
            f" {_named(*b)}, and their weights were not compared: make sure that they"
            " are the same.",
        )


def check_served_model(case: GateCase) -> Iterator[Reason]:
    """A running server that gives its model another name than the session's."""
    plan = case.session.plan
    if plan is None or case.same_backend:
        return
    for side in case.sides:
        if side.spec is None or side.spec.server is None:
            continue
        name = side.options.get("served_name")
        if name is not None:
            yield caution(
                "model",
                f"{side.label} is of what its server calls {name}, and the weights were"
                f" not compared: make sure that they are those of {plan.model}.",
            )


def _model_of(spec: BackendSpec, plan: CapturePlan) -> tuple[str, str | None]:
    """The model of a backend and its revision."""
    if spec.model:
        return spec.model, spec.revision
    return plan.model, plan.revision


def check_architecture(case: GateCase) -> Iterator[Reason]:
    """Another model class over the same weights is another implementation; over unknown
    weights it may be another model.
    """
    if not case.differ("model_class") or case.differ("weights_digest"):
        return
    said = (
        f"the model is {case.a.facts.model_class} in {case.a.label} and"
        f" {case.b.facts.model_class} in {case.b.label}"
    )
    if None in case.both("weights_digest"):
        yield caution(
            "architecture",
            f"{said}, and their weights were not compared: load one checkpoint on both"
            " sides.",
        )
    else:
        yield case.setting(
            "architecture",
            f"{said}, two implementations of the same weights: use one to see its"
            " share.",
        )


def check_logits_size(case: GateCase) -> Iterator[Reason]:
    """A softmax over more ids has another normaliser."""
    if case.differ("logits_size") and not case.differ("vocab_size"):
        a, b = case.both("logits_size")
        yield caution(
            "logits_size",
            f"{case.a.label} has {a:,} logits for each token and {case.b.label} {b:,}:"
            " make sure that rows beyond the vocabulary are masked.",
        )


def check_overrides(case: GateCase) -> Iterator[Reason]:
    """Options that change the model itself, on one side or differently."""
    a, b = _changed_options(case)
    names = [name for name in sorted({*a, *b}) if not _same_option(name, a, b)]
    if not names:
        return
    runs = []
    changed: dict[str, Any] = {}
    for side, options in ((case.a, a), (case.b, b)):
        own = {name: options[name] for name in names if name in options}
        changed |= own
        if own:
            runs.append(f"{side.label} runs with {_assignments(own)}")
    said = " and ".join(runs)
    found = effect_of(case, changed)
    if found == ():
        yield note(
            "overrides",
            f"{said}, but the resolved configs of both sides have the same values"
            " there.",
        )
        return
    if found:
        effect = f" ({sentence(found)})"
    else:
        effect = ""
    yield caution(
        "overrides",
        f"{said}, which changes the model{effect}: set the same on both sides.",
        found or (),
    )


def _changed_options(case: GateCase) -> tuple[dict[str, Any], dict[str, Any]]:
    """`overrides` of both sides, with what was observed on both and differs."""
    a, b = (overrides(side) or {} for side in case.sides)
    seen_a = case.a.facts.extra
    seen_b = case.b.facts.extra
    for name in ("logit_scale", "soft_cap"):
        both_seen = name in seen_a and name in seen_b
        if both_seen and seen_a[name] != seen_b[name]:
            a = {**a, name: seen_a[name]}
            b = {**b, name: seen_b[name]}
    return a, b


def _same_option(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return name in a and name in b and bool(a[name] == b[name])


def _assignments(options: Mapping[str, Any]) -> str:
    """``rope_theta=100000, logit_scale=2``."""
    assignments = []
    for name, value in options.items():
        text = json.dumps(value, default=str)
        assignments.append(f"{name}={_short(text)}")
    return ", ".join(assignments)


def overrides(side: GateSide) -> dict[str, Any] | None:
    """Fields of the model's config that this side changed, flat: as observed, else as
    the plan asks; None: unknown.
    """
    seen = side.facts.config_overrides
    if seen is None and side.spec is None:
        return None
    found: dict[str, Any] = {}
    for name, value in side.options.items():
        if name in _TABLES:
            # Where ``seen`` is known, what the engine made of the table was observed.
            if seen is None:
                found |= _flat(_table(value))
        elif CHANGES_THE_MODEL.search(name) and value not in (None, False):
            found |= _flat({name: value})
    if seen is None:
        return found
    return found | _flat(seen)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{prefix}{name}.")
        elif name not in _NOT_THE_MODEL:
            out[prefix + name] = value
    return out


def _table(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {"overrides": value}
    if isinstance(value, Mapping):
        return value
    return {"overrides": value}


def _named(model: str, revision: str | None) -> str:
    if revision:
        return f"{model} @ {revision}"
    return model


def _short(value: object) -> str:
    text = str(value)
    if len(text) > 24:
        return text[:19] + "..."
    return text
