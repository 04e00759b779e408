"""Hydra, and only here: overrides go in, frozen settings come out; what does not fit is one clear line."""

from __future__ import annotations

import difflib
import os
import re
import reprlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import cache
from math import inf
from operator import attrgetter
from pathlib import Path
from typing import Any, cast, get_type_hints

from ..errors import ConfigError as ConfigError
from ..files.untrusted import quoted, shown
from ..hardware.roofline import Device
from ..model.architecture import DTYPES, Architecture
from ..model.geometry import PATCH, RESOLUTIONS, CropGrid, Workload
from ..model.layers.decoder import EXPERTS

CONF = Path(__file__).parents[1] / "conf"

CHOICES: dict[str, Collection[str]] = {
    "model.dtype": DTYPES,
    "model.decoder.prefill_experts": EXPERTS,
    "model.decoder.decode_experts": EXPERTS,
    "workload.resolution": RESOLUTIONS,
}
MOST_WHOLE, MOST = 10**15, 1e30  # a number beyond says nothing of hardware, and products of it overflow
MAY_BE_ZERO = ("global_layers", "dense_layers", "prompt_tokens", "seed")  # last parts of their keys
DIVISIBLE = (
    ("model.sam.width", "model.sam.heads"),
    ("model.sam.image_side", "model.sam.patch"),
    ("model.clip.width", "model.clip.heads"),
    ("model.clip.image_side", "model.clip.patch"),
    ("model.decoder.width", "model.decoder.heads"),
)
AT_MOST = (
    ("model.decoder.experts_per_token", "model.decoder.experts"),
    ("model.decoder.dense_layers", "model.decoder.layers"),
)


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """A workload without its grid, which the sweep gives."""

    prompt_tokens: int
    new_tokens: int
    batch: int
    resolution: str

    def on(self, grid: CropGrid) -> Workload:
        """This workload on one crop grid."""
        return Workload(grid, self.prompt_tokens, self.new_tokens, self.batch, self.resolution)


