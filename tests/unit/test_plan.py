"""Plans: the laws that their numbers keep, what a probe of a real engine measured, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.errors import PlanError
from pytest_ocrsweep.hardware.engine_times import How, most_pages, render_ns
from pytest_ocrsweep.hardware.plan import BOUNDS, PARTS, RENDER_SPREAD, Share, plan
from pytest_ocrsweep.sweep.config import devices

VLLM, OURS = load_model(engine="vllm"), load_model()
H100 = devices()["h100"]
PAGE = Share(Workload("3x2"))
shares = st.builds(
    Share,
    st.builds(Workload, st.sampled_from(CropGrid.upto(6)), new_tokens=st.integers(2, 500)),
    st.floats(0.1, 10),
)


def graphs() -> Model:
    """vLLM with the vision tower as graphs: no launch waits for the host."""
    return load_model(engine="vllm", overrides=["engine.start.encoder_graphs=true"])


FEW = settings(max_examples=settings().max_examples // 3, deadline=None)  # each plan prices tens of ledgers


@FEW
@given(share=shares, concurrency=st.integers(1, 80))
def test_the_parts_of_a_page_are_its_time(share: Share, concurrency: int) -> None:
    found = plan(VLLM, [share], H100, concurrency)
    assert sum(found.parts_ms.values()) == pytest.approx(1000 / found.pages_per_s.value)
    assert found.bound in (*found.parts_ms, "KV memory")


@FEW
@given(share=shares)
def test_more_pages_in_flight_are_never_served_slower_nor_sooner(share: Share) -> None:
    one, eight, many = (plan(VLLM, [share], H100, concurrency) for concurrency in (1, 8, 64))
    assert one.pages_per_s.value <= eight.pages_per_s.value * 1.001
    assert eight.pages_per_s.value <= many.pages_per_s.value * 1.001
    assert one.ttft_ms.value <= eight.ttft_ms.value <= many.ttft_ms.value


def test_a_mix_lies_between_its_pages_and_equals_a_page_alone() -> None:
    small, large = Share(Workload("1x1")), PAGE
    rates = [plan(VLLM, mix, H100, 8).pages_per_s.value for mix in ([large], [large, small], [small])]
    assert rates == sorted(rates)
    assert plan(VLLM, [replace(PAGE, weight=3.0)], H100, 8) == plan(VLLM, [PAGE], H100, 8)
    assert plan(VLLM, [PAGE, PAGE], H100, 8).pages_per_s.value == pytest.approx(rates[0])


def test_dollars_and_cores_follow_from_pages_a_second() -> None:
    found = plan(VLLM, [PAGE], H100, 8, price_per_hour=3.6)
    assert found.dollars_per_million_pages.value == pytest.approx(1000 / found.pages_per_s.value)
    assert render_ns(VLLM, PAGE.work) == 29e6 + 6 * 19.7e6
    assert render_ns(VLLM, replace(PAGE.work, resolution="gundam-m")) == pytest.approx(
        29e6 * (1280 / 1024) ** 2 + 6 * 19.7e6 * (1024 / 640) ** 2
    )
    assert found.host_cores.value == pytest.approx(found.pages_per_s.value * 0.1472)
    assert plan(OURS, [PAGE], H100, 8).host_cores is None


def test_a_plans_interval_is_at_least_its_hosts() -> None:
    host = replace(VLLM.engine.host, spread=3.0)
    found = plan(replace(VLLM, engine=replace(VLLM.engine, host=host)), [PAGE], H100, 8, price_per_hour=2.0)
    for number in (found.pages_per_s, found.ttft_ms, found.tpot_ms, found.dollars_per_million_pages):
        assert (number.value / number.low, number.high / number.value) == pytest.approx((3.0, 3.0))


def test_rendering_is_not_known_unless_views_and_crops_are() -> None:
    for name in ("render_view_ns", "render_crop_ns"):
        host = replace(VLLM.engine.host, **{name: None})
        assert render_ns(replace(VLLM, engine=replace(VLLM.engine, host=host)), PAGE.work) is None


def test_every_part_and_every_bound_has_words() -> None:
    found = plan(VLLM, [PAGE], H100, 8)
    assert list(found.parts_ms) == list(PARTS) == ["vision", "launches", "prefill", "decode", "engine"]
    assert set(BOUNDS) == {*PARTS, "KV memory", "host"}
    assert [str(how) for how in How] == ["estimated", "floor"]


def test_too_few_cores_bound_the_pages() -> None:
    found = plan(VLLM, [PAGE], H100, 8, cores=0.5)
    assert found.bound == "host"
    assert found.pages_per_s.value == pytest.approx(0.5 / 0.1472)


def test_a_page_is_never_served_faster_than_the_cores_render_it() -> None:
    found = plan(VLLM, [PAGE], H100, 8, cores=1.0)
    assert found.pages_per_s.high <= 1 / 0.1472 * RENDER_SPREAD * 1.0001
    assert found.host_cores.high <= 1.0001


def test_pages_that_wait_for_a_core_are_not_in_flight() -> None:
    """Little's law: pages that are there, over pages a second, is how long one is there."""
    found = plan(VLLM, [PAGE], H100, 64, cores=1.0)
    stays_ms = found.ttft_ms.value + (found.new_tokens - 1) * found.tpot_ms.value
    assert stays_ms == pytest.approx(64 / found.pages_per_s.value * 1e3, rel=0.01)
    assert found.tpot_ms.value < plan(VLLM, [PAGE], H100, 64).tpot_ms.value / 5


