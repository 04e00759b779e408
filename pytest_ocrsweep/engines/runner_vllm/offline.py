"""The engine without a server: it renders pages, keeps requests in flight, and notes when their tokens come.

Pages are rendered before the clock starts, and no cache holds anything of them.
"""

from __future__ import annotations

import base64
import importlib.metadata
import io
import re
import sys
import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from . import host, model
from .model import Row

LEAST = (0, 26)  # the first version that this was tried with
RENDERED = 64  # pages that wait in memory, 42 MB each at 2x3; beyond it they come again under new names
PASSED = (
    "dtype",
    "max_num_seqs",
    "max_model_len",
    "max_num_batched_tokens",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
)


class Refused(Exception):
    """A command that cannot be done; the engine is as it was before."""

    kind = "refused"


class TooOld(Refused):
    """A version of vLLM that this was never tried with."""

    kind = "version"


class OfflineEngine:
    """vLLM, once it is started. Its public methods are the commands of the protocol."""

    def __init__(self) -> None:
        self._llm: Any = None
        self._host_ns: list[int] = []  # of a moment after the start

    def start(
        self, model_folder: str, weights: str, encoder_graphs: bool, max_crops: int | None, **options: Any
    ) -> Row:
        began = time.perf_counter()
        check_version(versions()["version"])
        import vllm

        check_version(getattr(vllm, "__version__", None))
        if max_crops is not None:
            model.limit_crops(max_crops)
        arguments = {name: options[name] for name in PASSED if options[name] is not None}
        if encoder_graphs:
            arguments["compilation_config"] = {"cudagraph_mm_encoder": True}
        self._llm = vllm.LLM(
            model=model_folder, load_format=model.random_format() if weights == "random" else "auto", seed=0,
            limit_mm_per_prompt={"image": 1}, mm_processor_cache_gb=0, enable_prefix_caching=False, **arguments,
        )  # fmt: skip
        started_s = time.perf_counter() - began
        self._host_ns = host.speed()
        return {"started_s": started_s}

    def about(self) -> Row:
        import vllm

        config = self._engine.vllm_config
        layers = self._llm.collective_rpc("get_kv_cache_spec")[0].values()
        return {
            **self._llm.apply_model(model.figures)[0],
            "versions": {**versions(), "version": vllm.__version__},
            "gpu": model.gpu(),
            "kv_bytes_per_token": sum(layer.page_size_bytes // layer.block_size for layer in layers) or None,
            "kv_blocks": config.cache_config.num_gpu_blocks,
            "kv_block_tokens": config.cache_config.block_size,
            "captured_batches": sorted(config.compilation_config.cudagraph_capture_sizes or ()),
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
            "max_model_len": config.model_config.max_model_len,
            "encoder_graphs": bool(config.compilation_config.cudagraph_mm_encoder),
            "host_ns": self._host_ns,
        }

    def run(
        self,
        pages: list[str],
        warmup: int,
        concurrency: int,
        new_tokens: int,
        prompt: str | list[int],
        slowdown_percent: float,
    ) -> Row:
        """Serves the pages, PNG files in base64, after the last `warmup` of them."""
        count = len(pages) - warmup
        early = [self._render(page, prompt)[0] for page in pages[count:]]
        ready, took = zip(*[self._render(page, prompt) for page in pages[: min(count, RENDERED)]], strict=True)
        self._check_length(max(len(page["prompt_token_ids"]) for page in ready) + new_tokens)
        self._serve(iter(early), concurrency, new_tokens)
        early_ns = host.work_ns()
        before_mj, began = model.energy_mj(), time.perf_counter_ns()
        named = (renamed(ready[index % len(ready)]) for index in range(count))
        rows = self._serve(named, concurrency, new_tokens, slowdown_percent)
        wall_ns = time.perf_counter_ns() - began
        after_mj = model.energy_mj()
        energy_mj = None if before_mj is None or after_mj is None else after_mj - before_mj
        speed = [early_ns, host.work_ns()]
        return {"requests": rows, "wall_ns": wall_ns, "rendered_ns": took, "energy_mj": energy_mj, "host_ns": speed}

    def _render(self, page: str, prompt: str | list[int]) -> tuple[Row, int]:
        """A page as the engine takes it, and how long its PNG took to become that."""
        from PIL import Image

        png = io.BytesIO(base64.b64decode(page))
        began = time.perf_counter_ns()
        text = {"prompt": f"<image>\n{prompt}"} if isinstance(prompt, str) else {"prompt_token_ids": self._ids(prompt)}
        image = Image.open(png).convert("RGB")
        try:
            (ready,) = self._engine.renderer.render_cmpl([{**text, "multi_modal_data": {"image": image}}])
        except ValueError as error:
            raise Refused(str(error)) from None
        return ready, time.perf_counter_ns() - began

    def _ids(self, prompt: list[int]) -> list[int]:
        return [self._llm.get_tokenizer().convert_tokens_to_ids("<image>"), *prompt]

    def _check_length(self, tokens: int) -> None:
        """The engine would end such a request early. Raises Refused."""
        most = self._engine.vllm_config.model_config.max_model_len
        if tokens > most:
            raise Refused(f"a page and its answer have {tokens:,} tokens, and max_model_len is {most:,}")

    def _serve(
        self, pages: Iterator[Row], concurrency: int, new_tokens: int, slowdown_percent: float = 0.0
    ) -> list[list[int]]:
        """Keeps `concurrency` requests in flight. A row for each: sent, first, last, prompt tokens, new tokens."""
        params = sampling(new_tokens)
        in_flight: dict[str, list[int]] = {}
        rows: list[list[int]] = []
        page = next(pages, None)
        while page is not None or in_flight:
            while page is not None and len(in_flight) < concurrency:
                self._send(page, params, in_flight)
                page = next(pages, None)
            began = time.perf_counter_ns()
            outputs = self._engine.step()
            lengthen(began, slowdown_percent)
            for output in outputs:
                note(output, time.perf_counter_ns(), in_flight, rows)
        return rows

    def _send(self, page: Row, params: Any, in_flight: dict[str, list[int]]) -> None:
        name, sent_ns = uuid.uuid4().hex, time.perf_counter_ns()
        try:
            self._engine.add_request(name, page, params.clone())
        except ValueError as error:  # it does not fit into the engine's length
            self._engine.abort_request(list(in_flight))
            raise Refused(str(error)) from None
        in_flight[name] = [sent_ns, 0, 0, len(page["prompt_token_ids"]), 0]

    @property
    def _engine(self) -> Any:
        if self._llm is None:
            raise Refused("the engine is not started")
        return self._llm.llm_engine


def sampling(new_tokens: int, temperature: float = 0) -> Any:
    """Just so many tokens for each request, the likeliest ones, each handed out when it is there."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=temperature,
        max_tokens=new_tokens,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def lengthen(began_ns: int, percent: float) -> None:
    """Waits until what began then has taken so much longer than it did; a sleep would be too coarse."""
    now_ns = time.perf_counter_ns()
    end_ns = now_ns + round((now_ns - began_ns) * percent / 100)
    while percent and time.perf_counter_ns() < end_ns:
        pass


def note(output: Any, now_ns: int, in_flight: dict[str, list[int]], rows: list[list[int]]) -> None:
    """Writes down when a request's tokens came."""
    row = in_flight[output.request_id]
    tokens = len(output.outputs[0].token_ids)
    if tokens:
        row[1], row[2] = row[1] or now_ns, now_ns
        row[4] += tokens
    if output.finished:
        rows.append(in_flight.pop(output.request_id))


def renamed(ready: Row) -> Row:
    """A rendered page under a new name, so that no cache has its views."""
    return {**ready, "mm_hashes": {"image": [uuid.uuid4().hex]}}


def check_version(version: str | None) -> None:
    """Raises TooOld; a version that says nothing passes."""
    number = re.match(r"([0-9]+)\.([0-9]+)", version or "")
    if number and (int(number[1]), int(number[2])) < LEAST:
        raise TooOld(f"vLLM {version} is older than {LEAST[0]}.{LEAST[1]}")


def versions() -> dict[str, str | None]:
    """vLLM's as `version`, without loading it, which takes seconds: None if it is not installed; and those around it.

    Its builds for CPUs are packages of another name.
    """
    packages = importlib.metadata.packages_distributions().get("vllm", [])
    missing = None if find_spec("vllm") is None else "unknown"
    return {
        "version": importlib.metadata.version(packages[0]) if packages else missing,
        "python": sys.version.split()[0],
        **{name: importlib.metadata.version(name) for name in ("torch", "transformers") if find_spec(name)},
    }
