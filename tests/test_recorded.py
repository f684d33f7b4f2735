"""Completions that prompt lines give: how they were sampled, and what was recorded
then, from the line to the gate.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.capture import supervisor
from logdrift.core.capture.prompts import read_prompts
from logdrift.core.capture.recorded import LABEL, Recorded, recorded_of, ways_of
from logdrift.core.compare.gate import judge
from logdrift.core.compare.measure import sampled_by
from logdrift.core.compare.pair import default_pair, make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.exclusion import (
    penalty_possible,
    temperature_told,
    truncation_possible,
)
from logdrift.core.errors import InputError
from logdrift.core.session.layout import Sampled
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.weight_versions import span_tokens
from logdrift.core.session.writer import write_manifest
from logdrift.core.told import TELLABLE
from tests.common import NAN, Fields, Run, refused
from tests.made_sessions import capture, edit_manifest, write_session

Write = Callable[..., Path]
TOLD: Fields = {
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
    "min_p": 0.05,
    "logprobs_mode": "processed",
    "dtype": "bf16",
    "engine": "vllm",
    "engine_version": "0.11.0",
    "torch_version": "2.9.0",
    "weight_version": 17,
}
PLAN: Fields = {
    "model": "made",
    "backends": [{"name": "trainer", "engine": "transformers", "role": "trainer"}],
}


def line(ids: int = 5, prompt: int = 2, **more: Any) -> Fields:
    return {"token_ids": list(range(3, 3 + ids)), "prompt_length": prompt, **more}


def recorded(path: Path) -> Recorded:
    found = recorded_of(read_prompts(str(path)))
    assert found is not None
    return found


# -- what lines tell


@pytest.mark.parametrize(
    "form",
    [
        {"prompt": "a", "completion": " b"},
        {"messages": [{"role": "user", "content": "a"}], "completion": "b"},
        {"token_ids": [1, 2, 3], "prompt_length": 1},
    ],
)
def test_every_form_with_a_completion_tells_how_it_was_sampled(
    prompts_file: Write, form: Fields
) -> None:
    assert set(TOLD) == set(TELLABLE)
    told = {key: value for key, value in TOLD.items() if key != "logprobs_mode"}
    prompts = read_prompts(str(prompts_file(*[{**form, **told}] * 3)))
    facts = {**told, "dtype": "bfloat16", "weight_version": "17"}
    assert ways_of(prompts) == (Sampled(3, facts),)
    assert recorded_of(prompts) is None
    assert not {"told", "logprobs", *told} & set(prompts[0].to_json()), (
        "no tokenizer needs them"
    )


def test_lines_that_tell_otherwise_are_told_apart_and_not_averaged(
    prompts_file: Write,
) -> None:
    lines = [line(temperature=t) for t in (1.0, 0.6, 0.6)] + [
        line(),
        line(temperature=None),
    ]
    ways = ways_of(read_prompts(str(prompts_file(*lines))))
    assert ways == (
        Sampled(2, {"temperature": 0.6}),
        Sampled(2, {}),
        Sampled(1, {"temperature": 1.0}),
    )
    assert ways_of(read_prompts(str(prompts_file(line(), line())))) == ()


def test_facts_that_all_lines_share_are_those_of_the_capture(
    prompts_file: Write,
) -> None:
    found = recorded(prompts_file(*[line(logprobs=[-1, -2, -3], **TOLD)] * 2))
    facts = found.info.facts
    assert facts is not None
    assert facts.temperature == 0.6
    assert facts.top_p == 0.95
    assert facts.top_k == 20
    assert facts.min_p == 0.05
    assert facts.decode_logprobs == facts.prefill_logprobs == "processed"
    assert found.info.engine == "vllm"
    assert found.info.dtype == "bfloat16"
    assert found.info.role == "rollout"
    assert {"temperature", "engine", "weight_version"} <= set(facts.told)
    assert found.notes == ()


def test_facts_that_lines_do_not_share_stay_unknown_and_are_said(
    prompts_file: Write,
) -> None:
    lines = [
        line(logprobs=[-1, -2, -3], temperature=0.6, top_p=1, weight_version=4),
        line(logprobs=[-1, -2, -3], temperature=1, top_p=1, weight_version=5),
        line(logprobs=[-1, -2, -3], temperature=0.6, weight_version=5),
    ]
    found = recorded(prompts_file(*lines))
    facts = found.info.facts
    assert facts is not None
    assert facts.temperature is None
    assert facts.top_p is None
    assert facts.weight_version == "4,5"
    versions = [record.captures[LABEL].versions for record in found.records]
    names = [spans[-1].version for spans in versions if spans is not None]
    assert names == ["4", "5", "5"]
    assert versions[0] is not None
    assert span_tokens(versions[0]) == len(found.records[0].token_ids)
    assert found.notes == (
        (
            f"temperature of {LABEL} is 0.6 in 2 lines and 1 in 1 line, so it stays"
            " unknown for the capture as a whole"
        ),
        (
            f"top_p of {LABEL} is 1 in 2 lines and not stated in 1 line, so it stays"
            " unknown for the capture as a whole"
        ),
    )


# -- what lines recorded


def test_a_list_is_of_all_ids_or_of_the_completion(prompts_file: Write) -> None:
    lines = [
        line(logprobs=[-1, None, -9999.0]),
        line(logprobs=[0.0, -7, -1, None, -9999.0]),
        line(prompt=0, logprobs=[-4, -7, -1, -2, -3]),
        line(logprobs=[-3, -7, -1, -1, "NaN"]),
    ]
    found = recorded(prompts_file(*lines))
    rows = [record.captures[LABEL].logprob.tolist() for record in found.records]
    wanted = [
        [NAN, NAN, -1, NAN, -math.inf],
        [NAN, -7, -1, NAN, -math.inf],
        [-4, -7, -1, -2, -3],
        [NAN, -7, -1, -1, NAN],
    ]
    np.testing.assert_array_equal(rows, wanted)
    flags = found.records[3].captures[LABEL].nan
    assert flags is not None and flags.tolist() == [
        0,
        0,
        0,
        0,
        1,
    ], "NaN that was computed is no missing score"
    assert "1 entry of rollout/recorded for first tokens is left out" in found.notes[0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [line(logprobs=[-1, -2])],
            (
                "line 1: logprobs has 2 entries: the sequence has 5 tokens, its"
                " completion 3"
            ),
        ),
        (
            [line(logprobs=[-1, -2, -3]), line()],
            "line 2: it has no logprobs, prompts.jsonl line 1 has",
        ),
        ([line(logprobs=[-1, "x", -3])], "line 1: logprobs"),
        ([line(logprobs=[-1, 2.5, -3])], "line 1: logprobs"),
    ],
)
def test_numbers_that_do_not_fit_are_named(
    prompts_file: Write, lines: list[Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        recorded(prompts_file(*lines))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# -- what uses them


def made(
    folder: Path,
    sampled: tuple[Sampled, ...] = (),
    facts: Fields | None = None,
    sampling: Any = None,
) -> Session:
    """trainer/prefill, rollout/recorded with ``facts`` alone, and sglang/prefill, of
    completions that were given.
    """
    row = [[NAN, -1.0, -2.0], [NAN, -1.5, -0.5]]
    captures = [
        capture("trainer/prefill", row),
        capture(LABEL, row, facts={"temperature": None, **(facts or {})}),
        capture("sglang/prefill", row),
    ]
    session = write_session(
        folder / "s", [1, 1], captures, plan={**PLAN, "sampling": sampling or {}}
    )
    manifest = session.manifest
    write_manifest(
        session.folder,
        manifest._replace(sequences=manifest.sequences._replace(sampled=sampled)),
    )
    return open_session(session.folder)


def codes(session: Session, b: str = LABEL) -> dict[str, str]:
    return {
        said.code: said.text
        for said in judge(session, make_pair(session, "trainer/prefill", b)).reasons
    }


@pytest.mark.parametrize("b", [LABEL, "sglang/prefill"])
def test_the_gate_uses_how_given_completions_were_sampled(
    tmp_path: Path, b: str
) -> None:
    session = made(tmp_path, (Sampled(2, {"temperature": 0.6, "top_p": 0.95}),))
    said = codes(session, b)["sampling"]
    assert (
        "sampled with T=0.6, top_p=0.95 (as stated, not observed), so exp(delta)"
        in said
    )


def test_lines_that_disagree_are_listed_by_the_gate(tmp_path: Path) -> None:
    ways = (
        Sampled(2, {"temperature": 0.6}),
        Sampled(1, {"temperature": 1.0}),
        Sampled(1, {"engine": "vllm"}),
    )
    said = codes(made(tmp_path, ways), "sglang/prefill")["sampling"]
    assert (
        "T=0.6 in 2 sequences; T=1 in 1 sequence; unknown settings in 1 sequence (as"
        " stated" in said
    )


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"temperature": 1.0},
        {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0},
    ],
)
def test_plain_sampling_and_what_was_not_told_say_nothing(
    tmp_path: Path, facts: Fields
) -> None:
    session = made(tmp_path, (Sampled(2, facts),) if facts else ())
    assert "sampling" not in codes(session) | codes(session, "sglang/prefill")


def test_who_sampled_is_said_where_no_side_is_what_it_recorded(tmp_path: Path) -> None:
    told = {
        "engine": "vllm",
        "engine_version": "0.11.0",
        "dtype": "bfloat16",
        "weight_version": "17",
    }
    session = made(tmp_path, (Sampled(2, told),))
    assert (
        "sampled by vllm 0.11.0, bfloat16, weights 17 (as stated"
        in codes(session, "sglang/prefill")["sampled"]
    )
    assert "sampled" not in codes(session)


def test_the_plan_says_nothing_of_recorded_numbers(tmp_path: Path) -> None:
    """A plan's sampling is that of engines which it starts; what another tool recorded
    is as its author told.
    """
    facts = {
        "decode_logprobs": "processed",
        "temperature": 1.0,
        "told": ("decode_logprobs", "temperature"),
    }
    said = codes(
        made(tmp_path, facts=facts, sampling={"temperature": 0.5, "top_p": 1.0})
    )
    assert "sampling" not in said
    assert "semantics" in said, (
        "processed by a truncation that was not stated, whatever the plan has"
    )


def test_notes_name_where_they_come_from(tmp_path: Path) -> None:
    session = made(tmp_path)
    write_manifest(
        session.folder, session.manifest._replace(notes=("temperature stays unknown",))
    )
    assert (
        codes(open_session(session.folder))["imported"]
        == "lines of the prompts: temperature stays unknown."
    )
    write_manifest(
        session.folder,
        session.manifest._replace(notes=("2 tokens are left out",), plan={}),
    )
    assert (
        codes(open_session(session.folder))["imported"]
        == "import: 2 tokens are left out."
    )


def test_told_facts_exclude_causes(tmp_path: Path) -> None:
    def case_of(name: str, **facts: Any) -> Case:
        (tmp_path / name).mkdir()
        session = made(tmp_path / name, facts={"decode_logprobs": None, **facts})
        return Case(session, make_pair(session, "trainer/prefill", LABEL))

    bare = case_of("bare")
    raw = case_of("raw", decode_logprobs="raw")
    assert truncation_possible(bare, 1)
    assert penalty_possible(bare, 1)
    assert not temperature_told(bare)
    assert not truncation_possible(raw, 1)
    assert not penalty_possible(raw, 1)
    assert temperature_told(raw)
    whole = case_of(
        "whole",
        decode_logprobs="processed",
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
    )
    assert not truncation_possible(whole, 1)
    assert temperature_told(whole)


def test_what_is_asked_for_is_asked_where_it_can_be_told(tmp_path: Path) -> None:
    session = made(tmp_path, facts={"decode_logprobs": None, "dtype": None})
    assert "in the lines of the prompts" in codes(session)["semantics_unknown"]
    unchecked = diagnose(
        session, make_pair(session, "trainer/prefill", LABEL)
    ).unchecked
    asked = {
        each.cause: each.fix
        for each in unchecked
        if "in the lines of the prompts" in each.fix
    }
    assert "temperature" in asked
    assert not any("import --fact" in each.fix for each in unchecked)


@pytest.mark.parametrize(
    "facts",
    [{"temperature": "warm"}, {"temperature": NAN}, {"engine": 3}, [], {"top_k": -5}],
)
def test_damaged_facts_of_sampling_are_one_line(tmp_path: Path, facts: Any) -> None:
    session = made(tmp_path)

    def edit(data: Fields) -> None:
        data["sequences"]["sampled"] = [{"sequences": 1, "facts": facts}]

    with refused(r"sequences\.sampled"):
        edit_manifest(session, edit)


# -- with an engine


@pytest.fixture(scope="module")
def rollouts(
    transformers_python: Path,
    small_model: Path,
    run_logdrift: Run,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A file of lines as a training run has them: ids that an engine sampled, and what
    it recorded while it did.
    """
    folder = tmp_path_factory.mktemp("rollouts")
    texts = [
        word
        for text in ("The capital of France is", "1 2 3 4", "def add(a, b):")
        for word in ("--text", text)
    ]
    done = run_logdrift(
        "capture",
        "--model",
        "smollm2",
        *texts,
        "--backend",
        "transformers:bfloat16,paths=decode@engine",
        "--max-tokens",
        10,
        "--out",
        folder / "sampled",
    )
    assert done.returncode == 0, done.stderr
    session = open_session(folder / "sampled")
    scores = session.capture("engine/decode").logprob.whole()
    lines = []
    for index in range(len(session.sequences)):
        start, stop = session.sequences.bounds(index)
        length = int(session.sequences.prompt_lengths[index])
        told = {
            "temperature": 1.0,
            "top_p": 1,
            "top_k": -1,
            "min_p": 0,
            "logprobs_mode": "raw",
            "dtype": "bf16",
        }
        lines.append(
            {
                "token_ids": session.sequences.ids(index).tolist(),
                "prompt_length": length,
                "logprobs": scores[start + length : stop].tolist(),
                "engine": "transformers",
                **told,
            }
        )
    file = folder / "rollouts.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file


