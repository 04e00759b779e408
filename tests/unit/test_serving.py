"""Serving points, metrics and runs: which way is better, and what no clock could give."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import H100, USUAL, key, run

from pytest_ocrsweep.baselines.serving import KEY, Pages, ServingKey, ServingRun, page_size
from pytest_ocrsweep.baselines.serving_metrics import SERVING_METRICS, Better, Figure

TIMES = [name for name, metric in SERVING_METRICS.items() if metric.unit == "ns"]


def test_every_metric_has_its_unit_heading_and_expected_noise():
    assert {name: (metric.unit, metric.heading, metric.noise) for name, metric in SERVING_METRICS.items()} == {
        "ttft_ns": ("ns", "TTFT ms", 0.01),
        "ttft_p99_ns": ("ns", "TTFT p99 ms", 0.03),
        "tpot_ns": ("ns", "TPOT ms", 0.01),
        "tpot_p99_ns": ("ns", "TPOT p99 ms", 0.03),
        "itl_ns": ("ns", "ITL ms", 0.01),
        "pages_per_s": ("pages/s", "pages/s", 0.01),
        "requests_per_s": ("requests/s", "requests/s", 0.01),
        "tokens_per_s": ("tokens/s", "tokens/s", 0.01),
        "render_ns": ("ns", "render ms", 0.01),
        "energy_mj_per_page": ("mJ", "J/page", 0.02),
    }
    assert [better.value for better in Better] == ["lower", "higher"]


def test_a_figures_error_is_that_of_a_median():
    assert Figure(100, 95, 105, 25).error == pytest.approx(1.2533 * (10 / 1.349) / 5 / 100)
    assert (Figure(100, None, 105, 25).error, Figure(100, 95, None, 25).error) == (None, None)


def test_the_narrowest_and_the_longest_figures_are_taken():
    ServingRun({"ttft_ns": Figure(1, 1, 1, 1), "tokens_per_s": Figure(1e-9)}, 1)
    ServingRun({"ttft_ns": Figure(24 * 3600 * 10**9), "tokens_per_s": Figure(10**9)}, 1)


@pytest.mark.parametrize("name", SERVING_METRICS)
def test_less_time_and_energy_and_more_work_a_second_are_better(name):
    metric = SERVING_METRICS[name]
    assert name.endswith("_ns") == (metric.unit == "ns")
    assert (metric.unit in ("ns", "mJ")) == (metric.better is Better.LOWER)
    assert name.endswith("_per_s") == metric.unit.endswith("/s") == (metric.better is Better.HIGHER)
    assert metric.loss(0.05) == (0.05 if metric.better is Better.LOWER else -0.05)


def test_a_tail_is_bounded_by_its_own_median():
    assert {name: metric.bounds for name, metric in SERVING_METRICS.items() if metric.bounds} == {
        "ttft_p99_ns": "ttft_ns",
        "tpot_p99_ns": "tpot_ns",
    }


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ttft_ns", 603_000_000, "603.0"),
        ("ttft_ns", 1_862_576_671, "1,863"),
        ("tpot_ns", 1_610_000, "1.610"),
        ("itl_ns", 400, "0.0004"),
        ("pages_per_s", 8.9, "8.900"),
        ("tokens_per_s", 12345.6, "12,346"),
        ("render_ns", None, "-"),
    ],
)
def test_a_value_is_shown_in_its_headings_unit_with_four_digits(name, value, text):
    assert SERVING_METRICS[name].show(value) == text


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "5", None, 2 * 10**9 * 86_400])
def test_a_time_that_no_clock_gives_is_refused(value):
    with pytest.raises(ValueError, match="ttft_ns must be a number of at least 1 and at most"):
        ServingRun({"ttft_ns": Figure(value)}, 8)


@pytest.mark.parametrize("value", [0, -0.5, math.nan, math.inf, False, [1.0], 10**12])
def test_a_rate_that_no_server_has_is_refused(value):
    with pytest.raises(ValueError, match="pages_per_s must be a number above 0 and at most 1e"):
        ServingRun({"pages_per_s": Figure(value)}, 8)


@pytest.mark.parametrize(
    ("metrics", "requests", "says"),
    [
        ({}, 8, "at least one of ttft_ns"),
        ({"ttft": Figure(5)}, 8, "'ttft' is no metric"),
        ({"ttft_ns": Figure(5)}, 0, "requests must be a whole number of at least 1, got 0"),
        ({"ttft_ns": Figure(5)}, 1.5, "requests must be"),
        ({"ttft_ns": Figure(50), "ttft_p99_ns": Figure(49)}, 8, "ttft_p99_ns must be at least ttft_ns, got 49 and 50"),
        ({"ttft_ns": Figure(50, 51, 60, 8)}, 8, "ttft_ns must lie between its quartiles, got 50 of 51 to 60"),
        ({"ttft_ns": Figure(50, 40, 60, 0)}, 8, "the samples of ttft_ns must be"),
        ({"ttft_ns": Figure(50, 40, None, 3)}, 8, "a quartile of ttft_ns must be a number"),
    ],
)
def test_a_run_that_contradicts_itself_is_refused(metrics, requests, says):
    with pytest.raises(ValueError, match=says):
        ServingRun(metrics, requests)


def test_what_was_not_measured_is_none_and_never_0():
    assert run().value("render_ns") is None
    assert run().value("ttft_ns") == USUAL["ttft_ns"]


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=40))
def test_a_figures_quartiles_lie_around_its_median_and_count_its_samples(samples):
    figure = Figure.of(samples)
    assert min(samples) <= figure.q1 <= figure.value <= figure.q3 <= max(samples)
    assert figure.samples == len(samples)
    assert figure.error >= 0


def test_no_samples_are_no_figure_and_a_plain_value_has_no_error():
    assert Figure.of([]) is None
    assert Figure(5.0).error is None


def test_quartiles_are_those_of_numpy():
    assert Figure.of([4.0, 1.0, 2.0, 9.0]) == Figure(3.0, 1.75, 5.25, 4)


@pytest.mark.parametrize(
    ("text", "pages"),
    [("grid 3X2", "grid 3x2"), ("page 1240×1754", "page 1240x1754"), ("mix letters of May", "mix letters of May")],
)
def test_pages_are_named_as_they_were_given(text, pages):
    assert str(Pages.parse(text)) == pages


@pytest.mark.parametrize(
    "text", ["3x2", "grid", "grid 0x2", "page 0x5", "page 3", "mix ", "mix a\nb", 5, None, ["grid"]]
)
def test_what_names_no_pages_is_refused(text):
    with pytest.raises(ValueError, match=r"pages|grid|page|mix"):
        Pages.parse(text)


def test_a_page_is_width_by_height():
    assert page_size("1240x1754") == (1240, 1754)


def test_a_point_is_known_by_all_that_changes_its_work_and_not_by_the_engines_version():
    assert set(KEY) == {each.name for each in fields(ServingKey)}
    assert "engine_version" not in KEY


@pytest.mark.parametrize(
    "changed",
    [
        {"concurrency": 0},
        {"concurrency": 1.0},
        {"concurrency": True},
        {"prompt_tokens": -1},
        {"prompt_tokens": None},
        {"new_tokens": 0},
        {"resolution": "huge"},
        {"resolution": ["gundam"]},
        {"request_rate": 0},
        {"request_rate": math.nan},
        {"encoder_graphs": 1},
    ],
)
def test_a_key_that_no_run_has_is_refused(changed):
    with pytest.raises(ValueError, match=f"{next(iter(changed))}|resolution"):
        replace(key(), **changed)


def test_a_point_reads_as_what_was_served():
    assert str(key()) == "grid 3x2, concurrency 8, 10 + 100 tokens"
    rated = key("page 1240x1754", None, request_rate=2.5, encoder_graphs=True, resolution="base")
    assert str(rated) == (
        "page 1240x1754, base, no limit of concurrency, 2.5 requests/s, 10 + 100 tokens, encoder graphs"
    )


def test_provenance_is_no_part_of_what_is_equal_in_metrics():
    assert run().metrics == run(provenance=replace(H100, engine_version="0.32.0")).metrics
