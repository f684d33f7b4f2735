"""Run by SGLang's interpreter: drive `SglangBackend` on the small model and write what
came out as JSON.

    python sglang_capture.py MODEL OUT.json {"dtype": ..., "temperature": ...,
    "max_tokens": ..., "top_k": ...,
                                             "options": {...}, "failures": bool,
                                             "again": bool,
                                             "other": FOLDER}

Numbers are written as they came; tests/test_sglang_backend.py judges them. With
"failures" the engine is first started on a model with a broken weights file, and at the
end its scheduler is killed in mid-generation.
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
        backend.generate,
        prompts,
        list(range(len(prompts))),
        lambda sequences, tokens: None,
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


def main() -> None:
    import numpy as np
    from transformers import AutoTokenizer

    from logdrift.core.engines.sglang.backend import SglangBackend

    model = sys.argv[1]
    out = Path(sys.argv[2])
    wish = json.loads(sys.argv[3])
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [np.array(tokenizer(text)["input_ids"], np.int32) for text in TEXTS]
    prompts = [np.array(tokenizer(text)["input_ids"], np.int32) for text in PROMPTS]
    longest = max(
        max(ids.size for ids in texts),
        max(ids.size for ids in prompts) + wish["max_tokens"],
    )
    unknown = {**wish, "options": {"no_such_option": 1}}
    result: dict[str, Any] = {
        "bad_option": refusal(SglangBackend(settings_of(model, unknown, longest)).open)
    }
    if wish.get("failures"):
        result["broken_start"] = broken_start(model, out.parent / "broken-model", wish)

    signals = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)
    }
    backend = SglangBackend(settings_of(model, wish, longest))
    facts = backend.open()
    result["facts"] = facts.to_json()
    result["too_short"] = not_for(backend, settings_of(model, wish, 250))
    many = {**wish, "top_k": int(facts.vocab_size or 0) + 1}
    result["too_many"] = not_for(backend, settings_of(model, many, longest))
    result["signals_kept"] = all(
        signal.getsignal(number) == handler for number, handler in signals.items()
    )
    told: list[tuple[int, int]] = []

    def progress(sequences: int, tokens: int) -> None:
        told.append((sequences, tokens))

    last = int(facts.vocab_size or 0) - 1
    traps = [
        np.array([504, last, 3575, last, 282, last], np.int32),
        np.array([504], np.int32),
    ]
    scored = texts + traps
    seeds = [100 + index for index in range(len(prompts))]
    result["scored"] = [
        dump(ids, scores)
        for ids, scores in zip(scored, backend.score(scored, progress), strict=True)
    ]
    made = backend.generate(prompts, seeds, progress)
    result["progress"] = told
    result["generated"] = [dump_generation(generation) for generation in made]
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
    if wish.get("other"):
        result["weights"] = loaded_weights(backend, model, wish["other"])
    if wish.get("failures"):
        result["death"] = death(backend, prompts)
    backend.close()
    backend.close()
    result["children"] = children()
    result["left"] = [
        path.name for path in Path(tempfile.gettempdir()).iterdir() if path.is_socket()
    ]
    reference = Reference(model)
    result["reference"] = {
        "scored": [reference.logprobs(ids) for ids in texts],
        "generated": [reference.logprobs(ids) for ids in sequences],
        "trap": reference.logprobs(traps[0]),
        # what id 0 would score in the place of each last id of the vocabulary
        "trap_as_zero": [float(reference.rows(traps[0])[i - 1, 0]) for i in (1, 3, 5)],
        "tempered": [reference.logprobs(ids, wish["temperature"]) for ids in sequences],
    }
    out.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
