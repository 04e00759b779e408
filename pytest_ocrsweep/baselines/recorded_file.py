"""What an update did to one file of baselines, counted or timed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an update did to one file."""

    path: Path
    added: int
    changed: int
    same: int
    removed: int
    kept: int = 0  # times that disagree with the recorded ones, and moved nothing
    lines: tuple[str, ...] = ()  # what a person should know of single points
