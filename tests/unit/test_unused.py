"""The end of a run without an update: recorded points that no test used, and what could not be written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from updates import FIRST, HERE, NAMES, NS, SECOND, THIRD, Project, point, time

from pytest_ocrsweep import CropGrid
from pytest_ocrsweep.baselines import counted, timed
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.sweep.config import devices
from pytest_ocrsweep.sweep.results import Results

LAST = "3x3"  # which no GPU has a time of


@pytest.fixture
def updated(tmp_path: Path) -> Project:
    """Four recorded points; three with a time on a CPU, one of those on a GPU too."""
    made = Project(tmp_path)
    assert (
        made.finish(made.update(point(FIRST, time()), point(SECOND, time()), point(THIRD, time()), point(LAST))) == []
    )
    on_gpu = replace(HERE, gpu="NVIDIA H200")
    assert made.finish(made.update(point(FIRST, time(gpu="NVIDIA H200")), environment=on_gpu)) == []
    return made


def unused(results: Results) -> dict[str, list[str]]:
    return {stage: sorted(str(key.work.grid) for key in keys) for stage, keys in results.unused.items()}


def test_recorded_points_that_no_test_of_a_whole_run_used_are_unused(updated: Project) -> None:
    results = updated.run(point(FIRST))
    assert updated.finish(results) == []
    assert unused(results) == {"decode": [SECOND, THIRD, LAST]}
    assert updated.counted == [FIRST, SECOND, THIRD, LAST]
    all_used = updated.run(*map(point, (FIRST, SECOND, THIRD, LAST)))
    assert updated.finish(all_used) == []
    assert unused(all_used) == {}


def test_a_run_that_is_not_whole_calls_nothing_unused(updated: Project) -> None:
    results = updated.run(point(FIRST))
    results.filtered = "tests were deselected"
    assert updated.finish(results) == []
    assert unused(results) == {}


def test_pruning_removes_numbers_and_times_of_what_is_unused_and_of_nothing_else(updated: Project) -> None:
    on_gpu = timed.file_of(updated.folder / "baselines", "deepseek-ocr", "nvidia-h200", "decode")
    before = on_gpu.read_bytes()
    results = updated.run(point(FIRST), prune=True)
    assert updated.finish(results) == []
    assert (updated.counted, updated.times) == ([FIRST], {FIRST: [NS]})
    assert on_gpu.read_bytes() == before
    assert [done.path for done in results.recorded] == [updated.recorded, updated.timed]
    assert unused(results) == {}


def test_pruning_touches_no_file_of_times_without_the_point(updated: Project) -> None:
    results = updated.run(*map(point, (FIRST, SECOND, THIRD)), prune=True)
    assert updated.finish(results) == []
    assert [done.path for done in results.recorded] == [updated.recorded]
    assert updated.counted == [FIRST, SECOND, THIRD]


def test_pruning_after_a_run_that_is_not_whole_is_a_problem_and_removes_nothing(updated: Project) -> None:
    results = updated.run(point(FIRST), prune=True)
    results.filtered = "tests were deselected"
    assert updated.finish(results) == [
        "--ocrsweep-prune removed nothing: tests were deselected; run every test that could use a point: "
        "pytest --ocrsweep-prune, without -k, -m, -c, names or grids"
    ]
    assert updated.counted == [FIRST, SECOND, THIRD, LAST]


def test_pruning_where_nothing_is_unused_says_so_and_removes_nothing(updated: Project) -> None:
    results = updated.run(*map(point, (FIRST, SECOND, THIRD, LAST)), prune=True)
    results.notes.append("another note")
    assert updated.finish(results) == []
    assert results.notes == ["another note", "--ocrsweep-prune removed nothing: no recorded point is unused"]
    assert results.recorded == []


def test_an_interrupt_at_the_end_stops_one_step_and_is_a_line(updated: Project) -> None:
    def interrupted(_: Report) -> NoReturn:
        raise KeyboardInterrupt

    results = updated.run(point(FIRST), prune=True)
    results.finish(updated.folder, interrupted)
    assert results.problems == ["writing the report was interrupted: what is there may be of two runs; run again"]
    assert updated.counted == [FIRST]


def test_files_that_could_not_be_written_for_one_reason_are_one_line(
    updated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> NoReturn:
        raise OSError(30, "Read-only file system", str(path))

    for module in (counted, timed):
        monkeypatch.setattr(module, "record", refuse)
    (problem,) = updated.finish(updated.update(point(FIRST, time(2 * NS))))
    assert problem.startswith(
        "baselines/deepseek-ocr/decode.json, baselines/deepseek-ocr/timed/cpu/decode.json: "
        "not recorded, left as before (Read-only file system): "
    )
    assert problem.endswith(" and update again")


def test_a_damaged_file_costs_no_other_one(updated: Project) -> None:
    updated.recorded.write_text("{")
    results = updated.update()
    results.sweep.recorded = {stage: {} for stage in ("vision", "prefill", "decode")}
    results.take([point(FIRST, time(2 * NS))], failed=False, environment=HERE)
    (problem,) = updated.finish(results)
    assert str(updated.recorded) in problem
    assert [done.path for done in results.recorded] == [updated.timed]


def test_an_update_removes_what_a_killed_writer_left_beside_its_files(updated: Project) -> None:
    left = updated.recorded.parent / f".{updated.recorded.name}.0123456789abcdef.ocrsweep-draft"
    left.write_text("half of a fi")
    assert updated.finish(updated.update(point(FIRST))) == []
    assert not left.exists()


def test_a_problem_is_said_once(updated: Project) -> None:
    results = updated.run(point(FIRST))
    results.problems += ["the same", "another", "the same"]
    assert updated.finish(results) == ["the same", "another"]


def written(updated: Project, results: Results) -> Report:
    reports: list[Report] = []
    results.finish(updated.folder, lambda report: reports.append(report) or [])
    (report,) = reports
    return report


def test_a_report_has_an_estimate_on_the_device_of_its_floor(updated: Project) -> None:
    h100 = devices()["h100"].name
    for overrides in ((), ("device=h100",)):
        report = written(updated, updated.run(point(FIRST, floor=True), point(SECOND), overrides=overrides))
        with_floor, without = report.points
        assert with_floor.floor
        assert with_floor.estimate
        assert with_floor.estimate.device == with_floor.floor.device != h100
        assert without.estimate is None


def test_a_report_has_the_components_of_each_points_own_attention(updated: Project) -> None:
    report = written(updated, updated.run(point(FIRST), point(FIRST, attention="eager")))
    read_bytes = [sum(part.read_bytes for part in each.components.values()) for each in report.points]
    assert sorted(read_bytes) == sorted(each.analytic["read_bytes"] for each in report.points)
    assert len(set(read_bytes)) == 2


def test_a_report_says_its_workload_and_what_every_host_measured_with(updated: Project) -> None:
    results = updated.update()
    for host in ("node2", "node1"):
        found = replace(time(), host=host)
        results.take([point(FIRST, found)], failed=False, environment=replace(HERE, host=host))
    report = written(updated, results)
    assert [each.host for each in results.measured] == ["node1", "node2"]
    assert (report.model, report.workload.prompt_tokens, report.workload.resolution) == ("deepseek-ocr", 10, "gundam")
    assert (report.environment.gpu, report.environment.dtype) == ("cpu", "bf16")
    assert [each.grid for each in report.points] == [CropGrid(1, 1)]


def test_a_projects_revision_is_asked_for_once_and_why_it_is_not_known_is_said_once(
    updated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_ocrsweep.sweep import results as module
    from pytest_ocrsweep.sweep.revision import Revision

    asked: list[Path] = []
    unknown = Revision("1a2b", "git refuses to say more")
    monkeypatch.setattr(module, "revision", lambda folder, _: asked.append(folder) or unknown)
    updated.timed.unlink()
    results = updated.update(point(FIRST, time(2 * NS)))
    report = written(updated, results)
    assert asked == [updated.folder]
    assert results.notes == ["git refuses to say more"]
    first, *_ = timed.read(updated.timed, *NAMES).values()
    assert [each.git_revision for each in (report.environment, *first.environments)] == ["1a2b", "1a2b"]
