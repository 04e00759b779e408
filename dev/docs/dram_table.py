"""Our DRAM bytes beside the GPU's own counters, as Markdown: `python dev/docs/dram_table.py FILE`.

FILE is what `python dev/docs/dram_counters.py --out FILE` counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pytest_ocrsweep.model.analytic import Model
from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.sweep.config import compose, device_of

COUNTED = Path("baselines/deepseek-ocr/dram/nvidia-h200.json")


class DramError(ValueError):
    """Counts that cannot be shown, in one line."""


class Compared(NamedTuple):
    """One point's DRAM bytes by our rule, and as counted; read and written."""

    point: str
    ours: tuple[int, int]
    counted: tuple[int, int]
    kernel_bytes: int

    @property
    def difference(self) -> float:
        """Of all bytes, ours over counted, less 1."""
        return sum(self.ours) / sum(self.counted) - 1


def compared(path: Path) -> Iterator[Compared]:
    """Each counted point. Raises DramError for a file that is not one, or of a device that is not in the catalogue."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        gpu, work, points = document["gpu"], document["workload"], document["points"]
        keys = [(p["stage"], Workload(CropGrid.parse(p["grid"]), **work), p["attention"]) for p in points]
        counted = [(int(p["read_bytes"]), int(p["write_bytes"])) for p in points]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DramError(f"{path}: no DRAM counts of dev/docs/dram_counters.py ({error!r})") from None
    device = device_of(gpu)
    if device is None:
        raise DramError(f"{path}: {gpu} is not in the catalogue of devices")
    model = Model(compose(()).model)
    for (stage, at, attention), bytes_counted in zip(keys, counted, strict=True):
        ledger = model.ledger(stage, at, attention)
        lines = ledger.dram(device)
        ours = (sum(line.read_bytes for line in lines), sum(line.write_bytes for line in lines))
        yield Compared(f"{stage} {at.grid} {attention}", ours, bytes_counted, ledger.total().moved_bytes)


def markdown(rows: list[Compared]) -> str:
    """A line a point, in GB, and the widest difference."""
    lines = ["| point | kernel by kernel GB | DRAM GB, ours | counted | difference | read | written |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        parts = [f"{ours / counted - 1:+.1%}" for ours, counted in zip(row.ours, row.counted, strict=True)]
        sizes = [f"{size / 1e9:,.2f}" for size in (row.kernel_bytes, sum(row.ours), sum(row.counted))]
        lines.append(f"| {row.point} | {' | '.join([*sizes, f'{row.difference:+.1%}', *parts])} |")
    worst = max(rows, key=lambda row: abs(row.difference))
    mean = sum(abs(row.difference) for row in rows) / len(rows)
    lines.append("")
    lines.append(f"{len(rows)} points; at most {worst.difference:+.1%} ({worst.point}), {mean:.1%} in the mean.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=COUNTED, metavar="FILE", help="default: %(default)s")
    path: Any = parser.parse_args().file
    try:
        print(markdown(list(compared(path))))
    except DramError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
