"""Writes docs/vllm-kernels.md: what a real vLLM's kernels took, beside the limits of their lines.

python dev/profiles/kernel_table.py > docs/vllm-kernels.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine_kernels import Matched, Trace, lines_of, matched, traces

from pytest_ocrsweep import Model, load_model
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.roofline import least_ns
from pytest_ocrsweep.model.cost import Cost
from pytest_ocrsweep.model.run_order import Run
from pytest_ocrsweep.model.stages import point
from pytest_ocrsweep.model.symbolic import poly
from pytest_ocrsweep.sweep.config import devices


class Row(NamedTuple):
    """The runs of a line in a step, together."""

    path: str
    runs: int
    kernels: int
    time_ns: int
    limit_ns: float  # if as many experts are reached as uniform routing reaches
    least_ns: float  # if every token chooses the same


class Step(NamedTuple):
    """A recorded step."""

    stage: str
    grid: str
    pages: int
    kernels: int
    runs: int
    time_ns: int  # of the kernels of all lines
    outside_ns: int  # of the others
    limit_ns: float
    least_ns: float


HEAD = """# The kernels of a real vLLM, line by line

vLLM 0.26.0 on an NVIDIA H200 (torch 2.11.0+cu130, bf16, random weights, answers drawn at temperature 1): each kernel of
a step is one line of the ledger of `engine=vllm`, in order, and each line has its kernels.
`tests/unit/test_engine_kernels.py` matches them again. `dev/profiles/record_kernels.py` has how they were recorded, and
`python dev/profiles/kernel_table.py` prints this page. Recorded again on another machine, each kernel was of the same
line; those of a step took 2.4 % less to 0.3 % more.

The place and the name of a kernel say which line it is. For some kernels the profiler gives sizes of operands. Their
work equals the line's: FLOPs of products and attention, bytes of copies, elements of elementwise operations, operands
and results of norms. Kernels outside the ledger are listed one by one as well: those for the inputs of a step, for the
host's questions about pages, and for the sampling of tokens.

"limit" is what the lines need at the H200's limits, as in `ocrsweep cost`, with as many experts as uniform routing
reaches. These random weights send most tokens to the same experts: at 8 and 64 pages, experts took less time than
those of uniform routing need. So "least" takes the fewest experts that any routing reaches.
"""


def lines(model: Model, device: Device, trace: Trace, pairs: list[Matched]) -> list[Row]:
    """The lines of a step in the order in which they first run."""
    found: dict[str, Row] = {}
    for pair in pairs:
        if pair.run is not None:
            row = found.get(pair.run.path, Row(pair.run.path, 0, 0, 0, 0.0, 0.0))
            found[pair.run.path] = Row(
                row.path,
                row.runs + 1,
                row.kernels + len(pair.kernels),
                row.time_ns + pair.time_ns,
                row.limit_ns + least_ns(pair.cost, device),
                row.least_ns + least_ns(least_cost(model, trace, pair.run), device),
            )
    order = dict.fromkeys(run.path for run in lines_of(model, trace))
    return [found[path] for path in order]


def least_cost(model: Model, trace: Trace, run: Run) -> Cost:
    """The cost of a run if it reads the fewest parameters that any routing reaches."""
    work, cost = trace.work, Cost(*run.numbers)
    kernel = model.program(trace.stage, work.resolution, work.grid.crops > 0, "flash").sequence[run.line]
    if kernel.least_bytes is None:
        return cost
    sizes = point(work, model.architecture.decoder, model.engine)
    read = sum(poly(size).at(sizes) for size in (*kernel.operands, kernel.least_bytes))
    return Cost(cost.tensor_flops, cost.vector_flops, read, cost.write_bytes)


def steps(model: Model, device: Device) -> Iterator[Step]:
    """Every recorded step."""
    for trace in traces():
        pairs = matched(trace.kernels, lines_of(model, trace))
        rows = lines(model, device, trace, pairs)
        yield Step(
            trace.stage,
            trace.grid,
            trace.pages,
            len(trace.kernels),
            sum(row.runs for row in rows),
            sum(row.time_ns for row in rows),
            sum(pair.time_ns for pair in pairs if pair.run is None),
            sum(row.limit_ns for row in rows),
            sum(row.least_ns for row in rows),
        )


def page(model: Model, device: Device) -> str:
    """The page, as Markdown."""
    return "\n".join([HEAD, *_steps(model, device), "", *_lines(model, device)]) + "\n"


def _steps(model: Model, device: Device) -> Iterator[str]:
    yield "| step | pages | kernels | lines | their µs | outside, µs | limit, µs | attained | least, µs | attained |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for step in steps(model, device):
        limits = " | ".join(f"{_us(ns)} | {100 * ns / step.time_ns:.1f} %" for ns in (step.limit_ns, step.least_ns))
        times = f"{_us(step.time_ns)} | {_us(step.outside_ns)}"
        about = f"{step.stage} {step.grid} | {step.pages} | {step.kernels:,} | {step.runs:,}"
        yield f"| {about} | {times} | {limits} |"


def _lines(model: Model, device: Device) -> Iterator[str]:
    decodes = [trace for trace in traces() if trace.stage == "decode"]
    counts = ", ".join(str(trace.pages) for trace in decodes)
    yield f"A decode step of {decodes[0].grid}, in µs, at {counts} pages in flight:\n"
    yield "| line | runs | kernels" + "".join(f" | at {t.pages} | limit | least" for t in decodes) + " |"
    yield "|---|--:|--:" + "|--:|--:|--:" * len(decodes) + "|"
    found = [lines(model, device, trace, matched(trace.kernels, lines_of(model, trace))) for trace in decodes]
    for rows in zip(*found, strict=True):
        numbers = "".join(f" | {_us(row.time_ns)} | {_us(row.limit_ns)} | {_us(row.least_ns)}" for row in rows)
        yield f"| `{rows[0].path}` | {rows[0].runs} | {rows[0].kernels}{numbers} |"


def _us(ns: float) -> str:
    return f"{ns / 1000:,.1f}"


if __name__ == "__main__":
    print(page(load_model(engine="vllm"), devices()["h200"]), end="")
