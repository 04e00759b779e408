"""Updates that come one after another in a folder, without pytest and without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.baselines import counted, timed
from pytest_ocrsweep.baselines.measurement import Environment, GateResult, Measurement, TimeSummary
from pytest_ocrsweep.baselines.metrics import analytic
from pytest_ocrsweep.baselines.result import FloorResult, PointResult
from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.sweep.config import devices
from pytest_ocrsweep.sweep.journals import Journals
from pytest_ocrsweep.sweep.options import Options, Slowdown
from pytest_ocrsweep.sweep.results import Results
from pytest_ocrsweep.sweep.session import Sweep

NAMES = ("deepseek-ocr", "cpu", "decode")
HERE = Environment("node1", "cpu", None, "2.11", "5.23", "bf16", "random, seed 0")
FIRST, SECOND, THIRD = "1x1", "1x2", "2x3"
NS = 10**12  # above every floor


def time(ns: int = NS, gpu: str = "cpu", outcome: str = "no baseline") -> Measurement:
    rest: dict[str, Any] = dict.fromkeys(("tensor_flops", "peak_bytes", "experts", "kernels", "sm_clock_mhz"))
    return Measurement(
        device_ns=TimeSummary(ns, ns - 9, ns - 5, ns + 5, (ns, ns - 9, ns + 9)),
        wall_ns=TimeSummary(2 * ns),
        host="node1",
        gpu=gpu,
        clock="host",
        gate=GateResult(outcome, None, None),
        **rest,
    )


def point(
    grid: str,
    vendor: Measurement | None = None,
    verdict: Verdict = Verdict.RECORDED,
    floor: bool = False,
    attention: str = "flash",
) -> PointResult:
    work = Workload(CropGrid.parse(grid))
    ledger = load_model().ledger("decode", work, attention)
    beside = FloorResult.of(ledger, devices()["h200"], NS) if floor else None
    return PointResult.of("decode", work, attention, analytic(ledger), beside, vendor, verdict)


class Project:
    """A folder with baselines, in which one update comes after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorded = folder / "baselines/deepseek-ocr/decode.json"
        self.timed = folder / "baselines/deepseek-ocr/timed/cpu/decode.json"

    def run(self, *points: PointResult, environment: Environment = HERE, **changed: Any) -> Results:
        """A run that found these points, and is not at its end."""
        given: dict[str, Any] = {
            **dict.fromkeys(("grids", "checkpoint", "report")),
            **dict.fromkeys(("require_vendor", "missing_fails", "wide_fails", "update", "prune", "profile"), False),
            **dict.fromkeys(("images", "overrides", "command"), ()),
            "analytic_only": True,
            "slowdown": Slowdown(),
            "default_grids": FIRST,
            "baselines": self.folder / "baselines",
            "here": self.folder,
        }
        results = Results(Sweep(Options(**given | changed)))
        if results.sweep.options.update:
            results.journals = Journals(results.sweep, lambda: None)
        for each in points:
            results.take([each], failed=False, environment=environment if each.vendor else None)
        return results

    def update(self, *points: PointResult, environment: Environment = HERE) -> Results:
        """An update that found these points, and has not recorded them."""
        return self.run(*points, environment=environment, update=True)

    def kill(self, *points: PointResult) -> None:
        """An update that dies when it found these points."""
        _close(self.update(*points))

    def finish(self, results: Results) -> list[str]:
        """What could not be done."""
        results.finish(self.folder)
        _close(results)
        return results.problems

    @property
    def times(self) -> dict[str, list[float]]:
        """Recorded medians by grid."""
        return {
            str(key.work.grid): [each.median_ns for each in found.baseline.processes]
            for key, found in timed.read(self.timed, *NAMES).items()
        }

    @property
    def attained(self) -> dict[str, float | None]:
        return {str(key.work.grid): found.attained for key, found in timed.read(self.timed, *NAMES).items()}

    @property
    def counted(self) -> list[str]:
        return [str(key.work.grid) for key in counted.read(self.recorded, "deepseek-ocr", "decode")]

    @property
    def journals(self) -> list[Path]:
        return list(self.folder.rglob("*.ocrsweep-journal"))


def _close(results: Results) -> None:
    """As the process ends."""
    if results.journals:
        results.journals.close()