@dataclass(frozen=True, slots=True)
class VendorSettings:
    """Where the vendor model runs, and the seed of its random weights."""

    device: str = "cuda"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole composed configuration; the types here are the schema that `conf/` has to fit."""

    model: Architecture
    workload: WorkloadSettings
    grids: str
    device: Device
    vendor: VendorSettings


def compose(overrides: Iterable[str] = ()) -> Settings:
    """The settings under Hydra overrides (`KEY=VALUE`); composed once a process for the same overrides.

    Raises ConfigError, in one line, for an override that does not fit.
    """
    return _compose(tuple(overrides))


@cache
def _compose(overrides: tuple[str, ...]) -> Settings:
    files = _chosen(overrides)
    composed = _composed(overrides) if files is None else _merged(files)
    del composed["hydra"]
    settings: Settings = _read(Settings, composed, "")
    validate(settings)
    return settings


def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.types import RunMode

    _check_overrides(overrides)
    # Not hydra.compose(): it needs the one GlobalHydra, which may be the user's own and in use.
    loader = ConfigLoaderImpl(create_config_search_path(str(CONF)))
    return _plain(loader.load_configuration("config", list(overrides), RunMode.RUN))


def _chosen(overrides: tuple[str, ...]) -> dict[str, Path] | None:
    """The file of each group that overrides choose; None where they say anything else, or what is wrong."""
    choices = [match for text in overrides if (match := re.fullmatch(r"(\w+)=([\w-]+)", text))]
    files = {group: CONF / group / f"{name}.yaml" for group, name in (match.groups() for match in choices)}
    return files if len(files) == len(overrides) and all(map(os.path.isfile, files.values())) else None


def _merged(files: dict[str, Path]) -> dict[str, Any]:
    """What Hydra composes where overrides only choose files: to load it takes longer than all that comes after."""
    composed = _loaded(CONF / "config.yaml")
    defaults = {group: name for entry in composed.pop("defaults") if entry != "_self_" for group, name in entry.items()}
    groups = [group for group in defaults if not group.startswith("override ")]
    return {group: _loaded(files.get(group, CONF / group / f"{defaults[group]}.yaml")) for group in groups} | composed


def _loaded(file: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    return _plain(OmegaConf.load(file))


def _plain(loaded: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    return cast("dict[str, Any]", OmegaConf.to_container(loaded))


@cache
def devices() -> dict[str, Device]:
    """Every device that `device=NAME` can choose, by that name. Raises ConfigError for a file that does not fit."""
    files = sorted((CONF / "device").glob("*.yaml"))
    return {file.stem: _read(Device, _loaded(file), "device") for file in files}


def device_of(gpu: str | None) -> Device | None:
    """The device that its driver calls `gpu`; None where the catalogue has none. Raises ConfigError like `devices`."""
    return next((device for device in devices().values() if device.name == gpu), None)


def _check_overrides(overrides: tuple[str, ...]) -> None:
    """Hydra's own complaints are tracebacks and pages, so each override is checked before Hydra composes."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    groups = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in CONF.glob("*/")}
    options = [*groups, *_options(Settings)]
    chosen: dict[str, str] = {}
    for text in overrides:
        if text.startswith(("+", "~")) or "@" in text.partition("=")[0]:
            raise ConfigError(f"{quoted(text)}: options can be changed, not added, removed or moved; write KEY=VALUE")
        if "=" not in text:
            raise ConfigError(f"{quoted(text)} is not KEY=VALUE, for example workload.batch=4")
        try:
            override = OverridesParser.create().parse_override(text)
        except (HydraException, ValueError) as error:  # the latter for more digits than Python reads
            text, reason = text if len(text) <= 80 else text[:79] + "…", shown(" ".join(str(error).split()))
            raise ConfigError(f"{text!r} cannot be read ({reason}); quote the value?") from None
        key, value = override.key_or_group, override.value()
        if key not in options:
            raise _no_option(key, options)
        if override.is_sweep_override():
            raise ConfigError(f"{key} takes one value: quote it if it has commas, got {quoted(text)}")
        if isinstance(value, str) and ("${" in value or value == "???"):
            raise ConfigError(f"{key} takes the value itself, not an interpolation or a blank: got {quoted(text)}")
        if key in groups:
            _check_choice(key, value, groups[key])
            if chosen.setdefault(key, str(value)) != value:
                raise ConfigError(f"{key} is chosen twice: {quoted(chosen[key])} and {quoted(value)}; keep one")


def _options(kind: Any, prefix: str = "") -> Iterator[str]:
    """Every key that takes a value, dotted."""
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint):
            yield from _options(hint, f"{prefix}{name}.")
        else:
            yield prefix + name


def _no_option(key: str, options: Collection[str]) -> ConfigError:
    by_last_name = {option.rpartition(".")[2]: option for option in options}
    near = [option for option in options if option.startswith(f"{key}.")]  # a section needs one of its keys
    near = near or difflib.get_close_matches(key, options, 1)
    near = near or [by_last_name[n] for n in difflib.get_close_matches(key.rpartition(".")[2], by_last_name, 1)]
    sections = sorted({option.partition(".")[0] for option in options})
    hint = f"did you mean {near[0]!r}?" if near else f"options begin with {', '.join(sections)}"
    return ConfigError(f"no option {quoted(key)}; {hint}")


