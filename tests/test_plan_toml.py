"""A plan as TOML reads back as the same plan, whatever stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logdrift.core.credentials import secret_in
from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError
from logdrift.core.plan import (
    DTYPES,
    ROLES,
    BackendSpec,
    CapturePlan,
    SamplingSpec,
    load_plan,
    parse_spec,
)
from logdrift.core.plan.writing import plan_toml
from tests.common import refused

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SOME_TEXT = TEXT.filter(bool)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=5,
)
SAMPLING = st.builds(
    SamplingSpec,
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1, exclude_min=True),
    top_k=st.integers(0, 10**9),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(0.001, 1e300),
    max_tokens=st.integers(1, 2**70),
    seed=st.integers(-(2**70), 2**70),
)


@st.composite
def specs(draw: st.DrawFn, name: str, decodes: bool) -> BackendSpec:
    engine = draw(st.sampled_from(sorted(ENGINES)))
    allowed = [path for path in ENGINES[engine].paths if decodes or path != "decode"]
    paths = tuple(draw(st.lists(st.sampled_from(allowed), unique=True)))
    model = draw(st.none() | SOME_TEXT)
    keys = TEXT.filter(lambda key: secret_in({key: 1}) is None)
    return BackendSpec(
        name,
        engine,
        draw(st.sampled_from(DTYPES)),
        draw(st.sampled_from(ROLES)),  # type: ignore[arg-type]
        paths,
        draw(st.integers(1, 99)),
        python=draw(st.none() | SOME_TEXT),
        gpus=draw(st.none() | st.sampled_from(["0", "0,1"])),
        model=model,
        revision=draw(st.none() | SOME_TEXT) if model is not None else None,
        alone=(not paths or paths != ("decode",)) and draw(st.booleans()),
        options=(
            {
                f"o{key}": value
                for key, value in draw(
                    st.dictionaries(keys, VALUES, max_size=3)
                ).items()
            }
            if draw(st.booleans())
            else {}
        ),
    )


@st.composite
def plans(draw: st.DrawFn) -> CapturePlan:
    names = draw(
        st.lists(
            st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    generator = draw(st.integers(0, len(names)))
    return CapturePlan(
        draw(SOME_TEXT),
        tuple(draw(specs(name, i == generator)) for i, name in enumerate(names)),
        prompts_file=draw(
            st.none() | st.sampled_from(["/data/p.jsonl", "/a b/ü\\\"'.jsonl"])
        ),
        texts=tuple(draw(st.lists(TEXT, max_size=3))),
        sampling=draw(SAMPLING),
        revision=draw(st.none() | TEXT),
        title=draw(TEXT),
        top_k=draw(st.integers(0, 1024)),
        part_sequences=draw(st.integers(1, 10**6)),
        trust_remote_code=draw(st.booleans()),
        **draw(
            st.sampled_from(
                [{}, {"continue_final_message": True}, {"add_generation_prompt": True}]
            )
        ),
    )


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(plan=plans())
def test_what_is_written_reads_back_equal(plan: CapturePlan, tmp_path: Path) -> None:
    try:
        text = plan_toml(plan)
    except InputError as error:
        pytest.fail(str(error))
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")
    assert load_plan(path) == plan


def test_a_relative_prompt_file_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan saved elsewhere still reads the file that was meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plans").mkdir()
    path = tmp_path / "plans" / "plan.toml"
    path.write_text(
        plan_toml(CapturePlan("m", (parse_spec("vllm"),), prompts_file="p.jsonl"))
    )
    assert load_plan(path).prompts_file == str(tmp_path / "p.jsonl")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            CapturePlan("m", (parse_spec("vllm,x=null"),)),
            "backend 'vllm': option 'x' is null, which TOML cannot hold",
        ),
        (
            CapturePlan("m", (parse_spec('vllm,x={"a":[1,null]}'),)),
            "option 'x' is null",
        ),
        (
            CapturePlan("m\ud800", (parse_spec("vllm"),)),
            "model holds half a surrogate pair",
        ),
    ],
)
def test_what_toml_cannot_hold_is_one_line(plan: CapturePlan, said: str) -> None:
    with refused(said):
        plan_toml(plan)
