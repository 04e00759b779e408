"""Recorded serving points: a strict file that only grows, and a memory that one odd run does not change."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import ABOUT, H100, key, recorded, run, sampled

from pytest_ocrsweep.baselines.merge import merge
from pytest_ocrsweep.baselines.serving import Pages, Provenance, ServingKey, ServingRun
from pytest_ocrsweep.baselines.serving_memory import RecordedServing, drifts, noise_of
from pytest_ocrsweep.baselines.serving_metrics import SERVING_METRICS, Figure
from pytest_ocrsweep.baselines.serving_store import dump, file_of, known_engine, nearest, read, record
from pytest_ocrsweep.errors import BaselineError

KEY = key()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = file_of(tmp_path, *ABOUT)
    record(path, *ABOUT, [(KEY, each) for each in recorded(0.0, 0.002, -0.002)])
    return path


def stored(path: Path, point: ServingKey = KEY) -> RecordedServing:
    return read(path, *ABOUT)[point]


def add(path: Path, *by: float, tag: str = "later", **more: object) -> list[str]:
    runs = [(KEY, run(each, date=f"{tag} {number}")) for number, each in enumerate(by)]
    return list(record(path, *ABOUT, runs, **more).lines)


def test_a_file_is_found_by_model_gpu_and_engine():
    path = file_of(Path("baselines"), *ABOUT)
    assert path == Path("baselines/deepseek-ocr/serving/nvidia-h100-80gb-hbm3/vllm.json")


@pytest.mark.parametrize("name", ["", "..", "a/b", "VLLM", "x" * 60, "-vllm", "vllm\n"])
def test_an_engines_name_is_one_that_a_file_can_have(name):
    with pytest.raises(ValueError, match="an engine's name is of small letters"):
        known_engine(name)


def test_a_point_is_a_line_and_lines_are_sorted(file):
    points = [
        key(concurrency=64),
        key(concurrency=1),
        key("page 1240x1754", 1),
        key(concurrency=None, request_rate=0.5),
    ]
    record(file, *ABOUT, [(point, run()) for point in points])
    lines = [line for line in file.read_text().splitlines() if '"pages"' in line]
    assert [re.findall(r'"pages": "([^"]+)".*?"concurrency": (\w+)', line)[0] for line in lines] == [
        ("grid 3x2", "null"),
        ("grid 3x2", "1"),
        ("grid 3x2", "8"),
        ("grid 3x2", "64"),
        ("page 1240x1754", "1"),
    ]


def test_what_was_not_measured_is_null_and_never_0(file):
    metrics = json.loads(file.read_text())["points"][0]["runs"][0]["metrics"]
    assert list(metrics) == list(SERVING_METRICS)
    assert (metrics["render_ns"], metrics["requests_per_s"]) == (None, None)


def test_one_more_point_changes_one_line(file):
    before = file.read_text().splitlines()
    record(file, *ABOUT, [(key(concurrency=64), run())])
    after = file.read_text().splitlines()
    assert [line.rstrip(",") for line in before] == [
        line.rstrip(",") for line in after if '"concurrency": 64' not in line
    ]


def test_recording_the_same_run_again_changes_nothing(file):
    before = file.read_text()
    done = record(file, *ABOUT, [(KEY, recorded(0.0)[0])])
    assert (file.read_text(), done.same) == (before, 1)
    assert done.lines == (f"{KEY}: this run is recorded already",)


def test_writers_at_once_lose_no_point(tmp_path):
    path = file_of(tmp_path, *ABOUT)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: record(path, *ABOUT, [(key(concurrency=n), run())]), range(1, 9)))
    assert [point.concurrency for point in read(path, *ABOUT)] == list(range(1, 9))


def test_a_link_in_place_of_the_file_stays_a_link(tmp_path):
    path = file_of(tmp_path / "there", *ABOUT)
    record(path, *ABOUT, [(KEY, run())])
    link = file_of(tmp_path / "here", *ABOUT)
    link.parent.mkdir(parents=True)
    link.symlink_to(path)
    record(link, *ABOUT, [(key(concurrency=2), run())])
    assert link.is_symlink()
    assert len(read(path, *ABOUT)) == 2


TEXT = st.none() | st.text(max_size=8)
FIGURES = st.builds(Figure, st.integers(1, 10**12)) | st.builds(
    lambda value, low, high, count: Figure(value, value - low, value + high, count),
    st.integers(1000, 10**12),
    st.integers(0, 999),
    st.integers(0, 10**6),
    st.integers(1, 10**4),
)
PLAIN = [name for name, metric in SERVING_METRICS.items() if not metric.bounds and metric.unit == "ns"]
RUNS = st.builds(
    ServingRun,
    st.dictionaries(st.sampled_from(PLAIN), FIGURES, min_size=1),
    st.integers(1, 10**6),
    st.builds(Provenance, TEXT, TEXT, TEXT, TEXT),
    TEXT,
)
KEYS = st.builds(
    ServingKey,
    st.sampled_from(["grid 3x2", "page 640x640", "mix a"]).map(Pages.parse),
    st.none() | st.integers(1, 512),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
    st.sampled_from(["gundam", "base"]),
    st.none() | st.floats(0.001, 10**6),
    st.none() | st.booleans(),
)


@given(
    st.dictionaries(
        KEYS,
        st.builds(
            RecordedServing,
            *(st.lists(RUNS, min_size=1, max_size=5).map(tuple) for _ in range(2)),
            st.lists(RUNS, max_size=3).map(tuple),
        ),
        max_size=3,
    )
)
def test_every_file_is_read_as_it_was_written(tmp_path_factory, points):
    path = tmp_path_factory.mktemp("store") / "vllm.json"
    path.write_text(dump(*ABOUT, points), encoding="utf-8")
    assert read(path, *ABOUT) == points
    assert dump(*ABOUT, read(path, *ABOUT)) == path.read_text(encoding="utf-8")


def damage(file: Path, **changed: object) -> None:
    document = json.loads(file.read_text())
    document["points"][0].update(changed)
    file.write_text(json.dumps(document))


def damage_run(file: Path, **changed: object) -> None:
    document = json.loads(file.read_text())
    document["points"][0]["runs"][0].update(changed)
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"pages": "3x2"}, "pages must begin with grid, page, mix"),
        ({"pages": ["grid 3x2"]}, "pages must be text"),
        ({"concurrency": 0}, "concurrency must be a whole number of at least 1, got 0"),
        ({"resolution": "huge"}, "unknown resolution 'huge'"),
        ({"resolution": []}, r"unknown resolution \[\]"),
        ({"request_rate": "inf"}, "request_rate must be a number above 0"),
        ({"encoder_graphs": "yes"}, "encoder_graphs must be true, false or null"),
        ({"runs": []}, "runs must be a list of 1 to 5"),
        ({"anchor": None}, "anchor must be a list of 1 to 5"),
        ({"pending": {}}, "pending must be a list of 0 to 5"),
        ({"colour": "red"}, r"nothing else \(see colour\)"),
    ],
)
def test_a_damaged_point_is_refused_with_its_file_and_the_remedy(file, changed, says):
    damage(file, **changed)
    with pytest.raises(BaselineError, match=says) as refused:
        read(file, *ABOUT)
    assert str(file) in refused.value.message
    assert "git checkout" in refused.value.hint
    assert refused.value.hint.endswith("record again with --update")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"provenance": 7}, "provenance 7 is not there: the file has 1"),
        ({"requests": 0}, "requests must be a whole number of at least 1"),
        ({"date": 5}, "date must be text or null"),
        ({"metrics": {}}, "it must hold ttft_ns"),
        ({"samples": {"render_ns": [1, 2, 3]}}, "samples must be an object of metrics that were measured"),
        ({"samples": {"ttft_ns": 5}}, r"samples must be \[q1, q3, number\]"),
        ({"samples": {"ttft_ns": ["a", 2, 3]}}, "a quartile of ttft_ns must be a number"),
    ],
)
def test_a_damaged_run_is_refused(file, changed, says):
    damage_run(file, **changed)
    with pytest.raises(BaselineError, match=says):
        read(file, *ABOUT)


@pytest.mark.parametrize("value", [0, -5, 10**18, True, "603", [603]])
def test_a_value_that_no_clock_could_give_is_refused_where_it_is_read(file, value):
    metrics = {**json.loads(file.read_text())["points"][0]["runs"][0]["metrics"], "ttft_ns": value}
    damage_run(file, metrics=metrics)
    with pytest.raises(BaselineError, match="ttft_ns must be a number"):
        read(file, *ABOUT)


@pytest.mark.parametrize(("at", "other"), [(0, "deepseek-ocr-2"), (1, "nvidia-h200"), (2, "sglang")])
def test_a_file_of_another_model_gpu_or_engine_is_refused(file, at, other):
    about = [*ABOUT]
    about[at] = other
    with pytest.raises(BaselineError, match=f"its .* is '{ABOUT[at]}', not '{other}'"):
        read(file, *about)


def test_a_later_schema_is_refused_with_its_remedy(file):
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(BaselineError, match="install the pytest-ocrsweep that wrote it"):
        read(file, *ABOUT)


def test_without_a_file_nothing_is_recorded(tmp_path):
    assert read(tmp_path / "vllm.json", *ABOUT) == {}


# Which point


@pytest.mark.parametrize(
    ("prompt", "new", "same"), [(11, 100, True), (12, 99, True), (13, 100, False), (10, 98, False)]
)
def test_texts_of_a_random_length_are_one_point(prompt, new, same):
    known = {KEY: None}
    assert (nearest(known, key(prompt=prompt, new=new)) == KEY) is same


def test_the_nearest_point_is_the_one_that_is_compared():
    known = {key(prompt=1000): None, key(prompt=1012): None}
    assert nearest(known, key(prompt=1008)) == key(prompt=1012)
    assert nearest(known, key(prompt=1000)) == key(prompt=1000)


@pytest.mark.parametrize(
    "other",
    [key("grid 2x3"), key(concurrency=9), key(encoder_graphs=True), key(resolution="base"), key(request_rate=1.0)],
)
def test_nothing_but_tokens_may_differ(other):
    assert nearest({KEY: None}, other) == other


# Memory


def test_a_run_that_agrees_joins_the_evidence_and_five_are_kept(file):
    add(file, 0.001, 0.002, 0.003, 0.004)
    dates = [each.date for each in stored(file).runs]
    assert dates == ["run 2", "later 0", "later 1", "later 2", "later 3"]
    assert [each.date for each in stored(file).anchor] == ["run 0", "run 1", "run 2", "later 0", "later 1"]


def test_one_run_that_disagrees_moves_nothing(file):
    (line,) = record(file, *ABOUT, [(KEY, run(ttft_ns=0.3, ttft_p99_ns=0.25))]).lines
    assert len(stored(file).runs) == 3
    assert len(stored(file).pending) == 1
    assert line == (
        f"{KEY}: TTFT ms +30.0 % is kept beside the recorded runs, 1 of 3 that must agree; --accept takes it at once"
    )


def test_each_run_that_disagrees_has_its_line(file):
    assert [re.findall(r", (\d) of 3", line) for line in add(file, 0.3, 0.9)] == [["1"], ["2"]]


def test_three_runs_that_agree_move_the_point_and_a_worse_one_keeps_its_anchor(file):
    *_, line = add(file, 0.3, 0.302, 0.298)
    assert line == f"{KEY} moved: 3 runs agree"
    now = stored(file)
    assert [each.date for each in now.runs] == ["later 0", "later 1", "later 2"]
    assert [each.date for each in now.anchor] == ["run 0", "run 1", "run 2"]
    assert {each.metric for each in drifts(KEY, now, noise_of({KEY: now}))} == {
        *("ttft_ns", "ttft_p99_ns", "tpot_ns", "tpot_p99_ns", "itl_ns", "pages_per_s", "tokens_per_s")
    }


def test_a_better_level_is_a_new_anchor(file):
    add(file, -0.3, -0.302, -0.298)
    now = stored(file)
    assert [each.date for each in now.anchor] == ["later 0", "later 1", "later 2"]
    assert drifts(KEY, now, noise_of({KEY: now})) == []


def test_a_run_that_agrees_forgets_one_that_did_not(file):
    add(file, 0.3)
    add(file, 0.0)
    assert stored(file).pending == ()


def test_runs_that_agree_with_nothing_are_noise_and_widen_the_margin(file):
    narrow = noise_of(read(file, *ABOUT)).margin(KEY, "ttft_ns", 1)
    *_, line = add(file, 0.3, -0.3, 0.6)
    assert "further apart than they seemed" in line
    assert len(stored(file).runs) == 5
    assert noise_of(read(file, *ABOUT)).margin(KEY, "ttft_ns", 1) > 5 * narrow


def test_a_second_run_is_evidence_whatever_it_shows(tmp_path):
    path = file_of(tmp_path, *ABOUT)
    add(path, 0.0)
    add(path, 0.3)
    assert len(stored(path).runs) == 2


def test_runs_that_come_together_to_a_new_point_are_all_evidence(tmp_path):
    path = file_of(tmp_path, *ABOUT)
    assert add(path, 0.0, 0.01, 0.3, -0.2, 0.1, 0.15) == []
    assert len(stored(path).runs) == len(stored(path).anchor) == 5


def test_an_accepted_run_replaces_what_is_recorded_of_its_point_alone(file):
    record(file, *ABOUT, [(key(concurrency=64), run())])
    add(file, 0.3, accept=True)
    assert stored(file) == RecordedServing((run(0.3, date="later 0"),), (run(0.3, date="later 0"),))
    assert key(concurrency=64) in read(file, *ABOUT)


def test_several_accepted_runs_are_all_there(file):
    add(file, 0.3, 0.301, 0.4, 0.5, accept=True)
    assert len(stored(file).runs) == 4


def test_other_work_starts_the_point_anew(file):
    other = run(0.3, provenance=replace(H100, dtype="float8"))
    done = record(file, *ABOUT, [(KEY, other)])
    assert done.lines == (f"{KEY} moved: dtype bfloat16 -> float8",)
    assert stored(file).runs == (other,)


def test_an_unknown_dtype_is_no_other_work(file):
    record(file, *ABOUT, [(KEY, run(0.001, provenance=Provenance("aiperf")))])
    assert len(stored(file).runs) == 4


def test_slow_drift_is_seen_beside_the_anchor(tmp_path):
    path = file_of(tmp_path, *ABOUT)
    add(path, *(0.0 + 0.001 * (n % 3) for n in range(5)), tag="first")
    for step in range(1, 13):
        add(path, 0.01 * step, tag=f"step {step}")
    now = stored(path)
    assert now.pending == ()
    assert "ttft_ns" in {each.metric for each in drifts(KEY, now, noise_of({KEY: now}))}


def test_merged_folders_have_the_runs_of_both(tmp_path):
    one, two, into = (tmp_path / name for name in ("one", "two", "into"))
    record(file_of(one, *ABOUT), *ABOUT, [(KEY, each) for each in recorded(0.0, 0.002)])
    record(file_of(two, *ABOUT), *ABOUT, [(KEY, recorded(0.0)[0]), (key(concurrency=64), run())])
    (done,) = merge([one, two], into)
    assert (done.path, done.added) == (file_of(into, *ABOUT), 2)
    assert [each.date for each in stored(done.path).runs] == ["run 0", "run 1"]
    assert key(concurrency=64) in read(done.path, *ABOUT)
    assert merge([one, two], into) == []


def test_samples_are_kept_as_quartiles(file):
    record(file, *ABOUT, [(key(concurrency=2), sampled(0.05, 64))])
    (kept,) = stored(file, key(concurrency=2)).runs
    assert kept.metrics["ttft_ns"] == sampled(0.05, 64).metrics["ttft_ns"]
