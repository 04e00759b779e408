"""The kernels of each line of engine=vllm on an H200: their kinds by name, and which kinds a line has, in order."""

from __future__ import annotations


class NotMatched(ValueError):
    """A kernel that belongs to no line, or a line that has no kernel."""


KINDS = {  # the first pattern that fits a kernel's name
    "memset": r"^Memset",
    "to_device": r"^Memcpy HtoD",
    "to_host": r"^Memcpy DtoH",
    "move": r"^Memcpy DtoD|^memcpy32_post",
    "split_k": r"splitKreduce",
    "convolve": r"fprop_implicit_gemm",
    "product": r"^nvjet_|gemm_bf16_",
    "flash_plan": r"prepare_varlen_num_blocks",
    "flash_sum": r"FlashAttnFwdCombine",
    "flash": r"FlashAttnFwdSm90",
    "attend": r"^fmha_cutlassF",
    "add_norm": r"^triton_red_fused\w*_rms_norm",
    "layer_norm": r"layer_norm_kernel",
    "rotate": r"^triton_poi_fused_add_cat_index_select_mul_split",
    "store": r"reshape_and_cache_flash",
    "silu_mul": r"^triton_poi_fused_mul_silu|act_and_mul_kernel",
    "softmax_rows": r"^triton_red_fused__softmax",
    "mask": r"^triton_poi_fused__softmax__to_copy_arange",
    "cast": r"^triton_poi_fused__to_copy_\d",
    "top_k": r"gatherTopK",
    "align": r"moe_align_block_size|count_and_sort_expert_tokens",
    "experts": r"^fused_moe_kernel",
    "add_experts": r"moe_sum_vec",
    "slots": r"^_compute_slot_mapping",
    "put": r"index_put_kernel",
    "gather": r"vectorized_gather|index_kernel_impl|indexSelectSmallIndex",
    "concatenate": r"CatArrayBatchedCopy",
    "resize": r"upsample_(gen2d|linear1d)",
    "range": r"arange_cuda_out",
    "fill": r"FillFunctor",
    "softmax": r"SoftMaxForward",
    "draw": r"distribution_elementwise",
    "greatest": r"ArgMaxOps",
    "mean": r"MeanOps",
    "total": r"sum_functor",
    "multiply_all": r"reduction_prod_kernel",
    "compare": r"compare_scalar_kernel",
    "either": r"BitwiseOrFunctor",
    "choose": r"where_kernel_impl",
    "square": r"pow_tensor_scalar",
    "root": r"sqrt_kernel",
    "sigmoid": r"sigmoid_kernel",
    "gelu": r"GeluCUDAKernel",
    "divide": r"DivFunctor",
    "multiply": r"MulFunctor|binary_internal",
    "add": r"CUDAFunctor(OnSelf)?_add",
    "copy": r"direct_copy_kernel|bfloat16_copy_kernel",
}

