"""The three stages as sequences of kernels over a workload's sizes, and the ledger of each at a workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .architecture import Architecture
from .geometry import RESOLUTIONS, Workload, queries
from .kernels import HALF, Kernel, Kernels, released, under
from .layers import clip, decoder, projector, sam
from .ledger import Ledger, Program
from .symbolic import N, Size, symbol

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .bulk import Columns

ATTENTION = ("eager", "flash")

BATCH, ROWS, COLUMNS = symbol("batch"), symbol("rows"), symbol("columns")
IMAGE, CONTEXT, KEYS = symbol("image_tokens"), symbol("context_tokens"), symbol("keys")
MANY_PAGES = symbol("many_pages")  # 1 where the batch holds more than one page, else 0: some layouts need a copy then
MANY_COLUMNS = symbol("many_columns")  # 1 where crops stand side by side, else 0


def view(model: Architecture, images: Size, side: int, many: Size, attention: str) -> Kernels:
    """SAM, CLIP and projector over [images, 3, side, side]; leaves the joined and the projected features."""
    patches, features = queries(side), model.clip.width + model.sam.downsample_widths[-1]
    yield from under("sam", sam.encoder(model.sam, images, side, many, attention))
    yield from under("clip", clip.encoder(model.clip, images, patches, many, attention))
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
    """The kernels without the parameters they own: another view owns them already."""
    return (k._replace(weight_bytes=0, used_bytes=0) for k in kernels)


def finished(kernels: Iterable[Kernel]) -> list[Kernel]:
    """The kernels of a whole stage: what the last one writes is the stage's output."""
    sequence = list(kernels)
    last = max(i for i, k in enumerate(sequence) if k.write_bytes != 0)
    output = sequence[last]
    sequence[last] = output._replace(io_bytes=output.io_bytes + output.write_bytes)
    return sequence


def vision(model: Architecture, resolution: str, crops: bool, attention: str) -> Kernels:
    """Global view, crop views, and every page's tokens with their newlines and separator."""
    sides, width = RESOLUTIONS[resolution], model.decoder.width
    q = queries(sides.base_side)
    yield from view(model, BATCH, sides.base_side, MANY_PAGES, attention)
    projected: tuple[Size, ...] = (BATCH * q * q * width * HALF,)
    lines: tuple[Size, ...] = (BATCH * q * (q + 1) * width * HALF,)
    assembly = [projector.newlines("global_lines", BATCH, q, q, width, owner=True)]
    if crops:
        assert sides.crop_side is not None
        c, images = queries(sides.crop_side), BATCH * ROWS * COLUMNS
        yield from shared(view(model, images, sides.crop_side, 1, attention))
        tokens = images * c * c * width
        projected += (tokens * HALF, tokens * MANY_COLUMNS * HALF)
        lines += (BATCH * ROWS * c * (COLUMNS * c + 1) * width * HALF,)
        assembly.append(projector.place_crops(tokens * MANY_COLUMNS))
        assembly.append(projector.newlines("crop_lines", BATCH, ROWS * c, COLUMNS * c, width, owner=False))
    assembly.append(projector.pages(BATCH, IMAGE, width))
    yield from under("projector", assembly)
    yield released(*projected, *lines)


def prefill(model: Architecture, resolution: str, crops: bool, attention: str) -> Kernels:
    """Vision, its tokens set into the prompt, the decoder and the head over every position."""
    tokens = BATCH * CONTEXT
    yield from decoder.embed(model.decoder, tokens)
    yield from vision(model, resolution, crops, attention)
    yield from under("projector", projector.scatter(BATCH, IMAGE, CONTEXT, model.decoder.width))
    yield from under(
        "decoder",
        decoder.layers(model.decoder, BATCH, CONTEXT, CONTEXT, 0, MANY_PAGES, attention, model.decoder.prefill_experts),
    )
    mask, pages = tokens, BATCH * IMAGE * model.decoder.width * HALF
    yield released(*joined(model, resolution, crops), mask, pages)  # the vendor's model is done, the head is to come
    yield from decoder.head(model.decoder, tokens)


