"""Are the weights those on disk? Asked of real engines that run tiny models of many
families.

    LOGDRIFT_FAMILIES=all python -m pytest tests/test_identity_families.py      every
    family in every engine, both dtypes

Without it vLLM and SGLang, which take seconds to start each model, are asked about the
families that differ most in how they keep their weights: about a minute in all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import SERVED

pytestmark = pytest.mark.engine

EVERYTHING = os.environ.get("LOGDRIFT_FAMILIES") == "all"
ALL = tuple(SERVED)
ASKED: dict[str, tuple[str, ...]] = {
    "transformers": ALL,
    "vllm": (
        ALL
        if EVERYTHING
        else ("gpt2-tied", "qwen3-moe-untied", "qwen2-tied", "gemma3-tied")
    ),
    "sglang": ALL if EVERYTHING else ("gpt2-tied", "qwen3-moe-untied"),
}
DTYPES = ("bfloat16", "float32") if EVERYTHING else ("bfloat16",)
CASES = [
    (engine, dtype, family)
    for engine, families in ASKED.items()
    for dtype in DTYPES
    for family in families
]
PROBED = {
    "gpt2-tied": ("c_attn", "c_proj", "c_fc"),
    "qwen3-moe-untied": ("q_proj", "k_proj", "v_proj", "o_proj", "gate"),
    "mixtral-untied": ("q_proj", "k_proj", "v_proj", "o_proj", "gate"),
}
"""Matrices that vLLM packs on a CPU; of other families all of a layer."""
LAYER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def models(
    run_script: Callable[..., Any],
    transformers_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, str]]:
    """The folder with the models, and the tensor that is changed in each."""
    folder = tmp_path_factory.mktemp("families")
    wish = json.dumps({"folder": str(folder), "families": ALL})
    return folder, run_script(
        transformers_python, "weights_models.py", wish, dict(os.environ)
    )


@pytest.fixture(scope="module")
def read(
    run_script: Callable[..., Any],
    models: tuple[Path, dict[str, str]],
    request: pytest.FixtureRequest,
) -> Callable[[str, str], Any]:
    """What an engine in a dtype says of each of its families; each engine is started
    once for all of them.
    """
    from logdrift.core.capture.environments import engine_environment

    known: dict[tuple[str, str], Any] = {}

    def found(engine: str, dtype: str) -> Any:
        if (engine, dtype) not in known:
            python = request.getfixturevalue(f"{engine}_python")
            wish = {
                "engine": engine,
                "dtype": dtype,
                "folder": str(models[0]),
                "families": ASKED[engine],
            }
            environment = {**os.environ, **engine_environment(engine, "cpu", "", "")}
            known[engine, dtype] = run_script(
                python, "weights_families.py", json.dumps(wish), environment
            )
        return known[engine, dtype]

    return found


@pytest.mark.parametrize(("engine", "dtype", "family"), CASES)
def test_every_tensor_is_as_on_disk_and_one_that_was_changed_is_named(
    read: Callable[[str, str], Any],
    models: tuple[Path, dict[str, str]],
    engine: str,
    dtype: str,
    family: str,
) -> None:
    found = read(engine, dtype)[family]
    as_is = found["as is"]
    changed = found["changed"]
    assert [t for t in as_is["tensors"] if t["same"] is not True] == []
    assert as_is["extra"] == []
    assert (
        as_is["tied"]["loaded"] is as_is["tied"]["config"] is family.endswith("-tied")
    )
    (differs,) = [t for t in changed["tensors"] if t["same"] is not True]
    assert differs["same"] is False
    assert differs["name"] == models[1][family]
    # 0.01 of noise, and the two roundings to bfloat16 of the files: at most 2^-8 /
    # sqrt(3) / 1.4 each, in quadrature
    assert 0.0095 < differs["l2"] < 0.0107
    assert differs["share"] > 0.5
    assert differs["kind"]["kind"] == "entries"
    probed = {t["name"].split(".")[-2] for t in as_is["tensors"] if t["how"] == "probe"}
    assert probed == (set(PROBED.get(family, LAYER)) if engine == "vllm" else set())
    assert all(t["columns"] == t["of"] for t in as_is["tensors"] if t["how"] == "probe")
