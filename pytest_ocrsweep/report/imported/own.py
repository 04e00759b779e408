"""What `python -m pytest_ocrsweep.engines --save FILE` writes: an object a concurrency, with every single request."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from ...baselines.json_layout import Json
from ...baselines.serving_metrics import Figure
from ...engines.served import Load, Request, ServedLoad, span_ns, summary
from ...files.text import quoted
from .fields import Fields
from .tool_run import ToolRun

NAME = "pytest_ocrsweep.engines"
SLACK_NS = 10**9  # that a load's clock may run beside its requests
REQUEST = ("sent_ns", "first_ns", "last_ns", "prompt_tokens", "new_tokens")


def recognises(raw: Json) -> bool:
    return raw.get("tool") == NAME


def read(fields: Fields) -> ToolRun:
    """A run of one load. Raises ResultFileError."""
    requests = tuple(_request(fields, raw) for raw in fields.items("requests"))
    if not requests:
        raise fields.wrong("no request was answered: there is nothing to take")
    wall_ns = fields.whole("wall_ns")
    if not wall_ns:
        raise fields.wrong("it has no wall_ns: it is damaged, or of a version that is not known here")
    concurrency = fields.whole("concurrency")
    if concurrency is not None and not 1 <= concurrency <= len(requests):
        raise fields.wrong(f"concurrency must be from 1 to its {len(requests):,} requests, got {concurrency:,}")
    _consistent(fields, requests, wall_ns, concurrency)
    load = Load(1, 1, len(requests))  # its pages are named beside it: only times and tokens are taken from here
    energy = None if fields.raw.get("energy_mj") is None else fields.whole("energy_mj")
    total = summary(ServedLoad(load, requests, wall_ns, energy_mj=energy))
    others = ("ttft_p99_ns", "tpot_p99_ns", "pages_per_s", "tokens_per_s", "energy_mj_per_page")
    found = {
        "ttft_ns": Figure.of([float(each.ttft_ns) for each in requests]),
        "tpot_ns": Figure.of([each for request in requests if (each := request.tpot_ns) is not None]),
        **{name: _figure(getattr(total, name)) for name in others},
        "render_ns": Figure.of(fields.numbers("rendered_ns")),
    }
    encoder_graphs = fields.raw.get("encoder_graphs")
    return ToolRun(
        fields.where,
        NAME,
        {name: figure for name, figure in found.items() if figure},
        len(requests),
        sum(each.prompt_tokens for each in requests) / len(requests),
        sum(each.new_tokens for each in requests) / len(requests),
        "the engine did not read the image",
        concurrency,
        None,
        model=fields.text("model"),
        engine=fields.text("engine"),
        engine_version=fields.text("engine_version"),
        gpu=fields.text("gpu"),
        host=fields.text("host"),
        date=fields.text("date"),
        page=fields.text("page"),
        written={} if encoder_graphs is None else {"encoder_graphs": str(encoder_graphs)},
    )


def _request(fields: Fields, raw: object) -> Request:
    if not isinstance(raw, list) or len(raw) != len(REQUEST) or any(type(each) is not int for each in raw):
        raise fields.wrong(f"a request must be {', '.join(REQUEST)}, got {quoted(raw)}")
    request = Request(*raw)
    if not 0 <= request.sent_ns <= request.first_ns <= request.last_ns or request.new_tokens < 1:
        raise fields.wrong(f"a request must be sent, begin and end in this order, got {quoted(raw)}")
    return request


def _consistent(fields: Fields, requests: Sequence[Request], wall_ns: int, concurrency: int | None) -> None:
    """Raises ResultFileError for a time or a concurrency that is not that of its requests."""
    spent_ns = span_ns(requests)
    if not spent_ns <= wall_ns <= spent_ns + max(spent_ns, SLACK_NS):
        raise fields.wrong(f"wall_ns is {wall_ns:,}, and from its first request to its last token are {spent_ns:,}")
    events = sorted([(each.sent_ns, 1) for each in requests] + [(each.last_ns, -1) for each in requests])
    in_flight = max(accumulate(change for _, change in events))
    if concurrency is not None and 2 * in_flight < concurrency:  # short requests end before all are sent
        raise fields.wrong(f"its concurrency is {concurrency:,}, and at most {in_flight:,} of its requests overlap")
    if len({each.new_tokens for each in requests}) > 1:
        raise fields.wrong("its requests have different numbers of new tokens: they are no one load")


def _figure(value: float | None) -> Figure | None:
    return None if not value else Figure(value)
