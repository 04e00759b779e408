"""The kernels of the three stages over a workload's sizes: what each runs, in order."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from . import original_tower
from .architecture import Architecture, PatchEncoder
from .engine import REFERENCE, Engine
from .geometry import image_tokens, queries
from .kernels import HALF, Kernel, Kernels, allocated, released, under
from .layers import clip, decoder, patch_encoder, patch_merger, projector, query_encoder, sam
from .layers.decoder_cache import Window
from .original_tower import Remains
from .page_by_page import one_by_one
from .page_tower import Page, page_alone, pixel_sum
from .sizes import (
    BATCH,
    COLUMNS,
    CONTEXT,
    IMAGE,
    KEYS,
    LEFT,
    MANY_COLUMNS,
    MANY_PAGES,
    MANY_VIEWS,
    PROMPT_ROWS,
    ROWS,
    STEP_ROWS,
    VIEWS,
)
from .symbolic import Size, round_up


def view(
    model: Architecture, images: Size, side: int, many: Size, attention: str, engine: Engine = REFERENCE
) -> Kernels:
    """Both encoders and projector over [images, 3, side, side]; leaves the encoded and the projected features."""
    patches, width = queries(side), model.decoder.width
    yield from under("sam", sam.encoder(model.with_sam, images, side, many, attention, engine))
    if model.clip is not None:
        of_sam = model.with_sam.downsample_widths[-1]
        yield from under("clip", clip.encoder(model.clip, images, patches, many, attention, engine))
        join = projector.join(images, patches, model.clip.width, of_sam)
        yield from under("projector", (join, projector.project(images, patches, model.clip.width + of_sam, width)))
    if model.query_encoder is not None:
        encoder = model.query_encoder
        yield from under("query_encoder", query_encoder.encoder(encoder, images, side, many, attention))
        yield from under("projector", projector.project_some(images, patches, encoder.width, width, many))


def encoded(model: Architecture, resolution: str, crops: bool, batch: Size) -> list[Size]:
    """Bytes of each view's encoded features of `batch` pages, global view first: they live as long as the call."""
    if model.patch_encoder is not None:
        return patch_merger.left(model.patch_encoder, batch * IMAGE, model.decoder.width)
    sides, images = model.tiling.sides(resolution), batch * ROWS * COLUMNS
    views = [(batch, sides.base_side), *([(images, sides.crop_side)] if crops and sides.crop_side else [])]
    return [_encoded_bytes(model, count, queries(side)) for count, side in views]


def _encoded_bytes(model: Architecture, images: Size, patches: int) -> Size:
    if model.query_encoder is not None:
        return images * 2 * patches * patches * model.query_encoder.width * HALF  # the queries are a part of it
    return projector.joined_bytes(images, patches, model.with_clip.width, model.with_sam.downsample_widths[-1])


def shared(kernels: Iterable[Kernel]) -> Kernels:
    """The kernels without the parameters that they own: another view owns them already.

    Queries stay in use: each side of views has its own.
    """
    for k in kernels:
        used = k.used_bytes if k.path == "query_encoder/queries" else 0
        yield k._replace(weight_bytes=0, used_bytes=used)


def finished(kernels: Iterable[Kernel]) -> list[Kernel]:
    """The kernels of a whole stage: the last one that writes gives the stage's output."""
    sequence = list(kernels)
    last = max(i for i, k in enumerate(sequence) if k.write_bytes != 0)
    output = sequence[last]
    sequence[last] = output._replace(io_bytes=output.io_bytes + output.write_bytes)
    return sequence


def pages(model: Architecture, resolution: str, crops: bool) -> tuple[Size, Size, Size]:
    """How many pages the prompts hold, whether they are several, and the image tokens of each."""
    if model.joins_pages and not crops:
        tokens: int = image_tokens(model.tiling.sides(resolution), 1, 1, crops=False)
        return VIEWS, MANY_VIEWS, tokens
    return BATCH, MANY_PAGES, IMAGE


@lru_cache(32)  # a prefill runs the same ones
def vision(
    model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine = REFERENCE
) -> tuple[Kernel, ...]:
    """The global view, the crop views, and each page's image tokens with newlines, if it has some, and separator."""
    return tuple(_vision(model, resolution, crops, attention, engine))


def _vision(model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine) -> Kernels:
    count, many, tokens = pages(model, resolution, crops)
    if model.patch_encoder is not None:
        yield from own_resolution(model.patch_encoder, count, tokens, model.decoder.width, attention)
    elif engine.original_tower:
        remains = Remains(model, resolution, crops)
        page = list(original_tower.page_alone(model, resolution, crops, attention, engine, tokens, many))
        yield from one_by_one(page, count, tokens * model.decoder.width, tuple(many * size for size in remains.sizes))
    elif engine.pages_alone:
        sizes = Page(model, resolution, crops)
        yield pixel_sum("pixels/sum_of_views", count * sizes.view_pixels)
        page = list(page_alone(sizes, attention, engine, tokens, many))
        named = tuple(many * size for size in sizes.named)
        yield from one_by_one(page, count, tokens * model.decoder.width, named)
        yield released(*sizes.named)
    else:
        yield from tower(model, resolution, crops, attention, engine, count, many, tokens)


def own_resolution(e: PatchEncoder, batch: Size, tokens: Size, width: int, attention: str) -> Kernels:
    """The vision of `batch` pages at their own resolution, each of so many image tokens."""
    yield from under("patch_encoder", patch_encoder.encoder(e, batch, tokens * e.merge**2, attention))
    yield from under("projector", patch_merger.MERGERS[e.merger](e, batch, tokens, MANY_COLUMNS, width))