def decode_step(model: Architecture, resolution: str, crops: bool, attention: str) -> Kernels:
    """One token a page, attending to `KEYS` keys with its own."""
    yield from decoder.embed(model.decoder, BATCH)
    yield from under(
        "decoder",
        decoder.layers(model.decoder, BATCH, 1, KEYS, KEYS - 1, MANY_PAGES, attention, model.decoder.decode_experts),
    )
    yield from decoder.head(model.decoder, BATCH)


def kv_cache_bytes(model: Architecture, keys: Size) -> Size:
    """Keys and values of every layer."""
    dim = model.decoder.width // model.decoder.heads
    return 2 * model.decoder.layers * BATCH * keys * model.decoder.kv_heads * dim * HALF


@dataclass(frozen=True, slots=True)
class Stage:
    """How a stage runs, and the KV cache at its start and end."""

    kernels: Callable[[Architecture, str, bool, str], Kernels]
    keys_before: Size
    keys_after: Size


STAGES = {
    "vision": Stage(vision, 0, 0),
    "prefill": Stage(prefill, 0, CONTEXT),
    "decode": Stage(decode_step, KEYS - 1, KEYS),
}


@dataclass(frozen=True, slots=True)
class Model:
    """An analytic model: one instance prices every workload. Stages are laid out once, at first use."""

    architecture: Architecture
    _programs: dict[tuple[str, str, bool, str], Program] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The folder of its baselines."""
        return self.architecture.name

    def ledger(self, stage: str, work: Workload, attention: str = "flash") -> Ledger:
        """What `stage` costs for `work`. Raises ValueError for an unknown stage or attention, naming the known."""
        program = self.program(stage, work.resolution, bool(work.grid.crops), attention)
        at = point(work)
        return Ledger(stage, work, attention, program, at, program.values(at))

    def sweep(
        self,
        stage: str,
        *,
        rows: ArrayLike,
        cols: ArrayLike,
        attention: str = "flash",
        resolution: str = "gundam",
        batch: ArrayLike = 1,
        prompt_tokens: ArrayLike = 10,
        new_tokens: ArrayLike = 100,
    ) -> Columns:
        """The numbers of `ledger` at many workloads, as columns of 64-bit integers; needs numpy.

        Sizes are whole numbers or arrays of them, broadcast against one another; a point each, the last axis fastest.
        Raises ValueError like `ledger` and `Workload`, and for sizes that are not whole or not of one shape;
        OverflowError, naming column and point, rather than hold a number of 2⁶³ or more.
        """
        from .bulk import swept

        sizes = {"rows": rows, "cols": cols, "batch": batch, "prompt_tokens": prompt_tokens, "new_tokens": new_tokens}
        return swept(self, stage, attention, resolution, sizes)

    def program(self, stage: str, resolution: str, crops: bool, attention: str) -> Program:
        """A stage laid out for every workload of that resolution with crops, or without. Raises like `ledger`."""
        for given, known, what in ((stage, STAGES, "stage"), (attention, ATTENTION, "attention")):
            if given not in known:
                raise ValueError(f"unknown {what} {given!r}: choose from {', '.join(known)}")
        key = (stage, resolution, crops, attention)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._program(*key)
        return program

    def _program(self, stage: str, resolution: str, crops: bool, attention: str) -> Program:
        laid = STAGES[stage]
        kernels = finished(laid.kernels(self.architecture, resolution, crops, attention))
        cache = [kv_cache_bytes(self.architecture, keys) for keys in (laid.keys_before, laid.keys_after)]
        return Program(kernels, cache[0], cache[1], steps=stage == "decode")


def point(work: Workload) -> dict[str, int]:
    """The value of each symbol for `work`."""
    grid = work.grid
    return symbols(grid.rows, grid.columns, work.batch, work.image_tokens, work.prompt_tokens, work.new_tokens)


def symbols(rows: N, columns: N, batch: N, image_tokens: N, prompt_tokens: N, steps: N) -> dict[str, N]:
    """The value of each symbol, of numbers or of arrays of them; a decode's keys are those of its last step."""
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
        "steps": steps,
        "all_keys": steps * context + steps * (steps + 1) // 2,
    }
