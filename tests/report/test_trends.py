"""A point over the runs of a database: since when its time is what it is, and which component moved."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from documents import point, report, vendor

from pytest_ocrsweep.baselines.moved import Moved
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.report import files, sqlite, sqlite_schema, trends
from pytest_ocrsweep.report.first_screen import since

MS = 1_000_000


def run(path: Path, ms: float, **changed: Any) -> Report:
    """Adds a run whose decode took so long."""
    found = report(point("decode", vendor=vendor(round(ms * MS), **changed)), git_revision=f"rev{ms:g}")
    sqlite.write(found, path)
    return found


def test_a_trend_has_each_run_and_the_one_where_the_time_moved(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite"
    for ms in (100, 100.5, 99.8, 107, 106.8):
        last = run(path, ms)
    found = trends.trends(path, last)
    trend = found["decode 2x3 flash"]
    assert trend
    assert trend.metric == "device_ns"
    assert trend.values == tuple(round(ms * MS) for ms in (100, 100.5, 99.8, 107, 106.8))
    assert trend.since == 3
    said = since(trend, found)
    assert said.startswith("+7.0 % since run 4 (")
    assert said.endswith(", rev107)")


def test_noise_moves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite"
    for ms in (100, 100.5, 99.8):
        last = run(path, ms)
    found = trends.trends(path, last)
    trend = found["decode 2x3 flash"]
    assert trend
    assert trend.since is None
    assert since(trend, found) == "as before in all of them"


def test_runs_of_another_gpu_or_workload_are_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite"
    run(path, 100, gpu="NVIDIA H100")
    other = report(point("decode", vendor=vendor(1 * MS)))
    sqlite.write(replace(other, workload=replace(other.workload, batch=9)), path)
    run(path, 100)
    last = run(path, 101)
    trend = trends.trends(path, last)["decode 2x3 flash"]
    assert trend
    assert [value for value in trend.values if value] == [100 * MS, 101 * MS]


def test_one_run_is_no_trend_and_a_damaged_database_none(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite"
    last = run(path, 100)
    assert trends.trends(path, last).runs == ()
    path.write_bytes(b"mine")
    assert trends.read(path, last).runs == ()


def test_counted_sweeps_are_compared_by_their_estimates(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite"
    for flops in (1, 2):
        last = report(point("decode", vendor=None, tensor_flops=flops))
        sqlite.write(last, path)
    trend = trends.trends(path, last)["decode 2x3 flash"]
    assert trend
    assert (trend.metric, trend.since) == ("estimate_ns", None)


def moved(old: int, new: int) -> Report:
    """A run of which a component reads more."""
    costs = {"tensor_flops": 1, "vector_flops": 1, "read_bytes": new, "write_bytes": 1}
    found = report(point("decode", read_bytes=new, components={"head": costs}, verdict="FAIL"))
    change = Moved.counted("read_bytes", old, new, "pytest suites/test_decode.py --ocrsweep-update")
    return replace(found, points=(replace(found.points[0], moved=(change,), absent=frozenset()),))


def test_a_counted_change_names_its_component_if_a_run_had_the_old_number(tmp_path: Path) -> None:
    before = moved(5, 10)
    files.write(replace(before, points=(replace(before.points[0], moved=()),)), tmp_path)
    files.write(moved(10, 14), tmp_path)
    document = json.loads((tmp_path / "sweep.json").read_text())
    assert document["points"][0]["moved"][0]["causes"] == ["head +4, since run 1 of sweep.sqlite"]
    assert "head +4, since run 1" in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "summary.json").read_text())["moved"][0]["old"] == 10


def test_the_database_has_a_row_for_each_number_that_moved(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite"
    sqlite.write(moved(10, 14), path)
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT stage, grid, metric, old, new, change_ratio, margin_ratio, accept FROM moved")
        assert rows.fetchall() == [
            (
                *("decode", "2x3", "read_bytes", 10, 14, pytest.approx(0.4), None),
                "pytest suites/test_decode.py --ocrsweep-update",
            )
        ]
    assert sqlite.read(path) == moved(10, 14)


def test_a_database_without_the_view_is_read_and_gets_it_with_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite"
    first = run(path, 100)
    with closing(sqlite3.connect(path)) as db:
        for name in ("moved", "energy", "own", "own_moved"):
            db.execute(f"DROP VIEW {name}")
        db.execute("PRAGMA user_version = 2")
    assert sqlite.read(path) == first
    run(path, 101)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM moved").fetchone() == (0,)
        assert db.execute("PRAGMA user_version").fetchone() == (sqlite_schema.VERSION,)
    assert sqlite.read(path, 1) == first
