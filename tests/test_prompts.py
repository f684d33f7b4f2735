"""Prompt files: every broken line is named before anything runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import logdrift.core.worker
from logdrift.core.capture.prompts import read_prompts
from logdrift.core.errors import InputError
from tests.common import refused

Write = Callable[..., Path]
USER = {"role": "user", "content": "b"}
ASSISTANT = {"role": "assistant", "content": "c"}


def test_all_forms(prompts_file: Write) -> None:
    path = prompts_file(
        {"prompt": "a"},
        "",
        {"messages": [{"role": "user", "content": "b"}]},
        {"token_ids": [1, 2]},
    )
    prompts = read_prompts(str(path), ("c",))
    assert [p.place.words for p in prompts] == [
        "prompts.jsonl line 1",
        "prompts.jsonl line 3",
        "prompts.jsonl line 4",
        "text 1",
    ]
    assert prompts[2].prompt_length == 2
    assert not any(p.has_completion for p in prompts)


def test_completed_sequences(prompts_file: Write) -> None:
    path = prompts_file(
        {"token_ids": [1, 2, 3], "prompt_length": 1, "mask": [1, 0, 1]},
        {"token_ids": [4], "prompt_length": 0},
    )
    found = [p.has_completion for p in read_prompts(str(path))]
    assert found == [True, True]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": ', "line 2: not JSON"),
        ("plain text", "line 2: not JSON"),
        ('"text"', "line 2: a line is exactly one of"),
        ({"prompt": "a", "token_ids": [1]}, "line 2: a line is exactly one of"),
        ({"text": "a"}, "line 2: a line is exactly one of"),
        ({"prompt": ""}, "line 2: prompt is empty"),
        ({"prompt": 3}, "line 2: prompt is not text"),
        ({"prompt": "a\ud800"}, "line 2: character 2 is not a Unicode character"),
        ({"messages": [{"role": "user", "content": "\udc00"}]}, "line 2: character"),
        (
            '{"messages": ' + "[" * 100_000 + "]" * 100_000 + "}",
            "line 2: nested too deeply",
        ),
        ('{"token_ids": [1' + "0" * 5000 + "]}", "line 2: a number in it is too long"),
        ({"messages": []}, "line 2: messages is not a list with at least one message"),
        ({"messages": [{"content": "x"}]}, "line 2, message 1: a message is"),
        (
            {"messages": [{"role": "user"}]},
            "line 2, message 1: it has neither content nor tool_calls",
        ),
        (
            {"messages": [USER, {"role": "user", "content": None}]},
            "line 2, message 2: it has neither content",
        ),
        (
            {"messages": [{"role": "user", "content": 3}]},
            "line 2, message 1: content is not text",
        ),
        (
            {"messages": [{"role": "user", "content": []}]},
            "content is not text, nor a list with at least one part",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "url": "x"}]}
                ]
            },
            "line 2, message 1: its content has a part of type 'image'",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": []}]},
            "tool_calls is not a list with at least one object",
        ),
        (
            {"messages": [USER], "tools": []},
            "line 2: tools is not a list with at least one object",
        ),
        (
            {"messages": [USER], "tools": ["f"]},
            "line 2: tools is not a list with at least one object",
        ),
        (
            {"messages": [USER], "chat_template_kwargs": []},
            "line 2: chat_template_kwargs is not an object",
        ),
        (
            {"messages": [USER], "chat_template_kwargs": {"tools": []}},
            "line 2: chat_template_kwargs.tools is the line's own key",
        ),
        (
            {"messages": [USER], "add_generation_prompt": 1},
            "line 2: add_generation_prompt is not true or false",
        ),
        (
            {
                "messages": [USER],
                "add_generation_prompt": True,
                "continue_final_message": True,
            },
            (
                "line 2: continue_final_message and add_generation_prompt exclude each"
                " other"
            ),
        ),
        (
            {"prompt": "a", "completion": ""},
            "line 2: completion is empty: leave it out to have one sampled",
        ),
        ({"prompt": "a", "completion": ["b"]}, "line 2: completion is not text"),
        (
            {"prompt": [USER]},
            "line 2: prompt is a list: give a conversation as messages",
        ),
        (
            {"prompt": "a", "completion": "b"},
            "line 2: prompts with and without a completion are mixed",
        ),
        (
            {"token_ids": [1, 2], "mask": [1, 1]},
            "line 2: a mask belongs to ids with their completion",
        ),
        (
            {
                "token_ids": [1, 2],
                "prompt_length": 1,
                "mask": [0, 1],
                "loss_mask": [0, 1],
            },
            "line 2: mask and loss_mask are the same thing: give one of them",
        ),
        (
            {"token_ids": [1, 2], "prompt_length": 1, "loss_mask": [2, 1]},
            "line 2: loss_mask is not a list of 2",
        ),
        (
            '{"prompt": "a", "prompt": "b"}',
            "line 2: 'prompt' stands twice in one object: give it once",
        ),
        # Keys: unknown, of another form, or not of a line
        ({"promt": "a"}, "line 2: promt is unknown: did you mean 'prompt'?"),
        (
            {"prompt": "a", "complation": "b"},
            "line 2: complation is unknown: did you mean 'completion'?",
        ),
        (
            {"prompt": "a", "id": None},
            "line 2: id is unknown: known are prompt, completion",
        ),
        (
            {"token_ids": [1], "prompt_len": 1},
            "line 2: prompt_len is unknown: did you mean 'prompt_length'?",
        ),
        (
            {"prompt": "a", "tools": [{}]},
            "line 2: tools belongs to a line with messages, and this line has prompt",
        ),
        (
            {"prompt": "a", "mask": [1]},
            "line 2: mask belongs to a line with token_ids, and this line has prompt",
        ),
        (
            {"token_ids": [1], "completion": "b"},
            (
                "line 2: completion belongs to a line with prompt or messages, and this"
                " line has token_ids"
            ),
        ),
        (
            {"prompt": "a", "n": 4},
            "line 2: n is not in this version: repeat the prompt instead",
        ),
        (
            {"prompt": "a", "stop": ["b"]},
            "line 2: stop is not in this version: completions end at",
        ),
        (
            {"prompt": "a", "temperature": 0.5},
            (
                "line 2: temperature states how a given completion was sampled, and this"
                " line has none: set sampling.temperature"
            ),
        ),
        (
            {"token_ids": [1, 2], "top_p": 1},
            "this line has none: set sampling.top_p in a plan",
        ),
        (
            {"messages": [USER], "engine": "vllm"},
            "this line has none: set engine of a backend",
        ),
        ({"prompt": "a", "weight_version": 3}, "this line has none: leave it out"),
        (
            {"prompt": "a", "seed": 3},
            "line 2: seed is one for the whole capture: set sampling.seed in a plan",
        ),
        (
            {"prompt": "a", "completion": "b", "seed": 3},
            "line 2: seed changes nothing, since the completion is given",
        ),
        (
            {"token_ids": [1, 2], "prompt_length": 1, "temprature": 1},
            "temprature is unknown: did you mean 'temperature'",
        ),
        (
            {"prompt": "a", "completion": "b", "temperature": "warm"},
            "line 2: temperature is 'warm': give a temperature",
        ),
        (
            {"prompt": "a", "completion": "b", "top_p": 0},
            "line 2: top_p is 0: give a share above 0",
        ),
        (
            {"prompt": "a", "completion": "b", "logprobs": [-1]},
            "logprobs belongs to a line with token_ids",
        ),
        (
            {"prompt": "a", "completion": "b", "logprobs_mode": "raw"},
            "logprobs_mode says what logprobs are of",
        ),
        (
            {"token_ids": [1, 2], "logprobs": [-1, -1]},
            "line 2: logprobs belong to ids with their completion",
        ),
        (
            {"token_ids": [1, 2], "prompt_length": 1, "logprobs": -1},
            "line 2: logprobs is not a list of numbers",
        ),
        ({"token_ids": []}, "line 2: token_ids is empty"),
        ({"token_ids": [1, "2"]}, "line 2: token_ids is not a list of whole numbers"),
        ({"token_ids": [1, True]}, "line 2: token_ids is not a list of whole numbers"),
        ({"token_ids": [1, -5]}, "line 2: token id -5 is outside any vocabulary"),
        (
            {"token_ids": [1, 2], "prompt_length": 3},
            "line 2: prompt_length is 3: give a whole number from 0 to 2",
        ),
        (
            {"token_ids": [1, 2], "mask": [1]},
            "line 2: mask is not a list of 2 zeros and ones",
        ),
        (
            {"token_ids": [1, 2], "prompt_length": 1},
            "line 2: prompts with and without a completion are mixed",
        ),
    ],
)
def test_a_broken_line_is_named(prompts_file: Write, line: Any, said: str) -> None:
    path = prompts_file({"prompt": "fine"}, line)
    with pytest.raises(InputError) as caught:
        read_prompts(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_key_of_a_line_is_kept(prompts_file: Write) -> None:
    tools = [{"type": "function"}]
    arguments = {"enable_thinking": False}
    path = prompts_file(
        {
            "messages": [USER],
            "tools": tools,
            "chat_template_kwargs": arguments,
            "completion": "x",
        },
        {"prompt": "a", "completion": " b", "mask": None},
        {"token_ids": [1, 2, 3], "prompt_length": 1, "loss_mask": [0, True, 0.0]},
    )
    talk, text, ids = read_prompts(str(path))
    assert talk.tools == tuple(tools)
    assert talk.chat_template_kwargs == arguments
    assert talk.completion == "x"
    assert text.text == "a"
    assert text.completion == " b"
    assert ids.mask == (0, 1, 0)
    assert all(prompt.has_completion for prompt in (talk, text, ids))


def test_messages_without_content_are_the_templates_affair(prompts_file: Write) -> None:
    call = {"role": "assistant", "tool_calls": [{"type": "function"}]}
    path = prompts_file({"messages": [USER, call, {**call, "content": None}, USER]})
    assert read_prompts(str(path))[0].messages == (
        USER,
        call,
        {**call, "content": None},
        USER,
    )


def test_an_assistant_turn_at_the_end_needs_a_word(prompts_file: Write) -> None:
    talk = [USER, ASSISTANT]
    silent = str(prompts_file({"messages": [USER]}, {"messages": talk}))
    with pytest.raises(InputError) as caught:
        read_prompts(silent)
    assert "line 2: the last message is the assistant's" in str(caught.value)
    assert '"continue_final_message": true' in str(caught.value)
    assert '"add_generation_prompt": true' in str(caught.value)
    for word in ("continue", "answer"):
        assert [prompt.ending for prompt in read_prompts(silent, final_turn=word)] == [
            "answer",
            word,
        ]
    said = prompts_file(
        {"messages": talk, "continue_final_message": True},
        {
            "messages": talk,
            "add_generation_prompt": True,
            "continue_final_message": False,
        },
        {"messages": talk, "add_generation_prompt": False},
    )
    for word in (None, "continue", "answer"):
        endings = [prompt.ending for prompt in read_prompts(str(said), final_turn=word)]
        assert endings == ["continue", "answer", "closed"]


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "\xff"}\n')
    with refused("line 1: not UTF-8 at byte 12"):
        read_prompts(str(path))


def test_nothing_given(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    with refused("holds no prompt"):
        read_prompts(str(empty))
    with refused("no such file"):
        read_prompts(str(tmp_path / "none"))
    with refused("no prompts"):
        read_prompts(None)
    with refused("text 2 is empty"):
        read_prompts(None, ("a", ""))


WITH_BOS = """
import json, runpy, sys
runpy.run_path(sys.argv[1])
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from logdrift.core.worker.tokens import TokenText

