"""Real servers of vLLM and SGLang on loopback, started for tests and asked by
logdrift.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.servers.backend import ServerBackend
from logdrift.core.session.reader import open_session
from logdrift.core.worker.base import BackendSettings, IdArray, Scores

_START_SECONDS = 300
"""Importing an engine took up to 90 s on two busy cores, its start as long again."""


class LiveServer:
    """An engine's own server in a process group of its own. It can be killed, and
    started again at the same address.
    """

    def __init__(
        self, command: Sequence[str], log: Path, variables: dict[str, str]
    ) -> None:
        self.port = _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._command = [*command, "--host", "127.0.0.1", "--port", str(self.port)]
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._variables},
                start_new_session=True,
            )
        until = time.monotonic() + _START_SECONDS
        while not self._is_up():
            printed = self.log.read_text(errors="replace")[-4000:]
            assert self._process.poll() is None, printed
            assert time.monotonic() < until, printed
            time.sleep(0.2)

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End it and all that it started, without a warning."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def vllm_server(python: Path, model: Path, log: Path) -> LiveServer:
    """vLLM in float32 on the CPU, with both of its endpoints and its settings told."""
    command = [
        str(python),
        *("-m", "vllm.entrypoints.openai.api_server", "--model", str(model)),
        *("--dtype", "float32", "--enforce-eager", "--max-logprobs", "25"),
        *("--max-model-len", "512", "--enable-scale-out"),
    ]
    variables = {
        "HF_HUB_OFFLINE": "1",
        "TORCH_COMPILE_DISABLE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_SERVER_DEV_MODE": "1",
    }
    return LiveServer(command, log, variables)


def sglang_server(python: Path, model: Path, log: Path) -> LiveServer:
    """SGLang in float32 on the CPU. It sleeps while nobody asks: its scheduler would
    take a core from the other tests.
    """
    command = [
        str(python),
        *("-m", "sglang.launch_server", "--model-path", str(model)),
        *("--device", "cpu", "--attention-backend", "torch_native"),
        *("--dtype", "float32", "--mem-fraction-static", "0.3"),
        *("--max-total-tokens", "8192", "--disable-overlap-schedule"),
        "--sleep-on-idle",
    ]
    variables = {"HF_HUB_OFFLINE": "1", "SGLANG_USE_CPU_ENGINE": "1"}
    return LiveServer(command, log, variables)


def opened(
    kind: type[ServerBackend],
    server: LiveServer,
    model: Path,
    *,
    temperature: float = 1.0,
    max_tokens: int = 16,
    top_k: int = 20,
    **options: Any,
) -> ServerBackend:
    """A backend that asks a live server; its facts are looked at by `open`."""
    spec = BackendSpec("live", kind.engine, server=server.address, options=options)
    settings = BackendSettings(
        model=str(model),
        revision=None,
        spec=spec,
        sampling=SamplingSpec(temperature=temperature, max_tokens=max_tokens),
        paths=("decode", "prefill"),
        top_k=top_k,
        max_length=200,
        max_prompts=64,
    )
    return kind(settings)


def quiet(sequences: int, tokens: int) -> None:
    """Progress that nobody watches."""


def arrays(rows: Sequence[Sequence[int]]) -> list[IdArray]:
    """Ids as a backend takes them."""
    return [np.asarray(row, np.int32) for row in rows]


def largest_gap(found: Sequence[Scores], expected: Sequence[Sequence[float]]) -> float:
    """The largest difference of the scored logprobs, in nats; ``expected`` are those of
    the last tokens of each sequence.
    """
    gaps = []
    for one, values in zip(found, expected, strict=True):
        first = len(one.logprob) - len(values)
        got = one.logprob[first:].astype(np.float64)
        gaps.append(np.abs(got - np.asarray(values)).max(initial=0.0))
    return float(max(gaps))


def scored_of(scores: Sequence[Scores], first: int = 1) -> list[list[float]]:
    """The logprobs of each sequence from a position on."""
    return [one.logprob[first:].tolist() for one in scores]


def noise_of(backend: ServerBackend, sequences: Sequence[IdArray]) -> float:
    """The server's own floor, in nats: the largest difference between the sequences
    scored at once and one at a time.
    """
    together = backend.score(sequences, quiet)
    alone = [backend.score([ids], quiet)[0] for ids in sequences]
    return largest_gap(together, scored_of(alone))


def sixty_four(vocabulary: int) -> list[IdArray]:
    """Sequences of 3 to 20 ids, drawn."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(3, 20, 64)
    return [draw.integers(0, vocabulary, n).astype(np.int32) for n in lengths]


def wait_for_part(session: Path, label: str) -> None:
    """Wait until the session has a part of this capture."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if (session / "session.json").exists():
            capture = open_session(session).manifest.capture(label)
            if capture.parts:
                return
        time.sleep(0.05)
    raise AssertionError(f"{session} got no part of {label}")
