"""A point's change and the components that account for it, on profiles that two GPUs gave."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from pytest_ocrsweep.baselines.blame import Clocks, _alike, blame
from pytest_ocrsweep.baselines.point_profile import PointProfile, compact, component_of, components
from pytest_ocrsweep.hardware import profile

PROFILES = Path(__file__).parents[2] / "dev/profiles"
GPUS = ("nvidia-h200", "nvidia-h100-80gb-hbm3")
MARGIN = 0.012  # the gate's, for vision and prefill on an H200
DECODE_MARGIN = 0.025  # its widest
TRIALS = 20
PARTS = 4  # of the cases: `make test` tries the first part, `make slow` the others
LINE_NOISE, GAP_NOISE, PACE = (0.002, 0.005), 0.02, 0.0025  # sigmas of each line, of the gaps, of all alike
SLOWER = 1.1
STAGE_SLOWER = 0.005


@cache
def recorded(gpu: str) -> tuple[PointProfile, ...]:
    points = profile.read(PROFILES / f"{gpu}-lines.jsonl.gz").points
    return tuple(PointProfile.measured(point) for point in points)


def margin_of(point: PointProfile) -> float:
    return MARGIN if any(path.startswith("sam/") for path in point.lines) else DECODE_MARGIN


def noisy(point: PointProfile, random_: random.Random, slower: Mapping[str, float] | None = None) -> PointProfile:
    """The point in another process: every line with its own noise, all at a pace of the machine's."""
    pace = 1 + random_.gauss(0, PACE)
    sigma = random_.uniform(*LINE_NOISE)
    times = {
        path: round(ns * pace * (slower or {}).get(component_of(path), 1.0) * (1 + random_.gauss(0, sigma)))
        for path, ns in point.times.items()
    }
    gap_ns = round(point.gap_ns * pace * (1 + random_.gauss(0, GAP_NOISE)))
    return PointProfile.of(point.kernels, gap_ns, times)


def large(point: PointProfile) -> list[str]:
    """Components by which the stage takes STAGE_SLOWER more when they take a tenth more."""
    times = components(point.times)
    return [name for name, ns in times.items() if ns * (SLOWER - 1) >= STAGE_SLOWER * point.device_ns]


def trials() -> Iterator[tuple[str, PointProfile, str]]:
    for gpu in GPUS:
        for point in recorded(gpu)[::4]:
            for name in large(point):
                yield gpu, point, name


# Launches and clocks


LINES = {"sam/attn/qkv": 400_000, "sam/mlp/lin1": 300_000, "clip/mlp/fc1": 200_000, "head": 50_000}
POINT = PointProfile.of(900, 50_000, LINES)


def scaled(ratio: float, gap_ns: int = 50_000, **lines: int) -> PointProfile:
    return PointProfile.of(900, gap_ns, {path: round(ns * ratio) for path, ns in LINES.items()} | lines)


def test_gaps_that_grew_are_launches():
    (cause,) = blame(POINT, scaled(1.0, 80_000), 0.01)
    assert str(cause) == (
        "launches +60.0 % (+30,000 ns), +3.0 % of the point: the time between kernels, 900 kernels as before"
    )


def test_all_lines_that_grew_with_a_clock_that_fell_are_the_clock():
    (cause,) = blame(POINT, scaled(1.1, 55_000), 0.01, Clocks(1980, 1800))
    assert str(cause) == (
        "clock +10.0 % (+95,000 ns), +9.5 % of the point: SM clock 1980 -> 1800 MHz, and all lines grew alike"
    )


def test_a_clock_that_fell_is_no_cause_of_one_components_growth():
    slower = PointProfile.of(900, 50_000, {**LINES, "clip/mlp/fc1": 240_000})
    assert [cause.name for cause in blame(POINT, slower, 0.01, Clocks(1980, 1800))] == ["clip"]


def test_a_component_that_has_most_of_the_time_is_named_too():
    slower = PointProfile.of(900, 50_000, {**LINES, "sam/attn/qkv": 440_000, "sam/mlp/lin1": 330_000})
    (cause,) = blame(POINT, slower, 0.01)
    assert str(cause) == (
        "sam +10.0 % (+70,000 ns), +7.0 % of the point: sam/attn/qkv +10.0 % (+40,000 ns), "
        "sam/mlp/lin1 +10.0 % (+30,000 ns)"
    )


@pytest.mark.parametrize(
    ("clocks", "said"), [(Clocks(), "the SM clock is not known"), (Clocks(1980, 1980), "SM clock 1980 -> 1980 MHz")]
)
def test_all_lines_that_grew_alike_at_the_same_clock_name_no_component(clocks, said):
    (cause,) = blame(POINT, scaled(1.1), 0.01, clocks)
    assert str(cause) == f"all components +10.0 % (+95,000 ns), +9.5 % of the point: {said}"


def test_several_components_that_grew_alike_are_named_and_not_the_machine():
    lines = {"sam/a": 600_000, "clip/a": 150_000, "projector/a": 50_000, "head": 100_000}
    slower = {path: ns if path == "sam/a" else round(ns * 1.1) for path, ns in lines.items()}
    causes = blame(PointProfile.of(900, 50_000, lines), PointProfile.of(900, 50_000, slower), 0.01)
    assert [cause.name for cause in causes] == ["clip", "head"]  # the projector accounts for less than a fifth


def test_a_line_that_is_new_is_named_as_new():
    slower = PointProfile.of(901, 50_000, {**LINES, "clip/copy": 60_000})
    (cause,) = blame(POINT, slower, 0.01)
    assert str(cause) == "clip +30.0 % (+60,000 ns), +6.0 % of the point: clip/copy new (+60,000 ns)"


