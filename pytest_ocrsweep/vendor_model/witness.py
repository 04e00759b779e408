"""The analytic model beside the reference model, counted apart: the four numbers of a layer, all of a stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..model.analytic import Model
from ..model.geometry import Workload
from ..model.kernels import Kernel
from ..model.stage_kernels import kv_cache_bytes
from ..model.stages import STAGES, point
from ..model.symbolic import poly
from . import dispatch_count
from .forward import Call
from .regions import experts_of
from .stage_calls import StageCall

NUMBERS = ("tensor_flops", "vector_flops", "read_bytes", "write_bytes")


def analytic(kernels: Iterable[Kernel]) -> tuple[int, ...]:
    """The four numbers of a layer laid out with plain ints."""
    sequence = list(kernels)
    return tuple(sum(poly(getattr(k, number)).at({}) * k.times for k in sequence) for number in NUMBERS)


def counted(call: Call, experts_per_token: int) -> tuple[int, ...]:
    """The same four of a call on the meta device: FlopCounterMode's, and the dispatcher's."""
    with dispatch_count.counting(experts_per_token) as counter:
        call()
    counts = counter.counts
    return (dispatch_count.tensor_flops(call), counts.vector_flops, counts.read_bytes, counts.write_bytes)


def other_differences(model: Model, stage: str, work: Workload, attention: str, step: int = 1) -> list[int]:
    """Analytic less counted: vector FLOPs, bytes read and written, and peak bytes; of a decode's step."""
    work = replace(work.cut_by(model.architecture.tiling), new_tokens=step)
    experts = experts_of(model.architecture.decoder, stage)
    counts = StageCall(model.architecture, stage, work, attention, experts, step).dispatch_counts()
    ledger = model.ledger(stage, work, attention)
    cost = ledger.total()
    if STAGES[stage].per_token and step > 1:  # less all steps before it
        cost = cost + -1 * model.ledger(stage, replace(work, new_tokens=step - 1), attention).total()
    decoder = model.architecture.decoder
    added = kv_cache_bytes(model.architecture, STAGES[stage].keys_added(decoder))
    grown = poly(added).at(point(work, decoder))
    return [
        cost.vector_flops - counts.vector_flops,
        cost.read_bytes - counts.read_bytes,
        cost.write_bytes - counts.write_bytes,
        ledger.peak_activation_bytes - (counts.peak_bytes - grown),
    ]
