"""Logits and noise of a drawn pair, like those of a language model in two engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.usual import USUAL
from logdrift.core.session.reader import Sequences

VOCABULARY = 120
"""Ids of the drawn model."""
_HIDDEN = 16
"""Directions in which logits may err together, as the last hidden state does."""
_ALIKE = 0.7
"""Correlation of neighbours in a stretch."""
_MANTISSA_BITS = {"bfloat16": 8, "float16": 11}

Array = npt.NDArray[Any]
Random = np.random.Generator


def _in_stretches(count: int, rng: Random) -> Array:
    """f64[count], normal numbers of which neighbours are alike (`_ALIKE`)."""
    stretches = rng.normal(0, 1, count)
    fresh_share = np.sqrt(1 - _ALIKE**2)
    for i in range(1, count):
        before = _ALIKE * stretches[i - 1]
        fresh = fresh_share * stretches[i]
        stretches[i] = before + fresh
    return stretches


def draw_logits(count: int, rng: Random) -> Array:
    """f64[count, V]: some rows certain, some open, in stretches, levels apart, as a
    language model's.
    """
    stretches = _in_stretches(count, rng)
    certainty = np.exp(0.6 * stretches)
    spread = np.clip(2.6 * certainty, 0.8, 12.0)
    shape = rng.normal(0, 1, (count, VOCABULARY))
    level = rng.normal(0, 2, (count, 1))
    spread_of_row = spread[:, None]
    return shape * spread_of_row + level


def noise_size(dtype: str, rng: Random) -> float:
    """Noise on each side's logits in nats, such that the MAE of the pair lies in the
    usual range of ``dtype``.
    """
    usual = USUAL[dtype]
    smallest = usual.high / 20
    low = max(usual.low, smallest)
    high = 0.8 * usual.high
    log_mae = rng.uniform(np.log(low), np.log(high))
    mae = np.exp(log_mae)
    # Two independent sides, and a normal error's mean absolute value is 0.8 of its
    # deviation.
    mae_of_unit_noise = np.sqrt(2) * 0.8
    return float(mae / mae_of_unit_noise)


def draw_noise(logits: Array, sequences: Sequences, size: float, rng: Random) -> Array:
    """f64[N, V] with a typical size of ``size``: shared directions and independent
    rounding, loud and quiet tokens, slowly growing with the position.
    """
    count, vocabulary = logits.shape
    deviation = 1 / np.sqrt(_HIDDEN)
    directions = rng.normal(0, deviation, (_HIDDEN, vocabulary))
    along_each = rng.normal(0, 1, (count, _HIDDEN))
    together = along_each @ directions
    alone = rng.normal(0, 1, logits.shape)
    mixed = 0.8 * together + 0.6 * alone
    stretches = _in_stretches(count, rng)
    loud = np.exp(0.8 * stretches) * _growth(sequences)
    loud /= loud.mean()
    size_of_row = size * loud[:, None]
    noise: Array = size_of_row * mixed
    return noise


def _growth(sequences: Sequences) -> Array:
    """f64[N]: by how much the noise of each token grows with its position."""
    offsets = sequences.offsets
    lengths = np.diff(offsets)
    start_of_each = np.repeat(offsets[:-1], lengths)
    position = np.arange(sequences.tokens) - start_of_each
    growth: Array = 1 + 0.1 * np.log1p(position)
    return growth


def rounded_to(logits: Array, dtype: str) -> Array:
    """Logits on the lattice of a 16-bit dtype, as a 16-bit head leaves them."""
    bits = _MANTISSA_BITS.get(dtype)
    if bits is None:
        return logits
    magnitude = np.abs(logits)
    size = np.maximum(magnitude, 1e-6)
    exponent = np.floor(np.log2(size)) + 1
    step = np.exp2(exponent - bits)
    steps = np.round(logits / step)
    rounded: Array = steps * step
    return rounded


def log_softmax(logits: Array) -> Array:
    """Logits [N, V] to log-probabilities of the same shape, in nats."""
    peak = logits.max(axis=1, keepdims=True)
    shifted = logits - peak
    probability = np.exp(shifted)
    total = probability.sum(axis=1, keepdims=True)
    logprobs: Array = shifted - np.log(total)
    return logprobs