PRODUCT = "(memset )?product (split_k )?"
CONVOLUTION = "copy (memset )?convolve "  # its weights are put into another order first
RULES = {  # of a line by the last parts of its path: the longest that fits
    "pixels/sum_of_views": "memset total ",
    "pixels/sum_of_crops": "memset total ",
    "pixels/view": "gather ",
    "sam/patches": "copy ",
    "patch_embed": PRODUCT,
    "to_float": "copy ",
    "to_half": "copy ",
    "resize": "copy resize copy |(fill )?resize ",  # a bicubic one lays its operand and its result out anew
    "positions": "gather |concatenate ",
    "embeddings/gather": "gather ",
    "embeddings/order": "copy ",
    "class_token": "concatenate ",
    **dict.fromkeys(("norm1", "norm2", "pre_norm"), "layer_norm "),
    **dict.fromkeys(("decoder/norm1", "decoder/norm2", "final_norm"), "add_norm "),
    "pad": "fill copy ",
    **dict.fromkeys(("partition", "unpartition", "crop", "split_heads", "copy_rows", "copy_columns"), "copy "),
    **dict.fromkeys(("order_rows", "order_columns", "place_crops"), "copy "),
    **dict.fromkeys(("query_range", "key_range"), "range "),
    **dict.fromkeys(("query_scale", "key_scale"), "multiply "),
    **dict.fromkeys(("distance", "shift", "rel_pos/sum", "residual1", "residual2", "add"), "add "),
    "table/index": "copy ",
    "table/gather": "gather ",
    "pad_bias": "fill copy ",
    "sam/window/attn/fused": "attend ",
    "sam/global/attn/fused": "attend ",
    "clip/attn/fused": "range flash_plan flash ",
    "decoder/attn/fused": "flash (flash_sum )?",
    **dict.fromkeys(("rows", "columns", "qkv", "proj", "lin1", "lin2", "conv1"), PRODUCT),
    **dict.fromkeys(("qkv_proj", "out_proj", "o_proj", "fc1", "fc2", "linear", "head"), PRODUCT),
    **dict.fromkeys(("gate_up_proj", "down_proj", "logits"), PRODUCT),
    **dict.fromkeys(("neck/conv2", "downsample/conv1", "downsample/conv2"), CONVOLUTION),
    "gelu": "gelu ",
    **dict.fromkeys(("mean", "variance"), "mean "),
    **dict.fromkeys(("centre", "centre_again", "epsilon", "bias"), "add "),
    "square": "square ",
    "root": "root ",
    "divide": "divide ",
    "weight": "multiply ",
    **dict.fromkeys(("gelu/scale", "gelu/mul"), "multiply "),
    "gelu/sigmoid": "sigmoid ",
    **dict.fromkeys(("join", "global_lines", "crop_lines", "pages"), "concatenate "),
    "embed": "copy gather ",  # of indices that are cast first
    "projector/concatenate": "move |concatenate ",
    "places": "to_device ",
    "scatter": "put ",
    "inputs": "move ",
    "rope": "rotate ",
    "cache": "store ",
    "silu_mul": "silu_mul ",
    "router/softmax": "softmax_rows ",
    "best_group": "top_k ",
    "mask": "mask ",
    "router/top_k": "top_k ",
    **dict.fromkeys(("router/to_float", "router/to_int"), "cast "),
    "align": "(align )+|fill ",  # few tokens are not sorted: each choice is a block
    **dict.fromkeys(("experts/gate_up", "experts/down"), "experts "),
    "experts/sum": "add_experts ",
    "experts/out": "move ",
    "last": "copy gather ",
}

STEP = (  # what a step tells the device of its requests, and where their keys go
    "(to_device ){3,4}fill (to_device ){4}gather copy add move add move fill slots (move|to_device) add (fill )?"
    "flash_plan move fill "
)
OUTSIDE = {  # the kernels before a line that are outside the ledger
    "pixels/sum_of_views": STEP + "(to_device )+",  # grids and pixels of all pages
    # The sum goes to the host; which pages have crops, and how many; the place of the page among all.
    "pixels/view": "(fill to_host )?(to_host compare compare either multiply_all fill choose to_host )?to_device ",
    "sam/patches": "(to_host )?",  # the sum of the crops
    "projector/place_crops": "to_host to_host ",  # rows and columns
    "projector/crop_lines": "(to_host to_host )?",  # where crops of one column need no place
    "projector/pages": "(fill to_host )?",  # the sum of no crops
    "embed": f"({STEP})?",
    "decoder/norm1": "(fill )?",  # positions of padding
}
AFTER = "copy divide softmax draw divide greatest copy to_host "  # the next tokens, drawn from the logits


def rule_key(path: str) -> str:
    """The key in RULES of a line. Raises NotMatched, which names a line without one."""
    parts = path.split("/")
    for start in range(len(parts)):
        if (key := "/".join(parts[start:])) in RULES:
            return key
    raise NotMatched(f"line {path} has no rule in RULES")
