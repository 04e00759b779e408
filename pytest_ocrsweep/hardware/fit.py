"""A calibration from profiles: the constants under which estimated lines are nearest to measured ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CalibrationError
from ..model.analytic import Model
from ..model.line_work import Work
from . import profile_lines
from .calibration import CONSTANTS, L2, MOST_OFF, SHEET, Calibration, Constant, Range, suggested_by
from .devices import Device
from .line_time import Places, Rates, limits_of
from .profile import Profile, Profiles

Array = NDArray[np.float64]

POINT_WEIGHT = 6.0  # of a point's logarithm beside those of its lines, each weighed by the root of its share
LINE_WEIGHT = 3.0
FARTHEST = 3.0  # a line farther off than this counts no more
STEP, ROUNDS = 1e-4, 60
Z = 1.645  # of a normal distribution: 90 % lie so many deviations around its mean
LEAST_POINTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The lines of several profiles, one after the other."""

    points: tuple[Profile, ...]
    place: Places  # [lines]: of each line's point
    limits: Places  # [lines]: of each line's pattern among LIMITS
    work: Work  # arrays [lines]
    time_ns: Array  # [lines], with the line's part of the time between kernels
    device_ns: Array  # [points]

    def only(self, chosen: Sequence[int]) -> Measured:
        """Some of the points."""
        lines = np.flatnonzero(np.isin(self.place, chosen))
        new = {old: i for i, old in enumerate(chosen)}
        return Measured(
            tuple(self.points[i] for i in chosen),
            np.array([new[i] for i in self.place[lines]], dtype=np.intp),
            self.limits[lines],
            Work(*(numbers[lines] for numbers in self.work)),
            self.time_ns[lines],
            self.device_ns[list(chosen)],
        )


def measured(model: Model, points: Sequence[Profile]) -> Measured:
    """The lines of `points` beside their work. Raises CalibrationError without times, ProfileError for other lines."""
    if not points:
        raise CalibrationError("no point was profiled;", hint="profile at least one")
    works, patterns, times, places = [], [], [], []
    for i, profile in enumerate(points):
        line_work, work = profile_lines.check(model, profile)
        known = profile_lines.timed(model, profile)
        kept = [place for place, index in enumerate(line_work.index) if index in known]
        lines = [known[line_work.index[place]] for place in kept]
        if not lines:
            raise CalibrationError(f"no line of {profile.label} took any time;", hint=profile_lines.REMEDY)
        gap_ns = (profile.device_ns - sum(line.time_ns for line in lines)) / sum(line.kernels for line in lines)
        works.append([numbers[kept] for numbers in work])
        patterns += [line_work.patterns[place] for place in kept]
        # A point whose profiled kernels were slower than its timed ones has no gaps; a line keeps half of its time.
        times.append([max(line.time_ns + gap_ns * line.kernels, line.time_ns / 2) for line in lines])
        places.append(np.full(len(kept), i))
    return Measured(
        tuple(points),
        np.concatenate(places),
        limits_of(patterns),
        Work(*(np.concatenate(numbers) for numbers in zip(*works, strict=True))),
        np.concatenate(times),
        np.array([profile.device_ns for profile in points]),
    )


def constants(data: Measured, device: Device) -> dict[str, float]:
    """The constants that fit `data` best, by damped least squares over their logarithms.

    Residuals are the logarithms of estimated to measured time, of every line, weighed by its share of the point, and
    of every point. A constant that no line of `data` depends on keeps its start, which is the device's sheet.
    """
    names = list(CONSTANTS)
    suggested = suggested_by({what: getattr(device, what) for what in SHEET})
    start = np.log([suggested[name] for name in names])
    weights = LINE_WEIGHT * np.sqrt(data.time_ns / data.device_ns[data.place])

    def residuals(logarithms: Array) -> Array:
        lines = times(data, dict(zip(names, np.exp(logarithms), strict=True)), device)
        points = np.bincount(data.place, lines, len(data.points))
        off = np.clip(np.log(lines / data.time_ns) * weights, -FARTHEST, FARTHEST)
        return np.concatenate([off, np.log(points / data.device_ns) * POINT_WEIGHT])

    return dict(zip(names, map(float, np.exp(least_squares(residuals, start))), strict=True))


