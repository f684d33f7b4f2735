"""Plant faults in a model with plain Transformers and write one session for each. Runs in the engine's interpreter.

    python tests/planted/worker.py MODEL OUT [--background float32] [--faults a,b] [--held-out] [--lengths 120x8,600x1]

Every session holds three captures of the same tokens: ``reference/prefill`` (float32), ``trainer/prefill`` (clean, sdpa
attention) and ``rollout/prefill`` (eager attention, and the fault). A session that is there already is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from core.backends.base import Scores  # noqa: E402
from core.facts import Facts  # noqa: E402
from core.session.layout import CaptureInfo, Manifest, ModelInfo, SequencesInfo, capture_part, ids_digest, sequence_part  # noqa: E402
from core.session.writer import merge_pieces, sequence_tensors, write_manifest, write_part  # noqa: E402
from tests.planted.edits import Planted, plant  # noqa: E402
from tests.planted.faults import FAULTS, Fault, told  # noqa: E402
from tests.planted.scoring import Model, Rows, empty_rows, score  # noqa: E402

PROMPT = 20
TOP_K = 20


def sample_sequences(model: Model, lengths: list[int], path: Path) -> list[np.ndarray]:
    """Token ids sampled by the model itself, from prompts of `PROMPT` tokens; kept in ``path``."""
    if path.exists():
        with np.load(path) as kept:
            return [kept[f"s{i}"] for i in range(len(kept.files))]
    torch.manual_seed(7)
    prompts = _prompts(model, len(lengths))
    ids: list[np.ndarray] = []
    for length in sorted(set(lengths)):
        rows = [i for i, n in enumerate(lengths) if n == length]
        batch = torch.tensor([prompts[i] for i in rows])
        with torch.inference_mode():
            out = model.net.generate(
                batch, attention_mask=torch.ones_like(batch), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                max_new_tokens=length - PROMPT, min_new_tokens=length - PROMPT, repetition_penalty=1.0, pad_token_id=0,
            )  # fmt: skip
        ids += [row.numpy().astype(np.int32) for row in out]
    np.savez(path, **{f"s{i}": row for i, row in enumerate(ids)})
    return ids


def _prompts(model: Model, count: int) -> list[list[int]]:
    """Slices of real text where the model has a tokenizer, random ids where it is a random model."""
    if model.tokenizer is None:
        return np.random.default_rng(5).integers(3, model.vocab, (count, PROMPT)).tolist()
    text = (REPOSITORY / "core" / "capture" / "data" / "demo_prompts.jsonl").read_text(encoding="utf-8")
    ids = model.tokenizer(text, add_special_tokens=False).input_ids
    return [ids[i * 2 * PROMPT : i * 2 * PROMPT + PROMPT] for i in range(count)]


def write_session(folder: Path, model: Path, ids: list[np.ndarray], sides: dict[str, tuple[list[Rows], dict[str, Any]]],
                  sent: dict[str, list[np.ndarray]], title: str) -> None:  # fmt: skip
    """The real session format, through the real writer. ``sent`` are the ids that a side was really given."""
    lengths = [len(x) for x in ids]
    part = write_part(folder, sequence_part(0), sequence_tensors(ids, [PROMPT] * len(ids), ["length"] * len(ids)), 0,
                      len(ids), sum(lengths))  # fmt: skip
    merge_pieces(folder, {int(i): f"<{i}>".encode() for i in np.unique(np.concatenate(ids))})
    captures = []
    for name, (rows, facts) in sides.items():
        tensors = {
            field: np.concatenate([getattr(row, field) for row in rows])
            for field in ("logprob", "rank", "top_ids", "top_logprobs", "entropy")
        }
        label = f"{name}/prefill"
        written = write_part(folder, capture_part(label, 0), tensors, 0, len(ids), sum(lengths))
        written = replace(written, ids_digest=ids_digest(np.concatenate(sent.get(name, ids))))
        role = name if name in ("reference", "trainer") else "rollout"
        captures.append(CaptureInfo(label, name, "transformers", str(facts["dtype"]), "prefill", 1, role, "complete",
                                    Facts(**facts), (written,)))  # fmt: skip
    info = SequencesInfo(len(ids), None, (part,))
    write_manifest(folder, Manifest(title, ModelInfo(model.name), title, sequences=info, captures=tuple(captures)))


def facts_of(model: Model, dtype: str, attention: str, **changed: Any) -> dict[str, Any]:
    """Facts with which nothing is left to say."""
    return {
        "engine": "transformers", "engine_version": "5.19.0", "dtype": dtype, "head_dtype": dtype, "logits_dtype": dtype,
        "device": "cpu", "attention_backend": attention, "quantization": "none", "prefill_logprobs": "raw",
        "decode_logprobs": "raw", "temperature": 1.0, "vocab_size": model.vocab, "logits_size": model.vocab,
        "weights_digest": "sha256:" + "a" * 64, "tokenizer_digest": "sha256:" + "b" * 64,
        "config_digest": "sha256:" + "c" * 64, "config_overrides": {}, "padding": "none",
        "torch_version": torch.__version__, "execution_mode": "eager", "kv_cache_dtype": "auto", "prefix_cache": False,
        "chunked_prefill": False, "max_batch_sequences": 1, "max_length": 1 << 20, "tensor_parallel": 1,
        "batch_invariant": False, "adds_bos": False, **changed,
    }  # fmt: skip


def cached(path: Path, compute: Any) -> list[Scores]:
    """Rows of a clean capture, kept: every session of one background shares them."""
    names = ("logprob", "rank", "top_ids", "top_logprobs", "entropy")
    if path.exists():
        with np.load(path) as kept:
            return [Scores(*(kept[f"{name}{i}"] for name in names)) for i in range(len(kept.files) // len(names))]
    rows: list[Scores] = compute()
    np.savez(path, **{f"{name}{i}": getattr(row, name) for i, row in enumerate(rows) for name in names})
    return rows


class Bench:
    """One model folder, its sequences and its clean captures in one background dtype."""

    def __init__(self, folder: Path, out: Path, background: str, lengths: list[int]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.folder, self.out, self.background = folder, out, background
        self.models: dict[str, Model] = {}
        self.ids = sample_sequences(self.model("float32"), lengths, out / "ids.npz")
        self.reference = cached(out / "reference.npz", lambda: score(self.model("float32"), self.ids, TOP_K))
        name = out / f"trainer-{background}.npz"
        self.trainer = (
            self.reference
            if background == "float32"
            else cached(name, lambda: score(self.model(background), self.ids, TOP_K))
        )

    def model(self, dtype: str) -> Model:
        if dtype not in self.models:
            self.models[dtype] = Model.load(self.folder, dtype)
        return self.models[dtype]

    def rollout(self, fault: Fault, size: float) -> Planted:
        """The rollout's rows with the fault in them, and the ids that it was given."""
        return plant(self, fault.name, size)

    def write(self, fault: Fault, size: float) -> None:
        """The session of one fault, under the name of background and fault."""
        folder = self.out / f"{self.background}-{fault.name}"
        if (folder / "session.json").exists():
            return
        planted = self.rollout(fault, size)
        rows = [r if r is not None else empty_rows(len(x), TOP_K) for r, x in zip(planted.rows, self.ids, strict=True)]
        model = self.model("float32")
        changed = told(fault, size, self.background)
        changed.pop("ids_digest", None)
        facts = {**facts_of(model, self.background, planted.attention), **changed}
        sides = {
            "reference": (self.reference, facts_of(model, "float32", "sdpa")),
            "trainer": (self.trainer, facts_of(model, self.background, "sdpa")),
            "rollout": (rows, facts),
        }
        sent = {} if planted.sent is None else {"rollout": planted.sent}
        write_session(folder, self.folder, self.ids, sides, sent, f"{fault.name} {size:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--background", default="float32")
    parser.add_argument("--faults", help="names, by commas (default: all)")
    parser.add_argument("--held-out", action="store_true", help="the other sizes")
    parser.add_argument("--lengths", default="120x8,600x1", help="tokens x sequences")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    lengths = [int(n) for each in args.lengths.split(",") for n in [each.split("x")[0]] * int(each.split("x")[1])]
    bench = Bench(args.model, args.out, args.background, lengths)
    wanted = set(args.faults.split(",")) if args.faults else {fault.name for fault in FAULTS}
    for fault in FAULTS:
        if fault.name in wanted and args.background in fault.backgrounds:
            bench.write(fault, fault.other_size if args.held_out else fault.size)
            print(fault.name, flush=True)


if __name__ == "__main__":
    main()
