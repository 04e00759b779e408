"""What changed between two sides: counted numbers to the last one, times by the gate's rule, largest first."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from documents import clocked, document, own, point, report, vendor

from pytest_ocrsweep import CropGrid, Workload, cli, load_model
from pytest_ocrsweep.baselines import evidence, gate
from pytest_ocrsweep.baselines.result_json import from_json
from pytest_ocrsweep.cli.compare import lines as lines_of
from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.hardware.roofline import floor
from pytest_ocrsweep.report import sqlite
from pytest_ocrsweep.report.compare_sources import of_report, sides
from pytest_ocrsweep.report.comparison import Comparison, compare

ROOT = Path(__file__).parents[2]
RECORDED = str(ROOT / "baselines" / "deepseek-ocr")


def compared(a: dict[str, Any], b: dict[str, Any]) -> Comparison:
    return compare(*(of_report(from_json(each, name), name) for each, name in ((a, "A"), (b, "B"))))


def timed(median: int, **changed: Any) -> dict[str, Any]:
    return document(point(vendor=vendor(device_ns=clocked(median), **changed)))


def moved(found: Comparison) -> list[tuple[str, str]]:
    return [(str(change.key), change.metric) for change in found.moved]


def test_equal_sides_moved_nothing_and_every_number_was_compared():
    found = compared(document(point(), point("decode")), document(point(), point("decode")))
    assert not found.moved
    assert found.compared.keys() >= {"tensor_flops", "peak_activation_bytes", "context_tokens", "floor_ns", "device_ns"}
    assert set(found.compared.values()) == {2}


def test_a_counted_number_moved_if_it_differs_by_one():
    found = compared(document(), document(point(read_bytes=5 * 10**9 + 1)))
    (change,) = found.moved
    assert (change.metric, change.old, change.new) == ("read_bytes", 5 * 10**9, 5 * 10**9 + 1)
    assert change.ratio == pytest.approx(2e-10)
    assert found.fails("change")


def test_changes_are_sorted_by_size_whatever_their_sign():
    a = document(point(kv_cache_bytes=0), point("decode"))
    b = document(point(kv_cache_bytes=1, write_bytes=11 * 10**8), point("decode", read_bytes=10**9))
    assert moved(compared(a, b)) == [
        ("prefill 2x3 flash", "kv_cache_bytes"),  # from nothing: no ratio is larger
        ("decode 2x3 flash", "read_bytes"),  # -80 %
        ("prefill 2x3 flash", "write_bytes"),  # +10 %
    ]


def test_a_cost_that_moved_names_the_parts_that_did():
    old, new = point(), point(read_bytes=1)
    new["components"] = {name: dict(costs) for name, costs in new["components"].items()}
    new["components"]["decoder/attn"]["read_bytes"] += 7
    new["components"]["head"]["read_bytes"] -= 1
    (change,) = compared(document(old), document(new)).moved
    assert change.why == "decoder/attn +7, head -1"


@pytest.mark.parametrize(
    ("percent", "is_moved"), [(0.5, False), (-0.5, False), (1.9, False), (-1.9, False), (4, True), (-4, True)]
)
def test_a_time_moved_if_the_gates_margin_does_not_explain_it(percent, is_moved):
    found = compared(timed(20_000_000), timed(round(20_000_000 * (1 + percent / 100))))
    (change,) = found.changes
    process = evidence.Process(20_000_000, 19_980_000, 20_020_000, 10)
    assert change.margin == gate.margin(evidence.Baseline((process,)))
    assert change.ratio == pytest.approx(percent / 100)
    assert change.moved is is_moved
    assert found.fails("change") is is_moved


@pytest.mark.parametrize(("percent", "is_moved"), [(3, False), (4, True)])
def test_quartiles_that_overlap_prove_nothing_until_half_a_margin_above_it(percent, is_moved):
    median = round(20_000_000 * (1 + percent / 100))
    wide = {**clocked(median), "min": 19_000_000, "q1": 19_900_000}
    (change,) = compared(timed(20_000_000), document(point(vendor=vendor(device_ns=wide)))).changes
    assert change.ratio > change.margin
    assert change.moved is is_moved


def test_a_machine_that_is_noisy_at_most_points_widens_the_margin_of_all(tmp_path):
    copy = tmp_path / "deepseek-ocr"
    shutil.copytree(RECORDED, copy)
    file = copy / "timed" / "nvidia-h200" / "vision.json"
    content = json.loads(file.read_text())
    for recorded in content["points"][1:]:
        first = recorded["processes"][0]
        first |= {name: round(first[name] * 1.015) for name in ("median_ns", "q1_ns", "q3_ns")}
    file.write_text(json.dumps(content))
    before, after = sides(RECORDED, str(copy))
    quiet = next(iter(before.points))
    margins = [
        gate.margin(side.points[quiet].time.baseline, side.points[quiet].time.expected) for side in (before, after)
    ]
    assert before.points[quiet].time.baseline == after.points[quiet].time.baseline
    assert margins[1] > 2 * margins[0]


def test_more_recorded_processes_make_a_narrower_margin():
    one, _ = sides(RECORDED, RECORDED)
    margins = [change.margin for change in compare(one, one).changes if change.metric == "device_ns"]
    assert len(margins) == 138
    (single,) = compared(timed(20_000_000), timed(20_000_001)).changes
    assert sorted(margins)[len(margins) // 2] < single.margin


def test_a_slower_time_says_what_else_changed():
    (change,) = compared(timed(20_000_000), timed(22_000_000, kernels=2400)).moved
    assert "kernels 2300 -> 2400" in change.why


def test_times_of_other_work_are_not_compared_and_that_is_said():
    found = compared(timed(20_000_000), timed(40_000_000, clock="host"))
    assert "device_ns" not in found.compared
    assert "times cannot be compared at 1 point: clock cuda-graph -> host" in found.notes


def test_a_rise_is_a_regression_and_a_fall_is_not():
    less = compared(document(), document(point(read_bytes=1)))
    more = compared(document(), document(point(read_bytes=10**12)))
    assert [found.fails(on) for found in (less, more) for on in ("change", "regression", "never")] == [
        *(True, False, False),
        *(True, True, False),
    ]


def test_points_of_one_side_are_named_and_no_change():
    found = compared(document(point(), point("decode")), document(point(), point("vision")))
    assert [str(key) for key in found.only_a] == ["decode 2x3 flash"]
    assert [str(key) for key in found.only_b] == ["vision 2x3 flash"]
    assert not found.fails("change")
    lines = lines_of(found, top=3)
    assert lines[2:4] == ["only A has 1 point: decode 2x3 flash", "only B has 1 point: vision 2x3 flash"]


def test_what_else_differs_is_noted():
    found = compared(document(driver="580"), document(driver="590", gpu="NVIDIA H100 80GB HBM3"))
    assert found.notes == ["gpu NVIDIA H200 -> NVIDIA H100 80GB HBM3", "driver 580 -> 590"]


def test_two_workloads_are_compared_point_by_point_and_noted():
    other = document(point(tensor_flops=4 * 10**12))
    other["workload"] = other["workload"] | {"batch": 4}
    found = compared(document(), other)
    assert moved(found) == [("prefill 2x3 flash", "tensor_flops")]
    assert "batch=1, resolution=gundam -> prompt_tokens=10, new_tokens=100, batch=4" in found.notes[0]


def test_sides_with_nothing_in_common_are_an_error_that_says_what_each_has():
    said = "A and B have nothing in common: A has 1 point: 2x3; prefill; prompt_tokens=10, .*, and B has "
    others = {
        "no points": document() | {"points": []},
        "1 point: 3x3; prefill;": document(point(grid="3x3")),
        "1 point: tuned; decode;": document() | {"points": [], "own": [own()]},
        "5 points: 1x1, 1x2, 1x3 and 2 more; decode;": document(*(point("decode", f"1x{n}") for n in range(1, 6))),
    }
    for has, other in others.items():
        with pytest.raises(ReportError, match=said + re.escape(has)):
            compared(document(), other)


def test_sides_of_two_workloads_without_a_common_point_are_told_with_the_workload_of_each():
    other = document(point(grid="3x3"))
    other["workload"] = other["workload"] | {"batch": 4}
    with pytest.raises(ReportError, match=r"A has 1 point: 2x3; .*batch=1, .* and B has 1 point: 3x3; .*batch=4, "):
        compared(document(), other)


def of_own(*results: dict[str, Any]) -> dict[str, Any]:
    return document() | {"own": list(results)}


def test_code_of_the_users_own_is_compared_by_its_name():
    slow = own(measured=vendor(device_ns=clocked(30_000_000)))
    more = own("render", "call", counted=own()["counted"] | {"tensor_flops": 9})
    found = compared(of_own(own(), own("render", "call"), own("gone")), of_own(slow, more, own("new")))
    assert moved(found) == [("tuned at decode 2x3 flash", "device_ns"), ("render", "tensor_flops")]
    assert found.compared["tensor_flops"] == 3  # the point's too
    assert [*map(str, found.only_a), *map(str, found.only_b)] == [
        *("gone at decode 2x3 flash", "new at decode 2x3 flash")
    ]
    changes = [change for change in found.as_json()["changes"] if change["moved"]]
    assert [(each["own"], each["stage"], each["grid"]) for each in changes] == [
        ("tuned", "decode", "2x3"),
        ("render", "call", None),
    ]
    text = "\n".join(lines_of(found, 40))
    assert re.search(r"^own code +stage +grid +attention +metric", text, re.M)
    assert re.search(r"^tuned +decode +2x3 +flash +device_ns +20,000,000 +30,000,000 +\+50.00 %", text, re.M)
    assert re.search(r"^render +call +- +- +tensor_flops +7 +9 +\+28.57 %", text, re.M)


def test_a_model_is_not_priced_at_code_of_the_users_own(tmp_path):
    (tmp_path / "sweep.json").write_text(json.dumps(of_own(own("render", "call"))))
    found = compare(*sides(str(tmp_path), "deepseek-ocr"))
    assert [str(key) for key in found.only_a] == ["render"]
    assert found.only_b == []


def test_the_recorded_baselines_are_what_the_model_counts():
    found = compare(*sides(RECORDED, "deepseek-ocr", "1x1,2x3"))
    assert not found.changes
    assert found.compared["read_bytes"] == 12


def test_an_override_is_of_the_model_and_its_parts_are_named():
    a, b = sides("deepseek-ocr", "deepseek-ocr", "1x2", ["workload.batch=2"])
    assert {point.work for point in a.points.values()} == {Workload(CropGrid(1, 2), batch=2)}
    assert not compare(a, b).changes
    changed = compare(*sides(RECORDED, "deepseek-ocr", "1x2", ["model.decoder.layers=6"]))
    assert {change.key.stage for change in changed.moved} == {"prefill", "decode"}


def test_devices_are_compared_by_the_floors_of_the_same_points():
    found = compare(*sides("device:h100", "device:h200", "2x3"))
    assert found.compared == {"floor_ns": 6}
    (change, *_) = found.moved
    assert str(change.key).startswith("decode")
    assert change.why == "bandwidth bound"
    from pytest_ocrsweep.sweep.config import devices

    ledger = load_model().ledger("decode", Workload(CropGrid(2, 3)), "eager")
    assert change.new == floor(ledger, devices()["h200"]).time_ns


def test_a_report_is_compared_with_a_device_at_its_own_points(tmp_path):
    report = counted(tmp_path / "sweep.json", "--grids=3x1")
    a, b = sides(report, "device:b200")
    assert a.points.keys() == b.points.keys()
    assert compare(a, b).compared == {"floor_ns": 2}


def counted(path: Path, *words: str) -> str:
    """The path of a report of decode points, counted with these settings."""
    with path.open("w") as file, redirect_stdout(file):
        assert cli.main(["sweep", "--stage=decode", "--grids=1x1", "--json", *words]) == 0
    return str(path)


OTHERS = {
    "deepseek-ocr-2": ["--model=deepseek-ocr-2"],
    "deepseek-ocr/vllm": ["--engine=vllm"],
    "deepseek-ocr/q8_0": ["--set=precision=q8_0"],
    "deepseek-ocr/vllm-kv-fp8/gptq-int8": [
        *("--engine=vllm", "--set=engine.kv_dtype=fp8", "--set=precision=gptq-int8"),
    ],
}


@pytest.mark.parametrize("recorded_as", OTHERS)
def test_a_device_is_priced_with_the_reports_own_model_engine_and_precision(tmp_path, recorded_as):
    report = counted(tmp_path / "sweep.json", *OTHERS[recorded_as])
    a, b = sides(report, "device:h200")
    assert a.about["model"] == b.about["model"] == recorded_as
    found = compare(a, b)
    assert not found.changes  # the report has the floors of an H200
    assert found.compared["floor_ns"] == len(a.points)


@pytest.mark.parametrize(
    ("words", "typed", "was", "now"),
    [
        ([], ["engine=vllm"], "engine=transformers", "engine=vllm"),
        (["--engine=vllm"], ["engine=transformers"], "engine=vllm", "engine=transformers"),
        ([], ["model=deepseek-ocr-2"], "model=deepseek-ocr", "model=deepseek-ocr-2"),
        (["--set=precision=q8_0"], ["precision=native"], "precision=q8_0", "precision=native"),
    ],
)
def test_other_settings_than_the_reports_are_named_on_both_sides(tmp_path, words, typed, was, now):
    report = counted(tmp_path / "sweep.json", *words)
    said = f"was counted with {was}, and device:h100 is priced with {now}: .* leave '{typed[0]}' out, or compare with"
    for names in ((report, "device:h100"), ("device:h100", report)):
        with pytest.raises(ReportError, match=said):
            sides(*names, overrides=typed)


def test_a_setting_that_no_name_holds_is_noticed_by_what_was_counted(tmp_path):
    report = counted(tmp_path / "sweep.json", "--set=model.decoder.layers=6")
    with pytest.raises(ReportError, match=r"other settings than .* tensor_flops of decode 1x1 eager is .* --set"):
        sides(report, "device:h100")
    assert compare(*sides(report, "device:h200", overrides=["model.decoder.layers=6"])).compared["floor_ns"] == 2


def test_a_report_of_a_model_that_is_not_here_says_how_to_give_it(tmp_path):
    report = counted(tmp_path / "sweep.json", "--set=model.name=mine")
    with pytest.raises(ReportError, match=r"no model of that name: name the folder .*--set model.name=mine"):
        sides(report, "device:h100")
    assert sides(report, "device:h100", overrides=["model.name=mine"])[1].points


def test_points_that_an_engine_does_not_have_are_of_the_other_side_only(tmp_path):
    report = counted(tmp_path / "sweep.json")
    found = compare(*sides(report, "deepseek-ocr", overrides=["engine=vllm"]))
    assert [key.attention for key in found.only_a] == ["eager"]
    assert found.notes == ["model deepseek-ocr -> deepseek-ocr/vllm"]


def test_the_times_of_a_gpu_are_found_by_their_folder():
    by_gpu, by_model = sides(f"{RECORDED}/timed/nvidia-h200", RECORDED)
    assert by_gpu.points == by_model.points
    assert by_gpu.about["gpu"] == "NVIDIA H200"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A database of two runs: the second reads more and takes longer at one point."""
    path = tmp_path / "runs.sqlite"
    sqlite.write(report(point(), point("decode")), path)
    slow = point("decode", read_bytes=6 * 10**9, vendor=vendor(device_ns=clocked(25_000_000)))
    sqlite.write(report(point(), slow), path)
    return path


