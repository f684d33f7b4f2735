"""Makes the dumps of ``tests/test_import_torch.py`` with the real torch, and asks the
reader of dumps what it refuses, in this one process: ``python torch_dumps.py FOLDER
READER``.
"""

import json
import os
import pickle
import runpy
import sys
import types
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(sys.argv[1])
READER = runpy.run_path(sys.argv[2])


def save(name, data, **how):
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(data, path, **how)


def sample(index, **changes):
    """slime's Sample.to_dict(), with what miles' samples have beside it."""
    return {
        "group_index": 0,
        "index": index,
        "prompt": [{"role": "user", "content": "?"}],
        "tokens": [31, 32, 33 + index, 34, 35],
        "multimodal_inputs": None,
        "response": "...",
        "response_length": 3,
        "label": None,
        "reward": np.float64(1.0),
        "loss_mask": [1, 0, 1],
        "weight_versions": ["12"],
        "rollout_log_probs": [-0.5 - index, 0.0, -1.5],
        "rollout_routed_experts": np.zeros((4, 2, 2), np.int32),
        "status": "completed",
        "metadata": {"turns": 1},
        "spec_info": {"spec_accept_token_num": 0},
        **changes,
    }


save("rollout/3.pt", {"rollout_id": 3, "samples": [sample(0), sample(1)]})


def train(index):
    return {
        "sample_index": index,
        "rollout_position": index,
        "tokens": torch.tensor([31, 32, 33 + index, 34, 35]),
        "total_lengths": 5,
        "response_lengths": 3,
        "loss_masks": torch.tensor([1, 0, 1], dtype=torch.int32),
        "log_probs": torch.tensor([-0.25, -2.0, -1.25]).to(torch.bfloat16),
        "rollout_log_probs": torch.tensor([-0.5 - index, 0.0, -1.5]),
        "ref_log_probs": torch.tensor([-0.25, -2.0, -1.25]),
        "entropy": torch.tensor([0.5, 0.25, 1.0]),
    }


save(
    "train/3.pt",
    {
        "format_version": 2,
        "rollout_id": 3,
        "rank": 0,
        "samples": [train(0), train(1)],
        "dp_shards": [{"rank": 0, "micro_batch_indices": [[0, 1]]}],
    },
)

# Two ranks of context parallelism, twice for two of data parallelism.
TOKENS = torch.arange(10, 18)
NUMBERS = -torch.arange(1, 7) / 8
SLICES = {0: [0, 5], 1: [1, 2, 3, 4]}
for step in (9, 10):
    for rank in range(4):
        own = SLICES[rank % 2]
        columns = {
            "sample_indices": [rank // 2],
            "tokens": [TOKENS + rank // 2],
            "total_lengths": [8],
            "response_lengths": [6],
            "loss_masks": [torch.ones(6, dtype=torch.int32)],
            "log_probs": [NUMBERS[own]],
            "rollout_log_probs": [NUMBERS[own] / 2],
        }
        dump = {
            "rollout_id": step,
            "rank": rank,
            "cp_rank": rank % 2,
            "cp_size": 2,
            "qkv_format": "thd",
            "rollout_data": columns,
        }
        save(f"ranks/{step}_{rank}.pt", dump)

# What a class of the framework leaves in a dump: miles' own, in a module of that name.
module = types.ModuleType("miles.utils.types")
for name in ("miles", "miles.utils"):
    sys.modules[name] = types.ModuleType(name)
sys.modules[module.__name__] = module


def of_miles(cls):
    cls.__module__ = module.__name__
    cls.__qualname__ = cls.__name__
    setattr(module, cls.__name__, cls)
    return cls


@of_miles
@dataclass(frozen=True)
class WeightVersionSpan:
    version: str
    abs_start: int
    abs_end: int


@of_miles
@dataclass
class WeightVersionsPerCall:
    spans: list = field(default_factory=list)


AdapterRef = of_miles(make_dataclass("AdapterRef", ["name"]))
calls = [WeightVersionsPerCall([WeightVersionSpan("7", 2, 4)])]
save("miles/3.pt", {"rollout_id": 3, "samples": [sample(0, weight_versions=calls)]})
adapter = sample(0, adapter=AdapterRef("lora"))
save("refused/adapter.pt", {"rollout_id": 3, "samples": [adapter]})


class Runs:
    """Loading this freely would make a file."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


ran = str(FOLDER / "it-ran")
for name, call in {
    "system": Runs(os.system, f"touch {ran}"),
    "open": Runs(open, ran, "w"),
    "eval": Runs(eval, f"open({ran!r}, 'w')"),
    "getattr": Runs(getattr, "text", "upper"),
}.items():
    save(f"refused/{name}.pt", {"samples": [sample(0, metadata=call)]})
# A pickle whose very protocol is not torch's, within an archive of its layout.
save("refused/weights.pt", {"weight": torch.zeros(3)})
save("refused/text.pt", {"rollout_id": 3, "samples": ["a", "b"]})
save("refused/numbers.pt", {"samples": [sample(0), sample(1, loss_mask=[1])]})
none = sample(0, rollout_log_probs=None)
save("refused/unscored.pt", {"samples": [none]})
save("legacy.pt", {"samples": []}, _use_new_zipfile_serialization=False)
whole = (FOLDER / "rollout" / "3.pt").read_bytes()
(FOLDER / "cut.pt").write_bytes(whole[: len(whole) // 2])
(FOLDER / "plain.pkl").write_bytes(pickle.dumps([1]))

said = {}
for path in (FOLDER / "refused").iterdir():
    try:
        list(READER["messages"]([path]))
    except READER["RefusedDump"] as refused:
        said[path.stem] = refused.data
(FOLDER / "refusals.json").write_text(json.dumps(said))
