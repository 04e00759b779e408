"""The keys of a snapshot's config.json: the values that the model implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from ..model.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Key:
    """A key that may change what is computed: the values that `values` gives for a model are the ones it implements."""

    values: Callable[[Architecture], tuple[object, ...]]
    ours: str = ""  # our dimension of the same meaning
    required: bool = False
    required_with_window: bool = False

    def missed(self, model: Architecture) -> bool:
        """Whether a configuration of `model` must have it."""
        return self.required or (self.required_with_window and model.decoder.window is not None)


@dataclass(frozen=True, slots=True)
class Level:
    """An object of config.json: its keys, and the objects in it."""

    keys: Mapping[str, Key]
    below: Mapping[str, Level] = field(default_factory=dict)
    required: bool = True


def size(ours: str, required: bool = True) -> Key:
    return Key(lambda model: (attrgetter(ours)(model),), ours, required)


def only(*values: object, required: bool = False) -> Key:
    return Key(lambda _: values, required=required)


def computed(value: Callable[[Architecture], object]) -> Key:
    return Key(lambda model: (value(model),))


def original_of(model: Architecture) -> str:
    """The published model whose layout a snapshot of `model` has."""
    if model.query_encoder is not None:
        return "DeepSeek-OCR-2"
    return "Unlimited-OCR" if model.decoder.window else "DeepSeek-OCR"


def _named(names: Mapping[str, tuple[object, ...]]) -> Key:
    """What names each published model otherwise than the others."""
    return Key(lambda model: names[original_of(model)], required=True)


def _ratio(part: str) -> Key:
    """The width of a part's MLP for each element of its stream."""
    sizes = attrgetter(f"{part}.mlp_width", f"{part}.width")

    def ratio(model: Architecture) -> float:
        hidden, width = sizes(model)
        return float(hidden / width)

    return computed(ratio)


WINDOW = size("decoder.window", required=False)


def _head_dim(model: Architecture) -> int:
    return model.decoder.width // model.decoder.heads


def _mlp_layers(model: Architecture) -> list[str]:
    dense, layers = model.decoder.dense_layers, model.decoder.layers
    return ["dense"] * dense + ["sparse"] * (layers - dense)


# DeepSeek-V2's keys, and those that transformers adds to them. Where a key is left out, DeepSeek's default is the value
# here, but for use_mla: latent attention has tensors of other names.
DECODER = {
    "hidden_size": size("decoder.width"),
    "num_hidden_layers": size("decoder.layers"),
    "first_k_dense_replace": size("decoder.dense_layers"),
    "num_attention_heads": size("decoder.heads"),
    "num_key_value_heads": size("decoder.kv_heads"),
    "intermediate_size": size("decoder.dense_width"),
    "moe_intermediate_size": size("decoder.expert_width"),
    "n_routed_experts": size("decoder.experts"),
    "num_experts_per_tok": size("decoder.experts_per_token"),
    "n_shared_experts": size("decoder.shared_experts"),
    "vocab_size": size("decoder.vocabulary"),
    "max_position_embeddings": size("decoder.max_positions", required=False),
    "num_experts": size("decoder.experts", required=False),
    "head_dim": computed(_head_dim),
    # Attention: all positions, rotary, without latents
    "use_mla": only(False),
    "kv_lora_rank": only(None),
    "q_lora_rank": only(None),
    "qk_nope_head_dim": only(0, None),
    "qk_rope_head_dim": only(0, None),
    "v_head_dim": Key(lambda model: (0, None, _head_dim(model))),  # read with use_mla only
    "layer_types": computed(
        lambda model: (
            ["reference_sliding_attention" if model.decoder.window else "full_attention"] * model.decoder.layers
        )
    ),
    "sliding_window": WINDOW,
    "sliding_window_size": WINDOW,
    "use_sliding_window": only(False),
    "rope_theta": only(10000),
    "rope_scaling": only(None),
    "rope_parameters": only(None, {"rope_type": "default", "rope_theta": 10000}),
    "attention_bias": only(False),
    # Experts: the best by softmax, all groups alike
    "mlp_layer_types": computed(_mlp_layers),
    "moe_layer_freq": only(1),
    "n_group": only(1, None),
    "topk_group": only(1, None),
    "topk_method": only("greedy", "gready"),  # DeepSeek's default is misspelt
    "scoring_func": only("softmax"),
    "norm_topk_prob": only(False),
    "routed_scaling_factor": only(1),
    "ep_size": only(1),
    "output_router_logits": only(False),
    # The rest
    "hidden_act": only("silu"),
    "mlp_bias": only(False),
    "rms_norm_eps": only(1e-6),
    "tie_word_embeddings": only(False),
    "lm_head": only(True),
    "rm_head": only(False),
    "pretraining_tp": only(1, None),
    "use_cache": only(True),
    "num_beams": only(1),
    "torch_dtype": only("bfloat16", "float16", "float32"),  # of the tensors, which are cast to ours
    "dtype": only("bfloat16", "float16", "float32"),
    "quantization_config": only(None),
    "is_decoder": only(False),
    "is_encoder_decoder": only(False),
    "add_cross_attention": only(False),
    "cross_attention_hidden_size": only(None),
    "tie_encoder_decoder": only(False),
    "chunk_size_feed_forward": only(0),
    "pruned_heads": only({}),
    "output_attentions": only(False),
    "output_hidden_states": only(False),
}

