"""Digests of model folders, the small real model, and what a model's name resolves
to.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from logdrift.core.capture import models
from logdrift.core.capture.jobs import Cancelled, Step
from logdrift.core.capture.models import (
    prepare_small_model,
    resolve_model,
)
from logdrift.core.digests import (
    config_digest,
    file_digest,
    tokenizer_digest,
    weights_digest,
)
from logdrift.core.worker.hub import cannot_load, explain_hub_error
from tests.common import refused

SMALL_WEIGHTS = (
    "sha256:4b5a9c9081ad56b2712fcd8e4a8e3408b437cf96739250bc09b5175fe471d069"
)


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "b": rng.random((3, 4), np.float32),
        "a": np.arange(7, dtype=np.int64),
        "c": np.zeros((0, 2), np.float16),
    }


def run_in(
    python: Path,
    code: str,
    *arguments: object,
    timeout: float = 300,
    **environment: str,
) -> str:
    argv = [str(python), "-c", code, *map(str, arguments)]
    env = {**os.environ, **environment}
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=timeout, env=env, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# ---- digests


def test_weights_digest_does_not_depend_on_files_or_headers(tmp_path: Path) -> None:
    one = tmp_path / "one"
    many = tmp_path / "many"
    named = tmp_path / "named"
    for folder in (one, many, named):
        folder.mkdir()
    whole = tensors()
    save_file(whole, one / "model.safetensors", metadata={"format": "pt"})
    save_file({"b": whole["b"]}, many / "x-1.safetensors")
    save_file({"a": whole["a"], "c": whole["c"]}, many / "x-2.safetensors")
    index = {
        "weight_map": {
            "b": "x-1.safetensors",
            "a": "x-2.safetensors",
            "c": "x-2.safetensors",
        }
    }
    (many / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file(dict(reversed(whole.items())), named / "weights.safetensors")
    assert weights_digest(one) is not None
    assert weights_digest(one) == weights_digest(many) == weights_digest(named)


def test_weights_digest_sees_every_change(tmp_path: Path) -> None:
    def digest_of(values: dict[str, np.ndarray]) -> str | None:
        save_file(values, tmp_path / "model.safetensors")
        return weights_digest(tmp_path)

    plain = tensors()
    changed = plain["b"].copy()
    changed[2, 3] = np.nextafter(changed[2, 3], np.float32(2))
    seen = {
        digest_of(plain),
        digest_of({**plain, "b": changed}),
        digest_of({**plain, "b": plain["b"].reshape(4, 3)}),
        digest_of({**plain, "b": plain["b"].view(np.int32)}),
        digest_of({"a": plain["a"], "c": plain["c"], "d": plain["b"]}),
    }
    assert len(seen) == 5
    assert None not in seen


def test_what_cannot_be_read_whole_has_no_digest(tmp_path: Path) -> None:
    assert weights_digest(tmp_path) is None
    assert config_digest(tmp_path) is None
    assert tokenizer_digest(tmp_path) is None
    file = tmp_path / "model.safetensors"
    save_file(tensors(), file)
    file.write_bytes(file.read_bytes()[:-1])
    assert weights_digest(tmp_path) is None
    for damage in (b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]"):
        file.write_bytes(damage)
        assert weights_digest(tmp_path) is None


def test_a_config_digest_ignores_where_it_comes_from(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {"a": 1, "b": 2, "_name_or_path": "/x", "transformers_version": "5.1"}
        )
    )
    before = config_digest(tmp_path)
    config.write_text(json.dumps({"b": 2, "a": 1, "_name_or_path": "/y"}))
    assert config_digest(tmp_path) == before
    config.write_text(json.dumps({"b": 2, "a": 1.5}))
    assert config_digest(tmp_path) != before


def test_a_tokenizer_digest_is_of_what_ids_mean(tmp_path: Path) -> None:
    def digest(**changes: object) -> str | None:
        (tmp_path / "tokenizer.json").write_text(json.dumps({**tokenizer, **changes}))
        return tokenizer_digest(tmp_path)

    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    tokenizer = {
        "model": model,
        "added_tokens": [{"id": 3, "content": "<s>", "special": True}],
        "normalizer": None,
    }
    before = digest()
    assert before is not None
    (tmp_path / "chat_template.jinja").write_text("x")
    same: tuple[dict[str, object], ...] = (
        {
            "truncation": {"max_length": 8},
            "padding": {"strategy": {"Fixed": 8}},
        },  # what one padded call leaves behind
        {
            "model": {**model, "merges": ["a b"]}
        },  # as older releases of tokenizers write them
        {
            "post_processor": {"type": "TemplateProcessing"}
        },  # adding BOS is a fact of its own
    )
    for changes in same:
        assert digest(**changes) == before, changes
    assert digest(model={**model, "vocab": {"a": 1, "b": 0, "ab": 2}}) != before
    assert digest(added_tokens=[{"id": 3, "content": "</s>"}]) != before
    assert digest(normalizer={"type": "NFC"}) != before
    (tmp_path / "tokenizer.json").write_text("{}")
    assert tokenizer_digest(tmp_path) is None


# ---- the small real model


def test_the_small_model_is_an_ordinary_folder(small_model: Path) -> None:
    assert weights_digest(small_model) == SMALL_WEIGHTS
    config = json.loads((small_model / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "bfloat16"
    assert config["bos_token_id"] == 1
    assert config["eos_token_id"] == 2
    assert config["pad_token_id"] == 2
    assert config["max_position_embeddings"] == 8192
    assert config["rms_norm_eps"] == 1e-5
    generation = json.loads((small_model / "generation_config.json").read_text())
    assert generation["eos_token_id"] == 2
    assert generation["pad_token_id"] == 2
    assert "<|im_start|>assistant" in (small_model / "chat_template.jinja").read_text()
    for file in small_model.glob("*.json"):
        assert str(small_model.parent) not in file.read_text(), file


COMPARE = """
import sys, torch, numpy as np
from gguf import GGUFReader, dequantize
from safetensors.torch import load_file
names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
got = load_file(sys.argv[2] + "/model.safetensors")
for t in GGUFReader(sys.argv[1]).tensors:
    want = torch.from_numpy(np.array(dequantize(t.data, t.tensor_type)))
    if t.name == "token_embd.weight": key = "model.embed_tokens.weight"
    elif t.name == "output_norm.weight": key = "model.norm.weight"
    else:
        _, layer, kind, _ = t.name.split(".")
        key = f"model.layers.{layer}.{names[kind]}.weight"
        if kind in ("attn_q", "attn_k"):  # llama.cpp interleaves the two halves of each rotary head
            heads = 9 if kind == "attn_q" else 3
            rows, columns = want.shape
            want = want.reshape(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
    assert torch.equal(got.pop(key), want.to(torch.bfloat16)), t.name
assert not got, list(got)
print("equal")
"""

CHAT = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
assert not getattr(model, "is_quantized", False)
ask = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
ids = tokenizer.apply_chat_template(ask, add_generation_prompt=True, return_tensors="pt", return_dict=True)
out = model.generate(**ids, max_new_tokens=40, do_sample=False)[0, ids["input_ids"].shape[1]:]
print(tokenizer.decode(out))
"""


@pytest.mark.engine
def test_the_small_model_holds_the_values_of_its_source(
    transformers_python: Path, small_model: Path, tmp_path: Path
) -> None:
    gguf = models._fetch(
        transformers_python, tmp_path, tmp_path / "log", threading.Event()
    )
    assert run_in(transformers_python, COMPARE, gguf, small_model) == "equal\n"


@pytest.mark.engine
def test_the_small_model_speaks_english(
    transformers_python: Path, small_model: Path
) -> None:
    answer = run_in(transformers_python, CHAT, small_model, HF_HUB_OFFLINE="1")
    assert answer.strip() == "The capital of France is Paris.<|im_end|>"


@pytest.mark.engine
def test_preparing_it_can_be_interrupted_and_is_mended(
    transformers_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGDRIFT_CACHE", str(tmp_path))
    cancel = threading.Event()

    def stop_while_converting(step: Step) -> None:
        if step.doing.startswith("converting"):
            threading.Timer(2, cancel.set).start()

    with pytest.raises(Cancelled):
        prepare_small_model(transformers_python, stop_while_converting, cancel)
    folder = models.small_model_folder()
    assert not folder.exists()
    assert list(folder.parent.glob(".*making*")) == []

    steps: list[Step] = []
    assert prepare_small_model(transformers_python, steps.append) == folder
    assert [step.done for step in steps] == [0, 1, 2, 3]
    assert weights_digest(folder) == SMALL_WEIGHTS
    again: list[Step] = []
    assert prepare_small_model(transformers_python, again.append) == folder
    assert again == []
    with (folder / "model.safetensors").open(
        "r+b"
    ) as file:  # one bit of the last weight
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    assert not models._is_whole(folder)


# ---- names of models


def test_local_folders_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with refused(r"no config\.json"):
        resolve_model(str(folder))
    (folder / "config.json").write_text("{}")
    with refused("no weights"):
        resolve_model(str(folder))
    save_file(tensors(), folder / "model.safetensors")
    assert resolve_model(str(folder)) == str(folder)
    monkeypatch.chdir(tmp_path)
    assert resolve_model("mine") == str(folder)
    with refused("is a file"):
        resolve_model("mine/config.json")


@pytest.mark.parametrize("name", ["./none", "/none", "~/none", "a/b/c"])
def test_folders_that_are_not_there(name: str) -> None:
    with refused("no such folder"):
        resolve_model(name)


def test_hub_ids_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        resolve_model("HuggingFaceTB/SmolLM2-135M-Instruct")
        == "HuggingFaceTB/SmolLM2-135M-Instruct"
    )
    assert resolve_model("gpt2") == "gpt2"
    for wrong in ("a b", "org/", "org/a b", "\x1b[31m", "-x/y"):
        with refused("neither a folder nor a hub id") as caught:
            resolve_model(wrong)
        assert str(caught.value).isprintable()


def test_smollm2_without_transformers_says_what_to_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGDRIFT_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("LOGDRIFT_CONFIG", raising=False)
    with refused("logdrift env create transformers"):
        resolve_model("smollm2")


ASK_HUB = """
from transformers import AutoConfig
try: AutoConfig.from_pretrained("no-such-org/no-such-model")
except Exception as error: print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.engine
@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_that_cannot_be_reached_is_one_line(
    transformers_python: Path, tmp_path: Path, offline: str
) -> None:
    # Port 9 of this machine refuses connections, as a missing network does.
    hub = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": offline,
    }
    text = run_in(transformers_python, ASK_HUB, **hub)
    line = str(cannot_load("no-such-org/no-such-model", OSError(text)))
    assert line.startswith("model no-such-org/no-such-model: the hub cannot be reached")
    assert "\n" not in line


def test_errors_of_other_origin_are_not_the_hubs(tmp_path: Path) -> None:
    assert explain_hub_error("RuntimeError: out of memory", "a/b") is None
    assert (
        explain_hub_error("OSError: We couldn't connect to 'x'", str(tmp_path)) is None
    )


def test_file_digest(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    # The test vector of FIPS 180-2, appendix B.1.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "f") == f"sha256:{known}"
