"""Serving figures against recorded runs: a verdict for each metric, by its direction and the noise between runs.

The mean of the runs to judge is compared with the mean of the recorded ones. What an unchanged engine exceeds by chance
is Student's t times the noise between runs: the point's own, moderated by what is expected beforehand, as for device
times (`gate`). Wall clocks are noisier than CUDA graphs, so 1 % is expected, and 3 % of a 99th percentile, until the
other points of the file show more or less; the middle one of them, as one noisy point says nothing of the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from .evidence import EXPECTED_WEIGHT
from .process_noise import Moderated, Squares, moderated
from .serving import ServingKey, ServingRun
from .serving_metrics import SERVING_METRICS

FLOOR = 0.01
"""No margin is smaller."""

CHANCE = 0.0005
"""One-sided, for one metric of one point; as of the gate for device times."""

CAP = 0.05
"""What the gate is to see of a wall clock: a summary names what has a wider margin, and so cannot see this much."""

FEW, DOUBT = 3, 2.0
"""With fewer degrees of freedom in a whole file, nobody knows what machine this is: so many times the usual noise is
expected. Two runs of a noisy machine agree by luck often enough."""

OUTLYING = 5
"""Of three or more runs, a single one further from their middle than so many times the expected noise counts for
nothing. Two that are far from it are noise, and count."""

TAIL = 100
"""Requests that a run needs before its 99th percentile is more than its slowest request."""


class ServingVerdict(StrEnum):
    """What a metric of a point came to, worst first."""

    FAIL = "FAIL"
    NEW = "NEW"  # nothing is recorded
    NOT_JUDGED = "NOT JUDGED"  # too little is recorded to know the noise
    IMPROVED = "IMPROVED"
    PASS = "PASS"


@dataclass(frozen=True, slots=True)
class Judged:
    """A metric of the runs to judge beside the recorded ones; `change` and `margin` are ratios, 0.03 is 3 %."""

    metric: str
    verdict: ServingVerdict
    value: float
    recorded: float | None = None
    change: float | None = None
    margin: float | None = None
    runs: int = 0  # recorded ones that count
    why: str = ""

    @property
    def is_blind(self) -> bool:
        """Whether it was judged, and could not see CAP."""
        return self.margin is not None and self.margin > CAP and self.verdict is not ServingVerdict.FAIL


@dataclass(frozen=True)
class ServingNoise:
    """The noise between runs, of all recorded points of a file."""

    points: Mapping[ServingKey, Sequence[ServingRun]]

    def margin(self, key: ServingKey, metric: str, judged: int) -> float:
        """What the mean of so many unchanged runs exceeds the recorded ones' by chance, as a ratio."""
        recorded = typical(metric, self.points.get(key, ()))
        own = _squares(metric, recorded)
        expected = self._expected(metric, but=key)
        noise = moderated(own, expected, EXPECTED_WEIGHT) if own else Moderated(expected, EXPECTED_WEIGHT)
        # Runs that happen to agree better than their own samples allow were lucky.
        errors = within(metric, recorded)
        sigma = max(noise.sigma, statistics.median(errors)) if errors else noise.sigma
        return max(FLOOR, Moderated(sigma, noise.df).margin(CHANCE, max(1, len(recorded)), judged))

    def _expected(self, metric: str, but: ServingKey) -> float:
        """The noise to expect of a point: what the table expects, moderated by the middle one of the other points."""
        every, usual = self._known[metric], SERVING_METRICS[metric].noise
        if sum(each.df for each in every.values()) < FEW:
            return DOUBT * usual
        others = [each for key, each in every.items() if key != but]
        known = sum(each.df for each in others)
        middle = statistics.median(each.variance / _median_part(each.df) for each in others) if others else 0.0
        return math.sqrt((EXPECTED_WEIGHT * usual**2 + known * middle) / (EXPECTED_WEIGHT + known))

    @cached_property
    def _known(self) -> dict[str, dict[ServingKey, Squares]]:
        """By metric, the squares of the points that have it in two runs or more."""
        return {
            name: {key: own for key, runs in self.points.items() if (own := _squares(name, typical(name, runs)))}
            for name in SERVING_METRICS
        }


def _squares(metric: str, runs: Sequence[ServingRun]) -> Squares | None:
    """The squared deviations from their mean, as ratios; None for a single run."""
    values = [run.metrics[metric].value for run in runs]
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    return Squares(sum((value / mean - 1) ** 2 for value in values), len(values) - 1)


