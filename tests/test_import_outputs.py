"""Outputs of engines that were called from Python, packed lists, and lines of a script:
each number comes back at its token, and what does not is refused in one line.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session
from tests import made_recordings as made
from tests.made_recordings import Drawn, draw

SIZES = [(1, 1), (1, 9), (6, 1), (5, 7)]
"""Tokens of prompt and completion."""
Form = Callable[[Drawn], Any]


def imported(
    tmp_path: Path, form: Form, *drawn: Drawn, array: bool = False
) -> tuple[Session, tuple[str, ...], str]:
    """The session of one file of answers, its notes and the format that was guessed."""
    answers = [form(one) for one in drawn]
    path = tmp_path / "dump.jsonl"
    if array:
        path.write_text(json.dumps(answers, indent=1))
    else:
        made.lines(path, answers)
    name = guess_format(path)
    notes = import_session(name, [str(path)], tmp_path / "out")
    return open_session(tmp_path / "out"), notes, name


def holds(session: Session, drawn: list[Drawn], first: int | None) -> None:
    """All numbers from the token ``first`` on (None: the prompt's end), and no
    others.
    """
    capture = session.capture("dump/recorded")
    assert session.sequences.token_ids.tolist() == [i for one in drawn for i in one.ids]
    assert session.sequences.prompt_lengths.tolist() == [one.prompt for one in drawn]
    wanted: list[float] = []
    for one in drawn:
        begin = one.prompt if first is None else first
        for at, value in enumerate(one.logprobs):
            is_scored = at >= begin and value is not None
            wanted.append(value if is_scored and value is not None else np.nan)
    numbers = np.asarray(wanted, np.float32)
    np.testing.assert_array_equal(capture.logprob.whole(), numbers)


def lists_hold(session: Session, drawn: list[Drawn], first: int | None) -> None:
    capture = session.capture("dump/recorded")
    ids = capture.top_ids.whole()
    at = 0
    for one in drawn:
        begin = one.prompt if first is None else first
        for place, row in enumerate(one.tops):
            wanted = [token for token, _ in row] if place >= max(begin, 1) else []
            assert [int(i) for i in ids[at] if i >= 0] == wanted
            at += 1


@pytest.mark.parametrize(("prompt", "new"), SIZES)
@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(made.request_output, id="vllm"),
        pytest.param(lambda d: made.request_output(d, is_flat=True), id="vllm-flat"),
        pytest.param(made.tensorrt_output, id="tensorrt-llm"),
    ],
)
def test_an_offline_engines_outputs_are_read(
    tmp_path: Path, form: Form, prompt: int, new: int, array: bool
) -> None:
    drawn = [draw(seed, prompt, new) for seed in range(3)]
    session, _, name = imported(tmp_path, form, *drawn, array=array)
    assert name == "vllm"
    # A lone token behind a prompt that was scored is what every scorer samples.
    if new == 1 and prompt > 1:
        assert session.sequences.token_ids.tolist() == [
            i for one in drawn for i in one.ids[:prompt]
        ]
        return
    holds(session, drawn, first=1)
    lists_hold(session, drawn, first=1)
    engine = "tensorrt-llm" if form is made.tensorrt_output else "vllm"
    assert [info.engine for info in session.captures] == [engine]


def test_a_request_whose_prompt_was_not_scored_has_its_completion(
    tmp_path: Path,
) -> None:
    drawn = [draw(seed) for seed in range(3)]
    form = lambda d: made.request_output(d, scores_prompt=False)  # noqa: E731
    session, notes, _ = imported(tmp_path, form, *drawn)
    holds(session, drawn, first=None)
    lists_hold(session, drawn, first=None)
    assert notes == ()


def test_plain_numbers_and_objects_of_numbers_are_read(tmp_path: Path) -> None:
    def plain(drawn: Drawn) -> Any:
        answer = made.request_output(drawn, scores_prompt=False)
        answer["outputs"][0]["logprobs"] = drawn.logprobs[drawn.prompt :]
        return answer

    def by_number(drawn: Drawn) -> Any:
        answer = made.request_output(drawn, scores_prompt=False)
        answer["outputs"][0]["logprobs"] = [
            {token: body["logprob"] for token, body in entry.items()}
            for entry in answer["outputs"][0]["logprobs"]
        ]
        return answer

    drawn = [draw(seed) for seed in range(2)]
    for folder, form in (("a", plain), ("b", by_number)):
        (tmp_path / folder).mkdir()
        session, _, _ = imported(tmp_path / folder, form, *drawn)
        holds(session, drawn, first=None)


def test_several_outputs_of_one_request_are_sequences_of_their_own(
    tmp_path: Path,
) -> None:
    one, other = draw(1), draw(2)
    answer = made.request_output(one, scores_prompt=False)
    second = made.request_output(other, scores_prompt=False)["outputs"][0]
    answer["outputs"].append({**second, "index": 1})
    session, _, _ = imported(tmp_path, lambda _: answer, one)
    prompt = one.ids[: one.prompt]
    assert session.sequences.token_ids.tolist() == [
        *one.ids,
        *prompt,
        *other.new,
    ]


def test_an_offline_engine_scores_what_a_server_generated(tmp_path: Path) -> None:
    def scored(drawn: Drawn) -> Any:
        whole = Drawn(
            ids=[*drawn.ids, 34],
            prompt=len(drawn.ids),
            logprobs=[*drawn.logprobs, -0.5],
            tops=[*drawn.tops, [(34, -0.5)]],
            ranks=[*drawn.ranks, 1],
        )
        return made.request_output(whole)

    drawn = [draw(seed) for seed in range(3)]
    files = [
        f"vllm/decode={made.lines(tmp_path / 'gen.jsonl', map(made.chat, drawn))}",
        f"own/prefill={made.lines(tmp_path / 'own.jsonl', map(scored, drawn[::-1]))}",
    ]
    import_session("vllm", files, tmp_path / "out")
    session = open_session(tmp_path / "out")
    assert session.sequences.prompt_lengths.tolist() == [one.prompt for one in drawn]
    numbers = [v for one in drawn for v in one.logprobs]
    np.testing.assert_array_equal(
        session.capture("own/prefill").logprob.whole(),
        np.asarray([np.nan if v is None else v for v in numbers], np.float32),
    )


@pytest.mark.parametrize(("prompt", "new"), SIZES)
def test_lines_of_the_compare_script_are_read(
    tmp_path: Path, prompt: int, new: int
) -> None:
    drawn = [draw(seed, prompt, new) for seed in range(3)]
    session, _, name = imported(tmp_path, made.compare_script, *drawn)
    assert name == "engine-outputs"
    holds(session, drawn, first=None)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_packed_lists_are_read_whole_and_streamed(tmp_path: Path, size: int) -> None:
    drawn = draw(3, 5, 7)

    def pack(at: range, choice: dict[str, Any]) -> None:
        logprobs = choice["logprobs"]
        logprobs["top_logprobs"] = []
        logprobs["packed_top_logprobs"] = made.packed(drawn, at)

    behind = range(drawn.prompt, len(drawn.ids))
    if size == 0:
        whole = made.answer(
            drawn,
            {
                "logprobs": made.completion_lists(drawn, behind),
                "token_ids": drawn.new,
                "prompt_token_ids": drawn.ids[: drawn.prompt],
            },
        )
        pack(behind, whole["choices"][0])
        answers = [whole]
    else:
        answers = made.completion_chunks(drawn, size)
        for index, chunk in enumerate(answers):
            begin = drawn.prompt + index * size
            pack(range(begin, min(begin + size, behind.stop)), chunk["choices"][0])
    path = made.lines(tmp_path / "dump.jsonl", answers)
    import_session("openai", [str(path)], tmp_path / "out")
    session = open_session(tmp_path / "out")
    holds(session, [drawn], first=None)
    lists_hold(session, [drawn], first=None)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_vllms_token_in_token_out_answers_are_read_whole_and_streamed(
    tmp_path: Path, size: int
) -> None:
    drawn = [draw(seed, 5, 7) for seed in (3, 4)]
    streams = [made.token_chunks(one, size, f"r{one.ids[0]}") for one in drawn]
    # Two clients at once: their chunks alternate.
    chunks = [chunk for both in zip(*streams, strict=True) for chunk in both]
    path = made.lines(tmp_path / "dump.jsonl", chunks)
    assert guess_format(path) == "openai"
    import_session("openai", [str(path)], tmp_path / "out")
    session = open_session(tmp_path / "out")
    holds(session, drawn, first=None)
    capture = session.capture("dump/recorded")
    ranks = [rank or 0 for one in drawn for rank in [None] * 5 + one.ranks[5:]]
    assert capture.rank.whole().tolist() == ranks
    assert capture.versions is not None
    assert capture.versions.whole().tolist() == ([-1] * 5 + [0] + [-1] * 6) * 2


def test_versions_of_the_weights_in_vllms_outputs_are_kept(tmp_path: Path) -> None:
    def spans(drawn: Drawn) -> Any:
        answer = made.request_output(drawn, scores_prompt=False)
        answer["outputs"][0]["weight_versions"] = [
            {"version": "7", "start": 0, "end": 3},
            {"version": "8", "start": 3, "end": 7},
        ]
        return answer

    session, _, _ = imported(tmp_path, spans, draw(1))
    versions = session.capture("dump/recorded").versions
    assert versions is not None
    assert versions.whole().tolist() == [-1] * 5 + [0] * 3 + [1] * 4


@pytest.mark.parametrize("where", ["message", "choice", "output_ids"])
def test_ids_that_lmdeploy_returns_are_read(tmp_path: Path, where: str) -> None:
    def lmdeploy(drawn: Drawn) -> Any:
        answer = made.chat(drawn, by_id=False, prompt_ids=False)
        choice = answer["choices"][0]
        del choice["token_ids"], answer["system_fingerprint"]
        if where == "message":
            choice["message"]["gen_tokens"] = drawn.new
        elif where == "choice":
            choice["gen_tokens"] = drawn.new
        else:
            choice["output_ids"] = drawn.new
        return answer

    drawn = [draw(seed) for seed in range(2)]
    session, _, _ = imported(tmp_path, lmdeploy, *drawn)
    assert session.sequences.token_ids.tolist() == [i for one in drawn for i in one.new]


def test_lmdeploys_own_answers_are_read_and_not_taken_for_sglangs(
    tmp_path: Path,
) -> None:
    drawn = draw(2)
    answer = {
        "text": "...",
        "output_ids": drawn.new,
        "meta_info": {
            "prompt_tokens": drawn.prompt,
            "finish_reason": {"type": "length"},
            "output_token_logprobs": [
                [drawn.logprobs[i], drawn.ids[i]]
                for i in range(drawn.prompt, len(drawn.ids))
            ],
        },
    }
    session, _, _ = imported(tmp_path, lambda _: answer, drawn)
    assert session.sequences.token_ids.tolist() == drawn.new
    assert [info.engine for info in session.captures] == ["unknown"]


def test_answers_without_ids_are_refused_with_what_to_ask(tmp_path: Path) -> None:
    def text_alone(drawn: Drawn) -> Any:
        answer = made.chat(drawn, by_id=False, prompt_ids=False)
        del answer["choices"][0]["token_ids"]
        return answer

    with pytest.raises(InputError, match=r"choices\[0\]: no token ids: ask"):
        imported(tmp_path, text_alone, draw(1))


@pytest.mark.parametrize("key", ["probs", "completion_probabilities"])
def test_both_names_of_llamacpps_list_are_read(tmp_path: Path, key: str) -> None:
    def native(drawn: Drawn) -> Any:
        answer = made.llamacpp_native(drawn)
        answer[key] = answer.pop("completion_probabilities")
        return answer

    drawn = [draw(seed) for seed in range(2)]
    session, _, name = imported(tmp_path, native, *drawn)
    assert name == "openai"
    assert session.sequences.token_ids.tolist() == [i for one in drawn for i in one.new]


def test_zeros_that_llamacpp_writes_with_a_draft_model_are_said(tmp_path: Path) -> None:
    def zeros(drawn: Drawn) -> Any:
        answer = made.llamacpp_native(drawn)
        for entry in answer["completion_probabilities"]:
            entry["logprob"] = 0.0
        return answer

    _, notes, _ = imported(tmp_path, zeros, draw(1), draw(2))
    assert [note for note in notes if note.startswith("2 answers of dump have exactly")]


def edited(form: Form, change: Callable[[Any], None]) -> Form:
    """The form with one thing changed in the answer of seed 7."""

    def made_and_changed(drawn: Drawn) -> Any:
        answer = copy.deepcopy(form(drawn))
        if drawn.ids == draw(7).ids:
            change(answer)
        return answer

    return made_and_changed


def _of(key: str, value: Any) -> Callable[[Any], None]:
    return lambda answer: answer["outputs"][0].update({key: value})


@pytest.mark.parametrize(
    ("form", "change", "said"),
    [
        (made.request_output, _of("logprobs", []), None),
        (
            made.request_output,
            lambda a: (a.update(prompt_logprobs=None), _of("logprobs", None)(a)),
            "outputs[0]: has no log-probabilities: ask with SamplingParams",
        ),
        (
            made.request_output,
            lambda a: a["outputs"][0]["logprobs"].pop(),
            "logprobs has 6 entries for 7 token ids",
        ),
        (
            made.request_output,
            lambda a: a["outputs"][0]["logprobs"][2].update(x={"rank": 1}),
            "logprobs is not one object of log-probabilities a token",
        ),
        (
            made.request_output,
            _of("logprobs", {"token_ids": [1]}),
            "logprobs is neither a list nor an object of start_indices",
        ),
        (
            made.request_output,
            _of("token_ids", [1, -1, 2, 3, 4, 5, 6]),
            "token_ids[1] is -1",
        ),
        (
            made.request_output,
            lambda a: a.update(prompt_token_ids=None),
            "prompt_logprobs without prompt_token_ids",
        ),
        (
            made.tensorrt_output,
            _of("prompt_logprobs", [-0.5, -0.25, -0.5, -0.5, -1.0]),
            "prompt_logprobs are plain numbers",
        ),
        (
            made.request_output,
            lambda a: a["outputs"].insert(1, 5),
            "outputs[1] is not an object",
        ),
        (
            lambda d: made.request_output(d, is_flat=True),
            lambda a: a["outputs"][0]["logprobs"]["ranks"].clear(),
            "logprobs is not vLLM's FlatLogprobs: IndexError",
        ),
        (
            made.compare_script,
            lambda a: a["gen_logprobs"].pop(),
            "gen_logprobs has 6 entries for 7 token ids",
        ),
        (
            made.compare_script,
            lambda a: a.update(gen_logprobs="-0.5"),
            "gen_logprobs is not a list: give one number for each of gen_ids",
        ),
        (
            made.compare_script,
            lambda a: a["gen_logprobs"].__setitem__(1, 0.7),
            "logprob[6] is 0.7: a log-probability is at most 0",
        ),
        (
            made.compare_script,
            lambda a: a["gen_ids"].__setitem__(0, "a"),
            "gen_ids[0] is 'a': give an id",
        ),
        (
            made.compare_script,
            lambda a: a.pop("prompt_ids"),
            "prompt_ids is not a list with at least one id",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, form: Form, change: Callable[[Any], None], said: str | None
) -> None:
    def attempt() -> None:
        imported(tmp_path, edited(form, change), draw(3), draw(7))

    if said is None:
        attempt()
        return
    with pytest.raises(InputError) as caught:
        attempt()
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'dump.jsonl'} line 2: ")
    assert said in message and "\n" not in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(token_ids_b64="not base64!"),
        lambda p: p.update(shape=[2, 9]),
        lambda p: p.update(logprobs_dtype="<f2"),
        lambda p: p.pop("shape"),
        lambda p: p.update(shape=[1, 3], token_ids_b64="AAAAAAAAAAAAAAAA"),
    ],
)
def test_a_broken_packed_list_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[Any], None]
) -> None:
    drawn = draw(3, 5, 7)
    behind = range(drawn.prompt, len(drawn.ids))
    lists = made.completion_lists(drawn, behind)
    lists["packed_top_logprobs"] = made.packed(drawn, behind)
    change(lists["packed_top_logprobs"])
    answer = made.answer(drawn, {"logprobs": lists, "token_ids": drawn.new})
    path = made.lines(tmp_path / "dump.jsonl", [answer])
    with pytest.raises(InputError, match="logprobs is not OpenAI's") as caught:
        import_session("openai", [str(path)], tmp_path / "out")
    assert "\n" not in str(caught.value)
