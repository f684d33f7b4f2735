"""Answers of servers, drawn and written in each server's own form, to be read back
number by number.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Entry = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sequence with the log-probability and the most likely ids of each token; those
    of token 0 are None.
    """

    ids: list[int]
    prompt: int
    logprobs: list[float | None]
    tops: list[list[Entry]]
    ranks: list[int | None]

    @property
    def new(self) -> list[int]:
        return self.ids[self.prompt :]


def draw(seed: int, prompt: int = 5, new: int = 7, k: int = 3) -> Drawn:
    """Numbers that hold together: a token of rank r < k stands at place r of its list,
    others are less likely.

    None is of rank k: vLLM's lists, which begin with the token itself, do not always
    tell it from one beyond.
    """
    rng = np.random.default_rng(seed)
    ids = [int(rng.integers(10, 900))]
    logprobs: list[float | None] = [None]
    tops: list[list[tuple[int, float]]] = [[]]
    ranks: list[int | None] = [None]
    for _ in range(prompt + new - 1):
        listed = [int(i) for i in rng.choice(np.arange(1000, 1900), k, replace=False)]
        values = (-np.sort(rng.uniform(0.1, 5.0, k))).astype(np.float32).tolist()
        rank = int(rng.choice([*range(1, k), k + 1, k + 2]))
        token = listed[rank - 1] if rank <= k else int(rng.integers(10, 900))
        ids.append(token)
        ranks.append(rank if rank <= k else rank + 40)
        logprobs.append(
            values[rank - 1] if rank <= k else float(np.float32(-6.0 - rng.uniform()))
        )
        tops.append(list(zip(listed, values, strict=True)))
    return Drawn(ids, prompt, logprobs, tops, ranks)


