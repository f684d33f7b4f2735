"""Prompts become token ids in the engine's interpreter: real tokenizers and chat
templates, every key used or refused.
"""

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
from tests.conftest import REPOSITORY

Write = Callable[..., Path]
Prepare = Callable[..., list[dict[str, Any]]]

TEMPLATE = (
    "{{ bos_token }}{% if tools %}[tools]{% for t in tools %}{{ t.function.name }} {%"
    " endfor %}{% endif %}{% for m in messages %}[{{ m.role }}]{{ m.content or '' }}{%"
    " for c in m.tool_calls or [] %}<call>{{ c.function.name }}{% endfor %}<|end|>{%"
    " endfor %}{% if add_generation_prompt %}[assistant]{% if enable_thinking is false"
    " %}<no thinking>{% endif %}{% endif %}"
)
PLAIN = "{{ bos_token }}{% for m in messages %}{{ m.content + '\n' }}{% endfor %}"
USER = {"role": "user", "content": "Name a colour."}
ASSISTANT = {"role": "assistant", "content": "The colour is"}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {}}}
    for name in ("weather", "city")
]
CALL = {
    "role": "assistant",
    "tool_calls": [
        {"type": "function", "function": {"name": "weather", "arguments": {}}}
    ],
}


@pytest.fixture
def prepare(transformers_python: Path, tmp_path: Path, prompts_file: Write) -> Prepare:
    """Prompt lines -> what preparing each batch of them gave, with a tokenizer made for
    the test.
    """

    def run(
        *batches: list[Any],
        tokenizer: str = "bytes",
        template: str = TEMPLATE,
        **more: Any,
    ) -> Any:
        parsed = [read_prompts(str(prompts_file(*batch))) for batch in batches]
        request = {
            "tokenizer": tokenizer,
            "template": template,
            "positions": 4096,
            "batches": [[prompt.to_json() for prompt in batch] for batch in parsed],
            **more,
        }
        asked, out = tmp_path / "request.json", tmp_path / "answer.json"
        asked.write_text(json.dumps(request))
        script = REPOSITORY / "tests" / "engine_scripts" / "prepare_prompts.py"
        launch = Path(logdrift.core.worker.__file__).with_name("launch.py")
        done = subprocess.run(
            [transformers_python, "-I", script, launch, asked, out, tmp_path / "model"],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(out.read_text())

    return run


def _prompts(answer: dict[str, Any]) -> list[str]:
    assert "error" not in answer, answer
    return [prompt for prompt, _ in answer["texts"]]


def test_all_that_a_template_takes_reaches_it(prepare: Prepare) -> None:
    (answer,) = prepare(
        [
            {"messages": [USER]},
            {"messages": [USER], "tools": TOOLS[:1]},
            {"messages": [USER], "tools": TOOLS},
            {"messages": [USER], "chat_template_kwargs": {"enable_thinking": False}},
            {"messages": [USER], "chat_template_kwargs": {"enable_thinking": True}},
            {"messages": [USER, CALL, {"role": "tool", "content": "12"}]},
            {
                "messages": [
                    USER,
                    {**CALL, "content": None},
                    {"role": "tool", "content": "12"},
                ]
            },
            {
                "messages": [{"role": "user", "content": "Name a colour."}],
                "tools": None,
            },
        ]
    )
    user = "[user]Name a colour.<|end|>"
    tool = "[assistant]<call>weather<|end|>[tool]12<|end|>[assistant]"
    assert _prompts(answer) == [
        f"<s>{user}[assistant]",
        f"<s>[tools]weather {user}[assistant]",
        f"<s>[tools]weather city {user}[assistant]",
        f"<s>{user}[assistant]<no thinking>",
        f"<s>{user}[assistant]",
        f"<s>{user}{tool}",
        f"<s>{user}{tool}",
        f"<s>{user}[assistant]",
    ]


def test_an_assistant_turn_at_the_end_is_continued_answered_or_closed(
    prepare: Prepare,
) -> None:
    talk = [USER, ASSISTANT]
    (answer,) = prepare(
        [
            {"messages": talk, "continue_final_message": True},
            {
                "messages": talk,
                "add_generation_prompt": False,
                "continue_final_message": True,
            },
            {"messages": talk, "add_generation_prompt": True},
            {"messages": talk, "add_generation_prompt": False},
            {"messages": [USER], "add_generation_prompt": False},
        ]
    )
    begun = "<s>[user]Name a colour.<|end|>[assistant]The colour is"
    assert _prompts(answer) == [
        begun,
        begun,
        f"{begun}<|end|>[assistant]",
        f"{begun}<|end|>",
        "<s>[user]Name a colour.<|end|>",
    ]


REFUSED = (
    ({"messages": [USER], "tools": TOOLS}, "does not use tools"),
    (
        {"messages": [USER], "chat_template_kwargs": {"mesages_": 1}},
        (
            "chat_template_kwargs.mesages_ is not used by the chat template: did you"
            " mean 'messages'?"
        ),
    ),
    (
        {"messages": [USER], "chat_template_kwargs": {"zzz": 1}},
        "zzz is not used by the chat template: leave it out",
    ),
    (
        {"messages": [USER], "add_generation_prompt": False},
        "does not use add_generation_prompt",
    ),
    (
        {"messages": [{**CALL, "content": "x"}, USER]},
        "message 1: the chat template does not use tool_calls",
    ),
    (
        {"messages": [USER, {**ASSISTANT, "reasoning_content": "hm"}, USER]},
        "message 2: the chat template does not use reasoning_content",
    ),
    (
        {"messages": [{"role": "user", "name": "x"}]},
        "the chat template refused the messages",
    ),
)


def test_what_a_template_would_leave_out_is_refused(prepare: Prepare) -> None:
    answers = prepare(
        *([{"messages": [USER]}, line] for line, _ in REFUSED), template=PLAIN
    )
    for answer, (_, said) in zip(answers, REFUSED, strict=True):
        assert answer["error"].startswith("prompts.jsonl line 2: ")
        assert said in answer["error"]
        assert "\n" not in answer["error"]


@pytest.mark.parametrize("tokenizer", ["bytes", "pieces"])
def test_a_completion_is_scored_as_it_is(prepare: Prepare, tokenizer: str) -> None:
    """Also by a tokenizer that puts a space before every text."""
    prompt = "The capital of France is"
    completions = [" Paris, of course.", "Paris", "\nblue", "  12 3", "is<|end|>", "\n"]
    sampled, *given = prepare(
        [{"prompt": prompt}, {"messages": [USER]}],
        *(
            [
                {"prompt": prompt, "completion": text},
                {"messages": [USER], "completion": text},
            ]
            for text in completions
        ),
        tokenizer=tokenizer,
    )
    for answer, completion in zip(given, completions, strict=True):
        assert [text for _, text in answer["texts"]] == [completion, completion]
        assert answer["lengths"] == sampled["lengths"]
        for whole, length, alone in zip(
            answer["ids"], answer["lengths"], sampled["ids"], strict=True
        ):
            assert whole[:length] == alone


def test_content_that_a_template_would_print_as_python_is_refused(
    prepare: Prepare,
) -> None:
    """A template that only writes the content, whatever it is; one that knows parts
    takes them.
    """
    parts = [{"type": "text", "text": "Name "}, {"type": "text", "text": "a colour."}]
    printing = (
        "{% for m in messages %}{{ m.content }}{% endfor %}{{ messages[0].tool_calls }}"
    )
    listed, missing, text = prepare(
        [{"messages": [{"role": "user", "content": parts}]}],
        [{"messages": [USER, {**CALL, "content": None}, USER]}],
        [{"messages": [{"role": "user", "content": "None"}]}],
        template=printing,
    )
    assert listed["error"].endswith(
        "message 1: the chat template takes its content as text, not as a list of parts"
    )
    assert missing["error"].endswith(
        'message 2: the chat template writes None for its content: give it as ""'
    )
    assert _prompts(text) == ["None"]
    (taken,) = prepare(
        [{"messages": [{"role": "user", "content": parts}]}],
        template=(
            "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{%"
            " endfor %}"
        ),
    )
    assert _prompts(taken) == ["Name a colour."]


def test_a_completion_that_the_tokenizer_changes_is_refused(prepare: Prepare) -> None:
    fine, bad = prepare(
        [{"prompt": "The", "completion": " capital"}],
        [{"prompt": "The", "completion": " Capital"}],
        tokenizer="lower case",
    )
    assert fine["texts"][0][1] == " capital"
    assert bad["error"].startswith(
        "prompts.jsonl line 1: the tokenizer changes the text of the completion"
    )


def test_every_sequence_that_has_positions_is_taken(prepare: Prepare) -> None:
    """A given completion ends at the last position; a prompt leaves one for the first
    token of its completion.
    """
    answers = prepare(
        [{"token_ids": [5] * 64, "prompt_length": 10}],
        [{"token_ids": [5] * 63}],
        [
            {"token_ids": [5] * 9, "prompt_length": 1},
            *[{"token_ids": [5] * n, "prompt_length": 1} for n in (65, 64, 70)],
        ],
        [{"token_ids": [5] * 64}],
        positions=64,
    )
    assert [answer.get("max_length") for answer in answers] == [64, 64, None, None]
    assert (
        answers[2]["error"]
        == "prompts.jsonl line 2: 65 tokens are too long for the model, which has 64"
        " positions: 64 is the longest sequence (2 of 4 are too long)"
    )
    assert answers[3]["error"].endswith(
        "which has 64 positions: 63 is the longest prompt"
    )