def times(data: Measured, values: dict[str, float], device: Device) -> Array:
    """Estimated nanoseconds of each line."""
    lines = Rates(values, data.limits, device.l2_bytes).times(data.work)
    total: Array = lines.launch_ns + lines.busy_ns
    return total


def least_squares(residuals: Callable[[Array], Array], start: Array) -> Array:
    """Levenberg and Marquardt's method, with residuals above 1 weighed down."""
    at, damping, far = start, 1e-2, np.log(MOST_OFF)

    def cost(values: Array) -> float:
        return float(np.sum(np.sqrt(1 + residuals(values) ** 2) - 1))

    now = cost(at)
    for _ in range(ROUNDS):
        off = residuals(at)
        slope = np.stack([(residuals(at + step) - off) / STEP for step in np.eye(len(at)) * STEP], axis=1)
        robust = 1 / np.sqrt(1 + off**2)
        normal, gradient = (slope * robust[:, None]).T @ slope, (slope * robust[:, None]).T @ off
        moved = at - np.linalg.solve(normal + damping * np.diag(np.diag(normal)) + 1e-9 * np.eye(len(at)), gradient)
        new = cost(np.clip(moved, start - far, start + far))
        if new >= now:
            damping *= 4
            continue
        done = now - new < 1e-7 * now
        at, now, damping = np.clip(moved, start - far, start + far), new, damping / 3
        if done:
            break
    return at


def calibrate(model: Model, device: Device, fitted: Profiles, judged: Profiles) -> Calibration:
    """The calibration of `device`: constants from the `fitted` points, its interval from the `judged` ones.

    Raises CalibrationError if there are fewer than three of either, or if a point is among both.
    """
    for profiles, use in ((fitted, "fitted"), (judged, "judged")):
        if len(profiles.points) < LEAST_POINTS:
            raise CalibrationError(
                f"{len(profiles.points)} points to be {use};", hint=f"profile {LEAST_POINTS} or more"
            )
    if both := {p.label for p in fitted.points} & {p.label for p in judged.points}:
        raise CalibrationError(f"{min(both)} is fitted and judged;", hint="judge by points that the fit never saw")
    data, test = measured(model, fitted.points), measured(model, judged.points)
    best = constants(data, device)
    everything = range(len(data.points))
    without = [constants(data.only([i for i in everything if i != left]), device) for left in everything]
    off = np.log(test.device_ns / estimates(test, best, device))
    return Calibration(
        device=device.name,
        sheet={what: getattr(device, what) for what in (*SHEET, L2)},
        constants={name: _constant(best[name], [values[name] for values in without]) for name in CONSTANTS},
        spread=_spread([profile.stage for profile in test.points], off),
        covers=_covered(model, (*fitted.points, *judged.points)),
        environment=dict(fitted.environment),
        fitted=tuple(profile.label for profile in fitted.points),
        judged=tuple(profile.label for profile in judged.points),
    )


def estimates(data: Measured, values: dict[str, float], device: Device) -> Array:
    """Estimated nanoseconds of each point."""
    points: Array = np.bincount(data.place, times(data, values, device), len(data.points)).astype(np.float64)
    return points


def _constant(best: float, without: Sequence[float]) -> Constant:
    """Its 90 % interval, by the jackknife over points."""
    off = np.log(np.array(without) / best)
    spread = Z * float(np.sqrt((len(off) - 1) / len(off) * np.sum((off - off.mean()) ** 2)))
    return Constant(best, best * float(np.exp(-spread)), best * float(np.exp(spread)))


def _spread(stages: Sequence[str], off: Array) -> dict[str, float]:
    """By stage the factor within which 90 % of measured times lie, from logarithms of measured over estimated ones."""
    return {
        stage: float(
            np.exp(Z * np.sqrt(np.mean(np.square([x for s, x in zip(stages, off, strict=True) if s == stage]))))
        )
        for stage in dict.fromkeys(stages)
    }


def _covered(model: Model, points: Sequence[Profile]) -> dict[str, Range]:
    found: dict[str, Range] = {}
    for point in points:
        ledger = model.ledger(point.stage, point.work, point.attention)
        key, reach = f"{point.stage} {point.attention}", Range(point.work.batch, ledger.tokens, ledger.weight_bytes)
        before = found.get(key, reach)
        found[key] = Range(max(before.batch, reach.batch), max(before.tokens, reach.tokens), reach.weight_bytes)
    return found
