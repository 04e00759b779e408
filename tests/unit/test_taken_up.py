"""What a killed update timed is recorded by the next one, unless that one has its own verdict on the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from updates import FIRST, HERE, NS, SECOND, THIRD, Project, point, time

from pytest_ocrsweep.baselines import timed
from pytest_ocrsweep.baselines.counted import Recorded
from pytest_ocrsweep.baselines.result import PointResult
from pytest_ocrsweep.baselines.verdict import Verdict


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_a_killed_update_timed_is_recorded_with_what_the_next_one_times(project: Project) -> None:
    project.kill(point(FIRST, time(), floor=True), point(SECOND, time(2 * NS)))
    (journal,) = project.journals
    assert journal.parent == project.folder / "baselines/deepseek-ocr/timed/cpu"
    assert project.finish(project.update(point(THIRD, time(3 * NS)))) == []
    assert project.times == {FIRST: [NS], SECOND: [2 * NS], THIRD: [3 * NS]}
    floor = point(FIRST, floor=True).floor
    assert floor
    assert floor.attained
    assert project.attained == {FIRST: round(floor.attained, 6), SECOND: None, THIRD: None}
    assert project.counted == [FIRST, SECOND, THIRD]
    assert project.journals == []


@pytest.mark.parametrize(
    ("own", "recorded"),
    [
        (point(FIRST, time(7 * NS)), {FIRST: [7 * NS], THIRD: [NS]}),
        (point(FIRST), {FIRST: [2 * NS], THIRD: [NS]}),
        (point(FIRST, time(7 * NS, gpu="NVIDIA H200")), {FIRST: [2 * NS], THIRD: [NS]}),
        (point(FIRST, verdict=Verdict.FAIL), {THIRD: [NS]}),
    ],
    ids=["timed here", "only counted", "timed on another GPU", "failed"],
)
def test_a_runs_own_verdict_on_a_time_goes_before_what_was_taken_up(
    project: Project, own: PointResult, recorded: dict[str, list[float]]
) -> None:
    project.kill(point(FIRST, time(2 * NS)))
    results = project.update(point(THIRD, time()))
    gpu = own.vendor.gpu if own.vendor else None
    results.take([own], failed=False, environment=replace(HERE, gpu=gpu) if gpu else None)
    assert project.finish(results) == []
    assert project.times == recorded


def test_a_time_of_a_test_that_failed_is_journalled_as_failed_and_not_recorded(project: Project) -> None:
    results = project.update()
    results.take([point(FIRST, time()), point(SECOND, time())], failed=True, environment=HERE)
    results.journals.close()
    assert project.finish(project.update(point(THIRD, time()))) == []
    assert project.times == {FIRST: [NS], THIRD: [NS]}


def test_a_point_that_was_only_counted_is_not_journalled(project: Project) -> None:
    results = project.update()
    results.take([point(FIRST), point(SECOND, time())], failed=False, environment=HERE)
    (journal,) = project.journals
    assert len(journal.read_text().splitlines()) == 2  # with the header
    results = project.update(point(FIRST))
    assert project.finish(results) == []


@pytest.fixture
def late(project: Project) -> Callable[[int], None]:
    """Records FIRST with NS, and then lets an update die that timed it with so much, before it knew of that."""

    def act(ns: int) -> None:
        project.kill(point(FIRST, time(ns)))
        (journal,) = project.journals
        content = journal.read_bytes()
        journal.unlink()
        assert project.finish(project.update(point(FIRST, time()), point(SECOND, time()))) == []
        journal.write_bytes(content)

    return act


@pytest.mark.parametrize(
    ("ns", "recorded"),
    [(NS, [NS]), (NS + NS // 1000, [NS, NS + NS // 1000]), (2 * NS, [2 * NS])],
    ids=["the very time", "a time that agrees", "another time"],
)
def test_a_time_that_was_taken_up_is_judged_by_what_is_recorded_by_now(
    project: Project, late: Callable[[int], None], ns: int, recorded: list[float]
) -> None:
    late(ns)
    assert project.finish(project.update(point(THIRD, time()))) == []
    assert project.times == {FIRST: recorded, SECOND: [NS], THIRD: [NS]}
    assert project.journals == []


def test_what_could_not_be_recorded_stays_journalled_and_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> Recorded:
        raise OSError(30, "Read-only file system", str(path))

    results = project.update(point(FIRST, time()))
    (journal,) = project.journals
    with monkeypatch.context() as patched:
        patched.setattr(timed, "record", refuse)
        (problem,) = project.finish(results)
    assert problem.startswith("baselines/deepseek-ocr/timed/cpu/decode.json: not recorded, left as before")
    assert results.notes[-1:] == [f"{journal.relative_to(project.folder)} keeps what was timed for the next update"]
    assert project.finish(project.update(point(SECOND, time()))) == []
    assert sorted(project.times) == [FIRST, SECOND]
