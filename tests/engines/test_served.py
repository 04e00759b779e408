"""What a load comes to: medians, percentiles and rates of its requests; what was not measured is no number."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.engines.page_images import png
from pytest_ocrsweep.engines.served import GLOBAL_VIEW, Load, Request, ServedLoad, checked, summary
from pytest_ocrsweep.errors import EngineError
from pytest_ocrsweep.model.geometry import CropGrid, Workload

LOAD = Load(640, 640, pages=3, new_tokens=11)
S = 10**9


def request(ttft_ns: int = 100, tpot_ns: int = 10, new_tokens: int = 11, prompt_tokens: int = 283) -> Request:
    return Request(7, 7 + ttft_ns, 7 + ttft_ns + tpot_ns * (new_tokens - 1), prompt_tokens, new_tokens)


def served(*requests: Request, wall_ns: int = 2 * S, rendered_ns: tuple[int, ...] = ()) -> ServedLoad:
    return ServedLoad(LOAD, requests, wall_ns, rendered_ns)


def test_a_request_has_its_times_from_three_moments() -> None:
    assert request(100, 10).ttft_ns == 100
    assert request(100, 10).tpot_ns == 10


@pytest.mark.parametrize("new_tokens", [1, 11])
def test_tokens_that_come_at_once_have_no_time_a_token(new_tokens: int) -> None:
    assert Request(0, 5, 5, 283, new_tokens).tpot_ns is None


def test_a_summary_has_medians_over_requests() -> None:
    total = summary(served(request(100, 10), request(300, 30), request(200, 80)))
    assert (total.ttft_ns, total.tpot_ns) == (200, 30)


def test_percentiles_lie_between_requests_as_vllm_bench_has_them() -> None:
    total = summary(served(*(request(ttft_ns=number) for number in range(101))))
    assert total.ttft_p99_ns == 99
    total = summary(served(request(100, 10), request(200, 20)))
    assert (total.ttft_p99_ns, total.tpot_p99_ns) == (199, 20)


def test_rates_are_over_the_whole_time() -> None:
    total = summary(served(request(), request(), request(), wall_ns=2 * S))
    assert (total.pages_per_s, total.tokens_per_s) == (1.5, 16.5)


def test_requests_that_had_no_token_time_do_not_count_in_its_median() -> None:
    assert summary(served(Request(0, 5, 5, 283, 11), request(100, 30))).tpot_ns == 30


def test_what_was_not_measured_is_none_and_never_zero() -> None:
    assert set(vars_of(summary(served(wall_ns=0)))) == {None}
    total = summary(served(Request(0, 5, 5, 283, 1)))
    assert (total.tpot_ns, total.tpot_p99_ns, total.render_ns) == (None, None, None)


def vars_of(total: object) -> list[object]:
    return [getattr(total, name) for name in type(total).__slots__]


def test_rendering_has_a_median_of_its_own() -> None:
    assert summary(served(request(), rendered_ns=(5, 9, 6))).render_ns == 6


def test_a_run_without_image_tokens_is_refused() -> None:
    with pytest.raises(EngineError, match="had 12 prompt tokens, but its image alone has 273: the engine did not read"):
        checked("http://h", served(request(), request(prompt_tokens=12)))


def test_a_run_that_ended_early_is_refused_with_its_requests() -> None:
    requests = request(), request(new_tokens=10)
    with pytest.raises(EngineError, match="ended after 10 of 11 tokens") as caught:
        checked("http://h", served(*requests))
    assert caught.value.requests == requests


def test_a_whole_run_passes() -> None:
    run = served(request(), request(prompt_tokens=GLOBAL_VIEW))
    assert checked("http://h", run) is run


def test_the_least_image_is_a_page_without_crops() -> None:
    assert Workload(CropGrid(1, 1)).image_tokens == GLOBAL_VIEW


@pytest.mark.parametrize("name", ["width", "height", "pages", "concurrency", "new_tokens"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None])
def test_a_load_has_whole_numbers_of_at_least_one(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
        Load(**{"width": 64, "height": 64, "pages": 1, name: value})  # type: ignore[arg-type]


def test_a_load_has_as_many_pages_as_are_in_flight() -> None:
    with pytest.raises(ValueError, match="3 pages are never 4 at once: give at least as many"):
        Load(64, 48, pages=3, concurrency=4)


def test_the_same_page_of_a_seed_is_the_same_and_all_others_are_not() -> None:
    assert png(64, 48, 0, 0) == png(64, 48, 0, 0)
    assert len({png(64, 48, seed, page) for seed in range(3) for page in range(3)}) == 9


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (33, 7)])
def test_a_page_may_be_small(size: tuple[int, int]) -> None:
    assert png(*size, 0, 0).startswith(b"\x89PNG")
