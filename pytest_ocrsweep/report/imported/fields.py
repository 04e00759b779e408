"""The fields of a tool's JSON object, each checked where it is taken: what is wrong names the file and the key."""

from __future__ import annotations

from math import isfinite

from ...baselines.json_layout import Json
from ...baselines.serving_metrics import Figure
from ...errors import ResultFileError
from ...files.text import printable, quoted
from ...files.untrusted import MOST

SECOND_NS, MILLISECOND_NS = 10**9, 10**6
AGREE = 0.02  # figures that a tool worked out from one another agree so far, whatever it rounded


class Fields:
    """An object of a file; a missing key and null are both None, and so is a 0 in place of what was not measured."""

    def __init__(self, where: str, raw: Json) -> None:
        self.where, self.raw = where, raw

    def wrong(self, what: str, hint: str | None = None) -> ResultFileError:
        return ResultFileError(f"{self.where}: {what}", hint)

    def number(self, name: str) -> float | None:
        """A number of at least 0. Raises ResultFileError for anything else, such as NaN."""
        value = self.raw.get(name)
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 <= value <= MOST:
            raise self.wrong(f"{name} must be a number of at least 0, got {quoted(value)}")
        return float(value)

    def needed(self, name: str) -> float:
        """A number that must be there."""
        value = self.number(name)
        if value is None:
            raise self.wrong(f"it has no {name}: it is damaged, or of a version that is not known here")
        return value

    def whole(self, name: str) -> int | None:
        value = self.number(name)
        if value is not None and value != int(value):
            raise self.wrong(f"{name} must be a whole number, got {quoted(value)}")
        return None if value is None else int(value)

    def text(self, name: str) -> str | None:
        """Short text on one line; None for an empty one, too."""
        value = self.raw.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(f"{name} must be text, got {quoted(value)}")
        return printable(value.strip(), 120) or None if value else None

    def part(self, name: str) -> Fields | None:
        """An object inside this one."""
        value = self.raw.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(f"{name} must be an object, got {quoted(value)}")
        return None if value is None else Fields(f"{self.where}: {name}", value)

    def items(self, name: str) -> list[object]:
        """A list; empty if it is missing."""
        value = self.raw.get(name)
        if value is not None and not isinstance(value, list):
            raise self.wrong(f"{name} must be a list, got {quoted(value)}")
        return value or []

    def numbers(self, name: str) -> list[float]:
        """A list of numbers of at least 0."""
        return [self._item(name, value) for value in self.items(name)]

    def _item(self, name: str, value: object) -> float:
        if type(value) not in (int, float) or not 0 <= value <= MOST:  # type: ignore[operator]
            raise self.wrong(f"{name} must hold numbers of at least 0, got {quoted(value)}")
        return float(value)  # type: ignore[arg-type]

    def time(self, name: str, unit_ns: int = MILLISECOND_NS) -> Figure | None:
        """A time in whole ns; None for 0, which tools write if they measured none."""
        value = self.number(name)
        return Figure(max(1, round(value * unit_ns))) if value else None

    def rate(self, name: str) -> Figure | None:
        """A rate a second; None for 0."""
        value = self.number(name)
        return Figure(value) if value else None

    def count_of_requests(self, name: str) -> int:
        """How many requests were answered. Raises ResultFileError for none."""
        completed = self.whole(name)
        if not completed:
            raise self.wrong(f"no request was answered ({name} {completed or 0}): there is nothing to take")
        return completed

    def agree(self, name: str, value: float, other: str) -> None:
        """Refuses a figure that its own file contradicts: a wrong unit, or a changed file. Raises ResultFileError."""
        found = self.number(name)
        if found is not None and isfinite(value) and abs(found - value) > AGREE * max(found, value):
            raise self.wrong(f"{name} is {found:g}, but {other} make {value:g}: the file contradicts itself")


def seconds(samples: list[float]) -> Figure | None:
    """The median of times in seconds, in whole ns, with their quartiles; None without any, and for a median of 0."""
    figure = Figure.of([each * SECOND_NS for each in samples])
    if figure is None or figure.q1 is None or figure.q3 is None or figure.value < 1:
        return None
    return Figure(round(figure.value), max(1, round(figure.q1)), round(figure.q3), figure.samples)