def lines(path: Path, answers: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    return path


def events(path: Path, chunks: Iterable[Any]) -> Path:
    """A stream as curl writes it."""
    data = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    path.write_text(f": keep-alive\n\nevent: message\n{data}data: [DONE]\n\n")
    return path


# ---- OpenAI's form, as vLLM and llama.cpp write it


def named(token_id: int, by_id: bool = True) -> str:
    return f"token_id:{token_id}" if by_id else f" t{token_id}"


def with_target(drawn: Drawn, at: int) -> list[Entry]:
    """vLLM's order: the target, then the most likely ids, where the target is not one
    of them already.
    """
    target = (drawn.ids[at], drawn.logprobs[at] or 0.0)
    return [target, *(entry for entry in drawn.tops[at] if entry[0] != target[0])]


def in_chat(drawn: Drawn, at: int) -> list[Entry]:
    """A chat has k entries, so a token that is not among the k most likely displaces
    the last one of them.
    """
    return with_target(drawn, at)[: len(drawn.tops[at])]


def chat_content(
    drawn: Drawn, at: Iterable[int], by_id: bool = True
) -> list[dict[str, Any]]:
    return [
        {
            "token": named(drawn.ids[i], by_id),
            "logprob": drawn.logprobs[i],
            "bytes": None if by_id else list(f" t{drawn.ids[i]}".encode()),
            "top_logprobs": [
                {"token": named(t, by_id), "logprob": v, "bytes": None}
                for t, v in in_chat(drawn, i)
            ],
        }
        for i in at
    ]


def completion_lists(
    drawn: Drawn, at: Sequence[int], by_id: bool = True
) -> dict[str, Any]:
    return {
        "tokens": [named(drawn.ids[i], by_id) for i in at],
        "token_logprobs": [drawn.logprobs[i] for i in at],
        "top_logprobs": [
            (
                None
                if drawn.logprobs[i] is None
                else {named(t, by_id): v for t, v in with_target(drawn, i)}
            )
            for i in at
        ],
        "text_offset": list(range(len(at))),
    }


def prompt_logprobs(drawn: Drawn, upto: int) -> list[Any]:
    out: list[Any] = [None]
    for i in range(1, upto):
        ranks = {t: place for place, (t, _) in enumerate(drawn.tops[i], 1)}
        out.append(
            {
                str(t): {
                    "logprob": v,
                    "rank": ranks.get(t, drawn.ranks[i]),
                    "decoded_token": f" t{t}",
                }
                for t, v in with_target(drawn, i)
            }
        )
    return out


def answer(
    drawn: Drawn, choice: dict[str, Any], chat: bool = False, **more: Any
) -> dict[str, Any]:
    whole = {
        "index": 0,
        "finish_reason": "length",
        "stop_reason": None,
        "text": "...",
        **choice,
    }
    return {
        "id": f"cmpl-{drawn.ids[0]}-{drawn.ids[-1]}",
        "object": "chat.completion" if chat else "text_completion",
        "model": "org/model",
        "choices": [whole],
        "system_fingerprint": "vllm-0.32.0-83a53dcc",
        **more,
    }


def usage(drawn: Drawn, given: int, sampled: int) -> dict[str, int]:
    return {
        "prompt_tokens": given,
        "completion_tokens": sampled,
        "total_tokens": given + sampled,
    }


def chat(drawn: Drawn, by_id: bool = True, prompt_ids: bool = True) -> dict[str, Any]:
    """A chat that generated the completion."""
    choice = {
        "logprobs": {
            "content": chat_content(drawn, range(drawn.prompt, len(drawn.ids)), by_id)
        },
        "token_ids": drawn.new,
        "message": {"role": "assistant", "content": "..."},
    }
    more = {"prompt_token_ids": drawn.ids[: drawn.prompt]} if prompt_ids else {}
    return answer(
        drawn,
        choice,
        chat=True,
        usage=usage(drawn, drawn.prompt, len(drawn.new)),
        **more,
    )


def echo(drawn: Drawn, max_tokens: int, ids: bool = True) -> dict[str, Any]:
    """All ids given and echoed, with what ``max_tokens`` adds; asked for none, vLLM
    names one in token_ids anyway.
    """
    n = len(drawn.ids)
    extra = list(range(77, 77 + max(1, max_tokens)))
    longer = Drawn(
        ids=drawn.ids + extra[:max_tokens],
        prompt=n,
        logprobs=drawn.logprobs + [-0.25] * max_tokens,
        tops=drawn.tops
        + [[(77 + i, -0.25), (5, -2.0), (6, -3.0)] for i in range(max_tokens)],
        ranks=drawn.ranks + [1] * max_tokens,
    )
    choice: dict[str, Any] = {
        "logprobs": completion_lists(longer, range(n + max_tokens)),
        "text": "?" * max_tokens,
    }
    if ids:
        choice |= {"prompt_token_ids": drawn.ids, "token_ids": extra}
    return answer(drawn, choice, usage=usage(drawn, n, len(extra)))


def scored_prompt(drawn: Drawn, ids: bool = True) -> dict[str, Any]:
    """prompt_logprobs of all ids, behind which one token was sampled."""
    choice: dict[str, Any] = {
        "logprobs": None,
        "prompt_logprobs": prompt_logprobs(drawn, len(drawn.ids)),
    }
    if ids:
        choice |= {"prompt_token_ids": drawn.ids, "token_ids": [34]}
    return answer(drawn, choice, usage=usage(drawn, len(drawn.ids), 1))


def chat_chunks(
    drawn: Drawn, size: int = 1, index: int = 0, answer_id: str = "chatcmpl-1"
) -> list[dict[str, Any]]:
    """A streamed chat, ``size`` tokens a chunk: first the role, last the usage."""
    base = {"id": answer_id, "object": "chat.completion.chunk", "model": "org/model"}
    role = {
        "index": index,
        "delta": {"role": "assistant", "content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
    out: list[dict[str, Any]] = [
        {**base, "choices": [role], "prompt_token_ids": drawn.ids[: drawn.prompt]}
    ]
    for begin in range(drawn.prompt, len(drawn.ids), size):
        at = range(begin, min(begin + size, len(drawn.ids)))
        choice = {
            "index": index,
            "delta": {"content": "..."},
            "logprobs": {"content": chat_content(drawn, at)},
            "token_ids": [drawn.ids[i] for i in at],
            "finish_reason": "stop" if at.stop == len(drawn.ids) else None,
        }
        out.append({**base, "choices": [choice]})
    out.append(
        {**base, "choices": [], "usage": usage(drawn, drawn.prompt, len(drawn.new))}
    )
    return out


def completion_chunks(drawn: Drawn, size: int = 1) -> list[dict[str, Any]]:
    """A streamed completion: its chunks are of the same object as a whole answer."""
    out = []
    for begin in range(drawn.prompt, len(drawn.ids), size):
        at = range(begin, min(begin + size, len(drawn.ids)))
        choice: dict[str, Any] = {
            "index": 0,
            "text": "...",
            "logprobs": completion_lists(drawn, at),
            "token_ids": [drawn.ids[i] for i in at],
            "finish_reason": "length" if at.stop == len(drawn.ids) else None,
        }
        if begin == drawn.prompt:
            choice["prompt_token_ids"] = drawn.ids[: drawn.prompt]
        else:
            choice["prompt_token_ids"] = None  # vLLM writes the key in each chunk
        out.append(
            {
                "id": f"cmpl-{drawn.ids[0]}",
                "object": "text_completion",
                "choices": [choice],
            }
        )
    return out


def token_chunks(drawn: Drawn, size: int, request: str) -> list[dict[str, Any]]:
    """``/inference/v1/generate`` of vLLM, which knows ids alone: streamed, or whole
    where ``size`` is that of the completion.
    """
    out: list[dict[str, Any]] = []
    for begin in range(drawn.prompt, len(drawn.ids), size):
        at = range(begin, min(begin + size, len(drawn.ids)))
        content = []
        for i in at:
            ranks = {t: place for place, (t, _) in enumerate(drawn.tops[i], 1)}
            top = [
                {"token_id": t, "logprob": v, "rank": ranks.get(t, drawn.ranks[i])}
                for t, v in with_target(drawn, i)
            ]
            content.append({**top[0], "top_logprobs": top})
        is_last = at.stop == len(drawn.ids)
        spans = [{"version": "7", "start": 0, "end": 1}] if is_last else None
        choice = {
            "index": 0,
            "finish_reason": "stop" if is_last else None,
            "token_ids": [drawn.ids[i] for i in at],
            "logprobs": {"content": content},
            "weight_versions": spans,
        }
        out.append({"request_id": request, "choices": [choice]})
    out[0]["prompt_token_ids"] = drawn.ids[: drawn.prompt]
    return out


def llamacpp_chat(drawn: Drawn) -> dict[str, Any]:
    whole = chat(drawn, by_id=False, prompt_ids=False)
    choice = whole["choices"][0]
    del choice["token_ids"]
    for i, entry in zip(
        range(drawn.prompt, len(drawn.ids)), choice["logprobs"]["content"], strict=True
    ):
        entry["id"] = drawn.ids[i]
        entry["top_logprobs"] = [
            {"id": t, "token": f" t{t}", "bytes": [], "logprob": v}
            for t, v in drawn.tops[i]
        ]
    whole["system_fingerprint"] = "b6789-abc"
    return whole


def llamacpp_native(drawn: Drawn, post_sampling: bool = False) -> dict[str, Any]:
    """``/completion`` with n_probs; behind sampling probabilities stand in place of
    their logarithms.
    """

    def entry(token: int, value: float) -> dict[str, Any]:
        number = {"prob": float(np.exp(value))} if post_sampling else {"logprob": value}
        return {
            "id": token,
            "token": f" t{token}",
            "bytes": list(f" t{token}".encode()),
            **number,
        }

    key = "top_probs" if post_sampling else "top_logprobs"
    probabilities = [
        {
            **entry(drawn.ids[i], drawn.logprobs[i] or 0.0),
            key: [entry(t, v) for t, v in drawn.tops[i]],
        }
        for i in range(drawn.prompt, len(drawn.ids))
    ]
    settings = {
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 40,
        "min_p": 0.05,
        "n_probs": 3,
    }
    return {
        "content": "...",
        "tokens": drawn.new,
        "stop_type": "limit",
        "generation_settings": settings,
        "completion_probabilities": probabilities,
    }


# ---- engines that are called from Python, and lines of a script


def by_id(drawn: Drawn, at: int, target_first: bool = True) -> dict[str, Any]:
    """The object of one token: vLLM lists the token first, TensorRT-LLM last where it
    is none of the most likely ids.
    """
    ranks = {t: place for place, (t, _) in enumerate(drawn.tops[at], 1)}
    listed = with_target(drawn, at)
    if not target_first and listed[0][0] not in ranks:
        listed = [*listed[1:], listed[0]]
    return {
        str(t): {"logprob": v, "rank": ranks.get(t, drawn.ranks[at])} for t, v in listed
    }


def flat(entries: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """vLLM's FlatLogprobs, in which the token's own id may come twice."""
    out: dict[str, Any] = {
        "start_indices": [],
        "end_indices": [],
        "token_ids": [],
        "logprobs": [],
        "ranks": [],
        "decoded_tokens": [],
    }
    for entry in entries:
        out["start_indices"].append(len(out["token_ids"]))
        ordered = sorted((entry or {}).items(), key=lambda item: item[1]["rank"])
        for token, body in [*list((entry or {}).items())[:1], *ordered]:
            out["token_ids"].append(int(token))
            out["logprobs"].append(body["logprob"])
            out["ranks"].append(body["rank"])
            out["decoded_tokens"].append(None)
        out["end_indices"].append(len(out["token_ids"]))
    return out


def request_output(
    drawn: Drawn, scores_prompt: bool = True, is_flat: bool = False
) -> dict[str, Any]:
    """vLLM's RequestOutput by the names of its fields."""
    prompt: Any = [None, *(by_id(drawn, i) for i in range(1, drawn.prompt))]
    new: Any = [by_id(drawn, i) for i in range(drawn.prompt, len(drawn.ids))]
    if is_flat:
        prompt, new = flat(prompt), flat(new)
    output = {
        "index": 0,
        "text": "...",
        "token_ids": drawn.new,
        "cumulative_logprob": sum(v or 0.0 for v in drawn.logprobs[drawn.prompt :]),
        "logprobs": new,
        "finish_reason": "length",
        "stop_reason": None,
        "routed_experts": None,
    }
    return {
        "request_id": "0",
        "prompt": "...",
        "prompt_token_ids": drawn.ids[: drawn.prompt],
        "prompt_logprobs": prompt if scores_prompt else None,
        "outputs": [output],
        "finished": True,
        "metrics": None,
        "num_cached_tokens": 0,
    }


def tensorrt_output(drawn: Drawn) -> dict[str, Any]:
    """TensorRT-LLM's: entry i of a prompt is of the token behind token i, the last one
    of the first sampled token.
    """
    entries = [by_id(drawn, i, target_first=False) for i in range(1, len(drawn.ids))]
    output = {
        "index": 0,
        "text": "...",
        "token_ids": drawn.new,
        "logprobs": entries[drawn.prompt - 1 :],
        "prompt_logprobs": entries[: drawn.prompt],
        "finish_reason": "length",
    }
    return {
        "request_id": 3,
        "prompt_token_ids": drawn.ids[: drawn.prompt],
        "outputs": [output],
        "finished": True,
        "context_logits": None,
    }


def compare_script(drawn: Drawn) -> dict[str, Any]:
    return {
        "prompt_ids": drawn.ids[: drawn.prompt],
        "gen_ids": drawn.new,
        "gen_logprobs": drawn.logprobs[drawn.prompt :],
        "text": "...",
    }


def packed(drawn: Drawn, at: Sequence[int]) -> dict[str, Any]:
    """vLLM's ``packed_top_logprobs``: tables of the k most likely ids in base64."""

    def table(column: int, dtype: str) -> str:
        values = [[entry[column] for entry in drawn.tops[i]] for i in at]
        return base64.b64encode(np.asarray(values, dtype).tobytes()).decode()

    return {
        "shape": [len(at), len(drawn.tops[-1])],
        "token_ids_dtype": "<i4",
        "logprobs_dtype": "<f4",
        "token_ids_b64": table(0, "<i4"),
        "logprobs_b64": table(1, "<f4"),
    }


# ---- SGLang's own form


def sglang(
    drawn: Drawn, start: int = 0, text: bool = False, **meta: Any
) -> dict[str, Any]:
    """``/generate`` with return_logprob: lists of [log-probability, id, text]; the
    first input entry has no score.
    """

    def entry(token: int, value: float | None) -> list[Any]:
        return [value, token, f" t{token}" if text else None]

    def top(i: int) -> list[Any] | None:
        return [entry(t, v) for t, v in drawn.tops[i]] if drawn.tops[i] else None

    before = range(start, drawn.prompt)
    behind = range(drawn.prompt, len(drawn.ids))
    return {
        "text": "...",
        "output_ids": drawn.new,
        "meta_info": {
            "id": f"r{drawn.ids[0]}",
            "finish_reason": {"type": "length", "length": len(drawn.new)},
            "prompt_tokens": drawn.prompt,
            "completion_tokens": len(drawn.new),
            "weight_version": "default",
            "input_token_logprobs": [
                entry(drawn.ids[i], None if i == start else drawn.logprobs[i])
                for i in before
            ],
            "input_top_logprobs": [None if i == start else top(i) for i in before],
            "output_token_logprobs": [
                entry(drawn.ids[i], drawn.logprobs[i]) for i in behind
            ],
            "output_top_logprobs": [top(i) for i in behind],
            **meta,
        },
    }
