"""A model of the user's own, with the interface of the reference model: whether it can be timed as that is."""

from __future__ import annotations

from operator import attrgetter

import torch

from ..errors import MeasureError
from ..model.attention import ATTENTION
from . import build, compat
from .families import ReferenceModel, TextConfig

INTERFACE = (
    *("model.get_image_features", "lm_head.weight", "get_input_embeddings"),
    *("config.image_token_id", "config.text_config"),
)
DTYPES = {torch.float32: "fp32", **{dtype: name for name, dtype in build.DTYPES.items()}}
UNFUSED = [each.implementation for each in ATTENTION.values() if not each.fused]
LIKE = "it must have the interface of transformers' UnlimitedOcrForConditionalGeneration"


def check(model: object, attention: str, device: torch.device) -> ReferenceModel:
    """The model, which is not changed. Raises MeasureError, in one line, for one that cannot be timed as it is."""
    if not isinstance(model, torch.nn.Module):
        raise MeasureError(f"model= is of type {type(model).__name__}, and no torch module;", f"{LIKE}")
    for name in INTERFACE:
        try:
            attrgetter(name)(model)
        except AttributeError:
            raise MeasureError(f"model= has no {name};", LIKE) from None
    built: ReferenceModel = model  # as far as it is used
    if not isinstance(built.config.text_config, TextConfig):
        raise MeasureError("model= has no text_config of UnlimitedOcr;", LIKE)
    if built.training:
        raise MeasureError("model= is in training mode;", "call model.eval() first")
    _check_place(built, device)
    _check_attention(built, attention)
    return built


def _check_place(built: ReferenceModel, device: torch.device) -> None:
    index = device.index if device.index is not None or device.type != "cuda" else torch.cuda.current_device()
    wanted = torch.device(device.type, index)
    every = dict.fromkeys(each.device for each in (*built.parameters(), *built.buffers()))
    others = [str(each) for each in every if each != wanted]
    if others:
        what = f"model= is on {', '.join(others)}, and the settings time on {wanted};"
        raise MeasureError(what, f"move it there, or set vendor.device={others[0].partition(':')[0]}")


def _check_attention(built: ReferenceModel, attention: str) -> None:
    found, wanted = compat.attention_of(built.config.text_config), ATTENTION[attention]
    if found is None or wanted.fused == (found not in UNFUSED):
        return
    what = f"model= computes attention as {found}, and the point is {attention};"
    hint = f"build it with attn_implementation={wanted.implementation!r}, or check the other attention"
    raise MeasureError(what, hint)


def dtype(built: ReferenceModel) -> str:
    """What it computes in, as settings name it."""
    found = build.like(built).dtype
    return DTYPES.get(found, str(found).removeprefix("torch."))


def weight_bytes(built: ReferenceModel) -> int:
    """Of its parameters: fewer than the reference model's if it is quantised."""
    return sum(each.numel() * each.element_size() for each in built.parameters())
