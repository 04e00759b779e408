"""The parsers to fuzz: real inputs of each, how to damage them, and what must hold of a value that is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import damage
import damage_binary
from damage import Damage, kept, packed
from parsers_binary import checkpoint_damage, checkpoint_seeds, checkpoint_take, image_seeds, image_take, pixels_take
from parsers_databases import databases_damage, databases_seeds, databases_take
from parsers_files import (
    baselines_seeds,
    baselines_take,
    report_damage,
    report_seeds,
    report_take,
    sweep_damage,
    sweep_seeds,
    sweep_take,
)
from parsers_serving import serving_damage, serving_seeds, serving_take
from parsers_shown import (
    environments_damage,
    environments_seeds,
    environments_take,
    labels_damage,
    labels_seeds,
    labels_take,
    names_damage,
    names_seeds,
    names_take,
)
from parsers_words import arguments_damage, arguments_seeds, arguments_take, config_damage, config_seeds, config_take

A_LINE_A_PROBLEM = ("CheckpointError",)  # a snapshot of another model has many at once
MIB = 1 << 20


class Parser(NamedTuple):
    """`take` reads an input by way of files in a folder; it raises the parser's error, or AssertionError."""

    seeds: Callable[[Path], list[bytes]]
    damage: Damage
    take: Callable[[bytes, Path], object]
    memory: int = 200 * MIB  # that one case may take beyond all before it


PARSERS = {
    "baselines": Parser(baselines_seeds, packed(kept, damage.tree), baselines_take),
    "config": Parser(config_seeds, config_damage, config_take),
    "sweep": Parser(sweep_seeds, sweep_damage, sweep_take),
    "report": Parser(report_seeds, report_damage, report_take),
    "image": Parser(image_seeds, damage_binary.picture, image_take),
    "pixels": Parser(image_seeds, damage_binary.picture, pixels_take, memory=2048 * MIB),
    "checkpoint": Parser(checkpoint_seeds, checkpoint_damage, checkpoint_take),
    "arguments": Parser(arguments_seeds, arguments_damage, arguments_take),
    "labels": Parser(labels_seeds, labels_damage, labels_take),
    "names": Parser(names_seeds, names_damage, names_take),
    "environments": Parser(environments_seeds, environments_damage, environments_take),
    "serving": Parser(serving_seeds, serving_damage, serving_take),
    "databases": Parser(databases_seeds, databases_damage, databases_take),
}
