"""Healthy pairs, drawn: how often is a cause called likely where there is none?

A pair is two noisy readings of the same drawn logits, as two correct engines give them:
noise of a usual size for one dtype, heavy tails, a part that all alternatives of a
token share, larger on some tokens and in later positions, logits on the lattice of 16
bits; certain and loud tokens in stretches, greedy text, prompts that all sequences
share, values stored in few digits, as the sample and its engines show them (|delta| of
neighbours correlates at 0.0 to 0.5, with surprise at 0.2 to 0.75). Around it all that a
session may have or lack: lists of 0 to 20 alternatives, of unequal widths, scores of
the prompts, facts, a reference, repeats. Everything is in memory: nothing is read and
no engine runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.usual import USUAL
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import LIKELY
from logdrift.core.facts import Facts
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    Part,
    SequencesInfo,
)
from logdrift.core.session.reader import Capture, Pieces, Sequences, Session
from logdrift.core.session.tensors import Column

LENGTHS = (1, 2, 3, 8, 32, 128, 1024)
"""Tokens that both sides score."""
WIDTHS = (0, 1, 3, 5, 20)
"""Alternatives that a capture keeps for each token."""
MOST = 0.001
"""Share of healthy pairs of one length that may be given a likely cause."""
_VOCABULARY = 120
_HIDDEN = 16
"""Directions in which logits may err together, as the last hidden state does."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class HealthySetting:
    """What one drawn pair has. ``width_a`` and ``width_b`` are the alternatives that
    each side keeps.
    """

    tokens: int
    width_a: int
    width_b: int
    prompts: bool
    told: bool
    reference: bool
    repeats: bool
    dtype: str
    sequences: int
    greedy: bool = False
    shared: int = 0
    """Tokens at the start that all sequences have in common, with the same numbers on
    one side.
    """
    stored: str = "float32"
    """What a recorder keeps of every number: ``float32``, ``float16`` or ``4
    decimals``.
    """

    @property
    def true_causes(self) -> tuple[str, ...]:
        """What may be said of such a pair and is true: rounding is the whole gap of
        engines that agree better than that.
        """
        return () if self.told or self.stored == "float32" else ("cut",)


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """False alarms among ``pairs`` healthy pairs of one length.

    ``alarms`` were given a likely cause other than noise, ``noise`` were called likely
    noise, or the rounding that they were stored with where that is the gap, ``too_few``
    were answered with too few tokens to tell, ``worst`` is the largest score of a cause
    other than noise.
    """

    tokens: int
    pairs: int
    alarms: int
    noise: int
    too_few: int
    worst: float
    alarmed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _DrawnSession(Session):
    """A session whose arrays are in memory."""

    drawn_sequences: Sequences | None = None
    drawn_captures: tuple[Capture, ...] = ()

    @cached_property
    def sequences(self) -> Sequences:
        assert self.drawn_sequences is not None
        return self.drawn_sequences

    @cached_property
    def pieces(self) -> Pieces:
        return Pieces({})

    def capture(self, label: str) -> Capture:
        return next(each for each in self.drawn_captures if each.info.label == label)


def false_alarms(
    lengths: Sequence[int] = LENGTHS, pairs: int = 1000, seed: int = 0
) -> Iterator[FalseAlarms]:
    """One row for each of ``lengths``, from ``pairs`` drawn pairs each; the same
    ``seed`` draws the same pairs.
    """
    for tokens in lengths:
        rng = np.random.default_rng([seed, tokens])
        yield _row(
            tokens, [_judged(draw_setting(rng, tokens), rng) for _ in range(pairs)]
        )


def _judged(
    setting: HealthySetting, rng: np.random.Generator
) -> tuple[HealthySetting, Diagnosis]:
    session = draw_session(setting, rng)
    return setting, diagnose(session, make_pair(session, "trainer", "rollout"))


