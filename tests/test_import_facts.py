"""What users tell of numbers from elsewhere: in lines and by flags, to the facts, the
gate and the settings.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.compare.gate import judge
from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.errors import InputError
from logdrift.core.facts import Facts
from logdrift.core.report.settings import settings_of
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import Session, open_session
from logdrift.core.told import TELLABLE

Run = Callable[..., subprocess.CompletedProcess[str]]
NAMES = ("trainer", "vllm/decode", "vllm/prefill")
TOLD: dict[str, Any] = {
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
    "min_p": 0.05,
    "logprobs_mode": "processed",
    "dtype": "bfloat16",
    "engine": "megatron",
    "engine_version": "0.14.1",
    "torch_version": "2.9.0",
    "weight_version": "17",
}


def dump(
    path: Path,
    told: Mapping[str, Mapping[str, Any]] | None = None,
    names: tuple[str, ...] = NAMES,
) -> Path:
    """Two sequences whose captures tell what ``told`` has by their name."""
    line = {
        "token_ids": [5, 6, 7, 8],
        "prompt_length": 1,
        "captures": {
            name: {"logprobs": [-1.0, -2.0, -0.5], **(told or {}).get(name, {})}
            for name in names
        },
    }
    path.write_text(f"{json.dumps(line)}\n{json.dumps(line)}\n")
    return path


def imported(
    folder: Path, facts: tuple[str, ...] = (), **told: Mapping[str, Any]
) -> Session:
    file = dump(
        folder / "dump.jsonl",
        {name.replace("_", "/"): body for name, body in told.items()},
    )
    import_session("jsonl", [str(file)], folder / "out", facts=facts)
    return open_session(folder / "out")


def facts_of(session: Session, label: str) -> Facts:
    return session.manifest.capture(label).facts or Facts()


def codes(session: Session, a: str, b: str) -> dict[str, str]:
    return {
        reason.code: reason.text
        for reason in judge(session, make_pair(session, a, b)).reasons
    }


@pytest.mark.parametrize("by_flag", [False, True])
def test_every_fact_reaches_the_capture_that_it_was_told_of_and_no_other(
    tmp_path: Path, by_flag: bool
) -> None:
    assert set(TOLD) == set(TELLABLE)
    if by_flag:
        session = imported(
            tmp_path, tuple(f"trainer.{key}={value}" for key, value in TOLD.items())
        )
    else:
        session = imported(tmp_path, trainer=TOLD)
    facts = facts_of(session, "trainer/recorded")
    fields = {key: value for key, value in TOLD.items() if key != "logprobs_mode"}
    assert {key: getattr(facts, key) for key in fields} == fields
    assert facts.decode_logprobs == facts.prefill_logprobs == "processed", (
        "recorded numbers may be of either path"
    )
    assert set(facts.told) == {*fields, "decode_logprobs", "prefill_logprobs"}
    info = session.manifest.capture("trainer/recorded")
    assert (info.engine, info.dtype) == ("megatron", "bfloat16")
    assert session.manifest.capture("vllm/decode").facts is None


def test_the_mode_is_that_of_the_path(tmp_path: Path) -> None:
    session = imported(
        tmp_path, ("vllm.logprobs_mode=raw", "trainer.logprobs_mode=raw")
    )
    found = {
        label: facts_of(session, label)
        for label in ("vllm/decode", "vllm/prefill", "trainer/recorded")
    }
    assert [(f.decode_logprobs, f.prefill_logprobs) for f in found.values()] == [
        ("raw", None),
        (None, "raw"),
        ("raw", "raw"),
    ]


def test_facts_survive_a_reader_and_are_a_tuple_again() -> None:
    facts = Facts(temperature=0.5, told=("temperature",))
    again = Facts.from_json(json.loads(json.dumps(facts.to_json())))
    assert again == facts and again.told == ("temperature",)
    assert Facts.from_json({"dtype": "float32"}).told == ()


@pytest.mark.parametrize(
    ("spelt", "meant"),
    [
        (("dtype", "bf16"), "bfloat16"),
        (("dtype", "half"), "float16"),
        (("dtype", "float8_e4m3fn"), "float8_e4m3fn"),
        (("top_k", "-1"), 0),
        (("temperature", "0"), 0.0),
        (("weight_version", 17), "17"),
        (("logprobs_mode", "processed_logprobs"), "processed"),
    ],
)
def test_spellings_of_engines_are_understood(
    tmp_path: Path, spelt: tuple[str, Any], meant: Any
) -> None:
    key, value = spelt
    session = imported(tmp_path, (f"trainer.{key}={value}",))
    field = "decode_logprobs" if key == "logprobs_mode" else key
    assert getattr(facts_of(session, "trainer/recorded"), field) == meant


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        (
            "trainer.temprature=1",
            "fact 'temprature' is unknown: did you mean 'temperature'",
        ),
        ("trainer.zzz=1", "fact 'zzz' is unknown: known are temperature, top_p"),
        ("trainr.dtype=float32", "capture 'trainr' is unknown: did you mean 'trainer'"),
        (
            "sglang.dtype=float32",
            "capture 'sglang' is unknown: there are trainer, trainer/recorded, vllm",
        ),
        ("temperature", "write NAME.FACT=VALUE"),
        ("=1", "write NAME.FACT=VALUE"),
        (
            "trainer.temperature=warm",
            "trainer.temperature is 'warm': give a temperature",
        ),
        ("trainer.temperature=-1", "give a temperature, 0 or more"),
        ("trainer.temperature=nan", "give a temperature, 0 or more"),
        ("trainer.top_p=0", "give a share above 0"),
        ("trainer.top_p=95", "give a share above 0, up to 1"),
        ("trainer.top_k=2.5", "give a whole number"),
        ("trainer.min_p=2", "give a share from 0"),
        ("trainer.logprobs_mode=row", "did you mean 'raw'"),
        ("trainer.dtype=bfloat17", "did you mean 'bfloat16'"),
        ("trainer.engine=", "give a short text"),
        ("trainer.mask=1", "a mask is one value a token: give it in jsonl lines"),
    ],
)
def test_a_flag_that_does_not_do_is_one_line(
    tmp_path: Path, flag: str, said: str
) -> None:
    with pytest.raises(InputError, match="--fact") as caught:
        imported(tmp_path, (flag,))
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", TELLABLE)
@pytest.mark.parametrize("value", [True, [], {}, float("nan"), "\x1b[2J", ""], ids=repr)
def test_a_value_in_a_line_is_checked_as_one_of_a_flag(
    tmp_path: Path, key: str, value: Any
) -> None:
    with pytest.raises(InputError, match=rf"line 1: captures\.trainer\.{key} is"):
        imported(tmp_path, trainer={key: value})


def test_what_is_told_twice_must_agree(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was given before as 'float32'"):
        imported(tmp_path, ("trainer.dtype=float32", "dtype=bfloat16"))
    with pytest.raises(
        InputError, match="the file says 'float32': leave one of them out"
    ):
        imported(tmp_path, ("trainer.dtype=bfloat16",), trainer={"dtype": "float32"})
    assert imported(tmp_path, ("trainer.dtype=float32",), trainer={"dtype": "fp32"})


def test_lines_of_one_capture_tell_one_value_but_may_be_of_many_weights(
    tmp_path: Path,
) -> None:
    def line(**told: Any) -> str:
        return (
            json.dumps(
                {
                    "token_ids": [5, 6],
                    "captures": {"x": {"logprobs": [None, -1.0], **told}},
                }
            )
            + "\n"
        )

    file = tmp_path / "a.jsonl"
    file.write_text(line(temperature=1.0) + line() + line(temperature=0.7))
    with pytest.raises(
        InputError,
        match=r"line 3: captures\.x\.temperature is 0\.7 and 1\.0 in a line before",
    ):
        import_session("jsonl", [str(file)], tmp_path / "out")
    file.write_text(
        line(weight_version=4) + line(weight_version=5) + line(weight_version=4)
    )
    import_session("jsonl", [str(file)], tmp_path / "out")
    assert (
        facts_of(open_session(tmp_path / "out"), "x/recorded").weight_version == "4,5"
    )


def test_the_gate_uses_what_was_told_and_says_that_it_was(tmp_path: Path) -> None:
    raw = ("trainer.logprobs_mode=raw", "vllm.logprobs_mode=raw")
    said = codes(imported(tmp_path, raw), "trainer", "vllm/decode")
    assert "semantics_unknown" not in said
    assert said["told"].endswith(
        "(as stated for trainer/recorded and vllm/decode, not observed)."
    )
    assert (
        "nothing was observed" in said["unknown"]
        and "as stated, not observed" in said["unknown"]
    )


def test_another_temperature_that_was_told_is_another_quantity(tmp_path: Path) -> None:
    flags = (
        "trainer.logprobs_mode=raw",
        "vllm.logprobs_mode=temperature_scaled",
        "vllm.temperature=0.6",
    )
    said = codes(imported(tmp_path, flags), "trainer", "vllm/decode")
    assert (
        "log-probabilities of raw logits, vllm/decode of logits / 0.6 (as stated"
        in said["temperature"]
    )


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("top_p=0.9", "top_k=0", "min_p=0"), "processed"),
        (("trainer.top_p=0.9", "vllm.top_p=0.8"), "semantics"),
        (("top_p=1", "top_k=-1", "min_p=0"), "told"),
        ((), "processed"),
    ],
)
def test_truncation_that_was_told_decides_what_processed_means(
    tmp_path: Path, flags: tuple[str, ...], code: str
) -> None:
    both = ("logprobs_mode=processed", "temperature=1")
    said = codes(imported(tmp_path, (*both, *flags)), "trainer", "vllm/decode")
    assert code in said and "semantics_unknown" not in said


def test_what_cannot_be_told_apart_names_the_flag(tmp_path: Path) -> None:
    said = codes(imported(tmp_path), "trainer", "vllm/decode")
    assert "import --fact NAME.logprobs_mode=raw" in said["semantics_unknown"]


def test_why_asks_for_what_can_be_told_and_no_more_once_it_is(tmp_path: Path) -> None:
    def asked(folder: Path, facts: tuple[str, ...]) -> set[str]:
        folder.mkdir()
        session = imported(folder, facts)
        pair = make_pair(session, "trainer", "vllm/decode")
        return {
            each.cause
            for each in diagnose(session, pair).unchecked
            if "import --fact" in each.fix
        }

    assert asked(tmp_path / "bare", ()) == {"temperature", "processed", "compute_dtype"}
    assert asked(tmp_path / "told", ("logprobs_mode=raw", "dtype=bfloat16")) == set()


def test_sampling_that_was_told_is_no_plain_ratio(tmp_path: Path) -> None:
    said = codes(
        imported(tmp_path, ("vllm.temperature=0.6", "vllm.top_p=0.95")),
        "trainer",
        "vllm/decode",
    )
    assert (
        "T=0.6, top_p=0.95 (as stated, not observed), so exp(delta)" in said["sampling"]
    )
    (tmp_path / "plain").mkdir()
    assert "sampling" not in codes(
        imported(tmp_path / "plain", ("vllm.temperature=1",)), "trainer", "vllm/decode"
    )


def test_dtypes_and_versions_of_weights_that_were_told_are_compared(
    tmp_path: Path,
) -> None:
    flags = (
        "trainer.dtype=float32",
        "vllm.dtype=bf16",
        "trainer.weight_version=8",
        "vllm.weight_version=7",
    )
    said = codes(imported(tmp_path, flags), "trainer", "vllm/decode")
    assert (
        "trainer/recorded computes in float32, vllm/decode in bfloat16" in said["dtype"]
    )
    assert "weight version 8, vllm/decode of 7 (as stated" in said["weight_version"]


def test_settings_show_what_was_told_and_have_no_rows_for_what_nobody_tells(
    tmp_path: Path,
) -> None:
    rows = {
        row.name: row
        for row in settings_of(
            imported(tmp_path, ("top_p=0.9", "trainer.dtype=float32"))
        ).rows
    }
    assert (
        set(rows["top_p"].values) == {"0.9 (stated)"} and rows["top_p"].kind == "same"
    )
    assert "float32 (stated)" in rows["dtype"].values
    assert "min_p" not in rows and "told" not in rows


def test_a_session_has_its_facts_already(tmp_path: Path) -> None:
    imported(tmp_path)
    with pytest.raises(InputError, match="leave --fact out"):
        import_session(
            "session",
            [str(tmp_path / "out")],
            tmp_path / "again",
            facts=["dtype=float32"],
        )


def test_the_command_takes_facts(tmp_path: Path, run_logdrift: Run) -> None:
    file = dump(tmp_path / "dump.jsonl")
    out = str(tmp_path / "out")
    flags = ("--fact", "vllm.temperature=0.6", "--fact", "dtype=bfloat16")
    done = run_logdrift("import", "jsonl", str(file), "--out", out, *flags)
    assert done.returncode == 0, done.stderr
    assert facts_of(open_session(Path(out)), "vllm/prefill").temperature == 0.6
    wrong = run_logdrift(
        "import",
        "jsonl",
        str(file),
        "--out",
        f"{out}2",
        "--fact",
        "vllm.temprature=0.6",
    )
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1
    assert "did you mean 'temperature'" in wrong.stderr
