"""A serving point, whoever measured it: what it is found by, and the runs that measured its metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..files.text import printable, quoted
from ..model.geometry import RESOLUTIONS, CropGrid
from .serving_metrics import MOST_PER_S, SERVING_METRICS, Figure, checked, positive

PAGE = re.compile(r"([1-9][0-9]{0,5})[xX×]([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Pages:
    """What was served, as it was given: a crop grid, a page in pixels (width x height), or a mix of pages by name."""

    kind: str
    name: str

    KINDS = ("grid", "page", "mix")

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise ValueError(f"pages must begin with {', '.join(self.KINDS)}, got {quoted(self.kind)}")
        if self.kind == "grid":
            object.__setattr__(self, "name", str(CropGrid.parse(self.name)))
        if self.kind == "page":
            object.__setattr__(self, "name", "x".join(map(str, page_size(self.name))))
        if not self.name.strip() or self.name != printable(self.name, 80):
            raise ValueError(f"a mix needs a short name on one line, got {quoted(self.name)}")

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @classmethod
    def parse(cls, text: object) -> Pages:
        """`"grid 3x2"`, `"page 1240x1754"` or `"mix letters"`. Raises ValueError for anything else."""
        if not isinstance(text, str):
            raise ValueError(f"pages must be text, got {quoted(text)}")
        kind, _, name = text.partition(" ")
        return cls(kind, name)


def page_size(text: str) -> tuple[int, int]:
    """`"1240x1754"` as width and height in pixels. Raises ValueError for anything else."""
    match = PAGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{quoted(text)} is not a page's size: write WIDTHxHEIGHT in pixels, for example 1240x1754")
    return int(match[1]), int(match[2])


@dataclass(frozen=True, slots=True)
class ServingKey:
    """What a serving point is found by, in the file of one model, GPU and engine; None is what is not known or not set.

    The engine's version is not in it: what a new version does to a point is what a gate is for.
    """

    pages: Pages
    concurrency: int | None  # requests in flight at most; None if requests came at a rate alone
    prompt_tokens: int  # of a request, besides the image tokens of its pages
    new_tokens: int  # of an answer
    resolution: str = "gundam"
    request_rate: float | None = None  # requests a second as they were sent; None for as fast as they were answered
    encoder_graphs: bool | None = None  # whether the engine ran the vision tower as CUDA graphs

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("prompt_tokens", 0), ("new_tokens", 1)):
            value = getattr(self, name)
            if (value is not None or name != "concurrency") and (type(value) is not int or not least <= value < 10**9):
                raise ValueError(f"{name} must be a whole number of at least {least}, got {quoted(value)}")
        if self.resolution not in tuple(RESOLUTIONS):  # not a key of a dict: it may be a list
            raise ValueError(f"unknown resolution {quoted(self.resolution)}: choose from {', '.join(RESOLUTIONS)}")
        if self.request_rate is not None:
            positive("request_rate", self.request_rate, MOST_PER_S)
        if not isinstance(self.encoder_graphs, bool | None):
            raise ValueError(f"encoder_graphs must be true, false or null, got {quoted(self.encoder_graphs)}")

    def __str__(self) -> str:
        """For people, without what is as usual: "grid 3x2, concurrency 8, 10 + 100 tokens"."""
        load = f"concurrency {self.concurrency}" if self.concurrency else "no limit of concurrency"
        rate = f", {self.request_rate:g} requests/s" if self.request_rate else ""
        graphs = {None: "", True: ", encoder graphs", False: ", no encoder graphs"}[self.encoder_graphs]
        mode = "" if self.resolution == "gundam" else f", {self.resolution}"
        return f"{self.pages}{mode}, {load}{rate}, {self.prompt_tokens} + {self.new_tokens} tokens{graphs}"

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts points of a file: None before any number."""
        values = (getattr(self, name) for name in KEY[1:])
        return (self.pages.kind, self.pages.name, *((value is not None, value or 0) for value in values))


KEY = ("pages", "resolution", "concurrency", "request_rate", "prompt_tokens", "new_tokens", "encoder_graphs")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What measured a run, and what it ran on; None is what is not known."""

    tool: str | None = None
    tool_version: str | None = None
    engine_version: str | None = None
    served_model: str | None = None  # the name by which the server has the model
    host: str | None = None
    gpu: str | None = None
    driver: str | None = None
    dtype: str | None = None
    weights: str | None = None
    git_revision: str | None = None


@dataclass(frozen=True, slots=True)
class ServingRun:
    """One process, or one run of a tool: the metrics that it measured, and no others. Raises ValueError.

    A value that no clock could give is refused here, whether a tool, an engine or a file brings it.
    """

    metrics: Mapping[str, Figure] = field(hash=False)
    requests: int
    provenance: Provenance = Provenance()
    date: str | None = None  # as the tool wrote it

    def __post_init__(self) -> None:
        if type(self.requests) is not int or not 1 <= self.requests < 10**9:
            raise ValueError(f"requests must be a whole number of at least 1, got {quoted(self.requests)}")
        if not self.metrics:
            raise ValueError(f"a run needs at least one of {', '.join(SERVING_METRICS)}")
        for name, figure in self.metrics.items():
            if name not in SERVING_METRICS:
                raise ValueError(f"{quoted(name)} is no metric: {', '.join(SERVING_METRICS)}")
            checked(name, figure)
        for name, metric in SERVING_METRICS.items():
            low, high = self.value(metric.bounds), self.value(name)
            if low is not None and high is not None and high < low:
                raise ValueError(f"{name} must be at least {metric.bounds}, got {high:g} and {low:g}")

    def value(self, metric: str | None) -> float | None:
        """A metric's value, None if it was not measured."""
        figure = self.metrics.get(metric) if metric else None
        return figure.value if figure else None