def _row(tokens: int, found: Sequence[tuple[HealthySetting, Diagnosis]]) -> FalseAlarms:
    alarmed = []
    worst = 0.0
    for setting, diagnosis in found:
        causes = [
            cause
            for cause in diagnosis.causes
            if cause.cause not in (NOISE, *setting.true_causes)
        ]
        worst = max([worst, *(cause.score for cause in causes)])
        likely = [
            f"{cause.cause} {cause.score:.2f} by {cause.evidence[0].signature}"
            for cause in causes
            if cause.score >= LIKELY
        ]
        if likely:
            alarmed.append(f"{', '.join(likely)} in {setting}")
    return FalseAlarms(
        tokens=tokens,
        pairs=len(found),
        alarms=len(alarmed),
        noise=sum(
            diagnosis.noise or _is_rounding(setting, diagnosis)
            for setting, diagnosis in found
        ),
        too_few=sum(
            diagnosis.verdict.startswith("too few tokens") for _, diagnosis in found
        ),
        worst=worst,
        alarmed=tuple(alarmed),
    )


def _is_rounding(setting: HealthySetting, diagnosis: Diagnosis) -> bool:
    """Whether the gap was said to be what the recorder rounded away, as it is."""
    return bool(diagnosis.causes) and diagnosis.causes[0].cause in setting.true_causes


def draw_setting(rng: np.random.Generator, tokens: int) -> HealthySetting:
    """Any mixture of what a session of ``tokens`` scored tokens may have."""
    width = int(rng.choice(WIDTHS))
    unequal = rng.random() < 0.3
    return HealthySetting(
        tokens=tokens,
        width_a=width,
        width_b=int(rng.choice(WIDTHS)) if unequal else width,
        prompts=bool(rng.random() < 0.5),
        told=bool(rng.random() < 0.5),
        reference=bool(rng.random() < 0.4),
        repeats=bool(rng.random() < 0.3),
        dtype=str(rng.choice(["bfloat16", "bfloat16", "float16", "float32"])),
        sequences=int(rng.integers(1, max(2, min(tokens, 16) + 1))),
        greedy=bool(rng.random() < 0.3),
        shared=int(rng.choice([0, 0, 3, 30])),
        stored=str(rng.choice(["float32", "float32", "float16", "4 decimals"])),
    )


def draw_session(setting: HealthySetting, rng: np.random.Generator) -> Session:
    """A healthy session of that kind: trainer and rollout, and where asked a reference
    and a repeat of each side.
    """
    lengths, prompts = _lengths(setting, rng)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    source = _source(offsets, prompts, setting.shared)
    logits = _logits(int(offsets[-1]), rng)[source]
    gumbel = rng.gumbel(size=logits.shape) * (not setting.greedy)
    ids = (logits + gumbel).argmax(axis=1).astype(np.int32)[source]
    sequences = Sequences(
        token_ids=ids,
        offsets=offsets,
        prompt_lengths=np.asarray(prompts, np.int32),
        mask=np.ones(len(ids), np.uint8),
        finish=np.zeros(len(lengths), np.uint8),
    )
    unscored = _unscored(sequences, setting.prompts)
    size = _size(setting.dtype, rng)
    plans = [
        ("trainer", "trainer", 1, setting.width_a),
        ("rollout", "rollout", 1, setting.width_b),
    ]
    if setting.reference:
        plans.append(("reference", "reference", 1, setting.width_a))
    captures = [
        _capture(
            setting,
            name,
            role,
            repeat,
            width,
            logits,
            source,
            unscored,
            sequences,
            size,
            rng,
        )
        for name, role, repeat, width in plans
    ]
    if setting.repeats:
        captures += [_repeat(capture, rng) for capture in captures[:2]]
    part = Part("sequences/part-00000.safetensors", 0, len(lengths), len(ids), "")
    manifest = Manifest(
        id="drawn",
        model=ModelInfo("drawn", vocab_size=_VOCABULARY),
        sequences=SequencesInfo(len(lengths), None, (part,)),
        captures=tuple(capture.info for capture in captures),
    )
    return _DrawnSession(
        Path("drawn"),
        manifest,
        drawn_sequences=sequences,
        drawn_captures=tuple(captures),
    )


