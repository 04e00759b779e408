"""vLLM's loop over pages, in plain torch on the reference model's parameters.

Written after vLLM 0.26, model_executor/models/deepseek_ocr.py, _parse_and_validate_image_input and
_pixel_values_to_embedding. Each sum is read by the host, which asks whether a page has pixels.
"""

from __future__ import annotations

import torch

from .families import ReferenceModel
from .pages import Pages


def features(built: ReferenceModel, pages: Pages) -> list[torch.Tensor]:
    """The image tokens of each page."""
    crops_of_page, found = pages.work.grid.crops, []
    torch.sum(pages.views)
    for i in range(len(pages.views)):
        view = pages.views[[i]]
        global_features = _of_view(built, view)
        if pages.crops is not None:
            crops = pages.crops[i * crops_of_page : (i + 1) * crops_of_page]
            local_features = _of_crops(built, crops, pages)
            combined = torch.cat([local_features, global_features, built.model.view_separator[None]], dim=0)
        else:
            combined = torch.cat([global_features, built.model.view_separator[None]], dim=0)
        found.append(combined)
    return found


def _of_view(built: ReferenceModel, pixels: torch.Tensor) -> torch.Tensor:
    model = built.model
    sam = model.vision_tower.sam_encoder(pixels).last_hidden_state
    clip = model.vision_tower.vision_encoder(sam).last_hidden_state
    x = torch.cat((clip[:, 1:], sam.flatten(2).permute(0, 2, 1)), dim=-1)
    x = model.multi_modal_projector(x)
    _, tokens, width = x.shape
    side = int(tokens**0.5)
    x = x.view(side, side, width)
    x = torch.cat([x, model.image_newline[None, None].expand(side, 1, width)], dim=1)
    return x.view(-1, width)


def _of_crops(built: ReferenceModel, pixels: torch.Tensor, pages: Pages) -> torch.Tensor:
    torch.sum(pixels)
    model = built.model
    sam = model.vision_tower.sam_encoder(pixels).last_hidden_state
    clip = model.vision_tower.vision_encoder(sam).last_hidden_state
    x = torch.cat((clip[:, 1:], sam.flatten(2).permute(0, 2, 1)), dim=-1)
    x = model.multi_modal_projector(x)
    return _as_lines(built, x, pages)


def _as_lines(built: ReferenceModel, x: torch.Tensor, pages: Pages) -> torch.Tensor:
    _, tokens, width = x.shape
    side, rows, columns = int(tokens**0.5), pages.work.grid.rows, pages.work.grid.columns
    x = x.view(rows, columns, side, side, width).permute(0, 2, 1, 3, 4).reshape(rows * side, columns * side, width)
    newline = built.model.image_newline[None, None].expand(rows * side, 1, width)
    x = torch.cat([x, newline], dim=1)
    return x.view(-1, width)
