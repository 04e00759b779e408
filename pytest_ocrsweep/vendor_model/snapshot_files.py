"""The files of a snapshot: which tensors lie where, by the headers of its safetensors alone; nothing else is opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError
from ..files import untrusted
from ..files.text import printable

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
# DeepSeek-OCR has 2,710 tensors in one shard, whose header takes 0.4 MB. The library reads headers of 100 MB.
MOST_TENSORS, MOST_SHARDS = 20_000, 256
MOST_HEADER_BYTES = 1 << 23
MOST_CONFIG_BYTES = 1 << 20
MOST_VALUES = 16 * MOST_TENSORS  # of a JSON text; a tensor in a header has ten
SAMPLE = 4096  # bytes of each tensor that the digest reads
SHOWN = 5  # problems of one kind named one by one


class _TooLongError(Exception):
    """The header of a file that is not read."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the header of its file declares it; its bytes lie from `start` to `end` in the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a snapshot by name, from the headers of its files alone. Raises CheckpointError."""
    if (folder / WEIGHTS).is_file():
        return _header(folder / WEIGHTS)
    index = folder / INDEX
    if not index.is_file():
        raise CheckpointError(_without_index(folder))
    files = read_json(index, MOST_HEADER_BYTES).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise CheckpointError(f"{index} has no weight_map from tensors to files: download it again")
    shards = sorted({str(file) for file in files.values()})
    if len(files) > MOST_TENSORS or len(shards) > MOST_SHARDS:
        raise CheckpointError(
            f"{index} names {len(files):,} tensors in {len(shards):,} files, at most {MOST_TENSORS:,} in {MOST_SHARDS} "
            "are read: choose a snapshot of DeepSeek-OCR"
        )
    stored: dict[str, StoredTensor] = {}
    for name in shards:
        shard = folder / name
        if shard.parent != folder or not os.path.isfile(shard):
            raise CheckpointError(
                f"{index} names {printable(name)}, which is no file of {folder}: download the snapshot again"
            )
        stored |= _header(shard)
    return stored


def _without_index(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    shards = [name for name in names if name.endswith(".safetensors")]
    if shards:
        return (
            f"{folder} holds {printable(shards[0])} without {INDEX}, which says where each tensor lies: "
            "download the index as well"
        )
    pickles = [name for name in names if name.endswith(PICKLES)]
    found = f"only {printable(pickles[0])}, and pickled weights are never loaded" if pickles else "neither"
    return f"{folder} should hold {WEIGHTS} or {INDEX}, has {found}: get its safetensors files"


def read_json(path: Path, most_bytes: int = MOST_CONFIG_BYTES) -> dict[str, object]:
    """A JSON object that a snapshot needs. Raises CheckpointError."""
    try:
        document = untrusted.parse_json(untrusted.read(path, most_bytes), most_values=MOST_VALUES)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): a snapshot needs this file") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}): download it again") from None
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} is a JSON {type(document).__name__}, should be an object: download it again")
    return document


def some(problems: Sequence[str], noun: str) -> Iterator[str]:
    """The first few, and how many more: a snapshot of another model has thousands."""
    yield from problems[:SHOWN]
    if len(problems) > SHOWN:
        yield f"... and {len(problems) - SHOWN:,} more {noun} like this one"


def digest(stored: Mapping[str, StoredTensor]) -> str:
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


def _header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file, none of which reaches beyond its end."""
    size, problem = path.stat().st_size, ""
    stored: dict[str, StoredTensor] = {}
    try:
        stored = _entries(path, size)
    except _TooLongError as error:  # the library would read it
        raise CheckpointError(f"{path} has a header of {error}: choose a snapshot of DeepSeek-OCR") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        problem = printable(str(error)) or type(error).__name__  # the library says more of it, if it minds
    name, last = max(stored.items(), key=lambda item: item[1].end, default=("", None))
    if last is not None and last.end > size:
        raise CheckpointError(
            f"{path}: tensor {printable(name)} ends at byte {last.end:,}, the file at byte {size:,}: "
            "the file is truncated, download it again"
        )
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        problem = printable(str(error))
    if problem:
        raise CheckpointError(f"{path} is damaged, not safetensors ({problem}): download it again")
    return stored


def _entries(path: Path, size: int) -> dict[str, StoredTensor]:
    """What the header declares: 8 bytes with its length, then JSON, then the tensors' bytes."""
    with untrusted.open_regular(path) as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > size:
            raise ValueError(f"its header has {length:,} bytes")
        if length > MOST_HEADER_BYTES:
            raise _TooLongError(f"{length:,} bytes, more than {MOST_HEADER_BYTES:,}")
        entries = untrusted.parse_json(stream.read(length), most_values=MOST_VALUES)
    entries.pop("__metadata__", None)
    if len(entries) > MOST_TENSORS:
        raise _TooLongError(f"{len(entries):,} tensors, more than {MOST_TENSORS:,}")
    return {
        name: StoredTensor(
            path, entry["dtype"], tuple(entry["shape"]), *(8 + length + at for at in entry["data_offsets"])
        )
        for name, entry in entries.items()
    }
