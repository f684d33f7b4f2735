"""Names, not digests, of what real engines loaded: captured through the command, looked
at on every surface.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.session.reader import open_session
from tests.common import Run

pytestmark = pytest.mark.engine
IDS = [
    {
        "token_ids": [1, 5, 9, 14, 23, 40, 7, 8, 77, 100, 3, 4, 5, 6, 90, 91],
        "prompt_length": 3,
    }
]


@pytest.fixture(scope="module")
def models(
    run_script: Callable[..., Any],
    transformers_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    folder = str(tmp_path_factory.mktemp("models"))
    found = run_script(transformers_python, "config_pairs.py", folder, dict(os.environ))
    return dict(found)


@pytest.fixture(scope="module")
def session(
    models: dict[str, str], tmp_path_factory: pytest.TempPathFactory, run_logdrift: Run
) -> Path:
    """One backend for each model folder, over the same ids."""
    folder = tmp_path_factory.mktemp("sessions")
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in IDS))
    out = folder / "s"
    backends = ["--backend", "transformers:float32@plain"]
    for name, model in models.items():
        if name != "plain":
            backends += ["--backend", f"transformers:float32,model={model}@{name}"]
    done = run_logdrift(
        "capture",
        "--model",
        models["plain"],
        "--prompts",
        prompts,
        *backends,
        "--top-k",
        5,
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    return out


def _reasons(run_logdrift: Run, session: Path, name: str) -> dict[str, str]:
    done = run_logdrift("report", session, "--pair", f"plain:{name}", "--json")
    assert done.returncode == 0, done.stderr
    (pair,) = json.loads(done.stdout)["pairs"]
    return {reason["code"]: reason["text"] for reason in pair["gate"]["reasons"]}


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("theta", "config", "rope_parameters.rope_theta 10000 against 1000000"),
        ("window", "config", "sliding_window null against 8"),
        ("eps", "config", "rms_norm_eps 1e-06 against 0.001"),
        ("ids", "config_files", "eos_token_id 2 against 3, which changes no score"),
        ("text", "tokenizer", "vocabulary 128 against 129"),
        (
            "text",
            "template",
            "chat_template line 2 {{ m.content }} against [{{ m.content }}]",
        ),
    ],
)
def test_the_key_that_was_changed_is_named_with_its_values(
    session: Path, run_logdrift: Run, name: str, code: str, said: str
) -> None:
    reasons = _reasons(run_logdrift, session, name)
    assert said in reasons[code], reasons
    others = (
        {"config", "config_files", "tokenizer", "template"} - {code}
        if name != "text"
        else set()
    )
    assert not others & reasons.keys()


def test_every_surface_says_it(session: Path, run_logdrift: Run) -> None:
    said = "rope_parameters.rope_theta 10000 against 1000000"
    for flags in ([], ["--md"], ["--html"]):
        done = run_logdrift("report", session, "--pair", "plain:theta", *flags)
        assert said in " ".join(done.stdout.replace("\\", "").split()), flags
    told = run_logdrift("why", session, "--pair", "plain:theta", "--json")
    causes = json.loads(told.stdout)["pairs"][0]["causes"]
    evidence = [
        e["sentence"]
        for cause in causes
        if cause["cause"] == "config"
        for e in cause["evidence"]
    ]
    assert any(said in sentence for sentence in evidence), causes
    change = run_logdrift(
        "diff",
        session,
        session,
        "--pair",
        "plain:eps",
        "--new-pair",
        "theta:eps",
        "--json",
    )
    rows = {
        row["setting"]: (row["old"], row["new"])
        for row in json.loads(change.stdout)["changed"]
    }
    assert rows["config.rope_parameters.rope_theta"] == ("10000", "1000000")
    text = run_logdrift(
        "diff", session, session, "--pair", "plain:eps", "--new-pair", "theta:eps"
    ).stdout
    assert "config_digest" not in text
    assert "config.rope_parameters.rope_theta: 10000 → 1000000" in text


def test_what_is_kept_is_small_and_names_no_machine(
    session: Path, models: dict[str, str]
) -> None:
    found = open_session(session)
    files = sorted((session / "facts").iterdir())
    assert [file.name.partition("-")[0] for file in files] == sorted(models)
    for file in files:
        text = file.read_text()
        assert len(text) < 20_000
        assert str(session.parent) not in text
        assert str(Path.home()) + "/" not in text
        assert not [folder for folder in models.values() if folder in text]
    loaded = found.loaded("plain/prefill")
    assert loaded is not None
    assert loaded.config is not None
    assert loaded.tokenizer is not None
    assert loaded.config["rope_parameters"]["rope_theta"] == 10000
    assert loaded.tokenizer["special"]["eos_token"] == "</s> (id 2)"
    assert loaded.tokenizer["pre_tokenizer"]["type"] == "Whitespace"


def test_an_override_of_vllm_is_named_with_what_it_changed(
    small_model: Path, vllm_python: Path, tmp_path: Path, run_logdrift: Run
) -> None:
    """Between two engines on one model nothing but the override is named: what vLLM
    adds to a config is no difference.
    """
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        json.dumps(
            {
                "token_ids": [504, 3575, 282, 4649, 314, 260, 2240, 28],
                "prompt_length": 3,
            }
        )
        + "\n"
    )
    rope = {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}
    vllm = f"vllm:bfloat16,enforce_eager=true,hf_overrides={json.dumps(rope)}@rollout"
    done = run_logdrift(
        "capture",
        "--model",
        "smollm2",
        "--prompts",
        prompts,
        "--backend",
        "transformers:bfloat16@trainer",
        "--backend",
        vllm,
        "--top-k",
        5,
        "--out",
        tmp_path / "s",
    )
    assert done.returncode == 0, done.stderr
    done = run_logdrift("report", tmp_path / "s", "--json")
    (pair,) = json.loads(done.stdout)["pairs"]
    reasons = {reason["code"]: reason for reason in pair["gate"]["reasons"]}
    assert (
        not {"config", "config_files", "tokenizer", "template", "unread"}
        & reasons.keys()
    )
    assert reasons["overrides"]["severity"] == "caution"
    assert reasons["overrides"]["differences"] == [
        {
            "name": "rope_parameters.rope_theta",
            "a": "100000",
            "b": "10000",
            "counts": True,
        }
    ]
    assert (
        "(rope_parameters.rope_theta 100000 against 10000)"
        in reasons["overrides"]["text"]
    )
