"""Serving points and runs for tests, and the files that the real tools wrote.

The files in `tests/report/data/serving` are from vLLM 0.32.0 (CPU build), which served a tiny model of this
architecture as "tiny-ocr" on two busy cores, 2026-11-28. `vllm bench serve` sent pages of 1240x1754 (random-mm) at
concurrency 2, text alone, and pages of 640x640 at two concurrencies, appended. The others: `vllm bench throughput`,
AIPerf 0.13.0, and SGLang 0.5.23's bench with a processor that counts 903 tokens a page, as it has none for this
model. Paths are shortened, and generated texts are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_ocrsweep.baselines.serving import Pages, Provenance, ServingKey, ServingRun
from pytest_ocrsweep.baselines.serving_metrics import SERVING_METRICS, Figure

DATA = Path(__file__).parents[1] / "report" / "data" / "serving"
SERVE = DATA / "vllm-serve-1.json"
ABOUT = ("deepseek-ocr", "nvidia-h100-80gb-hbm3", "vllm")
H100 = Provenance("vllm bench serve", engine_version="0.26.0", gpu="NVIDIA H100 80GB HBM3", dtype="bfloat16")

# One H100, vLLM 0.26.0, a page of 3x2 at concurrency 8; the 99th percentiles are made up.
USUAL: Mapping[str, float] = {
    "ttft_ns": 603_000_000,
    "ttft_p99_ns": 910_000_000,
    "tpot_ns": 2_430_000,
    "tpot_p99_ns": 2_900_000,
    "itl_ns": 2_400_000,
    "pages_per_s": 8.9,
    "tokens_per_s": 890.0,
}


def key(
    pages: str = "grid 3x2", concurrency: int | None = 8, prompt: int = 10, new: int = 100, **more: Any
) -> ServingKey:
    return ServingKey(Pages.parse(pages), concurrency, prompt, new, **more)


def run(
    by: float = 0.0, requests: int = 200, provenance: Provenance = H100, date: str | None = None, **by_metric: float
):
    """The usual run, worse by a ratio: slower times, lower rates. `ttft_ns=0.1` makes a single metric worse."""
    values = {name: worse(name, value, by_metric.get(name, by)) for name, value in USUAL.items()}
    return ServingRun({name: Figure(value) for name, value in values.items()}, requests, provenance, date)


def worse(metric: str, value: float, by: float) -> float:
    if SERVING_METRICS[metric].unit == "ns":
        return round(value * (1 + by))
    return value * (1 - by)


def sampled(spread: float, samples: int, by: float = 0.0) -> ServingRun:
    """A run that kept its samples: quartiles `spread` to either side of each median."""
    plain = run(by)
    figures = {
        name: Figure(figure.value, figure.value * (1 - spread), figure.value * (1 + spread), samples)
        for name, figure in plain.metrics.items()
    }
    return replace(plain, metrics=figures)


def recorded(*by: float) -> list[ServingRun]:
    """Runs that differ by these ratios, each at its own date."""
    return [run(each, date=f"run {number}") for number, each in enumerate(by)]


def tool_file(path: Path, source: str = SERVE.name, **changed: Any) -> Path:
    """A real file with some of its keys changed; `...` removes a key."""
    raw = {**json.loads((DATA / source).read_text(encoding="utf-8")), **changed}
    path.write_text(json.dumps({name: value for name, value in raw.items() if value is not ...}), encoding="utf-8")
    return path


def slower(path: Path, by: float, source: str = SERVE.name) -> Path:
    """A real file of a run that took longer, with figures that agree with one another."""
    raw = json.loads((DATA / source).read_text(encoding="utf-8"))
    times = {name: value * (1 + by) for name, value in raw.items() if name.endswith("_ms") or name == "duration"}
    rates = {
        name: raw[name] / (1 + by) for name in ("request_throughput", "output_throughput", "total_token_throughput")
    }
    return tool_file(path, source, **times, **rates)
