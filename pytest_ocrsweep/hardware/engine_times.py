"""What the kernels of one step of an engine take: the vision tower, the prompts that it admits, and a decode step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..model.analytic import Model
from ..model.engine import padded
from ..model.geometry import CropGrid, Workload
from ..model.kernels import FLOAT
from ..model.ledger import Ledger
from .devices import Device
from .estimate import estimate
from .roofline import floor
from .sizing import largest_batch, pixel_values

PAIR = CropGrid(2, 1)  # the smallest page with crops


class How(StrEnum):
    """Where a number comes from."""

    ESTIMATED = "estimated"
    FLOOR = "floor"  # nothing is faster, so rates are at most this


def render_ns(model: Model, work: Workload) -> float | None:
    """What one core takes to make a page's views; None if the engine's file does not say.

    The file says it of a view of 1024² and a crop of 640²; others take as much a pixel.
    """
    host = model.engine.host
    sides = work.cut_by(model.architecture.tiling).sides
    if host.render_view_ns is None or host.render_crop_ns is None:
        return None
    view, crop = (sides.base_side / 1024) ** 2, ((sides.crop_side or 0) / 640) ** 2
    return view * host.render_view_ns + work.grid.crops * crop * host.render_crop_ns


def most_pages(model: Model, work: Workload, device: Device) -> int:
    """Pages in flight whose KV cache fits beside weights and the largest step's activations; 0 if none does.

    Where one prefill takes all pages, as many as fit with it.
    """
    engine = model.engine
    fit = engine.pages_a_prefill(work.context_tokens)
    if fit is None:
        return largest_batch(model, work, device) or 0
    group = max(1, fit)
    prefill = model.ledger("prefill", replace(work, batch=group))
    one = model.ledger("decode", replace(work, batch=1))
    free = device.memory_bytes * engine.host.memory_percent / 100 - prefill.weight_bytes - prefill.peak_activation_bytes
    if engine.start.kv_cache_bytes is not None:
        free = min(free, engine.start.kv_cache_bytes)
    pages = int(free // one.kv_cache_bytes) if free > 0 else 0
    return pages if engine.host.most_pages is None else min(pages, engine.host.most_pages)


@dataclass(frozen=True, slots=True)
class Kernels:
    """Kernels of a ledger, or of a part of one: their time, how many they are, and their tensor FLOPs."""

    time_ns: float
    launches: float = 0.0
    tensor_flops: float = 0.0
    attention_ns: float = 0.0  # of the time

    def __sub__(self, other: Kernels) -> Kernels:
        return Kernels(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))

    def __add__(self, other: Kernels) -> Kernels:
        return Kernels(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def times(self, scale: float) -> Kernels:
        return Kernels(*(getattr(self, name) * scale for name in self.__slots__))


NOTHING = Kernels(0.0)


class EngineTimes:
    """Times of an engine's steps with pages like those of `works`, which share a resolution; worked out once each."""

    def __init__(self, model: Model, works: Sequence[Workload], device: Device, how: How) -> None:
        # The scheduler keeps the engine's limits. A page that is alone in the tower is a batch of one.
        engine = replace(model.engine, pages_alone=False, most_step_tokens=None)
        self.model, self.device, self.how = replace(model, engine=engine), device, how
        self.works = [replace(work, batch=1).cut_by(model.architecture.tiling) for work in works]
        self.image_tokens = [work.image_tokens for work in self.works]
        self.context_tokens = [work.context_tokens for work in self.works]
        self.pixel_bytes = [pixel_values(model, work) * FLOAT for work in self.works]  # as a processor makes them
        self._packs = model.engine.start.encoder_graphs and bool(model.engine.captured_views)
        self._alone = model.engine.looks_alone
        self._known: dict[tuple[object, ...], Kernels] = {}
        self._steps: dict[tuple[str, int, int], Kernels] = {}

    def vision(self, kinds: Sequence[int]) -> list[Kernels]:
        """Of the tower, for pages of these kinds: one after the other, each begins when the last one has ended."""
        if self._packs:
            return [replace(each, launches=0.0) for each in self._packed(kinds)]
        if self._alone:
            return [self._of("vision", self.works[kind]) for kind in kinds]
        share = 1 / max(1, len(kinds))
        together = [self._of("vision", replace(self.works[kind], batch=len(kinds))).times(share) for kind in kinds]
        return [sum(together, NOTHING)]

    def prefill(self, kind: int, pages: int) -> Kernels:
        """Of one page's part of the decoder over the prompts of so many pages."""
        key = ("prefill", kind, pages)
        if key not in self._steps:
            work = replace(self.works[kind], batch=pages)
            self._steps[key] = (self._of("prefill", work) - self._of("vision", work)).times(1 / pages)
        return self._steps[key]

    def decode(self, kind: int, pages: int) -> Kernels:
        """Of a step of so many pages, on average over an answer's steps."""
        key = ("decode", kind, pages)
        if key not in self._steps:
            self._steps[key] = self._of("decode", replace(self.works[kind], batch=pages))
        return self._steps[key]

    def _packed(self, kinds: Sequence[int]) -> Iterator[Kernels]:
        """Of captured graphs, which run padded: one for the views of several pages, and one for their crops.

        As vLLM packs them (v1/worker/encoder_cudagraph.py): the smallest pages first, as many as the largest graphs
        hold; then the smallest graph that holds the views, and the smallest that holds the crops.
        """
        most_views, most_crops = self.model.engine.captured_views[-1], self.model.engine.captured_crops[-1]
        views = crops = 0
        for more in sorted(self.works[kind].grid.crops for kind in kinds):
            if views == most_views or (views and crops + more > most_crops):
                yield self._graph(views, crops)
                views = crops = 0
            views, crops = views + 1, crops + more
        yield self._graph(views, crops)

    def _graph(self, views: int, crops: int) -> Kernels:
        engine = self.model.engine
        return self._views(padded(views, engine.captured_views)) + self._crops(padded(crops, engine.captured_crops))

    def _views(self, count: int) -> Kernels:
        return self._of("vision", replace(self.works[0], grid=CropGrid(1, 1), batch=count))

    def _crops(self, count: int) -> Kernels:
        """Of crops without the view of their pages: what pages with two crops each take more than views."""
        if count == 0:
            return NOTHING
        pages = max(1, count // 2)
        pairs = self._of("vision", replace(self.works[0], grid=PAIR, batch=pages)) - self._views(pages)
        return pairs.times(count / (2 * pages))

    def _of(self, stage: str, work: Workload) -> Kernels:
        key = (stage, work.grid, work.batch, work.prompt_tokens, work.new_tokens)
        if key not in self._known:
            self._known[key] = self._kernels(self.model.ledger(stage, work))
        return self._known[key]

    def _kernels(self, ledger: Ledger) -> Kernels:
        """Of a ledger, or of one of its steps."""
        flops = ledger.total().tensor_flops
        if self.how is How.FLOOR:
            return Kernels(floor(ledger, self.device).time_ns, 0.0, flops).times(1 / ledger.steps)
        found = estimate(ledger, self.device)
        launches = float(ledger.work_of_lines().launches.sum())
        return Kernels(found.time_ns, launches, flops, found.terms["attention"]).times(1 / ledger.steps)
