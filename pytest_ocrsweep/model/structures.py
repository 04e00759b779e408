"""What each class of the reference model fixes of a model that reads pages at their own resolution.

Sizes are free. Layers are priced in any combination; a combination that no class runs has no witness, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from .architecture import Architecture

STRUCTURES: dict[str, Mapping[str, object]] = {  # by the folder of transformers that has the class
    "glm_ocr": {
        "patch_encoder.merger": "convolution",
        "patch_encoder.norm": "rms_norm",
        "patch_encoder.head_norms": True,
        "patch_encoder.joined_qkv": True,
        "patch_encoder.gated_mlp": True,
        "patch_encoder.has_table": False,
        "patch_encoder.returns_scores": False,
        "patch_encoder.nested": False,
        "decoder.rope": "pairs",
        "decoder.joined_gate_up": True,
        "decoder.late_norms": True,
    },
    "paddleocr_vl": {
        "patch_encoder.merger": "mlp",
        "patch_encoder.norm": "layer_norm",
        "patch_encoder.head_norms": False,
        "patch_encoder.joined_qkv": False,
        "patch_encoder.gated_mlp": False,
        "patch_encoder.has_table": True,
        "patch_encoder.returns_scores": True,
        "patch_encoder.nested": True,
        "patch_encoder.frames": 1,
        "decoder.rope": "halves",
        "decoder.joined_gate_up": False,
        "decoder.late_norms": False,
    },
}
OF_VIEWS: Mapping[str, object] = {  # the decoder of the classes that look at views with SAM
    "decoder.head_dim": None,
    "decoder.rope": "halves",
    "decoder.rope_sections": (),
    "decoder.joined_gate_up": False,
    "decoder.late_norms": False,
}


def structure_of(model: Architecture) -> str:
    """The class of a model with a patch encoder, or the one that differs least from it."""
    return min(STRUCTURES, key=lambda name: len(differing(model, STRUCTURES[name])))


def differing(model: Architecture, structure: Mapping[str, object]) -> list[str]:
    """The fields of a model that a structure has otherwise."""
    return [key for key, fixed in structure.items() if attrgetter(key)(model) != fixed]
