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
from tests.common import REPOSITORY, Fields

Write = Callable[..., Path]
Prepare = Callable[..., list[Fields]]

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
        asked = tmp_path / "request.json"
        out = tmp_path / "answer.json"
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


def _prompts(answer: Fields) -> list[str]:
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
        found = [text for _, text in answer["texts"]]
        assert found == [completion, completion]
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
    found = [answer.get("max_length") for answer in answers]
    expected = [64, 64, None, None]
    assert found == expected
    assert (
        answers[2]["error"]
        == "prompts.jsonl line 2: 65 tokens are too long for the model, which has 64"
        " positions: 64 is the longest sequence (2 of 4 are too long)"
    )
    assert answers[3]["error"].endswith(
        "which has 64 positions: 63 is the longest prompt"
    )


# ---- ids decoded and encoded again, and from whose message they are


def test_ids_that_their_own_text_does_not_give_are_told_by_where_they_begin(
    prepare: Prepare,
) -> None:
    """ "The" and " is" are words of the vocabulary; letter by letter nobody writes them
    so but a model that samples.
    """
    sentence = ["The", "Ġcolour", "Ġis"]
    spelled = [
        {"tokens": ["<s>", *sentence, "Ġbl", "ue", "."], "prompt_length": 2},
        {"tokens": ["T", "he", "Ġcolour", "Ġis"], "prompt_length": 3},
        {"tokens": ["<s>", *sentence[:2], "Ġ", "i", "s"], "prompt_length": 3},
        {"tokens": [*sentence, "<", "|", "e", "n", "d", "|", ">"], "prompt_length": 3},
        {"tokens": ["The", "Ã"], "prompt_length": 1},
        {"tokens": ["The", "Ã", "he"], "prompt_length": 1},
    ]
    text = {"prompt": "The colour is blue.", "completion": " Of course."}
    answers = prepare([text], spelled=spelled)
    assert answers[0]["retokenised"] == [[]]
    assert answers[1]["retokenised"] == [
        [],
        ["prompt", 0],
        ["completion", 3],
        ["special", 3],
        [],  # cut within a character: all that is text is checked
        None,  # no text: nothing to check
    ]


def test_tokenizers_that_put_a_blank_before_every_text_are_understood(
    prepare: Prepare,
) -> None:
    ends = "{% for m in messages %}{{ bos_token }}{{ m.content }}<|end|>{% endfor %}"
    lines = [
        {"prompt": "The colour is", "completion": " of course"},
        {"messages": [USER, ASSISTANT], "continue_final_message": True},
    ]
    spelled = [
        {"tokens": ["<s>", "▁The", "▁colour", "<|end|>", "▁The"], "prompt_length": 3},
        {"tokens": ["<s>", "▁", "T", "h", "e"], "prompt_length": 5},
    ]
    answers = prepare(
        lines[:1], lines[1:], template=ends, tokenizer="pieces", spelled=spelled
    )
    assert answers[0]["retokenised"] == [[]]
    assert answers[1]["retokenised"] == [[]]
    expected = [[], ["prompt", 1]]
    assert answers[2]["retokenised"] == expected


def test_a_template_tells_the_roles_of_a_conversation(prepare: Prepare) -> None:
    system = {"role": "system", "content": "Name a colour."}
    tool = {"role": "tool", "content": "blue"}
    talk = [system, USER, ASSISTANT, tool, USER]
    lines = [
        {"messages": talk},
        {"messages": [*talk, ASSISTANT], "continue_final_message": True},
        {"messages": [USER], "tools": TOOLS},
    ]
    (answer,) = prepare(lines)
    first, continued, with_tools = answer["roles"]
    for roles, ids in zip(answer["roles"], answer["ids"], strict=True):
        assert len(roles) == len(ids)
    # The template's <s> is of no message; what opens the answer is the assistant's.
    assert first[0] == 0
    expected = [1, 2, 3, 4, 2, 3]
    assert _runs(first[1:]) == expected
    assert _runs(continued) == [0, 1, 2, 3, 4, 2, 3]
    # The list of tools stands before the first message, and is of none.
    assert _runs(with_tools) == [0, 2, 3]
    text = answer["texts"][2][0]
    assert text.startswith("<s>[tools]weather city [user]")


def _runs(values: list[int]) -> list[int]:
    """The values without repetitions."""
    return [
        value
        for place, value in enumerate(values)
        if place == 0 or value != values[place - 1]
    ]


def test_a_template_that_does_not_tell_leaves_roles_unknown(prepare: Prepare) -> None:
    """It writes no role, and thoughts of the last answer alone."""
    forgetful = (
        "{% for m in messages %}{{ m.content }}{% if loop.last and m.role =="
        " 'assistant' %} (thinking){% endif %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token }}{% endif %}"
    )
    talk = [USER, ASSISTANT, USER]
    (answer,) = prepare([{"messages": talk}, {"prompt": "Name"}], template=forgetful)
    roles, plain = answer["roles"]
    assert plain is None
    expected = [2, 0, 3]
    assert _runs(roles) == expected
