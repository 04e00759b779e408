"""The three stages as sequences of kernels over a workload's sizes, and all else that differs between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from .architecture import Architecture, Decoder
from .engine import REFERENCE, Engine
from .geometry import RESOLUTIONS, Workload, queries
from .kernels import HALF, Kernel, Kernels, allocated, released, under
from .layers import clip, decoder, projector, sam
from .program import Program
from .symbolic import N, Size, round_up, symbol

BATCH, ROWS, COLUMNS = symbol("batch"), symbol("rows"), symbol("columns")
IMAGE, CONTEXT, KEYS = symbol("image_tokens"), symbol("context_tokens"), symbol("keys")
MANY_PAGES = symbol("many_pages")  # 1 if the batch holds more than one page, else 0: some layouts need a copy then
MANY_COLUMNS = symbol("many_columns")  # 1 if crops stand side by side, else 0
STEP_ROWS = symbol("step_rows")  # the rows of a decode step: the batch, or what an engine pads it to


def view(
    model: Architecture, images: Size, side: int, many: Size, attention: str, engine: Engine = REFERENCE
) -> Kernels:
    """SAM, CLIP and projector over [images, 3, side, side]; leaves the joined and the projected features."""
    patches, features = queries(side), model.clip.width + model.sam.downsample_widths[-1]
    yield from under("sam", sam.encoder(model.sam, images, side, many, attention, engine))
    yield from under("clip", clip.encoder(model.clip, images, patches, many, attention, engine))
    yield from under(
        "projector",
        (
            projector.join(images, patches, model.clip.width, model.sam.downsample_widths[-1]),
            projector.project(images, patches, features, model.decoder.width),
        ),
    )


def joined(model: Architecture, resolution: str, crops: bool) -> list[Size]:
    """Bytes of each view's joined features, global view first."""
    sides, images = RESOLUTIONS[resolution], BATCH * ROWS * COLUMNS
    views = [(BATCH, sides.base_side), *([(images, sides.crop_side)] if crops and sides.crop_side else [])]
    return [
        projector.joined_bytes(count, queries(side), model.clip.width, model.sam.downsample_widths[-1])
        for count, side in views
    ]


def shared(kernels: Iterable[Kernel]) -> Kernels:
    """The kernels without the parameters that they own: another view owns them already."""
    return (k._replace(weight_bytes=0, used_bytes=0) for k in kernels)


def finished(kernels: Iterable[Kernel]) -> list[Kernel]:
    """The kernels of a whole stage: the last one that writes gives the stage's output."""
    sequence = list(kernels)
    last = max(i for i, k in enumerate(sequence) if k.write_bytes != 0)
    output = sequence[last]
    sequence[last] = output._replace(io_bytes=output.io_bytes + output.write_bytes)
    return sequence


def vision(model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine = REFERENCE) -> Kernels:
    """The global view, the crop views, and each page's image tokens with their newlines and separator."""
    if engine.pages_alone:
        yield from one_by_one(tower(model, resolution, crops, attention, engine, 1, 0), IMAGE * model.decoder.width)
    else:
        yield from tower(model, resolution, crops, attention, engine, BATCH, MANY_PAGES)


def tower(
    model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine, batch: Size, many: Size
) -> Kernels:
    """The vision of `batch` pages together; `many` is 1 if they are several."""
    sides, width = RESOLUTIONS[resolution], model.decoder.width
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
        projected += (tokens * HALF, tokens * MANY_COLUMNS * HALF)
        lines += (batch * ROWS * c * (COLUMNS * c + 1) * width * HALF,)
        assembly.append(projector.place_crops(tokens * MANY_COLUMNS))
        assembly.append(projector.newlines("crop_lines", batch, ROWS * c, COLUMNS * c, width, owner=False))
    assembly.append(projector.pages(batch, IMAGE, width))
    yield from under("projector", assembly)
    yield released(*projected, *lines)


def one_by_one(page: Iterable[Kernel], kept: Size) -> Kernels:
    """The kernels of one page, run for each page of the batch; each leaves `kept` elements of half precision.

    The page that is listed is the last: it starts with what the others left.
    """
    yield Kernel("held", allocates=(BATCH - 1) * allocated(kept * HALF))
    for k in page:
        yield k._replace(
            tensor_flops=BATCH * k.tensor_flops,
            vector_flops=BATCH * k.vector_flops,
            read_bytes=BATCH * k.read_bytes,
            write_bytes=BATCH * k.write_bytes,
            io_bytes=BATCH * k.io_bytes,
            operands=tuple(BATCH * size for size in k.operands),
            results=tuple(BATCH * size for size in k.results),
            freed=tuple(BATCH * size for size in k.freed),
            work=BATCH * k.work,
            unneeded=BATCH * k.unneeded,
            unneeded_bytes=BATCH * k.unneeded_bytes,
            functions=BATCH * k.functions,
            by_page=True,
        )


