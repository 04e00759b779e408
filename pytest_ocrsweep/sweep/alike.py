"""What must be the same in every process whose points are judged together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Sweep


def fingerprints(sweep: Sweep) -> dict[str, str]:
    """A digest of each such thing, by its name."""
    recorded = sweep.options.baselines / sweep.model.recorded_as
    return {
        "versions of pytest-ocrsweep": program(),
        "settings": sha256(repr(sweep.settings).encode()).hexdigest(),
        "baselines": _digest(recorded, recorded.rglob("*.json")),
    }


@cache
def program() -> str:
    """A digest of the code and configuration that count and time."""
    package = Path(__file__).parents[1]
    return _digest(package, [path for suffix in ("py", "yaml") for path in package.rglob(f"*.{suffix}")])


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """A digest of the files' names and contents."""
    found = sha256()
    for path in sorted(files):
        found.update(repr((path.relative_to(folder).as_posix(), path.read_bytes())).encode())
    return found.hexdigest()
