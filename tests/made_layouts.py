"""Samples of prompts in every layout that is imported, several of each prompt: answers
of servers, streams of their chunks, files of trainers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests import made_recordings as made
from tests.made_recordings import Drawn, draw

Fields = dict[str, Any]
Group = Sequence[Drawn]
"""Samples of one prompt."""
PROMPT = 5


def sampled(first: Drawn, seed: int, new: int) -> Drawn:
    """Another completion of the same prompt."""
    other = draw(seed, PROMPT, new)
    return Drawn(
        first.ids[:PROMPT] + other.ids[PROMPT:],
        PROMPT,
        first.logprobs[:PROMPT] + other.logprobs[PROMPT:],
        first.tops[:PROMPT] + other.tops[PROMPT:],
        first.ranks[:PROMPT] + other.ranks[PROMPT:],
    )


def group(seed: int) -> Group:
    """Completions of several lengths, one of them as long as the prompt, and one that
    was sampled twice.
    """
    first = draw(seed, PROMPT, 3)
    second = sampled(first, seed + 50, PROMPT)
    return [first, second, first, sampled(first, seed + 70, 8)]


GROUPS = [group(1), group(2)]
SAMPLES = [*itertools.chain(*GROUPS)]
SINGLES = [[one] for one in SAMPLES]


# ---- answers of servers


def joined(answers: Sequence[Fields]) -> Fields:
    """Answers as the choices of one, as a server gives them for ``n`` or for several
    prompts: it counts the tokens of all completions, and of each prompt once.
    """
    choices = [choice for answer in answers for choice in answer["choices"]]
    numbered = [{**one, "index": index} for index, one in enumerate(choices)]
    return {**answers[0], "choices": numbered}


def counted(answer: Fields, prompts: int, drawn: Group) -> Fields:
    new = sum(len(one.new) for one in drawn)
    usage = {"prompt_tokens": PROMPT * prompts, "completion_tokens": new}
    return {**answer, "usage": usage}


def chat(drawn: Group) -> Fields:
    return counted(joined(list(map(made.chat, drawn))), 1, drawn)


def named_chat(drawn: Group) -> Fields:
    """Only the names of tokens hold ids."""
    answer = chat(drawn)
    del answer["prompt_token_ids"]
    for choice in answer["choices"]:
        del choice["token_ids"]
    return answer


def llamacpp_chat(drawn: Group) -> Fields:
    return counted(joined(list(map(made.llamacpp_chat, drawn))), 1, drawn)


def completion(one: Drawn) -> Fields:
    at = range(PROMPT, len(one.ids))
    choice = {
        "logprobs": made.completion_lists(one, at),
        "token_ids": one.new,
        "prompt_token_ids": one.ids[:PROMPT],
    }
    return made.answer(one, choice)


def completions(drawn: Group) -> Fields:
    return counted(joined(list(map(completion, drawn))), 1, drawn)


def named_completions(drawn: Group) -> Fields:
    answer = completions(drawn)
    for choice in answer["choices"]:
        del choice["token_ids"], choice["prompt_token_ids"]
    return answer


def scored(drawn: Group) -> Fields:
    return joined(list(map(made.scored_prompt, drawn)))


def echoed(drawn: Group) -> Fields:
    """Asked for no token; the ids are known by their names alone."""
    answers = [made.echo(one, 0, ids=False) for one in drawn]
    usage = made.usage(drawn[0], sum(len(one.ids) for one in drawn), len(drawn))
    return {**joined(answers), "usage": usage}


def echoed_samples(drawn: Group) -> Fields:
    """The prompt and what was sampled behind it."""
    answers = []
    for one in drawn:
        at = range(len(one.ids))
        answers.append(made.answer(one, {"logprobs": made.completion_lists(one, at)}))
    return counted(joined(answers), 1, drawn)


def tokens(drawn: Group) -> Fields:
    wholes = [made.token_chunks(one, len(one.ids), "r")[0] for one in drawn]
    return joined(wholes)


def sglang(drawn: Group) -> list[Fields]:
    found = []
    for index, one in enumerate(drawn):
        found.append(made.sglang(one, id=f"r{drawn[0].ids[0]}-{index}"))
    return found


def llamacpp(drawn: Group) -> list[Fields]:
    return list(map(made.llamacpp_native, drawn))


def request_output(drawn: Group, is_flat: bool = False) -> Fields:
    answers = [made.request_output(one, is_flat=is_flat) for one in drawn]
    outputs = [answer["outputs"][0] for answer in answers]
    numbered = [{**one, "index": index} for index, one in enumerate(outputs)]
    return {**answers[0], "outputs": numbered}


def flat_output(drawn: Group) -> Fields:
    return request_output(drawn, is_flat=True)


def tensorrt_output(drawn: Group) -> Fields:
    answers = list(map(made.tensorrt_output, drawn))
    return {**answers[0], "outputs": [answer["outputs"][0] for answer in answers]}


# ---- streams of chunks, those of all samples in turn


def in_turn(streams: Sequence[Sequence[Fields]]) -> Iterator[Fields]:
    for row in itertools.zip_longest(*streams):
        yield from (chunk for chunk in row if chunk is not None)


def numbered(chunks: Sequence[Fields], index: int, **fields: Any) -> list[Fields]:
    found = []
    for chunk in chunks:
        choices = [{**one, "index": index} for one in chunk["choices"]]
        found.append({**chunk, **fields, "choices": choices})
    return found


def chat_stream(drawn: Group, number: int) -> list[list[Fields]]:
    name = f"chat-{number}"
    return [
        made.chat_chunks(one, index=index, answer_id=name)
        for index, one in enumerate(drawn)
    ]


def completion_stream(drawn: Group, number: int) -> list[list[Fields]]:
    name = f"cmpl-{number}"
    return [
        numbered(made.completion_chunks(one), index, id=name)
        for index, one in enumerate(drawn)
    ]


def token_stream(drawn: Group, number: int) -> list[list[Fields]]:
    return [
        numbered(made.token_chunks(one, 1, "r"), index, request_id=f"r{number}")
        for index, one in enumerate(drawn)
    ]


def sglang_stream(drawn: Group, number: int) -> list[list[Fields]]:
    """Everything so far in each chunk; a sample has an id and an index of its own."""
    streams = []
    for index, one in enumerate(drawn):
        whole = made.sglang(one, id=f"r{number}-{index}")
        meta = whole["meta_info"]
        chunks = []
        for end in range(1, len(one.new) + 1):
            about = {**meta, "completion_tokens": end}
            for key in ("output_token_logprobs", "output_top_logprobs"):
                about[key] = meta[key][:end]
            if end < len(one.new):
                about["finish_reason"] = None
            part = {"output_ids": one.new[:end], "meta_info": about}
            chunks.append({**whole, **part, "index": index})
        streams.append(chunks)
    return streams


def llamacpp_stream(drawn: Group, number: int) -> list[list[Fields]]:
    """Several prompts at once: each has an index, and a slot of its own."""
    streams = []
    for index, one in enumerate(drawn):
        whole = made.llamacpp_native(one)
        entries = whole.pop("completion_probabilities")
        base = {"index": index, "id_slot": 10 * number + index, "content": ""}
        chunks = [
            {
                **base,
                "stop": False,
                "tokens_predicted": at + 1,
                "completion_probabilities": [entry],
            }
            for at, entry in enumerate(entries)
        ]
        last = {"stop": True, "tokens_predicted": len(entries)}
        streams.append([*chunks, {**whole, **base, **last}])
    return streams


# ---- files of trainers


def padded(values: Sequence[Any], entries: int, filler: Any = 0) -> list[Any]:
    return [*values, *[filler] * (entries - len(values))]


def nemo_rl(drawn: Group) -> Fields:
    """One microbatch."""
    entries = max(len(one.ids) for one in drawn)
    masks = [[0] * PROMPT + [1] * len(one.new) for one in drawn]
    numbers = [[*[0.0] * PROMPT, *one.logprobs[PROMPT:]] for one in drawn]
    return {
        "token_ids": [padded(one.ids, entries) for one in drawn],
        "input_lengths": [len(one.ids) for one in drawn],
        "token_loss_mask": [padded(mask, entries) for mask in masks],
        "sample_loss_mask": [1.0] * len(drawn),
        "generation_logprobs": [padded(row, entries, 0.0) for row in numbers],
        "prev_logprobs": [padded(row, entries, 0.0) for row in numbers],
        "rewards": [float(len(one.new)) for one in drawn],
    }


def export(one: Drawn) -> Fields:
    mask = [False] * PROMPT + [True] * len(one.new)
    numbers = [0.0] * PROMPT + one.logprobs[PROMPT:]
    return {
        "schema_version": 1,
        "step": 3,
        "rank": 0,
        "token_ids": one.ids,
        "loss_mask": mask,
        "inference_logprobs": numbers,
        "trainer_logprobs": numbers,
    }


def trace(one: Drawn, name: str) -> Fields:
    asked = {
        "message": {"role": "user", "content": "?"},
        "token_ids": one.ids[:PROMPT],
        "mask": [False] * PROMPT,
    }
    answered = {
        "message": {"role": "assistant", "content": "!"},
        "token_ids": one.new,
        "mask": [True] * len(one.new),
        "logprobs": one.logprobs[PROMPT:],
        "sampled": True,
        "parent": 0,
    }
    return {
        "id": name,
        "nodes": [asked, answered],
        "rewards": {"right": {"score": float(len(one.new)), "weight": 1.0}},
        "info": {"kind": "train"},
    }


def annotation(one: Drawn, name: str) -> Fields:
    numbers = [None] * PROMPT + one.logprobs[PROMPT:]
    branch = {"index": 0, "trainer_logprobs": numbers}
    return {"version": 1, "trace_id": name, "info": {}, "branches": [branch]}


def jsonl(one: Drawn) -> Fields:
    capture = {
        "logprobs": one.logprobs[PROMPT:],
        "ranks": one.ranks[PROMPT:],
        "top_ids": [[i for i, _ in row] for row in one.tops[PROMPT:]],
        "top_logprobs": [[v for _, v in row] for row in one.tops[PROMPT:]],
    }
    return {"token_ids": one.ids, "prompt_length": PROMPT, "captures": {"a": capture}}


def label(one: Drawn, position: int) -> Fields:
    behind = position + 1
    if behind == len(one.ids):
        return {"global_position": position, "is_valid": False}
    return {
        "global_position": position,
        "token_id": one.ids[behind],
        "logprob": one.logprobs[behind],
        "is_valid": True,
    }


# ---- layouts: how groups of samples become files

Write = Callable[[Path, Sequence[Group]], Path]


class Layout(NamedTuple):
    """What writes groups into a folder and returns what is imported."""

    format_name: str
    write: Write


def as_lines(form: Callable[[Group], Any]) -> Write:
    """One line a prompt."""

    def write(folder: Path, groups: Sequence[Group]) -> Path:
        return made.lines(folder / "a.jsonl", map(form, groups))

    return write


def as_list(form: Callable[[Group], Any], indent: int | None) -> Write:
    def write(folder: Path, groups: Sequence[Group]) -> Path:
        path = folder / "a.json"
        path.write_text(json.dumps(list(map(form, groups)), indent=indent))
        return path

    return write


def under_key(folder: Path, groups: Sequence[Group]) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps({"object": "x", "data": list(map(chat, groups))}))
    return path


def one_request(form: Callable[[Group], Any]) -> Write:
    """The samples of all prompts in one answer."""

    def write(folder: Path, groups: Sequence[Group]) -> Path:
        if max(map(len, groups)) == 1:
            return made.lines(folder / "a.jsonl", map(form, groups))
        drawn = [*itertools.chain(*groups)]
        return made.lines(folder / "a.jsonl", [form(drawn)])

    return write


def prompts_at_once(drawn: Group) -> Fields:
    answer = named_completions(drawn)
    return counted(answer, len(drawn) // 4 or 1, drawn)


def as_stream(form: Callable[[Group, int], list[list[Fields]]]) -> Write:
    def write(folder: Path, groups: Sequence[Group]) -> Path:
        parts = [form(drawn, number) for number, drawn in enumerate(groups)]
        chunks = itertools.chain.from_iterable(map(in_turn, parts))
        return made.events(folder / "a.txt", chunks)

    return write


def each_line(form: Callable[[Drawn], Any], name: str = "a.jsonl") -> Write:
    def write(folder: Path, groups: Sequence[Group]) -> Path:
        return made.lines(folder / name, map(form, itertools.chain(*groups)))

    return write


def ranks_of_exports(folder: Path, groups: Sequence[Group]) -> Path:
    samples = [*itertools.chain(*groups)]
    for rank in range(2):
        path = folder / f"rank_{rank}.jsonl"
        made.lines(path, map(export, samples[4 * rank : 4 * rank + 4]))
    return folder


def run_of_traces(folder: Path, groups: Sequence[Group]) -> Path:
    """An episode a prompt, a trace a sample; two chunks."""
    episodes = []
    annotations: list[Fields] = []
    for number, drawn in enumerate(groups):
        names = [f"t{number}-{index}" for index in range(len(drawn))]
        traces = list(map(trace, drawn, names))
        episodes.append({"id": f"e{number}", "traces": traces})
        annotations += map(annotation, drawn, names)
    half = len(episodes) // 2
    for name, records, cut in (
        ("stream", episodes, half),
        ("annotations/trainer", annotations, 3),
    ):
        stream = folder / "traces" / name
        stream.mkdir(parents=True)
        made.lines(stream / "00000.jsonl", records[:cut])
        made.lines(stream / "00001.jsonl", records[cut:])
    return folder


def early_traces(folder: Path, groups: Sequence[Group]) -> Path:
    """One file a stream, as early releases wrote."""
    run_of_traces(folder, groups)
    for stream in (folder / "traces" / "stream", folder / "traces/annotations/trainer"):
        texts = [chunk.read_bytes() for chunk in sorted(stream.iterdir())]
        stream.with_suffix(".jsonl").write_bytes(b"".join(texts))
        for chunk in stream.iterdir():
            chunk.unlink()
        stream.rmdir()
    return folder


def ranks_of_megatron(folder: Path, groups: Sequence[Group]) -> Path:
    """Ten ranks, so that their order is not that of their names."""
    samples = [*itertools.chain(*groups)]
    for rank in range(11):
        rows = [[label(one, at) for at in range(len(one.ids))] for one in samples]
        data = {"rank": rank, "cp_size": 1, "logprob_entries": rows}
        (folder / f"rank_{rank}.json").write_text(json.dumps(data, indent=1))
    return folder


LAYOUTS = {
    "chat": Layout("openai", as_lines(chat)),
    "chat-named": Layout("openai", as_lines(named_chat)),
    "chat-llamacpp": Layout("openai", as_lines(llamacpp_chat)),
    "chat-list": Layout("openai", as_list(chat, None)),
    "chat-list-over-lines": Layout("openai", as_list(chat, 1)),
    "chat-under-a-key": Layout("openai", under_key),
    "completions": Layout("openai", as_lines(completions)),
    "completions-named": Layout("openai", as_lines(named_completions)),
    "prompts-at-once": Layout("openai", one_request(completions)),
    "prompts-at-once-named": Layout("openai", one_request(prompts_at_once)),
    "scored": Layout("openai", as_lines(scored)),
    "scored-at-once": Layout("openai", one_request(scored)),
    "echoed-at-once": Layout("openai", one_request(echoed)),
    "echoed-samples": Layout("openai", as_lines(echoed_samples)),
    "tokens": Layout("openai", as_lines(tokens)),
    "chat-stream": Layout("openai", as_stream(chat_stream)),
    "completion-stream": Layout("openai", as_stream(completion_stream)),
    "token-stream": Layout("openai", as_stream(token_stream)),
    "sglang": Layout("sglang", as_lines(sglang)),
    "sglang-list": Layout("sglang", as_list(sglang, 1)),
    "sglang-stream": Layout("sglang", as_stream(sglang_stream)),
    "llamacpp": Layout("openai", as_lines(llamacpp)),
    "llamacpp-stream": Layout("openai", as_stream(llamacpp_stream)),
    "vllm": Layout("vllm", as_lines(request_output)),
    "vllm-flat": Layout("vllm", as_list(flat_output, None)),
    "tensorrt": Layout("vllm", as_lines(tensorrt_output)),
    "engine-outputs": Layout("engine-outputs", each_line(made.compare_script)),
    "jsonl": Layout("jsonl", each_line(jsonl)),
    "nemo-rl": Layout(
        "nemo-rl",
        lambda folder, groups: made.lines(
            folder / "train_data_step7.jsonl", map(nemo_rl, groups)
        ),
    ),
    "prime-rl-export": Layout("prime-rl", each_line(export, "rank_0.jsonl")),
    "prime-rl-ranks": Layout("prime-rl", ranks_of_exports),
    "prime-rl-traces": Layout("prime-rl", run_of_traces),
    "prime-rl-early": Layout("prime-rl", early_traces),
    "megatron": Layout("megatron", ranks_of_megatron),
}
