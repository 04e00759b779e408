"""What AIPerf writes to profile_export_aiperf.json, as of AIPerf 0.13.0, schema 1.4 (common/models/export_models.py).

Each metric is an object with its unit, its mean, percentiles and count. `inter_token_latency` is a request's time after
its first token over its other tokens, which is TPOT here; the gaps between chunks are `inter_chunk_latency`.
`input_sequence_length` is of the text alone unless AIPerf ran with --use-server-token-count; `usage_prompt_tokens` is
the server's count. `input_config` had another layout before 0.13 (endpoint.model_names, loadgen).
"""

from __future__ import annotations

from collections.abc import Iterator

from ...baselines.json_layout import Json
from ...baselines.serving_metrics import Figure
from .fields import Fields
from .tool_run import ToolRun, unbundled

NAME = "aiperf"
UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "sec": 10**9}
RATES = ("requests/sec", "tokens/sec")
TIMES = {"ttft_ns": "time_to_first_token", "tpot_ns": "inter_token_latency", "itl_ns": "inter_chunk_latency"}
TAILS = {"ttft_p99_ns": "time_to_first_token", "tpot_p99_ns": "inter_token_latency"}
SERVER_COUNT = "measure with --use-server-token-count"


def recognises(raw: Json) -> bool:
    return "input_config" in raw and isinstance(raw.get("request_throughput", {}), dict) and "request_latency" in raw


def read(fields: Fields) -> ToolRun:
    """A run. Raises ResultFileError."""
    _refuse_unfinished(fields)
    metrics, notes = unbundled({name: figure for name, figure in _metrics(fields) if figure})
    images, prompt = _mean(fields, "num_images"), _mean(fields, "usage_prompt_tokens")
    if images is None:
        raise fields.wrong("no request held an image (it has no num_images);", "measure with --image-batch-size 1")
    if prompt is None:
        what = "it has no usage_prompt_tokens, so nobody can tell whether the server read the images;"
        raise fields.wrong(what, SERVER_COUNT)
    config = fields.part("input_config") or Fields(fields.where, {})
    concurrency, rate = _load(config)
    return ToolRun(
        fields.where,
        NAME,
        metrics,
        round(_mean(fields, "request_count") or 0),
        prompt,
        _mean(fields, "output_sequence_length") or 0.0,
        "no image was sent, or a smaller one",
        concurrency,
        rate,
        images=images,
        model=_model(config),
        tool_version=fields.text("aiperf_version"),
        gpu=_gpu(fields),
        date=fields.text("start_time"),
        page=_page(config),
        notes=notes,
    )


def _refuse_unfinished(fields: Fields) -> None:
    if not _mean(fields, "request_count"):
        raise fields.wrong("no request was answered (request_count 0): there is nothing to take")
    if failed := round(_mean(fields, "error_request_count") or 0):
        what = f"{failed} of its requests failed: the others look faster for it;"
        raise fields.wrong(what, "see to the server's log, and measure again")
    if fields.raw.get("was_cancelled") or fields.raw.get("is_complete") is False:
        why = fields.text("incomplete_reason") or "it was cancelled"
        raise fields.wrong(f"the run did not finish ({why}):", "measure again")


def _metrics(fields: Fields) -> Iterator[tuple[str, Figure | None]]:
    for name, key in TIMES.items():
        yield name, _time(fields.part(key))
    for name, key in TAILS.items():
        part = fields.part(key)
        yield name, part.time("p99", _unit_ns(part)) if part else None
    yield "pages_per_s", _rate(fields.part("request_throughput"))
    yield "tokens_per_s", _rate(fields.part("output_token_throughput"))


def _time(part: Fields | None) -> Figure | None:
    """The median with its quartiles, in whole ns."""
    if part is None:
        return None
    unit = _unit_ns(part)
    q1, median, q3 = (part.time(name, unit) for name in ("p25", "p50", "p75"))
    count = part.whole("count")
    if median and q1 and q3 and count:
        return Figure(median.value, q1.value, q3.value, count)
    return median


def _unit_ns(part: Fields) -> int:
    unit = part.text("unit")
    if unit not in UNITS_NS:
        raise part.wrong(f"its unit must be one of {', '.join(UNITS_NS)}, got {unit}")
    return UNITS_NS[unit]


def _rate(part: Fields | None) -> Figure | None:
    if part is None:
        return None
    if part.text("unit") not in RATES:
        raise part.wrong(f"its unit must be one of {', '.join(RATES)}, got {part.text('unit')}")
    return part.rate("avg")


def _mean(fields: Fields, name: str) -> float | None:
    part = fields.part(name)
    return part.number("avg") if part else None


def _load(config: Fields) -> tuple[int | None, float | None]:
    """Concurrency and request rate of the one phase that was measured. Raises ResultFileError."""
    if old := config.part("loadgen"):
        return old.whole("concurrency"), old.number("request_rate")
    phases = [Fields(config.where, each) for each in config.items("phases") if isinstance(each, dict)]
    measured = [each for each in phases if each.raw.get("kind", "profiling") == "profiling"]
    if len(measured) != 1:
        raise config.wrong(f"it has {len(measured)} measured phases: no single load can be named")
    phase = measured[0]
    if phase.raw.get("concurrency_ramp") or phase.raw.get("rate_series") or phase.raw.get("rate_ramp"):
        raise config.wrong("its requests came at a changing rate: no point has such a load")
    rate = phase.number("rate")
    return phase.whole("concurrency") or (None if rate else 1), rate


def _model(config: Fields) -> str | None:
    """The one model that was asked; None for several."""
    models, endpoint = config.raw.get("models"), config.part("endpoint")
    items = models.get("items") if isinstance(models, dict) else endpoint.items("model_names") if endpoint else []
    names = [each.get("name") if isinstance(each, dict) else each for each in items or []]
    return names[0] if len(names) == 1 and isinstance(names[0], str) else None


def _page(config: Fields) -> str | None:
    """The size of the pages that AIPerf made, if all have one."""
    for each in config.items("datasets"):
        images = Fields(config.where, each).part("images") if isinstance(each, dict) else None
        sides = [images.part(side) for side in ("width", "height")] if images else []
        if sides and all(side and side.number("mean") and not side.number("stddev") for side in sides):
            return "x".join(f"{side.number('mean'):.0f}" for side in sides if side)
    return None


def _gpu(fields: Fields) -> str | None:
    """The one GPU's name that telemetry saw; None without, or for several."""
    endpoints = (fields.part("telemetry_data") or Fields(fields.where, {})).part("endpoints")
    names = set()
    for each in (endpoints.raw if endpoints else {}).values():
        gpus = each.get("gpus") if isinstance(each, dict) else None
        for gpu in (gpus if isinstance(gpus, dict) else {}).values():
            names.add(gpu.get("gpu_name") if isinstance(gpu, dict) else None)
    (name,) = names if len(names) == 1 else (None,)
    return name if isinstance(name, str) else None
