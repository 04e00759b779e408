"""What faults.py disturbs: updates, reports, databases of shapes and Parquet files, over old files and over none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pandas  # noqa: F401  imported once here, and not in every child: pyarrow takes it in if it is there
import pyarrow.parquet  # noqa: F401
import pytest
from faults import Command

from pytest_ocrsweep import cli
from pytest_ocrsweep.baselines import gate
from pytest_ocrsweep.baselines.measurement import Environment, Measurement, TimeSummary
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.model import bulk  # noqa: F401
from pytest_ocrsweep.model.geometry import Workload
from pytest_ocrsweep.report import charts, html  # noqa: F401
from pytest_ocrsweep.sweep import check, config, meter, results  # noqa: F401

SUITE = 'def test_{stage}(ocrsweep, grid, attention):\n    ocrsweep.check("{stage}", grid, attention)\n'
CARD = Environment("node", "card", None, "2.11", "5", "bf16", "0")
PLUGINS = ("ocrsweep", "no:cacheprovider")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" version="1.1" class="marks"></svg>'
PAGE = '<!doctype html>\n<a class="skip" href="#points">Skip to the points</a>\n'


class Drawn:
    """A chart, without the second that it takes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def svg(self) -> str:
        return SVG


def drawn(report: Report) -> list[Drawn]:
    return [Drawn("bytes"), *([Drawn("flops")] if len(report.points) == 2 else [])]


def commands(project: Path) -> list[Command]:
    """Each in a folder of its own; what takes seconds and writes nothing is left out."""
    config.compose(["workload.batch=2"])  # Hydra loads once
    mock.patch("pytest_ocrsweep.report.charts.charts", drawn).start()
    mock.patch("pytest_ocrsweep.report.html.page", lambda report, *_: f"{PAGE}{len(report.points)}\n").start()
    (project / "suites").mkdir()
    (project / "pytest.ini").write_text("[pytest]\n")
    for stage in ("prefill", "decode"):
        (project / "suites" / f"test_{stage}.py").write_text(SUITE.format(stage=stage))
    os.chdir(project)
    return [
        _over_old("update", project / "baselines", _update("1x1,1x2"), _update("1x2,2x3"), _edit),
        _over_none("first-update", project / "baselines", _update("1x2")),
        _over_old("timed-update", project / "baselines", _timed("1x1"), _timed("1x1,1x2")),
        _over_old("report", project / "out", _report("1x1", project / "out"), _report("1x1,1x2", project / "out")),
        _over_none("first-report", project / "out", _report("1x1", project / "out")),
        _over_old("shapes", project / "db", _shapes("1..9", project / "db"), _shapes("1..900", project / "db")),
        _over_none("first-shapes", project / "db", _shapes("1..9", project / "db")),
        _over_old("parquet", project / "pq", _parquet(5, project / "pq"), _parquet(300, project / "pq")),
        _over_none("first-parquet", project / "pq", _parquet(5, project / "pq")),
    ]


def _over_none(name: str, folder: Path, run: Callable[[], int]) -> Command:
    return Command(name, folder, run, lambda: shutil.rmtree(folder, ignore_errors=True))


def _over_old(
    name: str,
    folder: Path,
    first: Callable[[], int],
    run: Callable[[], int],
    edit: Callable[[Path], None] | None = None,
) -> Command:
    def prepare() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if (done := Command(name, folder, first, lambda: None).start()).code:
            raise SystemExit(f"{name} cannot be prepared:\n{done.output}")
        if edit:
            edit(folder)

    return Command(name, folder, run, prepare)


def _edit(folder: Path) -> None:
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text().replace('"tensor_flops": ', '"tensor_flops": 1'))


def _update(grids: str) -> Callable[[], int]:
    plugins = [word for name in PLUGINS for word in ("-p", name)]
    options = ["--ocrsweep-analytic-only", "--ocrsweep-update", f"--ocrsweep-grids={grids}"]
    return lambda: int(pytest.main(["suites", "-q", "--color=no", *plugins, *options]))


def _timed(grids: str) -> Callable[[], int]:
    """An update with a journal: each point takes as many ns as it has tokens, without torch."""
    plugins = [word for name in PLUGINS for word in ("-p", name)]
    options = ["--ocrsweep-set=vendor.device=cpu", "--ocrsweep-update", f"--ocrsweep-grids={grids}"]

    def run() -> int:
        made_up = mock.patch.multiple(meter.Meter, gpu="card", measure=_measured, environment=lambda self: CARD)
        with made_up, mock.patch.object(meter, "why_not", return_value=None):
            return int(pytest.main(["suites/test_decode.py", "-q", "--color=no", *plugins, *options]))

    return run


def _measured(self: meter.Meter, stage: str, work: Workload, *_: object, **__: object) -> meter.Measured:
    time = TimeSummary(work.image_tokens, samples=(work.image_tokens,) * 5)
    unknown = dict.fromkeys(("peak_bytes", "experts", "kernels", "sm_clock_mhz"))
    found = Measurement(time, time, 7, host=CARD.host, gpu=CARD.gpu, clock="host", **unknown)
    return meter.Measured(found, gate.Decision(gate.Outcome.NO_BASELINE, "", ()), [])


def _report(grids: str, folder: Path) -> Callable[[], int]:
    return lambda: cli.main(["sweep", f"--grids={grids}", "--stage=decode", "--attention=flash", f"--report={folder}"])


def _shapes(crops: str, folder: Path) -> Callable[[], int]:
    return lambda: cli.main(["shapes", f"--crops={crops}", f"--db={folder / 'below' / 'shapes.sqlite'}"])


def _parquet(rows: int, folder: Path) -> Callable[[], int]:
    """More than one stage and attention: several row groups."""
    axes = [f"--rows=1..{rows}", "--cols=1..2", f"--parquet={folder / 'below' / 'space.parquet'}"]
    return lambda: cli.main(["sweep", *axes])
