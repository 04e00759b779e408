"""Separate runs merged are what one run would have written; what does not belong together is refused by name."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from documents import document, point, vendor

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.baselines import counted, history, timed
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import Process
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.merge import merge as merge_baselines
from pytest_ocrsweep.baselines.metrics import exact_names
from pytest_ocrsweep.baselines.recorded_time import KEPT, TimedProcess
from pytest_ocrsweep.baselines.result_json import from_json, to_json
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.errors import BaselineError, ReportError
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.report.merge import REMEDY, Part, merge

Json = dict[str, Any]
NODE1 = Environment("node1", "NVIDIA H200", "580.1", "2.11.0", "5.23.0", "bf16", "random, seed 0")
NODE2 = replace(NODE1, host="node2", torch="2.13.0")
POINTS = [(stage, grid, attention) for stage in STAGES for grid in ("1x1", "2x3", "10x1") for attention in ATTENTION]


def sweep(*points: Json, on: tuple[Environment, ...] = ()) -> Report:
    """A report of these points, measured on these hosts."""
    plain = from_json(document(*points), "a test")
    return replace(plain, environment=plain.environment.on(*on))


def measured(name: tuple[str, str, str], host: str) -> Json:
    return point(*name, vendor=vendor(host=host))


def unmeasured(*name: str, **changed: Any) -> Json:
    return point(*name, vendor=None, **changed)


def merged(*reports: Report) -> Report:
    return merge([Part(f"report-{number}", each) for number, each in enumerate(reports)])


def refused(*reports: Report) -> str:
    with pytest.raises(ReportError) as error:
        merged(*reports)
    line = str(error.value)
    assert "\n" not in line
    assert line.endswith(f": {REMEDY}")
    return line.removesuffix(f": {REMEDY}")


# Reports


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hosts", [(NODE1,), (NODE1, NODE2)], ids=["one host", "two hosts"])
def test_parts_of_any_cut_are_the_whole(hosts, seed) -> None:
    rng = random.Random(seed)
    points = [measured(name, hosts[number % len(hosts)].host) for number, name in enumerate(POINTS)]
    parts: list[list[Json]] = [[], [], []]
    for each in points:
        rng.choice(parts).append(each)
    parts = [part for part in parts if part]
    ran_on = [[host for host in hosts if any(p["vendor"]["host"] == host.host for p in part)] for part in parts]
    whole = merged(*(sweep(*part, on=tuple(on)) for part, on in zip(parts, ran_on, strict=True)))
    assert json.dumps(to_json(whole)) == json.dumps(to_json(sweep(*points, on=hosts)))


def test_a_part_that_was_only_counted_leaves_the_environment_of_the_other() -> None:
    parts = sweep(unmeasured("vision")), sweep(point("decode"), on=(NODE1,))
    whole = sweep(unmeasured("vision"), point("decode"), on=(NODE1,))
    assert to_json(merged(*parts)) == to_json(merged(*parts[::-1])) == to_json(whole)


def test_a_field_of_a_later_version_stays() -> None:
    later = sweep(point("vision"))
    first = replace(later, extra={"of tomorrow": 1}, environment=replace(later.environment, extra={"fans": 2}))
    document = to_json(merged(sweep(point("decode")), first))
    assert (document["of tomorrow"], document["environment"]["fans"]) == (1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(model="other"), "model is 'deepseek-ocr' in report-0, but 'other' in report-1"),
        (lambda d: d["workload"].update(batch=4), "batch is 1 in report-0, but 4 in report-1"),
        (
            lambda d: d["workload"].update(resolution="base"),
            "resolution is 'gundam' in report-0, but 'base' in report-1",
        ),
        (lambda d: d["environment"].update(dtype="fp32"), "dtype is 'bf16' in report-0, but 'fp32' in report-1"),
        (
            lambda d: d["environment"].update(weights="checkpoint ab"),
            "weights is 'random, seed 0' in report-0, but 'checkpoint ab' in report-1",
        ),
        (
            lambda d: d["environment"].update(experts_implementation={"decode": "batched_mm"}),
            "experts_implementation is unknown in report-0, but {'decode': 'batched_mm'} in report-1",
        ),
        (
            lambda d: d["environment"].update(git_revision="abc-dirty"),
            "git_revision is unknown in report-0, but 'abc-dirty' in report-1",
        ),
        (
            lambda d: d["points"][0]["analytic"].update(weight_bytes=1),
            "weight_bytes of decode is 6000000000 in report-0, but 1 in report-1",
        ),
        (
            lambda d: d["environment"].update(driver="590.2"),
            "driver on None is '580.1' in report-0, but '590.2' in report-1",
        ),
    ],
)
def test_another_sweep_is_refused_and_both_sources_are_named(change: Callable[[Json], object], message: str) -> None:
    other = document(point("decode", "1x2"))
    change(other)
    assert refused(sweep(point("decode"), on=(replace(NODE1, host=None, transformers=None),)), read(other)) == message


def read(raw: Json) -> Report:
    return from_json(raw, "a test")


def test_floors_for_another_device_are_refused_unless_they_were_measured_there() -> None:
    h100 = point()["floor"] | {"device": "NVIDIA H100"}
    message = "the device of floors is 'NVIDIA H200' in report-0, but 'NVIDIA H100' in report-1"
    assert refused(sweep(unmeasured("vision")), sweep(unmeasured("decode", floor=h100))) == message
    assert len(merged(sweep(unmeasured("vision")), sweep(point("decode", floor=h100))).points) == 2


def test_a_point_of_two_sources_must_have_the_same_counted_numbers() -> None:
    message = "decode 2x3 flash: tensor_flops is 1,000,000,000,000 in report-0, but 7 in report-1"
    assert refused(sweep(unmeasured("decode")), sweep(unmeasured("decode", tensor_flops=7))) == message


def test_a_point_measured_twice_is_refused() -> None:
    assert refused(sweep(point()), sweep(point())) == "prefill 2x3 flash was measured in report-0 and in report-1"


def test_of_a_point_that_one_source_measured_that_measurement_stays_and_no_failure_is_lost() -> None:
    counted_only, timed_too = sweep(unmeasured("decode", verdict="FAIL")), sweep(point("decode"))
    for parts in ((counted_only, timed_too), (timed_too, counted_only)):
        (only,) = merged(*parts).points
        assert (only.vendor is not None, only.verdict) == (True, "FAIL")


def test_what_moved_in_either_source_stays_and_what_moved_in_both_is_said_once() -> None:
    slower = {
        "metric": "device_ns",
        "old": 1,
        "new": 2,
        "change": 1.0,
        "margin": 0.1,
        "causes": ["head"],
        "accept": None,
    }
    more = slower | {"metric": "read_bytes", "margin": None}
    counted_only = sweep(unmeasured("decode", verdict="FAIL", moved=[more]))
    timed_too = sweep(point("decode", verdict="FAIL", moved=[more, slower]))
    for parts in ((counted_only, timed_too), (timed_too, counted_only)):
        (only,) = merged(*parts).points
        assert [each.metric for each in only.moved] == ["read_bytes", "device_ns"]
        assert len(to_json(merged(*parts))["points"][0]["moved"]) == 2


# Baselines

H200 = ("m", "nvidia-h200", "decode")
NUMBERS = dict.fromkeys(exact_names(), 5)
NS = 1_000_000


def key(grid: str) -> PointKey:
    return PointKey(Workload(CropGrid.parse(grid)), "flash")


def process(median: int = NS, **changed: Any) -> TimedProcess:
    found = Process(median, median - 100, median + 100, 20)
    return replace(
        TimedProcess("cuda-graph", "batched_mm", Observed(tensor_flops=2**40, kernels=12), 1200, found, NODE1),
        **changed,
    )


def record(folder: Path, times: dict[str, TimedProcess], numbers: dict[str, int] = NUMBERS) -> Path:
    """As an update does."""
    counted.record(counted.file_of(folder, "m", "decode"), "m", "decode", {key(grid): numbers for grid in times})
    found = {key(grid): (time, True) for grid, time in times.items()}
    timed.record(timed.file_of(folder, *H200), *H200, found, "2026-03-01T12:00:00Z")
    return folder


def medians(folder: Path, grid: str) -> list[float]:
    return [each.median_ns for each in timed.read(timed.file_of(folder, *H200), *H200)[key(grid)].baseline.processes]


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.json")}


def contradiction(folder: Path, *sources: Path) -> str:
    before = contents(folder)
    with pytest.raises(BaselineError) as error:
        merge_baselines(sources, folder)
    assert contents(folder) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_baselines_of_two_halves_are_those_of_the_whole(tmp_path) -> None:
    times = {grid: process(NS + number) for number, grid in enumerate(("1x1", "1x2", "2x3", "10x1"))}
    whole = record(tmp_path / "whole", times)
    first = record(tmp_path / "a", dict(list(times.items())[:2]))
    second = record(tmp_path / "b", dict(list(times.items())[2:]))
    done = merge_baselines([first, second], tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(whole)
    assert [(each.added, each.changed, each.same) for each in done] == [(4, 0, 0)] * 2


def test_each_process_joins_the_evidence_once_and_the_latest_five_stay(tmp_path) -> None:
    folders = [tmp_path / name for name in ("merged", "a", "b")]
    for folder in folders:
        for number in range(4):  # the history that all began with
            record(folder, {"2x3": process(NS + number)})
    record(folders[1], {"2x3": process(NS + 10)})
    record(folders[2], {"2x3": process(NS + 20)})
    (_, done) = merge_baselines(folders[1:], folders[0])
    assert medians(folders[0], "2x3") == [NS + 1, NS + 2, NS + 3, NS + 10, NS + 20]
    assert len(medians(folders[0], "2x3")) == KEPT
    assert (done.added, done.changed, done.same) == (0, 0, 1)


def test_what_a_run_changed_wins_over_what_another_left_as_it_was(tmp_path) -> None:
    old = {"1x1": process(), "2x3": process()}
    folders = [record(tmp_path / name, old) for name in ("merged", "a", "b")]
    new = {name: number + 1 for name, number in NUMBERS.items()}
    slower = timed.file_of(folders[1], *H200)
    for _ in range(3):
        timed.record(slower, *H200, {key("2x3"): (process(2 * NS), False)})
    counted.record(counted.file_of(folders[1], "m", "decode"), "m", "decode", {key("2x3"): new})
    for sources in (folders[1:], folders[:0:-1]):
        merge_baselines(sources, folders[0])
        numbers = counted.read(counted.file_of(folders[0], "m", "decode"), "m", "decode")
        assert numbers == {key("1x1"): NUMBERS, key("2x3"): new}
        assert (medians(folders[0], "1x1"), medians(folders[0], "2x3")) == ([NS], [2 * NS] * 3)
        for name, text in contents(folders[2]).items():
            (folders[0] / name).write_text(text)


@pytest.mark.parametrize("more", [0, 2], ids=["one process", "three processes"])
def test_a_time_that_moved_takes_the_place_of_the_recorded_one_if_three_processes_say_so(tmp_path, more) -> None:
    folder = record(tmp_path / "merged", {"2x3": process()})
    first, second = record(tmp_path / "a", {"2x3": process(2 * NS)}), record(tmp_path / "b", {"1x1": process()})
    for _ in range(more):
        timed.record(timed.file_of(first, *H200), *H200, {key("2x3"): (process(2 * NS), True)})
    (_, done) = merge_baselines([first, second], folder)
    assert medians(folder, "2x3") == ([2 * NS] * 3 if more else [NS])
    assert (done.added, done.changed, done.same, done.kept) == (1, int(more > 0), 0, int(more == 0))


def test_the_histories_are_merged_too(tmp_path) -> None:
    folder = record(tmp_path / "merged", {"2x3": process()})
    first, second = record(tmp_path / "a", {"2x3": process(NS + 1)}), record(tmp_path / "b", {"1x1": process()})
    merge_baselines([first, second], folder)
    entries = history.read(history.file_of(timed.file_of(folder, *H200))).entries
    assert sorted((str(each.key.work.grid), each.taken.process.median_ns) for each in entries) == [
        ("1x1", NS),
        ("2x3", NS),
        ("2x3", NS + 1),
    ]


def test_counted_numbers_that_disagree_are_refused(tmp_path) -> None:
    first = record(tmp_path / "a", {"2x3": process()})
    second = record(tmp_path / "b", {"2x3": process()}, NUMBERS | {"read_bytes": 6})
    line = contradiction(tmp_path / "merged", first, second)
    assert line.startswith(f"decode 2x3 flash: {first} and {second} have read_bytes 5 and 6: merge runs of one project")


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (process(2 * NS), "time 1,000,000 ns -> 2,000,000 ns, margin 2.1 %"),
        (process(clock="host"), "clock cuda-graph -> host"),
        (process(experts="grouped_mm"), "experts batched_mm -> grouped_mm"),
        (process(environment=replace(NODE1, dtype="fp32")), "dtype bf16 -> fp32"),
        (process(environment=replace(NODE1, weights="checkpoint ab")), "weights random, seed 0 -> checkpoint ab"),
        (process(observed=Observed(tensor_flops=2**41, kernels=12)), f"tensor_flops {2**40} -> {2**41}"),
    ],
)
def test_times_that_are_not_of_one_thing_are_refused(tmp_path, other, what) -> None:
    first, second = record(tmp_path / "a", {"2x3": process()}), record(tmp_path / "b", {"2x3": other})
    line = contradiction(tmp_path / "merged", first, second)
    assert line.startswith(f"decode 2x3 flash: {first} and {second} have {what}: merge runs of one project")


def test_other_hosts_and_revisions_are_evidence_of_the_same_point(tmp_path) -> None:
    elsewhere = process(NS + 5, environment=replace(NODE2, git_revision="def"))
    first, second = record(tmp_path / "a", {"2x3": process()}), record(tmp_path / "b", {"2x3": elsewhere})
    merge_baselines([first, second], tmp_path / "merged")
    stored = timed.read(timed.file_of(tmp_path / "merged", *H200), *H200)[key("2x3")]
    assert [each.host for each in stored.environments] == ["node1", "node2"]


def test_baselines_of_no_model_or_of_another_are_refused(tmp_path) -> None:
    first, empty = record(tmp_path / "a", {"2x3": process()}), tmp_path / "empty"
    line = contradiction(tmp_path / "merged", first, empty)
    assert line == f"{empty}: no baselines are recorded there; give a folder such as baselines"
    other = counted.file_of(tmp_path / "b", "n", "decode")
    counted.record(other, "n", "decode", {key("2x3"): NUMBERS})
    line = contradiction(tmp_path / "merged", first, tmp_path / "b")
    assert line.startswith(f"the model is m in {first}, but n in {tmp_path / 'b'}: merge runs")
