"""A snapshot's config.json: each key has a value that the model implements, has no effect on it, or is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import CheckpointError
from ..files.text import printable, quoted
from ..model.architecture import Architecture
from . import snapshot_keys, snapshot_native
from .snapshot_files import read_json, some
from .snapshot_ignored import WITHOUT_EFFECT
from .snapshot_keys import Key, Level


def check(path: Path, model: Architecture) -> None:
    """Raises CheckpointError with a line for each key that stands for another model than `model`, or is unknown."""
    problems: list[str] = []
    unknown: list[str] = []
    for name, block, level in _levels(f"{path}: ", read_json(path), config_of(model)):
        problems += _wrong(name, block, level, model)
        unknown += _unknown(name, block, level, original_of(model))
    lines = [*problems, *some(unknown, "keys")]
    if lines:
        raise CheckpointError("\n".join(lines))


def config_of(model: Architecture) -> Level:
    """The layout of a snapshot's config.json, by the encoders that the model has."""
    return snapshot_keys.config_of(model) if model.patch_encoder is None else snapshot_native.config_of(model)


def original_of(model: Architecture) -> str:
    """The published model whose layout a snapshot of `model` has."""
    return snapshot_keys.original_of(model) if model.patch_encoder is None else snapshot_native.original_of(model)


def _levels(name: str, block: Mapping[str, object], level: Level) -> Iterator[tuple[str, Mapping[str, object], Level]]:
    """Each object that config.json should have, with what stands before its keys in a message."""
    yield name, block, level
    for key, lower in level.below.items():
        if isinstance(inner := block.get(key), dict):
            yield from _levels(f"{name}{key}.", inner, lower)


def _wrong(name: str, block: Mapping[str, object], level: Level, model: Architecture) -> Iterator[str]:
    """Keys that the model does not have in this way."""
    for key, rule in level.keys.items():
        values = [list(value) if isinstance(value, tuple) else value for value in rule.values(model)]
        if (key in block or rule.missed(model)) and not any(_same(block.get(key), value) for value in values):
            yield f"{name}{key} {_stands(block, key)}, should be {_or(values)}{_remedy(rule, model)}"
    for key, lower in level.below.items():
        if (key in block or lower.required) and not isinstance(block.get(key), dict):
            yield (
                f"{name}{key} {_stands(block, key)}, should be an object: "
                f"choose a snapshot of {original_of(model)} in its original layout"
            )


def _unknown(name: str, block: Mapping[str, object], level: Level, original: str) -> Iterator[str]:
    """Keys that might mean anything."""
    known = level.keys.keys() | level.below.keys() | WITHOUT_EFFECT
    for key in (key for key in block if key not in known):
        yield (
            f"{name}{printable(key) or repr(key)} {_stands(block, key)}, and it is not known whether this key "
            f"changes what is computed: choose a snapshot of {original}, or delete the key if it changes nothing"
        )


def _same(there: object, here: object) -> bool:
    """Equal as JSON: true is no 1, though 1.0 is."""
    if isinstance(there, list) and isinstance(here, list):
        return len(there) == len(here) and all(map(_same, there, here))
    return isinstance(there, bool) == isinstance(here, bool) and there == here


def _stands(block: Mapping[str, object], key: str) -> str:
    return f"is {_json(block[key])}" if key in block else "is missing"


def _or(values: list[object]) -> str:
    return " or ".join(map(_json, values))


def _json(value: object) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else printable(quoted(value))


def _remedy(rule: Key, model: Architecture) -> str:
    if rule.ours:
        return f" as {rule.ours} of {model.name}: choose the model of this snapshot, or the snapshot of this model"
    return f": nothing else is implemented for {model.name}, choose a snapshot of {original_of(model)}"
