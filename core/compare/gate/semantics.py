"""Of what are the numbers log-probabilities: raw logits, logits / T, or logits after
truncation and penalties?
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logdrift.core.compare.gate.case import (
    GateCase,
    GateSide,
    Reason,
    caution,
    note,
    refuse,
)
from logdrift.core.facts import Facts
from logdrift.core.numbers import counted
from logdrift.core.session.layout import CaptureInfo

if TYPE_CHECKING:
    from logdrift.core.plan import SamplingSpec


_OF_SAMPLERS = {"temperature", "top_p", "top_k", "min_p"}
"""Facts that make a `Sampler`."""
_SHOWN = 4
"""Ways of sampling that one sentence names."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """How tokens were sampled; None: not known. ``top_p`` 1, ``top_k`` 0 and ``min_p``
    0 cut nothing off.
    """

    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    penalty: float | None

    @property
    def truncates(self) -> bool | None:
        """Whether it cuts ids off; None: not all of its settings are known, and none
        that is known does.
        """
        if (
            (self.top_p or 1.0) < 1.0
            or (self.top_k or 0) > 0
            or (self.min_p or 0.0) > 0.0
        ):
            return True
        if None in (self.top_p, self.top_k, self.min_p):
            return None
        return False

    @property
    def plain(self) -> bool | None:
        """Samples at temperature 1 and changes nothing else; None: not known."""
        if (
            self.temperature not in (None, 1.0)
            or self.penalty not in (None, 1.0)
            or self.truncates
        ):
            return False
        if self.temperature is None:
            return None
        return True


def sampler_of(facts: Facts, sampling: SamplingSpec | None) -> Sampler:
    """How the tokens of a side were sampled: by the session's plan, or else by what is
    known of numbers from elsewhere.
    """
    if sampling is None:
        return Sampler(facts.temperature, facts.top_p, facts.top_k, facts.min_p, None)
    return Sampler(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        penalty=sampling.repetition_penalty,
    )


def meaning(
    info: CaptureInfo, facts: Facts, sampling: SamplingSpec | None
) -> str | None:
    """What the log-probabilities of a capture are of: ``raw``, ``logits / T`` or
    ``processed at T=...``; None: unknown.

    Scaling by T = 1 is raw, and so is T = 0: engines decode greedily without dividing.
    Penalties enter everything but raw; top-p, top-k and min-p only ``processed``, which
    is raw where none of these is in use. Numbers from elsewhere (path ``recorded``) are
    as their author told.
    """
    if info.path == "prefill":
        said = facts.prefill_logprobs
    else:
        said = facts.decode_logprobs
    if said is None or said == "raw":
        return said
    if facts.temperature is None:
        return None
    sampler = sampler_of(facts, sampling)
    penalised = sampling is not None and sampler.penalty != 1.0
    if penalised or (said == "processed" and sampler.truncates is not False):
        return f"processed at T={facts.temperature:g}{_cut(sampler)}"
    if facts.temperature in (0.0, 1.0):
        return "raw"
    return f"logits / {facts.temperature:g}"


def _cut(sampler: Sampler) -> str:
    """The settings that cut ids off: two sides that differ in them have other
    log-probabilities.
    """
    cuts = []
    if sampler.top_p is not None and sampler.top_p < 1.0:
        cuts.append(f"top_p={sampler.top_p:g}")
    if sampler.top_k:
        cuts.append(f"top_k={sampler.top_k}")
    if sampler.min_p:
        cuts.append(f"min_p={sampler.min_p:g}")
    return "".join(f", {cut}" for cut in cuts)


def _meaning_of(case: GateCase, side: GateSide) -> str | None:
    return meaning(side.info, side.facts, case.sampling_of(side))


def check_semantics(case: GateCase) -> Iterator[Reason]:
    """Raw against temperature-scaled or processed log-probabilities are two different
    quantities.
    """
    a = _meaning_of(case, case.a)
    b = _meaning_of(case, case.b)
    if a is None or b is None:
        sides = zip(case.sides, (a, b), strict=True)
        labels = [side.label for side, known in sides if known is None]
        yield caution(
            "semantics_unknown",
            "raw or temperature-scaled log-probabilities? Not observed for"
            f" {' and '.join(labels)}: sample at T=1 without truncation, where both are"
            f" the same{_how_to_tell(case)}.",
        )
    elif a != b:
        scaled = "processed" not in a + b
        if scaled:
            remedy = "sample at temperature 1"
        else:
            remedy = "switch truncation and penalties off"
        yield refuse(
            "temperature" if scaled else "semantics",
            f"{case.a.label} gives log-probabilities of {_of(a)}, {case.b.label} of"
            f" {_of(b)}{_by_word(case)}: {remedy}, or set the engine to raw"
            " log-probabilities.",
        )
    elif a.startswith("processed"):
        yield caution(
            "processed",
            f"both sides give log-probabilities {a}{_by_word(case)}, after truncation"
            " or penalties, so a token that one side alone cuts off reads -inf: use"
            " raw log-probabilities.",
        )
    elif said := _by_word(case):
        words = f"both sides give log-probabilities of {_of(a)}{said}."
        if _told_sides(case):
            yield note("told", words)
        else:
            yield note("probed", words)


def _by_word(case: GateCase) -> str:
    """Whose log-probabilities are what somebody told them to be, with no engine
    observed, or what two requests to a server gave.
    """
    words = []
    told = _told_sides(case)
    if told:
        words.append(f"as stated for {' and '.join(told)}, not observed")
    probed = [side.label for side in case.sides if _was_probed(side)]
    if probed:
        words.append(f"as probed for {' and '.join(probed)}")
    if not words:
        return ""
    return f" ({'; '.join(words)})"


def _told_sides(case: GateCase) -> list[str]:
    return [
        side.label
        for side in case.sides
        if {"decode_logprobs", "prefill_logprobs"} & set(side.facts.told)
    ]


def _was_probed(side: GateSide) -> bool:
    return side.info.path == "decode" and "decode_logprobs" in side.facts.probed


def _how_to_tell(case: GateCase) -> str:
    """Where the author of numbers from elsewhere may say what they are; nobody else
    can.
    """
    if case.session.is_import:
        return (
            ", or state what you know (import --fact NAME.logprobs_mode=raw,"
            " NAME.temperature=0.6)"
        )
    if any(side.info.path == "recorded" for side in case.sides):
        return (
            ', or state what you know ("logprobs_mode": "raw", "temperature": 0.6 in'
            " the lines of the prompts)"
        )
    return ""


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which tokens were sampled, of ``sequences`` of them (None: of all).
    ``told``: nothing was observed.
    """

    sampler: Sampler
    told: bool
    sequences: int | None = None


