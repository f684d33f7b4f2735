"""Sessions from elsewhere: every format to numbers that can be checked by hand, and bad
files to one line.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.gate import judge
from logdrift.core.compare.pair import default_pair, make_pair
from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.importers.formats import format_names
from logdrift.core.session.importers.place import on_line
from logdrift.core.session.importers.training import reward_of
from logdrift.core.session.reader import open_session
from tests.common import refused
from tests.conftest import REPOSITORY
from tests.holding import held

Run = Callable[..., subprocess.CompletedProcess[str]]
SAMPLE = REPOSITORY / "sessions" / "sample-smollm2"
LINE: dict[str, Any] = {
    "token_ids": [5, 6, 7, 8],
    "prompt_length": 2,
    "tokens": ["a", " b", "é", "\n"],
    "captures": {
        "trainer": {
            "logprobs": [None, -1.0, -2.0, -9999.0],
            "engine": "megatron",
            "entropy": [1.0, 1.5],
        },
        "vllm/decode": {
            "logprobs": [-2.5, -0.25],
            "ranks": [2, 1],
            "engine": "vllm",
            "dtype": "bfloat16",
            "top_ids": [[9, 7], [8]],
            "top_logprobs": [[-1.0, -2.5], [-0.25]],
        },
    },
}
EXPORT: dict[str, Any] = {
    "schema_version": 1,
    "step": 3,
    "rank": 0,
    "token_ids": [5, 6, 7, 8, 9],
    "position_ids": [0, 1, 2, 3, 4],
    "loss_mask": [False, False, True, False, True],
    "inference_logprobs": [0.0, 0.0, -2.5, 0.0, -0.5],
    "trainer_logprobs": [-11.0, -1.0, -2.0, -3.0, None],
    "entropy": [0.0, 1.0, 1.0, 1.0, 1.0],
}


def written(path: Path, *lines: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def column(session: Any, label: str, name: str) -> list[Any]:
    found: list[Any] = getattr(session.capture(label), name).whole().tolist()
    return found


def same(found: list[float], wanted: list[float]) -> None:
    np.testing.assert_array_equal(
        np.asarray(found, np.float32), np.asarray(wanted, np.float32)
    )


def test_jsonl_becomes_a_session_with_its_numbers_at_its_tokens(tmp_path: Path) -> None:
    nan = float("nan")
    second = {**LINE, "mask": [1, 0], "finish": "stop", "model": "org/model"}
    import_session(
        "jsonl", [str(written(tmp_path / "a.jsonl", LINE, second))], tmp_path / "out"
    )
    session = open_session(tmp_path / "out")
    assert session.state == "complete"
    assert session.manifest.model.id == "org/model"
    assert session.sequences.token_ids.tolist() == [5, 6, 7, 8] * 2
    assert session.sequences.prompt_lengths.tolist() == [2, 2]
    assert session.sequences.mask.tolist() == [1, 1, 1, 1, 1, 1, 1, 0]
    same(column(session, "trainer/recorded", "logprob"), [nan, -1, -2, -np.inf] * 2)
    same(column(session, "trainer/recorded", "entropy"), [nan, nan, 1, 1.5] * 2)
    same(column(session, "vllm/decode", "logprob"), [nan, nan, -2.5, -0.25] * 2)
    assert column(session, "vllm/decode", "rank") == [0, 0, 2, 1] * 2
    assert (
        column(session, "vllm/decode", "top_ids")
        == [[-1, -1], [-1, -1], [9, 7], [8, -1]] * 2
    )
    assert [session.pieces.text(i) for i in (5, 6, 7, 8, 9)] == [
        "a",
        " b",
        "é",
        "↵",
        "<id 9>",
    ]
    pair = make_pair(session, *(default_pair(session) or ("", "")))
    assert pair.a.info.label == "trainer/recorded"
    assert pair.b.info.label == "vllm/decode"
    same(pair.delta[:4].tolist(), [nan, nan, 0.5, -np.inf])
    assert [info.engine for info in session.captures] == ["megatron", "vllm"]


def test_nothing_of_a_file_counts_as_observed(tmp_path: Path) -> None:
    import_session(
        "jsonl", [str(written(tmp_path / "a.jsonl", LINE))], tmp_path / "out"
    )
    session = open_session(tmp_path / "out")
    told = {
        info.label: info.facts.told
        for info in session.captures
        if info.facts is not None
    }
    assert told == {"trainer/recorded": ("engine",), "vllm/decode": ("dtype", "engine")}
    bare = {**LINE, "captures": {"trainer": LINE["captures"]["trainer"]["logprobs"]}}
    import_session(
        "jsonl", [str(written(tmp_path / "b.jsonl", bare))], tmp_path / "bare"
    )
    assert [info.facts for info in open_session(tmp_path / "bare").captures] == [None]
    assert judge(session, make_pair(session, "trainer", "vllm")).verdict == "caution"


def test_prime_rl_exports_of_all_ranks_become_one_session(tmp_path: Path) -> None:
    nan = float("nan")
    step = tmp_path / "step_3"
    step.mkdir()
    for rank in (0, 1):
        written(step / f"rank_{rank}.jsonl", {**EXPORT, "rank": rank})
    (step / "STABLE").touch()
    assert guess_format(step) == "prime-rl"
    import_session("prime-rl", [str(step)], tmp_path / "out")
    session = open_session(tmp_path / "out")
    assert len(session.sequences) == 2
    assert session.sequences.prompt_lengths.tolist() == [2, 2]
    assert session.sequences.mask.tolist() == [1, 1, 1, 0, 1] * 2
    # Filled in where nothing is trained on, and at the first token, by prime-rl: no
    # scores. Null: not known.
    same(
        column(session, "inference/recorded", "logprob"),
        [nan, nan, -2.5, nan, -0.5] * 2,
    )
    same(column(session, "trainer/prefill", "logprob"), [nan, -1, -2, -3, nan] * 2)
    pair = make_pair(session, *(default_pair(session) or ("", "")))
    assert pair.a.info.label == "trainer/prefill"
    assert pair.b.info.label == "inference/recorded"
    assert pair.metrics().errors.mae == pytest.approx(0.5)


def test_prime_rl_numbers_are_what_prime_rl_says_they_are(tmp_path: Path) -> None:
    """mismatch_kl = r - log r - 1 with log r = trainer - inference, over the mask: our
    k3.
    """
    import_session(
        "prime-rl", [str(written(tmp_path / "rank_0.jsonl", EXPORT))], tmp_path / "out"
    )
    session = open_session(tmp_path / "out")
    metrics = make_pair(session, *(default_pair(session) or ("", ""))).metrics()
    log_ratio = EXPORT["trainer_logprobs"][2] - EXPORT["inference_logprobs"][2]
    assert metrics.mismatch.k3 == pytest.approx(np.exp(log_ratio) - log_ratio - 1)


CHAT = {
    "model": "org/model",
    "prompt_token_ids": [1, 2],
    "choices": [
        {
            "finish_reason": "stop",
            "token_ids": [7, 8],
            "logprobs": {
                "content": [
                    {
                        "token": "é",
                        "logprob": -0.5,
                        "bytes": [195, 169],
                        "top_logprobs": [],
                    },
                    {
                        "token": "token_id:8",
                        "logprob": -9999.0,
                        "bytes": None,
                        "top_logprobs": [
                            {"token": "token_id:4", "logprob": -0.1},
                            {"token": "token_id:8", "logprob": -9999.0},
                        ],
                    },
                ]
            },
        }
    ],
}
ECHO = {
    "choices": [
        {
            "finish_reason": "length",
            "prompt_token_ids": [1, 2, 7, 8],
            "token_ids": [],
            "logprobs": {
                "tokens": ["a", "b", "c", "d"],
                "token_logprobs": [None, -1.5, -0.75, -3.0],
                "top_logprobs": None,
            },
        }
    ]
}


def test_openai_answers_become_captures_joined_by_id(tmp_path: Path) -> None:
    nan = float("nan")
    a = written(tmp_path / "a.jsonl", CHAT)
    b = tmp_path / "b.json"
    echo = json.loads(json.dumps(ECHO))
    choice = echo["choices"][0]
    choice["prompt_token_ids"], choice["token_ids"] = [1, 2], [7, 8]
    b.write_text(json.dumps(echo, indent=2))
    assert guess_format(a) == guess_format(b) == "openai"
    import_session("openai", [f"vllm/decode={a}", f"other={b}"], tmp_path / "out")
    session = open_session(tmp_path / "out")
    assert session.sequences.token_ids.tolist() == [1, 2, 7, 8]
    assert session.sequences.prompt_lengths.tolist() == [2]
    same(column(session, "vllm/decode", "logprob"), [nan, nan, -0.5, -np.inf])
    assert column(session, "vllm/decode", "top_ids")[3] == [4, 8]
    same(column(session, "other/recorded", "logprob"), [nan, -1.5, -0.75, -3.0])
    assert session.pieces.text(7) == "c", "the file named last tells the text"
    assert session.manifest.model.id == "org/model"


def test_openai_answers_without_ids_are_refused(tmp_path: Path) -> None:
    answer = {"choices": [{"logprobs": {"content": [{"token": "a", "logprob": -1.0}]}}]}
    with pytest.raises(
        InputError, match=r"choices\[0\]: no token ids: .*return_token_ids"
    ):
        import_session(
            "openai", [str(written(tmp_path / "a.json", answer))], tmp_path / "out"
        )


def test_answers_of_other_ids_are_not_joined(tmp_path: Path) -> None:
    other = json.loads(json.dumps(CHAT))
    other["choices"][0]["token_ids"] = [7, 9]
    files = [
        str(written(tmp_path / "a.jsonl", CHAT)),
        str(written(tmp_path / "b.jsonl", other)),
    ]
    with pytest.raises(
        InputError, match=r"b\.jsonl: choices\[0\]: its token ids are not those of"
    ):
        import_session("openai", files, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_session_folder_is_copied_whole(tmp_path: Path) -> None:
    assert guess_format(SAMPLE) == "session"
    import_session("session", [str(SAMPLE)], tmp_path / "out")
    theirs = open_session(SAMPLE)
    ours = open_session(tmp_path / "out")
    assert ours.manifest == theirs.manifest
    for info in theirs.captures:
        same(column(ours, info.label, "logprob"), column(theirs, info.label, "logprob"))


def test_links_of_a_session_are_not_followed(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "in")
    (tmp_path / "secret").write_text("secret")
    shutil.rmtree(tmp_path / "in" / "logs", ignore_errors=True)
    (tmp_path / "in" / "logs").mkdir()
    (tmp_path / "in" / "logs" / "x.log").symlink_to(tmp_path / "secret")
    import_session("session", [str(tmp_path / "in")], tmp_path / "out")
    assert not list((tmp_path / "out" / "logs").iterdir())


def test_a_damaged_or_unfinished_session_is_refused(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "in")
    part = next((tmp_path / "in" / "captures").rglob("part-00000.safetensors"))
    part.write_bytes(part.read_bytes()[:-4] + b"\0\1\2\3")
    with pytest.raises(InputError, match="is damaged: its digest"):
        import_session("session", [str(tmp_path / "in")], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with held(tmp_path / "in"), pytest.raises(InputError, match="is being written"):
        import_session("session", [str(tmp_path / "in")], tmp_path / "out")


def with_change(line: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**line, **changes}.items() if value != "gone"}


def captured(**changes: Any) -> dict[str, Any]:
    body = {**LINE["captures"]["vllm/decode"], **changes}
    return {
        **LINE,
        "captures": {"vllm/decode": {k: v for k, v in body.items() if v != "gone"}},
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            with_change(LINE, token_ids=[]),
            "token_ids is not a list with at least one id",
        ),
        (with_change(LINE, token_ids=[1, -2, 3, 4]), r"token_ids\[1\] is -2"),
        (
            with_change(LINE, prompt_length=9),
            "prompt_length is 9: give a number from 0 to 4",
        ),
        (with_change(LINE, captures="gone"), "captures is missing"),
        (with_change(LINE, logprob=[]), "logprob is unknown"),
        (with_change(LINE, tokens=["a"]), "tokens is not a list of 4 texts"),
        (with_change(LINE, mask=[2, 2]), "mask holds something else than 0 and 1"),
        (with_change(LINE, finish="eos"), "finish is 'eos'"),
        (
            captured(logprobs=[0.5, -1]),
            r"logprobs\[2\] is 0.5: a log-probability is at most 0",
        ),
        (
            captured(logprobs=[-1.0] * 3),
            "has 3 entries: the sequence has 4 tokens, its completion 2",
        ),
        (captured(logprobs=["x", -1]), r"logprobs\[2\] is 'x'"),
        (captured(logprobs="gone"), "logprobs is missing"),
        (captured(top_ids="gone"), "only one of top_ids and top_logprobs"),
        (captured(top_ids=[[1], [2, 3]]), "not lists of one length"),
        (captured(ranks=[-1, 1]), r"ranks\[2\] is -1"),
        (
            captured(role="boss"),
            "role 'boss' is unknown: use reference, trainer, rollout",
        ),
        (captured(logprob=[]), "logprob is unknown: did you mean 'logprobs'"),
        ({**LINE, "captures": {"../x": [None, -1, -1, -1]}}, "a name is letters"),
        (
            {**LINE, "captures": {"x/cached": [None, -1, -1, -1]}},
            "path 'cached' is unknown",
        ),
        (
            {**LINE, "captures": {"x": [-1, -1], "x/recorded": [-1, -1]}},
            "two captures are called x/recorded",
        ),
    ],
)
def test_what_is_wrong_in_a_line_is_said(
    tmp_path: Path, line: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        import_session(
            "jsonl", [str(written(tmp_path / "a.jsonl", line))], tmp_path / "out"
        )
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"], "nothing is left behind"


def test_a_capture_that_one_sequence_lacks_is_said(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", LINE, captured())
    with pytest.raises(
        InputError, match=r"a\.jsonl line 2: capture 'trainer' is not in every sequence"
    ):
        import_session("jsonl", [str(file)], tmp_path / "out")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[1]\n", b"\xff\xfe", b'{"x": 1}\n', b"[" * 100_000],
    ids=range(6),
)
@pytest.mark.parametrize("name", [name for name in format_names() if name != "session"])
def test_a_file_of_something_else_is_one_error(
    tmp_path: Path, name: str, text: bytes
) -> None:
    (tmp_path / "a").write_bytes(text)
    with pytest.raises(InputError):
        import_session(name, [str(tmp_path / "a")], tmp_path / "out")
    with pytest.raises(InputError):
        guess_format(tmp_path / "a")


def test_a_newer_schema_of_prime_rl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="schema_version is 2"):
        import_session(
            "prime-rl",
            [str(written(tmp_path / "a", {**EXPORT, "schema_version": 2}))],
            tmp_path / "out",
        )


def test_a_tokenizer_tells_the_text_of_ids(tmp_path: Path) -> None:
    tokenizer = {
        "model": {"vocab": {"Ġhé".replace("é", "Ã©"): 5, "b": 6, "Ċ": 8}},
        "decoder": {"type": "ByteLevel"},
        "added_tokens": [{"id": 7, "content": "<|end|>"}],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    import_session(
        "jsonl", [str(written(tmp_path / "a.jsonl", LINE))], tmp_path / "out", tmp_path
    )
    pieces = open_session(tmp_path / "out").pieces
    assert {i: pieces[i] for i in (5, 6, 7, 8)} == {
        5: " hé".encode(),
        6: b"b",
        7: b"<|end|>",
        8: b"\n",
    }


def test_the_sample_read_again_from_its_own_ids_has_the_same_text(
    tmp_path: Path, small_model: Path
) -> None:
    session = open_session(SAMPLE)
    line = {
        "token_ids": session.sequences.ids(3).tolist(),
        "captures": {"x": [None] * len(session.sequences.ids(3))},
    }
    import_session(
        "jsonl",
        [str(written(tmp_path / "a.jsonl", line))],
        tmp_path / "out",
        small_model,
    )
    pieces = open_session(tmp_path / "out").pieces
    assert all(pieces[i] == session.pieces[i] for i in line["token_ids"])


def test_the_command_says_what_it_made_and_refuses_in_one_line(
    tmp_path: Path, run_logdrift: Run
) -> None:
    file = written(tmp_path / "a.jsonl", LINE)
    done = run_logdrift("import", "jsonl", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "1 sequence, 4 tokens, trainer/recorded, vllm/decode" in done.stdout
    again = run_logdrift("import", "jsonl", str(file), "--out", str(tmp_path / "out"))
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "exists already: give another --out" in again.stderr
    report = run_logdrift("report", str(tmp_path / "out"))
    assert report.returncode == 0
    assert "CAUTION" in report.stdout


@pytest.mark.parametrize(
    "reward", [1e39, -1e308, 10**400], ids=["small", "large", "whole"]
)
def test_a_reward_that_float32_does_not_hold_is_refused(reward: float) -> None:
    with refused("reward is larger than float32 holds"):
        reward_of({"reward": reward}, on_line("a.jsonl", 1))


@pytest.mark.parametrize("reward", [0, -3.4e38, math.inf])
def test_every_other_reward_is_kept(reward: float) -> None:
    kept = reward_of({"reward": reward}, on_line("a.jsonl", 1))
    assert np.float32(kept) == np.float32(reward)
