"""Small HTTP servers that speak as vLLM and SGLang do, over a model that is a formula:
its numbers can be computed again. They can be made to fail and to lie.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

VOCABULARY = 64
LENGTH = 128
MODEL = "formula"
VERSION = "0.32.0"
Json = dict[str, Any]
Row = npt.NDArray[np.float32]


def logprobs_after(ids: list[int], temperature: float = 1.0) -> Row:
    """f32[VOCABULARY]: log-probabilities of every next id, in nats."""
    logits = np.random.default_rng(ids).normal(0.0, 2.0, VOCABULARY) / temperature
    shifted = logits - logits.max()
    row: Row = (shifted - np.log(np.exp(shifted).sum())).astype(np.float32)
    return row


def scored(ids: list[int]) -> list[float]:
    """The log-probability of each id but the first."""
    return [float(logprobs_after(ids[:i])[ids[i]]) for i in range(1, len(ids))]


def sampled(ids: list[int], body: Mapping[str, Any]) -> list[int]:
    """A completion of ``max_tokens`` ids: from a request's seed, or the most likely."""
    temperature = body["temperature"]
    rng = np.random.default_rng([body.get("seed", 0), *ids])
    new: list[int] = []
    for _ in range(body["max_tokens"]):
        row = logprobs_after([*ids, *new], temperature or 1.0)
        noise = rng.gumbel(size=VOCABULARY) if temperature else 0.0
        new.append(int(np.argmax(row + noise)))
    return new


@dataclass
class Reply:
    """What is sent back. ``cut``: the connection is closed in the middle; ``hang``:
    nothing is sent until the server is closed.
    """

    data: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    cut: bool = False
    hang: bool = False

    def content(self) -> bytes:
        if self.text is not None:
            return self.text.encode()
        return json.dumps(self.data).encode()


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Json


Answer = Callable[[Asked], Reply]
Twist = Callable[[Json, Asked], Json | Reply]


class Formula:
    """Answers of a vLLM server. ``twist`` changes the answers to completions;
    ``scales``: the temperature is in the log-probabilities.
    """

    def __init__(
        self,
        twist: Twist | None = None,
        *,
        scales: bool = False,
        length: int = LENGTH,
        model: str = MODEL,
    ) -> None:
        self.twist = twist
        self.scales = scales
        self.length = length
        self.model = model
        self.fingerprint = "vllm-0.32.0-1"
        self.config: Json | None = None
        self.versions: list[Json] = []

    def __call__(self, asked: Asked) -> Reply:
        path = asked.path.partition("?")[0]
        if path == "/version":
            return Reply({"version": VERSION})
        if path == "/v1/models":
            card = {"id": self.model, "root": self.model, "max_model_len": self.length}
            return Reply({"object": "list", "data": [card]})
        if path == "/server_info" and self.config is not None:
            return Reply({"vllm_config": self.config})
        if path == "/v1/completions":
            return self.twisted(self.completion(asked.body), asked)
        if path == "/inference/v1/generate":
            return self.twisted(self.tokens(asked.body), asked)
        return Reply({"detail": "Not Found"}, 404)

    def twisted(self, answer: Json, asked: Asked) -> Reply:
        if self.twist is None:
            return Reply(answer)
        changed = self.twist(answer, asked)
        return changed if isinstance(changed, Reply) else Reply(changed)

    def completion(self, body: Json) -> Json:
        ids = body["prompt"]
        new = sampled(ids, body)
        choice: Json = {
            "index": 0,
            "prompt_token_ids": ids,
            "token_ids": new,
            "finish_reason": "length",
        }
        if body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = self.prompt_logprobs(ids, body)
        if body.get("logprobs") is not None:
            choice["logprobs"] = self.logprobs(ids, new, body)
        return {
            "id": "cmpl-1",
            "model": body["model"],
            "choices": [choice],
            "system_fingerprint": self.fingerprint,
        }

    def tokens(self, body: Json) -> Json:
        """The answer of ``/inference/v1/generate``: of a sampled token the token, and
        the best as far as there is room.
        """
        ids = body["token_ids"]
        wish = body["sampling_params"]
        new = sampled(ids, wish)
        choice: Json = {"index": 0, "token_ids": new, "finish_reason": "length"}
        if self.versions:
            choice["weight_versions"] = self.versions
        answer: Json = {
            "model": body["model"],
            "prompt_token_ids": ids,
            "choices": [choice],
        }
        if wish.get("prompt_logprobs") is not None:
            answer["prompt_logprobs"] = self.prompt_logprobs(ids, wish)
        if wish.get("logprobs") is not None:
            content = []
            for i, one in enumerate(new):
                row = logprobs_after([*ids, *new[:i]])
                listed = [one, *(b for b in best(row, wish["logprobs"]) if b != one)]
                tops = [_entry(other, row) for other in listed[: wish["logprobs"]]]
                content.append({**_entry(one, row), "top_logprobs": tops})
            choice["logprobs"] = {"content": content}
        return answer

    def prompt_logprobs(self, ids: list[int], body: Json) -> list[Json | None]:
        rows: list[Json | None] = [None]
        for i in range(1, len(ids)):
            row = logprobs_after(ids[:i])
            entries = {ids[i]: int((row >= row[ids[i]]).sum())}
            for rank, one in enumerate(best(row, body["prompt_logprobs"]), 1):
                entries[one] = rank
            rows.append(
                {
                    str(one): {"logprob": float(row[one]), "rank": rank}
                    for one, rank in entries.items()
                }
            )
        return rows

    def logprobs(self, ids: list[int], new: list[int], body: Json) -> Json:
        found: Json = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
        temperature = (body["temperature"] or 1.0) if self.scales else 1.0
        for i, one in enumerate(new):
            row = logprobs_after([*ids, *new[:i]], temperature)
            listed = dict.fromkeys([one, *best(row, body["logprobs"])])
            found["tokens"].append(f"token_id:{one}")
            found["token_logprobs"].append(float(row[one]))
            found["top_logprobs"].append(
                {f"token_id:{other}": float(row[other]) for other in listed}
            )
        return found


