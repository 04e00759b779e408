"""The keys of the config.json of models that read pages at their own resolution; GLM-OCR's and PaddleOCR-VL's."""

from __future__ import annotations

from collections.abc import Callable

from ..model.architecture import Architecture, PatchEncoder
from ..model.structures import structure_of
from .snapshot_keys import Key, Level, only, size

ORIGINALS = {"glm_ocr": "GLM-OCR", "paddleocr_vl": "PaddleOCR-VL"}
TRAINED = 384  # pixels of the side that PaddleOCR-VL says it was trained on: not whole patches
FLOATS = only("bfloat16", "float16", "float32")  # of the tensors, which are cast to ours
EITHER = only(True, False)  # changes nothing in a forward pass that names its own


def _of_encoder(value: Callable[[PatchEncoder], tuple[object, ...]], *, required: bool = False) -> Key:
    """Values that depend on the patch encoder."""

    def values(model: Architecture) -> tuple[object, ...]:
        assert model.patch_encoder is not None
        return value(model.patch_encoder)

    return Key(values, required=required)


def _trained_sides(encoder: PatchEncoder) -> tuple[int, ...]:
    """Sides in pixels with as many whole patches as the table has positions."""
    patch, positions = encoder.patch, encoder.position_side
    return tuple(side for side in (TRAINED, patch * positions) if side // patch == positions)


def _rope(theta: int) -> Callable[[Architecture], tuple[object, ...]]:
    """Sections of a head's angles, in the words of three releases."""

    def values(model: Architecture) -> tuple[object, ...]:
        sections = {"rope_type": "default", "mrope_section": list(model.decoder.rope_sections)}
        with_theta = sections | {"rope_theta": theta}
        whole = {"partial_rotary_factor": 1.0}
        return sections | {"type": "default"}, with_theta, with_theta | whole, with_theta | {"type": "default"}

    return values


DECODER = {
    "hidden_size": size("decoder.width"),
    "num_hidden_layers": size("decoder.layers"),
    "num_attention_heads": size("decoder.heads"),
    "num_key_value_heads": size("decoder.kv_heads"),
    "intermediate_size": size("decoder.dense_width"),
    "vocab_size": size("decoder.vocabulary"),
    "max_position_embeddings": size("decoder.max_positions", required=False),
    "head_dim": size("decoder.head_dim"),
    "hidden_act": only("silu"),
    "rms_norm_eps": only(1e-5),
    "use_cache": EITHER,
    "torch_dtype": FLOATS,
    "dtype": FLOATS,
    "quantization_config": only(None),
}
GLM_DECODER = DECODER | {
    "model_type": only("glm_ocr_text", required=True),
    "attention_bias": only(False),
    "rope_parameters": Key(_rope(10000), required=True),
    "tie_word_embeddings": only(False),
    "num_nextn_predict_layers": only(0, 1, None),  # transformers does not load them
}
GLM_ENCODER = {
    "model_type": only("glm_ocr_vision", required=True),
    "hidden_size": size("patch_encoder.width"),
    "depth": size("patch_encoder.layers"),
    "num_heads": size("patch_encoder.heads"),
    "intermediate_size": size("patch_encoder.mlp_width"),
    "patch_size": size("patch_encoder.patch"),
    "temporal_patch_size": size("patch_encoder.frames"),
    "spatial_merge_size": size("patch_encoder.merge"),
    "in_channels": size("patch_encoder.channels", required=False),
    "out_hidden_size": size("decoder.width"),
    "attention_bias": only(True),
    "hidden_act": only("silu"),
    "rms_norm_eps": only(1e-5),
    "image_size": only(336),  # no tensor has its size
    "rope_parameters": only(None, {"rope_type": "axial", "rope_theta": 10000}),
    "dtype": FLOATS,
}
GLM = Level(
    {
        "architectures": only(["GlmOcrForConditionalGeneration"], required=True),
        "model_type": only("glm_ocr", required=True),
        "tie_word_embeddings": only(False),
        "torch_dtype": FLOATS,
        "dtype": FLOATS,
    },
    {"text_config": Level(GLM_DECODER), "vision_config": Level(GLM_ENCODER)},
)

PADDLE_ENCODER = {
    "architectures": only(["PaddleOCRVisionModel"]),
    "model_type": only("paddleocr_vl", "paddleocr_vl_vision"),
    "hidden_size": size("patch_encoder.width"),
    "num_hidden_layers": size("patch_encoder.layers"),
    "num_attention_heads": size("patch_encoder.heads"),
    "intermediate_size": size("patch_encoder.mlp_width"),
    "patch_size": size("patch_encoder.patch"),
    "spatial_merge_size": size("patch_encoder.merge"),
    "num_channels": size("patch_encoder.channels", required=False),
    "image_size": _of_encoder(_trained_sides),
    "hidden_act": only("gelu_pytorch_tanh"),
    "layer_norm_eps": only(1e-6),
    "temporal_patch_size": only(1, 2),  # of videos, as the next
    "tokens_per_second": only(2),
    "rope_parameters": only(None, {"rope_type": "axial", "rope_theta": 10000}),
    "torch_dtype": FLOATS,
    "dtype": FLOATS,
}
PADDLE = Level(
    DECODER
    | {
        "architectures": only(["PaddleOCRVLForConditionalGeneration"], required=True),
        "model_type": only("paddleocr_vl", required=True),
        "tie_word_embeddings": only(False, required=True),  # the class ties them if nothing is said
        "rope_theta": only(500000),
        "rope_scaling": Key(_rope(500000)),
        "rope_parameters": Key(_rope(500000)),
        "use_bias": only(False),
        "sliding_window": only(None),
        "max_sequence_length": only(None),
        "compression_ratio": only(1),
        "rope_is_neox_style": only(True),
        "use_3d_rope": only(True),
        "weight_share_add_bias": only(True),
        "use_flash_attention": EITHER,
    },
    {"vision_config": Level(PADDLE_ENCODER)},
)
LEVELS = {"glm_ocr": GLM, "paddleocr_vl": PADDLE}


def config_of(model: Architecture) -> Level:
    """The layout of a snapshot's config.json, by the class that runs the model."""
    return LEVELS[structure_of(model)]


def original_of(model: Architecture) -> str:
    """The published model whose layout a snapshot of `model` has."""
    return ORIGINALS[structure_of(model)]


def unused(model: Architecture) -> tuple[str, ...]:
    """What begins the names of tensors of a snapshot that its class does not load."""
    return {
        "glm_ocr": (f"model.language_model.layers.{model.decoder.layers}.",),  # it predicts a second token
        "paddleocr_vl": ("visual.vision_model.head.", "visual.vision_model.embeddings.packing_position_embedding."),
    }[structure_of(model)]