@pytest.fixture(scope="module")
def compared(rollouts: Path, run_logdrift: Run) -> Path:
    """One command: recorded rollouts against a reference and a trainer."""
    out = rollouts.with_name("compared")
    done = run_logdrift(
        "capture",
        "--model",
        "smollm2",
        "--prompts",
        rollouts,
        "--backend",
        "transformers:float32@reference",
        "--backend",
        "transformers:bfloat16@trainer",
        "--part-sequences",
        2,
        "--temperature",
        0.6,
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    said = [text for text in done.stderr.splitlines() if text.startswith("note:")]
    assert len(said) == 1
    assert (
        "sampling.temperature changes nothing, since every prompt has its completion"
        in said[0]
    )
    return out


@pytest.mark.engine
def test_recorded_rollouts_are_compared_with_trainers_in_one_command(
    compared: Path, rollouts: Path
) -> None:
    session = open_session(compared)
    assert session.state == "complete"
    assert [info.label for info in session.captures] == [
        LABEL,
        "reference/prefill",
        "trainer/prefill",
    ]
    assert default_pair(session) == ("trainer/prefill", LABEL)
    pair = make_pair(session, "trainer/prefill", LABEL)
    lines = [json.loads(text) for text in rollouts.read_text().splitlines()]
    given = np.concatenate([each["logprobs"] for each in lines]).astype(np.float32)
    np.testing.assert_array_equal(pair.logprob_b[~np.isnan(pair.logprob_b)], given)
    delta = pair.delta[pair.scope_mask("completion")]
    assert len(delta) == len(given)
    assert float(np.abs(delta).mean()) < 0.1
    assert sampled_by(pair) is True
    gate = {reason.code: reason for reason in judge(session, pair).reasons}
    assert not {"semantics_unknown", "sampling", "dtype"} & set(gate)
    assert all(reason.severity != "not_comparable" for reason in gate.values())
    assert "imported" not in gate, "there was nothing to leave out"
    assert session.plan is not None
    assert session.plan.sampling.temperature == 1.0


@pytest.mark.engine
def test_damage_to_what_was_recorded_cannot_be_captured_again(
    compared: Path, tmp_path: Path, run_logdrift: Run
) -> None:
    out = tmp_path / "damaged"
    shutil.copytree(compared, out)
    part = next((out / "captures" / LABEL).iterdir())
    data = part.read_bytes()
    part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with refused(
        "no engine can give again what the prompts recorded: start a new session",
    ):
        supervisor.run_session(out, lambda event: None)
    report = run_logdrift("report", out)
    assert report.returncode == 2
    assert "copy the session again from where it is whole" in report.stderr


@pytest.mark.engine
def test_a_backend_cannot_have_the_name_of_what_was_recorded(
    rollouts: Path, tmp_path: Path, run_logdrift: Run
) -> None:
    done = run_logdrift(
        "capture",
        "--model",
        "smollm2",
        "--prompts",
        rollouts,
        "--backend",
        "transformers@rollout",
        "--out",
        tmp_path / "o",
    )
    assert done.returncode == 2
    assert not (tmp_path / "o").exists()
    assert (
        "backend 'rollout': the logprobs of the prompts are rollout/recorded"
        in done.stderr
    )
