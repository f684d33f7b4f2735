"""A healthy pair, drawn: two noisy readings of the same logits, as two correct engines
give them. Everything is in memory: nothing is read and no engine runs.

The noise has a usual size for one dtype, heavy tails, a part that all alternatives of a
token share, and is larger on some tokens and in later positions; logits lie on the
lattice of 16 bits; certain and loud tokens come in stretches; text may be greedy,
prompts may be shared, values may be stored in few digits, as the sample and its engines
show them (|delta| of neighbours correlates at 0.0 to 0.5, with surprise at 0.2 to
0.75). Around it stands all that a session may have or lack: lists of 0 to 20
alternatives, of unequal widths, scores of the prompts, facts, a reference, repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.facts import Facts
from logdrift.core.planted.drawn_logits import (
    VOCABULARY,
    Array,
    Random,
    draw_logits,
    draw_noise,
    log_softmax,
    noise_size,
    rounded_to,
)
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    Part,
    SequencesInfo,
)
from logdrift.core.session.reader import Capture, Pieces, Sequences, Session
from logdrift.core.session.tensors import Column

WIDTHS = (0, 1, 3, 5, 20)
"""Alternatives that a capture keeps for each token."""
_DTYPES = ("bfloat16", "bfloat16", "float16", "float32")
_SHARED = (0, 0, 3, 30)
_STORED = ("float32", "float32", "float16", "4 decimals")
"""What is drawn of a pair: the dtype of both sides, tokens that all prompts share, and
what a recorder keeps.
"""
_REPEAT_NOISE = (0.0, 1e-4, 0.01)
"""Nats by which an engine may differ from itself."""
_REFERENCE = 1e-6
"""Nats by which a float32 reference errs."""
_ROUNDED_FROM = 0.004
"""Nats of noise from which the logits are rounded too: less than that is below the
lattice.
"""


@dataclass(frozen=True, slots=True)
class HealthySetting:
    """What one drawn pair has. ``width_a`` and ``width_b`` are the alternatives that
    each side keeps.
    """

    tokens: int
    width_a: int
    width_b: int
    prompts: bool
    with_facts: bool
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
        """Causes that are true of such a pair: rounding is the whole gap of
        engines that agree better than that.
        """
        if self.with_facts or self.stored == "float32":
            return ()
        return ("cut",)


def draw_setting(rng: Random, tokens: int) -> HealthySetting:
    """Any mixture of what a session of ``tokens`` scored tokens may have."""

    def happens(share: float) -> bool:
        return bool(rng.random() < share)

    # The order of the draws is part of what a seed means.
    width_a = int(rng.choice(WIDTHS))
    width_b = width_a
    if happens(0.3):
        width_b = int(rng.choice(WIDTHS))
    most_sequences = max(1, min(tokens, 16))
    return HealthySetting(
        tokens=tokens,
        width_a=width_a,
        width_b=width_b,
        prompts=happens(0.5),
        with_facts=happens(0.5),
        reference=happens(0.4),
        repeats=happens(0.3),
        dtype=str(rng.choice(_DTYPES)),
        sequences=int(rng.integers(1, most_sequences + 1)),
        greedy=happens(0.3),
        shared=int(rng.choice(_SHARED)),
        stored=str(rng.choice(_STORED)),
    )


class _DrawnSession(Session):
    """A session whose arrays are in memory."""

    def __init__(
        self, manifest: Manifest, sequences: Sequences, captures: Sequence[Capture]
    ) -> None:
        super().__init__(Path("drawn"), manifest)
        self._drawn_sequences = sequences
        self._drawn_captures = captures

    @cached_property
    def sequences(self) -> Sequences:
        return self._drawn_sequences

    @cached_property
    def pieces(self) -> Pieces:
        return Pieces({})

    def capture(self, label: str) -> Capture:
        by_label = {capture.info.label: capture for capture in self._drawn_captures}
        return by_label[label]


@dataclass(frozen=True, eq=False)
class _Text:
    """What all captures of a drawn session have in common: ``logits`` f64[N, V] before
    any noise, ``source`` i64[N], the token that each is the same as, ``unscored``
    bool[N], and the noise in nats.
    """

    sequences: Sequences
    logits: Array
    source: Array
    unscored: Array
    noise: float


@dataclass(frozen=True, slots=True)
class _Side:
    """One capture that is drawn: its name, which is its role too, and the alternatives
    that it keeps.
    """

    name: str
    width: int

    def dtype(self, setting: HealthySetting) -> str:
        """What it computes in."""
        if self.name == "reference":
            return "float32"
        return setting.dtype


def draw_session(setting: HealthySetting, rng: Random) -> Session:
    """A healthy session of that kind: trainer and rollout, and where asked a reference
    and a repeat of each side.
    """
    text = _text(setting, rng)
    trainer = _Side("trainer", setting.width_a)
    rollout = _Side("rollout", setting.width_b)
    sides = [trainer, rollout]
    if setting.reference:
        reference = _Side("reference", setting.width_a)
        sides.append(reference)
    captures = [_capture(setting, side, text, rng) for side in sides]
    if setting.repeats:
        trainer_and_rollout = captures[:2]
        captures += [_repeat(capture, rng) for capture in trainer_and_rollout]
    return _session(text.sequences, captures)


def _text(setting: HealthySetting, rng: Random) -> _Text:
    """Sequences that a sampler drew from the logits, or took greedily."""
    lengths, prompts = _lengths(setting, rng)
    offsets = _offsets(lengths)
    tokens = int(offsets[-1])
    source = _source(offsets, prompts, setting.shared)
    logits = draw_logits(tokens, rng)[source]
    gumbel = rng.gumbel(size=logits.shape)
    if setting.greedy:
        gumbel = np.zeros_like(gumbel)
    perturbed = logits + gumbel
    drawn = perturbed.argmax(axis=1).astype(np.int32)
    sequences = Sequences(
        token_ids=drawn[source],
        offsets=offsets,
        prompt_lengths=np.asarray(prompts, np.int32),
        mask=np.ones(tokens, np.uint8),
        finish=np.zeros(len(lengths), np.uint8),
    )
    return _Text(
        sequences=sequences,
        logits=logits,
        source=source,
        unscored=_unscored(sequences, setting.prompts),
        noise=noise_size(setting.dtype, rng),
    )


def _offsets(lengths: Sequence[int]) -> Array:
    """Where each sequence starts, and where the last one ends: i64[S + 1]."""
    ends = np.cumsum(lengths)
    offsets: Array = np.concatenate([[0], ends])
    return offsets.astype(np.int64)


def _session(sequences: Sequences, captures: Sequence[Capture]) -> Session:
    count = len(sequences)
    part = _part("sequences", count, sequences.tokens)
    manifest = Manifest(
        id="drawn",
        model=ModelInfo("drawn", vocab_size=VOCABULARY),
        sequences=SequencesInfo(count, None, (part,)),
        captures=tuple(capture.info for capture in captures),
    )
    return _DrawnSession(manifest, sequences, captures)


def _part(folder: str, sequences: int, tokens: int) -> Part:
    """The one part of a folder, which is not there."""
    return Part(
        f"{folder}/part-00000.safetensors",
        first_sequence=0,
        sequences=sequences,
        tokens=tokens,
        digest="",
    )


def _lengths(setting: HealthySetting, rng: Random) -> tuple[list[int], list[int]]:
    """Tokens of each sequence and of its prompt, so that ``setting.tokens`` tokens have
    a score.
    """
    lengths = []
    prompts = []
    for scored in _scored_of_each(setting, rng):
        if setting.prompts:
            # All tokens but the first have a score.
            length = scored + 1
            prompt = int(rng.integers(1, length))
        else:
            prompt = int(rng.integers(1, 12))
            length = prompt + scored
        lengths.append(length)
        prompts.append(prompt)
    return lengths, prompts


def _scored_of_each(setting: HealthySetting, rng: Random) -> list[int]:
    """Scored tokens of each sequence, `setting.tokens` in all."""
    tokens = setting.tokens
    count = min(setting.sequences, tokens)
    cuts = np.array([], int)
    if count > 1:
        places = np.arange(1, tokens)
        cuts = rng.choice(places, count - 1, replace=False)
    inner_bounds = np.sort(cuts)
    bounds = np.concatenate([[0], inner_bounds, [tokens]])
    scored = np.diff(bounds)
    return [int(count) for count in scored]


def _source(offsets: Array, prompts: Sequence[int], shared: int) -> Array:
    """For each token the one that it is the same as, i64[N]: up to ``shared`` tokens of
    a prompt are those of the first sequence.
    """
    tokens = int(offsets[-1])
    source = np.arange(tokens)
    first_prompt, *later_prompts = prompts
    later_starts = offsets[1:-1]
    for start, prompt in zip(later_starts, later_prompts, strict=True):
        common = min(shared, prompt, first_prompt)
        end = start + common
        source[start:end] = np.arange(common)
    return source


def _unscored(sequences: Sequences, prompts: bool) -> Array:
    """bool[N]: the first token of each sequence, and without ``prompts`` all prompt
    tokens.
    """
    starts = sequences.offsets[:-1]
    unscored = np.zeros(sequences.tokens, bool)
    unscored[starts] = True
    if prompts:
        return unscored
    ends = starts + sequences.prompt_lengths
    for start, end in zip(starts, ends, strict=True):
        unscored[start:end] = True
    return unscored


def _capture(setting: HealthySetting, side: _Side, text: _Text, rng: Random) -> Capture:
    """One noisy reading of the text."""
    sequences = text.sequences
    values = _read(setting, side, text, rng)
    targets = sequences.token_ids[:, None]
    of_targets = np.take_along_axis(values, targets, axis=1)
    is_more_likely = values > of_targets
    rank = 1 + is_more_likely.sum(axis=1)
    best_first = np.argsort(-values, axis=1, kind="stable")
    top_ids = best_first[:, : side.width]
    top_values = np.take_along_axis(values, top_ids, axis=1)

    def column(entries: Array, dtype: Any, unscored: float) -> Column:
        stored = entries.astype(dtype)
        stored[text.unscored] = unscored
        return Column([stored])

    return Capture(
        info=_info(setting, side, sequences),
        sequences=len(sequences),
        logprob=column(of_targets[:, 0], np.float32, np.nan),
        rank=column(rank, np.int32, 0),
        top_ids=column(top_ids, np.int32, -1),
        top_logprobs=column(top_values, np.float32, np.nan),
        entropy=None,
    )


def _read(setting: HealthySetting, side: _Side, text: _Text, rng: Random) -> Array:
    """Log-probabilities as this side computes and stores them, f64[N, V] nats."""
    size = text.noise
    if side.name == "reference":
        size = _REFERENCE
    noise = draw_noise(text.logits, text.sequences, size, rng)
    logits = text.logits + noise
    dtype = side.dtype(setting)
    if dtype != "float32" and text.noise > _ROUNDED_FROM:
        logits = rounded_to(logits, dtype)
    logprobs = log_softmax(logits)
    stored = "float32" if setting.with_facts else setting.stored
    return _stored(logprobs[text.source], stored)


def _stored(values: Array, kind: str) -> Array:
    """``values`` as a recorder keeps them."""
    if kind == "4 decimals":
        return np.round(values, 4)
    if kind == "float16":
        narrow = values.astype(np.float16)
        return narrow.astype(np.float64)
    return values


def _info(setting: HealthySetting, side: _Side, sequences: Sequences) -> CaptureInfo:
    """What is known of the capture: all, or what an imported one has."""
    if setting.with_facts:
        path = "prefill"
        engine = "transformers"
        dtype = side.dtype(setting)
        facts = _facts(dtype)
    else:
        path = "recorded"
        engine = "unknown"
        dtype = "unknown"
        facts = None
    label = f"{side.name}/{path}"
    part = _part(f"captures/{label}", len(sequences), sequences.tokens)
    return CaptureInfo(
        label=label,
        backend=side.name,
        engine=engine,
        dtype=dtype,
        path=path,
        repeat=1,
        role=side.name,
        status="complete",
        facts=facts,
        parts=(part,),
    )


def _facts(dtype: str) -> Facts:
    """The facts of an engine that shows everything: the same on both sides."""
    return Facts(
        engine="transformers",
        dtype=dtype,
        head_dtype=dtype,
        logits_dtype=dtype,
        quantization="none",
        prefill_logprobs="raw",
        decode_logprobs="raw",
        temperature=1.0,
        vocab_size=VOCABULARY,
        logits_size=VOCABULARY,
        padding="none",
        config_overrides={},
    )


def _repeat(capture: Capture, rng: Random) -> Capture:
    """The same capture again: the same numbers, or a little beside them, as an engine
    that is not deterministic gives.
    """
    size = float(rng.choice(_REPEAT_NOISE))
    first = capture.logprob.whole()
    noise = rng.normal(0, size, len(first))
    moved = first + noise.astype(np.float32)
    logprob = np.minimum(moved, 0.0)
    stored = logprob.astype(np.float32)
    info = _repeat_info(capture.info)
    column = Column([stored])
    return capture._replace(info=info, logprob=column)


def _repeat_info(info: CaptureInfo) -> CaptureInfo:
    """``info`` as that of its second capture."""
    label = f"{info.label}#2"
    first = info.parts[0]
    part = _part(f"captures/{label}", first.sequences, first.tokens)
    return info._replace(label=label, repeat=2, parts=(part,))
