"""Judges estimates by the times that are recorded in baselines/: those of a GPU's own constants, and of a kin's.

python dev/profiles/recorded.py
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, median

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.hardware.calibration import Calibration
from pytest_ocrsweep.hardware.calibration_file import packaged, scaled
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.line_time import Rates, limits_of
from pytest_ocrsweep.model.analytic import Model
from pytest_ocrsweep.sweep.config import devices

RECORDED = Path(__file__).parents[2] / "baselines" / "deepseek-ocr" / "timed" / "nvidia-h200"


def errors(model: Model, device: Device, calibration: Calibration) -> dict[str, list[float]]:
    """Estimated over recorded time, less 1, of each point by its stage and attention."""
    found: dict[str, list[float]] = {}
    for file in sorted(RECORDED.glob("*.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        for point in document["points"]:
            sizes = {name: point[name] for name in ("prompt_tokens", "new_tokens", "batch", "resolution")}
            ledger = model.ledger(
                document["stage"], Workload(CropGrid.parse(point["grid"]), **sizes), point["attention"]
            )
            rates = Rates(calibration.values, limits_of(ledger.lines_of_work.patterns), device.l2_bytes)
            times = rates.times(ledger.work_of_lines())
            recorded = median(process["median_ns"] for process in point["processes"])
            error = float(times.launch_ns.sum() + times.busy_ns.sum()) / recorded - 1
            found.setdefault(f"{document['stage']} {point['attention']}", []).append(error)
    return found


def main() -> None:
    model, device = load_model(), devices()["h200"]
    for name, calibration in packaged().items():
        own = name == device.name
        found = errors(model, device, calibration if own else scaled(calibration, device))
        everything = [abs(error) for group in found.values() for error in group]
        print(
            f"{'its own constants' if own else name + ', and both sheets'}: {len(everything)} recorded times of an H200"
        )
        print(f"  MAPE {100 * mean(everything):.2f} %, largest error {100 * max(everything):.2f} %")
        for key, group in found.items():
            print(
                f"  {key:14} {len(group):3} MAPE {100 * mean(map(abs, group)):.2f} %, bias {100 * mean(group):+.2f} %"
            )


if __name__ == "__main__":
    main()
