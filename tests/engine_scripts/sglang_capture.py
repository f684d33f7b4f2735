"""Run by SGLang's interpreter: drive `SglangBackend` on the small model and write what
came out as JSON, by the name of each capture.

    python sglang_capture.py MODEL OUT.json [ENGINE, ...]

    ENGINE   {"dtype": ..., "options": {...}, "failures": bool, "other": FOLDER,
              "captures": {NAME: CAPTURE, ...}}
    CAPTURE  {"temperature": ..., "max_tokens": ..., "top_k": ..., "again": bool}

Numbers are written as they came; tests/test_sglang_backend.py judges them. One engine
after the other in this process, and all captures of one on one start, since an import
takes longer than they do. With "failures" the engine is first started on a model with a
broken weights file, and at the end its scheduler is killed in mid-generation.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from loaded_weights import loaded_weights
from reference import Reference
from streaming import streamed
from texts import TEXTS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# As a worker does it: `core` alone, nothing else of the tool may leak into the engine's
# interpreter.
runpy.run_path(str(ROOT / "core" / "worker" / "launch.py"))

os.environ.setdefault("HF_HUB_OFFLINE", "1")

PROMPTS = (
    "Write a short story about a lighthouse keeper.",
    "Explain why the sky is blue.",
    "def quicksort(items):",
    "1, 1, 2, 3, 5, 8,",
    "Once upon a time there was a",
    "The three most important things in life are",
    "Translate to French: good morning",
    "你好，",
    "The history of the Roman Empire begins",
    "She opened the door and saw",
)


def sockets() -> set[str]:
    """Names of the sockets among temporary files."""
    folder = Path(tempfile.gettempdir())
    return {path.name for path in folder.iterdir() if path.is_socket()}


class Inputs:
    """Ids of what is scored and sampled from, i32."""

    def __init__(self, model: str) -> None:
        import numpy as np
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)

        def ids(text: str) -> Any:
            return np.array(tokenizer(text)["input_ids"], np.int32)

        self.texts = [ids(text) for text in TEXTS]
        self.prompts = [ids(text) for text in PROMPTS]

    def longest(self, new_tokens: int) -> int:
        """Tokens of the longest sequence."""
        prompt = max(ids.size for ids in self.prompts)
        return max(max(ids.size for ids in self.texts), prompt + new_tokens)


def settings_of(model: str, wish: dict[str, Any], longest: int) -> Any:
    from logdrift.core.plan import BackendSpec, SamplingSpec
    from logdrift.core.worker.base import BackendSettings

    options = {"context_length": 256, **wish.get("options", {})}
    return BackendSettings(
        model=model,
        revision=None,
        spec=BackendSpec(
            name="probe", engine="sglang", dtype=wish["dtype"], options=options
        ),
        sampling=SamplingSpec(
            temperature=wish["temperature"], max_tokens=wish["max_tokens"], seed=11
        ),
        paths=("decode", "prefill"),
        top_k=wish["top_k"],
        max_length=longest,
        max_prompts=len(PROMPTS),
        asked="other" in wish,
    )


def dump(token_ids: Any, scores: Any) -> dict[str, Any]:
    names = ("logprob", "rank", "top_ids", "top_logprobs")
    return {
        "token_ids": token_ids.tolist(),
        **{name: getattr(scores, name).tolist() for name in names},
    }


def dump_generation(generation: Any) -> dict[str, Any]:
    return {
        "prompt_length": generation.prompt_length,
        "finish": generation.finish,
        **dump(generation.token_ids, generation.scores),
    }


def refusal(call: Any, *arguments: Any) -> str:
    from logdrift.core.errors import LogdriftError

    try:
        call(*arguments)
    except LogdriftError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def broken_start(model: str, folder: Path, wish: dict[str, Any]) -> dict[str, Any]:
    """Start on a model whose weights file is cut: it is the scheduler that finds out,
    not this process.
    """
    from logdrift.core.engines.sglang.backend import SglangBackend

    folder.mkdir()
    for file in Path(model).iterdir():
        if file.suffix == ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes()[:1000])
        else:
            (folder / file.name).symlink_to(file)
    started = time.monotonic()
    message = refusal(SglangBackend(settings_of(str(folder), wish, 64)).open)
    return {
        "message": message,
        "seconds": time.monotonic() - started,
        "children": children(),
    }


def not_for(backend: Any, asked: Any) -> str:
    """What the running engine is refused for: a session with sequences too long, or
    more alternatives than it has ids.
    """
    kept, backend._settings = backend._settings, asked
    try:
        return refusal(backend._observe, backend._engine.get_server_info())
    finally:
        backend._settings = kept


def death(backend: Any, prompts: list[Any]) -> dict[str, Any]:
    """Kill the scheduler in mid-generation and see what the backend makes of it."""
    scheduler = backend._engine.get_all_child_pids()[0]
    timer = threading.Timer(0.5, os.kill, (scheduler, signal.SIGKILL))
    started = time.monotonic()
    timer.start()
    message = refusal(
        streamed, backend, "decode", prompts * 2, list(range(2 * len(prompts)))
    )
    return {"message": message, "seconds": time.monotonic() - started - 0.5}


def children() -> list[str]:
    """Command lines of this process's live children, but for Python's own resource
    tracker; a zombie has none.
    """
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = [
        Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        for pid in pids
    ]
    return [line for line in lines if line and "resource_tracker" not in line]


def main(model: str, out: Path, engines: list[dict[str, Any]]) -> None:
    inputs = Inputs(model)
    found: dict[str, dict[str, Any]] = {}
    for engine in engines:
        found |= of_engine(model, engine, inputs, out.parent)
    reference = Reference(model)
    for result in found.values():
        result["reference"] = referred(reference, inputs, result)
    out.write_text(json.dumps(found), encoding="utf-8")


def of_engine(
    model: str, engine: dict[str, Any], inputs: Inputs, folder: Path
) -> dict[str, dict[str, Any]]:
    """What each capture of an engine found; the engine is started once."""
    from logdrift.core.engines.sglang.backend import SglangBackend

    captures = engine.pop("captures")
    wishes = {name: {**engine, **wish} for name, wish in captures.items()}
    longest = inputs.longest(max(wish["max_tokens"] for wish in wishes.values()))
    first = next(iter(wishes.values()))
    unknown = {**first, "options": {"no_such_option": 1}}
    told = {
        "bad_option": refusal(SglangBackend(settings_of(model, unknown, longest)).open)
    }
    failures = engine.get("failures")
    if failures:
        told["broken_start"] = broken_start(model, folder / "broken-model", first)

    signals = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)
    }
    sockets_before = sockets()
    backend = SglangBackend(settings_of(model, first, longest))
    backend.open()
    told["signals_kept"] = all(
        signal.getsignal(number) == handler for number, handler in signals.items()
    )
    found = {
        name: captured(backend, settings_of(model, wish, longest), wish, inputs)
        for name, wish in wishes.items()
    }
    told["too_short"] = not_for(backend, settings_of(model, first, 250))
    many = {**first, "top_k": backend._made.vocabulary + 1}
    told["too_many"] = not_for(backend, settings_of(model, many, longest))
    if engine.get("other"):
        told["weights"] = loaded_weights(backend, model, engine["other"])
    if failures:
        told["death"] = death(backend, inputs.prompts)
    backend.close()
    backend.close()
    for name in engine.get("options", {}):
        os.environ.pop(name, None)
    told["children"] = children()
    told["left"] = sorted(sockets() - sockets_before)
    return {name: told | result for name, result in found.items()}


def captured(
    backend: Any, settings: Any, wish: dict[str, Any], inputs: Inputs
) -> dict[str, Any]:
    """Texts scored, prompts sampled from, and both again, by an engine that runs."""
    import numpy as np

    backend._settings = settings
    facts = backend._observe(backend._engine.get_server_info())
    result: dict[str, Any] = {"facts": facts.to_json()}
    told: list[tuple[int, int]] = []

    def progress(sequences: int, tokens: int) -> None:
        told.append((sequences, tokens))

    prompts = inputs.prompts
    last = int(facts.vocab_size or 0) - 1
    traps = [
        np.array([504, last, 3575, last, 282, last], np.int32),
        np.array([504], np.int32),
    ]
    scored = inputs.texts + traps
    seeds = [100 + index for index in range(len(prompts))]
    result["scored"] = [
        dump(ids, scores)
        for ids, scores in zip(scored, backend.score(scored, progress), strict=True)
    ]
    result["scored_full"] = [
        dump(ids, scores)
        for ids, scores in zip(
            scored * 2, streamed(backend, "prefill", scored * 2), strict=True
        )
    ]
    made = backend.generate(prompts, seeds, progress)
    result["progress"] = told
    result["generated"] = [dump_generation(generation) for generation in made]
    full = streamed(backend, "decode", prompts, seeds)
    result["generated_full"] = [dump_generation(generation) for generation in full]
    sequences = [generation.token_ids for generation in made]
    result["rescored"] = [
        dump(i, s)
        for i, s in zip(sequences, backend.score(sequences, progress), strict=True)
    ]
    # In between: another part, and errors that the engine must not notice.
    if wish.get("again", True):
        result["other_seeds"] = [
            dump_generation(g)
            for g in backend.generate(prompts[1:4], [1, 2, 3], progress)
        ]
    outside = np.array([1, last + 1], np.int32)
    too_long = np.ones(int(facts.max_length or 0) + 1, np.int32)
    result["refused"] = {
        "outside_score": refusal(backend.score, [traps[1], outside], progress),
        "negative_score": refusal(
            backend.score, [np.array([-1, 3], np.int32)], progress
        ),
        "outside_generate": refusal(backend.generate, [outside], [1], progress),
        "too_long": refusal(backend.score, [too_long], progress),
        "too_long_generate": refusal(backend.generate, [too_long[:-1]], [1], progress),
        "empty": refusal(backend.score, [np.zeros(0, np.int32)], progress),
    }
    result["longest_taken"] = len(backend.score([too_long[:-1]], progress)[0].logprob)
    if wish.get("again", True):
        result["generated_again"] = [
            dump_generation(g) for g in backend.generate(prompts, seeds, progress)
        ]
    result["scored_again"] = [
        dump(ids, s)
        for ids, s in zip(scored, backend.score(scored, progress), strict=True)
    ]
    return result


def referred(
    reference: Reference, inputs: Inputs, result: dict[str, Any]
) -> dict[str, Any]:
    """What Transformers says of the same ids."""
    import numpy as np

    temperature = result["facts"]["temperature"]
    trap = np.array(result["scored"][-2]["token_ids"], np.int32)
    sequences = [
        np.array(entry["token_ids"], np.int32) for entry in result["generated"]
    ]
    return {
        "scored": [reference.logprobs(ids) for ids in inputs.texts],
        "generated": [reference.logprobs(ids) for ids in sequences],
        "generated_full": [
            reference.logprobs(np.array(entry["token_ids"], np.int32))
            for entry in result["generated_full"]
        ],
        "trap": reference.logprobs(trap),
        # what id 0 would score in the place of each last id of the vocabulary
        "trap_as_zero": [float(reference.rows(trap)[i - 1, 0]) for i in (1, 3, 5)],
        "tempered": [reference.logprobs(ids, temperature) for ids in sequences],
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
