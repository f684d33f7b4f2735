"""The model's own head over chunks of rows: logits without ever holding [tokens,
vocabulary].

A causal model's ``forward`` runs its backbone and then turns the last hidden state into
logits: head, bias, logit scale, final softcap, in an order that differs from family to
family. Here the backbone runs once. For each chunk ``forward`` of the whole model is
called with a stand-in for the backbone that returns those rows of the hidden state, so
all of it comes along and no family is a special case. A probe on a few ids compares
this with a plain call; a model that it does not fit keeps the plain call, and all
logits of a sequence, in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from logdrift.core.errors import LogdriftError

Tensor = Any

_PROBE_TOKENS = 6

MIN_ROWS = 32
"""Fewer rows than this never go through the head alone. MKL's float32 product takes
another kernel, with another order of summation, below 8 rows (up to 3e-5 in a logit of
SmolLM2); from 8 to 511 rows its results are equal bit for bit, so with this a score
does not depend on the chunk size at all on a CPU. It costs 6 MB at 49,152 ids.
"""


class Head:
    """``method`` is ``chunks`` or ``full logits``; ``dtype`` that of the head's weight
    (None: no such weight).
    """

    def __init__(self, model: Any, vocab_size: int, *, float32: bool = False) -> None:
        self._model = model
        self._base: Any = None
        if float32:
            _make_float32(model)
        weight = getattr(model.get_output_embeddings(), "weight", None)
        self.dtype: str | None = (
            None if weight is None else str(weight.dtype).removeprefix("torch.")
        )
        self.method = "chunks"
        self.compiled = False
        self._run: Any = None
        self._hidden_device: Any = None
        probe = self._probe(vocab_size)
        self.logits_dtype: Any = probe.dtype
        self.logits_device: Any = probe.device
        self.logits_size = int(probe.shape[-1])

    def backbone(self, tokens: Tensor) -> Any:
        """Run the backbone on ``tokens`` int64[1, T], without mask and cache. What
        `logits` takes.
        """
        if self._run is not None:
            return self._run(input_ids=tokens, use_cache=False)
        if self.method == "chunks":
            return self._base(input_ids=tokens, use_cache=False)
        return self._model(input_ids=tokens, use_cache=False).logits

    def compile(self) -> None:
        """From now on the backbone runs through torch.compile, for any length.
        LogdriftError where it stands alone with no head apart from it.
        """
        if self.method != "chunks":
            raise LogdriftError(
                "option compile: this model's backbone does not run by itself: leave"
                " the option out"
            )
        # A function and not the module: the head's stand-in must not be compiled in
        # place of the backbone's forward.
        forward = self._base.forward
        self._run = torch.compile(lambda **given: forward(**given), dynamic=True)
        self.compiled = True

    def keep(self, backbone: Any, place: str) -> Any:
        """What `backbone` gave with its hidden state [1, T, H] at ``place``
        (``device``, ``host``, ``host_nonblocking``).

        Not yet run on a GPU: on a CPU all three are the same memory. A copy that does
        not wait needs pinned memory and one wait before its first row is read; rows go
        back in the order of the device's own stream.
        """
        if place == "device" or self.method != "chunks":
            return backbone
        hidden = hidden_of(backbone)
        self._hidden_device = hidden.device
        if place == "host":
            return with_hidden(backbone, hidden.cpu())
        pinned = torch.empty(
            hidden.shape, dtype=hidden.dtype, pin_memory=hidden.is_cuda
        )
        pinned.copy_(hidden, non_blocking=True)
        if hidden.is_cuda:
            torch.cuda.current_stream(hidden.device).synchronize()
        return with_hidden(backbone, pinned)

    def logits(self, backbone: Any, tokens: Tensor, start: int, stop: int) -> Tensor:
        """Logits [stop - start, logits_size] of positions ``start .. stop``, in the
        model's own dtype.
        """
        if self.method != "chunks":
            return backbone[0, start:stop]
        last = min(max(stop, start + MIN_ROWS), tokens.shape[1])
        first = max(0, min(start, last - MIN_ROWS))
        logits = self._from_rows(backbone, tokens, first, last)
        return logits[0, start - first : stop - first]

    def _from_rows(
        self, backbone: Any, tokens: Tensor, start: int, stop: int
    ) -> Tensor:
        chunk = hidden_of(backbone)[:, start:stop]
        # Rows that were put elsewhere (`keep`) come back to where the head is.
        if self._hidden_device is not None:
            chunk = chunk.to(self._hidden_device, non_blocking=True)
        rows = with_hidden(backbone, chunk)
        calls = 0

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            return rows

        ids = tokens[:, start:stop]
        with _forward_of(self._base, stand_in):
            logits = self._model(input_ids=ids, use_cache=False).logits
        if calls != 1 or logits.shape[1] != stop - start:
            raise _DoesNotFitError
        return logits

    def _probe(self, vocab_size: int) -> Tensor:
        """Logits of a few ids by a plain call. Finds the module whose output the head
        takes, else sets `method`.
        """
        device = self._model.get_input_embeddings().weight.device
        tokens = (torch.arange(_PROBE_TOKENS, device=device) % vocab_size)[None]
        plain = self._model(input_ids=tokens, use_cache=False).logits
        for candidate in _backbones(self._model):
            self._base = candidate
            try:
                if self._fits(tokens, plain):
                    return plain
            except (TypeError, AttributeError, IndexError, ValueError, RuntimeError):
                continue  # the candidate takes or gives something else
        self.method = "full logits"
        return plain

    def _fits(self, tokens: Tensor, plain: Tensor) -> bool:
        """Whether rows of the backbone's output give the logits of a plain call.

        All rows at once must be bit for bit equal; two of them alone up to the rounding
        of another matrix size, 2**-6 of the largest logit, far below what a missing
        scale, bias or softcap would make.
        """
        backbone = self.backbone(tokens)
        whole = self._from_rows(backbone, tokens, 0, _PROBE_TOKENS)
        two = self._from_rows(backbone, tokens, 2, 4).double()
        gap = (two - plain[:, 2:4].double()).abs().amax()
        largest = plain.double().abs().amax()
        return bool(torch.equal(whole, plain) and gap <= largest / 64)


def _backbones(model: Any) -> list[Any]:
    """Modules that may give the last hidden state: the base model, or the decoder
    inside of it (OPT, Bart).
    """
    candidates = [model.base_model]
    if hasattr(model, "get_decoder"):
        candidates.append(model.get_decoder())
    backbones: list[Any] = []
    for candidate in candidates:
        is_known = any(candidate is known for known in (model, *backbones))
        if candidate is not None and not is_known:
            backbones.append(candidate)
    return backbones


class _DoesNotFitError(RuntimeError):
    """``forward`` did not take its hidden state from the backbone once."""


@contextmanager
def _forward_of(module: Any, forward: Any) -> Iterator[None]:
    """Put ``forward`` in place of the module's, and back whatever happens: hooks keep
    theirs on the instance.
    """
    own = vars(module)
    before = own.get("forward")
    had = "forward" in own
    module.forward = forward
    try:
        yield
    finally:
        if had:
            module.forward = before
        else:
            del module.forward


def hidden_of(backbone: Any) -> Tensor:
    """The last hidden state [1, T, H] of what `Head.backbone` gave."""
    return backbone[0]


def with_hidden(backbone: Any, hidden: Tensor) -> Any:
    """What `Head.backbone` gave, with another hidden state in its place."""
    if isinstance(backbone, tuple):
        return (hidden, *backbone[1:])
    out = copy.copy(backbone)
    out.last_hidden_state = hidden
    return out


def _make_float32(model: Any) -> None:
    """Give the model a float32 copy of its head (untied from the embedding) that takes
    its input in float32.
    """
    head = model.get_output_embeddings()
    if head is None or getattr(head, "weight", None) is None:
        raise LogdriftError(
            "option head_dtype: this model has no output head of its own: leave the"
            " option out"
        )
    if not head.weight.dtype.is_floating_point:
        raise LogdriftError(
            "option head_dtype: the head is quantised: leave the option out"
        )
    head = copy.deepcopy(head).float()
    head.register_forward_pre_hook(lambda module, args: (args[0].float(), *args[1:]))
    model.set_output_embeddings(head)
