"""What `vllm bench` writes, as of vLLM 0.32.0 (vllm/benchmarks/serve.py, latency.py, throughput.py).

`serve --save-result` writes one object, `--append-result` one a line, `--save-detailed` the single requests too.
`--metadata KEY=VALUE` puts what the user likes beside the results, as text. `total_input_tokens` are the server's own
count (usage.prompt_tokens) since vLLM's pull request 38654 of March 2026. Before, the client counted the text alone:
a run with images looks like one without.

`latency` sends random token ids, and so never an image. `throughput` counts prompts and answers together.
"""

from __future__ import annotations

from ...baselines.json_layout import Json
from ...baselines.serving_metrics import Figure
from . import bench_serving
from .fields import Fields
from .tool_run import ToolRun, unbundled

SERVE, LATENCY, THROUGHPUT = "vllm bench serve", "vllm bench latency", "vllm bench throughput"
WRITTEN = ("grid", "page", "mix", "gpu", "engine", "engine_version", "served_as", "encoder_graphs", "host")
ENGINES = {"vllm": "vllm", "sglang": "sglang", "tensorrt": "tensorrt-llm", "lmdeploy": "lmdeploy"}  # by the backend
OLD = "a `vllm bench serve` without vLLM's pull request 38654 (March 2026) counted the text alone: use a later one"


def is_serve(raw: Json) -> bool:
    return {"completed", "total_input_tokens", "request_throughput"} <= raw.keys() and "tokenizer_id" in raw


def is_latency(raw: Json) -> bool:
    return {"avg_latency", "latencies", "percentiles"} <= raw.keys()


def is_throughput(raw: Json) -> bool:
    return {"elapsed_time", "num_requests", "total_num_tokens", "requests_per_second"} <= raw.keys()


def serve(fields: Fields) -> ToolRun:
    """A run of `vllm bench serve`. Raises ResultFileError."""
    completed, sent = fields.count_of_requests("completed"), fields.whole("num_prompts")
    failed = fields.whole("failed")
    bench_serving.refuse_failures(fields, max((sent or 0) - completed, 0) if failed is None else failed)
    concurrency, rate = bench_serving.load(fields, sent or completed)
    metrics, notes = unbundled(bench_serving.metrics(fields, completed))
    backend = fields.text("backend") or fields.text("endpoint_type") or ""
    return ToolRun(
        fields.where,
        SERVE,
        metrics,
        completed,
        fields.needed("total_input_tokens") / completed,
        fields.needed("total_output_tokens") / completed,
        f"no image was sent; or {OLD}",
        concurrency,
        rate,
        model=fields.text("model_id"),
        engine=ENGINES.get(backend.partition("-")[0], "vllm"),
        date=fields.text("date"),
        written={name: value for name in WRITTEN if (value := fields.text(name))},
        notes=notes,
    )


def latency(fields: Fields) -> ToolRun:
    """Raises ResultFileError: this tool cannot send a page."""
    what = "`vllm bench latency` sends random token ids and no image, so its times are not those of a page;"
    raise fields.wrong(what, "measure with `vllm bench serve --dataset-name random-mm --backend openai-chat`")


def throughput(fields: Fields, new_tokens: int | None) -> ToolRun:
    """A run of `vllm bench throughput`, of which only the rates are known. Raises ResultFileError."""
    requests, seconds = fields.count_of_requests("num_requests"), fields.needed("elapsed_time")
    if not seconds:
        raise fields.wrong("its elapsed_time is 0: no clock gives that")
    fields.agree("requests_per_second", requests / seconds, "num_requests and elapsed_time")
    if new_tokens is None:
        what = (
            "`vllm bench throughput` counts prompts and answers together, so nobody can tell whether images were sent;"
        )
        raise fields.wrong(what, "give --new-tokens, the tokens of an answer")
    tokens = fields.needed("total_num_tokens") / requests
    return ToolRun(
        fields.where,
        THROUGHPUT,
        {"pages_per_s": Figure(requests / seconds), "tokens_per_s": Figure(new_tokens * requests / seconds)},
        requests,
        max(0.0, tokens - new_tokens),
        new_tokens,
        "no image was sent; only `--backend vllm-chat` counts image tokens",
        requests,
        None,
        model=fields.text("model_id"),
        engine="vllm",
    )
