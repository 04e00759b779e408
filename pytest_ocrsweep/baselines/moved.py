"""What moved at a point since its baseline: the number, how far, which components or lines, and how to accept it."""

from __future__ import annotations

from dataclasses import dataclass

from .json_layout import JsonObject, Layout, known, many, number, text, whole


@dataclass(frozen=True, slots=True)
class Moved(JsonObject):
    """A number of a point beside its baseline, in the metric's unit.

    `change` and `margin` are ratios: 0.03 is 3 % more. `change` is None from zero, `margin` None for counted numbers,
    which are compared exactly. `causes` are components and lines, one a line of text; empty if they are not known.
    """

    metric: str
    old: int
    new: int
    change: float | None = None
    margin: float | None = None
    causes: tuple[str, ...] = ()
    accept: str | None = None  # the command that makes the new number the baseline

    @classmethod
    def counted(cls, metric: str, old: int, new: int, accept: str) -> Moved:
        return cls(metric, old, new, new / old - 1 if old else None, accept=accept)


MOVED = Layout(
    Moved,
    {
        "metric": text,
        **dict.fromkeys(("old", "new"), whole),
        **dict.fromkeys(("change", "margin"), known(number)),
        "causes": many(text),
        "accept": known(text),
    },
)