def ways_of_sampling(case: GateCase) -> list[Way]:
    """How the tokens of the pair were sampled: the lines of the prompts tell it of
    completions that they give, else the plan or what is known of the rollouts' numbers.
    """
    given = case.session.manifest.sequences.sampled
    if given:
        return [
            Way(
                sampler_of(Facts(**each.facts), None),
                told=True,
                sequences=each.sequences,
            )
            for each in given
        ]
    rollouts = [side for side in case.sides if side.info.role == "rollout"]
    return [
        Way(
            sampler_of(side.facts, case.sampling_of(side)),
            told=bool({*side.facts.told} & _OF_SAMPLERS),
        )
        for side in rollouts
    ]


def check_sampling(case: GateCase) -> Iterator[Reason]:
    """Raw numbers stay comparable under any sampling, but ratios made of them are then
    not those of the sampler.
    """
    if all(side.info.role != "rollout" for side in case.sides):
        return
    ways = ways_of_sampling(case)
    changed = [way for way in ways if way.sampler.plain is False]
    if not changed:
        return
    if ways[0].sequences is not None:
        said = _worded(ways)
    else:
        said = _settings(changed[0].sampler)
    if changed[0].told:
        told = " (as stated, not observed)"
    else:
        told = ""
    yield note(
        "sampling",
        f"tokens were sampled with {said}{told}, so exp(delta) of raw log-probabilities"
        " is not the importance ratio of that sampler: for ratios sample with T=1 and"
        " nothing else.",
    )


def _worded(ways: list[Way]) -> str:
    """Each way with its sequences, where there are several: settings that differ are
    listed, never averaged.
    """
    counts: dict[str, int] = {}
    for way in ways:
        settings = _settings(way.sampler) or "unknown settings"
        counts.setdefault(settings, 0)
        counts[settings] += way.sequences or 0
    if len(counts) == 1:
        return next(iter(counts))
    parts = []
    for settings, number in counts.items():
        parts.append(f"{settings} in {counted(number, 'sequence')}")
    more = len(parts) - _SHOWN
    if more > 0:
        parts[_SHOWN:] = [counted(more, "other way")]
    return "; ".join(parts)


def check_sampled(case: GateCase) -> Iterator[Reason]:
    """Who sampled completions that were given, where no side is what it recorded: then
    its facts are not those of a side.
    """
    paths = (case.a.info.path, case.b.info.path)
    roles = (case.a.info.role, case.b.info.role)
    if "recorded" in paths or "rollout" not in roles:
        return
    samplers: dict[str, None] = {}
    for sampled in case.session.manifest.sequences.sampled:
        facts = Facts(**sampled.facts)
        samplers[_who(facts)] = None
    if any(samplers):
        names = [name or "an engine that was not named" for name in samplers]
        listed = "; ".join(names[:_SHOWN])
        more = len(names) - _SHOWN
        if more > 0:
            others = f"; {counted(more, 'other')}"
        else:
            others = ""
        yield note(
            "sampled",
            f"the completions were given, and sampled by {listed}{others} (as"
            " stated, not observed).",
        )


def _who(facts: Facts) -> str:
    """``vllm 0.11.0, bfloat16, weights 17``: an engine as the user described it; empty
    where there is no description.
    """
    words = []
    if facts.engine and facts.engine_version:
        words.append(f"{facts.engine} {facts.engine_version}")
    elif facts.engine or facts.engine_version:
        words.append(facts.engine or facts.engine_version or "")
    if facts.torch_version:
        words.append(f"torch {facts.torch_version}")
    if facts.dtype:
        words.append(facts.dtype)
    if facts.weight_version:
        words.append(f"weights {facts.weight_version}")
    return ", ".join(words)


def _settings(sampler: Sampler) -> str:
    """Every setting that is known."""
    named = (
        ("T", sampler.temperature),
        ("top_p", sampler.top_p),
        ("top_k", sampler.top_k),
        ("min_p", sampler.min_p),
        ("repetition_penalty", sampler.penalty),
    )
    known = []
    for name, value in named:
        if value is not None:
            known.append(f"{name}={value:g}")
    return ", ".join(known)


def _of(what: str) -> str:
    if what == "raw":
        return "raw logits"
    if what.startswith("processed"):
        return f"logits {what}"
    return what
