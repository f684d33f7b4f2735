"""No streamed answer with a hole is imported: a chunk that is left out takes its whole
answer with it, and one that nobody can tell takes all that may have lost it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.errors import InputError
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import open_session
from tests import made_recordings as made

Chunk = dict[str, Any]
NEW = 7
TORN = '{"id": "chat-'


def chat(seed: int) -> list[Chunk]:
    return made.chat_chunks(made.draw(seed), answer_id=f"chat-{seed}")


def completion(seed: int) -> list[Chunk]:
    name = f"cmpl-{seed}"
    return [{**one, "id": name} for one in made.completion_chunks(made.draw(seed))]


def tokens(seed: int) -> list[Chunk]:
    return made.token_chunks(made.draw(seed), 1, f"request-{seed}")


def sglang(seed: int) -> list[Chunk]:
    """Of a server that sends only what is new."""
    whole = made.sglang(made.draw(seed), 5, NEW)
    meta = whole["meta_info"]
    names = ("output_token_logprobs", "output_top_logprobs")
    chunks = []
    for at in range(NEW):
        new = {key: meta[key][at : at + 1] for key in names if meta.get(key)}
        about = {**meta, **new, "id": f"s-{seed}", "completion_tokens": at + 1}
        if at < NEW - 1:
            about["finish_reason"] = None
        part = {**whole, "meta_info": about}
        part["output_ids"] = whole["output_ids"][at : at + 1]
        chunks.append(part)
    return chunks


def llamacpp(seed: int) -> list[Chunk]:
    whole = made.llamacpp_native(made.draw(seed))
    entries = whole.pop("completion_probabilities")
    chunks = []
    for at, entry in enumerate(entries):
        chunk = {"content": "", "stop": False, "id_slot": seed}
        counted = {"tokens_predicted": at + 1}
        chunks.append({**chunk, **counted, "completion_probabilities": [entry]})
    last = {"stop": True, "id_slot": seed, "tokens_predicted": NEW}
    return [*chunks, {**whole, "content": "", **last}]


FORMS: dict[str, Callable[[int], list[Chunk]]] = {
    "chat": chat,
    "completion": completion,
    "tokens": tokens,
    "sglang": sglang,
    "llamacpp": llamacpp,
}


def mixed(form: str) -> list[Chunk | str]:
    """The chunks of three answers that are sent at the same time, one behind another,
    and then those of a fourth.
    """
    together = zip(*(FORMS[form](seed) for seed in range(3)), strict=True)
    chunks: list[Chunk | str] = [chunk for row in together for chunk in row]
    return [*chunks, *FORMS[form](3)]


def written(path: Path, chunks: list[Chunk | str]) -> str:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in chunks]
    path.write_text("".join(f"data: {text}\n\n" for text in texts))
    return str(path)


def completions(out: Path) -> list[list[int]]:
    """What was imported, each without its prompt."""
    sequences = open_session(out).sequences
    ids = sequences.token_ids.tolist()
    ends = sequences.offsets.tolist()
    pairs = itertools.pairwise(ends)
    return [ids[begin:end][-NEW:] for begin, end in pairs]


def expected(seeds: list[int]) -> list[list[int]]:
    return [list(made.draw(seed).new) for seed in seeds]


def without_ids(chunk: Chunk) -> Chunk:
    """The chunk with one token that has no log-probability, or is none at all."""
    text = json.dumps(chunk)
    for name in ("logprob", "token_logprobs"):
        text = text.replace(f'"{name}":', '"lgprob":')
    return json.loads(text)  # type: ignore[no-any-return]


def lines_of_first(chunks: list[Chunk | str], form: str) -> range:
    """Where the chunks of the first answer stand."""
    return range(0, 3 * len(FORMS[form](0)), 3)


@pytest.mark.parametrize("form", FORMS)
def test_a_line_that_is_no_json_takes_all_that_may_have_lost_it(
    form: str, tmp_path: Path
) -> None:
    whole = mixed(form)
    first = lines_of_first(whole, form)
    for number, at in enumerate(first[:-1]):
        chunks = [*whole]
        chunks[at] = TORN
        folder = tmp_path / str(number)
        folder.mkdir()
        file = written(folder / "a.txt", chunks)
        with pytest.raises(InputError, match=rf"a\.txt line {2 * at + 1}: is not JSON"):
            import_session("openai", [file], folder / "out")
        notes = import_session("openai", [file], folder / "out", skip_bad=True)
        found = completions(folder / "out")
        complete = expected([0, 1, 2, 3])
        assert [one for one in found if one not in complete] == []
        assert complete[0] not in found
        assert complete[3] in found
        assert any("left out 1 bad line" in note for note in notes)
        assert any("as a whole: what was left out" in note for note in notes)


BAD: dict[str, Callable[[Chunk], Chunk]] = {
    "no logprob": without_ids,
    "no list": lambda chunk: {**chunk, "choices": 5},
    "a choice that is none": lambda chunk: {**chunk, "choices": ["a"]},
    "no choices": lambda chunk: {"id": chunk["id"]},
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_chunk_takes_its_answer_and_no_other_where_it_is_told(
    fault: str, tmp_path: Path
) -> None:
    whole = mixed("chat")
    for at in lines_of_first(whole, "chat")[1:-1]:
        chunks = [*whole]
        chunk = whole[at]
        assert isinstance(chunk, dict)
        chunks[at] = BAD[fault](chunk)
        folder = tmp_path / str(at)
        folder.mkdir()
        file = written(folder / "a.txt", chunks)
        with pytest.raises(InputError, match=rf"a\.txt line {2 * at + 1}"):
            import_session("openai", [file], folder / "out")
        notes = import_session("openai", [file], folder / "out", skip_bad=True)
        wanted = [1, 2, 3] if fault != "no choices" else [3]
        found = completions(folder / "out")
        if fault != "no choices":
            assert found == expected(wanted)
            assert any("1 streamed answer of a.txt as a whole" in one for one in notes)
        assert expected([0])[0] not in found
        assert all(one in expected([1, 2, 3]) for one in found)
        assert any("left out 1 bad line" in note for note in notes)


def test_several_bad_chunks_of_an_answer_are_counted_once(tmp_path: Path) -> None:
    whole = mixed("chat")
    for at in lines_of_first(whole, "chat")[2:5]:
        chunk = whole[at]
        assert isinstance(chunk, dict)
        whole[at] = without_ids(chunk)
    file = written(tmp_path / "a.txt", whole)
    notes = import_session("openai", [file], tmp_path / "out", skip_bad=True)
    assert completions(tmp_path / "out") == expected([1, 2, 3])
    assert any("left out 1 bad line: " in note for note in notes)


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_answers_that_are_left_out_are_named_by_their_beginning(
    number: int, tmp_path: Path
) -> None:
    parts = [chat(seed) for seed in range(6)]
    for part in parts[:number]:
        part[3] = without_ids(part[3])
    chunks = [chunk for part in parts for chunk in part]
    file = written(tmp_path / "a.txt", chunks)
    notes = import_session("openai", [file], tmp_path / "out", skip_bad=True)
    assert completions(tmp_path / "out") == expected([*range(number, 6)])
    beginnings = [f"line {1 + 2 * len(parts[0]) * at}" for at in range(number)]
    named = ", ".join(beginnings[:3])
    if number > 3:
        named += f", {number - 3} more"
    (note,) = [one for one in notes if "as a whole" in one]
    assert note.startswith(f"left out {number} streamed answer")
    assert note.endswith(f"begin{'s' if number == 1 else ''} at {named})")


def test_a_bad_item_of_a_line_takes_no_chunk_behind_it(tmp_path: Path) -> None:
    """The chunks of several answers may stand in a list of one line."""
    rows = list(zip(*(chat(seed) for seed in range(2)), strict=True))
    lists = [list(row) for row in rows]
    lists[3][0] = without_ids(lists[3][0])
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"data": row}) + "\n" for row in lists))
    import_session("openai", [str(path)], tmp_path / "out", skip_bad=True)
    assert completions(tmp_path / "out") == expected([1])


@pytest.mark.parametrize("bad", [TORN, "5", '{"a": 1}'])
def test_whole_answers_lose_nothing_by_a_bad_line(bad: str, tmp_path: Path) -> None:
    answers: list[Any] = [made.chat(made.draw(seed)) for seed in range(3)]
    texts = [json.dumps(one) for one in answers]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([texts[0], bad, *texts[1:]]) + "\n")
    import_session("openai", [str(path)], tmp_path / "out", skip_bad=True)
    assert completions(tmp_path / "out") == expected([0, 1, 2])


def test_an_answer_that_had_ended_keeps_what_it_has(tmp_path: Path) -> None:
    """Behind its end stands the usage, which may be what was left out."""
    chunks: list[Chunk | str] = [*chat(0), *chat(1)]
    chunks[len(chat(0)) - 1] = TORN
    file = written(tmp_path / "a.txt", chunks)
    import_session("openai", [file], tmp_path / "out", skip_bad=True)
    assert completions(tmp_path / "out") == expected([0, 1])


def cumulative(seed: int) -> list[Chunk]:
    """Of a server that sends everything so far in each chunk."""
    chunks = sglang(seed)
    names = ("output_token_logprobs", "output_top_logprobs")
    for before, chunk in itertools.pairwise(chunks):
        meta = chunk["meta_info"]
        for name in names:
            if name in meta:
                meta[name] = before["meta_info"][name] + meta[name]
        chunk["output_ids"] = before["output_ids"] + chunk["output_ids"]
    return chunks


@pytest.mark.parametrize("form", ["chat", "sglang", "llamacpp", "cumulative"])
def test_an_answer_is_kept_where_its_server_counted_as_many_tokens(
    form: str, tmp_path: Path
) -> None:
    chunks: list[Chunk | str] = [*{**FORMS, "cumulative": cumulative}[form](0)]
    for at in range(1, len(chunks) - 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        file = written(folder / "a.txt", [*chunks[:at], TORN, *chunks[at:]])
        import_session("openai", [file], folder / "out", skip_bad=True)
        assert completions(folder / "out") == expected([0])
        if form == "cumulative":
            file = written(folder / "b.txt", [*chunks[:at], TORN, *chunks[at + 1 :]])
            import_session("openai", [file], folder / "out-b", skip_bad=True)
            assert completions(folder / "out-b") == expected([0])


def continuous(seed: int) -> list[Chunk]:
    """Of a server that counts in each chunk the tokens so far."""
    chunks = completion(seed)
    sampled = 0
    for chunk in chunks:
        for choice in chunk["choices"]:
            sampled += len(choice["token_ids"])
        chunk["usage"] = {"completion_tokens": sampled}
    return chunks


def test_a_count_of_the_tokens_so_far_does_not_make_an_answer_whole(
    tmp_path: Path,
) -> None:
    chunks: list[Chunk | str] = [*continuous(0)]
    cut = written(tmp_path / "cut.txt", chunks[:4])
    notes = import_session("openai", [cut], tmp_path / "a")
    assert any("1 streamed answer of cut.txt has no end" in note for note in notes)
    other: list[Chunk | str] = [*continuous(1)]
    torn = written(tmp_path / "torn.txt", [*chunks[:4], TORN, *other])
    notes = import_session("openai", [torn], tmp_path / "b", skip_bad=True)
    assert completions(tmp_path / "b") == expected([1])
    whole = written(tmp_path / "whole.txt", chunks)
    notes = import_session("openai", [whole], tmp_path / "c")
    assert completions(tmp_path / "c") == expected([0])
    assert not any("has no end" in note for note in notes)


def test_a_null_for_the_prompt_begins_no_answer(tmp_path: Path) -> None:
    """vLLM writes the key of the prompt's ids in each chunk of a completion."""
    first: list[Chunk | str] = [*completion(0)]
    second: list[Chunk | str] = [*completion(1)]
    torn = written(tmp_path / "torn.txt", [*first, TORN, *second[1:]])
    notes = import_session("openai", [torn], tmp_path / "a", skip_bad=True)
    assert completions(tmp_path / "a") == expected([0])
    assert any("left out 1 streamed answer" in note for note in notes)


@pytest.mark.parametrize("form", FORMS)
def test_a_stream_that_ends_between_two_chunks_is_told(
    form: str, tmp_path: Path
) -> None:
    chunks: list[Chunk | str] = [*FORMS[form](0)]
    whole = written(tmp_path / "whole.txt", chunks)
    notes = import_session("openai", [whole], tmp_path / "a")
    assert not any("has no end" in note for note in notes)
    cut = written(tmp_path / "cut.txt", chunks[:4])
    notes = import_session("openai", [cut], tmp_path / "b")
    assert any("1 streamed answer of cut.txt has no end" in note for note in notes)


@pytest.mark.parametrize("end", range(1, NEW + 1))
def test_answers_of_one_slot_are_two_where_the_first_broke_off(
    end: int, tmp_path: Path
) -> None:
    """llama.cpp has no id of an answer, but counts its tokens."""
    first, second = llamacpp(0), [{**one, "id_slot": 0} for one in llamacpp(1)]
    file = written(tmp_path / "a.txt", [*first[:end], *second])
    import_session("openai", [file], tmp_path / "out")
    broken_off, whole = expected([0, 1])
    assert completions(tmp_path / "out") == [broken_off[:end], whole]
