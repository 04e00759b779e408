"""The lines of a profile beside those of its model: each that launches kernels is there once, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ProfileError
from ..model.analytic import Model
from ..model.kernels import Pattern
from ..model.program import Program
from ..model.stages import point
from .profile import Profile, ProfiledLine

if TYPE_CHECKING:
    from ..model.line_work import LineWork, Work

REMEDY = "profile it anew"


def program_of(model: Model, profile: Profile) -> Program:
    """The program of a profile's stage."""
    work = profile.work
    return model.program(profile.stage, work.resolution, bool(work.grid.crops), profile.attention)


def line_work_of(model: Model, profile: Profile) -> LineWork:
    """The lines of a profile's stage; a decode's are those of one step."""
    from ..model.line_work import LineWork

    return LineWork(program_of(model, profile).sequence, per_step=False, merged=False)


def check(model: Model, profile: Profile) -> tuple[LineWork, Work]:
    """The lines of a stage, and their work. Raises ProfileError, which names it, for a line too many or too few."""
    kernels, taken = program_of(model, profile).sequence, set()
    for line in profile.lines:
        if line.index >= len(kernels) or kernels[line.index].path != line.path:
            raise ProfileError(f"line {line.path} of {profile.label} is not one of {model.name};", REMEDY)
        if line.index in taken:
            raise ProfileError(f"line {line.path} is twice in {profile.label};", REMEDY)
        taken.add(line.index)
    lines = line_work_of(model, profile)
    work = lines.at(point(profile.work, model.architecture.decoder))
    for index, path, launches in zip(lines.index, lines.paths, work.launches, strict=True):
        if launches and index not in taken:
            raise ProfileError(f"{profile.label} has no line {path};", REMEDY)
    return lines, work


def timed(model: Model, profile: Profile) -> Mapping[int, ProfiledLine]:
    """By their places the lines that took time. One that only some GPUs run is a part of the attention after it."""
    patterns = [kernel.pattern for kernel in program_of(model, profile).sequence]
    found: dict[int, ProfiledLine] = {}
    for line in sorted(profile.lines, key=lambda line: -line.index):
        if line.time_ns > 0 and line.kernels:
            found[line.index] = line
        if patterns[line.index] is Pattern.ABSORBED and (after := found.get(line.index + 1)):
            sums = {name: getattr(after, name) + getattr(line, name) for name in ("kernels", "time_ns")}
            found[after.index] = replace(after, **sums)
            found.pop(line.index, None)
    return found
