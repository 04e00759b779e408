"""The scheduler of an engine, step by step: what it admits, what waits for what, and that every page is answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ocrsweep import Workload, load_model
from pytest_ocrsweep.hardware.engine_loop import Loop
from pytest_ocrsweep.hardware.engine_times import EngineTimes, How
from pytest_ocrsweep.hardware.served_load import Served, pages_of
from pytest_ocrsweep.model.engine import Engine, padded
from pytest_ocrsweep.sweep.config import devices

VLLM = load_model(engine="vllm")
GRAPHS = load_model(engine="vllm", overrides=["engine.start.encoder_graphs=true"])
H200 = devices()["h200"]
WORKS = [Workload("3x2"), Workload("1x1", new_tokens=30)]
TIMES = {model: EngineTimes(model, WORKS, H200, How.ESTIMATED) for model in (VLLM, GRAPHS)}
HOST = VLLM.engine.host
NOTHING = replace(HOST, launch_ns=None, step_ns=None, eager_step_ns=None, admission_ns=None, upload_ns_per_mb=None)


def served(
    engine: Engine = VLLM.engine, concurrency: int = 1, pages: int = 8, weights: tuple[float, ...] = (1, 0)
) -> Served:
    times = TIMES[GRAPHS if engine.start.encoder_graphs else VLLM]
    return Loop(engine, times, weights, concurrency, pages).run()


def waves(found: Served) -> list[int]:
    """How many pages got their first token together, in order."""
    counts = Counter[float]()
    for answer in found.answers:
        counts[answer.first_ns] += answer.pages
    return [counts[when] for when in sorted(counts)]


def test_a_page_alone_takes_what_its_parts_take() -> None:
    vision, prefill, decode = TIMES[VLLM].vision([0])[0], TIMES[VLLM].prefill(0, 1), TIMES[VLLM].decode(0, 1)
    assert vision.launches * HOST.launch_ns > vision.time_ns
    assert HOST.eager_step_ns > prefill.time_ns
    found = served()
    upload_ns = HOST.upload_ns_per_mb * 4 * 3 * (1024**2 + WORKS[0].grid.crops * 640**2) / 1e6
    before = HOST.step_ns + HOST.admission_ns + upload_ns + vision.launches * HOST.launch_ns
    # The first token is read when the step after it is launched, which the host does meanwhile.
    assert found.ttft_ns == pytest.approx(before + HOST.eager_step_ns + HOST.step_ns)
    assert found.tpot_ns == pytest.approx(HOST.step_ns, rel=0.02)
    assert served(replace(VLLM.engine, host=NOTHING)).ttft_ns == pytest.approx(vision.time_ns + prefill.time_ns)
    assert served(replace(VLLM.engine, host=NOTHING)).tpot_ns == pytest.approx(decode.time_ns)


def test_a_prompt_that_a_graph_holds_is_launched_at_once() -> None:
    small, large = served(weights=(0, 1)), served(replace(VLLM.engine, captured_batches=(1, 2)), weights=(0, 1))
    assert large.ttft_ns - small.ttft_ns == pytest.approx(
        HOST.eager_step_ns - TIMES[VLLM].prefill(1, 1).time_ns, rel=0.3
    )


def test_pages_that_came_together_stay_together_as_vllm_served_them() -> None:
    """64 pages of 3x2 at once, on an H200: 17 whole pages and a part of another fill a step and the encoder's cache."""
    first_wave = waves(served(concurrency=64, pages=64))
    assert first_wave == [17, 1, 17, 1, 17, 1, 10]  # as recorded in dev/profiles/served.jsonl
    assert waves(served(concurrency=8, pages=40)) == [8] * 5


@settings(max_examples=25, deadline=None)
@given(concurrency=st.integers(1, 70), more=st.integers(0, 60), share=st.floats(0.05, 0.95), as_graphs=st.booleans())
def test_every_page_is_answered_and_no_more_than_allowed_are_in_flight(
    concurrency: int, more: int, share: float, as_graphs: bool
) -> None:
    engine = GRAPHS.engine if as_graphs else VLLM.engine
    found = served(engine, concurrency, concurrency + more, (share, 1 - share))
    assert found.pages == concurrency + more
    in_flight = sum(answer.pages * (answer.last_ns - answer.sent_ns) for answer in found.answers)
    assert in_flight <= concurrency * found.wall_ns * (1 + 1e-9)
    assert all(answer.sent_ns < answer.first_ns <= answer.last_ns <= found.wall_ns for answer in found.answers)
    assert sum(found.busy_ns.values()) <= found.wall_ns * (1 + 1e-9)


@settings(max_examples=10, deadline=None)
@given(concurrency=st.integers(1, 40), share=st.floats(0.1, 0.9))
def test_steps_that_are_skipped_end_as_if_they_were_run(concurrency: int, share: float) -> None:
    class EveryStep(Loop):
        def _skip(self) -> None:
            pass

    given_to = (VLLM.engine, TIMES[VLLM], (share, 1 - share), concurrency, 2 * concurrency)
    skipped, every = Loop(*given_to).run(), EveryStep(*given_to).run()
    assert skipped.wall_ns == pytest.approx(every.wall_ns)
    assert (skipped.ttft_ns, skipped.tpot_ns) == pytest.approx((every.ttft_ns, every.tpot_ns))
    assert skipped.busy_ns == pytest.approx(every.busy_ns)
    assert skipped.tensor_flops == pytest.approx(every.tensor_flops)


def test_a_slower_host_never_serves_sooner() -> None:
    for name in ("launch_ns", "step_ns", "eager_step_ns", "admission_ns", "upload_ns_per_mb"):
        slower = replace(VLLM.engine, host=replace(HOST, **{name: 2 * getattr(HOST, name)}))
        assert served(slower, 64, 128).wall_ns > served(concurrency=64, pages=128).wall_ns, name


def test_graphs_run_padded() -> None:
    times = TIMES[GRAPHS]
    assert [padded(count, (1, 2, 4)) for count in (0, 1, 3, 4, 5)] == [0, 1, 4, 4, 5]
    one, eight = times.vision([0]), times.vision([0] * 8)
    assert len(one) == len(eight) == 1  # 1 view and 8 crops; 8 views and 64 crops
    assert one[0].launches == 0
    alone = TIMES[VLLM].vision([0])[0]
    assert alone.time_ns < one[0].time_ns < alone.time_ns * 8 / 6
    assert eight[0].tensor_flops == pytest.approx(8 * one[0].tensor_flops)
    assert len(times.vision([0] * 14)) == 2  # 84 crops are more than the largest graph holds
    assert len(times.vision([1] * 31)) == 2  # and 31 views, too


def test_a_load_has_four_times_the_pages_in_flight() -> None:
    assert [pages_of(concurrency) for concurrency in (1, 2, 8, 64)] == [8, 8, 32, 256]
