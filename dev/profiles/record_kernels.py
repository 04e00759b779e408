"""Records the kernels of a real vLLM for `engine_kernels.py`: one step of each kind, each kernel with its time.

It is run by the engine's interpreter, on the GPU, and needs nothing else of this project but the folder of its runner:

    /opt/vllm/bin/python dev/profiles/record_kernels.py DeepSeek-OCR dev/profiles/nvidia-h200-vllm-kernels.jsonl.gz

Weights are random and answers are drawn at temperature 1. A prefill is recorded with its vision; a decode step is the
median of five by the time of its kernels, after some fifty new tokens of each page.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

RUNNER = Path(__file__).resolve().parents[2] / "pytest_ocrsweep" / "engines" / "runner_vllm"
ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
PAGES = {"1x1": (640, 640), "3x2": (1240, 1754)}  # grids of rows and columns: width and height of a page
PREFILLS = (("1x1", 1), ("3x2", 1), ("3x2", 8))
DECODES = (("3x2", 1), ("3x2", 8), ("3x2", 64))
TOKENS_BEFORE, STEPS = 52, 5  # new tokens of each page before the recorded steps, and how many of these
LEFT_OUT = ("at::native::", "(anonymous namespace)::", "void ")  # of a kernel's name
LONGEST = 160  # characters of a name; its kind is among the first
CATEGORIES = ("kernel", "gpu_memcpy", "gpu_memset")
LONG_SIZES = ("_vllm_fa3", "vllm::")  # operations whose operands' sizes are not compared
Row = list[Any]  # name, ns, bytes copied, operation, sizes of its operands, and whether it is on a stream of its own


def load_runner() -> Any:
    """The package of the runner, by its path."""
    spec = spec_from_file_location("runner_vllm", RUNNER / "__init__.py", submodule_search_locations=[str(RUNNER)])
    assert spec is not None
    sys.modules["runner_vllm"] = module_from_spec(spec)
    return import_module("runner_vllm.offline")


def page(size: tuple[int, int], seed: int) -> str:
    """A page with lines of dark dots, a PNG in base64."""
    import numpy as np
    from PIL import Image

    (width, height), random = size, np.random.default_rng(seed)
    dots = np.full((height, width, 3), 255, np.uint8)
    for y in range(20, height - 20, 14):
        dark = random.random(width) < 0.45
        dots[y : y + 8, dark] = random.integers(0, 90, (8, int(dark.sum()), 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(dots).save(png, "PNG")
    return base64.b64encode(png.getvalue()).decode()


class Engine:
    """vLLM with pages in flight."""

    def __init__(self, folder: str) -> None:
        self._offline = load_runner()
        self._runner = self._offline.OfflineEngine()
        options = {**dict.fromkeys(self._offline.PASSED), "dtype": "bfloat16", "gpu_memory_utilization": 0.6}
        self._runner.start(folder, "random", False, None, **options)
        self.about: dict[str, Any] = self._runner.about()
        self._core = self._runner._engine
        self._ready = {
            grid: [self._runner._render(page(size, seed), "Free OCR.")[0] for seed in range(8)]
            for grid, size in PAGES.items()
        }

    def add(self, grid: str, pages: int, tokens: int) -> None:
        params = self._offline.sampling(tokens, temperature=1)
        for i in range(pages):
            ready = self._offline.renamed(self._ready[grid][i % 8])
            self._core.add_request(ready["mm_hashes"]["image"][0], ready, params.clone())

    def step(self) -> int:
        """Runs one step; how many tokens it made."""
        return sum(len(output.outputs[0].token_ids) for output in self._core.step())

    def finish(self) -> None:
        import torch

        while self._core.has_unfinished_requests():
            self._core.step()
        torch.cuda.synchronize()


def profiled(call: Callable[[], object]) -> list[Row]:
    """The kernels of `call`, in the order in which they ran."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True) as profiler:
        call()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profiler.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_bytes())["traceEvents"]
    launchers: dict[int, dict[str, Any]] = {}  # of an operation inside another, the inner one
    for event in events:
        if event.get("cat") == "cpu_op":
            number = event["args"].get("External id")
            if number not in launchers or event["dur"] < launchers[number]["dur"]:
                launchers[number] = event
    kernels = sorted((event for event in events if event.get("cat") in CATEGORIES), key=lambda event: event["ts"])
    main = kernels[0]["args"].get("stream")
    return [_row(event, launchers.get(event["args"].get("External id")), main) for event in kernels]


def _row(event: dict[str, Any], launcher: dict[str, Any] | None, main: int) -> Row:
    name, given = event["name"], event["args"]
    for part in LEFT_OUT:
        name = name.replace(part, "")
    operation = launcher and launcher["name"]
    sizes = None if launcher is None or operation.startswith(LONG_SIZES) else launcher["args"].get("Input Dims")
    copies = name.startswith("Memcpy")
    beside = not copies and given.get("stream") != main
    copied = given.get("bytes") if copies else None
    return [name[:LONGEST], round(event["dur"] * 1000), copied, operation, sizes, int(beside)]


def steps_of(rows: list[Row]) -> list[list[Row]]:
    """The kernels of each step: it ends when its tokens go to the host."""
    steps: list[list[Row]] = [[]]
    for row in rows:
        steps[-1].append(row)
        if row[0].startswith("Memcpy DtoH (Device -> Pinned)") and row[3] == "aten::copy_":
            steps.append([])
    return [step for step in steps if step]


def traces(engine: Engine) -> Iterator[dict[str, Any]]:
    """Each step that is recorded."""
    for grid in PAGES:  # what is compiled or captured late, is before the recording
        for pages in (1, 8):
            engine.add(grid, pages, 4)
            engine.finish()
    for grid, pages in PREFILLS:
        engine.add(grid, pages, 2)
        first, *_ = steps_of(profiled(engine.finish))
        yield compact(first, stage="prefill", grid=grid, pages=pages, keys=None)
    for grid, pages in DECODES:
        engine.add(grid, pages, TOKENS_BEFORE + 10 * STEPS)
        made = 0
        while made < pages * TOKENS_BEFORE:
            made += engine.step()
        steps = steps_of(profiled(lambda: [engine.step() for _ in range(STEPS)]))[:STEPS]
        median = sorted(steps, key=lambda step: sum(row[1] for row in step))[len(steps) // 2]
        keys = made // pages + 1 + steps.index(median)
        yield compact(median, stage="decode", grid=grid, pages=pages, keys=keys)
        engine.finish()


def compact(rows: list[Row], **about: object) -> dict[str, Any]:
    """The rows with each name and each list of sizes once."""
    strings: dict[str, int] = {}
    sizes: dict[str, int] = {}

    def place(table: dict[str, int], text: str) -> int:
        return table.setdefault(text, len(table))

    kernels = [
        [
            place(strings, name),
            ns,
            copied,
            None if operation is None else place(strings, operation),
            place(sizes, json.dumps(operands)),
            beside,
        ]
        for name, ns, copied, operation, operands, beside in rows
    ]
    return {**about, "strings": list(strings), "sizes": [json.loads(text) for text in sizes], "kernels": kernels}


def main(folder: str, out: str) -> None:
    os.environ.update({**ENVIRONMENT, **os.environ})
    engine = Engine(folder)
    rows = [{"about": {name: str(value) for name, value in engine.about.items()}}, *traces(engine)]
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    Path(out).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    os._exit(0)  # vLLM's threads do not end by themselves


if __name__ == "__main__":
    main(*sys.argv[1:])
