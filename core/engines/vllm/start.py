"""Starting vLLM and observing how it then runs. `logdrift.core.engines.vllm.backend`
says why it is started as it is.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts, LogprobSemantics
from logdrift.core.worker import observe
from logdrift.core.worker.base import BackendSettings

_FORCED_MODULE = "logdrift.core.engines.vllm.forced"
_MODES = ("raw_logprobs", "processed_logprobs")
WARM = "warm_prefix_cache"
"""Our own option: forced decode finds every prompt in the prefix cache already."""
_DEFAULT_MAX_LOGPROBS = 20
_REFUSED = {
    "model": "write it as the backend's own key, beside engine and dtype",
    "revision": "write it as the backend's own key, or set it for the whole plan",
    "trust_remote_code": "set it for the whole plan",
    "dtype": "write it as vllm:DTYPE",
    "runner": "only text generation gives logprobs",
    "convert": "only text generation gives logprobs",
    "data_parallel_size": "the offline engine runs one replica",
}


def check_mode(settings: BackendSettings) -> str:
    """``logprobs_mode`` of the spec. Raises InputError where it gives no logprobs or
    spoils forced decode.
    """
    spec = settings.spec
    mode = str(spec.options.get("logprobs_mode", "raw_logprobs"))
    if mode not in _MODES:
        reason = f"logprobs_mode={mode} gives no log-probabilities"
        raise spec.error("options", reason, f"use {' or '.join(_MODES)}")
    for path in settings.paths:
        if refusal := ENGINES["vllm"].refusal(path, spec.options):
            raise spec.error("paths", refusal)
    return mode


def start(settings: BackendSettings) -> tuple[Any, dict[str, str]]:
    """The running ``LLM``, and the environment that it was started in.

    The environment is taken before vLLM adds variables of its own, whose values are new
    in each run.
    """
    if not isinstance(settings.spec.options.get(WARM, False), bool):
        raise settings.spec.error("options", f"option {WARM}", "give true or false")
    for name, value in settings.spec.options.items():
        if name.startswith("VLLM_"):
            os.environ[name] = (
                str(int(value)) if isinstance(value, bool) else str(value)
            )
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # Where the plugin vllm-lens is installed, it makes every engine eager.
    os.environ.setdefault("VLLM_LENS_DISABLE", "1")
    try:
        import vllm
    except ImportError as error:
        raise LogdriftError(
            f"vllm cannot be imported by this interpreter: {cause(error)}"
        ) from error
    _check_option_names(settings, vllm)
    options = _options(settings)
    environment = observe.environment()
    return _build(settings, vllm, options), environment


def _options(settings: BackendSettings) -> dict[str, Any]:
    """Keyword arguments of ``LLM``: defaults, then the user's options, then what the
    numbers depend on.
    """
    from vllm.platforms import current_platform

    user = {
        key: value for key, value in settings.spec.options.items() if not _ours(key)
    }
    options: dict[str, Any] = {
        "max_model_len": settings.max_length + 1,
        "seed": 0,
        # Only a completion needs the tokenizer, for its end-of-sequence id; decoding
        # text is never asked for.
        "skip_tokenizer_init": "decode" not in settings.paths,
        "worker_extension_cls": f"{_FORCED_MODULE}.Observer",
    }
    if settings.other_tokenizer is not None:
        options["tokenizer"] = settings.other_tokenizer
    if current_platform.is_cpu():
        options["enforce_eager"] = True
        _prepare_cpu(user)
    options.update(user)
    max_logprobs = options.get("max_logprobs", _DEFAULT_MAX_LOGPROBS)
    if max_logprobs != -1:
        options["max_logprobs"] = max(int(max_logprobs), settings.top_k)
    return {
        **options,
        "model": settings.model,
        "revision": settings.revision,
        "dtype": settings.spec.dtype,
        "trust_remote_code": settings.trust_remote_code,
    }


def _prepare_cpu(user: Mapping[str, Any]) -> None:
    """What is set by environment on a CPU, each unless the user has set it.

    ``torch.compile`` goes off together with vLLM's compilation, in processes that vLLM
    spawns too, before vLLM imports the functions that it decorates, since torch looks
    at decoration. One thread per core but one is what vLLM's CPU executor sets for its
    workers (utils/ompmultiprocessing.py): with every core taken, any other busy process
    stalls each of the engine's many short parallel regions, and decoding was seen to
    take 20 times as long.
    """
    from vllm import envs

    if "kv_cache_memory_bytes" not in user:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    is_eager = user.get("enforce_eager", True)
    if is_eager and os.environ.setdefault("TORCH_COMPILE_DISABLE", "1") == "1":
        import torch._dynamo.config

        torch._dynamo.config.disable = True
    if not envs.VLLM_ENABLE_V1_MULTIPROCESSING and "OMP_NUM_THREADS" not in os.environ:
        import torch

        threads = max(1, torch.get_num_threads() - 1)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


def _build(settings: BackendSettings, vllm: Any, options: Mapping[str, Any]) -> Any:
    """Build the ``LLM``. Two refusals come early, before weights are read, and are
    answered by another try: trace replay where the runner is V1, and one token of room
    more than the model's config allows.
    """
    forced = "forced_decode" in settings.paths
    own_length = "max_model_len" in settings.spec.options
    processors = [*options.get("logits_processors", ()), f"{_FORCED_MODULE}:ForcedIds"]
    wish: dict[str, Any] = dict(options)
    if forced and _may_replay():
        wish["enable_trace_replay"] = True
    elif forced:
        wish["logits_processors"] = processors
    for _ in range(3):
        try:
            return vllm.LLM(**wish)
        except Exception as error:
            text = cause(error)
            needs_v2 = "trace replay requires" in text
            if needs_v2 and wish.pop("enable_trace_replay", False):
                wish["logits_processors"] = processors
            elif (positions := _positions(text)) and not own_length:
                wish["max_model_len"] = _length_beyond(positions, settings.max_length)
            else:
                raise LogdriftError(f"vllm did not start: {text}") from error
    raise LogdriftError(
        "vllm did not start: its configuration was refused twice, see the log"
    )


def _positions(text: str) -> int | None:
    """The model's positions by vLLM's refusal of a longer max_model_len; None for
    another error.
    """
    found = re.search(r"greater than the derived max_model_len \(\w+=(\d+)", text)
    if found:
        return int(found[1])
    return None


def _length_beyond(positions: int, longest: int) -> int | None:
    """``max_model_len`` where one more than the longest sequence is more than the model
    has.

    The token that vLLM samples after a sequence is dropped and never fed, so a sequence
    with all the model's positions fits, if vLLM is made to allow the one more. For a
    longer sequence: None, vLLM's own limit, by which it is refused.
    """
    if longest > positions:
        return None
    os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] = "1"
    return longest + 1


def facts(
    settings: BackendSettings,
    llm: Any,
    mode: str,
    params: Any,
    environment: Mapping[str, str],
) -> Facts:
    """Facts of the running engine. ``params`` are the ``SamplingParams`` of a
    completion, as vLLM adjusted them.
    """
    config = llm.llm_engine.vllm_config
    seen = _observed(llm)
    known = Facts(
        **observe.versions("vllm", ENGINES["vllm"].distributions),
        **_device(seen),
        decode_logprobs=semantics(mode, params),
        prefill_logprobs="raw",
        rank_counts="inclusive",
        model_class=seen.get("model_class"),
        padding="none",
        batch_invariant=_batch_invariant(),
        environment=dict(environment),
        extra={
            "model_runner": "v2" if config.use_v2_model_runner else "v1",
            "logprobs_mode": str(config.model_config.logprobs_mode),
            WARM: bool(settings.spec.options.get(WARM, False)),
            "block_size": config.cache_config.block_size,
            "async_scheduling": bool(config.scheduler_config.async_scheduling),
            "engine_core": "in process" if in_process(llm) else "own process",
            "logit_scale": seen.get("logit_scale"),
            "soft_cap": seen.get("soft_cap"),
        },
    )
    if "decode" in settings.paths:
        known = known._replace(temperature=float(params.temperature))
    known = _with_numerics(known, seen)
    return _with_config(known, config)


def _device(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The device and its threads, as the process that holds the model sees them."""
    kind = seen.get("device")
    device = observe.device(str(kind)) if kind else {}
    threads = seen.get("threads")
    if threads:
        device["threads"] = threads
    return device


