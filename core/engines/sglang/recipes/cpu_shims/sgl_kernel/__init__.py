"""Stands in for the compiled package of SGLang, which has no build for a plain CPU.

On a CPU SGLang imports the names below while loading and calls them in speculative decoding only, so every one
raises. `convert_weight_packed` must stay absent: its absence is how SGLang knows to take its plain torch code.
"""

__version__ = "0.0.0+logdrift"

_NAMES = (
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


def _absent(name):  # type: ignore[no-untyped-def]
    def call(*args, **kwargs):  # type: ignore[no-untyped-def]
        raise NotImplementedError(
            f"sgl_kernel.{name} does not exist in this CPU environment"
        )

    call.__name__ = name
    return call


globals().update({name: _absent(name) for name in _NAMES})  # type: ignore[no-untyped-call]
