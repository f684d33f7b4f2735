"""Answers of servers in every form they are saved in: each number comes back at its
token, and what does not is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session
from tests import made_recordings as made
from tests.common import Fields
from tests.made_recordings import Drawn, draw

SIZES = [(1, 1), (1, 9), (6, 1), (5, 7)]
"""Tokens of prompt and completion."""


def imported(
    tmp_path: Path, *files: str, format_name: str = "openai"
) -> tuple[Session, tuple[str, ...]]:
    notes = import_session(format_name, files, tmp_path / "out")
    return open_session(tmp_path / "out"), notes


def holds(
    session: Session,
    label: str,
    drawn: Sequence[Drawn],
    first: int | None,
    lists: str = "whole",
) -> None:
    """The capture has each sequence's numbers from its token ``first`` on (None: its
    prompt's end), and no others.

    ``lists`` is how many alternatives are there: the whole list, none, or those that
    vLLM's chat has.
    """
    capture = session.capture(label)
    assert session.sequences.token_ids.tolist() == [i for one in drawn for i in one.ids]
    wanted: list[float | None] = []
    tops: list[list[made.Entry]] = []
    for one in drawn:
        begin = one.prompt if first is None else first
        wanted += [v if at >= begin else None for at, v in enumerate(one.logprobs)]
        for at, row in enumerate(one.tops):
            beyond = bool(row) and one.ids[at] not in [i for i, _ in row]
            if at < begin or lists == "none":
                tops.append([])
            else:
                tops.append(row[:-1] if beyond and lists == "chat" else row)
    numbers = np.asarray([np.nan if v is None else v for v in wanted], np.float32)
    np.testing.assert_array_equal(capture.logprob.whole(), numbers)
    found = [
        [(int(i), float(v)) for i, v in zip(ids, values, strict=True) if i >= 0]
        for ids, values in zip(
            capture.top_ids.whole(), capture.top_logprobs.whole(), strict=True
        )
    ]
    assert found == tops


def bounds(session: Session, drawn: Sequence[Drawn]) -> None:
    assert session.sequences.prompt_lengths.tolist() == [one.prompt for one in drawn]


# ---- one server generates, another scores the same ids


@pytest.mark.parametrize(("prompt", "new"), SIZES)
@pytest.mark.parametrize(
    "scoring",
    [
        pytest.param(lambda d: made.echo(d, 0), id="echo-0"),
        pytest.param(lambda d: made.echo(d, 1), id="echo-1"),
        pytest.param(lambda d: made.echo(d, 16), id="echo-16"),
        pytest.param(lambda d: made.echo(d, 0, ids=False), id="echo-0-without-ids"),
        pytest.param(lambda d: made.echo(d, 1, ids=False), id="echo-1-without-ids"),
        pytest.param(made.scored_prompt, id="prompt_logprobs"),
        pytest.param(
            lambda d: made.scored_prompt(d, ids=False), id="prompt_logprobs-without-ids"
        ),
        pytest.param(
            lambda d: {**made.scored_prompt(d), "object": "chat.completion"},
            id="prompt_logprobs-of-a-chat",
        ),
    ],
)
@pytest.mark.parametrize("first", ["generated", "scored"])
def test_what_one_server_generated_another_one_scores(
    tmp_path: Path, prompt: int, new: int, scoring: Callable[[Drawn], Any], first: str
) -> None:
    drawn = [draw(seed, prompt, new) for seed in range(3)]
    files = [
        f"vllm/decode={made.lines(tmp_path / 'gen.jsonl', map(made.chat, drawn))}",
        f"other/prefill={made.lines(tmp_path / 'scored.jsonl', map(scoring, drawn))}",
    ]
    session, _ = imported(tmp_path, *(files if first == "generated" else files[::-1]))
    bounds(session, drawn)
    holds(session, "vllm/decode", drawn, None, lists="chat")
    holds(session, "other/prefill", drawn, 1)
    assert session.manifest.title.endswith(
        "gen.jsonl, scored.jsonl" if first == "generated" else "scored.jsonl, gen.jsonl"
    )


def test_ranks_of_prompt_logprobs_are_kept(tmp_path: Path) -> None:
    drawn = [draw(seed) for seed in range(4)]
    session, _ = imported(
        tmp_path, str(made.lines(tmp_path / "a.jsonl", map(made.scored_prompt, drawn)))
    )
    wanted = [rank or 0 for one in drawn for rank in one.ranks]
    assert (
        session.capture("a/recorded").rank.whole().tolist() == wanted
        and max(wanted) > 40
    )
    facts = session.manifest.capture("a/recorded").facts
    assert facts is not None
    assert (facts.engine, facts.engine_version, facts.rank_counts, facts.told) == (
        "vllm",
        "0.32.0",
        "inclusive",
        (),
    )


def test_scores_alone_do_not_say_where_the_prompt_ends(tmp_path: Path) -> None:
    drawn = [draw(seed) for seed in range(2)]
    session, notes = imported(
        tmp_path,
        str(made.lines(tmp_path / "a.jsonl", [made.echo(d, 1) for d in drawn])),
    )
    holds(session, "a/recorded", drawn, 1)
    assert session.sequences.prompt_lengths.tolist() == [0, 0]
    assert any("do not say where the prompt ends" in note for note in notes)
    assert any("sampled behind it is left out" in note for note in notes)


def test_prompt_logprobs_alone_do_not_name_the_first_id(tmp_path: Path) -> None:
    one = draw(1)
    file = made.lines(tmp_path / "a.jsonl", [made.scored_prompt(one, ids=False)])
    session, notes = imported(tmp_path, str(file))
    assert session.sequences.token_ids.tolist() == one.ids[1:]
    numbers = np.asarray(one.logprobs[1:], np.float32)
    np.testing.assert_array_equal(
        session.capture("a/recorded").logprob.whole(), numbers
    )
    assert any("begins with its second token" in note for note in notes)


@pytest.mark.parametrize("max_tokens", [2, 5])
def test_an_answer_that_echoes_and_generates_keeps_both_unless_its_path_has_only_one(
    tmp_path: Path, max_tokens: int
) -> None:
    one = draw(3, 4, 6)
    file = made.lines(tmp_path / "a.jsonl", [made.echo(one, max_tokens)])
    longer = one.ids + list(range(77, 77 + max_tokens))
    for name, ids, scores in (
        ("x", longer, 9 + max_tokens),
        ("x/prefill", one.ids, 9),
        ("x/decode", longer, max_tokens),
    ):
        out = tmp_path / name.replace("/", "-")
        notes = import_session("openai", [f"{name}={file}"], out)
        session = open_session(out)
        assert session.sequences.token_ids.tolist() == ids
        label = session.captures[0].label
        assert int((~np.isnan(session.capture(label).logprob.whole())).sum()) == scores
        assert bool(notes) == (name != "x"), "what the path has not is said"


# ---- streams, batches, arrays


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize("write", [made.lines, made.events], ids=["lines", "events"])
@pytest.mark.parametrize(
    "chunks", [made.chat_chunks, made.completion_chunks], ids=["chat", "completion"]
)
def test_the_chunks_of_a_stream_are_one_sequence(
    tmp_path: Path,
    size: int,
    write: Callable[..., Path],
    chunks: Callable[..., list[Any]],
) -> None:
    drawn = [draw(seed, 3, 5 + seed) for seed in range(3)]
    file = write(
        tmp_path / "stream.txt", [chunk for one in drawn for chunk in chunks(one, size)]
    )
    assert guess_format(file) == "openai"
    session, notes = imported(tmp_path, str(file))
    assert not any("has no end" in note for note in notes)
    bounds(session, drawn)
    holds(
        session,
        "stream/recorded",
        drawn,
        None,
        lists="chat" if chunks is made.chat_chunks else "whole",
    )


def test_choices_of_a_stream_that_alternate_are_told_apart(tmp_path: Path) -> None:
    a, b = draw(1, 3, 6), draw(2, 3, 4)
    b = Drawn(a.ids[:3] + b.ids[3:], 3, b.logprobs, b.tops, b.ranks)
    both = [made.chat_chunks(one, index=index) for index, one in enumerate((a, b))]
    mixed = [
        chunk for at in range(8) for chunks in both for chunk in chunks[at : at + 1]
    ]
    session, _ = imported(tmp_path, str(made.events(tmp_path / "stream.txt", mixed)))
    bounds(session, (a, b))
    holds(session, "stream/recorded", (a, b), None, lists="chat")


def test_streams_of_concurrent_clients_are_told_apart_by_their_id(
    tmp_path: Path,
) -> None:
    a, b = draw(1), draw(2)
    both = [made.chat_chunks(a, answer_id="x"), made.chat_chunks(b, answer_id="y")]
    mixed = [chunk for pair in zip(*both, strict=True) for chunk in pair]
    session, _ = imported(tmp_path, str(made.lines(tmp_path / "stream.jsonl", mixed)))
    holds(session, "stream/recorded", (a, b), None, lists="chat")


def test_a_stream_that_broke_off_is_kept_as_far_as_it_goes(tmp_path: Path) -> None:
    one = draw(1, 4, 9)
    file = made.events(tmp_path / "stream.txt", made.chat_chunks(one)[:4])
    session, notes = imported(tmp_path, str(file))
    assert (
        "1 streamed answer of stream.txt has no end: tokens may be missing there"
        in (notes)
    )
    cut = Drawn(one.ids[:7], 4, one.logprobs[:7], one.tops[:7], one.ranks[:7])
    holds(session, "stream/recorded", [cut], None, lists="chat")


def batch(drawn: Sequence[Drawn]) -> list[Any]:
    return [
        {
            "id": f"r-{i}",
            "custom_id": f"c-{i}",
            "response": {"status_code": 200, "body": made.chat(one)},
            "error": None,
        }
        for i, one in enumerate(drawn)
    ]


def two_lists(drawn: Sequence[Drawn]) -> Fields:
    """As a script with one list for each of its servers writes them."""
    answers = [made.chat(one) for one in drawn]
    half = len(answers) // 2
    return {"responses": answers[:half], "n": len(answers), "results": answers[half:]}


WRAPPED: dict[str, Callable[[Path, Sequence[Drawn]], Path]] = {
    "lines": lambda path, drawn: made.lines(path, map(made.chat, drawn)),
    "array": lambda path, drawn: _text(
        path, json.dumps([made.chat(one) for one in drawn])
    ),
    "array-over-lines": lambda path, drawn: _text(
        path, json.dumps([made.chat(one) for one in drawn], indent=1)
    ),
    "batch": lambda path, drawn: made.lines(path, batch(drawn)),
    "batch-array": lambda path, drawn: _text(path, json.dumps(batch(drawn))),
    "request-and-response": lambda path, drawn: made.lines(
        path, [{"request": {"model": "m"}, "response": made.chat(one)} for one in drawn]
    ),
    "under-a-key": lambda path, drawn: _text(
        path, json.dumps({"responses": [made.chat(one) for one in drawn]})
    ),
    "under-two-keys": lambda path, drawn: _text(path, json.dumps(two_lists(drawn))),
    "under-two-keys-over-lines": lambda path, drawn: _text(
        path, json.dumps(two_lists(drawn), indent=1)
    ),
    "two-keys-a-line": lambda path, drawn: made.lines(
        path, [{"id": "all"} | two_lists(drawn)]
    ),
    "arrays-a-line": lambda path, drawn: made.lines(
        path, [[made.chat(one)] for one in drawn]
    ),
}


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("count", [1, 4])
def test_answers_are_read_out_of_what_is_around_them(
    tmp_path: Path, kind: str, count: int
) -> None:
    drawn = [draw(seed) for seed in range(count)]
    file = WRAPPED[kind](tmp_path / "a.json", drawn)
    assert guess_format(file) == "openai"
    session, notes = imported(tmp_path, str(file))
    bounds(session, drawn)
    holds(session, "a/recorded", drawn, None, lists="chat")
    assert notes == ()


def test_requests_of_a_batch_that_failed_are_counted(tmp_path: Path) -> None:
    drawn = [draw(1), draw(2)]
    failed = {
        "custom_id": "x",
        "response": {"status_code": 400, "body": {"error": {"message": "too long"}}},
    }
    file = made.lines(
        tmp_path / "a.jsonl", [failed, *batch(drawn), {"error": {"message": "gone"}}]
    )
    session, notes = imported(tmp_path, str(file))
    holds(session, "a/recorded", drawn, None, lists="chat")
    assert notes == ("2 requests of a.jsonl failed and have no answer",)


@pytest.mark.parametrize("count", [2, 5])
def test_files_in_another_order_are_joined_by_ids_and_that_is_said(
    tmp_path: Path, count: int
) -> None:
    drawn = [draw(seed) for seed in range(count)]
    drawn[0] = drawn[-1]  # sampled twice alike: still two sequences
    a = made.lines(tmp_path / "a.jsonl", map(made.chat, drawn))
    b = made.lines(
        tmp_path / "b.jsonl", [made.echo(one, 1) for one in [*drawn[1:], drawn[0]]]
    )
    session, notes = imported(tmp_path, f"a={a}", f"b={b}")
    holds(session, "a/recorded", drawn, None, lists="chat")
    holds(session, "b/recorded", drawn, 1)
    said = (
        "b.jsonl has its answers in another order than a.jsonl: they are joined by"
        " their token ids"
    )
    assert (said in notes) == (count > 2), "two that are alike need no order"


def test_an_answer_that_no_other_file_has_is_refused(tmp_path: Path) -> None:
    a = made.lines(tmp_path / "a.jsonl", [made.chat(draw(1)), made.chat(draw(2))])
    b = made.lines(tmp_path / "b.jsonl", [made.chat(draw(2)), made.chat(draw(3))])
    with pytest.raises(
        InputError, match=r"its token ids are not those of .*a\.jsonl line 1"
    ):
        imported(tmp_path, f"a={a}", f"b={b}")
    assert not (tmp_path / "out").exists()


def test_two_servers_that_sampled_each_for_itself_are_not_joined_by_their_prompts(
    tmp_path: Path,
) -> None:
    one, other = draw(1, 4, 6), draw(2, 4, 6)
    other = Drawn(
        one.ids[:4] + other.ids[4:],
        4,
        one.logprobs[:4] + other.logprobs[4:],
        one.tops,
        one.ranks,
    )
    answers = []
    for drawn in (one, other):
        whole = made.chat(drawn)
        whole["prompt_logprobs"] = made.prompt_logprobs(drawn, 4)
        answers.append(whole)
    files = [
        str(made.lines(tmp_path / f"{name}.jsonl", [a]))
        for name, a in zip("ab", answers, strict=True)
    ]
    with pytest.raises(InputError, match="its token ids are not those of"):
        imported(tmp_path, *files)


# ---- what is left out is said


def test_alternatives_without_ids_and_prompts_without_ids_are_counted(
    tmp_path: Path,
) -> None:
    drawn = [draw(seed, 3, 4) for seed in range(2)]
    file = made.lines(
        tmp_path / "a.jsonl",
        [made.chat(one, by_id=False, prompt_ids=False) for one in drawn],
    )
    session, notes = imported(tmp_path, str(file))
    bare = [
        Drawn(one.new, 0, one.logprobs[3:], [[]] * 4, one.ranks[3:]) for one in drawn
    ]
    holds(session, "a/recorded", bare, 0, lists="none")
    assert [note.split(" of ")[0] for note in notes] == ["2 answers", "8 lists"]
    assert session.manifest.notes == notes
    assert session.pieces.text(drawn[0].new[0]) == f" t{drawn[0].new[0]}"


def test_an_answer_whose_scores_are_of_other_ids_is_refused(tmp_path: Path) -> None:
    whole = made.chat(draw(1))
    whole["choices"][0]["token_ids"] = [i + 1 for i in whole["choices"][0]["token_ids"]]
    with pytest.raises(
        InputError, match=r"token 0 is id \d+, and its log-probability is of id"
    ):
        imported(tmp_path, str(made.lines(tmp_path / "a.jsonl", [whole])))


def test_a_file_name_that_is_no_capture_name_becomes_one(tmp_path: Path) -> None:
    file = made.lines(tmp_path / "my answers (2).jsonl", [made.chat(draw(1))])
    session, _ = imported(tmp_path, str(file))
    assert [info.label for info in session.captures] == ["my-answers-2/recorded"]


# ---- llama.cpp


def test_llamacpps_ids_beside_each_entry_are_read(tmp_path: Path) -> None:
    drawn = [draw(seed, 3, 5) for seed in range(2)]
    bare = [
        Drawn(one.new, 0, one.logprobs[3:], one.tops[3:], one.ranks[3:])
        for one in drawn
    ]
    chat = made.lines(tmp_path / "chat.jsonl", map(made.llamacpp_chat, drawn))
    native = made.lines(tmp_path / "native.jsonl", map(made.llamacpp_native, drawn))
    assert guess_format(chat) == guess_format(native) == "openai"
    session, _ = imported(tmp_path, f"a={chat}", f"b={native}")
    holds(session, "a/recorded", bare, 0)
    holds(session, "b/recorded", bare, 0)
    facts = session.manifest.capture("b/recorded").facts
    assert facts is not None and (
        facts.decode_logprobs,
        facts.temperature,
        facts.top_k,
    ) == ("raw", 0.8, 40)


def test_llamacpps_probabilities_behind_sampling_are_logarithms_of_processed_ones(
    tmp_path: Path,
) -> None:
    one = draw(1, 3, 5)
    file = made.lines(
        tmp_path / "native.jsonl", [made.llamacpp_native(one, post_sampling=True)]
    )
    session, _ = imported(tmp_path, str(file))
    found = session.capture("native/recorded").logprob.whole()
    np.testing.assert_allclose(
        found, np.asarray(one.logprobs[3:], np.float32), rtol=1e-5
    )
    facts = session.manifest.capture("native/recorded").facts
    assert facts is not None and facts.decode_logprobs == "processed"


@pytest.mark.parametrize("size", [1, 3])
def test_a_stream_of_llamacpp_is_one_sequence(tmp_path: Path, size: int) -> None:
    drawn = [draw(seed, 3, 6) for seed in range(2)]
    chunks = []
    for one in drawn:
        whole = made.llamacpp_native(one)
        entries = whole.pop("completion_probabilities")
        for begin in range(0, 6, size):
            chunk = {
                "content": "...",
                "stop": False,
                "id_slot": 0,
                "tokens": one.new[begin : begin + size],
            }
            chunks.append(
                {**chunk, "completion_probabilities": entries[begin : begin + size]}
            )
        chunks.append(
            {**whole, "content": "", "tokens": [], "stop": True, "id_slot": 0}
        )
    file = made.events(tmp_path / "stream.txt", chunks)
    assert guess_format(file) == "openai"
    session, _ = imported(tmp_path, str(file))
    bare = [
        Drawn(one.new, 0, one.logprobs[3:], one.tops[3:], one.ranks[3:])
        for one in drawn
    ]
    holds(session, "stream/recorded", bare, 0)
    facts = session.captures[0].facts
    assert facts is not None and facts.temperature == 0.8


def test_a_release_of_llamacpp_without_ids_is_refused(tmp_path: Path) -> None:
    old = {
        "content": "a",
        "completion_probabilities": [
            {"content": "a", "probs": [{"tok_str": "a", "prob": 0.5}]}
        ],
    }
    with pytest.raises(
        InputError, match=r"no token ids: this release of llama\.cpp names texts alone"
    ):
        imported(tmp_path, str(made.lines(tmp_path / "a.jsonl", [old])))


@pytest.mark.parametrize("form", [made.sglang, made.llamacpp_native])
def test_a_list_with_an_id_twice_is_refused_in_every_form(
    tmp_path: Path, form: Callable[[Drawn], Any]
) -> None:
    one = draw(1, 3, 4)
    twice = one.tops[4][0][0]
    one.tops[4].append((twice, -9.0))
    with pytest.raises(InputError, match=rf"lists id {twice} twice"):
        imported(tmp_path, str(made.lines(tmp_path / "a.jsonl", [form(one)])))


# ---- SGLang


@pytest.mark.parametrize("name", ["openai", "sglang"])
@pytest.mark.parametrize(("prompt", "new"), [(1, 2), (6, 2), (5, 7)])
@pytest.mark.parametrize("form", ["lines", "array", "object"])
def test_sglangs_own_answers_are_read(
    tmp_path: Path, name: str, prompt: int, new: int, form: str
) -> None:
    drawn = [draw(seed, prompt, new) for seed in range(1 if form == "object" else 3)]
    whole = [made.sglang(one, text=True) for one in drawn]
    file = tmp_path / "generate.json"
    if form == "lines":
        made.lines(file, whole)
    else:
        file.write_text(json.dumps(whole[0] if form == "object" else whole, indent=1))
    assert guess_format(file) == "sglang"
    session, notes = imported(tmp_path, str(file), format_name=name)
    bounds(session, drawn)
    holds(session, "generate/recorded", drawn, 0)
    assert notes == ()
    assert session.captures[0].engine == "sglang"


def test_sglang_scores_what_vllm_generated(tmp_path: Path) -> None:
    drawn = [draw(seed, 4, 6) for seed in range(3)]
    given = [
        Drawn(
            [*one.ids, 77],
            len(one.ids),
            [*one.logprobs, -0.5],
            [*one.tops, [(77, -0.5)]],
            one.ranks,
        )
        for one in drawn
    ]
    a = made.lines(tmp_path / "gen.jsonl", map(made.chat, drawn))
    b = made.lines(tmp_path / "generate.jsonl", map(made.sglang, reversed(given)))
    session, notes = imported(
        tmp_path, f"vllm/decode={a}", f"sglang/prefill={b}", format_name="sglang"
    )
    bounds(session, drawn)
    holds(session, "vllm/decode", drawn, None, lists="chat")
    holds(session, "sglang/prefill", drawn, 1)
    assert any("another order" in note for note in notes)


def test_the_ids_of_sglangs_chat_are_read(tmp_path: Path) -> None:
    """As SGLang 0.5.23 answers ``return_token_ids``: both lists in the choice,
    alternatives by text.
    """
    drawn = [draw(seed, 4, 5) for seed in range(2)]
    answers = []
    for one in drawn:
        whole = made.chat(one, by_id=False, prompt_ids=False)
        choice = whole["choices"][0]
        choice["response_token_ids"] = choice.pop("token_ids")
        choice["prompt_token_ids"] = one.ids[: one.prompt]
        answers.append(whole)
    session, _ = imported(tmp_path, str(made.lines(tmp_path / "a.jsonl", answers)))
    bounds(session, drawn)
    holds(session, "a/recorded", drawn, None, lists="none")


def test_a_file_of_errors_alone_says_so(tmp_path: Path) -> None:
    file = made.lines(
        tmp_path / "a.jsonl", [{"object": "error", "message": "no", "code": 400}]
    )
    with pytest.raises(
        InputError, match=r"no answer in it: 1 request of a\.jsonl failed"
    ):
        imported(tmp_path, str(file))


def test_a_prompt_that_sglang_did_not_return_is_said(tmp_path: Path) -> None:
    one = draw(1, 5, 4)
    file = made.lines(tmp_path / "generate.jsonl", [made.sglang(one, start=5)])
    session, notes = imported(tmp_path, str(file), format_name="sglang")
    bare = Drawn(one.new, 0, one.logprobs[5:], one.tops[5:], one.ranks[5:])
    holds(session, "generate/recorded", [bare], 0)
    assert notes == (
        (
            "1 answer of generate does not hold the ids of its prompt: its sequence is"
            " the completion alone"
        ),
    )


@pytest.mark.parametrize("start", [0, 3, 5])
def test_prompt_ids_that_sglang_returned_go_before_the_echoed_ones(
    tmp_path: Path, start: int
) -> None:
    one = draw(1, 5, 4)
    whole = {**made.sglang(one, start=start), "prompt_token_ids": one.ids[:5]}
    for entry in whole["meta_info"]["input_token_logprobs"][1:2]:
        entry[1] = 0  # how SGLang echoes the last id of the vocabulary
    file = made.lines(tmp_path / "generate.jsonl", [whole])
    session, notes = imported(tmp_path, str(file), format_name="sglang")
    bounds(session, [one])
    holds(session, "generate/recorded", [one], start + 1 if start < 5 else 5)
    assert notes == ()


@pytest.mark.parametrize("cumulative", [True, False])
def test_a_stream_of_sglang_is_one_sequence(tmp_path: Path, cumulative: bool) -> None:
    one = draw(1, 4, 6)
    whole = made.sglang(one)
    chunks = []
    for end in range(1, 7):
        begin = 0 if cumulative else end - 1
        chunk = json.loads(json.dumps(whole))
        chunk["output_ids"] = one.new[begin:end]
        meta = chunk["meta_info"]
        for key in ("output_token_logprobs", "output_top_logprobs"):
            meta[key] = meta[key][begin:end]
        if end < 6:
            meta["finish_reason"] = None
        if end > 1:
            meta["input_token_logprobs"] = meta["input_top_logprobs"] = []
        chunks.append(chunk)
    file = made.events(tmp_path / "stream.txt", chunks)
    assert guess_format(file) == "sglang"
    session, _ = imported(tmp_path, str(file), format_name="sglang")
    bounds(session, [one])
    holds(session, "stream/recorded", [one], 0)


def test_versions_of_weights_that_sglang_wrote_are_observed(tmp_path: Path) -> None:
    for name, versions in (("one", ["7", "7"]), ("two", ["7", "8"])):
        answers = [
            made.sglang(draw(i), weight_version=version)
            for i, version in enumerate(versions)
        ]
        file = made.lines(tmp_path / f"{name}.jsonl", answers)
        import_session("sglang", [str(file)], tmp_path / f"out-{name}")
        facts = open_session(tmp_path / f"out-{name}").captures[0].facts
        assert facts is not None and facts.told == ()
        assert facts.weight_version == ("7" if name == "one" else "7,8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"input_token_logprobs": [], "output_token_logprobs": []},
            '"return_logprob": true',
        ),
        (
            {"output_token_logprobs": [[-0.5, 3, None]]},
            "output_ids are not the ids of output_token_logprobs",
        ),
        ({"output_token_logprobs": [["x", 3, None]]}, "output_ids are not"),
        ({"input_token_logprobs": [[-0.5]]}, "is not SGLang's"),
        ({"input_token_logprobs": {}}, "has no log-prob|no list|names no id|output"),
        ({"input_token_logprobs": 7}, "is not a list"),
    ],
)
def test_what_is_wrong_in_an_answer_of_sglang_is_said(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    whole = made.sglang(draw(1))
    whole["meta_info"].update(change)
    if change == {"input_token_logprobs": {}}:
        whole["meta_info"]["output_token_logprobs"] = []
    with pytest.raises(InputError, match=said):
        imported(
            tmp_path,
            str(made.lines(tmp_path / "a.jsonl", [whole])),
            format_name="sglang",
        )
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_numbers_that_are_not_read_are_named(tmp_path: Path) -> None:
    one = made.chat(draw(1))
    one["choices"][0]["routed_experts"] = "aGk="
    _, notes = imported(
        tmp_path, str(made.lines(tmp_path / "a.jsonl", [one, made.chat(draw(2))]))
    )
    assert notes == ("1 answer of a has routed_experts, which is not read",)


# ---- anything at all

JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    3.5,
    "x",
    "token_id:5",
    "",
    [],
    {},
    [None],
    [1],
    {"a": 1},
    [[]],
    float("nan"),
    10**30,
    "\x1b[2J",
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value[:4]))
    return [
        path,
        *(place for key, item in inner for place in places(item, (*path, key))),
    ]


def spoilt(answer: Any, rng: np.random.Generator) -> Any:
    """An answer with something else at one place of it."""
    copy = json.loads(json.dumps(answer))
    found = places(copy)
    *way, last = found[int(rng.integers(1, len(found)))]
    at = copy
    for key in way:
        at = at[key]
    at[last] = JUNK[int(rng.integers(len(JUNK)))]
    return copy


@pytest.mark.parametrize(
    "form",
    [
        made.chat,
        lambda d: made.echo(d, 0),
        lambda d: made.echo(d, 3, ids=False),
        made.scored_prompt,
        made.llamacpp_chat,
        made.llamacpp_native,
        made.sglang,
        lambda d: made.chat_chunks(d)[1],
        lambda d: batch([d])[0],
    ],
    ids=[
        "chat",
        "echo",
        "echo-3",
        "prompt_logprobs",
        "llama-chat",
        "llama",
        "sglang",
        "chunk",
        "batch",
    ],
)
def test_a_spoilt_answer_is_read_or_refused_in_one_line(
    tmp_path: Path, form: Callable[[Drawn], Any]
) -> None:
    rng = np.random.default_rng(7)
    refused: list[str] = []
    for count in range(60):
        file = made.lines(tmp_path / "a.jsonl", [spoilt(form(draw(count)), rng)])
        try:
            import_session(guess_format(file), [str(file)], tmp_path / f"out{count}")
        except InputError as error:
            refused.append(str(error))
    assert refused and not [said for said in refused if "\n" in said]


FAILED = {"error": {"message": "queue is full"}, "status_code": 503}
MIXED: dict[str, Callable[[list[Fields]], Fields]] = {
    "failed-first": lambda ok: {"results": [ok[0]], "answers": [FAILED, *ok[1:]]},
    "failed-alone": lambda ok: {"results": ok, "answers": [FAILED]},
    "batch-of-failed-and-good": lambda ok: {
        "results": [{"custom_id": "0", "response": None, "error": "x"}, *ok]
    },
    "one-beside-a-list": lambda ok: {"results": [*ok[1:], FAILED], "response": ok[0]},
}


@pytest.mark.parametrize("kind", MIXED)
@pytest.mark.parametrize("form", ["file", "lines-of-a-file", "line"])
def test_what_failed_hides_no_answer_beside_it(
    kind: str, form: str, tmp_path: Path
) -> None:
    drawn = [draw(seed) for seed in range(3)]
    value = MIXED[kind]([made.chat(one) for one in drawn])
    path = tmp_path / "a.json"
    if form == "line":
        made.lines(path, [value, {"id": "end", "data": [FAILED]}])
    else:
        path.write_text(json.dumps(value, indent=1 if form != "file" else None))
    session, notes = imported(tmp_path, str(path))
    assert len(session.sequences) == 3
    assert any("failed and" in note for note in notes)


def test_objects_in_objects_without_end_are_refused_in_a_line(tmp_path: Path) -> None:
    deep = '{"data": [' * 400 + "{}" + "]}" * 400
    path = tmp_path / "deep.json"
    path.write_text(f'{{"a": 1}}\n{deep}\n')
    with pytest.raises(InputError):
        imported(tmp_path, str(path))
