"""Clocks as far as they go without a GPU, and the speed at which a driver runs graphs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep.baselines.machine import Machine  # noqa: E402
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


class Driver:
    """The time from one kernel of a graph to the next, at each reading; each reading takes 0.1 s of a clock."""

    def __init__(self, *ns: int) -> None:
        self._ns, self.graphs, self.now = list(ns), 0, 0.0

    def GraphClock(self, call) -> Driver:
        self.graphs += 1
        return self

    def batch(self, times: int) -> list[int]:
        if times == 1:  # a graph that is only captured
            return [0]
        self.now += 0.1
        ns = self._ns.pop(0) if len(self._ns) > 1 else self._ns[0]
        return [ns * graph_speed.KERNELS] * times

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def probe(monkeypatch):
    """A function that gives a GraphSpeed of such a driver, and the driver."""

    def made(*ns: int) -> tuple[graph_speed.GraphSpeed, Driver]:
        driver = Driver(*ns)
        monkeypatch.setattr(graph_speed, "GraphClock", driver.GraphClock)
        monkeypatch.setattr(graph_speed, "time", driver)
        monkeypatch.setattr(torch, "zeros", lambda *shape, device: torch.ones(shape))
        return graph_speed.GraphSpeed(), driver

    return made


def test_graphs_are_captured_until_the_driver_has_changed_its_speed_and_keeps_it(probe):
    speed, driver = probe(1200, 900, 900, 1086)  # the first of a GPU that wakes up
    assert speed.settle(hold_s=0.45) is True
    assert speed.lasting_ns == 1086
    assert driver.now == pytest.approx(0.9)  # three readings, and as many as half a second has, and one
    assert driver.graphs == 9  # each reading is of a new one


@pytest.mark.parametrize("dips", [1, 2, 4])
def test_a_gpu_that_dips_while_another_process_ends_has_not_changed_its_speed(probe, dips):
    speed, driver = probe(900, 900, *[1086] * dips, 900, 900, 1086)
    assert speed.settle(hold_s=0.45) is True
    assert driver.now > 0.1 * (dips + 4) + 0.45


def test_a_driver_of_one_speed_is_waited_for_no_longer_than_the_patience(probe):
    speed, driver = probe(900)
    assert speed.settle(patience_s=5) is False
    assert (speed.lasting_ns, driver.now) == (None, pytest.approx(5.1, abs=0.11))


def test_a_speed_that_was_settled_takes_one_look_at_each_point(probe):
    speed, driver = probe(900, 900, 1086)
    speed.settle()
    before, graphs = driver.now, driver.graphs
    speed.steady()
    assert (driver.now - before, driver.graphs) == (pytest.approx(0.1), graphs + 1)


def test_a_driver_that_is_fast_again_for_a_moment_is_waited_for(probe):
    speed, driver = probe(900, 900, *[1086] * 8, 906, 906, 906, 1086)
    speed.settle()
    while driver._ns[0] != 906:
        speed.kernel_ns()
    speed.steady()
    assert driver._ns == [1086]
    assert speed.lasting_ns == 1086


def test_a_faster_speed_that_outlasts_the_patience_is_the_lasting_one(probe):
    speed, driver = probe(900, 900, *[1086] * 8, 906)
    speed.settle()
    while len(driver._ns) > 1:
        speed.kernel_ns()
    speed.steady(patience_s=2)
    assert speed.lasting_ns == 906


def test_a_driver_that_changes_its_speed_later_than_the_patience_is_seen_at_a_later_point(probe):
    speed, driver = probe(900, 900, 900, 1086)
    assert speed.settle(patience_s=0) is False
    while driver._ns[0] == 900:
        speed.kernel_ns()
    speed.steady()
    assert speed.lasting_ns == 1086


def test_a_driver_of_one_speed_costs_one_look_at_each_point(probe):
    speed, driver = probe(900)
    assert speed.settle(patience_s=0) is False
    before, graphs = driver.now, driver.graphs
    speed.steady()
    assert (driver.now - before, driver.graphs, speed.lasting_ns) == (pytest.approx(0.1), graphs + 1, None)


def test_the_speed_of_graphs_is_read_with_the_machine():
    speed = SimpleNamespace(kernel_ns=lambda: 907, lasting_ns=1086)
    assert gpu_state.reader(CPU, speed)() == Machine(graph_kernel_ns=907, lasting_kernel_ns=1086)
