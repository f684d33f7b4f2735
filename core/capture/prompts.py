"""Prompt files: JSONL with one prompt a line, or TRL's completions as parquet. They are
checked before any tokenizer, engine or disk is touched.

`logdrift.core.capture.prompt_lines` says what a line may hold. Prompts with a
completion (ids with a prompt length, or a text after the prompt) are scored as they
are; everything else gets a completion from the generating backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from logdrift.core.capture.prompt import Ending, Prompt, check_text
from logdrift.core.capture.prompt_lines import FORMS, parse_line, prompt_of
from logdrift.core.capture.text_dumps import parquet_lines
from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import open_regular
from logdrift.core.session.importers.parquet_rows import is_parquet
from logdrift.core.session.importers.text_lines import text_line, text_lines

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_prompts(
    file: str | None, texts: Sequence[str] = (), final_turn: Ending | None = None
) -> list[Prompt]:
    """All prompts of a JSONL file followed by ``texts``.

    ``final_turn`` says what becomes of an assistant turn at the end of a conversation
    whose line does not say it. Raises InputError naming the line and what it should be.
    """
    if file is not None:
        prompts = _read_file(Path(file))
    else:
        prompts = []
    for index, text in enumerate(texts):
        prompts.append(_text_prompt(index, text))
    if not prompts:
        remedy = "give --prompts FILE (JSONL) or --text TEXT"
        raise InputError("no prompts", field="prompts", remedy=remedy)
    _check_completions(prompts)
    return [_with_ending(prompt, final_turn) for prompt in prompts]


def _text_prompt(index: int, text: str) -> Prompt:
    """The prompt of one text, which counts from 1 in messages."""
    name = f"text {index + 1}"
    place = Place(name, field=f"prompts.texts[{index}]")
    if not text:
        reason = f"{name} is empty"
        remedy = "give at least one character"
        raise InputError(reason, field=place.field, remedy=remedy)
    checked = check_text(text, "the text", place)
    return Prompt(place, text=checked)


def _check_completions(prompts: Sequence[Prompt]) -> None:
    first = prompts[0]
    for prompt in prompts:
        if prompt.has_completion != first.has_completion:
            raise prompt.place.error(
                "prompts with and without a completion are mixed",
                "use one file for each, in two sessions",
            )


def _with_ending(prompt: Prompt, final_turn: Ending | None) -> Prompt:
    """The prompt with its ending settled: an assistant turn at the end is continued or
    answered as the plan says.
    """
    if prompt.messages is None or prompt.ending is not None:
        return prompt
    last_message = prompt.messages[-1]
    if last_message["role"] != "assistant":
        return replace(prompt, ending="answer")
    if final_turn is None:
        raise prompt.place.error(
            "the last message is the assistant's",
            'say whether it is continued ("continue_final_message": true in the line,'
            " or --continue-final-message) or closed and another turn opened"
            ' ("add_generation_prompt": true, or --add-generation-prompt)',
        )
    return replace(prompt, ending=final_turn)


def _read_file(path: Path) -> list[Prompt]:
    file = Place(f"prompts {path}", field="prompts.file", file=str(path))
    if is_parquet(path):
        return _read_parquet(path, file)
    prompts: list[Prompt] = []
    for number, line in enumerate(_lines(path, file), 1):
        if line.strip():
            place = Place(
                f"{path.name} line {number}",
                field=f"prompts[{len(prompts)}]",
                file=str(path),
                line=number,
            )
            prompts.append(parse_line(line, place))
    if not prompts:
        raise file.error("the file holds no prompt", f"a line is {FORMS}")
    return prompts


def _lines(path: Path, file: Place) -> Iterator[bytes]:
    """The lines of a file, its byte order mark left out. Raises InputError where it
    cannot be read, or is no text.
    """
    try:
        descriptor = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise file.error("no such file") from None
    except InputError as error:
        reason = f"prompts {error}"
        raise InputError(reason, field=file.field) from None
    try:
        with open(descriptor, "rb") as opened:
            first = text_line(opened, file)
            yield first.removeprefix(_BYTE_ORDER_MARK)
            yield from text_lines(opened, file)
    except OSError as error:
        raise file.error(f"cannot be read: {error.strerror}") from None


def _read_parquet(path: Path, file: Place) -> list[Prompt]:
    """The prompts of TRL's completions."""
    prompts: list[Prompt] = []
    for place, row in parquet_lines(path):
        there = place._replace(field=f"prompts[{len(prompts)}]")
        prompts.append(prompt_of(row, there))
    if not prompts:
        raise file.error("the file holds no row", "give one with prompt and completion")
    return prompts
