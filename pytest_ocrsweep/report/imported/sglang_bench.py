"""What SGLang's `bench_serving` appends to its --output-file, a line a run, as of SGLang 0.5.23 (benchmark/serving.py).

Input tokens are those of the client: the model's own processor makes them from text and images
(benchmark/datasets/image.py), `total_input_vision_tokens` among them. The file has no number of failed requests; with
--output-details it has their errors. `server_info` is what an SGLang server says of itself, null for any other server.
"""

from __future__ import annotations

from ...baselines.json_layout import Json
from . import bench_serving
from .fields import Fields
from .tool_run import ToolRun, unbundled

NAME = "sglang bench_serving"
ENGINES = {"sglang": "sglang", "vllm": "vllm", "lmdeploy": "lmdeploy", "trt": "tensorrt-llm"}  # by the backend


def recognises(raw: Json) -> bool:
    return {"completed", "total_input_tokens", "server_info", "total_output_tokens_retokenized"} <= raw.keys()


def read(fields: Fields) -> ToolRun:
    """A run. Raises ResultFileError."""
    completed = fields.count_of_requests("completed")
    bench_serving.refuse_failures(fields, bench_serving.failures(fields))
    concurrency, rate = bench_serving.load(fields, completed)
    metrics, notes = unbundled(bench_serving.metrics(fields, completed))
    server = fields.part("server_info") or Fields(fields.where, {})
    vision = fields.number("total_input_vision_tokens")
    if vision == 0:
        what = "its requests had no vision tokens (total_input_vision_tokens 0): no image was sent;"
        raise fields.wrong(what, "measure with `--dataset-name image`")
    unknown = () if "errors" in fields.raw else ("it does not say how many requests failed (--output-details does)",)
    return ToolRun(
        fields.where,
        NAME,
        metrics,
        completed,
        fields.needed("total_input_tokens") / completed,
        fields.needed("total_output_tokens") / completed,
        "no image was sent, or a smaller one",
        concurrency,
        rate,
        model=server.text("served_model_name") or server.text("model_path"),
        engine=ENGINES.get((fields.text("backend") or "").partition("-")[0]),
        engine_version=server.text("version"),
        notes=(*notes, *unknown),
    )
