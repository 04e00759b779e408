"""Positions: how many of the decoder's each stage uses for a page, and what is beyond those that it was made for."""

from __future__ import annotations

from collections.abc import Iterable

from .architecture import Architecture
from .geometry import Workload
from .stages import STAGES

FEW = 8  # grids that a sentence names


def needed(stage: str, work: Workload) -> int:
    """Positions that a stage uses of each page: its context, and for a decode all new tokens; 0 for vision."""
    entry = STAGES[stage]
    return 0 if entry.keys_after == 0 else context(work) + entry.steps(work.new_tokens) * entry.per_token


def context(work: Workload) -> int:
    """Positions of a page's image tokens and prompt.

    Tiles of a page at its own resolution have positions by row and column; what follows begins after the larger.
    Source: transformers 5.23, get_rope_index of models/glm_ocr and models/paddleocr_vl.
    """
    if work.sides.native:
        return work.prompt_tokens + max(work.grid.rows, work.grid.columns)
    return work.context_tokens


def page(work: Workload) -> int:
    """Positions that all stages use of each page."""
    return max(needed(stage, work) for stage in STAGES)


def beyond(model: Architecture, runs: Iterable[tuple[str, Workload]]) -> list[str]:
    """A line if stages at these workloads need more positions than the decoder has, else none."""
    most = model.decoder.max_positions
    needs = [(stage, work, positions) for stage, work in runs if (positions := needed(stage, work)) > most]
    if not needs:
        return []
    stages = " and ".join(stage for stage in STAGES if any(stage == each for each, _, _ in needs))
    grids = [str(grid) for grid in sorted({work.grid for _, work, _ in needs})]
    more = f" and {len(grids) - FEW} more grids" if len(grids) > FEW else ""
    what = "positions" if any(work.sides.native for _, work, _ in needs) else "tokens"
    up_to = "" if len(needs) == 1 else "up to "
    return [
        f"beyond the {most:,} positions that {model.name} was made for: {stages} of {', '.join(grids[:FEW])}{more}, "
        f"{up_to}{max(positions for _, _, positions in needs):,} {what} a page"
    ]
