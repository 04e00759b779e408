"""What a configuration holds, as frozen dataclasses; reading and validation refuse in one line what does not fit."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import lru_cache
from math import inf
from typing import Any, TypeVar, cast, get_args, get_type_hints

from ..errors import ConfigError
from ..files import near_miss
from ..files.text import quoted
from ..hardware.devices import Device
from ..model.architecture import Architecture
from ..model.engine import Engine
from ..model.geometry import TILING, CropGrid, Tiling, Workload
from ..model.precision import Precision

T = TypeVar("T")

MOST_WHOLE, MOST = 10**15, 1e30  # no hardware has a larger number, and products of larger ones overflow
MAY_BE_NONE = (  # of what a model need not have
    *("global_layers", "dense_layers", "experts", "experts_per_token", "shared_experts", "expert_width"),
    *("prompt_tokens", "seed", "view_sides", "crop_sides", "position_side"),
)
LEAST = dict.fromkeys(MAY_BE_NONE, 0)  # by the last part of a key, else 1
LEAST |= {"window": 2, "vocabulary": 2}  # windows of one patch; no id beside the image token's


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """A workload without its grid, which the sweep adds."""

    prompt_tokens: int
    new_tokens: int
    batch: int
    resolution: str
    pages: int = 1
    tiling: Tiling = field(default=TILING, repr=False, metadata={"of": "the model"})

    @lru_cache(2**16)  # noqa: B019  # a run has one workload; thousands of points have few different grids
    def on(self, grid: CropGrid | str) -> Workload:
        """This workload on one crop grid."""
        sizes = (self.prompt_tokens, self.new_tokens, self.batch, self.resolution, self.pages)
        return Workload(grid, *sizes, tiling=self.tiling)

    def holds(self, work: Workload) -> bool:
        """Whether `work` is this workload on some crop grid, which need not be one that it can have."""
        sizes = (work.prompt_tokens, work.new_tokens, work.batch, work.resolution, work.pages)
        return self == WorkloadSettings(*sizes, self.tiling)


@dataclass(frozen=True, slots=True)
class VendorSettings:
    """Where the reference model runs, and the seed of its random weights.

    `energy_ms` is how long a point's calls run again for its energy at least; None: its energy is not measured.
    """

    device: str = "cuda"
    seed: int = 0
    energy_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole composed configuration; its types are the schema of `conf/`."""

    model: Architecture
    engine: Engine
    precision: Precision
    workload: WorkloadSettings
    device: Device
    vendor: VendorSettings

    @property
    def most_crops(self) -> int:
        """Into which a page is cut: the engine's limit, or that of the model's own processor."""
        return self.engine.most_crops or self.model.most_crops

    def grid_of(self, width: int, height: int) -> CropGrid:
        """The grid that a page of `width` × `height` pixels is cut into. Raises ValueError as `for_image` does."""
        return self.model.tiling.sides(self.workload.resolution).grid_of(width, height, self.most_crops)


def option_keys(kind: type = Settings, prefix: str = "") -> Iterator[str]:
    """Every key that takes a value, dotted: `workload.batch`."""
    for name, hint in _hints(kind).items():
        if section := _section(hint):
            yield from option_keys(section, f"{prefix}{name}.")
        else:
            yield prefix + name


def _hints(kind: type) -> dict[str, type]:
    """Types of the fields that a configuration gives."""
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind) if each.init and not each.metadata}


def _section(hint: object) -> type | None:
    """The dataclass that a field holds, or may hold; None for any other type."""
    kinds = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and is_dataclass(kind)]
    return kinds[0] if kinds else None


def unknown_option(key: str, options: Collection[str]) -> ConfigError:
    """The error for a key that is no option; it names the nearest one."""
    by_last_name = {option.rpartition(".")[2]: option for option in options}
    near = [option for option in options if option.startswith(f"{key}.")]  # a section needs one of its keys
    by_name = near_miss.nearest(key.rpartition(".")[2], by_last_name)
    meant = near[0] if near else near_miss.nearest(key, options) or (by_name and by_last_name[by_name])
    sections = sorted({option.partition(".")[0] for option in options})
    hint = f"did you mean {meant!r}?" if meant else f"options begin with {', '.join(sections)}"
    return ConfigError(f"no option {quoted(key)}; {hint}")


def check_choice(key: str, value: object, choices: Collection[str]) -> None:
    """Raises ConfigError if `value` is not one of `choices`."""
    if value not in list(choices):
        meant = near_miss.did_you_mean(str(value), choices)
        raise ConfigError(f"{key} must be one of {', '.join(choices)}: got {quoted(value)}{meant}")


def read(kind: type[T], values: Mapping[str, object], key: str = "") -> T:
    """The frozen dataclass `kind` from the mapping under `key`, lists as tuples, every value checked.

    Hydra's structured configs cannot do this: a frozen schema refuses every override, and tuples come back as lists.
    Raises ConfigError.
    """
    hints, prefix = _hints(kind), f"{key}." if key else ""
    optional = {each.name for each in fields(cast(Any, kind)) if each.default is not MISSING}  # newer than some files
    for name in sorted(values.keys() ^ hints.keys()):
        if name in values:
            raise unknown_option(prefix + name, list(option_keys()))
        if name not in optional:
            raise ConfigError(f"{prefix}{name} has no value in conf/")
    given = {name: _field(hint, values[name], prefix + name) for name, hint in hints.items() if name in values}
    return cast(T, cast(type, kind)(**given))


def _field(hint: type, value: object, key: str) -> object:
    if section := _section(hint):
        if value is None and hint is not section:
            return None
        if not isinstance(value, Mapping):
            if value is None:
                raise ConfigError(f"{key} is a section: choose another model for one without it, got null")
            raise ConfigError(f"{key} must be a section with keys of its own, got {reprlib.repr(value)}")
        return read(section, value, key)
    wanted = _misfit(hint, value, least=LEAST.get(key.rpartition(".")[2], 1))
    if wanted is not None:
        raise ConfigError(f"{key} must be {wanted}, got {reprlib.repr(value)}")
    return tuple(value) if isinstance(value, list) else value


def _misfit(hint: object, value: object, least: int) -> str | None:
    """What a value of type `hint` must be, if `value` is not that; None if it fits."""
    if hint is int:
        return _misfit_int(value, least)
    if hint is bool:
        return None if isinstance(value, bool) else "true or false"
    if hint == int | None:
        return None if value is None else _misfit_int(value, least)
    if hint == tuple[str, ...]:
        good = isinstance(value, list) and value and all(_misfit_str(item) is None for item in value)
        return None if good else "a list of names"
    if hint is float:
        return _misfit_float(value)
    if hint == float | None:
        return None if value is None else _misfit_float(value)
    if hint == str | None:
        return None if value is None else _misfit_str(value)
    if hint is str:
        return _misfit_str(value)
    good = isinstance(value, list) and all(_is_whole(item, least) for item in value)
    return None if good else f"a list of whole numbers of at least {least}"


def _misfit_int(value: object, least: int) -> str | None:
    if not _is_whole(value, least):
        return f"a whole number of at least {least}"
    return f"at most {MOST_WHOLE:,}" if cast(int, value) > MOST_WHOLE else None


def _misfit_float(value: object) -> str | None:
    if not (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < inf):
        return "a positive number"
    return None if 1 <= value <= MOST else f"a number from 1 to {MOST:g}"


def _misfit_str(value: object) -> str | None:
    good = isinstance(value, str) and value.strip() != "" and value.isprintable()
    return None if good else "text (quote what reads as a number)"


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least  # isinstance would let a bool pass
