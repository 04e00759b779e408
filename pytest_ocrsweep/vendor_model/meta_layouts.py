"""On the meta device equal operations give equal layouts: torch works each out once, and later ones only allocate.

Its rules for that device are Python and take more than half of a count; layers repeat.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import torch

from .compat import Arguments, DispatchMode, Keywords, Operation, mutates
from .flop_rules import is_view


class Layout(NamedTuple):
    """A tensor on the meta device, which has no values."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Layout:
        return cls(tensor.shape, tensor.stride(), tensor.dtype)

    def allocated(self) -> torch.Tensor:
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="meta")


class MetaLayouts(DispatchMode):
    """Enter it before the modes that count, so that they see every operation; it leaves other devices alone."""

    def __init__(self) -> None:
        super().__init__()
        self._one: dict[Hashable, Layout] = {}
        self._several: dict[Hashable, tuple[Layout, ...]] = {}

    def run(self, func: Operation, args: Arguments, kwargs: Keywords) -> Any:
        if is_view(func) or mutates(func):
            return func(*args, **kwargs)
        call = (func, _key(args), _key(tuple(kwargs.items())))
        if call in self._one:
            return self._one[call].allocated()
        if call in self._several:
            return tuple(layout.allocated() for layout in self._several[call])
        out = func(*args, **kwargs)
        if _is_plain(out):
            self._one[call] = Layout.of(out)
        elif isinstance(out, tuple) and all(map(_is_plain, out)):
            self._several[call] = tuple(map(Layout.of, out))
        return out


def _key(argument: Any) -> Hashable:
    """Equal for arguments that give equal layouts; 1, 1.0 and True differ, as they do in type promotion."""
    if isinstance(argument, torch.Tensor):
        return argument.shape, argument.stride(), argument.dtype, argument.device
    if isinstance(argument, list | tuple):
        return tuple(map(_key, argument))
    return type(argument), argument


def _is_plain(out: object) -> bool:
    """Whether it is a tensor on the meta device in memory of its own, of the size that its layout takes."""
    if not isinstance(out, torch.Tensor) or not out.is_meta:
        return False
    return out.untyped_storage().nbytes() == Layout.of(out).allocated().untyped_storage().nbytes()
