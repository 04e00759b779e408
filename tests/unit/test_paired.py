"""The judgement of pairs: what is slower, as a whole or by itself, and what an odd process may not do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_ocrsweep.baselines import paired
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.paired import judge
from pytest_ocrsweep.baselines.point_profile import PointProfile
from pytest_ocrsweep.baselines.process_noise import inverse_trigamma, trigamma
from pytest_ocrsweep.baselines.takes import Key, Run
from pytest_ocrsweep.model.geometry import CropGrid

GRIDS = [CropGrid(1, columns) for columns in range(1, 9)]
KEYS: list[Key] = [(stage, grid, "flash") for stage in ("vision", "decode") for grid in GRIDS]
SLOW: Key = ("decode", GRIDS[3], "flash")
Scale = Callable[[Key], float]


def run(number: int, scale: Scale = lambda key: 1.0, **seen: int) -> Run:
    """Its times lie within 0.1 % of those of other processes."""

    def noise(at: int) -> float:
        return 1 + 0.0005 * ((at * 5 + number * 3) % 5 - 2)

    return Run({key: Observed(time_ns=2e7 * scale(key) * noise(at), **seen) for at, key in enumerate(KEYS)})


def side(first: int, scale: Scale = lambda key: 1.0, processes: int = 3, **seen: int) -> list[Run]:
    return [run(first + number, scale, **seen) for number in range(processes)]


def one(percent: float) -> Scale:
    return lambda key: 1 + percent / 100 * (key == SLOW)


def decode(percent: float) -> Scale:
    return lambda key: 1 + percent / 100 * (key[0] == "decode")


def slower(judgement: paired.PairedJudgement) -> list[Key]:
    return [each.key for each in judgement.slower]


def test_equal_sides_are_green() -> None:
    judgement = judge(side(0), side(7))
    assert not judgement.red
    assert len(judgement.points) == len(KEYS)


def test_one_slower_point_is_named_and_no_other() -> None:
    judgement = judge(side(0), side(7, one(1.5)))
    assert slower(judgement) == [SLOW]
    assert judgement.slower_as_a_whole == []


def test_one_faster_point_is_no_failure() -> None:
    judgement = judge(side(0), side(7, one(-3)))
    assert not judgement.red
    assert [each.key for each in judgement.points if each.change.faster] == [SLOW]


def test_a_slower_stage_is_said_as_a_whole_and_not_point_by_point() -> None:
    judgement = judge(side(0), side(7, decode(1.5)))
    assert [str(each) for each in judgement.slower_as_a_whole] == ["decode flash"]
    assert judgement.slower_as_a_whole[0].change.ratio == pytest.approx(0.015, abs=0.001)
    assert slower(judgement) == []
    assert judgement.red


def test_a_point_that_is_slower_than_its_slower_stage_is_named_too() -> None:
    judgement = judge(side(0), side(7, lambda key: decode(2)(key) * one(2)(key)))
    assert [str(each) for each in judgement.slower_as_a_whole] == ["decode flash"]
    assert slower(judgement) == [SLOW]


def test_a_point_that_stays_while_its_stage_gets_faster_is_not_slower() -> None:
    judgement = judge(side(0), side(7, lambda key: 1.0 if key == SLOW else decode(-4)(key)))
    assert not judgement.red


@pytest.mark.parametrize("odd", ["base", "head"])
def test_a_process_that_is_odd_at_all_points_neither_fails_nor_hides_a_point_and_is_named(odd: str) -> None:
    base, head = side(0), side(7, one(2))
    (base if odd == "base" else head)[1] = run(9, lambda key: 1.05 * (one(2)(key) if odd == "head" else 1))
    judgement = judge(base, head)
    assert slower(judgement) == [SLOW]
    assert judgement.slower_as_a_whole == []
    assert [(each.side, each.process, each.key) for each in judgement.outliers] == [(odd, 1, None)] * 2
    assert all(each.off == pytest.approx(0.05, abs=0.005) for each in judgement.outliers)


def test_a_process_that_is_odd_at_one_point_is_left_out_there() -> None:
    base, head = side(0), side(7)
    head[2] = run(9, one(9))
    judgement = judge(base, head)
    assert not judgement.red
    assert [(each.process, each.key) for each in judgement.outliers] == [(2, SLOW)]
    assert next(each.processes for each in judgement.points if each.key == SLOW) == (3, 2)


def test_of_two_processes_none_is_called_odd() -> None:
    head = [run(7), run(8, one(9))]
    judgement = judge(side(0, processes=2), head)
    assert judgement.outliers == ()
    assert not judgement.red  # one of head is as fast as base


def uneven(at: int) -> Scale:
    return lambda key: 1 + 0.003 * ((at + KEYS.index(key)) % 3 - 1)


@pytest.mark.parametrize(("few", "more"), [(2, 3), (3, 5)])
def test_more_processes_have_narrower_margins(few: int, more: int) -> None:
    def widest(processes: int) -> float:
        sides = [[run(first + at, uneven(at)) for at in range(processes)] for first in (0, 7)]
        return max(each.change.margin for each in judge(*sides).points)

    assert widest(few) > widest(more) > paired.SMALLEST


def test_a_noisy_point_has_a_wider_margin_than_the_others_of_its_stage() -> None:
    sides = [[run(first + at, one(0.6 * (at - 1))) for at in range(3)] for first in (0, 7)]
    margins = {each.key: each.change.margin for each in judge(*sides).points}
    assert margins.pop(SLOW) > 1.5 * max(margins.values())


def test_refused_samples_do_not_count_and_a_point_with_one_acceptable_process_is_not_judged() -> None:
    base, head = side(0), side(7, one(5))
    for at in (0, 1):
        takes = dict(head[at].takes)
        del takes[SLOW]
        head[at] = Run(takes, refused=frozenset({SLOW}))
    judgement = judge(base, head)
    assert not judgement.red
    assert judgement.unjudged == (SLOW,)


def test_a_point_that_head_sweeps_without_a_time_is_red_and_one_that_it_lacks_is_only_said() -> None:
    base = side(0)
    without = [Run({k: v for k, v in each.takes.items() if k != SLOW}) for each in side(7)]
    lacking = judge(base, without)
    assert (lacking.only_base, lacking.lost, lacking.red) == ((SLOW,), (), False)
    failing = judge(base, [Run(each.takes, untimed=frozenset({SLOW})) for each in without])
    assert (failing.lost, failing.red) == ((SLOW,), True)


def test_a_point_that_only_head_has_is_said() -> None:
    base = [Run({k: v for k, v in each.takes.items() if k != SLOW}) for each in side(0)]
    assert judge(base, side(7)).only_head == (SLOW,)


def test_times_by_different_clocks_are_not_compared() -> None:
    base = [Run(each.takes, clocks=dict.fromkeys(KEYS, "cuda-graph")) for each in side(0)]
    head = [Run(each.takes, clocks={**dict.fromkeys(KEYS, "cuda-graph"), SLOW: "host"}) for each in side(7, one(50))]
    judgement = judge(base, head)
    assert (judgement.otherwise, judgement.red) == ((SLOW,), False)


def test_too_few_points_to_share_anything_are_judged_by_their_whole_change() -> None:
    def few(runs: list[Run]) -> list[Run]:
        return [Run({k: v for k, v in each.takes.items() if k in (SLOW, KEYS[0])}) for each in runs]

    judgement = judge(few(side(0)), few(side(7, decode(4))))
    assert slower(judgement) == [SLOW]
    assert judgement.shared == ()


def test_what_was_seen_beside_the_time_is_the_middle_of_the_processes_that_count() -> None:
    judgement = judge(side(0, kernels=687, sm_clock_mhz=1980), side(7, one(3), kernels=700, sm_clock_mhz=1965))
    (point,) = judgement.slower
    assert (point.then.kernels, point.now.kernels, point.now.sm_clock_mhz) == (687, 700, 1965)
    assert point.then.peak_bytes is None


def test_profiles_of_both_sides_name_the_component_that_grew() -> None:
    then = PointProfile.of(687, 0, {"decoder/attn/q": 10**7, "head": 10**7})
    now = PointProfile.of(687, 0, {"decoder/attn/q": 11 * 10**6, "head": 10**7})
    base = [Run(each.takes, profiles={SLOW: then}) for each in side(0)]
    head = [Run(each.takes, profiles={SLOW: now}) for each in side(7, one(5))]
    (point,) = judge(base, head).slower
    assert [cause.name for cause in point.causes] == ["decoder/attn"]


def test_trigamma_has_its_known_values_and_its_inverse() -> None:
    assert trigamma(1) == pytest.approx(1.6449341, rel=1e-5)
    assert trigamma(2) == pytest.approx(0.6449341, rel=1e-5)
    assert inverse_trigamma(trigamma(3.7)) == pytest.approx(3.7)
