"""What `vllm bench serve` and SGLang's `bench_serving` write alike: both come from one script, and have its keys.

Summaries are in ms, the lists of single requests in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf

from ...baselines.serving_metrics import Figure
from .fields import AGREE, Fields, seconds

SUMMARIES = {
    "ttft_ns": "median_ttft_ms",
    "ttft_p99_ns": "p99_ttft_ms",
    "tpot_ns": "median_tpot_ms",
    "tpot_p99_ns": "p99_tpot_ms",
    "itl_ns": "median_itl_ms",
}


def refuse_failures(fields: Fields, failed: int) -> None:
    """Raises ResultFileError: a failed request takes no work from the server, and the others look faster for it."""
    if failed:
        what = f"{failed} of its requests failed: the others look faster for it;"
        raise fields.wrong(what, "see to the server's log, and measure again")


def failures(fields: Fields) -> int:
    """The requests that failed by the list of errors, in which an answered one has an empty text."""
    return sum(bool(each) for each in fields.items("errors"))


def metrics(fields: Fields, completed: int) -> dict[str, Figure]:
    """The metrics of a run, with quartiles if it kept its single requests. Raises ResultFileError."""
    duration = fields.needed("duration")
    if not duration:
        raise fields.wrong("its duration is 0: no clock gives that")
    fields.agree("request_throughput", completed / duration, "completed and duration")
    fields.agree(
        "output_throughput", fields.needed("total_output_tokens") / duration, "total_output_tokens and duration"
    )
    found: Mapping[str, Figure | None] = {
        **{name: fields.time(key) for name, key in SUMMARIES.items()},
        "pages_per_s": fields.rate("request_throughput"),
        "tokens_per_s": fields.rate("output_throughput"),
    }
    measured = {name: figure for name, figure in found.items() if figure}
    return {name: _sampled(fields, name, figure) for name, figure in measured.items()}


def _sampled(fields: Fields, name: str, figure: Figure) -> Figure:
    """The same figure with the quartiles of its samples; they must have the median that the tool wrote."""
    sampled = seconds(_samples(fields, name))
    if sampled is None:
        return figure
    if abs(sampled.value - figure.value) > max(AGREE * figure.value, 1000):
        what = f"{SUMMARIES[name]} is {figure.value / 1e6:g}, but its single requests have {sampled.value / 1e6:g}"
        raise fields.wrong(f"{what}: the file contradicts itself")
    return sampled


def _samples(fields: Fields, name: str) -> list[float]:
    """The samples of a median, in seconds; empty for other metrics, and without the lists of single requests."""
    if name == "ttft_ns":
        return fields.numbers("ttfts")
    if name == "itl_ns":
        return [gap for gaps in fields.items("itls") for gap in Fields(fields.where, {"itls": gaps}).numbers("itls")]
    if name == "tpot_ns":
        return _per_token(*(fields.numbers(key) for key in ("ttfts", "latencies", "output_lens")))
    return []


def _per_token(ttfts: Sequence[float], latencies: Sequence[float], lengths: Sequence[float]) -> list[float]:
    """The time per token after the first, of each request with more than one."""
    if not len(ttfts) == len(latencies) == len(lengths):
        return []
    rows = zip(ttfts, latencies, lengths, strict=True)
    return [max(0.0, latency - ttft) / (length - 1) for ttft, latency, length in rows if length > 1]


def load(fields: Fields, requests: int) -> tuple[int | None, float | None]:
    """Concurrency and request rate; requests that are sent at once are as many in flight. Raises ResultFileError."""
    limit, rate = fields.whole("max_concurrency"), fields.raw.get("request_rate")
    if fields.raw.get("ramp_up_strategy") or rate == "trace":
        raise fields.wrong("its requests came at a changing rate: no point has such a load")
    if rate in (None, "inf") or (isinstance(rate, float) and isinf(rate) and rate > 0):
        return limit or requests, None
    return limit or None, fields.needed("request_rate")
