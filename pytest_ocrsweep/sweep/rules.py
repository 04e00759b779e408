"""Rules for settings that are well typed but may not fit together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from operator import attrgetter

from ..errors import ConfigError
from ..files.text import quoted
from ..hardware.devices import NO_FP8
from ..model.architecture import DTYPES, Architecture
from ..model.engine import REFERENCE
from ..model.geometry import PATCH, RESOLUTIONS
from ..model.layers.moe import EXPERTS
from ..model.precision import NATIVE_NAME
from .engine_rules import formats, switches
from .settings import Settings, check_choice

CHOICES: dict[str, Collection[str]] = {
    "model.dtype": DTYPES,
    "model.decoder.prefill_experts": EXPERTS,
    "model.decoder.decode_experts": EXPERTS,
}
ALIGNED = 8  # elements of two bytes: rows of a grouped product are whole multiples of 16 bytes
DIVISIBLE = (
    ("model.sam.width", "model.sam.heads"),
    ("model.sam.image_side", "model.sam.patch"),
    ("model.decoder.width", "model.decoder.heads"),
)
OF_CLIP = (("model.clip.width", "model.clip.heads"), ("model.clip.image_side", "model.clip.patch"))
OF_QUERIES = (
    ("model.query_encoder.width", "model.query_encoder.heads"),
    ("model.query_encoder.heads", "model.query_encoder.kv_heads"),
)
QUERY_SIDES = (768, 1024)  # the reference model has a table of queries for each, and for no other
SHORTEST_MS, LONGEST_MS = 50, 60_000  # a counter of energy steps every 10 to 100 ms
AT_MOST = (
    ("model.decoder.experts_per_token", "model.decoder.experts"),
    ("model.decoder.dense_layers", "model.decoder.layers"),
)


def validate(settings: Settings) -> None:
    """Raises ConfigError, in one line, for values that are well typed but do not fit together."""
    for key, choices in CHOICES.items():
        check_choice(key, attrgetter(key)(settings), choices)
    for mode in settings.model.tiling.modes:
        check_choice("model.tiling.modes", mode, RESOLUTIONS)
    check_choice("workload.resolution", settings.workload.resolution, settings.model.tiling.modes)
    for holds, otherwise in _rules(settings):
        if not holds:
            raise ConfigError(otherwise)


def require_one_page(settings: Settings) -> Settings:
    """The settings. Raises ConfigError for several pages in a prompt: no file of points or times has room for them."""
    pages = settings.workload.pages
    if pages > 1:
        raise ConfigError(
            f"workload.pages={pages} is priced, and neither recorded nor timed: "
            f"ocrsweep cost 1x1 --set workload.pages={pages}"
        )
    return settings


def require_profiled(settings: Settings) -> Settings:
    """The settings. Raises ConfigError for all but one page on the reference model, whose lines alone are measured."""
    engine, precision = settings.engine, settings.precision
    if not engine.is_reference:
        what = f"the lines of {engine.name} are counted, and not measured;"
        raise ConfigError(what, f"leave it out, or choose engine={REFERENCE.name}")
    if not precision.is_native:
        what = f"lines with weights in {precision.name} are counted, and not measured;"
        raise ConfigError(what, f"leave it out, or choose precision={NATIVE_NAME}")
    return require_one_page(settings)


def _rules(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Whether each rule holds, and the message if it does not; a later rule may rely on an earlier one."""
    clip, queries = settings.model.clip, settings.model.query_encoder
    yield (
        (clip is None) != (queries is None),
        "model.clip and model.query_encoder exclude each other: SAM's features go through one of them",
    )
    for key, other in (*DIVISIBLE, *(OF_CLIP if clip else ()), *(OF_QUERIES if queries else ())):
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
    sam, decoder = settings.model.sam, settings.model.decoder
    yield sam.width > sam.heads, f"model.sam.width {sam.width} must be more than model.sam.heads {sam.heads}"
    layers, widths = list(sam.global_layers), list(sam.downsample_widths)
    yield (
        len({layer for layer in layers if layer < sam.layers}) == len(layers),
        f"model.sam.global_layers must be distinct layers from 0 to {sam.layers - 1}, got {layers}",
    )
    yield sam.patch == PATCH, f"model.sam.patch must be {PATCH}, as image tokens are counted, got {sam.patch}"
    yield len(widths) == 2, f"model.sam.downsample_widths must be two widths, got {widths}"
    for name, encoder in (("clip", clip), ("query_encoder", queries)):
        yield (
            encoder is None or encoder.width == widths[-1],
            f"model.{name}.width {encoder.width if encoder else 0} must equal the last of model.sam.downsample_widths "
            f"{widths}: the encoder reads SAM's features",
        )
    yield from _tiling(settings.model)
    yield (
        decoder.kv_heads == decoder.heads,
        f"model.decoder.kv_heads {decoder.kv_heads} must equal model.decoder.heads {decoder.heads}: "
        "the vendor's eager attention cannot share keys among queries",
    )
    yield (
        decoder.window is None or settings.engine.caches_as_the_reference,
        f"engine {settings.engine.name} has another KV cache than {REFERENCE.name}, and nobody has counted how it lets "
        f"go of what leaves the window of {settings.model.name}: use engine={REFERENCE.name}",
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
    window = settings.vendor.energy_ms
    yield (
        window is None or SHORTEST_MS <= window <= LONGEST_MS,
        f"vendor.energy_ms must be from {SHORTEST_MS} to {LONGEST_MS:,}, got {window or 0:,}",
    )
    yield from _grouped_products(settings.model)
    yield from switches(settings.engine)
    yield from formats(settings.precision, settings.engine)
    yield (
        not settings.precision.fp8_products or settings.device.fp8_flops_per_s is not None,
        f"{settings.device.name} {NO_FP8}",
    )


def _tiling(model: Architecture) -> Iterator[tuple[bool, str]]:
    """Sides of views that the model's encoders have what they need for."""
    tiling, queries = model.tiling, model.query_encoder
    counts = [len(tiling.modes), len(tiling.view_sides), len(tiling.crop_sides)]
    yield (
        len(set(counts)) == 1 and len(set(tiling.modes)) == len(tiling.modes),
        f"model.tiling needs different modes, and a view side and a crop side for each, got {counts}",
    )
    yield model.most_crops > 1, f"model.most_crops must be at least 2: a page is cut or not, got {model.most_crops}"
    if queries is None:
        return
    width, heads = queries.width, queries.heads
    yield width // heads % 2 == 0, f"model.query_encoder.width {width} / heads {heads} is odd: rotary embedding"
    yield (
        queries.kv_heads > 1 or heads == 1,
        f"model.query_encoder.kv_heads must be at least 2 for {heads} heads: nobody has counted one that all share",
    )
    yield (
        queries.query_sides == QUERY_SIDES,
        f"model.query_encoder.query_sides must be {list(QUERY_SIDES)}, as the reference model has them, "
        f"got {list(queries.query_sides)}",
    )
    sides = sorted({*tiling.view_sides, *tiling.crop_sides} - {0, *queries.query_sides})
    yield not sides, f"model.tiling has views of {sides}, and model.query_encoder.query_sides has no queries for them"
    yield not tiling.newlines, "model.tiling.newlines must be false: the reference model with queries has none"


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
