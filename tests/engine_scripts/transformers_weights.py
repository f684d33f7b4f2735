"""Run in an interpreter with torch: read tiny models through
`logdrift.core.worker.weights_read`, plain and as engines keep them.

python transformers_weights.py MODEL OUT.json FOLDER
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

from transformers_common import build

import torch  # isort: skip
import transformers
from safetensors.torch import load_file, save_file

from logdrift.core.worker.weights_read import digest, read

FED: list[tuple[str, int, str]] = []
"""Class, width and dtype of all that was put into a kernel, which checks nothing
itself.
"""


class Method:
    """Multiplies for a layer, which it is given."""

    def apply(self, layer: Any, rows: Any, bias: Any = None) -> Any:
        return layer.fed(rows, bias)


class LinearBase(torch.nn.Module):
    """What linear layers of vLLM and SGLang say of themselves, and how their kernel is
    reached.
    """

    def __init__(self, weight: Any, bias: Any = None) -> None:
        super().__init__()
        self.output_size, self.input_size = weight.shape
        self.params_dtype = weight.dtype
        self.quant_method = Method()
        self.bias = (
            None if bias is None else torch.nn.Parameter(bias, requires_grad=False)
        )
        self.kept = [weight.detach().clone()]

    def fed(self, rows: Any, bias: Any) -> Any:
        FED.append((type(self).__name__, rows.shape[1], str(rows.dtype)))
        return self.kernel(rows, bias)

    def kernel(self, rows: Any, bias: Any) -> Any:
        return torch.nn.functional.linear(rows, self.kept[0], bias)

    def forward(self, x: Any) -> Any:
        return self.fed(x, self.bias), None


class Packed(LinearBase):
    """A linear layer as vLLM keeps it on a CPU: the weight is in the kernel alone, and
    the output comes with a bias.
    """

    def __init__(self, weight: Any, bias: Any = None) -> None:
        super().__init__(weight, bias)
        self.weight = torch.nn.Parameter(
            torch.empty(0, dtype=weight.dtype), requires_grad=False
        )


class Crude(Packed):
    """The same with a sum that is split in four, each part rounded, as some kernels
    do.
    """

    def kernel(self, rows: Any, bias: Any) -> Any:
        lanes = torch.arange(rows.shape[1]) % 4
        parts = [
            super(Crude, self).kernel(torch.where(lanes == i, rows, 0), bias)
            for i in range(4)
        ]
        return (parts[0] + parts[1]) + (parts[2] + parts[3])


class Shuffled(LinearBase):
    """A linear layer whose weight lies in memory as its kernel likes it: the rows in
    another order.
    """

    def __init__(self, weight: Any, right: bool) -> None:
        super().__init__(weight if right else weight.flip(0))
        self.weight = torch.nn.Parameter(
            weight.detach().flip(0).clone(), requires_grad=False
        )


class Unhelpful(Packed):
    def kernel(self, rows: Any, bias: Any) -> Any:
        raise RuntimeError("needs a forward context")


class Activated(Packed):
    def kernel(self, rows: Any, bias: Any) -> Any:
        return torch.nn.functional.silu(super().kernel(rows, bias))


class Overflowing(Packed):
    def kernel(self, rows: Any, bias: Any) -> Any:
        return super().kernel(rows, bias) * float("inf")


class Silent(Packed):
    """Says nothing of its input."""

    def __init__(self, weight: Any, bias: Any = None) -> None:
        super().__init__(weight, bias)
        del self.input_size


class Mistaken(Packed):
    """Says another size than the files have."""

    def __init__(self, weight: Any, bias: Any = None) -> None:
        super().__init__(weight, bias)
        self.input_size //= 2


class Sharded(Mistaken):
    tp_size = 2


class Unknown(torch.nn.Module):
    """A class of which nothing is known, whatever it says."""

    def __init__(self, weight: Any, bias: Any = None) -> None:
        super().__init__()
        self.output_size, self.input_size = weight.shape
        self.weight = torch.nn.Parameter(
            torch.empty(0, dtype=weight.dtype), requires_grad=False
        )

    def forward(self, x: Any) -> Any:
        FED.append(("Unknown", x.shape[1], str(x.dtype)))
        return x


REFUSED = (Unhelpful, Activated, Overflowing, Silent, Mistaken, Sharded, Unknown)


def noisy(weight: Any, size: float) -> Any:
    generator = torch.Generator().manual_seed(3)
    return (
        weight.double()
        * (1 + size * torch.randn(weight.shape, generator=generator).double())
    ).to(weight.dtype)


def fused(model: Any, linear: Any, edit: Any) -> Any:
    """A copy of a Llama with q, k, v and gate, up in one packed layer each, ``edit``
    applied to layer 1's down_proj.
    """
    model = copy.deepcopy(model)
    for index, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        mlp = layer.mlp
        attention.qkv_proj = linear(
            torch.cat(
                [
                    attention.q_proj.weight,
                    attention.k_proj.weight,
                    attention.v_proj.weight,
                ]
            )
        )
        mlp.gate_up_proj = linear(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]))
        mlp.down_proj = linear(
            edit(mlp.down_proj.weight) if index == 1 else mlp.down_proj.weight
        )
        for name in ("q_proj", "k_proj", "v_proj"):
            delattr(attention, name)
        del mlp.gate_proj, mlp.up_proj
    return model


def as_vllm_has_gpt2(model: Any, linear: Any, edit: Any) -> Any:
    """A copy of a GPT-2 whose Conv1D layers are linear ones: turned, packed, with their
    bias; ``edit`` as above.
    """
    model = copy.deepcopy(model)
    for index, block in enumerate(model.transformer.h):
        for part, name in (
            (block.attn, "c_attn"),
            (block.attn, "c_proj"),
            (block.mlp, "c_fc"),
            (block.mlp, "c_proj"),
        ):
            conv = getattr(part, name)
            weight = (
                edit(conv.weight)
                if (index, part, name) == (1, block.attn, "c_proj")
                else conv.weight
            )
            delattr(part, name)
            setattr(part, name, linear(weight.T.contiguous(), conv.bias.detach()))
    return model


class Plain(LinearBase):
    """A linear layer of SGLang on a CPU: the weight is there as it is."""

    def __init__(self, weight: Any, bias: Any = None) -> None:
        super().__init__(weight, bias)
        self.weight = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)


def summary(found: dict[str, Any]) -> dict[str, Any]:
    if "error" in found:
        return found
    keep = (
        "name",
        "how",
        "same",
        "l2",
        "share",
        "units",
        "limit",
        "columns",
        "of",
        "reason",
        "note",
        "own",
        "loaded",
        "kind",
        "digest",
    )
    tensors = {t["name"]: {k: t.get(k) for k in keep} for t in found["tensors"]}
    return {
        "tensors": tensors,
        **{k: found[k] for k in ("tied", "extra", "config_differs")},
    }


def load(folder: Path, dtype: str) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype)
    ).eval()


def edited(folder: Path, out: Path, change: Any) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    out.mkdir()
    (out / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    return out


def untied(model: Any, change: Any) -> Any:
    head = copy.deepcopy(model.lm_head)
    head.weight = torch.nn.Parameter(change(head.weight.detach().clone()))
    model.lm_head = head
    return model


def main(out: Path, folder: Path) -> None:
    result: dict[str, Any] = {}
    with torch.inference_mode():
        for family in ("llama", "gpt2", "qwen3", "mixtral", "mamba"):
            place = build(family, folder / family)
            for dtype in ("float32", "bfloat16"):
                result[f"{family}-{dtype}"] = summary(
                    read(load(place, dtype), {"folder": str(place)})
                )
        llama = folder / "llama"
        name = "model.layers.1.mlp.down_proj.weight"
        stale = edited(
            llama, folder / "stale", lambda t: t.update({name: noisy(t[name], 0.005)})
        )
        result["stale"] = summary(
            read(load(stale, "bfloat16"), {"folder": str(llama), "own": str(stale)})
        )
        stranger = edited(
            llama, folder / "stranger", lambda t: t.update({name: noisy(t[name], 0.01)})
        )
        result["stranger"] = summary(
            read(load(stale, "bfloat16"), {"folder": str(llama), "own": str(stranger)})
        )
        for dtype in ("bfloat16", "float16", "float32"):
            model = load(llama, dtype)
            for linear in (Packed, Crude):
                for size in (0.0, 0.005):
                    found = read(
                        fused(model, linear, lambda w, s=size: noisy(w, s)),
                        {"folder": str(llama)},
                    )
                    result[f"{linear.__name__}-{dtype}-{size}"] = summary(found)
        import logdrift.core.worker.weights_probe as probes

        kept, probes.WORK = probes.WORK, {"cpu": 0.0, "cuda": 0.0}
        probes._COLUMNS = 4
        result["few-columns"] = {
            str(size): summary(
                read(
                    fused(
                        load(llama, "bfloat16"), Packed, lambda w, s=size: noisy(w, s)
                    ),
                    {"folder": str(llama)},
                )
            )
            for size in (0.0, 0.005)
        }
        probes.WORK = kept
        for linear in REFUSED:
            FED.clear()
            found = summary(
                read(
                    fused(load(llama, "bfloat16"), linear, lambda w: w),
                    {"folder": str(llama)},
                )
            )
            result[linear.__name__] = {**found, "fed": list(FED)}
        gpt2 = folder / "gpt2"
        for linear in (Packed, Plain):
            for size in (0.0, 0.02):
                FED.clear()
                model = as_vllm_has_gpt2(
                    load(gpt2, "bfloat16"), linear, lambda w, s=size: noisy(w, s)
                )
                found = summary(read(model, {"folder": str(gpt2)}))
                result[f"gpt2-{linear.__name__}-{size}"] = {
                    **found,
                    "fed": sorted(set(FED)),
                }
        for right in (True, False):
            model = load(llama, "bfloat16")
            mlp = model.model.layers[1].mlp
            mlp.down_proj = Shuffled(mlp.down_proj.weight, right)
            result[f"shuffled-{right}"] = summary(read(model, {"folder": str(llama)}))
        meta = load(llama, "bfloat16")
        meta.model.layers[1].mlp.down_proj.to("meta")
        result["meta"] = summary(read(meta, {"folder": str(llama)}))
        shard = load(llama, "bfloat16")
        shard.model.layers[0].mlp.down_proj.weight = torch.nn.Parameter(
            shard.model.layers[0].mlp.down_proj.weight[:, :48].clone()
        )
        shard.model.layers[0].mlp.down_proj.tp_size = 2
        result["shard"] = summary(read(shard, {"folder": str(llama)}))
        qwen3 = folder / "qwen3"
        result["copied head"] = summary(
            read(
                untied(load(qwen3, "bfloat16"), lambda w: w.float()),
                {"folder": str(qwen3)},
            )
        )
        result["other head"] = summary(
            read(untied(load(qwen3, "bfloat16"), lambda w: -w), {"folder": str(qwen3)})
        )
        rope = load(llama, "bfloat16")
        rope.config.rope_parameters = {**rope.config.rope_parameters, "rope_theta": 7.0}
        result["rope"] = summary(read(rope, {"folder": str(llama)}))
        (folder / "bare").mkdir()
        result["bare"] = summary(read(rope, {"folder": str(folder / "bare")}))
        cut = folder / "cut"
        cut.mkdir()
        (cut / "model.safetensors").write_bytes(
            (llama / "model.safetensors").read_bytes()[:5000]
        )
        result["cut"] = summary(read(rope, {"folder": str(cut)}))
        tensor = torch.tensor([[1.0, -2.0], [3.5, 0.0]], dtype=torch.bfloat16)
        result["digests"] = [
            digest(tensor),
            digest(tensor.T.contiguous().T),
            digest(tensor.reshape(4)),
            digest(tensor.float()),
        ]
    out.write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[2]), Path(sys.argv[3]))
