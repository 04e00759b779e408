"""A module of the reference model called by itself, and the kernels that stand for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from ..model.kernels import Kernel
from .forward import Call


@dataclass(frozen=True, slots=True)
class LayerCall:
    """A module of the reference model called by itself, and the kernels that the analytic model lists for it."""

    module: torch.nn.Module
    what: str
    call: Call
    kernels: Iterable[Kernel]

    @property
    def name(self) -> str:
        """The module's class, and which use of it."""
        return f"{type(self.module).__name__} {self.what}".strip()


def called(
    module: torch.nn.Module,
    kernels: Iterable[Kernel],
    *inputs: Any,
    what: str = "",
    **named: Any,
) -> LayerCall:
    """A module called with these arguments."""
    return LayerCall(module, what, lambda: module(*inputs, **named), kernels)


def tensor(*shape: int) -> torch.Tensor:
    """Of bf16, on the meta device."""
    return torch.empty(shape, dtype=torch.bfloat16, device="meta")
