"""Timed baselines: evidence of several processes that grows while a point stays, and starts anew when it moves."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.counted import PointKey
from pytest_ocrsweep.baselines.evidence import EXPECTED_NOISE, Baseline, Process
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.baselines.recorded_time import (
    CLOCKS,
    ENGINE_NOISE,
    KEPT,
    RecordedTime,
    TimedProcess,
    comparable,
    differences,
    incomparable,
    usual_noise,
)
from pytest_ocrsweep.baselines.timed import (
    file_of,
    gpu_folder,
    gpu_folders,
    read,
    record,
)
from pytest_ocrsweep.errors import BaselineError

ABOUT = ("m", "nvidia-h200", "decode")
HERE = Environment("node1", "NVIDIA H200", "580.1", "2.11", "5.23", "bfloat16", "seed 0", "abc")
OBSERVED = Observed(tensor_flops=2**70, kernels=12, peak_bytes=4096, sm_clock_mhz=1980)


def key(grid: str, attention: str = "flash", **workload: int) -> PointKey:
    return PointKey(Workload(CropGrid.parse(grid), **workload), attention)


def timed(median: float = 1000, **changes: object) -> TimedProcess:
    process = Process(median, median - 5, median + 5, 20)
    return replace(TimedProcess("cuda-graph", "batched_mm", OBSERVED, 1200, process, HERE), **changes)


def elsewhere(**changes: str | None) -> Environment:
    return replace(HERE, **changes)


def medians(path: Path, point: PointKey) -> list[float]:
    return [process.median_ns for process in read(path, *ABOUT)[point].baseline.processes]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = file_of(tmp_path, *ABOUT)
    other = timed(3000, environment=elsewhere(driver="590.2"))
    found = {key("2x3"): (timed(), True), key("10x1"): (other, True), key("2x1"): (timed(), True)}
    record(path, *ABOUT, found, "2026-03-01T12:00:00Z")
    return path


def test_a_file_is_found_by_model_gpu_and_stage():
    path = file_of(Path("baselines"), "deepseek-ocr", gpu_folder("NVIDIA H200"), "vision")
    assert path == Path("baselines/deepseek-ocr/timed/nvidia-h200/vision.json")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("NVIDIA H200", "nvidia-h200"),
        ("NVIDIA A100-SXM4-80GB", "nvidia-a100-sxm4-80gb"),
        ("NVIDIA H200 MIG 1g.18gb", "nvidia-h200-mig-1g.18gb"),
        (" Radeon™ RX_7900 (XT)/é ", "radeon-rx-7900-xt"),
        ("../..", None),
        ("", None),
        (None, "cpu"),
        ("CPU", "cpu"),
    ],
)
def test_a_gpus_folder_is_its_name_in_plain_letters(name, folder):
    if folder:
        assert gpu_folder(name) == folder
    else:
        with pytest.raises(ValueError, match="needs a letter or a digit to be a folder, got"):
            gpu_folder(name)


def test_what_is_recorded_is_read_back(file):
    found = read(file, *ABOUT)
    stored = found[key("2x3")]
    assert stored.baseline == Baseline((timed().process,), OBSERVED)
    assert (stored.clock, stored.experts, stored.wall_median_ns) == ("cuda-graph", "batched_mm", 1200)
    assert stored.environments == (HERE,)
    assert found[key("10x1")].environments == (elsewhere(driver="590.2"),)


def test_what_is_not_known_is_null_and_reads_back_so(file):
    unknown = timed(experts=None, observed=Observed(), wall_median_ns=None, environment=Environment())
    record(file, *ABOUT, {key("1x1"): (unknown, True)})
    stored = read(file, *ABOUT)[key("1x1")]
    assert (stored.experts, stored.baseline.observed, stored.wall_median_ns) == (None, Observed(), None)
    assert stored.environments == (unknown.environment,)


def test_times_are_whole_ns_and_the_median_is_stored_once(file):
    record(file, *ABOUT, {key("1x1"): (timed(10.6, observed=replace(OBSERVED, time_ns=10.6)), True)})
    assert read(file, *ABOUT)[key("1x1")].baseline == Baseline((Process(11, 6, 16, 20),), OBSERVED)


@pytest.mark.parametrize("least", [1, 2])
def test_a_time_may_be_the_least_there_is_and_all_quartiles_one(file, least):
    same = Process(least, least, least, 1)
    record(file, *ABOUT, {key("1x1"): (timed(process=same), True)})
    assert read(file, *ABOUT)[key("1x1")].baseline.processes == (same,)


def test_a_file_that_is_not_there_has_no_points(tmp_path):
    assert read(tmp_path / "none.json", *ABOUT) == {}


def test_a_run_that_found_nothing_writes_nothing(tmp_path):
    record(tmp_path / "none.json", *ABOUT, {})
    assert not list(tmp_path.iterdir())


def test_points_are_a_line_each_in_the_order_of_their_grids(file):
    lines = [json.loads(line.rstrip(",")) for line in file.read_text().splitlines() if "grid" in line]
    assert [line["grid"] for line in lines] == ["2x1", "2x3", "10x1"]
    assert lines[0]["processes"] == [{"median_ns": 1000, "q1_ns": 995, "q3_ns": 1005, "samples": 20, "environment": 0}]


def test_a_process_that_agrees_joins_the_evidence_and_is_what_was_last_seen(file):
    later = timed(1003, observed=replace(OBSERVED, kernels=13), wall_median_ns=1201)
    done = record(file, *ABOUT, {key("2x3"): (later, True), key("1x1"): (timed(), True)})
    assert (done.added, done.changed, done.same, done.removed) == (1, 0, 1, 0)
    stored = read(file, *ABOUT)[key("2x3")]
    assert stored.baseline == Baseline((timed().process, later.process), later.observed)
    assert stored.wall_median_ns == 1201


def test_points_that_a_run_did_not_find_stay(file):
    before = read(file, *ABOUT)
    record(file, *ABOUT, {key("2x3"): (timed(10), False)})
    after = read(file, *ABOUT)
    assert {**after, key("2x3"): None} == {**before, key("2x3"): None}


def test_the_latest_processes_are_kept(file):
    for median in range(1001, 1004 + KEPT):
        record(file, *ABOUT, {key("2x3"): (timed(median), True)})
    assert medians(file, key("2x3")) == list(range(1004, 1004 + KEPT))
    assert len(read(file, *ABOUT)[key("2x3")].environments) == KEPT


def test_a_process_that_disagrees_is_kept_and_three_that_agree_move_the_point(file):
    record(file, *ABOUT, {key("2x3"): (timed(1001), True)})
    for times, median in enumerate((1100, 1101), 1):
        done = record(file, *ABOUT, {key("2x3"): (timed(median), False)})
        assert (done.added, done.changed, done.same, done.kept) == (0, 0, 0, 1)
        assert medians(file, key("2x3")) == [1000, 1001]
        assert len(read(file, *ABOUT)[key("2x3")].pending) == times
    done = record(file, *ABOUT, {key("2x3"): (timed(1102), False)})
    assert (done.changed, done.kept) == (1, 0)
    assert medians(file, key("2x3")) == [1100, 1101, 1102]
    assert read(file, *ABOUT)[key("2x3")].pending == ()


@pytest.mark.parametrize(
    "change",
    [
        {"clock": "profiler"},
        {"experts": "grouped_mm"},
        {"observed": replace(OBSERVED, tensor_flops=2**70 + 1)},
        {"environment": elsewhere(dtype="float16")},
        {"environment": elsewhere(weights="checkpoint 1f")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_point_of_other_work_or_another_clock_starts_anew_though_it_agrees(file, change):
    assert not comparable(read(file, *ABOUT)[key("2x3")], timed(1001, **change))
    done = record(file, *ABOUT, {key("2x3"): (timed(1001, **change), True)})
    assert (done.changed, medians(file, key("2x3"))) == (1, [1001])


def test_why_a_time_cannot_be_compared_is_said_then_and_now(file):
    stored = read(file, *ABOUT)[key("2x3")]
    assert incomparable(stored, "cuda-graph", "batched_mm", elsewhere(driver="590.2")) == []
    assert incomparable(stored, "profiler", None, elsewhere(dtype="float16", weights=None)) == [
        "clock cuda-graph -> profiler",
        "experts batched_mm -> unknown",
        "dtype bfloat16 -> float16",
        "weights seed 0 -> unknown",
    ]
    graphs = elsewhere(engine_start="encoder_graphs=true")
    assert incomparable(stored, stored.clock, stored.experts, graphs) == ["engine.start default -> encoder_graphs=true"]


def test_how_an_engine_was_started_is_recorded_where_it_is_not_the_default(file):
    assert "engine_start" not in file.read_text()
    started = elsewhere(engine_start="encoder_graphs=true")
    record(file, *ABOUT, {key("2x3"): (timed(1001, environment=started), True)})
    assert medians(file, key("2x3")) == [1001]
    assert read(file, *ABOUT)[key("2x3")].environments == (started,)


def test_the_gpus_with_times_of_a_model_are_its_folders(tmp_path):
    for model, gpu in (("m", "nvidia-h200"), ("m", "cpu"), ("other", "nvidia-l40s")):
        record(file_of(tmp_path, model, gpu, "decode"), model, gpu, "decode", {key("1x1"): (timed(), True)})
    (tmp_path / "m" / "timed" / "notes.txt").touch()
    assert gpu_folders(tmp_path, "m") == ["cpu", "nvidia-h200"]
    assert gpu_folders(tmp_path, "unknown") == []


@pytest.mark.parametrize("attained", [None, 0.001, 1.0])
def test_what_a_time_attains_is_a_fraction_up_to_all_of_it(file, attained):
    record(file, *ABOUT, {key("1x1"): (timed(attained=attained), True)})
    assert read(file, *ABOUT)[key("1x1")].attained == attained


@pytest.mark.parametrize("wrong", ["0.0", "1.001", "-0.5", "1", '"all"', "true"])
def test_what_no_time_can_attain_is_refused(file, wrong):
    file.write_text(file.read_text().replace('"attained": null', f'"attained": {wrong}', 1))
    with pytest.raises(BaselineError, match="attained must be null or a fraction above 0, got "):
        read(file, *ABOUT)


def test_other_libraries_join_the_evidence_under_their_own_name(file):
    upgraded = elsewhere(torch="2.13")
    record(file, *ABOUT, {key("2x3"): (timed(1001, environment=upgraded), True)})
    assert read(file, *ABOUT)[key("2x3")].environments == (HERE, upgraded)


def test_a_line_changes_only_with_its_point(file):
    def items() -> list[str]:
        return [line.rstrip(",") for line in file.read_text().splitlines()]

    before = items()
    anew = timed(environment=elsewhere(git_revision="def"), experts=None)
    record(file, *ABOUT, {key("2x1"): (anew, False)})
    environment, point = (json.loads(line) for line in items() if line not in before)
    assert (Environment(**environment), point["grid"]) == (anew.environment, "2x1")


def test_an_environment_that_no_process_has_any_more_goes(file):
    record(file, *ABOUT, {key("10x1"): (timed(3000, experts=None), False)})
    assert "590.2" not in file.read_text()


def test_the_same_environment_differs_in_nothing_whatever_the_revision(file):
    assert differences(read(file, *ABOUT)[key("2x3")], elsewhere(git_revision="def")) == []


def test_another_host_with_such_a_gpu_is_no_other_environment(file):
    assert differences(read(file, *ABOUT)[key("2x3")], elsewhere(host="node2")) == []


def test_times_that_were_recorded_without_a_host_are_read(file):
    file.write_text(file.read_text().replace('"host": "node1", ', ""))
    assert "node1" not in file.read_text()
    assert read(file, *ABOUT)[key("2x3")].environments == (elsewhere(host=None),)


def test_another_environment_is_said_then_and_now(file):
    stored = read(file, *ABOUT)[key("2x3")]
    now = elsewhere(driver="590.2", torch="2.13", transformers=None)
    assert differences(stored, now) == ["driver 580.1 -> 590.2", "torch 2.11 -> 2.13", "transformers 5.23 -> unknown"]


def test_an_environment_that_some_process_had_is_no_other(file):
    record(file, *ABOUT, {key("2x3"): (timed(environment=elsewhere(driver="590.2")), True)})
    stored = read(file, *ABOUT)[key("2x3")]
    assert differences(stored, HERE) == []
    assert differences(stored, elsewhere(driver="600")) == ["driver 580.1, 590.2 -> 600"]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"schema": 1', '"schema": 0', "its schema is 0, not 1"),
        ('"gpu": "nvidia-h200"', '"gpu": "nvidia-h100"', "its gpu is 'nvidia-h100', not 'nvidia-h200'"),
        ('"model": "m"', '"model": 3', "its model is 3, not 'm'"),
        ('"gpu": "nvidia-h200",', "", "it must hold schema, model, gpu, stage, environments and points, and nothing"),
        ('"environments": [', '"environments": 3, "x": [', "and nothing else"),
        ('"driver": "580.1"', '"driver": 580.1', "timed.json:7: environment 1: driver must be text or null, got 580.1"),
        ('"driver"', '"drivers"', r"environment 1: it must hold host, gpu, driver, .* \(see driver, drivers\)"),
        (r'"environments": \[', '"environments": [3, ', r"timed.json:7: environment 1: it must hold .* \(see int\)"),
        ('"driver": "590.2"', '"driver": "580.1"', "timed.json:8: environment 2: it is given twice"),
        ('"clock": "cuda-graph"', '"clock": "sundial"', "timed.json:11: point 1: clock must be one of cuda-graph, pro"),
        (
            '"clock": "cuda-graph"',
            '"clock": []',
            r"clock must be one of cuda-graph, profiler, host, cpu-time, engine, got \[\]",
        ),
        ('"experts": "batched_mm"', '"experts": 1', "experts must be text or null, got 1"),
        ('"kernels": 12', '"kernels": 12.0', "kernels must be a whole number, got 12.0"),
        ('"kernels": 12', '"kernels": 12, "kernels": 12', "a key is given twice"),
        ('"kernels": 12', '"kernel": 12', r"nothing else \(see kernel, kernels\)"),
        ('"wall_median_ns": 1200', '"wall_median_ns": 0', "wall_median_ns must be a whole number of at least 1, got 0"),
        ('"median_ns": 1000', '"median_ns": 1000.0', "median_ns must be a whole number of at least 1, got 1000.0"),
        ('"median_ns": 1000', '"median_ns": 1006', "median_ns must lie between q1_ns, at least 1, and q3_ns, got 1006"),
        ('"median_ns": 1000', '"mean_ns": 1000', r"it must hold median_ns, .* \(see mean_ns, median_ns\)"),
        ('"samples": 20', '"samples": 0', "samples must be a whole number of at least 1, got 0"),
        ('"environment": 0', '"environment": 2', "environment 2 is not there: the file has 2, counted from 0"),
        ('"environment": 0', '"environment": -1', "environment must be a whole number, got -1"),
        ('"processes": [', '"processes": [], "x": [', r"nothing else \(see x\)"),
        (r'"processes": \[.*?\]', '"processes": []', "processes must be a list of 1 to 5"),
        (r'"processes": \[.*?\]', '"processes": [3]', r"\(see int\)"),
        (
            '"since": "2026-03-01T12:00:00Z"',
            '"since": "March"',
            "since must be such as 2026-03-01T12:00:00Z, got 'March'",
        ),
        (r'"anchor": \{.*?\}\]\}', '"anchor": 3', r"it must hold since, processes, and nothing else \(see int\)"),
        (r'"anchor": ', '"pending": [], "anchor": ', "pending must be a list of 1 to 5"),
        ('"grid": "2x1"', '"grid": "2x3"', "timed.json:12: point 2: 2x3 flash is recorded twice"),
        ('"grid": "2x1"', '"grid": "two"', "'two' is not a crop grid"),
        (r"\}\n\Z", "", r"timed.json:15: it is not JSON"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(file, monkeypatch, old, new, error):
    damaged, times = re.subn(old if "\\" in old else re.escape(old), new, file.read_text(), count=1)
    assert times == 1
    path = file.with_name("timed.json")
    path.write_text(damaged)
    with pytest.raises(BaselineError, match=error) as raised:
        record(path, *ABOUT, {key("1x1"): (timed(), True)})
    assert re.fullmatch(
        r"damaged baseline .+: .+; restore it .+, or delete it and run again with .+", str(raised.value)
    )
    assert path.read_text() == damaged


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"clock": "sundial"}, "clock must be one of"),
        ({"process": Process(2, 1, 86_400 * 10**9 + 1, 20)}, "q3_ns must be at most a day, 86400000000000, got 86400"),
        ({"process": Process(0.4, 0.3, 0.5, 20)}, "median_ns must lie between q1_ns, at least 1, and q3_ns, got 0 of"),
    ],
)
def test_what_could_not_be_read_back_is_not_made(change, error):
    with pytest.raises(ValueError, match=error):
        timed(**change)


some_time = st.builds(
    timed,
    st.integers(10, 10**12),
    clock=st.sampled_from(CLOCKS),
    experts=st.sampled_from([None, "batched_mm"]),
    environment=st.builds(elsewhere, torch=st.sampled_from(["2.11", "2.13"]), dtype=st.sampled_from([None, "float16"])),
)
some_key = st.builds(key, st.sampled_from(["1x1", "2x3", "10x1"]), st.sampled_from(["eager", "flash"]))
some_run = st.dictionaries(some_key, st.tuples(some_time, st.booleans()))


@given(st.lists(some_run, max_size=4), some_run)
def test_recording_a_run_again_only_repeats_its_processes(runs, last):
    with tempfile.TemporaryDirectory() as folder:
        path = file_of(Path(folder), *ABOUT)
        for run in [*runs, last]:
            record(path, *ABOUT, run)
        once = read(path, *ABOUT)
        last = {point: found for point, (found, _) in last.items() if once[point].taken[-1] == found.taken}
        done = record(path, *ABOUT, {point: (found, True) for point, found in last.items()})
        twice = read(path, *ABOUT)
    assert (done.added, done.changed, done.same) == (0, 0, len(last))
    for point, stored in once.items():
        assert twice[point].anchored.taken[: len(stored.anchored.taken)] == stored.anchored.taken
        more = point in last
        baseline = stored.baseline
        again = (*baseline.processes, *baseline.processes[-1:] * more)[-KEPT:]
        environments = (*stored.environments, *stored.environments[-1:] * more)[-KEPT:]
        assert twice[point].baseline == replace(baseline, processes=again)
        assert twice[point].environments == environments
    assert twice.keys() == once.keys()


def test_pages_of_an_engine_that_lie_far_apart_widen_what_is_expected_between_its_processes():
    apart = Process(100, 90, 117, 16)
    assert apart.scatter == pytest.approx(0.2, rel=0.01)
    stored = [RecordedTime(Baseline((apart,)), clock, None, None, (HERE,), None) for clock in CLOCKS]
    assert usual_noise(stored) == pytest.approx(0.2, rel=0.01)
    assert usual_noise(stored[:-1]) == EXPECTED_NOISE  # graphs and CPU times are a sample each
    steady = replace(stored[-1], baseline=Baseline((Process(1000, 1000, 1001, 16),)))
    assert usual_noise([steady]) == ENGINE_NOISE
