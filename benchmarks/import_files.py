"""Files of every format that holds lists of the most likely ids, and of those that hold
numbers alone, as their frameworks write them: what `benchmarks/importing.py` imports.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LINE_TOKENS = 500
PROMPT_TOKENS = 125
TOP_K = 20
VOCABULARY = 150_000


@dataclass(frozen=True, slots=True)
class Sequence:
    """Ids with a log-probability and the most likely ids of each, which it is one of;
    those of the first are not used.
    """

    number: int
    ids: list[int]
    logprobs: list[float]
    top_ids: list[list[int]]
    top_logprobs: list[list[float]]

    @property
    def prompt_ids(self) -> list[int]:
        """The ids that were given."""
        return self.ids[:PROMPT_TOKENS]

    @property
    def new_ids(self) -> list[int]:
        """The ids that were sampled."""
        return self.ids[PROMPT_TOKENS:]

    @property
    def prompt(self) -> range:
        """The places of what was given and has a score."""
        return range(1, PROMPT_TOKENS)

    @property
    def new(self) -> range:
        """The places of what was sampled."""
        return range(PROMPT_TOKENS, LINE_TOKENS)


Sequences = Iterable[Sequence]
Lines = Iterator[Any]


def drawn(tokens: int) -> Iterator[Sequence]:
    """As many sequences as have that number of tokens."""
    draw = np.random.default_rng(1)
    steps = np.arange(TOP_K) * (VOCABULARY // TOP_K)
    for number in range(tokens // LINE_TOKENS):
        ids = draw.integers(0, VOCABULARY, LINE_TOKENS)
        table = -np.sort(draw.exponential(4.0, (LINE_TOKENS, TOP_K)), axis=1)
        # An id stands once in each list: the vocabulary in steps, from the token on.
        top_ids = (ids[:, None] + steps) % VOCABULARY
        rounded = table.round(6)
        yield Sequence(
            number=number,
            ids=ids.tolist(),
            logprobs=rounded[:, 0].tolist(),
            top_ids=top_ids.tolist(),
            top_logprobs=rounded.tolist(),
        )


# ---- our own lines


def jsonl(sequences: Sequences) -> Lines:
    """A trainer with an engine of its own."""
    for one in sequences:
        trainer = [logprob - 0.01 for logprob in one.logprobs]
        engine = {
            "logprobs": one.logprobs,
            "top_ids": one.top_ids,
            "top_logprobs": one.top_logprobs,
        }
        yield {
            "token_ids": one.ids,
            "prompt_length": PROMPT_TOKENS,
            "captures": {"trainer/prefill": trainer, "vllm/decode": engine},
        }


# ---- answers of servers


def _text(token_id: int) -> str:
    """How vLLM writes a token for ``return_tokens_as_token_ids``."""
    return f"token_id:{token_id}"


def _piece(token_id: int) -> str:
    return f" t{token_id}"


def _answer(one: Sequence, choice: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole = {"index": 0, "text": "...", "finish_reason": "length", **choice}
    return {
        "id": f"cmpl-{one.number}",
        "object": "text_completion",
        "model": "org/model",
        "choices": [whole],
        "system_fingerprint": "vllm-0.32.0-83a53dcc",
        **more,
    }


def _ids(one: Sequence) -> dict[str, Any]:
    return {"token_ids": one.new_ids, "prompt_token_ids": one.prompt_ids}


def _lists(one: Sequence, at: range) -> dict[str, Any]:
    tops = []
    for place in at:
        pairs = zip(one.top_ids[place], one.top_logprobs[place], strict=True)
        tops.append({_text(token_id): logprob for token_id, logprob in pairs})
    return {
        "tokens": [_text(one.ids[place]) for place in at],
        "token_logprobs": [one.logprobs[place] for place in at],
        "top_logprobs": tops,
        "text_offset": list(at),
    }


def completions(sequences: Sequences) -> Lines:
    """vLLM's ``/v1/completions``, generated."""
    for one in sequences:
        choice = {"logprobs": _lists(one, one.new), **_ids(one)}
        yield _answer(one, choice)


def echoes(sequences: Sequences) -> Lines:
    """vLLM's ``/v1/completions`` with echo."""
    for one in sequences:
        lists = _lists(one, range(LINE_TOKENS))
        lists["token_logprobs"][0] = None
        lists["top_logprobs"][0] = None
        yield _answer(one, {"logprobs": lists, "prompt_token_ids": one.ids})