def _with_numerics(known: Facts, seen: Mapping[str, Any]) -> Facts:
    """``known`` with what the numbers are computed and kept in, as ``seen`` beside the
    model.
    """
    attention = seen.get("attention") or ()
    compilation = seen.get("compilation_mode")
    graphs = seen.get("cudagraph_mode")
    return known._replace(
        dtype=observe.dtype_name(seen.get("dtype")),
        head_dtype=observe.dtype_name(seen.get("head_dtype")),
        logits_dtype=observe.dtype_name(seen.get("logits_dtype")),
        logits_size=seen.get("logits_size"),
        kv_cache_dtype=observe.dtype_name(seen.get("kv_cache_dtype")),
        attention_backend="+".join(attention) or None,
        execution_mode=_execution_mode(compilation, graphs),
    )


def _with_config(known: Facts, config: Any) -> Facts:
    """``known`` with what vLLM's resolved config says."""
    model = config.model_config
    scheduler = config.scheduler_config
    return known._replace(
        quantization=str(model.quantization or "none"),
        prefix_cache=bool(config.cache_config.enable_prefix_caching),
        chunked_prefill=bool(scheduler.enable_chunked_prefill),
        chunk_size=int(scheduler.max_num_batched_tokens),
        max_batch_sequences=int(scheduler.max_num_seqs),
        max_length=int(model.max_model_len),
        tensor_parallel=int(config.parallel_config.tensor_parallel_size),
        vocab_size=int(model.get_vocab_size()),
        config_overrides=_overrides(model),
    )


