"""What a configuration holds, as frozen dataclasses; reading and validation refuse in one line what does not fit."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from math import inf
from operator import attrgetter
from typing import TypeVar, cast, get_type_hints

from ..errors import ConfigError
from ..files.text import quoted
from ..hardware.devices import Device
from ..model.architecture import DTYPES, Architecture
from ..model.attention import ATTENTION
from ..model.engine import Engine
from ..model.geometry import PATCH, RESOLUTIONS, CropGrid, Workload
from ..model.layers.moe import EXPERTS

T = TypeVar("T")

CHOICES: dict[str, Collection[str]] = {
    "model.dtype": DTYPES,
    "model.decoder.prefill_experts": EXPERTS,
    "model.decoder.decode_experts": EXPERTS,
    "workload.resolution": RESOLUTIONS,
}
MOST_WHOLE, MOST = 10**15, 1e30  # no hardware has a larger number, and products of larger ones overflow
LEAST = dict.fromkeys(
    ("global_layers", "dense_layers", "prompt_tokens", "seed"), 0
)  # by the last part of a key, else 1
LEAST |= {"window": 2, "vocabulary": 2}  # windows of one patch; no id beside the image token's
ALIGNED = 8  # elements of two bytes: rows of a grouped product are whole multiples of 16 bytes
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
    """A workload without its grid, which the sweep adds."""

    prompt_tokens: int
    new_tokens: int
    batch: int
    resolution: str

    @lru_cache(2**16)  # noqa: B019  # a run has one workload; thousands of points have few different grids
    def on(self, grid: CropGrid | str) -> Workload:
        """This workload on one crop grid."""
        return Workload(grid, self.prompt_tokens, self.new_tokens, self.batch, self.resolution)

    def holds(self, work: Workload) -> bool:
        """Whether `work` is this workload on some crop grid, which need not be one that it can have."""
        return self == WorkloadSettings(work.prompt_tokens, work.new_tokens, work.batch, work.resolution)


@dataclass(frozen=True, slots=True)
class VendorSettings:
    """Where the reference model runs, and the seed of its random weights."""

    device: str = "cuda"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole composed configuration; its types are the schema of `conf/`."""

    model: Architecture
    engine: Engine
    workload: WorkloadSettings
    device: Device
    vendor: VendorSettings


def option_keys(kind: type = Settings, prefix: str = "") -> Iterator[str]:
    """Every key that takes a value, dotted: `workload.batch`."""
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint):
            yield from option_keys(cast(type, hint), f"{prefix}{name}.")
        else:
            yield prefix + name


def unknown_option(key: str, options: Collection[str]) -> ConfigError:
    """The error for a key that is no option; it names the nearest one."""
    by_last_name = {option.rpartition(".")[2]: option for option in options}
    near = [option for option in options if option.startswith(f"{key}.")]  # a section needs one of its keys
    near = near or difflib.get_close_matches(key, options, 1)
    near = near or [by_last_name[n] for n in difflib.get_close_matches(key.rpartition(".")[2], by_last_name, 1)]
    sections = sorted({option.partition(".")[0] for option in options})
    hint = f"did you mean {near[0]!r}?" if near else f"options begin with {', '.join(sections)}"
    return ConfigError(f"no option {quoted(key)}; {hint}")


def check_choice(key: str, value: object, choices: Collection[str]) -> None:
    """Raises ConfigError if `value` is not one of `choices`."""
    if value not in list(choices):
        near = difflib.get_close_matches(str(value), choices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{key} must be one of {', '.join(choices)}: got {quoted(value)}{hint}")


def read(kind: type[T], values: Mapping[str, object], key: str = "") -> T:
    """The frozen dataclass `kind` from the mapping under `key`, lists as tuples, every value checked.

    Hydra's structured configs cannot do this: a frozen schema refuses every override, and tuples come back as lists.
    Raises ConfigError.
    """
    hints, prefix = get_type_hints(kind), f"{key}." if key else ""
    for name in sorted(values.keys() ^ hints.keys()):
        if name in values:
            raise unknown_option(prefix + name, list(option_keys()))
        raise ConfigError(f"{prefix}{name} has no value in conf/")
    fields = {name: _field(hint, values[name], prefix + name) for name, hint in hints.items()}
    return cast(T, cast(type, kind)(**fields))


def _field(hint: type, value: object, key: str) -> object:
    if is_dataclass(hint):
        return read(hint, cast(Mapping[str, object], value), key)
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


def validate(settings: Settings) -> None:
    """Raises ConfigError, in one line, for values that are well typed but do not fit together."""
    for key, choices in CHOICES.items():
        check_choice(key, attrgetter(key)(settings), choices)
    for holds, otherwise in _rules(settings):
        if not holds:
            raise ConfigError(otherwise)


def _rules(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Whether each rule holds, and the message if it does not; a later rule may rely on an earlier one."""
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
    yield sam.width > sam.heads, f"model.sam.width {sam.width} must be more than model.sam.heads {sam.heads}"
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
    yield from _grouped_products(settings.model)
    yield from _switches(settings.engine)


def _switches(engine: Engine) -> Iterator[tuple[bool, str]]:
    """What the switches of an engine may be together."""
    yield (
        re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,29}", engine.name) is not None and engine.name != "timed",
        "engine.name is a folder of its baselines: at most 30 small letters, digits, '_' and '-', and not 'timed', "
        f"got {quoted(engine.name)}",
    )
    unknown = [name for name in engine.attentions if name not in ATTENTION]
    yield not unknown, f"engine.attentions must be of {', '.join(ATTENTION)}: got {quoted(', '.join(unknown))}"
    fused = [f"engine.{name}=false" for name in engine.fuses]
    yield (
        not fused or bool(unknown) or all(ATTENTION[name].fused for name in engine.attentions),
        f"engine.attentions must be [flash] for an engine that fuses; else set {', '.join(fused)}",
    )
    batches = engine.captured_batches
    yield (
        list(batches) == sorted(set(batches)),
        f"engine.captured_batches must be different and in order, got {list(batches)}",
    )


def _grouped_products(model: Architecture) -> Iterator[tuple[bool, str]]:
    """What torch's grouped product takes, for a model that runs its experts by it."""
    decoder = model.decoder
    ways = {
        "model.decoder.prefill_experts": decoder.prefill_experts,
        "model.decoder.decode_experts": decoder.decode_experts,
    }
    grouped = [key for key, way in ways.items() if way == "grouped_mm"]
    if not grouped or decoder.dense_layers == decoder.layers:
        return
    otherwise = f"set {' and '.join(f'{key}=batched_mm' for key in grouped)}"
    yield model.dtype == "bf16", f"model.dtype {model.dtype}: torch's grouped_mm takes bf16 only; {otherwise}"
    for name in ("width", "expert_width"):
        size = getattr(decoder, name)
        yield (
            size % ALIGNED == 0,
            f"model.decoder.{name} must be a multiple of {ALIGNED}, since rows of torch's grouped_mm are multiples of "
            f"16 bytes, got {size}; {otherwise}",
        )
