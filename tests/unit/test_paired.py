"""The judgement of pairs: what is slower, as a whole or by itself, and what an odd process may not do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_ocrsweep.baselines import paired
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.blame import Clocks, blame
from pytest_ocrsweep.baselines.paired import Change, judge
from pytest_ocrsweep.baselines.paired_group import Pair, PairedGroup
from pytest_ocrsweep.baselines.point_profile import PointProfile
from pytest_ocrsweep.baselines.process_noise import Noise, inverse_trigamma, trigamma
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


# Numbers


def noisy(percent: float, attentions: tuple[str, ...] = ("flash", "eager")) -> list[list[Run]]:
    """Both sides of four points of each attention, in processes that differ by about so much."""
    keys = [("decode", grid, how) for grid in GRIDS[:4] for how in attentions]

    def process(number: int) -> Run:
        by = {key: 1 + percent / 100 * ((at * 5 + number * 3) % 7 - 3) for at, key in enumerate(keys)}
        return Run({key: Observed(time_ns=2e7 * by[key]) for key in keys})

    return [[process(first + at) for at in range(processes)] for first, processes in ((0, 3), (11, 2))]


def groups(base: list[Run], head: list[Run]) -> list[PairedGroup]:
    found = {}
    for attention in ("eager", "flash"):
        keys = [key for key in base[0].takes if key[2] == attention]
        logs = {
            key: Pair(*({at: math.log(run.takes[key].time_ns) for at, run in enumerate(side)} for side in (base, head)))
            for key in keys
        }
        found[attention] = PairedGroup(("decode", attention), logs)
    return list(found.values())


def test_a_points_margin_is_by_the_noise_of_its_stage_and_the_number_of_all_points() -> None:
    base, head = noisy(0.4)
    made = groups(base, head)
    noise = Noise({key: rest.squares for group in made for key, rest in group.rests.items()})
    for each in judge(base, head).points:
        expected = noise.of(each.key).margin(paired.FALSE_RED / 2 / 8, 3, 2)
        assert each.change.margin == pytest.approx(expected)
        assert each.change.margin > paired.SMALLEST
        assert each.processes == (3, 2)


def test_the_margin_of_a_whole_is_by_its_shifts_and_the_number_of_wholes() -> None:
    base, head = noisy(0.4)
    for made, each in zip(groups(base, head), judge(base, head).shared, strict=True):
        assert (each.stage, each.attention, each.points) == ("decode", made.group[1], 4)
        margin = made.shared_margin(paired.FALSE_RED / 2 / 2)
        assert each.change == Change(
            pytest.approx(math.expm1(made.shifts.difference)), each.change.ratio, margin, made.shifts.apart
        )
        assert margin > paired.SMALLEST


def test_equal_processes_have_the_smallest_margin_and_their_mean_time() -> None:
    base, head = noisy(0.0)
    head = [Run({key: Observed(time_ns=ns) for key in run.takes}) for run, ns in zip(head, (1e7, 4e7), strict=True)]
    judgement = judge(base, base)
    assert {each.change.margin for each in (*judgement.points, *judgement.shared)} == {paired.SMALLEST}
    point = judge(base, head).points[0]
    assert (point.then.time_ns, point.now.time_ns) == (pytest.approx(2e7), pytest.approx(2e7))


def test_a_change_is_slower_only_beyond_its_margin_in_all_and_by_itself_and_in_every_process() -> None:
    slower = Change(0.03, 0.02, 0.01, 1)
    assert slower.slower
    assert not slower.faster
    for other in ({"ratio": 0.01}, {"beyond": 0.01}, {"margin": 0.02}, {"apart": 0}):
        assert not replace(slower, **other).slower
    faster = Change(-0.03, -0.02, 0.01, -1)
    assert faster.faster
    assert not faster.slower
    for other in ({"ratio": -0.01}, {"beyond": -0.01}, {"margin": 0.02}, {"apart": 0}):
        assert not replace(faster, **other).faster


def test_the_worst_comes_first() -> None:
    scales = {SLOW: 1.02, KEYS[9]: 1.05}
    judgement = judge(side(0), side(7, lambda key: scales.get(key, 1.0)))
    assert slower(judgement) == [KEYS[9], SLOW]
    stages = judge(side(0), side(7, lambda key: 1.02 if key[0] == "vision" else 1.04)).slower_as_a_whole
    assert [each.stage for each in stages] == ["decode", "vision"]


def test_points_and_wholes_are_named_as_a_person_names_them() -> None:
    judgement = judge(side(0), side(7))
    assert str(judgement.points[0]) == "vision 1x1 flash"
    assert str(judgement.shared[0]) == "vision flash"


def test_what_both_sides_lack_is_in_the_order_of_a_report() -> None:
    fewer = [KEYS[9], KEYS[2], KEYS[12]]
    base = [Run({k: v for k, v in each.takes.items() if k not in fewer}) for each in side(0)]
    assert judge(base, side(7)).only_head == (KEYS[2], KEYS[9], KEYS[12])
    assert judge(side(7), base).only_base == (KEYS[2], KEYS[9], KEYS[12])


def test_a_point_that_is_refused_on_one_side_is_unjudged_and_not_lost() -> None:
    head = [Run({k: v for k, v in each.takes.items() if k != SLOW}, refused=frozenset({SLOW})) for each in side(7)]
    judgement = judge(side(0), head)
    assert (judgement.unjudged, judgement.lost, judgement.only_base, judgement.red) == ((SLOW,), (), (), False)


def test_a_point_with_two_processes_is_judged() -> None:
    head = side(7, one(5))
    head[0] = Run({k: v for k, v in head[0].takes.items() if k != SLOW}, refused=frozenset({SLOW}))
    judgement = judge(side(0), head)
    assert (slower(judgement), judgement.unjudged, judgement.slower[0].processes) == ([SLOW], (), (3, 2))


def test_a_lower_clock_accounts_for_what_grew_by_as_much() -> None:
    then = PointProfile.of(687, 0, {"decoder/attn/q": 10**7, "head": 10**7})
    now = PointProfile.of(687, 0, {"decoder/attn/q": 11 * 10**6, "head": 11 * 10**6})
    base = [Run(each.takes, profiles={SLOW: then}) for each in side(0, sm_clock_mhz=1980)]
    head = [Run(each.takes, profiles={SLOW: now}) for each in side(7, one(10), sm_clock_mhz=1800)]
    (point,) = judge(base, head).slower
    assert list(point.causes) == blame(then, now, point.change.margin, Clocks(1980, 1800))
    assert all(each.causes == () for each in judge(base, head).points if each.key != SLOW)
    only_one = [Run(each.takes, profiles={SLOW: now}) for each in head[:1]] + [Run(each.takes) for each in head[1:]]
    assert judge(base, only_one).slower[0].causes == point.causes
    assert judge(base, [Run(each.takes) for each in head]).slower[0].causes == ()
