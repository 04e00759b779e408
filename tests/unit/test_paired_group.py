"""What processes do to all points of a stage, what remains of each point, and who counts for nothing."""

from __future__ import annotations

import math
import statistics

import pytest

from pytest_ocrsweep import CropGrid
from pytest_ocrsweep.baselines.evidence import OUTLYING
from pytest_ocrsweep.baselines.paired_group import (
    EXPECTED_SHARED,
    LEAST_SHARED,
    SHARED_WEIGHT,
    Outlier,
    Pair,
    PairedGroup,
)
from pytest_ocrsweep.baselines.process_noise import Squares, moderated
from pytest_ocrsweep.baselines.takes import Key

GROUP = ("decode", "flash")


def key(at: int) -> Key:
    return ("decode", CropGrid(1, at + 1), "flash")


def logs(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


# A pair


def test_a_difference_is_that_of_the_means_of_head_and_base() -> None:
    assert Pair(logs(1, 2, 6), logs(4, 9)).difference == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("base", "head", "apart"),
    [((1, 3), (4, 5), 1), ((1, 3), (3, 5), 0), ((4, 5), (1, 3), -1), ((3, 5), (1, 3), 0), ((1, 9), (2, 3), 0)],
)
def test_sides_are_apart_if_every_process_of_one_is_beyond_all_of_the_other(base, head, apart) -> None:
    assert Pair(logs(*base), logs(*head)).apart == apart


def test_squares_are_from_each_sides_own_mean() -> None:
    assert Pair(logs(1, 2, 6), logs(4, 10)).squares == Squares(4 + 1 + 9 + 9 + 9, 3)


def test_the_middle_is_between_the_medians() -> None:
    assert Pair(logs(1, 2, 9), logs(5, 6, 90)).middle == 4


def test_what_remains_is_of_the_processes_that_both_have() -> None:
    assert Pair(logs(1, 2, 3), logs(4, 5)).less(Pair({0: 0.5, 2: 1.0}, {1: 2.0})) == Pair({0: 0.5, 2: 2.0}, {1: 3.0})


@pytest.mark.parametrize(
    ("side", "near"),
    [
        ((1.0, 1.5, 2.0), (0, 1, 2)),
        ((1.0, 1.5, 2.1), (0, 1)),
        ((1.0, 9.0), (0, 1)),  # two are all
        ((0.0, 1.0, 1.5, 9.0), (0, 1, 2, 3)),  # half of them are no majority
        ((1.0, 1.1, 1.2, 9.0), (0, 1, 2)),
    ],
)
def test_a_process_is_near_if_it_lies_with_the_majority(side, near) -> None:
    both = Pair(logs(*side), logs(*reversed(side))).near(0.5)
    assert tuple(both.base) == near
    assert sorted(both.head.values()) == sorted(both.base.values())


# A group

# What the processes of base and head do to all points, and how far a point is beside them.
BASE, HEAD = (0.001, -0.001, 0.0), (0.004, 0.006, 0.005)


def group(
    points: int = 5, own: float = 0.0, base: tuple[float, ...] = BASE, head: tuple[float, ...] = HEAD
) -> PairedGroup:
    """Point 0 is slower by `own`."""
    return PairedGroup(
        GROUP,
        {
            key(at): Pair(logs(*(10 + at + x for x in base)), logs(*(10 + at + x + own * (at == 0) for x in head)))
            for at in range(points)
        },
    )


def test_a_shift_is_what_a_process_does_to_the_middle_point() -> None:
    shifts = group(own=0.05).shifts
    assert [*shifts.base.values(), *shifts.head.values()] == pytest.approx([x - 0.0025 for x in (*BASE, *HEAD)])
    assert shifts.difference == pytest.approx(0.005)


def test_fewer_points_than_tell_share_nothing() -> None:
    few = group(LEAST_SHARED - 1)
    assert not few.shares
    assert few.shifts == Pair(logs(0.0, 0.0, 0.0), logs(0.0, 0.0, 0.0))
    assert few.rests == few.logs
    assert group(LEAST_SHARED).shares
    assert group(LEAST_SHARED).shifts.difference == pytest.approx(0.005)


def test_what_remains_of_a_point_is_without_the_shifts() -> None:
    rests = group(own=0.01).rests
    assert rests[key(0)].difference == pytest.approx(0.01)
    assert rests[key(1)].difference == pytest.approx(0.0, abs=1e-12)


def test_a_process_that_lacks_a_point_has_a_shift_by_the_others() -> None:
    made = group()
    points = dict(made.logs)
    points[key(2)] = Pair({0: 12.001, 2: 12.0}, points[key(2)].head)
    shifts = PairedGroup(GROUP, points).shifts
    assert list(shifts.base) == [0, 1, 2]
    assert shifts.base[1] == pytest.approx(-0.001 - 0.0025)


def test_a_process_that_is_odd_at_all_points_is_named_once_for_each_group() -> None:
    made = group(head=(0.004, 0.006 + 2 * OUTLYING, 0.005))
    assert made.shifts.head.keys() == {0, 2}
    assert made.rests[key(1)].head.keys() == {0, 2}
    assert made.outliers == [Outlier("head", 1, pytest.approx(math.expm1(0.0015 + 2 * OUTLYING)), GROUP)]
    assert made.kept(key(3)) == Pair(logs(13.001, 12.999, 13.0), {0: 13.004, 2: 13.005})


def test_a_process_that_is_odd_at_one_point_is_named_with_it() -> None:
    points = dict(group().logs)
    points[key(1)] = Pair(logs(11.001, 10.999 - 2 * OUTLYING, 11.0), points[key(1)].head)
    made = PairedGroup(GROUP, points)
    assert made.rests[key(1)].base.keys() == {0, 2}
    (found,) = made.outliers
    assert (found.side, found.process, found.group, found.key) == ("base", 1, GROUP, key(1))
    assert found.off == pytest.approx(math.expm1(-2 * OUTLYING), rel=0.05)


def test_on_a_noisy_machine_a_process_is_odd_only_further_away() -> None:
    noise = 0.03

    def points(off: float) -> PairedGroup:
        by = [[noise * (((at + number) % 3) - 1) for number in range(3)] for at in range(6)]
        made = {key(at): Pair(logs(*by[at]), logs(*by[at])) for at in range(6)}
        made[key(0)] = Pair(logs(0.0, 0.0, off), logs(*by[0]))
        return PairedGroup(GROUP, made)

    typical = statistics.median(math.sqrt(each.squares.variance) for each in points(0.0).rests.values())
    assert points(3.5 * typical).outliers == []
    assert [each.key for each in points(4.7 * typical).outliers] == [key(0)]


def test_where_too_few_processes_would_be_left_all_count() -> None:
    points = dict(group(head=(0.004, 0.006 + 2 * OUTLYING, 0.005)).logs)
    points[key(4)] = Pair(points[key(4)].base, {0: 14.004, 1: 14.006 + 2 * OUTLYING})
    made = PairedGroup(GROUP, points)
    assert made.rests[key(4)].head.keys() == {0, 1}
    assert made.rests[key(3)].head.keys() == {0, 2}


def test_the_margin_of_what_is_shared_is_by_the_shifts_own_noise() -> None:
    made = group()
    noise = moderated(made.shifts.squares, EXPECTED_SHARED, SHARED_WEIGHT)
    assert made.shared_margin(0.001) == noise.margin(0.001, 3, 3)
    uneven = group(head=(0.004, 0.006))
    assert uneven.shared_margin(0.001) == moderated(uneven.shifts.squares, 0.0015, 4.0).margin(0.001, 3, 2)
