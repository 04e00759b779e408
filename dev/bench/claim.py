"""A figure beside the goal it is held to, and two commands timed in turns so that a busy machine slows both."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Claim(NamedTuple):
    """What was measured; `goal` is the most it may be, or the least where `at_least`."""

    what: str
    measured: float
    goal: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal

    def __str__(self) -> str:
        sign, verdict = ("≥" if self.at_least else "≤"), ("met" if self.met else "MISSED")
        return f"  {self.what}: {self.measured:,.4g} {self.unit} (goal {sign} {self.goal:,g} {self.unit}: {verdict})"


def conclude(*claims: Claim) -> None:
    """Print the claims and leave with 1 if one is missed."""
    print(*claims, sep="\n", flush=True)
    sys.exit(not all(claim.met for claim in claims))


def seconds(command: Sequence[str], folder: Path) -> float:
    """Whole-process time of one run; a command that fails is not a measurement.

    Bytecode is kept, as it is on a user's machine: else each run compiles what it imports.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    took = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} left with {done.returncode}:\n{done.stdout}{done.stderr}")
    return took


def in_turns(
    first: Sequence[str], first_folder: Path, second: Sequence[str], second_folder: Path, pairs: int
) -> list[tuple[float, float]]:
    """Times of `pairs` runs of each, A B A B, after one of each that is not counted."""
    seconds(first, first_folder), seconds(second, second_folder)
    return [(seconds(first, first_folder), seconds(second, second_folder)) for _ in range(pairs)]


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """Median, and the least and the most."""
    low, middle, high = min(values) * scale, median(values) * scale, max(values) * scale
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"
