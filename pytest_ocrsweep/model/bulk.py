"""Ledgers by the million: the costs of many workloads at once, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

try:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
except ModuleNotFoundError:
    raise ModuleNotFoundError("numpy is not installed: pip install 'pytest-ocrsweep[columns]'", name="numpy") from None

from ..errors import ColumnOverflow
from .bulk_plan import LIMIT, Plan
from .geometry import LEAST, CropGrid, Tiling, Workload
from .limits import refuse

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from .analytic import Model

Column = NDArray[np.int64]

INPUTS = ("rows", "cols", "batch", "prompt_tokens", "new_tokens")
NAMES = (
    *INPUTS,
    "image_tokens",
    "context_tokens",
    "tensor_flops",
    "vector_flops",
    "read_bytes",
    "write_bytes",
    "weight_bytes",
    "kv_cache_bytes",
    "compulsory_bytes",
    "peak_activation_bytes",
)
OF_FP8 = "fp8_tensor_flops"  # a further column of a precision whose products are of 8-bit floats
BLOCK = 8192  # points evaluated at once: their values stay in a core's own cache
CHUNK = 2**18  # points of a larger space held at once


@dataclass(frozen=True, slots=True, eq=False)
class Columns(Mapping[str, Column]):
    """For each name of NAMES an array [points] of 64-bit integers, in base units: tokens, FLOPs, bytes.

    Products of 8-bit floats have a further one: those of the tensor FLOPs that they are.
    """

    stage: str
    attention: str
    resolution: str
    pages: int  # in each prompt
    arrays: dict[str, Column]

    def __getitem__(self, name: str) -> Column:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __repr__(self) -> str:
        named = f"{self.stage!r}, {self.attention!r}, {self.resolution!r}"
        return f"Columns({named}, {self.points:,} points of {', '.join(self)})"

    @property
    def points(self) -> int:
        """The number of points."""
        return len(self.arrays["rows"])

    def to_arrow(self) -> pyarrow.Table:
        """An Arrow table that shares this memory."""
        import pyarrow

        return pyarrow.table({name: pyarrow.array(column) for name, column in self.items()})

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame that shares this memory."""
        import pandas

        return pandas.DataFrame(self.arrays, copy=False)


def swept(
    model: Model, stage: str, attention: str, resolution: str, sizes: Mapping[str, ArrayLike], pages: int = 1
) -> Columns:
    """`Model.sweep` with its sizes by name."""
    tiling = model.architecture.tiling
    Workload("1x1", resolution=resolution, pages=pages, tiling=tiling)  # raises for these, the next line for the others
    model.program(stage, resolution, False, attention)
    inputs = broadcast(sizes)
    refuse_what_no_workload_is(inputs, resolution, tiling)
    refuse_what_is_never_run(model, stage, inputs, resolution, pages)
    names = (*NAMES, OF_FP8) if model.precision.fp8_products else NAMES
    arrays = {name: np.empty(inputs["rows"].size, np.int64) for name in names}
    for name, column in inputs.items():
        arrays[name][:] = column.ravel()
    varying = {name for name, given in sizes.items() if np.size(given) > 1}
    crops = has_crops(arrays["rows"], arrays["cols"])
    for kind in set(crops.tolist()):
        program, window = model.program(stage, resolution, kind, attention), model.architecture.decoder.window
        plan = Plan(program, tiling.sides(resolution), kind, model.engine, pages=pages, window=window)
        places = np.flatnonzero(crops == kind)
        for start in range(0, places.size, BLOCK):
            block = places[start : start + BLOCK]
            at = {name: arrays[name][block] if name in varying else int(arrays[name][0]) for name in INPUTS}
            columns = plan.columns(at, stage)
            for name in names[len(INPUTS) :]:
                arrays[name][block] = columns[name]
    for column in arrays.values():
        column.flags.writeable = False  # tables and frames share its memory
    return Columns(stage, attention, resolution, pages, arrays)