words = Tokenizer(models.WordLevel({"<s>": 0, "?": 1, "hello": 2, "user": 3}, unk_token="?"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
words.add_special_tokens(["<s>"])
words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
made = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", unk_token="?")
made.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.role }} {{ m.content }}{% endfor %}"
made.save_pretrained(sys.argv[2])
text = TokenText(sys.argv[2], None, False)
print(json.dumps([text.encode("hello"), text.encode_messages([{"role": "user", "content": "hello"}])]))
"""


def test_a_beginning_of_sequence_comes_once_from_text_and_from_messages(
    transformers_python: Path, tmp_path: Path
) -> None:
    """A template writes it into the text already: tokenised as a text, it would get
    another one.
    """
    launch = Path(logdrift.core.worker.__file__).with_name("launch.py")
    done = subprocess.run(
        [transformers_python, "-I", "-c", WITH_BOS, launch, tmp_path / "tokenizer"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = [[0, 2], [0, 3, 2]]
    assert json.loads(done.stdout.splitlines()[-1]) == expected


def test_an_error_of_a_prompt_knows_its_place(prompts_file: Write) -> None:
    """The field counts prompts, the line counts lines: a form and an editor want one
    each.
    """
    path = prompts_file({"prompt": "a"}, "", {"prompt": ""})
    with pytest.raises(InputError) as caught:
        read_prompts(str(path))
    error = caught.value
    assert error.field == "prompts[1]"
    assert error.file == str(path)
    assert error.line == 3
    with pytest.raises(InputError) as caught:
        read_prompts(str(prompts_file({"prompt": "a"})), ["b", ""])
    assert caught.value.field == "prompts.texts[1]"
    assert caught.value.file is None
    with pytest.raises(InputError) as caught:
        read_prompts("no-such-file.jsonl")
    assert caught.value.field == "prompts.file"
    with pytest.raises(InputError) as caught:
        read_prompts(None)
    assert caught.value.field == "prompts"
