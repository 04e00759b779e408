"""A load that an engine serves, what it took request by request, and what that comes to.

The loop is closed: `concurrency` requests are in flight until all pages are done. Times are nanoseconds of one
monotonic clock, which begins anywhere.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import EngineError
from ..model.geometry import RESOLUTIONS, image_tokens

LEAST = {"width": 1, "height": 1, "pages": 1, "concurrency": 1, "new_tokens": 1, "image_tokens": 1, "warmup": 0}
PERCENTILE = 99
# Of a page without crops, at the resolution that engines use: every page with an image has at least these.
GLOBAL_VIEW = int(image_tokens(RESOLUTIONS["gundam"], 1, 1, crops=False))


@dataclass(frozen=True, slots=True)
class Load:
    """`pages` different pages of `width` × `height` pixels, drawn from `seed`, after `warmup` others that do not count.

    `prompt` is a text or its tokens. A request with fewer prompt tokens than `image_tokens` has lost its image. Raises
    ValueError for values that are not possible.
    """

    width: int
    height: int
    pages: int
    concurrency: int = 1
    new_tokens: int = 100
    prompt: str | tuple[int, ...] = "Free OCR."
    seed: int = 0
    image_tokens: int = GLOBAL_VIEW
    warmup: int = 2
    slowdown_percent: float = 0.0  # by which an engine of ours lengthens each of its steps, to test the gate

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if self.pages < self.concurrency:
            raise ValueError(f"{self.pages} pages are never {self.concurrency} at once: give at least as many")


@dataclass(frozen=True, slots=True)
class Request:
    """One page: when it was sent, when its first and its last token came, and how many tokens went in and came out."""

    sent_ns: int
    first_ns: int
    last_ns: int
    prompt_tokens: int
    new_tokens: int

    @property
    def ttft_ns(self) -> int:
        return self.first_ns - self.sent_ns

    @property
    def tpot_ns(self) -> float | None:
        """The mean time a token after the first; None if there is no such token, or all came at once."""
        took = self.last_ns - self.first_ns
        return took / (self.new_tokens - 1) if self.new_tokens > 1 and took else None


def span_ns(requests: Sequence[Request]) -> int:
    """From the first of some requests, at least one, to the last token of all."""
    return max(each.last_ns for each in requests) - min(each.sent_ns for each in requests)


@dataclass(frozen=True, slots=True)
class ServedLoad:
    """A load that was served: its requests in the order in which they ended, and the time from the first to the end.

    `rendered_ns` has the host's time to turn each page from a PNG into views; it is empty if the engine does not say.
    `energy_mj` is what the GPU took in that time, by its own counter; None if it has none or the engine does not say.
    `started_s` is what the engine took to start, if we started it. `host_ns` is what a fixed piece of work took on its
    host just before and just after; it is empty if the engine does not say.
    """

    load: Load
    requests: tuple[Request, ...]
    wall_ns: int
    rendered_ns: tuple[int, ...] = ()
    energy_mj: int | None = None
    started_s: float | None = None
    host_ns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """What users compare. A number that was not measured is None."""

    ttft_ns: int | None
    ttft_p99_ns: int | None
    tpot_ns: int | None
    tpot_p99_ns: int | None
    pages_per_s: float | None
    tokens_per_s: float | None
    render_ns: int | None
    energy_mj_per_page: float | None


def summary(served: ServedLoad) -> Summary:
    """Medians and 99th percentiles over requests; rates over the whole time, in which nothing was rendered offline."""
    ttft = [request.ttft_ns for request in served.requests]
    tpot = [each for request in served.requests if (each := request.tpot_ns) is not None]
    return Summary(
        ttft_ns=_median(ttft),
        ttft_p99_ns=_p99(ttft),
        tpot_ns=_median(tpot),
        tpot_p99_ns=_p99(tpot),
        pages_per_s=_a_second(len(served.requests), served),
        tokens_per_s=_a_second(sum(request.new_tokens for request in served.requests), served),
        render_ns=_median(served.rendered_ns),
        energy_mj_per_page=None if served.energy_mj is None else served.energy_mj / len(served.requests),
    )


def checked(where: str, served: ServedLoad) -> ServedLoad:
    """The same, if each request had its image and all its tokens. Raises EngineError, which has the requests."""
    error = next(filter(None, (_wrong(where, served.load, request) for request in served.requests)), None)
    if error is not None:
        error.requests = served.requests
        raise error
    return served


def _wrong(where: str, load: Load, request: Request) -> EngineError | None:
    if request.prompt_tokens < load.image_tokens:
        return EngineError(
            f"{where}: a request had {request.prompt_tokens:,} prompt tokens, but its image alone has "
            f"{load.image_tokens:,}: the engine did not read the image;",
            "serve a model that reads images, DeepSeek-OCR at its usual resolution",
        )
    if request.new_tokens < load.new_tokens:
        return EngineError(
            f"{where}: a request ended after {request.new_tokens:,} of {load.new_tokens:,} tokens;",
            "serve with a greater max_model_len, and an engine that knows ignore_eos, or ask for fewer tokens",
        )
    return None


def _median(values: Sequence[float]) -> int | None:
    return round(statistics.median(values)) if values else None


def _p99(values: Sequence[float]) -> int | None:
    """Between two requests in proportion, as `vllm bench` has it."""
    if len(values) < 2:
        return _median(values)
    return round(statistics.quantiles(values, n=100, method="inclusive")[PERCENTILE - 1])


def _a_second(count: int, served: ServedLoad) -> float | None:
    return count / served.wall_ns * 1e9 if count and served.wall_ns else None