def chunks(
    model: Model,
    stage: str,
    attention: str,
    resolution: str,
    axes: Sequence[Mapping[str, Column]],
    points: int = CHUNK,
    pages: int = 1,
) -> Iterator[Columns]:
    """Every combination of one element from each axis, the last axis fastest, `points` at a time.

    An axis holds the values of one size, or of several that vary together. Raises as `Model.sweep` does, and always
    before the first chunk.
    """
    swept(model, stage, attention, resolution, furthest(axes), pages)
    lengths = [len(next(iter(axis.values()))) for axis in axes]
    for start in range(0, prod(lengths), points):
        places = np.unravel_index(np.arange(start, min(start + points, prod(lengths))), lengths)
        yield swept(
            model,
            stage,
            attention,
            resolution,
            {
                name: values[place] if len(values) > 1 else values
                for axis, place in zip(axes, places, strict=True)
                for name, values in axis.items()
            },
            pages,
        )


def furthest(axes: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    """Points that reach the largest value of every column in the space: no column falls when a size grows."""
    return {
        name: values if len(axis) > 1 else values.max(keepdims=True) for axis in axes for name, values in axis.items()
    }


def broadcast(sizes: Mapping[str, ArrayLike]) -> dict[str, Column]:
    """The sizes as 64-bit integers of one shape. Raises ValueError if some are not whole or do not broadcast."""
    arrays = {}
    for name, given in sizes.items():
        array = np.asarray(given)
        if array.dtype.kind not in "iu" and array.size:
            raise ValueError(f"{name} must be whole numbers of at most 64 bits, got {array.flat[0]} ({array.dtype})")
        if array.dtype == np.uint64 and array.size and array.max() > LIMIT:
            raise ColumnOverflow(f"{name}: {array.max():,} is more than a column holds, {LIMIT:,}")
        arrays[name] = array.astype(np.int64, copy=False)
    try:
        return dict(zip(arrays, np.broadcast_arrays(*arrays.values()), strict=True))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items() if array.ndim)
        raise ValueError(f"sizes of shapes that do not broadcast to one: {shapes}") from None


def refuse_what_no_workload_is(inputs: Mapping[str, Column], resolution: str, tiling: Tiling) -> None:
    """Raises ValueError, as `Workload` does, for the first point that is not a workload."""
    wrong = np.zeros(inputs["rows"].shape, bool)
    for name in INPUTS:
        wrong |= inputs[name] < LEAST.get(name, 1)
    if tiling.sides(resolution).crop_side is None:
        wrong |= has_crops(inputs["rows"], inputs["cols"])
    if wrong.any():
        rows, columns, *others = (int(inputs[name].ravel()[wrong.argmax()]) for name in INPUTS)
        batch, prompt_tokens, new_tokens = others
        Workload(CropGrid(rows, columns), prompt_tokens, new_tokens, batch, resolution, tiling=tiling)


def refuse_what_is_never_run(
    model: Model, stage: str, inputs: Mapping[str, Column], resolution: str, pages: int
) -> None:
    """Raises ValueError, as `Model.ledger` does, for the first point that the model or its engine never runs."""
    engine, native = model.engine, model.architecture.tiling.sides(resolution).native
    if pages == 1 and (engine.most_crops, engine.most_step_tokens, engine.most_positions) == (None, None, None):
        if native is None:
            return
        tiles = inputs["rows"] * inputs["cols"]
        wrong = (tiles < native.least_tiles) | (tiles > native.most_tiles)
        inputs = {name: column[wrong] for name, column in inputs.items()}
    for rows, columns, batch, prompt, new in zip(*(inputs[name].ravel().tolist() for name in INPUTS), strict=True):
        grid, tiling = CropGrid(rows, columns), model.architecture.tiling
        work = Workload(grid, prompt, new, batch, resolution, pages, tiling=tiling)
        refuse(model.architecture, engine, stage, work)


def has_crops(rows: Column, cols: Column) -> NDArray[np.bool_]:
    """Whether each point has crops: False for 1x1, as `CropGrid.crops` is 0 there."""
    crops: NDArray[np.bool_] = (rows != 1) | (cols != 1)
    return crops
