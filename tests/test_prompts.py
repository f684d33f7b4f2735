"""Prompt files: every broken line is named before anything runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import core.capture
from core.capture.prompts import read_prompts
from core.errors import InputError

Write = Callable[..., Path]


def test_all_forms(prompts_file: Write) -> None:
    path = prompts_file({"prompt": "a"}, "", {"messages": [{"role": "user", "content": "b"}]}, {"token_ids": [1, 2]})
    prompts = read_prompts(str(path), ("c",))
    assert [p.where for p in prompts] == [
        "prompts.jsonl line 1",
        "prompts.jsonl line 3",
        "prompts.jsonl line 4",
        "text 1",
    ]
    assert prompts[2].prompt_length == 2
    assert not any(p.has_completion for p in prompts)


def test_completed_sequences(prompts_file: Write) -> None:
    path = prompts_file(
        {"token_ids": [1, 2, 3], "prompt_length": 1, "mask": [1, 0, 1]}, {"token_ids": [4], "prompt_length": 0}
    )
    assert [p.has_completion for p in read_prompts(str(path))] == [True, True]


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
        ({"prompt": "a\ud800"}, "line 2: character 2 is no Unicode character"),
        ({"messages": [{"role": "user", "content": "\udc00"}]}, "line 2: character"),
        ('{"messages": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 2: nested too deeply"),
        ('{"token_ids": [1' + "0" * 5000 + "]}", "line 2: a number in it is too long"),
        ({"messages": []}, "line 2: messages is not a list with at least one message"),
        ({"messages": [{"content": "x"}]}, "line 2: a message is"),
        ({"token_ids": []}, "line 2: token_ids is empty"),
        ({"token_ids": [1, "2"]}, "line 2: token_ids is not a list of whole numbers"),
        ({"token_ids": [1, True]}, "line 2: token_ids is not a list of whole numbers"),
        ({"token_ids": [1, -5]}, "line 2: token id -5 is outside any vocabulary"),
        ({"token_ids": [1, 2], "prompt_length": 3}, "line 2: prompt_length is 3: give a whole number from 0 to 2"),
        ({"token_ids": [1, 2], "mask": [1]}, "line 2: mask is not a list of 2 zeros and ones"),
        ({"token_ids": [1, 2], "prompt_length": 1}, "line 2: prompts with and without a completion are mixed"),
    ],
)
def test_a_broken_line_is_named(prompts_file: Write, line: Any, said: str) -> None:
    path = prompts_file({"prompt": "fine"}, line)
    with pytest.raises(InputError) as caught:
        read_prompts(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "\xff"}\n')
    with pytest.raises(InputError, match="line 1: not UTF-8 at byte 12"):
        read_prompts(str(path))


def test_nothing_given(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    with pytest.raises(InputError, match="holds no prompt"):
        read_prompts(str(empty))
    with pytest.raises(InputError, match="no such file"):
        read_prompts(str(tmp_path / "none"))
    with pytest.raises(InputError, match="no prompts"):
        read_prompts(None)
    with pytest.raises(InputError, match="text 2 is empty"):
        read_prompts(None, ("a", ""))


WITH_BOS = """
import json, runpy, sys
runpy.run_path(sys.argv[1])
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from core.backends.tokens import TokenText

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
    """A template writes it into the text already: tokenised as a text, it would get another one."""
    launch = Path(core.capture.__file__).with_name("launch.py")
    done = subprocess.run(
        [transformers_python, "-I", "-c", WITH_BOS, launch, tmp_path / "tokenizer"],
        capture_output=True, text=True, timeout=300, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [[0, 2], [0, 3, 2]]