def _check_choice(key: str, value: object, choices: Collection[str]) -> None:
    if value not in list(choices):
        near = difflib.get_close_matches(str(value), choices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{key} must be one of {', '.join(choices)}: got {quoted(value)}{hint}")


def _read(kind: type, value: Any, key: str) -> Any:
    """`value` as `kind`: a frozen dataclass of a mapping, a tuple of a list; the rest as it is, checked.

    Not an OmegaConf structured schema: a frozen one refuses every override, and tuples come back as lists.
    """
    if is_dataclass(kind):
        hints, prefix = get_type_hints(kind), f"{key}." if key else ""
        for name in sorted(value.keys() ^ hints.keys()):
            if name in value:
                raise _no_option(prefix + name, list(_options(Settings)))
            raise ConfigError(f"{prefix}{name} has no value in {CONF.name}/")
        return kind(**{name: _read(hint, value[name], prefix + name) for name, hint in hints.items()})

    if kind == float | None:
        if value is None:
            return None
        kind = float
    least = 0 if key.rpartition(".")[2] in MAY_BE_ZERO else 1
    if kind is int:
        good, wanted = _whole(value, least), f"a whole number of at least {least}"
        if good and value > MOST_WHOLE:
            good, wanted = False, f"at most {MOST_WHOLE:,}"
    elif kind is float:
        good, wanted = type(value) in (int, float) and 0 < value < inf, "a positive number"
        if good and not 1 <= value <= MOST:
            good, wanted = False, f"a number from 1 to {MOST:g}"
    elif kind is str:
        good = isinstance(value, str) and value.strip() != "" and value.isprintable()
        wanted = "text (quote what reads as a number)"
    else:
        good = isinstance(value, list) and all(_whole(item, least) for item in value)
        wanted = f"a list of whole numbers of at least {least}"
    if not good:
        raise ConfigError(f"{key} must be {wanted}, got {reprlib.repr(value)}")
    return tuple(value) if isinstance(value, list) else value


def _whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least  # a bool is an int to isinstance


def validate(settings: Settings) -> None:
    """Raise ConfigError, in one line, for values that are well typed but cannot be together."""
    for key, choices in CHOICES.items():
        _check_choice(key, attrgetter(key)(settings), choices)
    for holds, otherwise in _rules(settings):
        if not holds:
            raise ConfigError(otherwise)


def _rules(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Whether each rule holds, and what to say if not; a later rule may lean on an earlier one."""
    for key, other in DIVISIBLE:
        a, b = attrgetter(key, other)(settings)
        yield a % b == 0, f"{key} {a} is not divisible by {other} {b}"
    for key, other in AT_MOST:
        a, b = attrgetter(key, other)(settings)
        yield a <= b, f"{key} {a} is more than {other} {b}"

    yield (
        re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", settings.model.name) is not None,
        "model.name is the folder of its baselines: at most 100 letters, digits, '_', '.' and '-', and no '.' or '-' "
        f"first, got {quoted(settings.model.name)}",
    )
    sam, clip, decoder = settings.model.sam, settings.model.clip, settings.model.decoder
    layers, widths = list(sam.global_layers), list(sam.downsample_widths)
    yield (
        len({layer for layer in layers if layer < sam.layers}) == len(layers),
        f"model.sam.global_layers must be distinct layers from 0 to {sam.layers - 1}, got {layers}",
    )
    yield sam.patch == PATCH, f"model.sam.patch must be {PATCH}, as image tokens are counted, got {sam.patch}"
    yield len(widths) == 2, f"model.sam.downsample_widths must be two widths, got {widths}"
    yield (
        clip.width == widths[-1],
        f"model.clip.width {clip.width} must equal the last of model.sam.downsample_widths {widths}: "
        "SAM's features are CLIP's patch embeddings",
    )
    yield (
        decoder.kv_heads == decoder.heads,
        f"model.decoder.kv_heads {decoder.kv_heads} must equal model.decoder.heads {decoder.heads}: "
        "the vendor's eager attention cannot share keys among queries",
    )
    yield (
        decoder.width // decoder.heads % 2 == 0,
        f"model.decoder.width {decoder.width} / model.decoder.heads {decoder.heads} is odd: rotary "
        "embedding turns pairs",
    )
    yield (
        re.fullmatch(r"cpu|cuda(:[0-9]+)?", settings.vendor.device) is not None,
        f"vendor.device must be cpu, cuda or cuda:INDEX, got {quoted(settings.vendor.device)}",
    )
