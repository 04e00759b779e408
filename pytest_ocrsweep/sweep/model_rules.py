"""Rules for the sizes of a model that are well typed but that no class of the reference model builds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import attrgetter

from ..files.text import quoted
from ..model.architecture import Architecture, PatchEncoder, Sam
from ..model.engine import REFERENCE
from ..model.geometry import PATCH
from ..model.native_resolution import NATIVE
from ..model.structures import OF_VIEWS, STRUCTURES, differing, structure_of
from .settings import Settings

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
AXES = 3  # of a token's position: time, row and column
AT_MOST = (
    ("model.decoder.experts_per_token", "model.decoder.experts"),
    ("model.decoder.dense_layers", "model.decoder.layers"),
)


def of_model(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Whether each rule holds, and the message if it does not; a later rule may rely on an earlier one."""
    model, decoder = settings.model, settings.model.decoder
    yield (
        re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", model.name) is not None,
        "model.name is the folder of its baselines: at most 100 letters, digits, '_', '.' and '-', and no '.' or '-' "
        f"first, got {quoted(model.name)}",
    )
    found = "both" if model.sam else "none"
    yield (
        (model.sam is None) != (model.patch_encoder is None),
        "a model has one of model.sam, for pages cut into views, and model.patch_encoder, for pages at their own "
        f"resolution, and the other is null: got {found}",
    )
    for key, other in AT_MOST:
        a, b = attrgetter(key, other)(settings)
        yield a <= b, f"{key} {a} is more than {other} {b}"
    if model.sam is not None:
        yield from _of_views(settings, model.sam)
    if model.patch_encoder is not None:
        yield from _of_patches(model, model.patch_encoder)
    yield (
        decoder.window is None or settings.engine.caches_as_the_reference,
        f"engine {settings.engine.name} has another KV cache than {REFERENCE.name}, and nobody has counted how it lets "
        f"go of what leaves the window of {settings.model.name}: use engine={REFERENCE.name}",
    )
    yield (
        decoder.dim % 2 == 0,
        f"model.decoder.width {decoder.width} / model.decoder.heads {decoder.heads} is odd: rotary "
        "embedding turns pairs",
    )
    for name in ("experts", "experts_per_token", "shared_experts", "expert_width"):
        yield (
            decoder.dense_layers == decoder.layers or getattr(decoder, name) > 0,
            f"model.decoder.{name} must be at least 1 for the {decoder.layers - decoder.dense_layers} layers with "
            "experts",
        )
    yield from _grouped_products(model)


def _of_views(settings: Settings, sam: Sam) -> Iterator[tuple[bool, str]]:
    """Rules of SAM, and of what follows it."""
    clip, queries, decoder = settings.model.clip, settings.model.query_encoder, settings.model.decoder
    yield (
        (clip is None) != (queries is None),
        "model.clip and model.query_encoder exclude each other: SAM's features go through one of them",
    )
    for key, other in (*DIVISIBLE, *(OF_CLIP if clip else ()), *(OF_QUERIES if queries else ())):
        a, b = attrgetter(key, other)(settings)
        yield a % b == 0, f"{key} {a} is not divisible by {other} {b}"
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
    others = differing(settings.model, OF_VIEWS)
    yield not others, f"model.{', model.'.join(others)} cannot be set with model.sam: its classes have another decoder"


def _of_patches(model: Architecture, encoder: PatchEncoder) -> Iterator[tuple[bool, str]]:
    """Rules of a model that reads pages at their own resolution."""
    decoder, tiling = model.decoder, model.tiling
    yield (
        model.clip is None and model.query_encoder is None,
        "model.clip and model.query_encoder read SAM's features: they are null with model.patch_encoder",
    )
    sides, pixels = (tiling.modes, tiling.view_sides, tiling.crop_sides), (tiling.least_pixels, tiling.most_pixels)
    yield (
        sides == ((NATIVE,), (0,), (encoder.tile,)) and not tiling.newlines and None not in pixels,
        f"model.tiling of a patch encoder needs modes [{NATIVE}], view_sides [0], crop_sides [{encoder.tile}], which "
        "is patch times merge, newlines false, least_pixels and most_pixels",
    )
    native = tiling.native
    assert native is not None  # by the rule before
    yield (
        native.least_tiles > 1 and native.most_tiles >= 2 * native.least_tiles,
        "model.tiling.least_pixels must be of at least 2 tiles, and model.tiling.most_pixels of twice as many: pages "
        f"are resized to whole tiles; got {native.least_tiles:,} and {native.most_tiles:,} tiles",
    )
    yield (
        native.most_tiles == model.most_crops,
        f"model.most_crops must be the tiles of model.tiling.most_pixels, {native.most_tiles:,}, got "
        f"{model.most_crops:,}",
    )
    yield encoder.merge > 1, f"model.patch_encoder.merge must be at least 2: nobody has counted {encoder.merge}"
    yield (
        encoder.width % encoder.heads == 0,
        f"model.patch_encoder.width {encoder.width} is not divisible by model.patch_encoder.heads {encoder.heads}",
    )
    yield (
        decoder.head_dim is not None or decoder.width % decoder.heads == 0,
        f"model.decoder.width {decoder.width} is not divisible by model.decoder.heads {decoder.heads}",
    )
    yield (
        encoder.width // encoder.heads % 4 == 0,
        f"model.patch_encoder.width / heads must be a multiple of 4, half for rows and half for columns, got "
        f"{encoder.width // encoder.heads}",
    )
    yield (
        decoder.heads % decoder.kv_heads == 0 and (decoder.kv_heads > 1 or decoder.heads == 1),
        f"model.decoder.kv_heads must divide the {decoder.heads} heads, and be more than one that all share, which "
        f"nobody has counted, got {decoder.kv_heads}",
    )
    yield (
        len(decoder.rope_sections) == AXES and 2 * sum(decoder.rope_sections) == decoder.dim,
        f"model.decoder.rope_sections must be {AXES} numbers whose sum is half of a head, {decoder.dim // 2}, got "
        f"{list(decoder.rope_sections)}",
    )
    experts = (decoder.experts, decoder.experts_per_token, decoder.shared_experts, decoder.expert_width)
    yield (
        decoder.window is None and decoder.dense_layers == decoder.layers and experts == (0, 0, 0, 0),
        "model.decoder has no window and no experts with model.patch_encoder: set dense_layers to layers, experts, "
        "experts_per_token, shared_experts and expert_width to 0, and window to null",
    )
    structure = structure_of(model)
    others = differing(model, STRUCTURES[structure])
    needed = ", ".join(f"model.{key}={str(STRUCTURES[structure][key]).lower()}" for key in others)
    needed = needed.replace("has_table=true", "position_side above 0").replace("has_table=false", "position_side=0")
    yield not others, f"no class of the reference model runs this model: {structure} needs {needed}"


def _tiling(model: Architecture) -> Iterator[tuple[bool, str]]:
    """Sides of views that the model's encoders have what they need for."""
    tiling, queries = model.tiling, model.query_encoder
    counts = [len(tiling.modes), len(tiling.view_sides), len(tiling.crop_sides)]
    yield (
        len(set(counts)) == 1 and len(set(tiling.modes)) == len(tiling.modes),
        f"model.tiling needs different modes, and a view side and a crop side for each, got {counts}",
    )
    yield (
        NATIVE not in tiling.modes and tiling.least_pixels is None and tiling.most_pixels is None,
        f"model.tiling has the mode {NATIVE}, least_pixels or most_pixels, which need model.patch_encoder",
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
