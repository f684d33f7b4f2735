"""Capturing through the command, with Transformers as the engine: what a user types,
and what is on disk afterwards.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logdrift.core.capture import devices, supervisor
from logdrift.core.capture.create import create_session
from logdrift.core.capture.into import add_backends
from logdrift.core.digests import tokenizer_digest, weights_digest
from logdrift.core.errors import InputError
from logdrift.core.plan import CapturePlan, parse_spec
from logdrift.core.session.reader import open_session
from logdrift.core.session.retokenised import different
from logdrift.core.session.sent_ids import ids_digest
from tests.changed_model import changed_model
from tests.common import Run

pytestmark = pytest.mark.engine
LOGDRIFT = Path(sys.executable).parent / "logdrift"
Write = Callable[..., Path]

SECRET = "hf_doNotSaveMe123"
BACKEND = "transformers:bfloat16,paths=decode+prefill@trainer"
PROMPTS = [
    {"prompt": text}
    for text in ("The capital of France is", "def add(a, b):", "1 2 3 4", "从前有")
]


@pytest.fixture(autouse=True)
def _prepared(transformers_python: Path, small_model: Path) -> None:
    """The interpreter and the model exist before a test counts seconds."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, run_logdrift: Run) -> Path:
    folder = tmp_path_factory.mktemp("sessions")
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(p) + "\n" for p in PROMPTS))
    out = folder / "undisturbed\x1b[31m"
    secrets = dict.fromkeys(("HF_TOKEN", "VLLM_API_KEY", "MY_SECRET"), SECRET)
    done = run_logdrift(*_new(prompts, out), **secrets)
    assert done.returncode == 0, done.stderr
    shown = f"{folder / 'undisturbed'}<0x1B>[31m"
    *_, complete, size, answer, following = done.stderr.splitlines()
    assert complete == f"session complete: {shown}"
    assert "MAE" in size
    assert answer
    assert following == f"next: logdrift open '{shown}'"
    return out


def _new(
    prompts: Path, out: Path, backend: str = BACKEND, tokens: int = 12
) -> list[object]:
    return [
        "capture",
        "--model",
        "smollm2",
        "--prompts",
        prompts,
        "--backend",
        backend,
        "--max-tokens",
        tokens,
        "--part-sequences",
        1,
        "--out",
        out,
    ]


def _same_numbers(a: Path, b: Path) -> None:
    one = open_session(a)
    two = open_session(b)
    np.testing.assert_array_equal(one.sequences.token_ids, two.sequences.token_ids)
    for info in one.captures:
        x = one.capture(info.label)
        y = two.capture(info.label)
        np.testing.assert_array_equal(x.logprob.whole(), y.logprob.whole())
        np.testing.assert_array_equal(x.top_ids.whole(), y.top_ids.whole())


def test_a_session_holds_what_format_1_promises(undisturbed: Path) -> None:
    session = open_session(undisturbed)
    assert session.state == "complete"
    found = [c.label for c in session.captures]
    assert found == ["trainer/decode", "trainer/prefill"]
    sequences = session.sequences
    assert len(sequences) == len(PROMPTS)
    decode = session.capture("trainer/decode")
    prefill = session.capture("trainer/prefill")
    for index in range(len(sequences)):
        start, stop = sequences.bounds(index)
        boundary = start + int(sequences.prompt_lengths[index])
        assert np.isnan(decode.logprob.rows(start, boundary)).all()
        assert np.isfinite(decode.logprob.rows(boundary, stop)).all()
        assert np.isnan(prefill.logprob.rows(start, start + 1)).all()
        assert np.isfinite(prefill.logprob.rows(start + 1, stop)).all()
    ids = set(sequences.token_ids.tolist()) | set(
        prefill.top_ids.whole()[prefill.top_ids.whole() >= 0].tolist()
    )
    assert ids <= set(session.pieces)
    text = b"".join(
        session.pieces[int(i)] for i in sequences.ids(3)[: sequences.prompt_lengths[3]]
    )
    assert text.decode() == "从前有"
    facts = session.captures[0].facts
    assert facts is not None
    assert facts.engine == "transformers"
    assert facts.dtype == "bfloat16"
    assert facts.decode_logprobs == "raw"
    assert facts.weights_digest is not None
    assert session.manifest.model.id == "smollm2"
    known = session.manifest.sequences.retokenised
    assert known is not None
    assert known.checked == len(PROMPTS)
    assert known.special == known.prompt == 0


