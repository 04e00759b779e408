"""A point prepared and sampled on a CPU: what is timed is what is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from small_pages import SMALL, small  # noqa: E402

from pytest_ocrsweep import CropGrid, Workload, load_model  # noqa: E402
from pytest_ocrsweep.baselines.machine import Machine  # noqa: E402
from pytest_ocrsweep.baselines.sampling import TimeCap  # noqa: E402
from pytest_ocrsweep.model.attention import ATTENTION  # noqa: E402
from pytest_ocrsweep.model.stages import STAGES  # noqa: E402
from pytest_ocrsweep.vendor_model import build, clocks, regions, timing  # noqa: E402

CPU = torch.device("cpu")
TINY = SMALL.architecture
PAGE = small(Workload(CropGrid(1, 1), new_tokens=3, resolution="tiny"))


@pytest.fixture(scope="module")
def vendor() -> timing.Vendor:
    return timing.Vendor(TINY, CPU, rule=TimeCap(0.01))


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("stage", STAGES)
def test_the_calls_that_are_timed_are_the_ones_that_are_counted(vendor, stage, attention):
    with vendor.timed(stage, PAGE, attention, count=True) as point:
        assert point.tensor_flops == SMALL.ledger(stage, PAGE, attention).total().tensor_flops
        assert len(point.clocks) == (2 if stage == "decode" else 1)
        assert (point.token_ns() is None) == (stage != "decode")


@pytest.mark.parametrize("grid", ["1x1", "1x2"])
def test_pages_are_cut_as_the_model_cuts_them_whatever_the_workload_says(grid):
    model = load_model("deepseek-ocr-2-tiny").architecture
    work, built = Workload(grid), build.on_meta(model, "flash", "batched_mm")
    (call,) = regions.stage_region(built, model, "prefill", work, "flash", None).calls
    assert call().logits.shape[1] == work.cut_by(model.tiling).context_tokens != work.context_tokens


def test_sampling_stops_by_the_rule_it_is_given(vendor):
    with vendor.timed("decode", PAGE, "flash") as point:
        samples = point.sample()
    assert samples.stopped == "time cap of 0.01 s"
    assert len(samples.ns) % timing.BATCH == 0
    assert (samples.before, samples.after, samples.objections) == (Machine(), Machine(), ())


def test_a_point_waits_for_a_steady_driver_and_is_watched_while_it_is_sampled(monkeypatch):
    capped = Machine(1700, 698.0, ("sw_power_cap",))
    monkeypatch.setattr(timing.gpu_state, "glance", lambda device: lambda: capped)
    slow = timing.Vendor(TINY, CPU, rule=TimeCap(0.3))
    with slow.timed("decode", PAGE, "flash") as point:
        events = []
        watched = replace(
            point, steady=lambda: events.append("steady"), read=lambda: events.append("read") or Machine()
        )
        samples = watched.sample()
    assert events == ["steady", "read", "read"]
    assert len(samples.during) >= 2
    assert set(samples.during) == {capped}


def test_a_model_is_built_once_for_an_attention(vendor):
    assert vendor.built("flash", "grouped_mm") is vendor.built("flash", "batched_mm")
    assert vendor.built("flash", "grouped_mm") is not vendor.built("eager", "grouped_mm")


def test_a_decodes_time_is_its_steps_at_the_mean_of_first_and_last():
    class Step:
        name, kernels = "host", None

        def __init__(self, *ns: int) -> None:
            self._ns = ns

        def batch(self, times: int) -> list[int]:
            return [self._ns[i % len(self._ns)] for i in range(times)]

    def prepared(halves: tuple[int, int]) -> timing.PreparedPoint:
        region = regions.Region((print, print), print, halves=halves, cache_growth=0, steps=True)
        return timing.PreparedPoint(region, [Step(10, 12), Step(20, 22)], Machine, TimeCap(0), None, None, None)

    point = prepared((100, 100))
    assert point.sample().ns == (1500, 1700, 1500, 1700, 1500)
    assert point.token_ns() == [10, 20]
    # A window of 40 that is full after 40 of 100 steps: 40 at the mean, 60 like the last.
    assert prepared((40, 160)).sample().ns == (1800, 2000, 1800, 2000, 1800)


def test_a_slowdown_makes_the_measured_region_slower_by_its_percentage(monkeypatch):
    """Beside the wall time, which is not slowed."""
    delays = []

    def delayed(call, device, ns):
        delays.append(ns)
        return clocks.delayed(call, device, ns)

    monkeypatch.setattr(timing, "delayed", delayed)
    slowed = timing.Vendor(TINY, CPU, slowdown_percent=2900, rule=TimeCap(0.01))
    with slowed.timed("decode", PAGE, "flash") as point:
        assert len(delays) == len(point.clocks)
        slower = sum(delays) * PAGE.new_tokens // len(delays)  # 29 times what the stage took a moment before
        assert point.wall.min < slower <= point.sample().min


def test_what_is_loaded_takes_the_place_of_random_weights():
    asked, model = [], build.build(TINY, "flash", "grouped_mm", "cpu")

    def load(attention: str, experts: str):
        asked.append((attention, experts))
        return model

    loaded = timing.Vendor(TINY, CPU, load=load)
    assert loaded.built("flash", "batched_mm") is model
    assert asked == [("flash", "batched_mm")]
