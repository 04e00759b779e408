"""The lines of one measured point: how long the GPU was busy with each, and the time between kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ..files.text import quoted
from ..files.untrusted import MOST
from ..hardware.profile import Profile
from .json_layout import JsonObject, Layout, Plain, Wrong, each, known, later, many, number, text, whole

DETAILED = "decoder"  # the component that is taken apart: its names have two parts


@dataclass(frozen=True, slots=True)
class LineTime(JsonObject):
    """The time of a line or of a component, all its runs, and its share of the device time."""

    time_ns: int
    share: float | None


@dataclass(frozen=True, slots=True)
class PointProfile(JsonObject):
    """One call of a stage, or a decode's last step: lines and gaps together are the device time.

    `causes` are the components that account for a change since the recorded profile, one line of text each.
    """

    device_ns: int
    gap_ns: int  # below 0 if profiled kernels ran slower than those of the timed replays
    kernels: int
    components: Mapping[str, LineTime] = field(hash=False)
    lines: Mapping[str, LineTime] = field(hash=False)
    causes: tuple[str, ...] = ()

    @classmethod
    def of(cls, kernels: int, gap_ns: int, times: Mapping[str, int]) -> PointProfile:
        """From the time of each line by its path."""
        device_ns = sum(times.values()) + gap_ns
        return cls(device_ns, gap_ns, kernels, _shared(components(times), device_ns), _shared(times, device_ns))

    @classmethod
    def measured(cls, profile: Profile) -> PointProfile:
        """From a profile, whose lines of one path become one."""
        times: dict[str, int] = {}
        for line in profile.lines:
            times[line.path] = times.get(line.path, 0) + round(line.time_ns)
        gap_ns = round(profile.device_ns) - sum(times.values())
        return cls.of(sum(line.kernels for line in profile.lines), gap_ns, times)

    @property
    def times(self) -> dict[str, int]:
        """The time of each line by its path."""
        return {path: line.time_ns for path, line in self.lines.items()}

    def compact(self) -> dict[str, object]:
        """The object that baselines hold."""
        return {"kernels": self.kernels, "gap_ns": self.gap_ns, "lines": self.times}


@lru_cache(4096)
def component_of(path: str) -> str:
    """The component that a line belongs to: "sam", "clip", …, "decoder/attn", …, "head"."""
    first, _, rest = path.partition("/")
    return f"{first}/{rest.partition('/')[0]}" if first == DETAILED and rest else first


def components(times: Mapping[str, int]) -> dict[str, int]:
    """The time of each component, in the order they run."""
    found: dict[str, int] = {}
    for path, time_ns in times.items():
        name = component_of(path)
        found[name] = found.get(name, 0) + time_ns
    return found


def _shared(times: Mapping[str, int], device_ns: int) -> dict[str, LineTime]:
    return {path: LineTime(ns, round(ns / device_ns, 6) if device_ns > 0 else None) for path, ns in times.items()}


# JSON


def compact(value: object) -> PointProfile | None:
    """The profile that a baseline holds; None for one without. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {"kernels", "gap_ns", "lines"}:
        raise ValueError(f"profile must hold kernels, gap_ns and lines, and nothing else, got {quoted(value)}")
    for name, signed in (("kernels", False), ("gap_ns", True)):
        _check_whole(f"profile.{name}", value[name], signed=signed)
    if not isinstance(value["lines"], dict) or not value["lines"]:
        raise ValueError(f"profile.lines must be an object of times by path, got {quoted(value['lines'])}")
    for path, time_ns in value["lines"].items():
        _check_whole(f"profile.lines.{quoted(path)}", time_ns, signed=False)
    profile = PointProfile.of(value["kernels"], value["gap_ns"], value["lines"])
    if profile.device_ns < 1:
        raise ValueError(f"profile.lines and gap_ns sum to no time, but to {quoted(profile.device_ns)} ns")
    return profile


def _check_whole(name: str, value: object, *, signed: bool) -> None:
    if type(value) is not int or not (-MOST if signed else 0) <= value <= MOST:
        raise ValueError(f"{name} must be a whole number{'' if signed else ' of at least 0'}, got {quoted(value)}")


def _signed(value: object) -> int:
    if type(value) is not int or abs(value) > MOST:
        raise Wrong(f"must be a whole number, got {quoted(value)}")
    return value


_LINE = Layout(LineTime, {"time_ns": whole, "share": known(number)})
PROFILE = Layout(
    PointProfile,
    {
        "device_ns": Plain(_signed),
        "gap_ns": Plain(_signed),
        "kernels": whole,
        "components": each(_LINE),
        "lines": each(_LINE),
        "causes": later(many(text), ()),
    },
)