def _median_part(df: int) -> float:
    """The median of a variance of a few values over the true one, by Wilson and Hilferty: 0.84 for four degrees."""
    return (1 - 2 / (9 * df)) ** 3


def typical(metric: str, runs: Sequence[ServingRun]) -> list[ServingRun]:
    """The runs that have the metric, without an odd one."""
    having = [run for run in runs if metric in run.metrics]
    if len(having) < 3:
        return having
    middle = statistics.median(run.metrics[metric].value for run in having)
    limit = OUTLYING * SERVING_METRICS[metric].noise
    near = [run for run in having if abs(run.metrics[metric].value / middle - 1) <= limit]
    return near if len(near) == len(having) - 1 else having


def within(metric: str, runs: Sequence[ServingRun]) -> list[float]:
    """The standard errors that the runs' own samples give, as ratios; of runs that kept samples."""
    return [error for run in runs if (error := run.metrics[metric].error) is not None]


def judge(key: ServingKey, runs: Sequence[ServingRun], noise: ServingNoise) -> list[Judged]:
    """A verdict for each metric that `runs`, all of one point and all to be judged together, have."""
    return [_judge(key, name, having, noise) for name in SERVING_METRICS if (having := typical(name, runs))]


def _judge(key: ServingKey, name: str, runs: Sequence[ServingRun], noise: ServingNoise) -> Judged:
    value = statistics.fmean(run.metrics[name].value for run in runs)
    recorded = typical(name, noise.points.get(key, ()))
    if not recorded:
        return Judged(name, ServingVerdict.NEW, value)
    then = statistics.fmean(run.metrics[name].value for run in recorded)
    change = value / then - 1
    if why := _why_not(name, recorded, runs):
        return Judged(name, ServingVerdict.NOT_JUDGED, value, then, change, None, len(recorded), why)
    margin = noise.margin(key, name, len(runs))
    loss = SERVING_METRICS[name].loss(change)
    return Judged(name, _verdict(loss, margin), value, then, change, margin, len(recorded))


def _verdict(loss: float, margin: float) -> ServingVerdict:
    if loss > margin:
        return ServingVerdict.FAIL
    return ServingVerdict.IMPROVED if loss < -margin else ServingVerdict.PASS


def _why_not(name: str, recorded: Sequence[ServingRun], runs: Sequence[ServingRun]) -> str:
    """Why the noise of the metric is not known; empty if it is."""
    least = min(run.requests for run in (*recorded, *runs))
    if SERVING_METRICS[name].bounds and least < TAIL:
        return f"the 99th percentile of {least} requests is the slowest one; {TAIL} are needed"
    if len(recorded) == 1 and not within(name, recorded):
        return "one recorded run without samples shows no noise: record another"
    return ""


def agree(key: ServingKey, run: ServingRun, noise: ServingNoise) -> bool:
    """Whether a run lies within the margins of the recorded ones to either side, in all metrics that were judged.

    A second run always does: with a single one nobody knows how far runs lie apart.
    """
    if len(noise.points.get(key, ())) < 2:
        return True
    return not any(each.verdict in (ServingVerdict.FAIL, ServingVerdict.IMPROVED) for each in judge(key, [run], noise))


def together(key: ServingKey, runs: Sequence[ServingRun], noise: ServingNoise) -> bool:
    """Whether some runs lie within one margin of one another, in all metrics that they share."""
    for name in SERVING_METRICS:
        values = [run.metrics[name].value for run in runs if name in run.metrics]
        tail = SERVING_METRICS[name].bounds and min(run.requests for run in runs) < TAIL
        if len(values) == len(runs) and not tail and max(values) > min(values) * (1 + noise.margin(key, name, 1)):
            return False
    return True


def worst(judged: Sequence[Judged]) -> ServingVerdict:
    """The verdict that a point with all of them gets."""
    order = list(ServingVerdict)
    return min((each.verdict for each in judged), key=order.index, default=ServingVerdict.NEW)


def percent(ratio: float) -> str:
    """ "+5.1 %"; what is smaller than a tenth of a percent has no sign."""
    return f"{100 * ratio:+.1f} %" if math.fabs(ratio) >= 0.0005 else "0.0 %"
