"""What an engine takes for pages of one kind: to admit them, and for a step of all that are in flight."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from ..model.analytic import Model
from ..model.geometry import Workload
from ..model.ledger import Ledger
from .devices import Device
from .estimate import estimate
from .roofline import floor
from .sizing import largest_batch


class How(StrEnum):
    """Where a number comes from."""

    ESTIMATED = "estimated"
    FLOOR = "floor"  # nothing is faster, so rates are at most this


@dataclass(frozen=True, slots=True)
class Times:
    """What one engine takes, in nanoseconds: of one page's admission, by part, and of one step of all pages."""

    vision: float  # kernels of the tower
    launches: float  # what the host takes longer to launch them
    prefill: float  # the decoder over the prompt
    admission_step: float  # what the engine takes a group, a page's part
    decode: float  # kernels of a step
    step: float  # what the engine takes a step

    @property
    def admission(self) -> float:
        return self.vision + self.launches + self.prefill + self.admission_step

    @property
    def whole_step(self) -> float:
        return self.decode + self.step


def render_ns(model: Model, work: Workload) -> float | None:
    """What one core takes to make a page's views; None if the engine's file does not say."""
    host = model.engine.host
    if host.render_view_ns is None or host.render_crop_ns is None:
        return None
    return host.render_view_ns + work.grid.crops * host.render_crop_ns


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
    pages = int(free // one.kv_cache_bytes) if free > 0 else 0
    return pages if engine.host.most_pages is None else min(pages, engine.host.most_pages)


@dataclass(frozen=True, slots=True)
class Ledgers:
    """What an engine runs for pages like one of a mix."""

    group: int  # pages of a prefill
    vision: Ledger  # of the group
    prefill: Ledger  # of the group, vision included
    decode: Ledger  # of all pages at once


def _group(model: Model, work: Workload, pages: int) -> int:
    """Pages that one prefill takes."""
    most = model.engine.pages_a_prefill(work.context_tokens)
    return pages if most is None else max(1, min(pages, most))


def ledgers(model: Model, work: Workload, at_once: int) -> Ledgers:
    """Of a prefill's group of pages like that of `work`, and of a step of `at_once`."""
    group = _group(model, work, at_once)
    vision, prefill = (model.ledger(stage, replace(work, batch=group)) for stage in ("vision", "prefill"))
    return Ledgers(group, vision, prefill, model.ledger("decode", replace(work, batch=at_once)))


def times(model: Model, of: Ledgers, device: Device, how: How) -> Times:
    """As estimated, with what the host takes; or, as floors, of what no implementation leaves out."""
    host = model.engine.host
    vision, prefill, decode = (_device_ns(ledger, device, how) for ledger in (of.vision, of.prefill, of.decode))
    launches = 0.0
    if host.launch_ns is not None and how is How.ESTIMATED:
        launches = float(of.vision.work_of_lines().launches.sum()) * host.launch_ns
    step = (host.step_ns or 0.0) if how is How.ESTIMATED else 0.0
    return Times(
        vision=vision / of.group,
        launches=max(0.0, launches - vision) / of.group,
        prefill=(prefill - vision) / of.group,
        admission_step=step / of.group,
        decode=decode / of.decode.steps,
        step=step,
    )


def _device_ns(ledger: Ledger, device: Device, how: How) -> float:
    return float(floor(ledger, device).time_ns if how is How.FLOOR else estimate(ledger, device).time_ns)
