"""DeepSeek's own loop over pages and its own CLIP and SAM, in plain torch on the reference model's parameters.

Written after DeepSeek-OCR's modeling_deepseekocr.py, DeepseekOCRModel.forward, and deepencoder.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .families import ReferenceModel
from .pages import Pages


class Features(NamedTuple):
    """The image tokens of each page, and what the tower keeps beside them."""

    pages: list[torch.Tensor]
    kept: object


class ClonedBetween(nn.Module):
    """SAM's last two convolutions, with a copy of the map between them."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.conv1, self.conv2 = of.conv1, of.conv2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        between = self.conv1(x)
        out: torch.Tensor = self.conv2(between.clone())
        return out


class GatheredPositions(nn.Module):
    """CLIP's embeddings: the table of positions is looked up whole before it is resized."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.class_embedding, self.table = of.class_embedding, of.position_embedding
        self.ids = torch.zeros(1, of.position_embedding.num_embeddings, dtype=torch.long, device="meta")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        patches = features.flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(features), 1, -1)
        joined = torch.cat([first, patches], dim=1)
        return joined + self._resized(self.table(self.ids), int((joined.shape[1] - 1) ** 0.5))

    def _resized(self, table: torch.Tensor, side: int) -> torch.Tensor:
        trained = int((table.shape[1] - 1) ** 0.5)
        if trained == side:
            return table
        first, old = table.squeeze(0)[:1], table.squeeze(0)[1:]
        old = old.view(1, trained, trained, -1).permute(0, 3, 1, 2).contiguous()
        old = old.to(torch.float32)
        new = F.interpolate(old, size=(side, side), mode="bicubic", antialias=True, align_corners=False).to(table.dtype)
        new = new.permute(0, 2, 3, 1).view(side * side, -1)
        return torch.cat([first, new], dim=0)[None]


def features(built: ReferenceModel, pages: Pages) -> Features:
    """Page by page, crops before the view; what a page named stays until the next page names its own."""
    grid, model = pages.work.grid, built.model
    sam, clip, project = model.vision_tower.sam_encoder, model.vision_tower.vision_encoder, model.multi_modal_projector
    found: list[torch.Tensor] = []
    crops_sam = crops_clip = crops = None
    for i in range(len(pages.views)):
        if pages.crops is not None:
            pixels = pages.crops[i * grid.crops : (i + 1) * grid.crops]
            crops_sam = sam(pixels).last_hidden_state
            crops_clip = clip(crops_sam).last_hidden_state
            crops = torch.cat((crops_clip[:, 1:], crops_sam.flatten(2).permute(0, 2, 1)), dim=-1)
            crops = project(crops)
        view_sam = sam(pages.views[i : i + 1]).last_hidden_state
        view_clip = clip(view_sam).last_hidden_state
        view = torch.cat((view_clip[:, 1:], view_sam.flatten(2).permute(0, 2, 1)), dim=-1)
        view = project(view)
        side, width = int(view.shape[1] ** 0.5), view.shape[-1]
        view = view.view(side, side, width)
        view = torch.cat([view, model.image_newline[None, None].expand(side, 1, width)], dim=1).view(-1, width)
        if crops is not None:
            c, rows, columns = int(crops.shape[1] ** 0.5), grid.rows, grid.columns
            crops = crops.view(rows, columns, c, c, width).permute(0, 2, 1, 3, 4).reshape(rows * c, columns * c, width)
            newline = model.image_newline[None, None].expand(rows * c, 1, width)
            crops = torch.cat([crops, newline], dim=1).view(-1, width)
            found.append(torch.cat([crops, view, model.view_separator[None]]))
        else:
            found.append(torch.cat([view, model.view_separator[None]]))
    return Features(found, (crops_sam, crops_clip, crops, view_sam, view_clip, view))