def semantics(mode: str, params: Any) -> LogprobSemantics:
    """What decode logprobs mean under ``logprobs_mode`` and these ``SamplingParams`` as
    vLLM adjusted them.

    Processed logprobs are log-softmax after penalties, temperature, min-p, top-k and
    top-p (v1/sample/sampler.py); with all but the temperature off they are
    log-softmax(logits / T), and for T = 1, or greedy, untouched.
    """
    if mode == "raw_logprobs":
        return "raw"
    adds_penalty = params.presence_penalty != 0.0 or params.frequency_penalty != 0.0
    is_penalised = adds_penalty or params.repetition_penalty != 1.0
    is_greedy = params.temperature < 1e-5
    is_cut = params.top_p < 1.0 or params.top_k > 0 or params.min_p > 0.0
    if is_penalised or (is_cut and not is_greedy):
        return "processed"
    if is_greedy or params.temperature == 1.0:
        return "raw"
    return "temperature_scaled"


def in_process(llm: Any) -> bool:
    """Whether the engine core runs in this process."""
    return type(llm.llm_engine.engine_core).__name__ == "InprocClient"


def cause(error: BaseException) -> str:
    """The root of an exception chain in one line. Pydantic's several lines become its
    first finding.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    details = getattr(error, "errors", None)
    if callable(details):
        text = _first_finding(details(), text)
    lines = text.strip().splitlines()
    first_line = lines[0].rstrip() if lines else type(error).__name__
    return first_line[:400]


def _first_finding(findings: Iterable[Mapping[str, Any]], text: str) -> str:
    """The first of Pydantic's ``findings`` in words; ``text`` stands for a message that
    it does not have.
    """
    finding: Mapping[str, Any] = next(iter(findings), {})
    keys = [str(key) for key in finding.get("loc", ())]
    message = str(finding.get("msg", text))
    what = message.removeprefix("Value error, ")
    if not keys:
        return what
    where = ".".join(keys)
    value = finding.get("input")
    return f"{where}={value!r}: {what}"


def _observed(llm: Any) -> Mapping[str, Any]:
    """What `logdrift.core.engines.vllm.forced.Observer` says from where the model is;
    empty where the user's own extension took its place or an engine of another version
    does not let it look.
    """
    try:
        answers: list[Mapping[str, Any]] = llm.collective_rpc("logdrift_observe")
    except Exception as error:
        print(
            f"logdrift: the running engine could not be observed: {cause(error)}",
            flush=True,
        )
        return {}
    if answers:
        return answers[0]
    return {}


def _check_option_names(settings: BackendSettings, vllm: Any) -> None:
    spec = settings.spec
    engine_arguments = {field.name for field in dataclasses.fields(vllm.EngineArgs)}
    parameters = set(inspect.signature(vllm.LLM.__init__).parameters)
    known = (engine_arguments | parameters) - {"self", "kwargs"}
    for key in spec.options:
        if _ours(key):
            continue
        if key in _REFUSED:
            reason = f"option {key!r} cannot be set here"
            raise spec.error("options", reason, _REFUSED[key])
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else None
            reason = f"vllm {vllm.__version__} has no option {key!r}"
            raise spec.error("options", reason, hint)


def _ours(key: str) -> bool:
    """Not an argument of ``LLM``: an environment variable of vLLM, or our own
    option.
    """
    return key.startswith("VLLM_") or key == WARM


def _may_replay() -> bool:
    """Whether model runner V2 (and with it trace replay) is worth asking for; vLLM
    itself decides at start.
    """
    from vllm import envs
    from vllm.triton_utils import HAS_TRITON

    asked = getattr(envs, "VLLM_USE_V2_MODEL_RUNNER", None)
    if asked is None:
        return bool(HAS_TRITON)
    return bool(asked)


def _execution_mode(mode: str | None, graphs: str | None) -> str | None:
    if mode is None or graphs is None:
        return None
    if mode == "NONE" and graphs == "NONE":
        return "eager"
    return f"compile {mode.lower()}, cudagraph {graphs.lower()}"


def _overrides(model_config: Any) -> dict[str, Any] | None:
    """``hf_overrides`` as resolved; None where a function made them."""
    overrides = getattr(model_config, "hf_overrides", None)
    if not isinstance(overrides, Mapping):
        return None
    plain = observe.plain(dict(overrides))
    return dict(plain)


def _batch_invariant() -> bool | None:
    from vllm import envs

    value = getattr(envs, "VLLM_BATCH_INVARIANT", None)
    if value is None:
        return None
    return bool(value)
