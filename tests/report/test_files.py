"""The files of a report: all of them, whatever becomes of one; from a run, and again from its data."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from documents import point, report, vendor

from pytest_ocrsweep import cli
from pytest_ocrsweep.baselines.result_json import to_json
from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.report import files, html, sqlite, trends
from pytest_ocrsweep.report.load import load

DATA = {"sweep.json", "sweep.sqlite", "summary.json", "report.md"}
MANIFEST = {".ocrsweep-report.json"}


@pytest.fixture
def without_extra(monkeypatch):
    """As if the `report` extra were not installed."""
    monkeypatch.setattr(files, "find_spec", lambda module: None)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_all_files_are_written_and_said(tmp_path):
    found = report(point(), point("decode"), point("vision", vendor=None))
    (line,) = files.write(found, tmp_path)
    assert names(tmp_path) == DATA | MANIFEST | {"charts", "index.html"}
    assert json.loads((tmp_path / "sweep.json").read_text()) == to_json(found)
    assert sqlite.read(tmp_path / "sweep.sqlite") == found
    assert "deepseek-ocr" in (tmp_path / "index.html").read_text()
    charts = list((tmp_path / "charts").glob("*.svg"))
    assert charts
    written = f"sweep.json, sweep.sqlite (run 1), summary.json, report.md, {len(charts)} charts, index.html"
    assert line == f"report in {tmp_path}: {written}"


def test_the_charts_are_of_the_last_run_and_what_is_not_ours_stays(tmp_path):
    files.write(report(point(), point(grid="1x1")), tmp_path)
    charts = tmp_path / "charts"
    assert "time.svg" in names(charts)
    (charts / "my-logo.svg").write_text("<svg/>")
    files.write(report(point(vendor=None)), tmp_path)
    assert "time.svg" not in names(charts)
    assert "memory.svg" in names(charts)
    assert (charts / "my-logo.svg").read_text() == "<svg/>"


def test_without_the_extra_data_and_charts_are_there_and_a_line_says_what_to_install(tmp_path, without_extra):
    lines = files.write(report(), tmp_path)
    assert names(tmp_path) == DATA | MANIFEST | {"charts"}
    assert lines[1] == "no index.html: jinja2 is not installed: pip install 'pytest-ocrsweep[report]'"


def test_without_the_extra_a_page_of_somebody_else_is_in_nobodys_way(tmp_path, without_extra):
    (tmp_path / "index.html").write_text("mine")
    files.ready(tmp_path)


def test_without_the_extra_a_page_of_an_earlier_run_is_pointed_at(tmp_path, without_extra):
    (tmp_path / "index.html").write_text("old")  # by whomever
    assert "index.html (what is there is of an earlier run)" in files.write(report(), tmp_path)[1]


def test_each_run_is_added_to_the_database(tmp_path, without_extra):
    for n in (1, 2, 3):
        files.write(report(point(tensor_flops=n)), tmp_path)
    assert sqlite.runs(tmp_path / "sweep.sqlite") == [1, 2, 3]
    assert load(tmp_path).points[0].analytic["tensor_flops"] == 3


def test_a_point_of_sweep_json_is_a_line(tmp_path, without_extra):
    files.write(report(point("decode"), point("prefill")), tmp_path)
    lines = (tmp_path / "sweep.json").read_text().splitlines()
    assert len([line for line in lines if '"stage"' in line]) == 2


@pytest.mark.parametrize("in_the_way", sorted(DATA))
def test_what_cannot_be_written_keeps_nothing_else_from_it(tmp_path, without_extra, in_the_way):
    (tmp_path / in_the_way).mkdir()
    (tmp_path / in_the_way / "inside").touch()
    with pytest.raises(ReportError) as error:
        files.write(report(), tmp_path)
    assert str(error.value).startswith(f"{tmp_path / in_the_way}")
    assert "\n" not in str(error.value)
    others = DATA - {in_the_way}
    assert all(f"{name}" in str(error.value).partition("beside it ")[2] for name in others)
    assert all((tmp_path / name).is_file() for name in others)


def test_where_nothing_can_be_written_nothing_is_said_to_be(tmp_path, without_extra):
    for name in (*DATA, "charts"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReportError) as error:
        files.write(report(), tmp_path)
    assert "beside" not in str(error.value)
    assert str(error.value).endswith("give another folder")
    assert not (tmp_path / "elsewhere").exists()


def test_the_page_is_made_of_all_that_is_known_even_without_charts(tmp_path, monkeypatch):
    found, made = report(), []
    monkeypatch.setattr(html, "page", lambda *given: made.append(given) or "the page")
    monkeypatch.setattr(files.charts, "charts", lambda report: 1 / 0)
    with pytest.raises(ReportError, match="charts: not drawn"):
        files.write(found, tmp_path, price=2.5)
    assert made == [(found, (), trends.read(tmp_path / "sweep.sqlite", found), 2.5)]
    assert (tmp_path / "index.html").read_text() == "the page"


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_folders_place_is_said_once_and_before_the_work(tmp_path, monkeypatch, capsys, below):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("pytest_ocrsweep.cli.sweep.swept", None)
    assert cli.main(["sweep", "--grids=1x1", "--report", str(tmp_path / "file" / below)]) == 2
    error = capsys.readouterr().err
    assert error.endswith("file: no report can be written there (it is not a folder): give another folder\n") or below
    assert error.count("it is not a folder") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("barred", [os.W_OK, os.X_OK])
def test_a_folder_that_is_read_only_is_said_once(tmp_path, monkeypatch, barred):
    monkeypatch.setattr("os.access", lambda _, mode: not mode & barred)  # root may write whatever the mode bars
    with pytest.raises(ReportError, match=r"no report can be written there \(it is not writable\): give another"):
        files.write(report(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_times_of_a_gpu_are_found_from_beside_them(tmp_path, monkeypatch, without_extra):
    monkeypatch.chdir(Path(__file__).parents[2] / "baselines/deepseek-ocr")
    assert cli.main(["report", "timed/nvidia-h200", str(tmp_path)]) == 0


def test_a_foreign_database_in_the_folder_is_left_alone(tmp_path, without_extra):
    (tmp_path / "sweep.sqlite").write_bytes(b"my notes, kept here for years" * 50)
    with pytest.raises(ReportError, match=r"sweep.sqlite was not written by ocrsweep: move it away"):
        files.write(report(), tmp_path)
    assert (tmp_path / "sweep.sqlite").read_bytes().startswith(b"my notes")
    assert (tmp_path / "sweep.json").is_file()


def test_the_page_is_added_below_what_the_job_says_already(tmp_path, without_extra):
    job = tmp_path / "summary.md"
    job.write_text("# Build\n")
    (line,) = files.write(report(), tmp_path / "out", job)[:1]
    assert job.read_text() == "# Build\n" + (tmp_path / "out" / "report.md").read_text() + "\n"
    assert line.endswith("the job's summary")


def test_pytest_writes_the_report_and_shows_it_below_the_job(recorded, monkeypatch, tmp_path):
    job = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(job))
    recorded.edit(lambda points: points[0].update(tensor_flops=1))
    result = recorded.run("--ocrsweep-report=out", "-k", "decode", "-n2")
    out = recorded.path / "out"
    assert names(out) == DATA | MANIFEST | {"charts", "index.html"}
    assert "1 of 6 points failed" in job.read_text()
    assert "### Moved since the baseline: 1 number\n" in job.read_text()
    (moved,) = load(out / "sweep.json").points[0].moved
    assert (moved.metric, moved.old) == ("tensor_flops", 1)
    assert moved.accept in job.read_text()
    assert str(moved.accept) in (out / "index.html").read_text()
    assert load(out / "sweep.sqlite") == load(out / "sweep.json")
    result.stdout.fnmatch_lines([f"report in {out}: sweep.json, sweep.sqlite (run 1), *"])


def test_a_report_that_cannot_be_written_loses_no_baseline(project):
    project.write(
        "suites/conftest.py", "from pathlib import Path\nPath('out/sweep.sqlite').write_text('my notes ' * 100)"
    )
    result = project.run("--ocrsweep-report=out", "--ocrsweep-update", "-k", "decode")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*ERROR: *sweep.sqlite was not written by ocrsweep: move it away*"])
    assert len(project.points()) == 6
    assert len(load(project.path / "out" / "sweep.json").points) == 6


def test_a_run_without_a_report_writes_none_and_tells_no_job(recorded, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert recorded.run("-k", "decode").ret == 0
    assert not (tmp_path / "summary.md").exists()


@pytest.mark.parametrize("source", ["sweep.json", "sweep.sqlite", "sweep.sqlite#1", ""])
def test_the_command_line_writes_all_files_again(tmp_path, without_extra, capsys, source):
    first, again = tmp_path / "first", tmp_path / "again"
    files.write(report(point(), point("decode")), first)
    assert cli.main(["report", f"{first}/{source}", str(again)]) == 0
    assert capsys.readouterr().out.startswith(
        f"report in {again}: sweep.json, sweep.sqlite (run 1), summary.json, report.md, 4 charts\n"
    )
    assert load(again) == load(again / "sweep.sqlite") == load(first)
    files.write(load(first), tmp_path / "expected")
    for name in ("sweep.json", "report.md"):
        assert (again / name).read_text() == (tmp_path / "expected" / name).read_text()


def test_the_recorded_times_of_a_gpu_are_a_report(tmp_path, without_extra):
    recorded = Path(__file__).parents[2] / "baselines" / "deepseek-ocr" / "timed" / "nvidia-h200"
    assert cli.main(["report", str(recorded), str(tmp_path)]) == 0
    found = load(tmp_path)
    assert found == load(tmp_path / "sweep.sqlite")
    assert (found.environment.gpu, len(found.points)) == ("NVIDIA H200", 138)
    assert all(point.vendor.device_ns.median > point.floor.time_ns for point in found.points)


def test_a_price_gives_dollars(tmp_path, without_extra):
    files.write(report(point("prefill"), point("decode")), tmp_path)
    assert "$" not in (tmp_path / "report.md").read_text()
    assert cli.main(["report", str(tmp_path), str(tmp_path), "--price", "2.5"]) == 0
    assert "$ 27.8 a million pages" in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "summary.json").read_text())["dollars_per_hour"] == 2.5


def test_each_file_of_a_report_is_named_before_it_is_made(tmp_path, without_extra):
    made = []
    files.write(report(), tmp_path, watch=made.append)
    assert made == ["sweep.json", "sweep.sqlite", "summary.json", "report.md", "4 charts"]


def test_a_folder_written_again_in_place_stays_as_it_is(tmp_path, without_extra):
    files.write(report(point(vendor=vendor(objections=["throttled"]))), tmp_path)
    assert cli.main(["report", str(tmp_path), str(tmp_path)]) == 0
    before = {name: (tmp_path / name).read_bytes() for name in DATA}
    assert cli.main(["report", str(tmp_path), str(tmp_path)]) == 0
    assert {name: (tmp_path / name).read_bytes() for name in DATA} == before


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path, capsys):
    (tmp_path / "sweep.json").write_text('{"schema": 1')
    assert cli.main(["report", str(tmp_path), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ocrsweep: {tmp_path}/sweep.json: line 1 is not JSON")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="there are no named pipes")
def test_a_pipe_in_place_of_the_jobs_summary_is_a_line_and_never_waited_for(tmp_path, without_extra):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReportError, match=r"pipe cannot be written \(not a regular file\)"):
        files.write(report(), tmp_path / "out", tmp_path / "pipe")
