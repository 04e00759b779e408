"""Real weights from a local snapshot in DeepSeek-OCR's original layout, checked whole before a tensor is read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.core_model_loading import revert_weight_conversion
from transformers.models.unlimited_ocr.modeling_unlimited_ocr import UnlimitedOcrForConditionalGeneration

from ..architecture import Architecture
from . import build

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
FLOATS = ("BF16", "F16", "F32")
UNUSED = ("vision_model.embeddings.patch_embedding.weight", "position_ids")  # SAM's features replace the first
SAMPLE = 4096  # bytes of each tensor that the digest reads
SHOWN = 5  # problems of one kind named one by one

# Fields of the snapshot's config.json → ours. Widths that it leaves out show in the tensors' shapes. Its
# max_position_embeddings (8192) is no dimension of a rotary model, so it may differ from ours.
LANGUAGE, VISION = "language_config.", "vision_config."
SAM, CLIP = f"{VISION}width.sam_vit_b.", f"{VISION}width.clip-l-14-224."
FIELDS = {
    f"{LANGUAGE}hidden_size": "decoder.width",
    f"{LANGUAGE}num_hidden_layers": "decoder.layers",
    f"{LANGUAGE}first_k_dense_replace": "decoder.dense_layers",
    f"{LANGUAGE}num_attention_heads": "decoder.heads",
    f"{LANGUAGE}num_key_value_heads": "decoder.kv_heads",
    f"{LANGUAGE}intermediate_size": "decoder.dense_width",
    f"{LANGUAGE}moe_intermediate_size": "decoder.expert_width",
    f"{LANGUAGE}n_routed_experts": "decoder.experts",
    f"{LANGUAGE}num_experts_per_tok": "decoder.experts_per_token",
    f"{LANGUAGE}n_shared_experts": "decoder.shared_experts",
    f"{LANGUAGE}vocab_size": "decoder.vocabulary",
    f"{VISION}image_size": "sam.image_side",
    f"{SAM}width": "sam.width",
    f"{SAM}layers": "sam.layers",
    f"{SAM}heads": "sam.heads",
    f"{SAM}global_attn_indexes": "sam.global_layers",
    f"{SAM}downsample_channels": "sam.downsample_widths",
    f"{CLIP}width": "clip.width",
    f"{CLIP}layers": "clip.layers",
    f"{CLIP}heads": "clip.heads",
    f"{CLIP}patch_size": "clip.patch",
    f"{CLIP}image_size": "clip.image_side",
}


class CheckpointError(ValueError):
    """A snapshot that is damaged or holds another model: one line a problem."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as the header of its file declares it; its bytes lie from `start` to `end` in the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A vendor model with a snapshot's weights, their digest, and the tensors that no part of the model uses."""

    model: Any
    digest: str
    unused: tuple[str, ...]


def load(directory: str | os.PathLike[str], model: Architecture, attention: str, experts: str, device: str) -> Loaded:
    """The vendor's model on `device`, in the model's dtype, with the weights of the snapshot in `directory`.

    Only safetensors are read: no pickle, no remote code, no network. Raises CheckpointError.
    """
    folder = Path(directory)
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise CheckpointError(f"checkpoint {folder} {problem}: give the folder of a local snapshot")
    check_config(folder / "config.json", model)
    stored = tensors(folder)
    unused = tuple(sorted(name for name in stored if name.endswith(UNUSED)))
    used = {name: tensor for name, tensor in stored.items() if name not in unused}
    check_tensors(folder, used, model)
    return Loaded(_build(folder, used, model, attention, experts, device), digest(stored), unused)


def check_config(path: Path, model: Architecture) -> None:
    """Raises CheckpointError with a line for each dimension that `model` has otherwise."""
    document = _json(path)
    problems = []
    for theirs, ours in FIELDS.items():
        there, here = _field(document, theirs), attrgetter(ours)(model)
        here = list(here) if isinstance(here, tuple) else here
        if there != here:
            stands = "is missing" if there is None else f"is {there!r}"
            problems.append(
                f"{path}: {theirs} {stands}, should be {here!r} as {ours} of {model.name}: "
                "choose the model of this snapshot, or the snapshot of this model"
            )
    if problems:
        raise CheckpointError("\n".join(problems))


def tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor of a snapshot by name, from the headers of its files alone. Raises CheckpointError."""
    if (folder / WEIGHTS).is_file():
        return _header(folder / WEIGHTS)
    index = folder / INDEX
    if not index.is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        found = f"only {pickles[0]}, and pickled weights are never loaded" if pickles else "neither"
        raise CheckpointError(f"{folder} should hold {WEIGHTS} or {INDEX}, has {found}: get its safetensors files")
    files = _json(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise CheckpointError(f"{index} has no weight_map from tensors to files: download it again")
    stored: dict[str, Stored] = {}
    for name in sorted({str(file) for file in files.values()}):
        shard = folder / name
        if shard.parent != folder or not shard.is_file():
            raise CheckpointError(f"{index} names {name}, which is no file of {folder}: download the snapshot again")
        stored |= _header(shard)
    return stored


def expected(model: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes by their names in the original layout: transformers' own conversion table, backwards."""
    empty = build.build(model, "eager", model.decoder.prefill_experts, "meta")
    original = revert_weight_conversion(empty, empty.state_dict())
    return {name: tuple(tensor.shape) for name, tensor in original.items()}


def check_tensors(folder: Path, stored: Mapping[str, Stored], model: Architecture) -> None:
    """Raises CheckpointError unless `stored` are the tensors of `model`, in floats and in its shapes."""
    shapes = expected(model)
    missing = [
        f"{folder}: tensor {name} is missing, should be {list(shapes[name])}: download the snapshot again"
        for name in shapes.keys() - stored.keys()
    ]
    extra = [
        f"{tensor.file}: tensor {name} is {tensor}, should not be there: choose the snapshot of {model.name}"
        for name, tensor in stored.items()
        if name not in shapes
    ]
    wrong = [
        f"{tensor.file}: tensor {name} is {tensor}, should be {list(shapes[name])} in {', '.join(FLOATS)}: "
        f"choose the snapshot of {model.name}"
        for name, tensor in stored.items()
        if name in shapes and (tensor.shape != shapes[name] or tensor.dtype not in FLOATS)
    ]
    lines = [line for problems in (missing, extra, wrong) for line in _some(sorted(problems))]
    if lines:
        raise CheckpointError("\n".join(lines))


def digest(stored: Mapping[str, Stored]) -> str:
    """sha256 over each tensor's name, dtype, shape and first 4 KiB, in the order of names.

    It does not read every byte, so it takes well under a second; how the tensors are spread over files has no part.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(stored.items()):
        total.update(f"{name} {tensor}\n".encode())
        with tensor.file.open("rb") as stream:
            stream.seek(tensor.start)
            total.update(stream.read(min(SAMPLE, tensor.end - tensor.start)))
    return total.hexdigest()


def _build(
    folder: Path, stored: Mapping[str, Stored], model: Architecture, attention: str, experts: str, device: str
) -> Any:
    """transformers' own loading, given the tensors and no path.

    Without a path there is nothing that it could look up, be it on the network or in the snapshot's own code.
    """
    with ExitStack() as opened:
        files = {t.file: opened.enter_context(safe_open(t.file, framework="pt")) for t in stored.values()}
        loaded: Any = UnlimitedOcrForConditionalGeneration.from_pretrained(
            None,
            config=build.config(model),
            state_dict={name: files[tensor.file].get_slice(name) for name, tensor in stored.items()},
            dtype=build.DTYPES[model.dtype],
            attn_implementation=build.IMPLEMENTATIONS[attention],
            experts_implementation=experts,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    built, report = loaded
    left = sorted({*report["missing_keys"], *report["unexpected_keys"]})
    if left:  # its table disagrees with itself: never run on weights that it made up
        names = ", ".join(left[:SHOWN])
        raise CheckpointError(f"{folder}: transformers did not load {names}: use the release this project names")
    return build.ready(built.to(device))


def _header(path: Path) -> dict[str, Stored]:
    """The tensors of one file, none of which reaches beyond its end."""
    size = path.stat().st_size
    try:
        stored = _entries(path, size)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        stored = {}  # the library says what is wrong with it
    name, last = max(stored.items(), key=lambda item: item[1].end, default=("", None))
    if last is not None and last.end > size:
        raise CheckpointError(
            f"{path}: tensor {name} ends at byte {last.end:,}, the file at byte {size:,}: "
            "the file is truncated, download it again"
        )
    try:
        with safe_open(path, framework="pt"):
            return stored
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, not safetensors ({error}): download it again") from None


def _entries(path: Path, size: int) -> dict[str, Stored]:
    """What the header declares: 8 bytes with its length, then JSON, then the tensors' bytes."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entries = json.loads(stream.read(min(length, size)))
    entries.pop("__metadata__", None)
    return {
        name: Stored(path, entry["dtype"], tuple(entry["shape"]), *(8 + length + at for at in entry["data_offsets"]))
        for name, entry in entries.items()
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): a snapshot needs this file") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}): download it again") from None
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} is a JSON {type(document).__name__}, should be an object: download it again")
    return document


def _field(document: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for key in path.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _some(problems: list[str]) -> Iterable[str]:
    """The first few, and how many more: a snapshot of another model has thousands."""
    yield from problems[:SHOWN]
    if len(problems) > SHOWN:
        yield f"... and {len(problems) - SHOWN:,} more tensors like this one"