def prefill(model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine = REFERENCE) -> Kernels:
    """Vision, its tokens placed into the prompt, then the decoder and the head over every position, or the last."""
    tokens = BATCH * CONTEXT
    yield from decoder.embed(model.decoder, tokens)
    yield from vision(model, resolution, crops, attention, engine)
    yield from under("projector", projector.scatter(BATCH, IMAGE, CONTEXT, model.decoder.width))
    how = model.decoder.prefill_experts
    layers = decoder.layers(model.decoder, BATCH, CONTEXT, CONTEXT, 0, MANY_PAGES, attention, how, engine)
    yield from under("decoder", layers)
    mask, pages = tokens, BATCH * IMAGE * model.decoder.width * HALF
    of_vision = () if engine.pages_alone else joined(model, resolution, crops)
    yield released(*of_vision, mask, pages)  # the reference model is done, the head is to come
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
    yield from decoder.embed(model.decoder, rows)
    how = model.decoder.decode_experts
    layers = decoder.layers(model.decoder, BATCH, 1, KEYS, KEYS - 1, MANY_PAGES, attention, how, engine, rows)
    yield from under("decoder", layers)
    yield from decoder.head(model.decoder, BATCH, BATCH, engine)


def padding_left_out(padded: Iterable[Kernel], plain: Iterable[Kernel]) -> Kernels:
    """The kernels of a padded batch, of which only what the plain ones need is needed."""
    for k, own in zip(padded, plain, strict=True):
        yield k._replace(
            used_bytes=own.used_bytes,
            io_bytes=own.io_bytes,
            unneeded=k.tensor_flops * k.times - own.tensor_flops * own.times + own.unneeded,
            unneeded_bytes=own.unneeded_bytes,
            functions=own.functions,
            least_bytes=own.least_bytes,
        )


def kv_cache_bytes(model: Architecture, keys: Size, engine: Engine = REFERENCE) -> Size:
    """Bytes of the keys and values that every layer caches for `keys` tokens of each page, in whole blocks."""
    dim = model.decoder.width // model.decoder.heads
    keys = keys if engine.kv_block_tokens is None else round_up(keys, engine.kv_block_tokens)
    return 2 * model.decoder.layers * BATCH * keys * model.decoder.kv_heads * dim * HALF


class Latency(Enum):
    """A time that a user waits for; its value names it in words."""

    TTFT = "time to first token"
    TPOT = "time per output token"


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage runs, and all else that differs between stages. To add a stage, add an entry to STAGES."""

    kernels: Callable[..., Kernels]  # of a model, a resolution, crops or not, an attention, an engine
    keys_before: Size  # keys of each page in the KV cache before the kernels run
    keys_after: Size  # and after
    experts: Callable[[Decoder], str] | None = None  # how it runs a decoder's routed experts; None: it runs no decoder
    latency: Latency | None = None  # the time that a target limits; None: no user waits for this stage alone
    per_token: bool = False  # the kernels are one step for one token; the stage runs `new_tokens` of them

    @property
    def keys_added(self) -> Size:
        """Keys of each page that the kernels add to the KV cache."""
        return self.keys_after - self.keys_before

    def steps(self, new_tokens: int) -> int:
        """How often the kernels run, if `new_tokens` are decoded."""
        return new_tokens if self.per_token else 1

    def program(
        self, model: Architecture, resolution: str, crops: bool, attention: str, engine: Engine = REFERENCE
    ) -> Program:
        """The stage laid out for every workload of that resolution, with crops or without."""
        kernels = finished(self.kernels(model, resolution, crops, attention, engine))
        before, after = (kv_cache_bytes(model, keys, engine) for keys in (self.keys_before, self.keys_after))
        growth = after - before if engine.kv_block_tokens is None else 0  # blocks are there before a stage begins
        return Program(kernels, after, growth, steps=self.per_token)


STAGES = {
    "vision": Stage(vision, keys_before=0, keys_after=0),
    "prefill": Stage(
        prefill,
        keys_before=0,
        keys_after=CONTEXT,
        experts=lambda decoder: decoder.prefill_experts,
        latency=Latency.TTFT,
    ),
    "decode": Stage(
        decode_step,
        keys_before=KEYS - 1,
        keys_after=KEYS,
        experts=lambda decoder: decoder.decode_experts,
        latency=Latency.TPOT,
        per_token=True,
    ),
}


def point(work: Workload, engine: Engine = REFERENCE) -> dict[str, int]:
    """The value of each symbol for `work`."""
    grid = work.grid
    rows = engine.step_rows(work.batch)
    return symbols(grid.rows, grid.columns, work.batch, work.image_tokens, work.prompt_tokens, work.new_tokens, rows)


def symbols(
    rows: N, columns: N, batch: N, image_tokens: N, prompt_tokens: N, steps: N, step_rows: N | None = None
) -> dict[str, N]:
    """The value of each symbol, from numbers or from arrays; a decode's `keys` are those of its last step.

    Without `step_rows` no engine pads a step.
    """
    context = image_tokens + prompt_tokens
    return {
        "batch": batch,
        "rows": rows,
        "columns": columns,
        "image_tokens": image_tokens,
        "context_tokens": context,
        "keys": context + steps,
        "many_pages": (batch > 1) * 1,
        "many_columns": (columns > 1) * 1,
        "step_rows": batch if step_rows is None else step_rows,
        "steps": steps,
        "all_keys": steps * context + steps * (steps + 1) // 2,
    }
