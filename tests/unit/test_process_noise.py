"""The noise between processes: its functions have their known values, and a point leans on the others as it should."""

from __future__ import annotations

import math
import statistics

import pytest

from pytest_ocrsweep.baselines.evidence import EXPECTED_NOISE, EXPECTED_WEIGHT
from pytest_ocrsweep.baselines.process_noise import (
    DOUBT,
    FINEST,
    LEAST_WEIGHT,
    Moderated,
    Noise,
    Squares,
    inverse_trigamma,
    moderated,
    pentagamma,
    trigamma,
)
from pytest_ocrsweep.baselines.students_t import student

SQUARED = sum(1 / k**2 for k in range(1, 7))
FOURTH = sum(6 / k**4 for k in range(1, 7))


@pytest.mark.parametrize(
    ("x", "value"),
    [(0.5, math.pi**2 / 2), (1, math.pi**2 / 6), (7, math.pi**2 / 6 - SQUARED), (1.5, math.pi**2 / 2 - 4)],
)
def test_trigamma_has_the_values_of_the_tables(x: float, value: float) -> None:
    assert trigamma(x) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("x", "value"), [(0.5, math.pi**4), (1, math.pi**4 / 15), (7, math.pi**4 / 15 - FOURTH)])
def test_pentagamma_has_the_values_of_the_tables(x: float, value: float) -> None:
    assert pentagamma(x) == pytest.approx(value, rel=2e-5)


@pytest.mark.parametrize("x", [0.004, 0.5, 3.7, 200.0, 400_000.0])
def test_inverse_trigamma_is_the_inverse_of_trigamma(x: float) -> None:
    assert inverse_trigamma(trigamma(x)) == pytest.approx(x, rel=1e-6)


def test_a_variance_is_that_of_the_squares_and_never_below_the_finest() -> None:
    assert Squares(0.0008, 4).variance == pytest.approx(0.0002)
    assert Squares(0.0, 4).variance == FINEST**2


def test_a_noise_is_moderated_by_the_expected_one_by_its_weight() -> None:
    found = moderated(Squares(4e-6 * 4, 4), 1e-3, 12.0)
    assert (found.sigma, found.df) == (pytest.approx(math.sqrt((12 * 1e-6 + 4 * 4e-6) / 16)), 16)


def test_a_margin_is_that_of_two_means() -> None:
    assert Moderated(0.002, 9.0).margin(0.001, 2, 5) == pytest.approx(student(0.001, 9.0) * 0.002 * math.sqrt(0.7))


def pooled(squares: list[Squares]) -> float:
    """The variance of all of them and what was expected."""
    total = sum(each.df * each.variance for each in squares)
    return (EXPECTED_WEIGHT * EXPECTED_NOISE**2 + total) / (EXPECTED_WEIGHT + sum(each.df for each in squares))


def noise(squares: list[Squares]) -> Noise[int]:
    return Noise(dict(enumerate(squares)))


def test_points_that_do_not_differ_in_noise_share_all_that_is_known() -> None:
    alike = [Squares(4 * variance, 4) for variance in (4e-6, 4.1e-6, 3.9e-6)] + [Squares(1e-5, 2)]
    expected = moderated(alike[0], math.sqrt(pooled(alike)), EXPECTED_WEIGHT + 4 * 2)
    assert noise(alike).of(0) == Moderated(pytest.approx(expected.sigma), expected.df)


def test_a_single_point_leans_on_what_was_expected() -> None:
    alone = [Squares(4e-5, 4)]
    assert noise(alone).of(0) == moderated(alone[0], math.sqrt(pooled(alone)), EXPECTED_WEIGHT)
    two = [Squares(4e-5, 4), Squares(4e-5, 2)]  # of different degrees of freedom nobody compares the logarithms
    assert noise(two).of(0).df == EXPECTED_WEIGHT + 4


def test_the_more_points_differ_in_noise_the_less_they_share() -> None:
    some = [Squares(4 * 10.0**-power, 4) for power in (4.0, 4.2, 4.4, 4.6, 4.8, 5.0, 5.2, 5.4) for _ in range(20)]
    logs = [math.log(each.variance) for each in some]
    chance = trigamma(2)
    beyond = statistics.variance(logs) - chance - DOUBT * math.sqrt((pentagamma(2) + 2 * chance**2) / len(logs))
    weight = 2 * inverse_trigamma(beyond)
    assert LEAST_WEIGHT < weight < 12
    assert noise(some).of(0).df == pytest.approx(4 + weight)
    two = [Squares(4e-2, 4), Squares(4e-6, 4)]
    assert noise(two).of(0).df == 4 + LEAST_WEIGHT
    wild = [Squares(4 * 10.0**-power, 4) for power in (1, 3, 5, 7) for _ in range(20)]
    assert noise(wild).of(0).df == 4 + LEAST_WEIGHT


def test_points_that_differ_by_little_more_than_chance_share_no_more_than_there_is() -> None:
    chance = trigamma(2)
    error = DOUBT * math.sqrt((pentagamma(2) + 2 * chance**2) / 40)
    for more in (-0.01, 0.001):
        half = math.sqrt((chance + error + more) * 39 / 40)  # so that the variance of the logarithms is what it says
        some = [Squares(4 * math.exp(-9 + side * half), 4) for side in (-1, 1) for _ in range(20)]
        assert noise(some).of(0).df == pytest.approx(4 + EXPECTED_WEIGHT + 4 * 39)
