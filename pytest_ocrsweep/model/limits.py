"""What a model or an engine never runs: more pages, crops, positions or tokens at once than it takes."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigError
from .architecture import Architecture
from .engine import REFERENCE, Engine
from .geometry import Workload
from .native_resolution import LONGEST_STRIP
from .positions import FEW, needed
from .precision import NATIVE, NATIVE_NAME, Precision
from .stages import STAGES, Latency


def refuse_pair(model: Architecture, engine: Engine, precision: Precision = NATIVE) -> None:
    """Raises ConfigError for a model that nobody has counted on the engine, or in the precision."""
    encoder = "encoder with queries" if model.query_encoder else "patch encoder" if model.patch_encoder else ""
    if encoder and not engine.is_reference:
        raise ConfigError(f"nobody has counted {model.name}'s {encoder} on {engine.name}: use engine={REFERENCE.name}")
    if model.patch_encoder is not None and not precision.is_native:
        raise ConfigError(f"nobody has counted {model.name} in {precision.name}: use precision={NATIVE_NAME}")


def uncut(model: Architecture, engine: Engine, works: Iterable[Workload]) -> list[str]:
    """A line if grids have more crops than the model's own processor, or the engine, cuts a page into, else none."""
    most = engine.most_crops or model.most_crops
    grids = [str(grid) for grid in sorted({work.grid for work in works}) if grid.crops > most]
    if not grids:
        return []
    more = f" and {len(grids) - FEW} more grids" if len(grids) > FEW else ""
    by = model.name if engine.most_crops is None else engine.name
    return [f"beyond the {most} crops that {by} cuts a page into: {', '.join(grids[:FEW])}{more}, counted as if it did"]


def refuse(model: Architecture, engine: Engine, stage: str, work: Workload) -> None:
    """Raises ConfigError for a workload that the model or engine never runs at `stage`; it names what lifts it."""
    native, tiles = work.sides.native, work.grid.rows * work.grid.columns
    if native and not native.makes(work.grid.rows, work.grid.columns):
        makes = f"from {native.least_tiles:,} to {native.most_tiles:,} tiles of a page, and {work.grid} has {tiles:,}"
        if native.least_tiles <= tiles <= native.most_tiles:
            makes = f"no strip of tiles longer than {LONGEST_STRIP} times its width, and {work.grid} is one"
        raise ConfigError(f"{model.name} makes {makes}: choose a grid that a page has, such as {native.usual}")
    if work.pages > 1 and not model.joins_pages:
        raise ConfigError(
            f"{model.name} reads one page in a prompt, got workload.pages={work.pages}: "
            f"workload.batch={work.pages} prices as many prompts"
        )
    crops, most = work.grid.crops, engine.most_crops
    if most is not None and crops > most:
        raise ConfigError(
            f"{engine.name} cuts a page into at most {most} crops, and {work.grid} has {crops}: "
            f"engine.most_crops={crops} lifts the limit"
        )
    tokens, most = work.batch * work.context_tokens, engine.most_step_tokens
    if most is not None and STAGES[stage].latency is Latency.TTFT and tokens > most:
        fits = engine.pages_a_prefill(work.context_tokens)
        raise ConfigError(
            f"{engine.name} prefills at most {most:,} tokens at once, and {work.batch} pages of {work.grid} have "
            f"{tokens:,}: {f'workload.batch={fits} fits' if fits else 'no page fits'}, "
            f"engine.most_step_tokens={tokens} lifts the limit"
        )
    positions, most = needed(stage, work), engine.most_positions
    if most is not None and positions > most:
        raise ConfigError(
            f"{engine.name} takes at most {most:,} positions, and {stage} of {work.grid} needs {positions:,}: "
            f"engine.most_positions={positions} lifts the limit"
        )