def _chat_entry(one: Sequence, place: int) -> dict[str, Any]:
    listed = []
    pairs = zip(one.top_ids[place], one.top_logprobs[place], strict=True)
    for token_id, logprob in pairs:
        text = _text(token_id)
        raw = list(text.encode())
        entry: dict[str, Any] = {"token": text, "logprob": logprob, "bytes": raw}
        listed.append(entry)
    piece = _piece(one.ids[place])
    own = list(piece.encode())
    return {**listed[0], "bytes": own, "top_logprobs": listed}


def chats(sequences: Sequences) -> Lines:
    """vLLM's ``/v1/chat/completions``."""
    for one in sequences:
        content = [_chat_entry(one, place) for place in one.new]
        choice = {"logprobs": {"content": content}, "token_ids": one.new_ids}
        yield _answer(one, choice, prompt_token_ids=one.prompt_ids)


def chats_without_bytes(sequences: Sequences) -> Lines:
    """Chats of a server that has null for the bytes of each token."""
    for answer in chats(sequences):
        (choice,) = answer["choices"]
        for entry in choice["logprobs"]["content"]:
            for listed in (entry, *entry["top_logprobs"]):
                listed["bytes"] = None
        yield answer


def chat_chunks(sequences: Sequences) -> Lines:
    """A chat that is streamed, a token a chunk."""
    for one in sequences:
        for place in one.new:
            entry = _chat_entry(one, place)
            choice = {
                "index": 0,
                "delta": {"content": "..."},
                "logprobs": {"content": [entry]},
                "token_ids": [one.ids[place]],
                "finish_reason": None,
            }
            if place == LINE_TOKENS - 1:
                choice["finish_reason"] = "length"
            chunk: dict[str, Any] = {
                "id": f"chatcmpl-{one.number}",
                "object": "chat.completion.chunk",
                "model": "org/model",
                "choices": [choice],
            }
            if place == PROMPT_TOKENS:
                chunk["prompt_token_ids"] = one.prompt_ids
            yield chunk


def _by_id(one: Sequence, place: int) -> dict[str, Any]:
    entry = {}
    pairs = zip(one.top_ids[place], one.top_logprobs[place], strict=True)
    for rank, (token_id, logprob) in enumerate(pairs, 1):
        entry[str(token_id)] = {
            "logprob": logprob,
            "rank": rank,
            "decoded_token": _piece(token_id),
        }
    return entry


def prompt_logprobs(sequences: Sequences) -> Lines:
    """vLLM's ``prompt_logprobs``, and the token that it samples behind them."""
    for one in sequences:
        behind = [_by_id(one, place) for place in range(1, LINE_TOKENS)]
        choice = {
            "logprobs": None,
            "prompt_logprobs": [None, *behind],
            "prompt_token_ids": one.ids,
            "token_ids": [7],
        }
        yield _answer(one, choice)


def request_outputs(sequences: Sequences) -> Lines:
    """vLLM's offline ``RequestOutput``."""
    for one in sequences:
        prompt = [_by_id(one, place) for place in one.prompt]
        output = {
            "index": 0,
            "text": "...",
            "token_ids": one.new_ids,
            "logprobs": [_by_id(one, place) for place in one.new],
            "finish_reason": "length",
        }
        yield {
            "request_id": str(one.number),
            "prompt_token_ids": one.prompt_ids,
            "prompt_logprobs": [None, *prompt],
            "outputs": [output],
            "num_cached_tokens": 0,
        }


def _triples(one: Sequence, at: range) -> dict[str, Any]:
    scored = [[one.logprobs[place], one.ids[place], None] for place in at]
    tops = []
    for place in at:
        pairs = zip(one.top_logprobs[place], one.top_ids[place], strict=True)
        tops.append([[logprob, token_id, None] for logprob, token_id in pairs])
    return {"token_logprobs": scored, "top_logprobs": tops}


def generates(sequences: Sequences) -> Lines:
    """SGLang's ``/generate``."""
    for one in sequences:
        given = _triples(one, one.prompt)
        new = _triples(one, one.new)
        first = [None, one.ids[0], None]
        meta = {
            "id": f"r{one.number}",
            "finish_reason": {"type": "length", "length": len(one.new)},
            "prompt_tokens": PROMPT_TOKENS,
            "weight_version": "7",
            "input_token_logprobs": [first, *given["token_logprobs"]],
            "input_top_logprobs": [None, *given["top_logprobs"]],
            "output_token_logprobs": new["token_logprobs"],
            "output_top_logprobs": new["top_logprobs"],
        }
        yield {"text": "...", "output_ids": one.new_ids, "meta_info": meta}


