"""How well a calibration would have done: constants from some of the profiled points, judged by the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ..model.analytic import Model
from ..model.attention import ATTENTION
from ..model.stages import STAGES
from .calibration import Calibration
from .calibration_file import packaged, scaled
from .calibration_points import FITTED, JUDGED
from .devices import Device
from .fit import Array, Measured, constants, estimates, measured
from .profile import Profile, Profiles

LONG = 1000  # tokens of a prompt
MODES = ("gundam", "base")  # that a calibration of two modes has seen


class Split(NamedTuple):
    """Which points judge, of all that are not left out; the others are fitted."""

    name: str
    judges: Callable[[Profile], bool]
    fits: Callable[[Profile], bool]


class Result(NamedTuple):
    """What a split gave; errors are fractions of measured times."""

    name: str
    fitted: int
    judged: int
    mean_error: float
    largest_error: float
    worst: str  # the point with the largest error
    inside: float | None  # the share of measured times inside the 90 % interval, where a calibration gives one


def splits() -> Iterator[Split]:
    """Every way to leave points out."""
    for stage in STAGES:
        for attention in ATTENTION:
            yield _without(f"without {stage} {attention}", partial(_is, stage, attention))
    yield _without("batch 1, judged on more", lambda p: p.work.batch > 1)
    yield _without(f"{' and '.join(MODES)}, judged on the others", lambda p: p.work.resolution not in MODES)
    yield _without("short prompts, judged on long ones", lambda p: p.work.prompt_tokens >= LONG)


def _is(stage: str, attention: str, profile: Profile) -> bool:
    return (profile.stage, profile.attention) == (stage, attention)


def _without(name: str, judges: Callable[[Profile], bool]) -> Split:
    return Split(name, judges, lambda profile: not judges(profile))


def validate(model: Model, device: Device, profiles: Profiles, calibration: Calibration) -> Iterator[Result]:
    """Each split of `profiles`, and the points of no part in `calibration` under its constants."""
    data = measured(model, profiles.points)
    everything = range(len(data.points))
    for split in splits():
        fitted = [i for i in everything if split.fits(data.points[i])]
        judged = [i for i in everything if split.judges(data.points[i])]
        if fitted and judged:
            values = constants(data.only(fitted), device)
            yield _result(split.name, len(fitted), data.points, judged, _errors(data, judged, values, device), None)
    for other in packaged().values():
        if other.device != device.name:
            kin, everywhere = scaled(other, device), list(everything)
            errors = _errors(data, everywhere, kin.values, device)
            yield _result(f"{other.device}, and both sheets", len(kin.fitted), data.points, everywhere, errors, None)
    unseen = [i for i in everything if data.points[i].point not in (*FITTED, *JUDGED)]
    if unseen:
        errors = _errors(data, unseen, calibration.values, device)
        spreads = np.array([calibration.spread_of(data.points[i].stage) for i in unseen])
        inside = float(np.mean(np.abs(np.log1p(errors)) <= np.log(spreads)))
        yield _result("calibration, judged on the rest", len(calibration.fitted), data.points, unseen, errors, inside)


def _errors(data: Measured, judged: Sequence[int], values: dict[str, float], device: Device) -> Array:
    chosen = data.only(judged)
    errors: Array = estimates(chosen, values, device) / chosen.device_ns - 1
    return errors


def _result(
    name: str, fitted: int, points: Sequence[Profile], judged: Sequence[int], errors: Array, inside: float | None
) -> Result:
    far = int(np.argmax(np.abs(errors)))
    largest = float(np.abs(errors[far]))
    return Result(name, fitted, len(judged), float(np.abs(errors).mean()), largest, points[judged[far]].label, inside)
