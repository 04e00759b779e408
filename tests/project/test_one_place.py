"""A stage is one entry in STAGES and a metric one entry in METRICS: an entry shows up in all that users see."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Its kernels are those of vision, in steps as a decode's are: so it also belongs where decode alone belonged.
STAGE = """
from dataclasses import replace
from pytest_ocrsweep.model.stages import STAGES
STAGES["toy"] = replace(STAGES["vision"], per_token=True)
"""
METRIC = """
from pytest_ocrsweep.baselines.metrics import EXACT, METRICS, Metric
METRICS["toy_flops"] = Metric("FLOP", EXACT, "toy FLOP", of=lambda ledger: 4321, column=14)
"""
ARGUMENTS = ("-p", "no:cacheprovider", "--ocrsweep-grids=1x1,1x2", "--ocrsweep-update", "--ocrsweep-report=out")


@dataclass(frozen=True)
class Run:
    """A project after one pytest run over the suites, and what the run printed."""

    folder: Path
    exit_code: int
    printed: str


def run(folder: Path, entry: str) -> Run:
    """Runs the suites with a further entry, which a conftest.py adds."""
    shutil.copytree(ROOT / "suites", folder / "suites", ignore=shutil.ignore_patterns("__pycache__", "test_[wlt]*"))
    (folder / "pytest.ini").touch()
    (folder / "conftest.py").write_text(entry, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", *ARGUMENTS, "--ocrsweep-analytic-only"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return Run(folder, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def with_stage(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("stage"), STAGE)


@pytest.fixture(scope="module")
def with_metric(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("metric"), METRIC)


def points(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "out/sweep.json").read_text(encoding="utf-8"))["points"]
    return found


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "out/sweep.sqlite")) as database:
        return database.execute(sql).fetchall()


def page_data(folder: Path) -> dict[str, Any]:
    """What the page's script draws."""
    page = (folder / "out/index.html").read_text(encoding="utf-8")
    packed = re.search(r'id="data">([A-Za-z0-9+/=]*)</script>', page)
    assert packed
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return data


def test_a_run_with_a_new_stage_succeeds(with_stage: Run) -> None:
    assert with_stage.exit_code == 0, with_stage.printed


def test_a_new_stage_is_in_the_suites(with_stage: Run) -> None:
    assert "16 passed" in with_stage.printed  # four stages, two grids, two attentions


def test_a_new_stage_is_in_the_table(with_stage: Run) -> None:
    assert len(re.findall(r"^toy +1x[12] +(?:eager|flash) ", with_stage.printed, re.M)) == 4


def test_a_new_stage_with_steps_is_named_in_the_tables_note(with_stage: Run) -> None:
    (note,) = re.findall(r"^(.*) rows are totals over 100 new tokens", with_stage.printed, re.M)
    assert "decode" in note
    assert "toy" in note


def test_a_new_stage_has_baselines(with_stage: Run) -> None:
    recorded = json.loads((with_stage.folder / "baselines/deepseek-ocr/toy.json").read_text(encoding="utf-8"))
    assert len(recorded["points"]) == 4


def test_a_new_stage_is_in_sweep_json_after_the_others(with_stage: Run) -> None:
    stages = [point["stage"] for point in points(with_stage.folder)]
    assert list(dict.fromkeys(stages)) == ["vision", "prefill", "decode", "toy"]


def test_a_new_stage_is_in_the_markdown_page(with_stage: Run) -> None:
    assert "<summary>toy: 4 points</summary>" in (with_stage.folder / "out/report.md").read_text(encoding="utf-8")


def test_a_new_stage_is_in_the_database(with_stage: Run) -> None:
    assert query(with_stage.folder, "SELECT count(*) FROM points WHERE stage = 'toy'") == [(4,)]


def test_a_new_stage_is_in_the_page_and_its_charts(with_stage: Run) -> None:
    pytest.importorskip("jinja2", reason="the page needs pytest-ocrsweep[report]")
    assert page_data(with_stage.folder)["columns"]["stage"].count("toy") == 4
    assert "toy, all 100 new tokens" in (with_stage.folder / "out/charts/flops.svg").read_text(encoding="utf-8")


def test_a_run_with_a_new_metric_succeeds(with_metric: Run) -> None:
    assert with_metric.exit_code == 0, with_metric.printed


def test_a_new_metric_is_in_the_table(with_metric: Run) -> None:
    assert re.search(r"^stage +grid .* toy FLOP ", with_metric.printed, re.M)


def test_a_new_metric_has_baselines(with_metric: Run) -> None:
    recorded = json.loads((with_metric.folder / "baselines/deepseek-ocr/vision.json").read_text(encoding="utf-8"))
    assert {point["toy_flops"] for point in recorded["points"]} == {4321}


def test_a_new_metric_is_in_sweep_json(with_metric: Run) -> None:
    assert {point["analytic"]["toy_flops"] for point in points(with_metric.folder)} == {4321}


def test_a_new_metric_is_in_the_markdown_page(with_metric: Run) -> None:
    page = (with_metric.folder / "out/report.md").read_text(encoding="utf-8")
    assert "| toy FLOP |" in page
    assert "| 4,321 |" in page


def test_a_new_metric_is_in_the_database(with_metric: Run) -> None:
    assert query(with_metric.folder, "SELECT DISTINCT toy_flops FROM points") == [(4321,)]


def test_a_new_metric_is_in_the_page(with_metric: Run) -> None:
    pytest.importorskip("jinja2", reason="the page needs pytest-ocrsweep[report]")
    assert set(page_data(with_metric.folder)["columns"]["toy_flops"]) == {4321}