def test_cores_that_bind_have_the_interval_of_rendering() -> None:
    found = plan(VLLM, [PAGE], H100, 8, cores=0.1).pages_per_s
    assert (found.low, found.high) == pytest.approx((found.value / RENDER_SPREAD, found.value * RENDER_SPREAD))


def test_a_single_token_has_no_time_after_it() -> None:
    assert plan(VLLM, [Share(Workload("3x2", new_tokens=1))], H100, 8).tpot_ms is None


def test_what_no_memory_holds_waits() -> None:
    small = replace(H100, memory_bytes=12 * 10**9)
    most = most_pages(VLLM, PAGE.work, small)
    assert 0 < most < 64
    full, beyond = (plan(VLLM, [PAGE], small, concurrency) for concurrency in (most, 10 * most))
    assert beyond.pages_per_s == full.pages_per_s
    assert beyond.tpot_ms == full.tpot_ms
    assert beyond.ttft_ms.value > full.ttft_ms.value


def test_memory_bounds_no_page_where_the_engine_takes_no_more() -> None:
    few = replace(VLLM, engine=replace(VLLM.engine, host=replace(VLLM.engine.host, most_pages=5)))
    small = replace(H100, memory_bytes=9 * 10**9)
    by_engine, by_memory = plan(few, [PAGE], H100, 16), plan(VLLM, [PAGE], small, 10**4)
    assert (by_engine.max_concurrency, by_engine.by_memory, by_engine.bound != "KV memory") == (5, False, True)
    assert by_memory.by_memory


def test_memory_bounds_a_plan_whose_steps_take_the_most_if_it_holds_fewer_pages_than_wait() -> None:
    long, small = Share(Workload("1x1", new_tokens=2000)), replace(H100, memory_bytes=40 * 10**9)
    most = most_pages(graphs(), long.work, small)
    assert [plan(graphs(), [long], small, n).bound for n in (most, most + 1)] == ["decode", "KV memory"]
    assert plan(VLLM, [PAGE], small, 10 * most_pages(VLLM, PAGE.work, small)).bound == "vision"


def test_a_device_that_holds_no_page_is_refused() -> None:
    hint = "choose a device with more memory, a smaller page or fewer new tokens"
    with pytest.raises(PlanError, match=f"has not the memory for one page on vllm; {hint}"):
        plan(VLLM, [PAGE], replace(H100, memory_bytes=6 * 10**9), 1)


def test_a_device_without_a_calibration_has_floors() -> None:
    found = plan(VLLM, [PAGE], devices()["mi300x"], 8)
    assert {number.how for number in (found.pages_per_s, found.ttft_ms, found.tpot_ms)} == {How.FLOOR}
    assert (found.pages_per_s.low, found.ttft_ms.high) == (None, None)
    assert (found.parts_ms["launches"], found.parts_ms["engine"]) == (0, 0)


def test_the_pages_that_fit_do_not_depend_on_the_batch_of_the_workload() -> None:
    assert most_pages(VLLM, replace(PAGE.work, batch=4), H100) == most_pages(VLLM, PAGE.work, H100)


def test_the_cache_of_a_page_counts_in_whole_blocks() -> None:
    one = VLLM.ledger("decode", PAGE.work).kv_cache_bytes
    host = replace(VLLM.engine.host, most_pages=None)
    free = replace(VLLM, engine=replace(VLLM.engine, host=host))
    pages = most_pages(free, PAGE.work, H100)
    more = replace(H100, memory_bytes=H100.memory_bytes + int(100 * one / 0.92) + 1)
    assert most_pages(free, PAGE.work, more) - pages in (100, 101)


def test_the_interval_of_a_plan_whose_cores_nearly_bind_holds_what_a_little_less_rendering_gives() -> None:
    found = plan(VLLM, [PAGE], H100, 64, cores=2)
    host = replace(VLLM.engine.host, render_view_ns=24.8e6, render_crop_ns=16.8e6)
    quicker = plan(replace(VLLM, engine=replace(VLLM.engine, host=host)), [PAGE], H100, 64, cores=2)
    assert found.bound == "host" != quicker.bound
    for name in ("ttft_ms", "tpot_ms", "pages_per_s"):
        interval, value = getattr(found, name), getattr(quicker, name).value
        assert interval.low <= value <= interval.high, name
