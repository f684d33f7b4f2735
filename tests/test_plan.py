"""Plans: backend specs, TOML, and one clear line for everything that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logdrift.core.errors import InputError
from logdrift.core.plan import (
    BackendSpec,
    CapturePlan,
    SamplingSpec,
    load_plan,
    parse_spec,
)


def test_spec_with_everything() -> None:
    spec = parse_spec(
        'vllm:bf16,enforce_eager=true,hf_overrides={"head_dtype":"float32","x":[1,2]},gpu_memory_utilization=0.5,'
        "python=~/v/bin/python,repeats=3,paths=prefill+forced_decode,gpus=0+1,tag=a@b,role=rollout@fast"
    )
    assert spec.name == "fast"
    assert spec.dtype == "bfloat16"
    assert spec.paths == ("prefill", "forced_decode")
    assert spec.repeats == 3
    assert spec.python == "~/v/bin/python"
    assert spec.gpus == "0,1"
    assert dict(spec.options) == {
        "enforce_eager": True,
        "hf_overrides": {"head_dtype": "float32", "x": [1, 2]},
        "gpu_memory_utilization": 0.5,
        "tag": "a@b",
    }


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("transformers:float32@reference", "reference"),
        ("transformers", "trainer"),
        ("vllm", "rollout"),
        ("sglang@x", "rollout"),
    ],
)
def test_role_comes_from_name_then_engine(text: str, role: str) -> None:
    assert parse_spec(text).role == role


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tensorrt", "engine 'tensorrt' is unknown: use transformers, vllm, sglang"),
        ("vllm:int3", "dtype 'int3' is unknown"),
        ("vllm,eager", "'eager' is not option=value"),
        ("vllm,repeats=two", "repeats=two is not a whole number"),
        ("sglang,paths=forced_decode", "sglang has no path 'forced_decode'"),
        (
            "transformers,server=http://127.0.0.1:1",
            "transformers has no server to attach to",
        ),
        ("vllm,api_key=abc", "looks like a credential"),
        ("vllm,hf_token=abc", "looks like a credential"),
        ("vllm,gpus=first", "gpus is 'first'"),
        ("vllm,alone=perhaps", "alone=perhaps: give true or false"),
        (
            "vllm,alone=true,paths=decode",
            "alone scores given ids once more, and this backend scores none",
        ),
        ("vllm,model=", "model is empty"),
        ("vllm,repeats=1,repeats=2", "repeats stands twice: give it once"),
        (
            "vllm,enforce_eager=true,enforce_eager=false",
            "enforce_eager stands twice: give it once",
        ),
        ("vllm,revision=main", "revision belongs to a model of its own"),
    ],
)
def test_bad_spec_is_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("tensorrt@x", "backend[x].engine"),
        ("vllm:int3", "backend[vllm].dtype"),
        ("vllm,role=judge@x", "backend[x].role"),
        ("vllm,eager", "backend[vllm].options"),
        ("vllm,repeats=two", "backend[vllm].options"),
        ("vllm,repeats=0@x", "backend[x].repeats"),
        ("sglang,paths=forced_decode@x", "backend[x].paths"),
        ("vllm,server=127.0.0.1:1", "backend[vllm].server"),
        ("vllm,api_key=abc", "backend[vllm].options"),
        ("vllm,gpus=first", "backend[vllm].gpus"),
        ("vllm,alone=true,paths=decode", "backend[vllm].alone"),
        ("vllm,model=", "backend[vllm].model"),
        ("vllm,revision=main", "backend[vllm].revision"),
    ],
)
def test_an_error_of_a_spec_knows_its_field(text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(text)
    assert caught.value.field == field


def test_an_error_of_a_plan_knows_its_field() -> None:
    vllm = parse_spec("vllm,paths=decode")
    sglang = parse_spec("sglang,paths=decode")
    refused: list[tuple[str, Callable[[], object]]] = [
        ("model", lambda: CapturePlan("", (vllm,))),
        ("backends", lambda: CapturePlan("m", ())),
        ("top_k", lambda: CapturePlan("m", (vllm,), top_k=-1)),
        ("backend[vllm].name", lambda: CapturePlan("m", (vllm, parse_spec("vllm")))),
        ("backend[sglang].paths", lambda: CapturePlan("m", (vllm, sglang))),
        ("sampling.top_p", lambda: SamplingSpec(top_p=2)),
        ("title", lambda: CapturePlan("m", (vllm,), title="hf_0123456789abcdef")),
        (
            "backend[vllm].paths",
            lambda: CapturePlan("m", (vllm,)).with_paths(generate=False),
        ),
    ]
    for field, act in refused:
        with pytest.raises(InputError) as caught:
            act()
        assert caught.value.field == field


def test_an_error_of_a_plan_file_knows_the_file(tmp_path: Path) -> None:
    path = _toml(
        tmp_path, 'model = "m"\n[[backend]]\nengine = "vllm"\nname = "x"\npaths = 3\n'
    )
    with pytest.raises(InputError) as caught:
        load_plan(path)
    assert caught.value.field == "backend[x].paths"
    assert caught.value.file == str(path)


def test_max_num_batched_tokens_is_no_credential() -> None:
    assert parse_spec("vllm,max_num_batched_tokens=64").options == {
        "max_num_batched_tokens": 64
    }


def test_json_round_trip() -> None:
    plan = CapturePlan(
        model="m",
        backends=(
            parse_spec("vllm:float32,enforce_eager=true,paths=decode"),
            parse_spec("transformers,model=other,alone=true@reference"),
        ),
        sampling=SamplingSpec(temperature=0.7, seed=3),
        top_k=5,
    )
    assert CapturePlan.from_json(plan.to_json()) == plan


def test_a_plan_saved_before_models_of_their_own_reads_as_before() -> None:
    plan = CapturePlan(model="m", backends=(parse_spec("vllm"),))
    data = plan.to_json()
    for key in ("model", "revision", "alone"):
        del data["backends"][0][key]
    assert CapturePlan.from_json(data) == plan


def test_generator_is_the_first_rollout_without_paths() -> None:
    plan = CapturePlan(
        "m", tuple(map(parse_spec, ("transformers@reference", "vllm", "sglang")))
    )
    filled = plan.with_paths(generate=True)
    assert [spec.paths for spec in filled.backends] == [
        ("prefill",),
        ("decode", "prefill"),
        ("prefill",),
    ]
    assert filled.generator is not None
    assert filled.generator.name == "vllm"
    assert all(
        spec.paths == ("prefill",) for spec in plan.with_paths(generate=False).backends
    )


def test_decode_is_refused_for_complete_sequences() -> None:
    plan = CapturePlan("m", (parse_spec("vllm,paths=decode"),))
    with pytest.raises(InputError, match="already has its completion"):
        plan.with_paths(generate=False)


def test_two_generators_and_two_names_are_refused() -> None:
    with pytest.raises(InputError, match="both have path decode"):
        CapturePlan(
            "m", (parse_spec("vllm,paths=decode"), parse_spec("sglang,paths=decode"))
        )
    with pytest.raises(InputError, match="two backends are called 'vllm'"):
        CapturePlan("m", (parse_spec("vllm"), parse_spec("vllm:float32")))


def test_labels_repeat_scoring_but_not_sampling() -> None:
    spec = BackendSpec("v", "vllm", paths=("decode", "prefill"), repeats=2)
    assert [name.label for name in spec.labels()] == [
        "v/decode",
        "v/prefill",
        "v/prefill#2",
    ]


def test_alone_captures_each_scoring_path_once_more() -> None:
    spec = BackendSpec(
        "v", "vllm", paths=("decode", "prefill", "forced_decode"), repeats=2, alone=True
    )
    names = spec.labels()
    assert [name.label for name in names] == [
        "v/decode",
        "v/prefill",
        "v/forced_decode",
        "v/prefill#2",
        "v/forced_decode#2",
        "v/prefill#alone",
        "v/forced_decode#alone",
    ]
    assert [name.label for name in names if name.batch == "alone"] == [
        "v/prefill#alone",
        "v/forced_decode#alone",
    ]
    found = {name.repeat for name in names if name.batch == "alone"}
    assert found == {1}


def test_a_model_of_its_own_and_alone_in_a_spec() -> None:
    spec = parse_spec(
        "transformers:bfloat16,model=org/checkpoint,revision=step-100,alone=true@trainer"
    )
    assert (spec.model, spec.revision, spec.alone) == (
        "org/checkpoint",
        "step-100",
        True,
    )
    assert spec.options == {}
    assert parse_spec("vllm,alone=false").alone is False
    assert parse_spec("vllm").model is None


def _toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return path


def test_toml_plan(tmp_path: Path) -> None:
    plan = load_plan(
        _toml(
            tmp_path,
            'model = "smollm2"\ntop_k = 7\n[prompts]\nfile ='
            ' "p.jsonl"\n[sampling]\ntemperature = 1\nmax_tokens ='
            ' 9\n[[backend]]\nengine = "transformers"\nname = "reference"\ndtype ='
            ' "float32"\n[[backend]]\nengine = "vllm"\nrepeats = 2\nmodel ='
            ' "ckpt"\nalone = true\n[backend.options]\nenforce_eager = true\n',
        )
    )
    assert plan.prompts_file == str(tmp_path / "p.jsonl")
    assert plan.backends[0].role == "reference"
    assert plan.backends[1].options == {"enforce_eager": True}
    assert (plan.backends[1].model, plan.backends[1].alone) == ("ckpt", True)
    assert plan.top_k == 7
    assert plan.sampling.max_tokens == 9


def test_a_plan_says_what_becomes_of_an_assistant_turn_at_the_end(
    tmp_path: Path,
) -> None:
    begun = 'model = "m"\nbackend = ["vllm"]\n[prompts]\ntexts = ["a"]\n'
    for line, turn in (
        ("", None),
        ("continue_final_message = true\n", "continue"),
        ("add_generation_prompt = true\n", "answer"),
    ):
        plan = load_plan(_toml(tmp_path, begun + line))
        assert plan.final_turn == turn
        assert CapturePlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model =", "not valid TOML"),
        (
            'model = "m"\n[prompts]\ntexts = "Hello"\n',
            "prompts.texts is not a list of texts",
        ),
        ('model = "m"\n[prompts]\nfile = 3\n', "prompts.file is not text"),
        ('model = "m"\nbackend = 3\n', "backend is not a list: write [[backend]]"),
        ('model = "m"\nbackend = [3]\n', "backend[0] is neither a table nor text"),
        (
            'model = "m"\n[backend]\nengine = "vllm"\n',
            "backend is not a list: write [[backend]]",
        ),
        (
            'model = "m"\n[[backend]]\nengine = "vllm"\noptions = "x"\n',
            "backend[0].options is not a table",
        ),
        ('model = "m"\ntopk = 3\n', "topk is unknown: did you mean 'top_k'?"),
        (
            'model = "m"\n[sampling]\ntemprature = 1\n',
            "sampling.temprature is unknown: did you mean 'temperature'?",
        ),
        (
            'model = "m"\n[[backend]]\nengine = "vllm"\nrepeat = 2\n',
            "backend[0].repeat is unknown: did you mean 'repeats'?",
        ),
        (
            'model = "m"\n[[backend]]\nengine = "llama"\n',
            "backend[0].engine is 'llama'",
        ),
        (
            'model = "m"\ntop_k = "many"\n[[backend]]\nengine = "vllm"\n',
            "top_k is 'many': give a whole number",
        ),
        (
            'model = "m"\n[sampling]\ntemperature = 9\n[[backend]]\nengine = "vllm"\n',
            "sampling.temperature is 9: give 0 to 2",
        ),
        (
            'model = "m"\n[[backend]]\nengine = "vllm"\nalone = 1\n',
            "backend[0].alone is 1: give true or false",
        ),
        (
            'model = "m"\n[[backend]]\nengine = "vllm"\nmodel = 1\n',
            "backend[0].model is 1",
        ),
        ('model = "m"\n', "no backend"),
        (
            'model = "m"\n[sampling]\nstop = ["x"]\n',
            "sampling.stop is not in this version: completions end at",
        ),
        (
            'model = "m"\n[sampling]\nn = 4\n',
            "sampling.n is not in this version: repeat the prompt instead",
        ),
        ('model = "m"\nn = 4\n', "n is not in this version: repeat the prompt instead"),
        (
            'model = "m"\n[sampling]\nmax_tokens = 4\nbackend = ["vllm"]\n',
            (
                "sampling.backend stands in the wrong place: it belongs to the plan"
                " itself, above the first [table]"
            ),
        ),
        (
            'model = "m"\n[prompts]\n[[prompts.backend]]\n',
            "prompts.backend stands in the wrong place",
        ),
        (
            '[prompts]\nmodel = "m"\n',
            (
                "prompts.model stands in the wrong place: it belongs to the plan"
                " itself, above"
            ),
        ),
        (
            'model = "m"\ntemperature = 1\n',
            "temperature stands in the wrong place: it belongs to [sampling]",
        ),
        (
            'model = "m"\ntexts = ["a"]\n',
            "texts stands in the wrong place: it belongs to [prompts]",
        ),
        (
            'model = "m"\ndtype = "float32"\n',
            "dtype stands in the wrong place: it belongs to a [[backend]]",
        ),
        (
            'model = "m"\n[[backend]]\nengine = "vllm"\ntop_k = 5\n',
            (
                "backend[0].top_k stands in the wrong place: it belongs to the plan"
                " itself, above the first [table] or [sampl"
            ),
        ),
        (
            'model = "m"\n[[backend]]\nengine = "vllm"\nenforce_eager = true\n',
            "backend[0].enforce_eager is unknown: known are alone, ",
        ),
        (
            'model = "m"\n[[backend]]\nengine = "vllm"\nenforce_eager = true\n',
            "the engine's own options stand under [backend.options]",
        ),
        (
            (
                'model = "m"\n[[backend]]\nengine = "vllm"\n[backend.options]\nrepeats'
                " = 2\n"
            ),
            (
                "backend[0].options.repeats belongs to the backend itself: write it"
                " above [backend.options]"
            ),
        ),
        (
            'model = "m"\n[[backends]]\nengine = "vllm"\n',
            "backends is unknown: did you mean 'backend'?",
        ),
        (
            'model = "m"\ntemprature = 1\n',
            "temprature is unknown: did you mean 'temperature' of [sampling]?",
        ),
        (
            'model = "m"\n[prompts]\nfile = ""\n',
            "prompts.file is empty: name a file, or leave it out",
        ),
        (
            'model = "m"\n[prompts]\nadd_generation_prompt = false\n',
            "prompts.add_generation_prompt is False: give true, or leave it out",
        ),
        (
            (
                'model = "m"\nbackend = ["vllm"]\n[prompts]\nadd_generation_prompt ='
                " true\ncontinue_final_message = true\n"
            ),
            "continue_final_message and add_generation_prompt exclude each other",
        ),
        (
            'model = "m"\n[[backend]]\nengine = "vllm"\npaths = "decode"\n',
            "backend[0].paths is not a list",
        ),
        ('[[backend]]\nengine = "vllm"\n', "model is missing"),
    ],
)
def test_bad_toml_names_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_plan(_toml(tmp_path, text))
    assert said in str(caught.value)
    assert "plan.toml" in str(caught.value)


def test_missing_plan_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_plan(tmp_path / "none.toml")
