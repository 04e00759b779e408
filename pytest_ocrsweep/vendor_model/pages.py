"""The pixels of all pages of a call, and the arguments that a class of transformers takes for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..model.geometry import Workload
from . import families
from .families import ReferenceModel


@dataclass(frozen=True, slots=True)
class Pages:
    """Pixels of all pages: `views` [pages, 3, side, side], `crops` [pages · crops, 3, side, side] or None.

    Of pages at their own resolution `views` are their patches, and `named` is what else says where they lie.
    """

    views: torch.Tensor
    crops: torch.Tensor | None
    work: Workload
    named: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, model: ReferenceModel) -> dict[str, Any]:
        """The arguments that the reference model takes."""
        arguments: dict[str, Any] = {"pixel_values": self.views, **self.named}
        if self.crops is not None:
            arguments |= {"pixel_values_local": self.crops, **families.of_built(model).crops(self.work)}
        return arguments
