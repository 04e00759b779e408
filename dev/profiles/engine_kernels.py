"""Which line of the ledger of engine=vllm each kernel of a recorded trace is: every kernel, in order, exactly one.

A kernel of no line is an error that names it, and so is a line without its kernels. What surrounds the model, the
inputs of a step and the sampling of its tokens, is outside the ledger: `kernel_rules` lists its kernels one by one too.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from kernel_rules import AFTER, KINDS, OUTSIDE, RULES, NotMatched, rule_key
from kernel_sizes import wrong_size

from pytest_ocrsweep import Model, Workload
from pytest_ocrsweep.model.cost import Cost
from pytest_ocrsweep.model.run_order import Run, runs
from pytest_ocrsweep.model.stages import point

RECORDED = Path(__file__).parent / "nvidia-h200-vllm-kernels.jsonl.gz"


class Kernel(NamedTuple):
    """A kernel as it ran."""

    name: str
    time_ns: int
    copied_bytes: int | None
    operation: str | None  # of torch that launched it; None in a CUDA graph
    sizes: Any  # of that operation's operands, as the profiler gives them
    beside: bool  # on a stream of its own, beside the others


@dataclass(frozen=True, slots=True)
class Trace:
    """One step of the engine: a prefill with its vision, or a decode step."""

    stage: str
    grid: str
    pages: int
    keys: int | None  # new tokens of each page that the step sees, of a decode
    kernels: list[Kernel]

    @property
    def work(self) -> Workload:
        """Its workload; a decode's last step is the one that was recorded."""
        return Workload(self.grid, batch=self.pages, new_tokens=self.keys or 1)


class Matched(NamedTuple):
    """A run of a line with its kernels, or kernels outside the ledger, which have no run."""

    run: Run | None
    kernels: list[Kernel]

    @property
    def time_ns(self) -> int:
        return sum(kernel.time_ns for kernel in self.kernels)

    @property
    def cost(self) -> Cost:
        assert self.run is not None
        return Cost(*self.run.numbers)


def traces(file: Path = RECORDED) -> list[Trace]:
    """The traces of a file that `record_kernels.py` wrote; its first line is about the engine."""
    _, *lines = gzip.decompress(file.read_bytes()).splitlines()
    return [_trace(json.loads(line)) for line in lines]


def _trace(row: dict[str, Any]) -> Trace:
    strings, sizes = row["strings"], row["sizes"]
    kernels = [
        Kernel(strings[name], ns, copied, None if op is None else strings[op], sizes[at], bool(beside))
        for name, ns, copied, op, at, beside in row["kernels"]
    ]
    return Trace(row["stage"], row["grid"], row["pages"], row["keys"], kernels)


def lines_of(model: Model, trace: Trace) -> list[Run]:
    """The runs of the ledger's lines in that step, in their order."""
    work = trace.work
    program = model.program(trace.stage, work.resolution, work.grid.crops > 0, "flash")
    return runs(program.sequence, point(work, model.architecture.decoder, model.engine))


def matched(kernels: Sequence[Kernel], lines: Sequence[Run]) -> list[Matched]:
    """Every kernel with its line, in the order of lines. Raises NotMatched.

    Kernels on a stream of their own are those of the shared experts.
    """
    beside = any(kernel.beside for kernel in kernels)
    of_shared = [run for run in lines if beside and "/shared_experts/" in run.path]
    others = [run for run in lines if not (beside and "/shared_experts/" in run.path)]
    main = _in_order([kernel for kernel in kernels if not kernel.beside], others, AFTER)
    return main + _in_order([kernel for kernel in kernels if kernel.beside], of_shared, "")


def _in_order(kernels: Sequence[Kernel], lines: Sequence[Run], after: str) -> list[Matched]:
    kinds = [f"{kind_of(kernel.name)} " for kernel in kernels]
    text, found, place = "".join(kinds), [], 0
    starts = list(accumulate(map(len, kinds), initial=0))
    index = {start: i for i, start in enumerate(starts)}
    for run in lines:
        hit = rule(run.path).match(text, starts[place])
        if hit is None:
            what = kernels[place].name if place < len(kernels) else "none"
            then = "".join(kinds[place + 1 : place + 4])
            raise NotMatched(
                f"kernel {place} of {len(kernels)} is {what}, then {then}where the ledger has line {run.path}"
            )
        first, end = index[hit.end(1)], index[hit.end()]
        found += [Matched(None, list(kernels[place:first]))] * (first > place)
        found.append(Matched(run, list(kernels[first:end])))
        if wrong := wrong_size(run, found[-1].kernels):
            raise NotMatched(f"kernel {first} of {len(kernels)} is {kernels[first].name}: line {run.path} {wrong}")
        place = end
    if re.fullmatch(after, text[starts[place] :]) is None:
        raise NotMatched(f"kernel {place} of {len(kernels)} is {kernels[place].name}, and no line is left")
    return [*found, *([Matched(None, list(kernels[place:]))] if place < len(kernels) else [])]


@cache
def rule(path: str) -> re.Pattern[str]:
    """The kinds that may go before a line, and those of the line."""
    return re.compile(f"({OUTSIDE.get(path, '')})({RULES[rule_key(path)]})")


@cache
def kind_of(name: str) -> str:
    """Which of KINDS a kernel of that name is. Raises NotMatched, with the name, for a kernel of no kind."""
    for kind, pattern in KINDS.items():
        if re.search(pattern, name):
            return kind
    raise NotMatched(f"{name} is a kernel of no line: no pattern of KINDS fits its name")