def test_a_point_that_got_faster_has_no_causes():
    assert blame(POINT, scaled(0.5, 20_000), 0.01) == []


def profile_of(gap_ns: int, lines: Mapping[str, float]) -> PointProfile:
    return PointProfile.of(900, gap_ns, {path: round(ns) for path, ns in lines.items()})


def test_no_more_than_three_lines_of_a_component_are_named():
    lines = {"sam/a": 400_000.0, **{f"clip/{name}": 100_000.0 for name in "abcde"}}
    (cause,) = blame(
        profile_of(0, lines),
        profile_of(0, {path: ns * (1.2 if "clip" in path else 1) for path, ns in lines.items()}),
        0.01,
    )
    assert [line.path for line in cause.lines] == ["clip/a", "clip/b", "clip/c"]


@pytest.mark.parametrize(("now", "named"), [(103_000, []), (104_000, ["clip"])])
def test_the_less_of_the_time_a_component_has_the_noisier_it_is(now, named):
    lines = {"sam/a": 850_000, "clip/a": 100_000}
    causes = blame(profile_of(50_000, lines), profile_of(50_000, {**lines, "clip/a": now}), 0.01)
    assert [cause.name for cause in causes] == named


def test_what_a_line_lost_is_what_it_took_beyond_the_pace_of_all():
    lines = {"sam/a": 800_000, "clip/a": 100_000, "clip/b": 100_000}
    slower = {"sam/a": 840_000, "clip/a": 105_000, "clip/b": 130_000}
    clip = next(cause for cause in blame(profile_of(0, lines), profile_of(0, slower), 0.01) if cause.name == "clip")
    assert [str(line) for line in clip.lines] == ["clip/b +23.8 % (+25,000 ns)"]


@pytest.mark.parametrize(("before", "now", "grown"), [(5_000, 50_000, 45_000), (-3_000, 30_000, 33_000)])
def test_gaps_that_were_next_to_nothing_may_grow(before, now, grown):
    lines = {"sam/a": 500_000, "clip/a": 450_000}
    (cause,) = blame(profile_of(before, lines), profile_of(now, lines), 0.01)
    assert (cause.name, cause.change_ns) == ("launches", grown)


def test_a_gap_below_nothing_has_no_pace():
    lines = {"sam/a": 500_000, "clip/a": 450_000}
    slower = profile_of(30_000, {path: ns * 1.05 for path, ns in lines.items()})
    launches = next(cause for cause in blame(profile_of(-3_000, lines), slower, 0.01) if cause.name == "launches")
    assert launches.change_ns == 33_000


def test_a_clock_that_fell_is_no_cause_while_a_quarter_of_the_lines_stayed():
    lines = {"sam/a": 500_000, "clip/a": 200_000, "head": 300_000}
    slower = {"sam/a": 502_500, "clip/a": 201_000, "head": 300_000}
    assert blame(profile_of(0, lines), profile_of(0, slower), 0.01, Clocks(1980, 1900)) == []


def test_lines_are_alike_if_just_three_quarters_grew_by_just_as_much():
    assert _alike({"a": 75, "b": 25}, {"a": 150, "b": 25}, 2.0)
    assert not _alike({"a": 74, "b": 26}, {"a": 150, "b": 26}, 2.0)
    assert not _alike({"a": 2, "gone": 1}, {"a": 2}, 1.0)


def test_a_change_hides_no_other():
    slower = PointProfile.of(900, 50_000, {**LINES, "sam/attn/qkv": 380_000, "clip/mlp/fc1": 220_000})
    assert [cause.name for cause in blame(POINT, slower, 0.01)] == ["clip"]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"gap_ns": -950_001}, "profile.lines and gap_ns sum to no time, but to -1 ns"),
        ({"gap_ns": 10**101}, "profile.gap_ns must be a whole number, got 1000"),
        ({"kernels": -1}, "profile.kernels must be a whole number of at least 0, got -1"),
        ({"gap_ns": 0, "lines": {"sam/a": 0}}, "sum to no time, but to 0 ns"),
        ({"lines": {"sam/a": 1.5}}, "profile.lines.'sam/a' must be a whole number of at least 0, got 1.5"),
    ],
)
def test_a_recorded_profile_that_is_none_is_refused(changed, error):
    assert compact(POINT.compact()) == POINT
    with pytest.raises(ValueError, match=error):
        compact({**POINT.compact(), **changed})


# Noise: last, they take seconds

PART = pytest.mark.parametrize("part", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in range(1, PARTS))])


@PART
def test_a_component_that_takes_a_tenth_more_is_named_and_no_other(part):
    """At points of both GPUs, for every component by which the stage takes 0.5 % more: 20 trials each."""
    random_ = random.Random(17)
    cases = list(trials())
    assert len(cases) > 100
    missed, false = [], []
    for gpu, point, slowed in cases[part::PARTS]:
        named = []
        for _ in range(TRIALS):
            then, now = noisy(point, random_), noisy(point, random_, {slowed: SLOWER})
            named.append([cause.name for cause in blame(then, now, margin_of(point))])
        if (hits := sum(slowed in names for names in named)) < 19:
            missed.append((gpu, slowed, point.device_ns, hits))
        false += [(gpu, slowed, point.device_ns, name) for names in named for name in names if name != slowed]
    assert not missed
    assert not false


@PART
def test_nothing_is_named_of_an_unchanged_point(part):
    random_ = random.Random(5)
    for gpu in GPUS:
        for point in recorded(gpu)[part::PARTS]:
            for _ in range(TRIALS):
                assert blame(noisy(point, random_), noisy(point, random_), margin_of(point)) == []
