"""Pairs of captures: two scores for the same tokens, and the difference between them.

Positions are flat indices into the session's tokens, so a pair joins by position on ids
that the session holds itself. Everything is computed when first asked for and kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Capture, Sequences, Session

Scope = Literal["all", "prompt", "completion"]
SCOPES: tuple[Scope, ...] = ("all", "prompt", "completion")

if TYPE_CHECKING:
    # for annotations alone: importing it costs a tenth of opening a session
    import numpy.typing as npt

    from logdrift.core.compare.metrics import Metrics

    Floats = npt.NDArray[np.float32]
    Bools = npt.NDArray[np.bool_]

_KEPT_THRESHOLDS = 8


@dataclass(frozen=True, eq=False)
class Pair:
    """Captures ``a`` and ``b`` over the ``count`` sequences, ``tokens`` tokens, that
    both have finished.

    Arrays have N = ``tokens`` entries, entry ``i`` for ``sequences.token_ids[i]``; S =
    ``count``.
    """

    session: Session = field(repr=False)
    a: Capture
    b: Capture
    sequences: Sequences
    count: int
    tokens: int
    _beyond: dict[float, npt.NDArray[np.int64]] = field(
        default_factory=dict, init=False, repr=False
    )

    @cached_property
    def logprob_a(self) -> Floats:
        """f32[N] in nats; NaN where ``a`` has no score."""
        return _logprobs(self.a, self.tokens)

    @cached_property
    def logprob_b(self) -> Floats:
        """f32[N] in nats; NaN where ``b`` has no score."""
        return _logprobs(self.b, self.tokens)

    @cached_property
    def delta(self) -> Floats:
        """log p_A - log p_B, f32[N] in nats: NaN where either has no score, 0 where
        both are -inf, else +-inf.

        One float32 subtraction rounds exactly as subtracting in float64 and storing
        float32 does.
        """
        a, b = self.logprob_a, self.logprob_b
        with np.errstate(invalid="ignore"):
            delta = a - b
        delta[np.isneginf(a) & np.isneginf(b)] = 0.0
        return delta

    @cached_property
    def counted(self) -> Bools:
        """bool[N]: the session's mask counts the token."""
        counted: Bools = self.sequences.mask[: self.tokens] == 1
        return counted

    @cached_property
    def scored(self) -> Bools:
        """bool[N]: both have a score and the session's mask counts the token."""
        return self.counted & ~np.isnan(self.logprob_a) & ~np.isnan(self.logprob_b)

    @cached_property
    def nan_a(self) -> Bools:
        """bool[N]: ``a`` computed the score and it is NaN, whether or not the mask
        counts the token.
        """
        return _broken(self.a, self.tokens)

    @cached_property
    def nan_b(self) -> Bools:
        """bool[N]: ``b`` computed the score and it is NaN, whether or not the mask
        counts the token.
        """
        return _broken(self.b, self.tokens)

    @cached_property
    def broken(self) -> Bools:
        """bool[N]: counted tokens that are NaN on either side."""
        return self.counted & (self.nan_a | self.nan_b)

    @cached_property
    def missing_a(self) -> Bools:
        """bool[N]: counted tokens that ``b`` scored (-inf is a score) and ``a`` should
        have scored and did not.

        A token that is NaN is broken and not missing. Prompts are missing only in a
        capture that scores prompts.
        """
        return self._missing(self.a, self.logprob_a, self.nan_a, self.logprob_b)

    @cached_property
    def missing_b(self) -> Bools:
        """bool[N]: counted tokens that ``a`` scored and ``b`` should have scored and
        did not, as `missing_a`.
        """
        return self._missing(self.b, self.logprob_b, self.nan_b, self.logprob_a)

    def _missing(
        self, side: Capture, own: Floats, broken: Bools, other: Floats
    ) -> Bools:
        missing = self.counted & np.isnan(own) & ~broken & ~np.isnan(other)
        offsets = self.sequences.offsets[: self.count + 1]
        # Nothing stands before a first token: a side that scored it knew a prompt that
        # the session does not have.
        missing[offsets[:-1][np.diff(offsets) > 0]] = False
        if not self._scores_prompts(side, own, broken):
            missing &= self.in_completion
        return missing

    def _scores_prompts(self, side: Capture, own: Floats, broken: Bools) -> bool:
        """Decode steps score no prompt, and of others (recorded, imported) many were
        given completions alone.
        """
        if side.info.path in ("decode", "forced_decode"):
            return False
        return bool((~self.in_completion & (~np.isnan(own) | broken)).any())

    @cached_property
    def in_completion(self) -> Bools:
        """bool[N]: the token lies behind its sequence's prompt."""
        return completion_mask(self.sequences, self.count)

    def scope_mask(self, scope: Scope) -> Bools:
        """bool[N]: scored tokens of the scope. InputError for an unknown scope."""
        return self.scored if scope == "all" else self.scored & self.place_mask(scope)

    def place_mask(self, scope: Scope) -> Bools:
        """bool[N]: all tokens of the scope, whoever scored them. InputError for an
        unknown scope.
        """
        if scope == "all":
            return np.ones(self.tokens, np.bool_)
        if scope == "prompt":
            return ~self.in_completion
        if scope == "completion":
            return self.in_completion
        raise InputError(f"scope {scope!r} is unknown: use {', '.join(SCOPES)}")

    @cached_property
    def _magnitude(self) -> Floats:
        """|delta| of scored tokens, 0 for all others, f32[N]."""
        return np.where(self.scored, np.abs(self.delta), np.float32(0))

    def count_per_sequence(self, mask: Bools) -> npt.NDArray[np.int64]:
        """How many tokens of each sequence ``mask``, bool[N], keeps: int64[S]."""
        return self._per_sequence(np.add, mask.astype(np.int64))

    @cached_property
    def _scored_counts(self) -> npt.NDArray[np.int64]:
        return self.count_per_sequence(self.scored)

    @cached_property
    def worst(self) -> Floats:
        """The largest |delta| of each sequence, f32[S] in nats; NaN for a sequence with
        nothing scored.
        """
        largest = self._per_sequence(np.maximum, self._magnitude)
        return np.where(self._scored_counts > 0, largest, np.nan).astype(np.float32)

    @cached_property
    def mean_abs(self) -> Floats:
        """The mean |delta| of each sequence, f32[S] in nats; NaN for a sequence with
        nothing scored.
        """
        total = self._per_sequence(np.add, self._magnitude.astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(
                self._scored_counts > 0, total / self._scored_counts, np.nan
            ).astype(np.float32)

    def _per_sequence(
        self, reduce: np.ufunc, values: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        # reduceat has no empty segments: they are left out and stay 0.
        offsets = self.sequences.offsets[: self.count + 1]
        filled = np.diff(offsets) > 0
        out = np.zeros(self.count, values.dtype)
        if filled.any():
            out[filled] = reduce.reduceat(values, offsets[:-1][filled])
        return out

    def metrics(self, scope: Scope | None = None) -> Metrics:
        """All numbers over ``scope`` (None: `default_scope`), as the report has them.
        InputError for an unknown scope.
        """
        # Imported here: the first screen is drawn without it.
        from logdrift.core.compare.measure import measure

        return measure(self, default_scope(self.sequences) if scope is None else scope)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """One entry per token, N each: the arrays behind every number, by name; an
        entropy that is not there is left out.
        """
        offsets = self.sequences.offsets[: self.count + 1]
        lengths = np.diff(offsets)
        columns: dict[str, npt.NDArray[Any]] = {
            "sequence": np.repeat(np.arange(self.count), lengths),
            "position": np.arange(self.tokens) - np.repeat(offsets[:-1], lengths),
            "token_id": self.sequences.token_ids[: self.tokens],
            "in_completion": self.in_completion,
            "scored": self.scored,
            "nan_a": self.nan_a,
            "nan_b": self.nan_b,
            "logprob_a": self.logprob_a,
            "logprob_b": self.logprob_b,
            "delta": self.delta,
            "rank_a": self.a.rank.whole()[: self.tokens],
            "rank_b": self.b.rank.whole()[: self.tokens],
        }
        for side, capture in (("a", self.a), ("b", self.b)):
            if capture.entropy is not None:
                columns[f"entropy_{side}"] = capture.entropy.whole()[: self.tokens]
        return columns

    def to_pandas(self) -> Any:
        """`columns` and the tokens' text as a pandas DataFrame, one row per token.
        InputError where pandas is missing.
        """
        try:
            import pandas
        except ImportError:
            raise InputError(
                "pandas is not installed: pip install pandas, or use columns()"
            ) from None
        columns = self.columns()
        text = self.session.pieces.text
        known, where = np.unique(columns["token_id"], return_inverse=True)
        columns["piece"] = np.array([text(int(i)) for i in known], object)[where]
        return pandas.DataFrame(columns)

    def sequence_of(self, position: int) -> int:
        """The sequence that holds a flat position. IndexError outside of the pair's
        tokens.
        """
        if not 0 <= position < self.tokens:
            raise IndexError(
                f"position {position} is outside of the {self.tokens} tokens of the"
                " pair"
            )
        return int(np.searchsorted(self.sequences.offsets, position, "right")) - 1

    def divergences(self, threshold: float) -> npt.NDArray[np.int64]:
        """Flat positions of scored tokens with |delta| > ``threshold``, ascending, and
        of those that are `broken`, which no threshold excuses. The last few thresholds
        are kept.
        """
        found = self._beyond.get(threshold)
        if found is None:
            if len(self._beyond) >= _KEPT_THRESHOLDS:
                del self._beyond[next(iter(self._beyond))]
            beyond = self.scored & (self._magnitude > np.float64(threshold))
            if self.a.nan is not None or self.b.nan is not None:
                beyond |= self.broken
            found = np.flatnonzero(beyond)
            self._beyond[threshold] = found
        return found

    def count_beyond(self, threshold: float) -> int:
        """How many tokens `divergences` has."""
        return len(self.divergences(threshold))

    def next_divergence(
        self, position: int, threshold: float, step: int = 1
    ) -> int | None:
        """The nearest of `divergences` strictly behind (``step`` -1: before)
        ``position``.

        It crosses sequences; None where there is no further one. -1 and ``tokens`` are
        allowed as start.
        """
        found = self.divergences(threshold)
        at = int(np.searchsorted(found, position, "right" if step > 0 else "left")) - (
            0 if step > 0 else 1
        )
        return int(found[at]) if 0 <= at < len(found) else None


def default_scope(sequences: Sequences) -> Scope:
    """``completion``, which is what reinforcement learning trains on, or ``all`` where
    no completion token counts.
    """
    counted = sequences.mask == 1
    return (
        "completion"
        if (counted & completion_mask(sequences, len(sequences))).any()
        else "all"
    )


def completion_mask(sequences: Sequences, count: int) -> Bools:
    """bool[N] over the first ``count`` sequences: True for tokens behind the prompt."""
    offsets = sequences.offsets[: count + 1]
    starts = offsets[:-1] + sequences.prompt_lengths[:count]
    return np.arange(int(offsets[-1])) >= np.repeat(starts, np.diff(offsets))


def _logprobs(capture: Capture, tokens: int) -> Floats:
    if tokens == 0:
        return np.empty(0, np.float32)
    return capture.logprob.whole()[:tokens]


def _broken(capture: Capture, tokens: int) -> Bools:
    if tokens == 0 or capture.nan is None:
        return np.zeros(tokens, np.bool_)
    # A flag beside a number that is none the less there says nothing.
    broken: Bools = (capture.nan.whole()[:tokens] == 1) & np.isnan(
        capture.logprob.whole()[:tokens]
    )
    return broken


def make_pair(session: Session, a: str, b: str) -> Pair:
    """The pair A -> B of two labels, backends or roles (`parse_pair`); it may have no
    common sequences yet.

    InputError names the known labels.
    """
    first, second = (
        session.capture(_resolve(session, a)),
        session.capture(_resolve(session, b)),
    )
    sequences = session.sequences
    count = min(first.sequences, second.sequences)
    tokens = min(int(sequences.offsets[count]), first.tokens, second.tokens)
    return Pair(session, first, second, sequences, count, tokens)


def backend_paths(captures: tuple[CaptureInfo, ...]) -> list[list[CaptureInfo]]:
    """The captures by backend, in the order of the session."""
    backends: dict[str, list[CaptureInfo]] = {}
    for capture in captures:
        backends.setdefault(capture.backend, []).append(capture)
    return list(backends.values())


def main_path(backend: list[CaptureInfo]) -> CaptureInfo:
    """The capture that stands for a backend: what a rollout recorded while decoding,
    what a scorer scored.
    """
    wanted = ("decode", "recorded") if backend[0].role == "rollout" else ("prefill",)
    firsts = first_of_each_path(backend)
    return next((capture for capture in firsts if capture.path in wanted), firsts[0])


def list_pairs(session: Session) -> list[tuple[str, str]]:
    """The pairs worth looking at, (A, B), most wanted first; captures without a
    finished sequence are left out.

    Trainer -> each rollout path; reference -> trainer; reference -> each rollout path;
    paths of one backend (decode -> prefill), its repeats (#2 -> the first) and its
    sequences one at a time (#alone -> the first); backends of one role against each
    other.
    """
    backends = backend_paths(
        tuple(capture for capture in session.captures if capture.sequences > 0)
    )
    role = {
        r: [b for b in backends if b[0].role == r]
        for r in ("reference", "trainer", "rollout")
    }
    scorers = [main_path(backend) for backend in (*role["trainer"], *role["reference"])]
    trainers, references = (
        scorers[: len(role["trainer"])],
        scorers[len(role["trainer"]) :],
    )
    rollouts = [
        capture
        for backend in role["rollout"]
        for capture in first_of_each_path(backend)
    ]
    pairs = [(t, r) for t in trainers for r in rollouts]
    pairs += [(r, t) for r in references for t in trainers] + [
        (r, o) for r in references for o in rollouts
    ]
    for backend in backends:
        pairs += _within(backend)
    for peers in role.values():
        pairs += [
            p
            for i, x in enumerate(peers)
            for y in peers[i + 1 :]
            for p in _between(x, y)
        ]
    return list(dict.fromkeys((a.label, b.label) for a, b in pairs))


def first_of_each_path(backend: list[CaptureInfo]) -> list[CaptureInfo]:
    """Of each path the capture that stands for it: no repeat, and scored together with
    others where that was done.
    """

    def order(capture: CaptureInfo) -> tuple[bool, int]:
        return capture.batch != "together", capture.repeat

    lowest: dict[str, CaptureInfo] = {}
    for capture in backend:
        if capture.path not in lowest or order(capture) < order(lowest[capture.path]):
            lowest[capture.path] = capture
    return list(lowest.values())


def _within(backend: list[CaptureInfo]) -> list[tuple[CaptureInfo, CaptureInfo]]:
    firsts = first_of_each_path(backend)
    paths = [(x, y) for i, x in enumerate(firsts) for y in firsts[i + 1 :]]
    by_path = {capture.path: capture for capture in firsts}
    return paths + [(c, by_path[c.path]) for c in backend if c is not by_path[c.path]]


def _between(
    x: list[CaptureInfo], y: list[CaptureInfo]
) -> list[tuple[CaptureInfo, CaptureInfo]]:
    """Like against like (decode steps, prefill); where nothing is alike, what stands
    for each backend.
    """

    def kind(capture: CaptureInfo) -> str:
        return "prefill" if capture.path == "prefill" else "decode"

    alike = [
        (a, b)
        for a in first_of_each_path(x)
        for b in first_of_each_path(y)
        if kind(a) == kind(b)
    ]
    return alike or [(main_path(x), main_path(y))]


def default_pair(session: Session) -> tuple[str, str] | None:
    """Trainer -> the rollout's decode, else the first of `list_pairs`; None where there
    is nothing to compare yet.
    """
    pairs = list_pairs(session)
    info = {capture.label: capture for capture in session.captures}
    for a, b in pairs:
        if (
            info[a].role == "trainer"
            and info[b].role == "rollout"
            and info[b].path in ("decode", "recorded")
        ):
            return a, b
    return pairs[0] if pairs else None


def parse_pair(session: Session, text: str) -> tuple[str, str]:
    """``A:B`` as two labels of the session.

    Each side is a label (``vllm/prefill#2``), a backend (``vllm``: the path that stands
    for it) or a role that only one backend has. InputError says what is wrong and which
    labels there are.
    """
    a, colon, b = text.partition(":")
    if not colon or not a.strip() or not b.strip() or ":" in b:
        raise InputError(
            f"pair {text!r}: write it as A:B, for example {_example(session)}"
        )
    first, second = _resolve(session, a.strip()), _resolve(session, b.strip())
    if first == second:
        raise InputError(
            f"pair {text!r}: both sides are {first}: name two captures, for example"
            f" {_example(session)}"
        )
    return first, second


def _resolve(session: Session, name: str) -> str:
    captures = session.captures
    if any(capture.label == name for capture in captures):
        return name
    backends = backend_paths(captures)
    for backend in backends:
        if backend[0].backend == name:
            return main_path(backend).label
    with_role = [backend for backend in backends if backend[0].role == name]
    if len(with_role) == 1:
        return main_path(with_role[0]).label
    if with_role:
        names = ", ".join(backend[0].backend for backend in with_role)
        raise InputError(
            f"{name!r} is ambiguous: the backends {names} have this role: use one of"
            " their names"
        )
    known = ", ".join(capture.label for capture in captures) or "none"
    raise InputError(f"no capture {name!r}: the session has {known}")


def _example(session: Session) -> str:
    pair = default_pair(session)
    return ":".join(pair) if pair else "trainer/prefill:vllm/decode"
