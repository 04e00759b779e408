"""Clocks: how long a call takes on its device, and how long its caller waits."""

from __future__ import annotations

import time
from typing import Protocol

import torch

from ..baselines.recorded_time import CPU_TIME
from ..errors import MeasureError
from . import compat
from .failure import out_of_memory
from .forward import Call


class Clock(Protocol):
    """Times one call; `name` says how, and `kernels` how many the call launches, or None if that is not known."""

    name: str
    kernels: int | None

    def batch(self, times: int) -> list[int]:
        """Whole ns of each of `times` runs."""
        ...


class GraphClock:
    """Replays of a CUDA graph of the call: the device's own time, without the host's launches."""

    name = "cuda-graph"

    def __init__(self, call: Call) -> None:
        """Captures `call`, which must have run before. Raises RuntimeError for a call that no graph captures."""
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph(keep_graph=True)
        with torch.cuda.graph(self._graph):
            self._output = call()  # its tensors live in the graph's memory
        self.kernels = _graph_kernels(self._graph)
        self._graph.instantiate()

    def batch(self, times: int) -> list[int]:
        """Each replay between two events on its stream; one synchronise at the end."""
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(times)]
        for start, end in events:
            start.record()
            self._graph.replay()
            end.record()
        torch.cuda.synchronize()
        return [round(start.elapsed_time(end) * 1e6) for start, end in events]


def _graph_kernels(graph: torch.cuda.CUDAGraph) -> int | None:
    """Kernel, copy and fill nodes of a captured graph; None without CUDA's Python bindings."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        return None
    handle = runtime.cudaGraph_t(init_value=graph.raw_cuda_graph())
    error, _, count = runtime.cudaGraphGetNodes(handle)
    return int(count) if error == runtime.cudaError_t.cudaSuccess else None


class _OneByOne:
    """Runs its call anew for each time."""

    kernels: int | None = None

    def __init__(self, call: Call) -> None:
        self._call = call

    def batch(self, times: int) -> list[int]:
        """Whole ns of each of `times` calls."""
        return [self._once() for _ in range(times)]

    def _once(self) -> int:
        raise NotImplementedError


class ProfilerClock(_OneByOne):
    """The profiler's sum of kernel times, for calls that no graph captures; each call has a profiler of its own."""

    name = "profiler"

    def _once(self) -> int:
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            self._call()
            torch.cuda.synchronize()
        kernels = [e for e in profiler.events() if e.device_type.name == "CUDA"]
        self.kernels = len(kernels)
        return round(sum(e.self_device_time_total for e in kernels) * 1e3)


class HostClock(_OneByOne):
    """The host's clock around the call and a wait for the device: what a caller sees, and a CPU's device time."""

    name = "host"

    def _once(self) -> int:
        _wait()
        begun = time.perf_counter_ns()
        self._call()
        _wait()
        return time.perf_counter_ns() - begun


class CpuClock(_OneByOne):
    """CPU time of this process, all its threads together: what a call costs the host, whatever else runs there."""

    name = CPU_TIME

    def batch(self, times: int) -> list[int]:
        """Raises MeasureError for a call that takes less than a step of the clock: nothing is a share of no time."""
        found = super().batch(times)
        if 0 in found:
            raise MeasureError("host=True: a call took 0 ns of CPU time by this host's clock;", "do more in a call")
        return found

    def _once(self) -> int:
        begun = time.process_time_ns()
        self._call()
        return time.process_time_ns() - begun


def _wait() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def device_clock(device: torch.device, call: Call) -> Clock:
    """The best clock that the device has for `call`: a graph, else the profiler; on a CPU the host's."""
    if device.type != "cuda":
        return HostClock(call)
    try:
        return GraphClock(call)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        torch.cuda.synchronize()
        return ProfilerClock(call)


def delayed(call: Call, device: torch.device, ns: int) -> Call:
    """`call`, after which the device is busy for about `ns`: how the gate's self-test slows a stage down."""
    amount = busy_amount(device, ns)

    def slower() -> object:
        output = call()
        keep_busy(device, amount)
        return output

    return slower


def busy_amount(device: torch.device, ns: int) -> int:
    """What `keep_busy` needs for this time: a GPU's cycles, a CPU's ns. Not to be called while a graph is captured."""
    return round(ns * _cycles_per_ns(device)) if device.type == "cuda" else ns


def keep_busy(device: torch.device, amount: int) -> None:
    """Keeps the device busy, a GPU by a kernel."""
    if device.type == "cuda":
        compat.spin(amount)
    else:
        _spin(amount)


def _cycles_per_ns(device: torch.device, cycles: int = 20_000_000) -> float:
    def run() -> None:
        compat.spin(cycles)

    run()
    times = GraphClock(run).batch(5)
    return cycles / sorted(times)[2]


def _spin(ns: int) -> None:
    end = time.perf_counter_ns() + ns
    while time.perf_counter_ns() < end:
        pass