def tower(
    model: Architecture,
    resolution: str,
    crops: bool,
    attention: str,
    engine: Engine,
    batch: Size,
    many: Size,
    image_tokens: Size,
) -> Kernels:
    """The vision of `batch` pages together, each of so many tokens; `many` is 1 if they are several."""
    sides, width = model.tiling.sides(resolution), model.decoder.width
    q = queries(sides.base_side)
    yield from view(model, batch, sides.base_side, many, attention, engine)
    projected: tuple[Size, ...] = (batch * q * q * width * HALF,)
    lines: tuple[Size, ...] = (batch * q * (q + 1) * width * HALF,)
    assembly = [projector.newlines("global_lines", batch, q, q, width, owner=True)]
    if crops:
        assert sides.crop_side is not None
        c, images = queries(sides.crop_side), batch * ROWS * COLUMNS
        yield from shared(view(model, images, sides.crop_side, 1, attention, engine))
        tokens = images * c * c * width
        placed = tokens * MANY_COLUMNS * sides.newlines
        projected += (tokens * HALF, placed * HALF)
        lines += (batch * ROWS * c * (COLUMNS * c + 1) * width * HALF,)
        assembly.append(projector.place_crops(placed))
        assembly.append(projector.newlines("crop_lines", batch, ROWS * c, COLUMNS * c, width, owner=False))
    yield from under("projector", assembly if sides.newlines else ())
    yield from under("projector", (projector.pages(batch, image_tokens, width),))
    yield released(*projected, *(lines if sides.newlines else ()))


def prefill(model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine = REFERENCE) -> Kernels:
    """Vision, its tokens placed into the prompt, then the decoder and the head over every position, or the last."""
    tokens = BATCH * CONTEXT
    rows = PROMPT_ROWS if engine.pads_prompts else tokens
    if engine.indexed_places:
        yield from vision(model, resolution, crops, attention, engine)
        yield from decoder.embed(model.decoder, tokens)
        yield from under("projector", projector.indexed(BATCH, IMAGE, model.decoder.width))
        yield decoder.inputs(model.decoder, tokens, rows)
    else:
        yield from decoder.embed(model.decoder, tokens)
        yield from vision(model, resolution, crops, attention, engine)
        yield from under("projector", projector.scatter(BATCH, IMAGE, CONTEXT, model.decoder.width))
    how = model.decoder.prefill_experts
    window = Window(CONTEXT, 0) if model.decoder.window else None

    def layers(rows: Size) -> Kernels:
        sizes = (BATCH, CONTEXT, CONTEXT, 0, MANY_PAGES)
        return under("decoder", decoder.layers(model.decoder, *sizes, attention, how, engine, rows, window))

    yield from padding_left_out(layers(rows), layers(tokens)) if engine.pads_prompts else layers(tokens)
    placing = () if engine.indexed_places else (tokens, BATCH * IMAGE * model.decoder.width * HALF)
    count, *_ = pages(model, resolution, crops)
    of_vision = [] if engine.looks_alone else encoded(model, resolution, crops, count)
    if engine.original_tower:
        of_vision = list(Remains(model, resolution, crops).sizes)
    if engine.original_tower:  # its tokens were names of its own; the reference model returns them
        of_page = pages(model, resolution, crops)[2] * model.decoder.width * HALF
        yield Kernel("released", frees=count * allocated(of_page))
    yield released(*of_vision, *placing)  # the reference model is done, the head is to come
    yield from decoder.head(model.decoder, tokens, BATCH, engine)


def decode_step(
    model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine = REFERENCE
) -> Kernels:
    """One token a page, which attends to `KEYS` keys, its own included."""
    if not engine.captured_batches:
        yield from _decode_rows(model, attention, engine, BATCH)
        return
    padded = _decode_rows(model, attention, engine, STEP_ROWS)
    yield from padding_left_out(padded, _decode_rows(model, attention, engine, BATCH))


def _decode_rows(model: Architecture, attention: str, engine: Engine, rows: Size) -> Kernels:
    if engine.indexed_places:
        yield from decoder.embed(model.decoder, BATCH)
        yield decoder.inputs(model.decoder, BATCH, rows)
    else:
        yield from decoder.embed(model.decoder, rows)
    how = model.decoder.decode_experts
    window = Window(CONTEXT, KEYS - 1 - CONTEXT + LEFT) if model.decoder.window else None
    layers = decoder.layers(model.decoder, BATCH, 1, KEYS, KEYS - 1, MANY_PAGES, attention, how, engine, rows, window)
    yield from under("decoder", layers)
    yield from decoder.head(model.decoder, rows, BATCH, engine)


def padding_left_out(padded: Iterable[Kernel], plain: Iterable[Kernel]) -> Kernels:
    """The kernels of a padded batch, of which only what the plain ones need is needed."""
    pairs = list(zip(padded, plain, strict=True))
    for i, (k, own) in enumerate(pairs, 1):
        # `finished` adds all that the last kernel writes, and the logits of padding are no output
        no_output = k.write_bytes - own.write_bytes if i == len(pairs) else 0
        yield k._replace(
            used_bytes=own.used_bytes,
            io_bytes=own.io_bytes - no_output,
            unneeded=k.tensor_flops * k.times - own.tensor_flops * own.times + own.unneeded,
            unneeded_bytes=own.unneeded_bytes,
            functions=own.functions,
            least_bytes=own.least_bytes,
        )


def kv_cache_bytes(model: Architecture, keys: Size, engine: Engine = REFERENCE) -> Size:
    """Bytes of the keys and values that every layer caches for `keys` tokens of each page, in whole blocks."""
    keys = keys if engine.kv_block_tokens is None else round_up(keys, engine.kv_block_tokens)
    return 2 * model.decoder.layers * BATCH * keys * model.decoder.kv_heads * model.decoder.dim * engine.kv_bytes
