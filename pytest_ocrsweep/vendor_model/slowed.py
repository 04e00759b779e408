"""One component of the reference model made slower: what the self-test of the blame must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from ..errors import MeasureError
from .clocks import busy_amount, keep_busy
from .compat import Arguments, DispatchMode, Keywords, Operation
from .dispatch_count import tensors
from .families import ReferenceModel, of_built
from .flop_rules import ALLOCATIONS, is_view
from .forward import Call

_LAYER = "model.language_model.layers.*"
MODULES = {
    "sam": "model.vision_tower.sam_encoder",
    "clip": "model.vision_tower.vision_encoder",
    "query_encoder": "model.vision_tower.vision_encoder",
    "projector": "model.multi_modal_projector",
    "decoder/norm1": f"{_LAYER}.input_layernorm",
    "decoder/attn": f"{_LAYER}.self_attn",
    "decoder/norm2": f"{_LAYER}.post_attention_layernorm",
    "decoder/mlp": f"{_LAYER}.mlp.gate_proj",  # of a dense layer: it alone has one there
    "decoder/router": f"{_LAYER}.mlp.gate",
    "decoder/experts": f"{_LAYER}.mlp.experts",
    "decoder/shared_experts": f"{_LAYER}.mlp.shared_experts",
    "decoder/final_norm": "model.language_model.norm",
    "head": "lm_head",
}
"""The modules of each component that can be slowed, by their names in the reference model."""

ENCODERS = ("clip", "query_encoder")  # of which a model has one

# An operation of its own, so that a profiler sees its kernel within the operation that it follows.
torch.library.define("pytest_ocrsweep::keep_busy", "(Tensor at, int amount) -> ()")


@torch.library.impl("pytest_ocrsweep::keep_busy", "CompositeExplicitAutograd")
def _keep_busy(at: torch.Tensor, amount: int) -> None:
    keep_busy(at.device, amount)


@dataclass(frozen=True, slots=True)
class Delay:
    """So many ns more in each call, within one component."""

    component: str
    ns: int


class Slowed(DispatchMode):
    """Within it, the component's first operation of each call is followed by the delay, and is profiled with it.

    It is entered before any other mode, so that it acts within the operation as a later one sees it.
    """

    def __init__(self, built: ReferenceModel, delay: Delay, device: torch.device) -> None:
        """Raises MeasureError for a component that cannot be slowed."""
        super().__init__()
        family = of_built(built)
        modules = {**MODULES, **family.modules}
        if delay.component not in modules:
            known = f"one of {', '.join(modules)}"
            raise MeasureError(f"component {delay.component} cannot be slowed;", hint=f"choose {known}")
        if delay.component in ENCODERS and delay.component != family.encoder:
            what = "encoder after SAM" if family.encoder in ENCODERS else "encoder"  # of patches
            raise MeasureError(f"this model has no {delay.component};", hint=f"its {what} is {family.encoder}")
        self._modules = _named(built, modules[delay.component])
        if not self._modules:
            there = ", ".join(name for name, pattern in modules.items() if _named(built, pattern))
            raise MeasureError(f"this model has no {delay.component};", hint=f"choose one of {there}")
        self._amount = busy_amount(device, delay.ns)
        self._inside, self._due = 0, False
        self._hooks: list[RemovableHandle] = []

    def armed(self, call: Call) -> Call:
        """The call, whose component is slowed once."""

        def slower() -> object:
            self._due = True
            return call()

        return slower

    def __enter__(self) -> Slowed:
        for module in self._modules:
            self._hooks.append(module.register_forward_pre_hook(self._step(+1)))
            self._hooks.append(module.register_forward_hook(self._step(-1)))
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def _step(self, by: int) -> Callable[..., None]:
        def step(*_: object) -> None:
            self._inside += by

        return step

    def run(self, func: Operation, args: Arguments, kwargs: Keywords) -> Any:
        out = func(*args, **kwargs)
        if self._due and self._inside and _launches(func):
            self._due = False
            torch.ops.pytest_ocrsweep.keep_busy(next(iter(tensors(out))), self._amount)
        return out


def _launches(func: Operation) -> bool:
    """Whether it is an operation of the model's that has a line; a profiler's marks are operations too."""
    return func.namespace == "aten" and not is_view(func) and func.overloadpacket not in ALLOCATIONS


def _named(built: ReferenceModel, pattern: str) -> list[torch.nn.Module]:
    """The modules with a name of that pattern."""
    return [module for name, module in built.named_modules() if _matches(name, pattern)]


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and name.count(".") == pattern.count(".")
