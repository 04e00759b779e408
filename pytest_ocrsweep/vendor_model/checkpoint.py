"""Real weights from a local snapshot in its model's original layout, checked whole before a tensor is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import safe_open
from transformers.core_model_loading import revert_weight_conversion

from ..errors import CheckpointError
from ..files.text import printable
from ..model.architecture import Architecture
from ..model.attention import ATTENTION
from . import build, families, snapshot_config, snapshot_native
from .families import ReferenceModel
from .snapshot_files import SHOWN, StoredTensor, digest, some, tensors

FLOATS = ("BF16", "F16", "F32")
UNUSED = ("vision_model.embeddings.patch_embedding.weight", "position_ids")  # SAM's features replace the first


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A folder that holds a model: all tensors by name, and those that the model uses."""

    folder: Path
    stored: dict[str, StoredTensor]
    used: dict[str, StoredTensor]


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A reference model with a snapshot's weights, their digest, and the tensors that no part of the model uses."""

    model: ReferenceModel
    digest: str
    unused: tuple[str, ...]


def load(
    directory: str | os.PathLike[str], model: Architecture, attention: str, experts: str, device: str
) -> LoadedCheckpoint:
    """The reference model on `device`, in the dtype of `model`, with the weights of the snapshot in `directory`.

    Only safetensors are read: no pickle, no remote code, no network. Raises CheckpointError.
    """
    found = check(directory, model)
    unused = tuple(sorted(found.stored.keys() - found.used.keys()))
    return LoadedCheckpoint(_build(found, model, attention, experts, device), digest(found.stored), unused)


def check(directory: str | os.PathLike[str], model: Architecture) -> Snapshot:
    """The snapshot in `directory`, which holds all tensors of `model`; none of them is read. Raises CheckpointError."""
    folder = Path(directory)
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise CheckpointError(f"checkpoint {folder} {problem}: give the folder of a local snapshot")
    try:
        snapshot_config.check(folder / "config.json", model)
        stored = tensors(folder)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or folder} cannot be read ({error.strerror}): check its permissions"
        ) from None
    used = {name: tensor for name, tensor in stored.items() if not _unused(name, model)}
    check_tensors(folder, used, model)
    return Snapshot(folder, stored, used)


def _unused(name: str, model: Architecture) -> bool:
    """Whether a snapshot of `model` may hold a tensor of that name which its class does not have."""
    if model.patch_encoder is not None:
        return name.startswith(snapshot_native.unused(model))
    return name.endswith(UNUSED)


@cache
def expected(model: Architecture) -> Mapping[str, tuple[int, ...]]:
    """Shapes by their names in the original layout: transformers' own conversion table, backwards."""
    empty = build.on_meta(model, "eager", model.decoder.prefill_experts)
    original = revert_weight_conversion(empty, empty.state_dict())
    return MappingProxyType({name: tuple(tensor.shape) for name, tensor in original.items()})


def check_tensors(folder: Path, stored: Mapping[str, StoredTensor], model: Architecture) -> None:
    """Raises CheckpointError unless `stored` are the tensors of `model`, in floats and in its shapes."""
    shapes = expected(model)
    missing = [
        f"{folder}: tensor {name} is missing, should be {list(shapes[name])}: download the snapshot again"
        for name in shapes.keys() - stored.keys()
    ]
    extra = [
        f"{tensor.file}: tensor {printable(name)} is {tensor}, should not be there: choose the snapshot of {model.name}"
        for name, tensor in stored.items()
        if name not in shapes
    ]
    wrong = [
        f"{tensor.file}: tensor {name} is {tensor}, should be {list(shapes[name])} in {', '.join(FLOATS)}: "
        f"choose the snapshot of {model.name}"
        for name, tensor in stored.items()
        if name in shapes and (tensor.shape != shapes[name] or tensor.dtype not in FLOATS)
    ]
    lines = [line for problems in (missing, extra, wrong) for line in some(sorted(problems), "tensors")]
    if lines:
        raise CheckpointError("\n".join(lines))


def _build(found: Snapshot, model: Architecture, attention: str, experts: str, device: str) -> ReferenceModel:
    """transformers' own loading, given the tensors and no path.

    Without a path there is nothing that it could look up, be it on the network or in the snapshot's own code.
    """
    shards = {tensor.file for tensor in found.used.values()}
    with ExitStack() as opened:
        files = {file: opened.enter_context(safe_open(file, framework="pt")) for file in shards}
        family = families.of(model)
        loaded: Any = family.kind.from_pretrained(
            None,
            config=family.config(model),
            state_dict={name: files[tensor.file].get_slice(name) for name, tensor in found.used.items()},
            dtype=build.DTYPES[model.dtype],
            attn_implementation=ATTENTION[attention].implementation,
            **build.experts_of(model, experts),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    built, report = loaded
    left = sorted({*report["missing_keys"], *report["unexpected_keys"]})
    if left:  # its table disagrees with itself: never run on weights that it made up
        names = ", ".join(left[:SHOWN])
        raise CheckpointError(f"{found.folder}: transformers did not load {names}: use the release this project names")
    return build.ready(built.to(device))