LANGUAGE = {
    "architectures": only(["DeepseekV2ForCausalLM"], ["DeepseekOCRForCausalLM"]),
    "model_type": only("deepseek_v2"),
} | DECODER

SAM = {
    "width": size("sam.width"),
    "layers": size("sam.layers"),
    "heads": size("sam.heads"),
    "global_attn_indexes": size("sam.global_layers"),
    "downsample_channels": size("sam.downsample_widths"),
    "window_size": size("sam.window", required=False),
    "patch_size": size("sam.patch", required=False),
    "image_size": size("sam.image_side", required=False),
    "mlp_ratio": _ratio("sam"),
}

CLIP = {
    "width": size("clip.width"),
    "layers": size("clip.layers"),
    "heads": size("clip.heads"),
    "patch_size": size("clip.patch"),
    "image_size": size("clip.image_side"),
    "mlp_ratio": _ratio("clip"),
}

VISION = {
    "image_size": size("sam.image_side"),
    "model_type": only("vision"),
    "model_name": computed(lambda model: "deeplip_b_l" if model.query_encoder is None else "deepencoderv2"),
    "mlp_ratio": only(3.7362),  # DeepSeek's code ignores it; the tensors' shapes show the true ones
}

PROJECTOR = {
    "projector_type": only("linear"),
    "model_type": only("mlp_projector"),
    "input_dim": computed(lambda model: model.with_sam.downsample_widths[-1] + (model.clip.width if model.clip else 0)),
    "n_embed": size("decoder.width", required=False),
}

# DeepSeek's classes read the decoder's keys here, vLLM and transformers in language_config: both have to be right.
TOP = {
    "architectures": _named(
        {
            "DeepSeek-OCR": (["DeepseekOCRForCausalLM"],),
            "DeepSeek-OCR-2": (["DeepseekOCR2ForCausalLM"],),
            "Unlimited-OCR": (["UnlimitedOCRForCausalLM"],),
        }
    ),
    "model_type": _named(
        {
            "DeepSeek-OCR": ("deepseek_vl_v2", "DeepseekOCR"),  # as published; as DeepSeek's class saves it
            "DeepSeek-OCR-2": ("deepseek_vl_v2",),
            "Unlimited-OCR": ("unlimited-ocr",),
        }
    ),
    "tile_tag": only("2D"),
    "global_view_pos": only("head"),
    "candidate_resolutions": computed(lambda model: [[model.with_sam.image_side] * 2]),
} | {name: replace(key, required=False) for name, key in DECODER.items()}
# transformers reads the window here alone, the model's own code here first.
TOP["sliding_window"] = replace(WINDOW, required_with_window=True)


def _config(encoders: Mapping[str, Level]) -> Level:
    below = {
        "language_config": Level(LANGUAGE),
        "vision_config": Level(VISION, {"width": Level({}, encoders)}),
        "projector_config": Level(PROJECTOR, required=False),
    }
    return Level(TOP, below)


# DeepSeek-OCR-2's own code reads no width of a convolution, and its published file still has those of DeepSeek-OCR.
WIDTHS = Key(lambda model: (model.with_sam.downsample_widths, [512, 1024]), "sam.downsample_widths", required=True)
CONFIG = _config({"sam_vit_b": Level(SAM), "clip-l-14-224": Level(CLIP)})
WITH_QUERIES = _config(
    {
        "sam_vit_b": Level(SAM | {"downsample_channels": WIDTHS}),
        "qwen2-0-5b": Level({"dim": size("query_encoder.width")}),  # the code has its other sizes
    }
)


def config_of(model: Architecture) -> Level:
    """The layout of a snapshot's config.json, by the encoders that the model has."""
    return CONFIG if model.query_encoder is None else WITH_QUERIES