def test_no_secret_is_saved(undisturbed: Path) -> None:
    """Keys and tokens of the environment never land in a session or a log."""
    files = [path for path in undisturbed.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_out_that_exists_is_left_alone(undisturbed: Path, run_logdrift: Run) -> None:
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*")}
    done = run_logdrift(*_new(undisturbed.parent / "prompts.jsonl", undisturbed))
    assert done.returncode == 2
    assert "exists already: go on with --resume" in done.stderr
    found = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*")}
    assert found == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": ', "line 5: not JSON"),
        ('{"prompt": ""}', "line 5: prompt is empty"),
        (
            json.dumps({"token_ids": [49151, 49152]}),
            "line 5: token id 49152 is outside the model's vocabulary of 49152",
        ),
        pytest.param(
            json.dumps({"token_ids": [5] * 8192}),
            "line 5: 8192 tokens are too long for the model, which has 8192 positions:"
            " 8191 is the longest prompt",
            id="too long",
        ),
        (
            json.dumps({"messages": [{"role": "user", "content": {"a": 1}}]}),
            "line 5, message 1: content is not text",
        ),
        (
            json.dumps({"messages": [{"role": "user", "name": "a"}]}),
            "line 5: the chat template refused the messages",
        ),
    ],
)
def test_a_bad_prompt_is_one_line_and_no_folder(
    prompts_file: Write, tmp_path: Path, run_logdrift: Run, line: str, said: str
) -> None:
    done = run_logdrift(*_new(prompts_file(*PROMPTS, line), tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert said in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("no/such/folder/at/all", "no/such/folder/at/all"),
        ("some-org/some-model", "some-org/some-model"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(
    prompts_file: Write, tmp_path: Path, run_logdrift: Run, model: str, said: str
) -> None:
    arguments = _new(prompts_file(*PROMPTS), tmp_path / "out")
    arguments[2] = model
    done = run_logdrift(*arguments, HF_HUB_OFFLINE="1")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def _with_file_limit(
    limit: int, arguments: list[object]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LOGDRIFT), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def test_a_disk_that_is_full_at_once_leaves_no_folder(
    undisturbed: Path, tmp_path: Path
) -> None:
    done = _with_file_limit(
        512, _new(undisturbed.parent / "prompts.jsonl", tmp_path / "out")
    )
    assert done.returncode == 1
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("logdrift: ")]
    assert "File too large: nothing was begun" in line
    assert "--resume" not in line
    assert not (tmp_path / "out").exists()


def test_a_full_disk_loses_one_part_and_resume_goes_on(
    undisturbed: Path, run_logdrift: Run
) -> None:
    """The manifest takes 6 KB, a part of 40 tokens with their top-20 a little more, the
    bytes of tokens soon 8.
    """
    out = undisturbed.parent / "full"
    done = _with_file_limit(
        8192, _new(undisturbed.parent / "prompts.jsonl", out, tokens=40)
    )
    assert done.returncode == 1, done.stderr
    assert "File too large: what was finished before is kept" in done.stderr
    assert "--resume" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    manifest = open_session(out).manifest
    finished = [
        p.file
        for p in (
            *manifest.sequences.parts,
            *(p for c in manifest.captures for p in c.parts),
        )
    ]
    assert finished
    before = {
        file: ((out / file).read_bytes(), (out / file).stat().st_mtime_ns)
        for file in finished
    }
    done = run_logdrift("capture", "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert open_session(out).state == "complete"
    assert {
        file: ((out / file).read_bytes(), (out / file).stat().st_mtime_ns)
        for file in finished
    } == before


def test_interrupting_keeps_finished_parts_and_resume_gives_the_same_numbers(
    undisturbed: Path, run_logdrift: Run
) -> None:
    out = undisturbed.parent / "interrupted"
    process = subprocess.Popen(
        list(map(str, [LOGDRIFT, *_new(undisturbed.parent / "prompts.jsonl", out)])),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a background job ignores it
    )
    _wait_for(
        lambda: (
            (out / "session.json").exists() and len(open_session(out).sequences) >= 1
        )
    )
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert f"go on with logdrift capture --out {out} --resume" in said
    assert open_session(out).state == "partial"
    done = run_logdrift("capture", "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    _same_numbers(undisturbed, out)


def test_detached_capture_outlives_its_command_and_keeps_others_out(
    undisturbed: Path, run_logdrift: Run
) -> None:
    out = undisturbed.parent / "detached"
    done = run_logdrift(*_new(undisturbed.parent / "prompts.jsonl", out), "--detach")
    assert done.returncode == 0, done.stderr
    assert "capturing in the background" in done.stdout
    assert f"watch it with logdrift open {out}" in done.stdout
    assert open_session(out).state == "running"
    second = run_logdrift("capture", "--out", out, "--resume")
    assert second.returncode == 2
    assert "is being written by process" in second.stderr
    _wait_for(lambda: open_session(out).state != "running")
    assert open_session(out).state == "complete"
    _same_numbers(undisturbed, out)
    events = [
        json.loads(line)["type"]
        for line in (out / "events.jsonl").read_text().splitlines()
    ]
    assert events[0] == "run"
    assert events[-1] == "finished"


def test_one_backend_failing_is_marked_and_the_rest_goes_on(
    undisturbed: Path, run_logdrift: Run, tmp_path: Path
) -> None:
    """The failing one is a real interpreter without an engine in it."""
    out = tmp_path / "out"
    arguments = _new(undisturbed.parent / "prompts.jsonl", out)
    done = run_logdrift(
        *arguments, "--backend", f"vllm:float32,python={sys.executable}@broken"
    )
    assert done.returncode == 1
    assert "broken/prefill: vllm cannot be imported" in done.stderr
    session = open_session(out)
    assert [(c.label, c.status) for c in session.captures] == [
        ("trainer/decode", "complete"),
        ("trainer/prefill", "complete"),
        ("broken/prefill", "failed"),
    ]
    assert session.state == "failed"
    report = run_logdrift("report", out)
    assert report.returncode == 0
    assert "broken/prefill" in report.stdout


def test_backends_on_other_devices_run_at_once_and_one_failing_stops_no_other(
    prompts_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three real workers; that each has a GPU of its own is the one thing pretended
    here.
    """
    plan = CapturePlan(
        "smollm2",
        tuple(
            map(
                parse_spec,
                (
                    "transformers:float32@a",
                    "transformers:float32@b",
                    f"vllm,python={sys.executable}@c",
                ),
            )
        ),
        prompts_file=str(
            prompts_file({"token_ids": [504, 3575, 282, 4649, 314], "prompt_length": 2})
        ),
    )
    create_session(plan, tmp_path / "out")
    monkeypatch.setattr(devices, "devices_of", lambda spec: frozenset({spec.name}))
    events: list[tuple[str, str]] = []
    complete = supervisor.run_session(
        tmp_path / "out",
        lambda event: events.append(
            (event["type"], event.get("label") or event.get("backend", ""))
        ),
        parallel=True,
    )
    assert not complete
    started = [events.index(("backend", name)) for name in "abc"]
    assert max(started) < min(
        events.index(("captured", f"{name}/prefill")) for name in "ab"
    )
    session = open_session(tmp_path / "out")
    found = [c.status for c in session.captures]
    expected = ["complete", "complete", "failed"]
    assert found == expected
    a, b = (session.capture(f"{name}/prefill").logprob.whole() for name in "ab")
    np.testing.assert_array_equal(a, b)


def test_two_ways_of_computing_are_not_mixed_in_one_capture(
    undisturbed: Path, run_logdrift: Run
) -> None:
    """A session whose last part is missing and whose first ones came from another
    torch.
    """
    out = undisturbed.parent / "mixed"
    shutil.copytree(undisturbed, out)
    data = json.loads((out / "session.json").read_text())
    half = data["captures"][1]
    half["parts"].pop()
    half["status"] = "pending"
    half["facts"]["torch_version"] = "1.0"
    (out / "session.json").write_text(json.dumps(data))
    done = run_logdrift("capture", "--out", out, "--resume")
    assert done.returncode == 1
    assert (
        "half of trainer/prefill was captured another way (torch_version was 1.0"
        in done.stderr
    )
    assert len(open_session(out).captures[1].parts) == len(half["parts"])


def test_given_sequences_are_scored_as_they_are(
    prompts_file: Write, tmp_path: Path, run_logdrift: Run
) -> None:
    rows = [
        {
            "token_ids": [504, 3575, 282, 4649, 314],
            "prompt_length": 2,
            "mask": [1, 1, 1, 0, 1],
        },
        {"token_ids": [7], "prompt_length": 0},
    ]
    out = tmp_path / "out"
    done = run_logdrift(
        *_new(prompts_file(*rows), out, "transformers:float32@reference")
    )
    assert done.returncode == 0, done.stderr
    session = open_session(out)
    assert session.sequences.token_ids.tolist() == [504, 3575, 282, 4649, 314, 7]
    assert session.sequences.mask.tolist() == [1, 1, 1, 0, 1, 1]
    logprob = session.capture("reference/prefill").logprob.whole()
    expected = [True, False, False, False, False, True]
    assert np.isnan(logprob).tolist() == expected


def test_text_completions_and_begun_turns_are_scored_as_given(
    prompts_file: Write, tmp_path: Path, run_logdrift: Run
) -> None:
    """Without a word on the assistant's turn nothing is written; with it, the
    completion goes on from there.
    """
    talk = [
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "The colour is"},
    ]
    rows = [
        {"messages": talk, "completion": " blue.<|im_end|>"},
        {"prompt": "The capital of France is", "completion": " Paris, of course."},
    ]
    out = tmp_path / "out"
    prompts = prompts_file(*rows)
    arguments = _new(prompts, out, "transformers:float32@reference")
    silent = run_logdrift(*arguments)
    assert silent.returncode == 2
    assert "line 1: the last message is the assistant's: say whether" in silent.stderr
    assert not out.exists()
    done = run_logdrift(*arguments, "--continue-final-message")
    assert done.returncode == 0, done.stderr
    session = open_session(out)
    texts = []
    for index, length in enumerate(session.sequences.prompt_lengths.tolist()):
        start, stop = session.sequences.bounds(index)
        ids = session.sequences.token_ids[start:stop].tolist()
        texts.append(
            [
                b"".join(session.pieces[i] for i in part).decode()
                for part in (ids[:length], ids[length:])
            ]
        )
    assert texts[0][0].endswith("<|im_start|>assistant\nThe colour is")
    roles = session.sequences.roles
    assert roles is not None
    _, stop = session.sequences.bounds(0)
    # What the template writes of its own account, the user, the assistant's answer.
    expected = [0, 2, 3]
    assert list(dict.fromkeys(roles[:stop].tolist())) == expected
    assert not roles[stop:].any()
    known = session.manifest.sequences.retokenised
    assert known is not None
    assert known.checked == 2
    assert different(known) == 0
    assert [completion for _, completion in texts] == [
        " blue.<|im_end|>",
        " Paris, of course.",
    ]
    assert texts[1][0] == "The capital of France is"
    assert session.manifest.plan["continue_final_message"] is True


def test_every_part_says_which_ids_it_scored(undisturbed: Path) -> None:
    """Sampled and given ids alike: the digest is of what the engine was given, or gave,
    not of what is on disk.
    """
    session = open_session(undisturbed)
    offsets = session.sequences.offsets
    for info in session.captures:
        assert len(info.parts) == len(PROMPTS)
        for part in info.parts:
            stop = part.first_sequence + part.sequences
            ids = session.sequences.token_ids[
                offsets[part.first_sequence] : offsets[stop]
            ]
            assert part.ids_digest == ids_digest(ids)
    assert all(part.ids_digest is None for part in session.manifest.sequences.parts)


def test_facts_that_the_gate_compares_are_observed(
    undisturbed: Path, small_model: Path
) -> None:
    facts = open_session(undisturbed).captures[0].facts
    assert facts is not None
    assert (facts.padding, facts.adds_bos, facts.config_overrides) == (
        "none",
        False,
        {},
    )
    assert facts.template_digest is not None
    assert facts.tokenizer_digest == tokenizer_digest(small_model)
    assert facts.weights_digest == weights_digest(small_model)


GIVEN = [
    {"token_ids": [504, 3575, 282, 4649, 314], "prompt_length": 2},
    {"token_ids": [504, 3575, 282, 4649, 314, 260, 2240, 28], "prompt_length": 3},
    {"token_ids": [7, 8, 9], "prompt_length": 1},
]


def test_a_backend_may_have_a_model_of_its_own(
    prompts_file: Write, tmp_path: Path, run_logdrift: Run, small_model: Path
) -> None:
    """A trainer's checkpoint without a tokenizer, a config changed by an option, and
    sequences scored one at a time.
    """
    checkpoint = changed_model(small_model, tmp_path / "step-1", tokenizer=False)
    out = tmp_path / "out"
    arguments = _new(prompts_file(*GIVEN), out, "transformers:bfloat16@rollout")
    arguments[-3] = 2  # sequences a part
    arguments += [
        "--backend",
        f"transformers:bfloat16,model={checkpoint},rms_norm_eps=1e-4,alone=true@trainer",
    ]
    done = run_logdrift(*arguments)
    assert done.returncode == 0, done.stderr
    session = open_session(out)
    assert [(c.label, c.batch) for c in session.captures] == [
        ("rollout/prefill", "together"),
        ("trainer/prefill", "together"),
        ("trainer/prefill#alone", "alone"),
    ]
    assert session.sequences.token_ids.tolist() == [
        i for row in GIVEN for i in row["token_ids"]
    ]
    rollout, trainer = (session.captures[index].facts for index in (0, 1))
    assert rollout is not None
    assert trainer is not None
    assert (
        rollout.weights_digest
        == session.manifest.model.weights_digest
        == weights_digest(small_model)
    )
    assert (
        trainer.weights_digest == weights_digest(checkpoint) != rollout.weights_digest
    )
    assert rollout.config_digest == trainer.config_digest
    assert trainer.tokenizer_digest is None
    assert trainer.adds_bos is None
    assert trainer.template_digest is None
    assert rollout.config_overrides == {}
    assert trainer.config_overrides == {"rms_norm_eps": 1e-4}
    assert set(session.pieces) >= set(session.sequences.token_ids.tolist()), (
        "the session's tokenizer gives the text"
    )
    rows = {
        label: session.capture(label).logprob.whole()
        for label in [c.label for c in session.captures]
    }
    assert np.nanmean(np.abs(rows["rollout/prefill"] - rows["trainer/prefill"])) > 1e-3
    np.testing.assert_array_equal(
        rows["trainer/prefill"], rows["trainer/prefill#alone"]
    )  # always one at a time here
    assert session.plan is not None
    assert session.plan.backends[1].model == str(checkpoint)

    add_backends(
        out,
        [parse_spec(f"transformers:bfloat16,model={checkpoint},paths=prefill@later")],
    )
    done = run_logdrift("capture", "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    later = open_session(out).captures[-1].facts
    assert later is not None
    assert later.weights_digest == trainer.weights_digest

    with pytest.raises(
        InputError, match=r"backend 'gone': model .*step-2: no such folder"
    ):
        add_backends(out, [parse_spec(f"transformers,model={tmp_path}/step-2@gone")])
    shutil.rmtree(checkpoint)
    done = run_logdrift("capture", "--out", out, "--resume")
    assert done.returncode == 0, (
        f"what is complete needs its model no more: {done.stderr}"
    )
    (out / session.captures[1].parts[0].file).unlink()
    done = run_logdrift("capture", "--out", out, "--resume")
    assert done.returncode == 1, (
        "with the session's model in its place the numbers would be of other weights"
    )
    assert (
        f"trainer/prefill: backend 'trainer': model {checkpoint}: no such folder"
        in done.stderr
    )
    data = json.loads((out / "session.json").read_text())
    data["captures"][-1].update(status="pending", parts=[])
    (out / "session.json").write_text(json.dumps(data))
    done = run_logdrift("capture", "--out", out, "--resume")
    assert done.returncode == 2
    assert f"model {checkpoint}: no such folder" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "no config.json in this folder"),
        (
            lambda folder: (
                folder.mkdir(),
                (folder / "config.json").write_text('{"vocab_size": 4000}'),
                (folder / "model.safetensors").write_bytes(b""),
            ),
            "has a vocabulary of 4000 ids, and the session's sequences hold id 4649",
        ),
    ],
)
def test_a_model_of_its_own_that_does_not_fit_is_one_line_and_no_folder(
    prompts_file: Write,
    tmp_path: Path,
    run_logdrift: Run,
    make: Callable[[Path], object],
    said: str,
) -> None:
    make(tmp_path / "other")
    arguments = _new(
        prompts_file(*GIVEN),
        tmp_path / "out",
        f"transformers,model={tmp_path}/other@trainer",
    )
    done = run_logdrift(*arguments)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "backend 'trainer'" in last
    assert said in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_weights_that_changed_under_half_a_capture_are_noticed(
    prompts_file: Write, tmp_path: Path, run_logdrift: Run, small_model: Path
) -> None:
    """A checkpoint folder that was overwritten in place since the first part."""
    checkpoint = changed_model(small_model, tmp_path / "latest")
    out = tmp_path / "out"
    done = run_logdrift(
        *_new(
            prompts_file(*GIVEN),
            out,
            f"transformers:bfloat16,model={checkpoint}@trainer",
        )
    )
    assert done.returncode == 0, done.stderr
    data = json.loads((out / "session.json").read_text())
    data["captures"][0]["parts"].pop()
    data["captures"][0]["status"] = "pending"
    (out / "session.json").write_text(json.dumps(data))
    shutil.rmtree(checkpoint)
    changed_model(small_model, checkpoint, factor=1.125)
    done = run_logdrift("capture", "--out", out, "--resume")
    assert done.returncode == 1
    assert (
        "half of trainer/prefill was captured another way (weights_digest was sha256:"
        in done.stderr
    )


def _wait_for(holds: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