def _entry(token_id: int, row: Row) -> Json:
    rank = int((row >= row[token_id]).sum())
    return {"token_id": token_id, "logprob": float(row[token_id]), "rank": rank}


class SglangFormula:
    """Answers of an SGLang server. ``twist`` changes those to ``/generate``; the
    temperature is in the log-probabilities of what is sampled.
    """

    def __init__(self, twist: Twist | None = None, *, model: str = MODEL) -> None:
        self.twist = twist
        self.model = model
        self.version = "default"

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/server_info":
            state = {"max_req_input_len": LENGTH, "disable_radix_cache": True}
            return Reply(
                {"version": "0.5.23", "dtype": "bfloat16", "internal_states": [state]}
            )
        if asked.path == "/model_info":
            return Reply({"model_path": self.model, "weight_version": self.version})
        if asked.path != "/generate":
            return Reply({"detail": "Not Found"}, 404)
        answer = self.generated(asked.body)
        if self.twist is None:
            return Reply(answer)
        changed = self.twist(answer, asked)
        return changed if isinstance(changed, Reply) else Reply(changed)

    def generated(self, body: Json) -> Json:
        ids = body["input_ids"]
        parameters = body["sampling_params"]
        wish = {
            "max_tokens": parameters["max_new_tokens"],
            "temperature": parameters["temperature"],
            "seed": parameters.get("sampling_seed", 0),
        }
        new = sampled(ids, wish)
        meta: Json = {
            "id": body["rid"],
            "prompt_tokens": len(ids),
            "weight_version": self.version,
            "finish_reason": {"type": "length"},
        }
        count = body["top_logprobs_num"]
        if body.get("logprob_start_len") == 0:
            meta |= _listed("input", ids, 1, count)
            meta["input_token_logprobs"].insert(0, [None, ids[0], None])
            meta["input_top_logprobs"].insert(0, None)
        temperature = parameters["temperature"] or 1.0
        meta |= _listed("output", [*ids, *new], len(ids), count, temperature)
        return {"text": "", "output_ids": new, "meta_info": meta}


def _listed(
    side: str, ids: list[int], first: int, count: int, temperature: float = 1.0
) -> Json:
    """Rows of SGLang for the ids from ``first`` on. The last id of the vocabulary is
    echoed as 0 where it was given.
    """
    own = []
    tops = []
    for i in range(first, len(ids)):
        row = logprobs_after(ids[:i], temperature)
        is_renamed = side == "input" and ids[i] == VOCABULARY - 1
        own.append([float(row[ids[i]]), 0 if is_renamed else ids[i], None])
        tops.append([[float(row[one]), one, None] for one in best(row, count)])
    return {f"{side}_token_logprobs": own, f"{side}_top_logprobs": tops}


def best(row: Row, count: int) -> list[int]:
    """The most likely ids, best first."""
    order: list[int] = np.argsort(-row, kind="stable")[:count].tolist()
    return order


class Served:
    """One running server: its address, and every request that it got."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.at_once = 0
        self.most_at_once = 0
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._http = _Listener(("127.0.0.1", port), _handler(self))
        self.port = int(self._http.server_address[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """As if it were killed: connections end, the port is free. May be called
        twice.
        """
        if self.closing.is_set():
            return
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def requests(self, path: str) -> list[Asked]:
        """Those to one path."""
        return [one for one in self.asked if one.path.partition("?")[0] == path]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none of this server's business."""


def _handler(served: Served) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one segment

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self._answer(json.loads(self.rfile.read(length)))

        def _answer(self, body: Json) -> None:
            if served.closing.is_set():
                self.close_connection = True
                return
            asked = Asked(self.command, self.path, dict(self.headers), body)
            with served.lock:
                served.asked.append(asked)
                served.at_once += 1
                served.most_at_once = max(served.most_at_once, served.at_once)
            try:
                reply = served.answer(asked)
            finally:
                with served.lock:
                    served.at_once -= 1
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            if reply.hang:
                served.closing.wait(60)
            if reply.hang or served.closing.is_set():
                self.close_connection = True
                return
            content = reply.content()
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.cut:
                content = content[: len(content) // 2]
                self.close_connection = True
            self.wfile.write(content)

    return Handler


@contextmanager
def serving(answer: Answer, port: int = 0) -> Iterator[Served]:
    """A server, closed at the end."""
    served = Served(answer, port)
    try:
        yield served
    finally:
        served.close()


def formula_model(folder: Path) -> Path:
    """A model folder of the formula: its files as far as logdrift reads them."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "max_position_embeddings": LENGTH,
    }
    (folder / "config.json").write_text(json.dumps(config))
    words = {chr(0x100 + i) if i < 32 else chr(i + 1): i for i in range(VOCABULARY)}
    tokenizer = {"model": {"type": "BPE", "vocab": words, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    save_file({"w": np.zeros(1, np.float32)}, folder / "model.safetensors")
    return folder
