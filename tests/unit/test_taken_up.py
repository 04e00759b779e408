"""What a killed update timed is recorded by the next one, unless that one has its own verdict on the time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from updates import FIRST, HERE, NS, SECOND, THIRD, Project, point, time

from pytest_ocrsweep.baselines import timed
from pytest_ocrsweep.baselines.recorded_file import Recorded
from pytest_ocrsweep.baselines.result import PointResult
from pytest_ocrsweep.baselines.verdict import Verdict


@pytest.fixture
def updated(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_a_killed_update_timed_is_recorded_with_what_the_next_one_times(updated: Project) -> None:
    updated.kill(point(FIRST, time(), floor=True), point(SECOND, time(2 * NS)))
    (journal,) = updated.journals
    assert journal.parent == updated.folder / "baselines/deepseek-ocr/timed/cpu"
    assert updated.finish(updated.update(point(THIRD, time(3 * NS), floor=True))) == []
    assert updated.times == {FIRST: [NS], SECOND: [2 * NS], THIRD: [3 * NS]}
    first, third = (point(grid, floor=True).floor for grid in (FIRST, THIRD))
    assert first
    assert third
    assert updated.attained == {
        FIRST: pytest.approx(first.attained, abs=1e-6),
        SECOND: None,
        THIRD: pytest.approx(third.attained, abs=1e-6),
    }
    assert updated.counted == [FIRST, SECOND, THIRD]
    assert updated.journals == []


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (point(FIRST, time(7 * NS)), {FIRST: [7 * NS], THIRD: [NS]}),
        (point(FIRST), {FIRST: [2 * NS], THIRD: [NS]}),
        (point(FIRST, time(7 * NS, gpu="NVIDIA H200")), {FIRST: [2 * NS], THIRD: [NS]}),
        (point(FIRST, verdict=Verdict.FAIL), {THIRD: [NS]}),
    ],
    ids=["timed here", "only counted", "timed on another GPU", "failed"],
)
def test_a_runs_own_verdict_on_a_time_goes_before_what_was_taken_up(
    updated: Project, own: PointResult, expected: dict[str, list[float]]
) -> None:
    updated.kill(point(FIRST, time(2 * NS)))
    results = updated.update(point(THIRD, time()))
    gpu = own.vendor.gpu if own.vendor else None
    results.take([own], failed=False, environment=replace(HERE, gpu=gpu) if gpu else None)
    assert updated.finish(results) == []
    assert updated.times == expected


def test_a_time_of_a_test_that_failed_is_journalled_as_failed_and_not_recorded(updated: Project) -> None:
    results = updated.update()
    results.take([point(FIRST, time()), point(SECOND, time())], failed=True, environment=HERE)
    results.journals.close()
    assert updated.finish(updated.update(point(THIRD, time()))) == []
    assert updated.times == {FIRST: [NS], THIRD: [NS]}


def test_a_point_that_was_only_counted_is_not_journalled(updated: Project) -> None:
    results = updated.update()
    results.take([point(FIRST), point(SECOND, time())], failed=False, environment=HERE)
    (journal,) = updated.journals
    assert len(journal.read_text().splitlines()) == 2  # with the header
    results = updated.update(point(FIRST))
    assert updated.finish(results) == []


def after_others(updated: Project, ns: int, *updates: PointResult) -> None:
    """A killed update's journal of FIRST with this time, which lies there again after others recorded theirs."""
    updated.kill(point(FIRST, time(ns)))
    (journal,) = updated.journals
    content = journal.read_bytes()
    journal.unlink()
    for each in (point(FIRST, time()), *updates):
        assert updated.finish(updated.update(each)) == []
    journal.write_bytes(content)


@pytest.mark.parametrize(
    ("ns", "expected"),
    [(NS, [NS]), (NS + NS // 1000, [NS, NS + NS // 1000]), (NS + NS // 33, [NS])],
    ids=["the very time", "a time that agrees", "another time"],
)
def test_a_time_that_was_taken_up_is_judged_by_what_is_recorded_by_now(
    updated: Project, ns: int, expected: list[float]
) -> None:
    after_others(updated, ns)
    assert updated.finish(updated.update(point(THIRD, time()))) == []
    assert updated.times == {FIRST: expected, THIRD: [NS]}
    assert updated.journals == []


def test_it_is_judged_by_the_noise_of_all_that_is_recorded_there(updated: Project) -> None:
    noisy = NS + NS // 25
    after_others(updated, NS + NS // 33, point(SECOND, time()), point(SECOND, time(noisy, outcome="pass")))
    assert updated.finish(updated.update(point(THIRD, time()))) == []
    assert updated.times == {FIRST: [NS, NS + NS // 33], SECOND: [NS, noisy], THIRD: [NS]}


@pytest.mark.parametrize(("outcome", "expected"), [("pass", [NS, NS + 1]), ("fail", [NS]), ("improved", [NS])])
def test_a_time_joins_what_is_recorded_if_the_gate_let_it_pass_and_moves_nothing_otherwise(
    updated: Project, outcome: str, expected: list[float]
) -> None:
    for found in (time(), time(NS + 1, outcome=outcome)):
        assert updated.finish(updated.update(point(FIRST, found))) == []
    assert updated.times == {FIRST: expected}


def test_what_could_not_be_recorded_stays_journalled_and_is_named(
    updated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> Recorded:
        raise OSError(30, "Read-only file system", str(path))

    results = updated.update(point(FIRST, time()))
    results.notes.append("another note")
    (journal,) = updated.journals
    with monkeypatch.context() as patched:
        patched.setattr(timed, "record", refuse)
        (problem,) = updated.finish(results)
    assert problem.startswith("baselines/deepseek-ocr/timed/cpu/decode.json: not recorded, left as before")
    assert results.notes == [
        "another note",
        f"{journal.relative_to(updated.folder)} keeps what was timed for the next update",
    ]
    assert updated.finish(updated.update(point(SECOND, time()))) == []
    assert sorted(updated.times) == [FIRST, SECOND]