def llamacpp(sequences: Sequences) -> Lines:
    """llama.cpp's ``/completion`` with n_probs."""
    for one in sequences:
        entries = []
        for place in one.new:
            listed = []
            pairs = zip(one.top_ids[place], one.top_logprobs[place], strict=True)
            for token_id, logprob in pairs:
                text = _piece(token_id)
                entry: dict[str, Any] = {"id": token_id, "token": text}
                entry["bytes"] = list(text.encode())
                entry["logprob"] = logprob
                listed.append(entry)
            entries.append({**listed[0], "top_logprobs": listed})
        yield {
            "content": "...",
            "stop": True,
            "stop_type": "limit",
            "completion_probabilities": entries,
        }


# ---- dumps of trainers, which hold numbers alone


def engine_outputs(sequences: Sequences) -> Lines:
    """Lines of the public compare script."""
    for one in sequences:
        yield {
            "prompt_ids": one.prompt_ids,
            "gen_ids": one.new_ids,
            "gen_logprobs": [one.logprobs[place] for place in one.new],
            "text": "...",
        }


def nemo_rl(sequences: Sequences) -> Lines:
    """NeMo-RL's logs of a step."""
    before = [0] * PROMPT_TOKENS
    for one in sequences:
        generated = [one.logprobs[place] for place in one.new]
        trained = [1] * len(one.new)
        yield {
            "token_ids": [one.ids],
            "input_lengths": [LINE_TOKENS],
            "token_loss_mask": [before + trained],
            "sample_loss_mask": [1.0],
            "generation_logprobs": [before + generated],
            "prev_logprobs": [one.logprobs],
            "rewards": [1.0],
        }


def prime_rl(sequences: Sequences) -> Lines:
    """prime-rl's traces, with a message of the user and one of the assistant."""
    for one in sequences:
        user = {
            "message": {"role": "user"},
            "sampled": False,
            "token_ids": one.prompt_ids,
            "mask": [False] * PROMPT_TOKENS,
        }
        assistant = {
            "parent": 0,
            "message": {"role": "assistant"},
            "sampled": True,
            "token_ids": one.new_ids,
            "mask": [True] * len(one.new),
            "logprobs": [round(one.logprobs[place], 4) for place in one.new],
        }
        trace = {"id": f"t{one.number}", "nodes": [user, assistant]}
        yield {"id": f"e{one.number}", "kind": "train", "traces": [trace]}


def token_exports(sequences: Sequences) -> Lines:
    """Token exports of older releases of prime-rl."""
    for one in sequences:
        yield {
            "schema_version": 1,
            "step": 1,
            "rank": 0,
            "token_ids": one.ids,
            "loss_mask": [place >= PROMPT_TOKENS for place in range(LINE_TOKENS)],
            "inference_logprobs": one.logprobs,
            "trainer_logprobs": one.logprobs,
            "entropy": [0.5] * LINE_TOKENS,
        }


# ---- how a file holds them


def write_lines(path: Path, lines: Lines) -> None:
    """One JSON object a line."""
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")


def write_events(path: Path, lines: Lines) -> None:
    """A stream as curl writes it."""
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(f"data: {json.dumps(line)}\n\n")
        file.write("data: [DONE]\n\n")


def write_array(path: Path, lines: Lines) -> None:
    """One array on one line."""
    with open(path, "w", encoding="utf-8") as file:
        before = "["
        for line in lines:
            file.write(before + json.dumps(line))
            before = ", "
        file.write("]")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: the format that reads it, its lines, and how they are written.
    Where it ``has_lists``, alternatives are most of it.
    """

    format: str
    lines: Callable[[Sequences], Lines]
    write: Callable[[Path, Lines], None] = write_lines
    has_lists: bool = True

    def make(self, path: Path, tokens: int) -> None:
        """Write a file with that number of tokens."""
        sequences = drawn(tokens)
        self.write(path, self.lines(sequences))


KINDS = {
    "jsonl": Kind("jsonl", jsonl),
    "completions": Kind("openai", completions),
    "echo": Kind("openai", echoes),
    "chat": Kind("openai", chats),
    "chat-no-bytes": Kind("openai", chats_without_bytes),
    "chat-stream": Kind("openai", chat_chunks, write_events),
    "chat-array": Kind("openai", chats, write_array),
    "prompt-logprobs": Kind("openai", prompt_logprobs),
    "request-outputs": Kind("vllm", request_outputs),
    "sglang": Kind("sglang", generates),
    "llama.cpp": Kind("openai", llamacpp),
    "engine-outputs": Kind("engine-outputs", engine_outputs, has_lists=False),
    "nemo-rl": Kind("nemo-rl", nemo_rl, has_lists=False),
    "prime-rl": Kind("prime-rl", prime_rl, has_lists=False),
    "token-exports": Kind("prime-rl", token_exports, has_lists=False),
}
"""By the name of the row in the table."""
