"""Stands in for SGLang's compiled CPU kernels, which no registry carries for this platform.

SGLang's CPU path imports these names at module load and calls them only in speculative decoding. Everything
else it asks of ``sgl_kernel`` it looks for first (``hasattr``) and takes plain torch where it is missing.
A CPU with a real build of the package must not get this folder: it would hide the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

__version__ = "0.0.0+logdrift"

# sglang 0.5.23: kernels/ops/kvcache/cache_move.py, srt/mem_cache/allocation.py and kernels/ops/speculative/
# {multi_layer_eagle,eagle,cache_locs,spec_tree}.py
NAMES = (
    "assign_draft_cache_locs_contiguous_cpu",
    "assign_extend_cache_locs_cpu",
    "assign_req_to_token_pool_cpu",
    "build_tree_kernel_efficient_cpu",
    "copy_all_layer_kv_cache_cpu",
    "fill_accept_out_cache_loc_cpu",
    "fill_bonus_tokens_cpu",
    "rotate_input_ids_cpu",
    "verify_tree_greedy_cpu",
)


def _missing(name: str) -> Callable[..., NoReturn]:
    def call(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"sgl_kernel.{name} has no CPU build here: speculative decoding is not available")

    return call


globals().update({_name: _missing(_name) for _name in NAMES})