def test_the_command_line_says_what_moved_and_exits_with_1(runs, capsys):
    assert cli.main(["compare", f"{runs}#1", str(runs)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"A: {runs}#1, deepseek-ocr, 2 points of prompt_tokens=10, ")
    table = [line.split()[:7] for line in lines if line.startswith("decode")]
    assert table == [
        ["decode", "2x3", "flash", "device_ns", "20,000,000", "25,000,000", "+25.00"],
        ["decode", "2x3", "flash", "read_bytes", "5,000,000,000", "6,000,000,000", "+20.00"],
    ]
    assert lines[-1] == "2 of 22 numbers moved, at 1 point"


@pytest.mark.parametrize(
    ("a", "b", "on", "code"),
    [
        ("#1", "#2", "change", 1),
        ("#1", "#2", "regression", 1),
        ("#2", "#1", "change", 1),
        ("#2", "#1", "regression", 0),
        ("#1", "#2", "never", 0),
        ("#2", "", "change", 0),
    ],
)
def test_the_exit_code_follows_what_it_is_to_fail_on(runs, a, b, on, code):
    assert cli.main(["compare", f"{runs}{a}", f"{runs}{b}", f"--fail-on={on}"]) == code


def test_nothing_moved_is_said(runs, capsys):
    cli.main(["compare", str(runs), str(runs)])
    assert capsys.readouterr().out.splitlines()[-1] == "nothing moved: 22 numbers were compared"


def test_a_long_list_is_cut_and_says_so(runs, capsys):
    assert cli.main(["compare", f"{runs}#1", str(runs), "--top=1"]) == 1
    assert "1 smaller changes are not listed: --top=2 or --json has them" in capsys.readouterr().out


def test_json_has_every_change_in_base_units(runs, capsys):
    assert cli.main(["compare", f"{runs}#1", str(runs), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["moved"] == 2
    time = found["changes"][0]
    assert (time["metric"], time["old"], time["new"], time["ratio"]) == ("device_ns", 20_000_000, 25_000_000, 0.25)
    assert (time["stage"], time["grid"], time["attention"]) == ("decode", "2x3", "flash")
    assert [change["moved"] for change in found["changes"]] == [True, True, False]


WRONG = {
    ("nowhere", "deepseek-ocr"): "nowhere: there is no such report or folder of baselines, and no model of that name",
    ("h100", "deepseek-ocr"): "did you mean device:h100?",
    ("device:h10", "deepseek-ocr"): "device:h10: there is no device 'h10': choose from a100-40,",
    (
        "device:h100",
        "deepseek-ocr",
        "--grids=1x1",
    ): "have nothing in common: device:h100 has floor_ns, and deepseek-ocr has image_tokens, ",
    ("deepseek-ocr", "deepseek-ocr", "--grids=6"): "cannot sweep '6'",
    ("deepseek-ocr", "deepseek-ocr", "--set=workload.resolution=tiny", "--grids=1x2"): "(--grids chooses the grids)",
    ("deepseek-ocr", "deepseek-ocr", "--set=model.layers=1"): "no option 'model.layers'",
    (RECORDED, RECORDED, "--set=workload.batch=2"): "is for a model or a device, and both sides are recorded",
    (
        "device:h100",
        "device:h200",
        "--set=device.l2_bytes=4",
    ): "changes nothing: A and B name the devices: leave",
    (RECORDED, "deepseek-ocr", "--set=workload.batch=2"): "has its own workload: leave it out",
    ("deepseek-ocr", RECORDED, "--grids=70x70"): "has none of the grids of --grids 70x70: choose from 1x1, ",
    (RECORDED, str(ROOT / "tests")): "the folder has neither sweep.json nor sweep.sqlite",
}


@pytest.mark.parametrize("arguments", WRONG, ids=lambda arguments: " ".join(map(str, arguments))[-40:])
def test_what_cannot_be_compared_is_one_line_and_exits_with_2(arguments, capsys):
    assert cli.main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert WRONG[arguments] in error
    assert error.startswith("ocrsweep: ")
    assert error.count("\n") == 1


def test_baselines_of_several_gpus_ask_for_one(tmp_path):
    for gpu in ("nvidia-h100", "nvidia-h200"):
        (tmp_path / "deepseek-ocr" / "timed" / gpu).mkdir(parents=True)
    with pytest.raises(ReportError, match=r"has times of 2 GPUs: choose from .*nvidia-h100, .*nvidia-h200"):
        sides(str(tmp_path / "deepseek-ocr"), "deepseek-ocr")


def test_a_damaged_baseline_is_said(tmp_path):
    (tmp_path / "deepseek-ocr").mkdir()
    (tmp_path / "deepseek-ocr" / "decode.json").write_text("{")
    assert cli.main(["compare", str(tmp_path / "deepseek-ocr"), "deepseek-ocr"]) == 2


def test_usage_errors_exit_with_2():
    for wrong in (["compare", "a"], ["compare", "a", "b", "--top=many"], ["compare", "a", "b", "--fail-on=monday"]):
        with pytest.raises(SystemExit) as error:
            cli.main(wrong)
        assert error.value.code == 2
