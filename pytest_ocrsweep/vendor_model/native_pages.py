"""Pages at their own resolution as a class of transformers takes them: patches, their grids and their positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..model.architecture import Architecture, PatchEncoder
from ..model.geometry import Workload
from . import families
from .family import Patches
from .host_numbers import page_ends, page_grids
from .pages import Pages


def random_patches(work: Workload, like: torch.Tensor, model: Architecture) -> Pages:
    """Random pixels on the device and in the dtype of `like`: [patches of all pages, …one patch]."""
    encoder, patches = _of(model)
    shape = (work.batch * work.image_tokens * encoder.merge**2, *patches.shape(encoder))
    return Pages(
        torch.randn(shape, device=like.device, dtype=like.dtype), None, work, _places(work, model, like.device)
    )


def of_canvas(canvas: torch.Tensor, work: Workload, like: torch.Tensor, model: Architecture) -> Pages:
    """The pixels [3, height, width] of one page for each page of the batch, cut into patches."""
    encoder, patches = _of(model)
    one = patches.cut(canvas, encoder).to(like.device, like.dtype)
    return Pages(one.repeat(work.batch, *(1 for _ in one.shape[1:])), None, work, _places(work, model, like.device))


def _of(model: Architecture) -> tuple[PatchEncoder, Patches]:
    encoder, patches = model.patch_encoder, families.of(model).patches
    assert encoder is not None
    assert patches is not None
    return encoder, patches


def _places(work: Workload, model: Architecture, device: torch.device) -> Mapping[str, Any]:
    """Grids and ends of pages on the host, and positions of patches on `device`, as arguments of a call."""
    encoder, patches = _of(model)
    positions = {name: tensor.to(device) for name, tensor in patches.positions(work, encoder).items()}
    grids = {
        "image_grid_thw": page_grids(work, encoder.merge),
        "image_cu_seqlens": page_ends(work, encoder.merge),
    }
    return grids | positions
