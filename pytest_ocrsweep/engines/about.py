"""How an engine is started, and what it says about itself when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .served import Load, ServedLoad


@dataclass(frozen=True, slots=True)
class StartOptions:
    """A model's folder, and what vLLM is started with; None leaves the engine's own default.

    `weights` are "real", or "random": norms of ones, the rest normal with a deviation of 0.02. vLLM's own dummy weights
    lie within a thousandth of zero, and with them all tokens choose the same experts.
    """

    model: Path
    weights: str = "random"
    dtype: str = "bfloat16"
    max_num_seqs: int | None = None
    max_model_len: int | None = None
    max_num_batched_tokens: int | None = None
    max_crops: int | None = None
    encoder_graphs: bool = False  # vLLM's cudagraph_mm_encoder
    enforce_eager: bool = False
    gpu_memory_utilization: float | None = None
    kv_cache_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class About:
    """An engine's own figures; None for what it does not say."""

    engine: str
    version: str | None = None
    model: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)  # of its interpreter and libraries
    gpu: str | None = None
    weight_bytes: int | None = None
    kv_bytes_per_token: int | None = None
    kv_blocks: int | None = None
    kv_block_tokens: int | None = None
    captured_batches: tuple[int, ...] | None = None
    attention: str | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    encoder_graphs: bool | None = None
    host_ns: tuple[int, ...] = ()  # what a fixed piece of work took on its host, again and again after its start


class TimedEngine(Protocol):
    """What can serve a load: a process of ours, or a server."""

    def about(self) -> About: ...

    def run(self, load: Load) -> ServedLoad: ...

    def close(self) -> None: ...
