"""Estimates by the million: of many workloads at once, as columns beside those of `Model.sweep`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..errors import ColumnOverflow
from ..model.analytic import Model
from ..model.bulk import Column, Columns, has_crops
from ..model.bulk_plan import LIMIT, Values, padded_rows
from ..model.program import FP8, NEEDED, Program, Row
from ..model.stages import symbols
from .calibration import LIMITS, TERMS, Calibration
from .calibration_file import calibration_of
from .devices import Device
from .estimate import WIDER, speedup_of, unknown
from .line_time import NS, Array, Rates, limits_of

LINES = 40_000  # evaluated at once, in lines times points: their numbers stay in a core's own cache
SIZES = ("rows", "cols", "batch", "image_tokens", "prompt_tokens", "new_tokens")


class Estimates(NamedTuple):
    """Arrays [points] of whole nanoseconds: `time_ns`, `low_ns` and `high_ns` of each point's `Estimate`."""

    time_ns: Column
    low_ns: Column
    high_ns: Column


def estimates(model: Model, columns: Columns, device: Device) -> Estimates:
    """What each point of `columns` takes on `device`. Raises CalibrationError and ColumnOverflow."""
    calibration = calibration_of(device)
    found = np.empty((3, columns.points), np.int64)
    crops = has_crops(columns["rows"], columns["cols"])
    for kind in set(crops.tolist()):
        program = model.program(columns.stage, columns.resolution, kind, columns.attention)
        times = _Times(program, calibration, device)
        wider = _wider(calibration, model, columns, program)
        places = np.flatnonzero(crops == kind)
        at_once = LINES // len(program.line_work.patterns) + 1
        for start in range(0, places.size, at_once):
            block = places[start : start + at_once]
            # Floats are exact up to 2⁵³, as numbers of a single ledger are when they become time.
            sizes = {name: columns[name][block].astype(np.float64) for name in SIZES}
            rows, columns_of, batch, *tokens = sizes.values()
            image, prompt, new = tokens
            padded = padded_rows(model.engine, batch, image + prompt)
            window = model.architecture.decoder.window
            at = symbols(rows, columns_of, batch, image, prompt, new, padded, pages=columns.pages, window=window)
            spread = _spread(calibration, columns, at[program.tokens], block) * wider
            numbers = np.array(times.at(at, spread))
            if not numbers.max() < 2.0**63:
                raise ColumnOverflow(
                    f"a time of {columns.stage} is {numbers.max():.3g} ns: a column holds {LIMIT:,} at most"
                )
            found[:, block] = numbers
    return Estimates(*found)


def _wider(calibration: Calibration, model: Model, columns: Columns, program: Program) -> float:
    """How much wider all intervals are for what nobody calibrated, which no size of a point changes."""
    found = unknown(
        calibration,
        columns.stage,
        columns.attention,
        engine=model.engine.name,
        precision=model.precision.name,
        fp8=any(program.rows("")[FP8]),
        unmeasured=program.unmeasured,
        weight_bytes=int(columns["weight_bytes"][0]),
    )
    return prod(factor for factor, _ in found)


def _spread(calibration: Calibration, columns: Columns, tokens: Array, block: Any) -> Array:
    """As that of an `Estimate`, for each point, if all of it was calibrated."""
    reach = calibration.covers.get(f"{columns.stage} {columns.attention}")
    doublings = np.ones(len(block))
    if reach is not None:
        sizes = columns["batch"][block] / reach.batch, tokens / reach.tokens
        doublings = sum((np.log2(np.maximum(size, 1.0)) for size in sizes), np.zeros(len(block)))
    spread: Array = calibration.spread_of(columns.stage) * WIDER**doublings
    return spread


class _Times:
    """The times of one program on one device."""

    def __init__(self, program: Program, calibration: Calibration, device: Device) -> None:
        self._program, self._lines = program, program.line_work
        faster = np.where(self._lines.fp8, speedup_of(self._lines, device), 1.0)
        self._rates = Rates(calibration.values, limits_of(self._lines.patterns), device.l2_bytes, faster)
        terms = [TERMS.index(LIMITS[pattern].term) for pattern in self._lines.patterns]
        self._terms = np.array([[float(term == at) for at in terms] for term in range(1, len(TERMS))])
        self._device = device

    def at(self, point: Mapping[str, Any], spread: Array) -> tuple[Array, Array, Array]:
        values = Values(point)
        times = self._rates.times(self._lines.at_many(values.monomial))
        total = np.rint(times.launch_ns.sum(axis=0)) + np.rint(self._terms @ times.busy_ns).sum(axis=0)
        least = self._floor(values, point)
        total = np.maximum(total, least)
        return total, np.maximum(np.rint(total / spread), least), np.rint(total * spread)

    def _floor(self, values: Values, point: Mapping[str, Any]) -> Array:
        needed = self._program.rows("")[NEEDED:FP8]
        tensor, vector, moved, fp8 = (self._summed(row, values) for row in needed)
        steps, device = point["steps"] if self._program.steps else 1.0, self._device
        tensor = tensor - fp8 + fp8 / device.fp8_speedup if any(needed[-1]) else tensor
        moved = moved - np.minimum(moved, steps * device.l2_bytes)
        rates = device.tensor_flops_per_s, device.vector_flops_per_s, device.bandwidth_bytes_per_s
        times = [np.floor(number * NS / rate) for number, rate in zip((tensor, vector, moved), rates, strict=True)]
        longest: Array = np.maximum(times[0], np.maximum(times[1], times[2]))
        return longest

    def _summed(self, row: Row, values: Values) -> Any:
        chosen = [(c, monomial) for c, monomial in zip(row, self._program.monomials, strict=False) if c]
        return sum((c * values.monomial(monomial) for c, monomial in chosen), 0.0)
