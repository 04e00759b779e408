"""Clocks as far as they go without a GPU, and the speed at which a driver runs graphs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep.baselines.sampling import Machine  # noqa: E402
from pytest_ocrsweep.vendor_model import clocks, gpu_state, graph_speed  # noqa: E402

CPU = torch.device("cpu")
MS = 1_000_000


def test_a_cpus_device_clock_is_the_hosts():
    found = clocks.device_clock(CPU, lambda: None)
    assert (type(found), found.name, found.kernels) == (clocks.HostClock, "host", None)


def test_the_hosts_clock_times_each_call_and_no_other():
    called = []
    times = clocks.HostClock(lambda: called.append(1)).batch(4)
    assert len(called) == len(times) == 4
    assert all(type(ns) is int and ns > 0 for ns in times)


def test_a_delay_shows_on_the_clock():
    def call() -> None:
        pass

    plain = clocks.device_clock(CPU, call)
    delayed = clocks.device_clock(CPU, clocks.delayed(call, CPU, 50 * MS))
    without, slowed = plain.batch(3), delayed.batch(3)
    assert min(without) < 50 * MS <= min(slowed)


def test_what_no_graph_captures_is_timed_by_the_profiler(monkeypatch):
    def refuse(call):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(clocks, "GraphClock", refuse)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert clocks.device_clock(torch.device("cuda"), lambda: None).name == "profiler"


def test_a_gpu_without_room_is_no_reason_for_another_clock(monkeypatch):
    def refuse(call):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(clocks, "GraphClock", refuse)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        clocks.device_clock(torch.device("cuda"), lambda: None)


# The driver's speed of graphs


class Replayed:
    """A graph on a driver that changes its speed with the sixth graph, or when the third reading has passed.

    The second reading is slow by itself.
    """

    graphs, readings, changes = 0, 0, ""

    def __init__(self, call):
        type(self).graphs += 1

    def batch(self, times):
        type(self).readings += times > 1
        slow = {"by graph": self.graphs >= 6, "by time": self.readings > 3, "never": False}[self.changes]
        slow |= self.readings == 2
        return [(1100 if slow else 900) * graph_speed.KERNELS] * times


@pytest.mark.parametrize(("changes", "settled"), [("by graph", True), ("by time", True), ("never", False)])
def test_graphs_are_captured_until_the_driver_has_changed_its_speed(monkeypatch, changes, settled):
    monkeypatch.setattr(Replayed, "graphs", 0)
    monkeypatch.setattr(Replayed, "readings", 0)
    monkeypatch.setattr(Replayed, "changes", changes)
    monkeypatch.setattr(graph_speed, "GraphClock", Replayed)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: torch.ones(shape))
    probe = graph_speed.GraphSpeed()
    assert probe.settle(patience_s=0.05) is settled
    assert probe.kernel_ns() == (1100 if settled else 900)


def test_the_speed_of_graphs_is_read_with_the_machine():
    assert gpu_state.reader(CPU, SimpleNamespace(kernel_ns=lambda: 907))() == Machine(graph_kernel_ns=907)
