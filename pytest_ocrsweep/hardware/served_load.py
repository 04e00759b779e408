"""A load as an engine serves it: when its pages got their tokens, and what the device was busy with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

PARTS = ("vision", "launches", "prefill", "decode")  # what the device is busy with; launches: it waits for them


def pages_of(concurrency: int) -> int:
    """How many pages a load has, if nobody says otherwise: four times those in flight, and eight at least."""
    return max(8, 4 * concurrency)


@dataclass(frozen=True, slots=True)
class Answer:
    """So many pages that were sent, got their first token and got their last one together."""

    pages: int
    sent_ns: float
    first_ns: float
    last_ns: float
    new_tokens: int


@dataclass(frozen=True, slots=True)
class Served:
    """A load, as an engine serves it: medians over pages, as a client of the engine has them."""

    answers: tuple[Answer, ...]
    wall_ns: float
    busy_ns: dict[str, float]  # of the device, by PARTS
    tensor_flops: float

    @property
    def pages(self) -> int:
        return sum(answer.pages for answer in self.answers)

    @property
    def page_ns(self) -> float:
        return self.wall_ns / self.pages

    @property
    def ttft_ns(self) -> float:
        return self._median([answer.first_ns - answer.sent_ns for answer in self.answers])

    @property
    def tpot_ns(self) -> float:
        return self._median([(each.last_ns - each.first_ns) / max(1, each.new_tokens - 1) for each in self.answers])

    def _median(self, values: Sequence[float]) -> float:
        return median(value for value, answer in zip(values, self.answers, strict=True) for _ in range(answer.pages))