def _lengths(
    setting: HealthySetting, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Tokens of each sequence and of its prompt, so that ``setting.tokens`` tokens have
    a score.
    """
    count = min(setting.sequences, setting.tokens)
    cuts = (
        np.sort(rng.choice(np.arange(1, setting.tokens), count - 1, replace=False))
        if count > 1
        else np.array([], int)
    )
    scored = np.diff(np.concatenate([[0], cuts, [setting.tokens]])).astype(int)
    if setting.prompts:
        return [int(n) + 1 for n in scored], [
            int(rng.integers(1, n + 1)) for n in scored
        ]
    prompts = [int(rng.integers(1, 12)) for _ in scored]
    return [int(n) + prompt for n, prompt in zip(scored, prompts, strict=True)], prompts


def _source(offsets: Array, prompts: Sequence[int], shared: int) -> Array:
    """For each token the one that it is the same as, i64[N]: up to ``shared`` tokens of
    a prompt are those of the first sequence.
    """
    source = np.arange(int(offsets[-1]))
    for start, length in zip(offsets[1:-1], prompts[1:], strict=True):
        common = min(shared, length, prompts[0])
        source[start : start + common] = np.arange(common)
    return source


def _in_stretches(count: int, rng: np.random.Generator) -> Array:
    """f64[count], normal numbers of which neighbours are alike (correlation 0.7)."""
    fresh = rng.normal(0, 1, count)
    out = np.empty(count)
    last = 0.0
    for i, value in enumerate(fresh):
        last = value if i == 0 else 0.7 * last + np.sqrt(1 - 0.7**2) * value
        out[i] = last
    return out


def _logits(count: int, rng: np.random.Generator) -> Array:
    """f64[count, V]: some rows certain, some open, in stretches, levels apart, as a
    language model's.
    """
    spread = np.clip(2.6 * np.exp(0.6 * _in_stretches(count, rng)), 0.8, 12.0)[:, None]
    return rng.normal(0, 1, (count, _VOCABULARY)) * spread + rng.normal(
        0, 2, (count, 1)
    )


def _size(dtype: str, rng: np.random.Generator) -> float:
    """Noise on each side's logits in nats, such that the MAE of the pair lies in the
    usual range of ``dtype``.
    """
    usual = USUAL[dtype]
    low = max(usual.low, usual.high / 20)
    mae = float(np.exp(rng.uniform(np.log(low), np.log(0.8 * usual.high))))
    # Two independent sides, and a normal error's mean absolute value is 0.8 of its
    # deviation.
    return float(mae / (np.sqrt(2) * 0.8))


def _unscored(sequences: Sequences, prompts: bool) -> Array:
    """bool[N]: the first token of each sequence, and without ``prompts`` all prompt
    tokens.
    """
    starts = sequences.offsets[:-1]
    unscored = np.zeros(sequences.tokens, bool)
    unscored[starts] = True
    if not prompts:
        for start, length in zip(starts, sequences.prompt_lengths, strict=True):
            unscored[start : start + length] = True
    return unscored


def _noise(
    logits: Array, sequences: Sequences, size: float, rng: np.random.Generator
) -> Array:
    """f64[N, V] with a typical size of ``size``: shared directions and independent
    rounding, loud and quiet tokens, slowly growing with the position.
    """
    count = len(logits)
    directions = rng.normal(0, 1 / np.sqrt(_HIDDEN), (_HIDDEN, logits.shape[1]))
    together = rng.normal(0, 1, (count, _HIDDEN)) @ directions
    alone = rng.normal(0, 1, logits.shape)
    position = np.arange(count) - np.repeat(
        sequences.offsets[:-1], np.diff(sequences.offsets)
    )
    loud = np.exp(0.8 * _in_stretches(count, rng)) * (1 + 0.1 * np.log1p(position))
    loud /= loud.mean()
    mixed: Array = size * loud[:, None] * (0.8 * together + 0.6 * alone)
    return mixed


def _rounded(logits: Array, dtype: str) -> Array:
    """Logits on the lattice of a 16-bit dtype (8 bits of mantissa, or 11), as a 16-bit
    head leaves them.
    """
    bits = {"bfloat16": 8, "float16": 11}.get(dtype)
    if bits is None:
        return logits
    step = np.exp2(np.floor(np.log2(np.maximum(np.abs(logits), 1e-6))) + 1 - bits)
    rounded: Array = np.round(logits / step) * step
    return rounded


def _capture(
    setting: HealthySetting,
    name: str,
    role: str,
    repeat: int,
    width: int,
    logits: Array,
    source: Array,
    unscored: Array,
    sequences: Sequences,
    size: float,
    rng: np.random.Generator,
) -> Capture:
    dtype = "float32" if role == "reference" else setting.dtype
    own = 1e-6 if role == "reference" else size
    values = logits + _noise(logits, sequences, own, rng)
    if dtype != "float32" and size > 0.004:
        values = _rounded(values, dtype)
    values = values - values.max(axis=1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
    values = _stored(values[source], "float32" if setting.told else setting.stored)
    target = values[np.arange(len(values)), sequences.token_ids]
    order = np.argsort(-values, axis=1, kind="stable")[:, :width]
    top = np.take_along_axis(values, order, axis=1).astype(np.float32)
    rank = 1 + (values > target[:, None]).sum(axis=1)
    logprob = np.where(unscored, np.nan, target).astype(np.float32)
    top[unscored] = np.nan
    ids = np.where(unscored[:, None], -1, order).astype(np.int32)
    return Capture(
        info=_info(setting, name, role, repeat, dtype, sequences),
        sequences=len(sequences),
        logprob=Column([logprob]),
        rank=Column([np.where(unscored, 0, rank).astype(np.int32)]),
        top_ids=Column([ids]),
        top_logprobs=Column([top]),
        entropy=None,
    )


def _stored(values: Array, kind: str) -> Array:
    """``values`` as a recorder keeps them."""
    if kind == "4 decimals":
        return np.round(values, 4)
    return values.astype(np.float16).astype(np.float64) if kind == "float16" else values


def _info(
    setting: HealthySetting,
    name: str,
    role: str,
    repeat: int,
    dtype: str,
    sequences: Sequences,
) -> CaptureInfo:
    path = "prefill" if setting.told else "recorded"
    mark = f"#{repeat}" if repeat > 1 else ""
    part = Part(
        f"captures/{name}/{path}{mark}/part-00000.safetensors",
        0,
        len(sequences),
        sequences.tokens,
        "",
    )
    return CaptureInfo(
        label=f"{name}/{path}{mark}",
        backend=name,
        engine="transformers" if setting.told else "unknown",
        dtype=dtype if setting.told else "unknown",
        path=path,
        repeat=repeat,
        role=role,
        status="complete",
        facts=_facts(dtype) if setting.told else None,
        parts=(part,),
    )


def _facts(dtype: str) -> Facts:
    """What an engine tells that has nothing to hide: the same on both sides."""
    return Facts(
        engine="transformers",
        dtype=dtype,
        head_dtype=dtype,
        logits_dtype=dtype,
        quantization="none",
        prefill_logprobs="raw",
        decode_logprobs="raw",
        temperature=1.0,
        vocab_size=_VOCABULARY,
        logits_size=_VOCABULARY,
        padding="none",
        config_overrides={},
    )


def _repeat(capture: Capture, rng: np.random.Generator) -> Capture:
    """The same capture again: the same numbers, or a little beside them, as an engine
    that is not deterministic gives.
    """
    moved = rng.normal(
        0, float(rng.choice([0.0, 1e-4, 0.01])), len(capture.logprob)
    ).astype(np.float32)
    info = capture.info
    part = info.parts[0]
    label = f"{info.label}#2"
    again = CaptureInfo(
        label=label,
        backend=info.backend,
        engine=info.engine,
        dtype=info.dtype,
        path=info.path,
        repeat=2,
        role=info.role,
        status="complete",
        facts=info.facts,
        parts=(
            Part(
                f"captures/{label}/part-00000.safetensors",
                0,
                part.sequences,
                part.tokens,
                "",
            ),
        ),
    )
    return Capture(
        info=again,
        sequences=capture.sequences,
        logprob=Column(
            [np.minimum(capture.logprob.whole() + moved, 0.0).astype(np.float32)]
        ),
        rank=capture.rank,
        top_ids=capture.top_ids,
        top_logprobs=capture.top_logprobs,
        entropy=None,
    )
