"""One run of a tool, in our units, before anybody knows of which point it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...baselines.serving_metrics import Figure

BUNDLED = 0.2
"""A median gap between chunks below this part of the time per token: the client got tokens in bundles, and the gaps
inside of a bundle say nothing of the engine."""


@dataclass(frozen=True, slots=True)
class ToolRun:
    """What a tool wrote; tokens and images are means over its requests. None is what the file does not say."""

    where: str  # the file, and the line if it has several runs
    tool: str
    metrics: Mapping[str, Figure] = field(hash=False)
    requests: int
    input_tokens: float  # text and image tokens of a request
    output_tokens: float
    counted_by: str  # who counted the input tokens: for the message that no image was sent
    concurrency: int | None
    request_rate: float | None
    images: float | None = None
    model: str | None = None
    engine: str | None = None
    engine_version: str | None = None
    tool_version: str | None = None
    gpu: str | None = None
    host: str | None = None
    date: str | None = None
    page: str | None = None  # in pixels, if the tool itself made the pages
    written: Mapping[str, str] = field(default_factory=dict, hash=False)  # what the user wrote into the file
    notes: tuple[str, ...] = ()


def unbundled(metrics: Mapping[str, Figure]) -> tuple[dict[str, Figure], tuple[str, ...]]:
    """The metrics, without the ITL of bundled tokens; and a note if it was left out."""
    gap, token = metrics.get("itl_ns"), metrics.get("tpot_ns")
    if gap is None or token is None or gap.value >= BUNDLED * token.value:
        return dict(metrics), ()
    kept = {name: figure for name, figure in metrics.items() if name != "itl_ns"}
    ratio = f"{gap.value / 1e6:.3g} ms between chunks, {token.value / 1e6:.3g} ms per token"
    return kept, (f"its tokens arrived in bundles ({ratio}): ITL is left out",)
