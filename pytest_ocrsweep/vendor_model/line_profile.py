"""A point measured line by line: the kernels of its CUDA graph's replays, each mapped to the line that launched it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from torch.profiler import ProfilerActivity, profile

from ..errors import MeasureError
from ..hardware.profile import Profile, ProfiledLine
from ..model.analytic import Model
from ..model.geometry import Workload
from ..model.run_order import runs
from ..model.stages import point
from .clocks import GraphClock, HostClock
from .forward import Call
from .operation_trace import traced
from .profile_match import Matched, Operation, matched
from .timing import Vendor

WARM_UP, TIMED, PROFILED = 5, 15, 8  # replays
NAME = 120  # characters of a kernel's name that tell it from others: the profiler cuts long ones

Kernel = tuple[str, float]  # name, ns


def profile_point(vendor: Vendor, model: Model, stage: str, work: Workload, attention: str) -> Profile:
    """The point's lines and their times; a decode's are those of its last step.

    Raises MeasureError, which names it, for a kernel that belongs to no operation, and NoLine for an operation that is
    no line.
    """
    with vendor.called(stage, work, attention) as (_, call):
        vendor.settle()
        call()
        operations = traced(call, model.architecture.decoder.experts_per_token, vendor.device)
        if vendor.device.type == "cuda":
            device_ns, replayed = _replays(call)
            operations = [
                op._replace(kernels=ks) for op, ks in zip(operations, _dealt(operations, replayed), strict=True)
            ]
        else:
            device_ns = median(HostClock(call).batch(3))
    program = model.program(stage, work.resolution, bool(work.grid.crops), attention)
    at = point(work, model.architecture.decoder)
    return Profile(stage, attention, work, device_ns, _lines(matched(operations, runs(program.sequence, at))))


def _replays(call: Call) -> tuple[float, list[Kernel]]:
    """The graph's time, and its kernels in order, each with the median of its times in several replays."""
    clock = GraphClock(call)
    clock.batch(WARM_UP)
    device_ns = median(clock.batch(TIMED))
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiler:
        clock.batch(PROFILED)
    events = [e for e in profiler.events() if e.device_type.name == "CUDA"]
    events.sort(key=lambda event: event.time_range.start)
    count = len(events) // PROFILED
    replays = [events[i * count : (i + 1) * count] for i in range(PROFILED)]
    names = [[event.name for event in replay] for replay in replays]
    if count * PROFILED != len(events) or any(replay != names[0] for replay in names):
        raise MeasureError("the profiler saw other kernels in one replay than in another;", hint="profile it again")
    times = [median((e.time_range.end - e.time_range.start) * 1e3 for e in turn) for turn in zip(*replays, strict=True)]
    return device_ns, list(zip(names[0], times, strict=True))


def _dealt(operations: Sequence[Operation], replayed: Sequence[Kernel]) -> list[tuple[Kernel, ...]]:
    """Each operation's kernels among those of a replay, which has the same in the same order.

    The profiler lists a kernel of the traced run twice now and then; the replay says how many there are.
    """
    dealt, place = [], 0
    for operation in operations:
        expected = Counter(name[:NAME] for name, _ in operation.kernels)
        taken = place
        while taken < len(replayed) and expected[replayed[taken][0][:NAME]] > 0:
            expected[replayed[taken][0][:NAME]] -= 1
            taken += 1
        dealt.append(tuple(replayed[place:taken]))
        place = taken
    if place < len(replayed):
        name = replayed[place][0][:NAME]
        raise MeasureError(f"kernel {place} of {len(replayed)}, {name}, belongs to no operation;", hint="report it")
    return dealt


def _lines(found: Sequence[Matched]) -> tuple[ProfiledLine, ...]:
    lines: dict[int, ProfiledLine] = {}
    for entry in found:
        kernels = [kernel for operation in entry.operations for kernel in operation.kernels]
        line = lines.get(entry.run.line, ProfiledLine(entry.run.line, entry.run.path, 0, 0, 0.0))
        busy_ns = line.time_ns + sum(ns for _, ns in kernels)
        lines[line.index] = ProfiledLine(line.index, line.path, line.runs + 1, line.kernels + len(kernels), busy_ns)
    return tuple(lines[index] for index in sorted(lines))
