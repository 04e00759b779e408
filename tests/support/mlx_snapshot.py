"""The tensors of MLX snapshots of DeepSeek-OCR and DeepSeek-OCR-2 in 8 bits, by name, type and shape.

Source: mlx-community on the hub; mlx-vlm: models/deepseekocr, models/deepseekocr_2, and save_weights in utils.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod

Tensor = tuple[str, str, list[int]]  # name, type, shape
BYTES = {"BF16": 2, "U32": 4}
# Of model.safetensors and of its index, as the hub lists them.
FILES = {"deepseek-ocr": (3_919_426_465, 72_573), "deepseek-ocr-2": (4_026_836_549, 74_152)}


def tensors(model: str) -> Iterator[Tensor]:
    yield from _language("language_model.")
    for name in ("projector.layers.bias", "view_separator"):
        yield name, "BF16", [1280]
    if model == "deepseek-ocr":
        yield "image_newline", "BF16", [1280]
        yield from _quantised("projector.layers", 1280, 2048)
        yield from _clip("vision_model.")
        yield from _sam("sam_model.", 1024)
    else:
        yield from _quantised("projector.layers", 1280, 896)
        yield from _qwen("vision_model.qwen2_encoder.")
        yield from _sam("sam_model.", 896)


def _quantised(name: str, out: int, width: int, *lead: int) -> Iterator[Tensor]:
    """8 bits in groups of 64: four elements a word, and a scale and a bias a group."""
    yield f"{name}.weight", "U32", [*lead, out, width // 4]
    for part in ("scales", "biases"):
        yield f"{name}.{part}", "BF16", [*lead, out, width // 64]


def _linear(name: str, out: int, width: int) -> Iterator[Tensor]:
    yield f"{name}.weight", "BF16", [out, width]
    yield f"{name}.bias", "BF16", [out]


def _norm(name: str, width: int) -> Iterator[Tensor]:
    for part in ("weight", "bias"):
        yield f"{name}.{part}", "BF16", [width]


def _gated(name: str, hidden: int, *lead: int) -> Iterator[Tensor]:
    for part in ("gate_proj", "up_proj"):
        yield from _quantised(f"{name}.{part}", hidden, 1280, *lead)
    yield from _quantised(f"{name}.down_proj", 1280, hidden, *lead)


def _language(at: str) -> Iterator[Tensor]:
    for table in ("model.embed_tokens", "lm_head"):
        yield from _quantised(f"{at}{table}", 129_280, 1280)
    yield f"{at}model.norm.weight", "BF16", [1280]
    for layer in range(12):
        here = f"{at}model.layers.{layer}."
        for part in "qkvo":
            yield from _quantised(f"{here}self_attn.{part}_proj", 1280, 1280)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{here}{norm}.weight", "BF16", [1280]
        if layer == 0:
            yield from _gated(f"{here}mlp", 6848)
        else:
            yield from _gated(f"{here}mlp.switch_mlp", 896, 64)
            yield from _gated(f"{here}mlp.shared_experts", 1792)
            yield f"{here}mlp.gate.weight", "BF16", [64, 1280]


def _clip(at: str) -> Iterator[Tensor]:
    yield f"{at}embeddings.class_embedding", "BF16", [1024]
    yield f"{at}embeddings.patch_embedding.weight", "BF16", [1024, 14, 14, 3]
    yield f"{at}embeddings.position_embedding.weight", "BF16", [257, 1024]
    yield from _norm(f"{at}pre_layrnorm", 1024)
    for layer in range(24):
        here = f"{at}transformer.layers.{layer}."
        for norm in ("layer_norm1", "layer_norm2"):
            yield from _norm(here + norm, 1024)
        for part, out, width in (
            ("self_attn.qkv_proj", 3072, 1024),
            ("self_attn.out_proj", 1024, 1024),
            ("mlp.fc1", 4096, 1024),
            ("mlp.fc2", 1024, 4096),
        ):
            yield from _linear(here + part, out, width)


def _qwen(at: str) -> Iterator[Tensor]:
    for side, queries in ((1024, 256), (768, 144)):
        yield f"{at}query_{side}", "BF16", [queries, 896]
    yield f"{at}norm.weight", "BF16", [896]
    for layer in range(24):
        here = f"{at}layers.{layer}."
        for part, out in (("q", 896), ("k", 128), ("v", 128)):
            yield from _linear(f"{here}self_attn.{part}_proj", out, 896)
        yield f"{here}self_attn.o_proj.weight", "BF16", [896, 896]
        for part, out, width in (("gate", 4864, 896), ("up", 4864, 896), ("down", 896, 4864)):
            yield f"{here}mlp.{part}_proj.weight", "BF16", [out, width]
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{here}{norm}.weight", "BF16", [896]


def _sam(at: str, last: int) -> Iterator[Tensor]:
    yield f"{at}patch_embed.proj.weight", "BF16", [768, 16, 16, 3]
    yield f"{at}patch_embed.proj.bias", "BF16", [768]
    yield f"{at}pos_embed", "BF16", [1, 64, 64, 768]
    for layer in range(12):
        here, distances = f"{at}blocks.{layer}.", 127 if layer in (2, 5, 8, 11) else 27
        for norm in ("norm1", "norm2"):
            yield from _norm(here + norm, 768)
        for part, out, width in (("attn.qkv", 2304, 768), ("attn.proj", 768, 768), ("mlp.lin1", 3072, 768)):
            yield from _linear(here + part, out, width)
        yield from _linear(f"{here}mlp.lin2", 768, 3072)
        for side in "hw":
            yield f"{here}attn.rel_pos_{side}", "BF16", [distances, 64]
    for at_layer, window, width in ((0, 1, 768), (2, 3, 256)):
        yield f"{at}neck.{at_layer}.weight", "BF16", [256, window, window, width]
        yield from _norm(f"{at}neck.{at_layer + 1}", 256)
    yield f"{at}net_2.weight", "BF16", [512, 3, 3, 256]
    yield f"{at}net_3.weight", "BF16", [last, 3, 3, 512]


def data_bytes(model: str) -> int:
    return sum(prod(shape) * BYTES[kind] for _, kind, shape in tensors(model))


def index_bytes(model: str) -> int:
    """Of model.safetensors.index.json: it names every tensor and the sum of their bytes."""
    names = sorted(name for name, _, _ in tensors(model))
    index = {"metadata": {"total_size": data_bytes(model)}, "weight_map": dict.fromkeys(names, "model.safetensors")}
    return len(json.dumps(index, indent=4))


def header_bytes(order: list[Tensor]) -> int:
    """Of model.safetensors before its data, with the tensors in this order: the file's own is that of a hash table."""
    at, header = 0, {"__metadata__": {"format": "mlx"}}
    for name, kind, shape in order:
        size = prod(shape) * BYTES[kind]
        header[name] = {"data_offsets": [at, at + size], "dtype": kind, "shape": shape}  # type: ignore[dict-item]
        at += size
    return 8 + len(json.dumps(header, separators=(",", ":")))
