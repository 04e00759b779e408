"""The parsers of pages and weights to fuzz: images and safetensors, and what must hold of what is accepted."""

from __future__ import annotations

import json
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import damage
import damage_binary
from damage import pack, packed, parts

# Page images: sizes from headers, and pixels


@cache
def pictures() -> list[bytes]:
    from PIL import Image

    made = []
    page = Image.linear_gradient("L").resize((64, 90)).convert("RGB")
    exif = Image.Exif()
    exif[274] = 6
    for kind, more in (
        ("PNG", {}), ("PNG", {"exif": exif}), ("JPEG", {"exif": exif}), ("JPEG", {"progressive": True, "quality": 30}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "jpeg"}),
        ("WEBP", {"exif": exif}),
        ("WEBP", {"lossless": True}), ("WEBP", {"quality": 20}), ("TIFF", {"big_tiff": True, "exif": exif}),
    ):  # fmt: skip
        file = BytesIO()
        page.save(file, kind, **more)
        made.append(file.getvalue())
    for mode in ("1", "P", "LA", "I;16", "CMYK"):
        file = BytesIO()
        page.convert("L").convert("I").convert("I;16").save(file, "PNG") if mode == "I;16" else page.convert(mode).save(
            file, "TIFF" if mode == "CMYK" else "PNG"
        )
        made.append(file.getvalue())
    return made


def image_seeds(folder: Path) -> list[bytes]:
    return pictures()


def image_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.files.image_size import page_size
    from pytest_ocrsweep.model.geometry import CropGrid

    path = folder / "page"
    path.write_bytes(data)
    size = page_size(path)
    assert size.width > 0 < size.height
    assert CropGrid.for_image(size.width, size.height).crops <= 9


def pixels_take(data: bytes, folder: Path) -> None:
    import torch

    from pytest_ocrsweep.model.geometry import CropGrid, Workload
    from pytest_ocrsweep.vendor_model.pixels import page_pixels

    path = folder / "page"
    path.write_bytes(data)
    crops = len(data) % 16 == 0  # it takes longer
    work = Workload(CropGrid(1, 2)) if crops else Workload(CropGrid(1, 1), resolution="tiny")
    pages = page_pixels(path, work, torch.zeros(1))
    assert pages.views.shape == (1, 3, work.sides.base_side, work.sides.base_side)
    assert -1 <= pages.views.min() <= pages.views.max() <= 1
    assert (pages.crops is None) != crops


# Checkpoints

SMALL = ["model=deepseek-ocr-tiny", "model.decoder.layers=2", "model.decoder.experts=2", "model.decoder.vocabulary=16"]
SMALL += ["model.sam.image_side=64", "model.clip.image_side=28", "model.decoder.width=8", "model.decoder.dense_width=8"]
SMALL += ["model.sam.width=8", "model.sam.downsample_widths=[8,8]", "model.clip.width=8", "model.sam.neck_width=8"]
SMALL += ["model.sam.window=2", "model.decoder.expert_width=8", "model.clip.mlp_width=8", "model.sam.mlp_width=8"]
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@cache
def small() -> Any:
    """A model of a few kilobytes."""
    from pytest_ocrsweep.sweep import config

    return config.compose(SMALL).model


def every_key(level: Any) -> dict[str, Any]:
    """An object of config.json with each key that it may have."""
    below = {name: every_key(lower) for name, lower in level.below.items()}
    return {name: key.values(small())[0] for name, key in level.keys.items()} | below


def checkpoint_seeds(folder: Path) -> list[bytes]:
    import torch
    from safetensors.torch import save

    from pytest_ocrsweep.vendor_model import checkpoint, snapshot_keys

    torch.set_num_threads(1)
    settings = every_key(snapshot_keys.CONFIG)
    shapes = sorted(checkpoint.expected(small()).items())
    torch.manual_seed(0)
    tensors = [(name, torch.randn(shape).to(torch.bfloat16)) for name, shape in shapes]
    tensors += [("model.vision_model.embeddings.position_ids", torch.arange(5)[None])]
    files = [dict(tensors[::2]), dict(tensors[1::2])]
    index = {"weight_map": {name: file for file, held in zip(SHARDS, files, strict=True) for name in held}}
    shards = [save(held, metadata={"format": "pt"}) for held in files]
    both = pack(json.dumps(settings).encode(), json.dumps(index).encode(), *shards)
    return [both, pack(json.dumps(settings).encode(), b"", save(dict(tensors)), b"")]


checkpoint_damage = packed(damage.tree, damage.tree, damage_binary.tensors, damage_binary.tensors)


def checkpoint_take(data: bytes, folder: Path) -> None:
    import torch

    from pytest_ocrsweep.vendor_model import checkpoint, snapshot_files

    settings, index, *shards = parts(data, 4)
    names = SHARDS if index else (snapshot_files.WEIGHTS,)
    written = {"config.json": settings, **({snapshot_files.INDEX: index} if index else {}), **dict(zip(names, shards))}  # noqa: B905
    for old in folder.iterdir():
        old.unlink()
    for name, content in written.items():
        (folder / name).write_bytes(content)
    loaded = checkpoint.load(folder, small(), "flash", "grouped_mm", "cpu")
    head = snapshot_files.tensors(folder)["lm_head.weight"]
    with head.file.open("rb") as file:
        file.seek(head.start)
        dtype = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}[head.dtype]
        stored = torch.frombuffer(bytearray(file.read(head.end - head.start)), dtype=dtype).reshape(head.shape)
    assert torch.equal(loaded.model.lm_head.weight.nan_to_num(), stored.to(torch.bfloat16).nan_to_num())
