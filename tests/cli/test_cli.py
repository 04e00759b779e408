"""`ocrsweep`: what each subcommand prints, and one line with exit code 2 for all that is wrong."""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import drifting
import pytest
import served
from PIL import Image

from pytest_ocrsweep import CropGrid, Workload, cli, load_model
from pytest_ocrsweep.cli import cost, main
from pytest_ocrsweep.hardware import roofline, serving, sizing
from pytest_ocrsweep.sweep import revision
from pytest_ocrsweep.sweep.config import devices

COMMAND = [sys.executable, "-m", "pytest_ocrsweep"]
H200 = devices()["h200"]


@pytest.fixture
def said(capsys):
    """Runs a command that works and gives the lines it prints."""

    def run(*words: str) -> list[str]:
        assert main(words) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out.splitlines()

    return run


@pytest.fixture
def answered(said):
    """Runs a command with --json and gives what it answers."""

    def run(*words: str):
        return json.loads("\n".join(said(*words, "--json")))

    return run


@pytest.fixture
def refused(capsys):
    """Runs a command that must not work and gives its one line."""

    def run(*words: str) -> str:
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        return line

    return run


def cells(lines: list[str], first: str) -> list[str]:
    """The words of the one line that begins with `first`, tree branches and that word left out."""
    (line,) = [line for line in lines if line.lstrip("│├└─ ").startswith(f"{first} ")]
    return line.lstrip("│├└─ ").split()[1:]


# The whole


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_with_examples_that_name_it(capsys, name):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"usage: ocrsweep {name}" in out
    assert f"ocrsweep {name} " in out.partition("examples:")[2] or name == "devices"


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if not re.search(rf"\n    {name}\s", out)] == []
    assert "Exit codes" in out


def test_every_example_is_a_command_that_parses():
    epilogs = [cli.EXAMPLES, *(sub.epilog or "" for sub in _subparsers())]
    lines = [line.strip() for text in epilogs for line in text.splitlines() if line.startswith("  ocrsweep ")]
    words = [line.split("  ")[0].split(" > ")[0].split()[1:] for line in lines]
    assert len(words) > 20
    for arguments in words:
        assert callable(cli.parser().parse_args(arguments).run)


def _subparsers():
    (choices,) = [action.choices for action in cli.parser()._actions if action.dest == "command"]
    return choices.values()


def test_the_version_is_the_installed_one(capsys):
    from importlib.metadata import version

    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"ocrsweep {version('pytest-ocrsweep')}\n"


def test_the_module_and_the_installed_command_are_one():
    found = [subprocess.check_output([*command, "cost", "1x1"], text=True) for command in (COMMAND, _installed())]
    assert found[0] == found[1] != ""


def _installed() -> list[str]:
    return [str(Path(sys.executable).with_name("ocrsweep"))]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("costs", "2x3"), "invalid choice: 'costs'; did you mean 'cost'?"),
        (("cost",), "the following arguments are required: GRID|IMAGE"),
        (("cost", "2x3", "--jsn"), "unrecognized arguments: --jsn"),
        (("cost", "2x3", "--js"), "unrecognized arguments: --js"),
        (("cost", "2x3", "--stage", "decod"), "invalid choice: 'decod'; did you mean 'decode'?"),
        (("cost", "2x3", "--attention", "sdpa"), "invalid choice: 'sdpa' (choose from 'eager', 'flash')"),
        (("cost", "2x3", "--depth", "-1"), "must be a whole number of at least 0, got '-1'"),
        (("cost", "2y3"), "'2y3' is neither a grid (ROWSxCOLUMNS, as 2x3) nor the file of a page image"),
        (("cost", "no.png"), "'no.png' is neither a grid"),
        (("cost", "."), "'.' is neither a grid"),
        (("cost", "0x3"), "a crop grid needs at least 1 row and 1 column, in whole numbers, got 0x3"),
        (("cost", "2x"), "'2x' is not a crop grid"),
        (("cost", "2x3", "--path", "decoder/atn"), "nothing costs at 'decoder/atn'; did you mean 'decoder/attn'?"),
        (("cost", "2x3", "--path", "zzz"), "it begins with sam, clip, projector, embed, decoder, head"),
        (("cost", "2x3", "--set", "workload.btch=2"), "no option 'workload.btch'; did you mean 'workload.batch'?"),
        (("cost", "2x3", "--set", "workload.batch=0"), "workload.batch must be a whole number of at least 1, got 0"),
        (("cost", "2x3", "--set", "workload.resolution=base"), "resolution 'base' has no crops: use grid 1x1, got 2x3"),
        (("cost", "2x3", "--device", "h20"), "got 'h20'; did you mean 'h200'?"),
        (
            ("cost", "2x3", "--device", "h100", "--set", "device=h200"),
            "--device h100 and --set device=h200 contradict each other: keep one",
        ),
        (("devices", "--device", "h20"), "--device must be one of a100-40, a100-80,"),
        (("fits", "2x3", "--device", "tpu"), "--device must be one of a100-40, a100-80,"),
        (
            ("fits", "2x3", "--device", "h100", "--set", "device=h200"),
            "--device and --set device=h200 exclude each other",
        ),
        (("size", "2x3", "--ttft", "1"), "the following arguments are required: --tpot"),
        (("size", "2x3", "--ttft", "0", "--tpot", "1"), "argument --ttft: must be a positive number, got '0'"),
        (("size", "2x3", "--ttft", "nan", "--tpot", "1"), "argument --ttft: must be a positive number, got 'nan'"),
        (("size", "2x3", "--ttft", "1", "--tpot", "inf"), "argument --tpot: must be a positive number, got 'inf'"),
        (("size", "2x3", "--ttft", "1e-300", "--tpot", "1"), "argument --ttft: must be from 1e-9 to 1e9 seconds"),
        (("size", "vender", "--ttft", "1", "--tpot", "1"), "cannot sweep 'vender': it is not a named set"),
        (("sweep", "--grids", "1x2,2y3"), "cannot sweep this list of grids: '2y3' is not a crop grid"),
        (("sweep", "--grids", "no.sqlite:1..3"), "cannot sweep 'no.sqlite': there is no such file"),
        (("sweep", "--grids", ""), "argument --grids: is empty: give a value, or leave it out"),
        (("sweep", "--report", ""), "argument --report: is empty"),
        (("sweep", "--parquet", ""), "argument --parquet: is empty"),
        (("report", "", "out"), "argument SOURCE: is empty"),
        (("report", "a.json", ""), "argument DIR: is empty"),
        (("compare", "deepseek-ocr", ""), "argument B: is empty"),
        (("compare", "no\nsuch", "deepseek-ocr"), "no\\nsuch: there is no such report"),
        (("sweep", "--grids", "1x2", "--set", "workload.resolution=base"), "resolution 'base' has no crops"),
        (("shapes", "--crops", "1..9"), "the following arguments are required: --db"),
        (("shapes", "--crops", "9..1", "--db", "x.db"), "crop counts go up"),
        (("shapes", "--crops", "1-9", "--db", "x.db"), "write FIRST..LAST or FIRST..LAST/STEP"),
        (("shapes", "--db", "x.csv"), "its name must end with one of .sqlite, .sqlite3, .db, got 'x.csv'"),
        (("shapes", "--db", "x.db", "--max-aspect", "0"), "argument --max-aspect: must be a positive number, got '0'"),
        (("shapes", "--db", "x.db", "--set", "workload.resolution=base"), "resolution 'base' has no crops"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(refused, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(*words)
    assert os.listdir(tmp_path) == []


def test_a_damaged_image_is_one_line(refused, tmp_path):
    (tmp_path / "page.png").write_text("no picture")
    assert "page.png' is not a PNG, JPEG, TIFF or WebP image" in refused("cost", str(tmp_path / "page.png"))


def test_a_file_that_cannot_be_written_is_one_line(refused, tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "x.db"
    remedy = "check the path, its permissions and the space left"
    assert refused("shapes", "--db", str(path)) == f"ocrsweep: {path}: Not a directory; {remedy}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_behind_the_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "devices"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("ocrsweep: the output: No space left on device; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_box_drawing_gets_the_tree_all_the_same(encoding):
    words, environment = [*COMMAND, "cost", "1x1", "--stage", "vision"], {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n?? sam " in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output_is_no_traceback(closed):
    done = subprocess.run(
        f'"{sys.executable}" -m pytest_ocrsweep sweep --grids 1x1 {closed}', shell=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_bug_is_not_dressed_up_as_a_usage_error(monkeypatch):
    def broken(options: object) -> int:
        return int("nobody raised this on purpose")

    monkeypatch.setattr(cost, "run", broken)
    with pytest.raises(ValueError, match="invalid literal"):
        main(["cost", "2x3"])


def test_a_closed_pipe_ends_quietly():
    words = [*COMMAND, "cost", "2x3", "--stage", "prefill", "--depth", "9", "--json"]  # more than a pipe holds
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == cli.PIPE_CLOSED


WAITS = """
import signal, sys, time
from pytest_ocrsweep.cli import cost, main

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a script runs in the background

def wait(options):
    print("started", flush=True)
    time.sleep(600)

cost.run = wait
sys.exit(main(["cost", "2x3"]))
"""


def test_ctrl_c_is_one_line_and_its_own_exit_code():
    words = [sys.executable, "-c", WAITS]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"ocrsweep: interrupted\n"
    assert process.returncode == cli.INTERRUPTED


# cost


def test_cost_is_a_tree_of_every_stage(said):
    lines = said("cost", "2x3")
    assert lines[0] == "deepseek-ocr 2x3, flash: 893 image + 10 prompt = 903 tokens, batch 1, gundam"
    assert [line.split()[0] for line in lines if "GFLOP" in line] == ["vision", "prefill", "decode"]
    assert next(line for line in lines if line.startswith("└─ ")).startswith("└─ projector ")


def test_cost_shows_what_the_ledger_says(said):
    lines = said("cost", "2x3", "--stage", "decode", "--depth", "2")
    ledger = load_model().ledger("decode", Workload(CropGrid(2, 3)))
    attn, whole = ledger.total("decoder/attn"), ledger.total()
    floor = roofline.floor(ledger, H200, "decoder/attn")
    assert cells(lines, "attn") == [
        f"{attn.flops / 1e9:,.2f}",
        f"{100 * attn.flops / whole.flops:.1f}",
        f"{attn.moved_bytes / 1e9:,.3f}",
        f"{100 * attn.moved_bytes / whole.moved_bytes:.1f}",
        f"{ledger.weights('decoder/attn') / 1e6:,.1f}",
        f"{floor.time_ns / 1e6:,.3f}",
        floor.bound,
    ]
    assert "decode on NVIDIA H200, over 100 new tokens:" in lines
    assert "  floor         23.832 ms (bandwidth): nothing runs faster" in lines


def test_the_parts_of_a_tree_add_up_to_their_parent(answered):
    for stage in answered("cost", "3x3", "--attention", "eager", "--depth", "9")["stages"]:
        parts = {part["path"]: part for part in stage["parts"]}
        for path, part in parts.items():
            below = [parts[p] for p in parts if p and p.rpartition("/")[0] == path and p != path]
            for name in ("tensor_flops", "vector_flops", "read_bytes", "write_bytes", "weight_bytes"):
                assert not below or sum(child[name] for child in below) == part[name]


def test_costs_json_is_the_points_row_and_its_parts(answered):
    document = answered("cost", "2x3", "--stage", "prefill", "--device", "h100", "--depth", "0")
    (stage,) = document["stages"]
    ledger = load_model().ledger("prefill", Workload(CropGrid(2, 3)))
    (part,) = stage["parts"]
    assert (document["model"], document["device"]) == ("deepseek-ocr", "NVIDIA H100 80GB HBM3")
    assert (stage["grid"], stage["context_tokens"], stage["peak_path"]) == ("2x3", 903, ledger.peak_path)
    assert stage["analytic"]["tensor_flops"] == part["tensor_flops"] == ledger.total().tensor_flops
    assert part["floor"]["time_ns"] == roofline.floor(ledger, devices()["h100"]).time_ns
    assert stage["kernel_limit_ns"] == roofline.kernel_limit(ledger, devices()["h100"])


def test_a_path_is_the_root_and_stages_without_it_are_left_out(answered):
    found = answered("cost", "2x3", "--path", "sam/window", "--depth", "1")["stages"]
    assert [stage["stage"] for stage in found] == ["vision", "prefill"]
    assert [part["path"] for part in found[0]["parts"]][:3] == ["sam/window", "sam/window/norm1", "sam/window/pad"]


def test_an_image_costs_what_the_vendors_grid_for_it_costs(said, tmp_path):
    page = tmp_path / "page.png"
    Image.new("L", (1240, 1754)).save(page)
    assert said("cost", str(page)) == said("cost", "3x2")
    assert said("cost", str(page), "--set", "workload.resolution=base")[0].startswith("deepseek-ocr 1x1")


def test_overrides_are_hydras(answered):
    (stage,) = answered(
        "cost", "1x1", "--stage", "decode", "--set", "workload.batch=4", "--set", "workload.new_tokens=7"
    )["stages"]
    ledger = load_model().ledger("decode", Workload(CropGrid(1, 1), batch=4, new_tokens=7))
    assert (stage["batch"], stage["new_tokens"]) == (4, 7)
    assert stage["analytic"]["read_bytes"] == ledger.total().read_bytes


# devices, fits, size


def test_devices_are_the_catalogue_with_units_and_sources(said, answered):
    lines = said("devices")
    assert len(lines) == len(devices()) + 1
    assert cells(lines, "h200")[:3] == ["NVIDIA", "H200", "989.5"]
    found = {device.pop("device"): device for device in answered("devices")}
    assert found.keys() == devices().keys()
    assert found["h200"]["bandwidth_bytes_per_s"] == H200.bandwidth_bytes_per_s
    assert found["h200"]["ridge"] == H200.ridge
    assert all(device["source"] for device in found.values())


@pytest.mark.parametrize("spelling", ["rtx-4090", "rtx4090", "RTX_4090", "RTX 4090"])
def test_a_device_may_be_spelled_as_people_do(answered, spelling):
    assert [device["device"] for device in answered("devices", "--device", spelling)] == ["rtx-4090"]
    assert answered("cost", "1x1", "--device", spelling)["device"] == "NVIDIA GeForce RTX 4090"


def test_fits_is_what_sizing_says(answered):
    model, work, device = load_model(), Workload(CropGrid(2, 3), batch=16), devices()["rtx-4090"]
    document = answered("fits", "2x3", "--device", "rtx4090", "--set", "workload.batch=16")
    fit = sizing.fits(model, work, device)
    assert document["devices"] == [
        {
            "device": "rtx-4090",
            "memory_bytes": 24_000_000_000,
            "needed_bytes": fit.needed_bytes,
            "fits": fit.fits,
            "largest_batch": sizing.largest_batch(model, work, device),
            "largest_page": str(sizing.largest_page(model, work, device)),
            "largest_page_context_tokens": Workload(sizing.largest_page(model, work, device)).context_tokens,
            "speeds": json.loads(json.dumps(asdict(serving.speeds(model, work, device)))),
        }
    ]
    assert [stage["total_bytes"] for stage in document["stages"]] == [part.total_bytes for part in fit.parts]


def test_products_of_8_bit_floats_are_shown_where_there_are_some(said, answered):
    words = ("cost", "1x1", "--stage", "prefill", "--set", "engine=vllm", "--set")
    ledger = load_model(engine="vllm", overrides=["precision=fp8-w8a8"]).ledger("prefill", Workload("1x1"))
    fp8, total = ledger.fp8_tensor_flops, ledger.tensor_flops
    line = f"{fp8 / 1e9:,.2f} of {total / 1e9:,.2f} tensor GFLOP, {100 * fp8 / total:.1f} %, are of 8-bit floats"
    assert line in said(*words, "precision=fp8-w8a8")
    assert not any("8-bit floats" in text for text in said(*words, "precision=native"))
    (ours,), (native,) = (answered(*words, f"precision={name}")["stages"] for name in ("fp8-w8a8", "native"))
    assert ours["analytic"]["fp8_tensor_flops"] == ours["parts"][0]["fp8_tensor_flops"] == fp8
    assert "fp8_tensor_flops" not in {*native["analytic"], *native["parts"][0]}


@pytest.mark.parametrize(
    "words", [("cost", "1x1"), ("fits", "1x1", "--device", "h100"), ("size", "1x1", "--ttft", "1s", "--tpot", "1s")]
)
def test_json_and_headers_say_what_their_numbers_are_of(said, answered, words):
    sizes = ("--resolution", "tiny", "--prompt-tokens", "20", "--new-tokens", "30", "--batch", "2")
    words = (*words, *sizes, "--set", "precision=fp8")
    document = answered(*words)
    assert (document["model"], document["engine"], document["precision"]) == ("deepseek-ocr", "transformers", "fp8")
    workload = {"prompt_tokens": 20, "new_tokens": 30, "batch": 2, "resolution": "tiny"}
    assert document["workload"] == workload
    header = said(*words)[0]
    assert header.startswith("deepseek-ocr in fp8")
    assert "tiny" in header


def test_size_says_how_many_tokens_its_pages_a_second_have(said):
    words = ("size", "1x1", "--ttft", "1s", "--tpot", "1s", "--device", "h100", "--new-tokens", "1200")
    assert said(*words)[1] == "what a batch of 1 takes, with 10 prompt tokens and 1,200 new ones:"


def test_a_reason_that_one_stage_has_names_it(said, answered):
    (row,) = answered("fits", "2x3", "--device", "h100", "--set", "workload.batch=8")["devices"]
    assert row["speeds"]["reasons"] == ["prefill: batch 8 is beyond the calibration's 4"]
    (row,) = answered("fits", "2x3", "--device", "h100-pcie")["devices"]
    assert row["speeds"]["reasons"] == ["scaled from NVIDIA H100 80GB HBM3 by both sheets"]


def test_one_new_token_is_one(said):
    lines = said("cost", "1x1", "--stage", "decode", "--new-tokens", "1")
    assert any(line.endswith("over 1 new token:") for line in lines)


def test_what_does_not_fit_is_no_and_dashes(said):
    lines = said("fits", "2x3", "--device", "rtx-4090", "--set", "workload.batch=64")
    assert cells(lines, "rtx-4090")[2:] == ["no", "19", "-", "-"]


BEYOND = "beyond the 8,192 positions that deepseek-ocr was made for: "
LONG = ("--set", "workload.new_tokens=40000")


def test_nothing_fits_beyond_the_models_positions_new_tokens_included(said):
    lines = said("fits", "2x3", "--device", "h200", *LONG)
    assert cells(lines, "h200")[2:] == ["no", "-", "-", "-"]
    assert lines[-1] == f"2x3 fits nowhere: {BEYOND}decode of 2x3, 40,903 tokens a page"
    lines = said("fits", "9x9", "--device", "h200")
    assert cells(lines, "h200")[2:] == ["no", "-", "3x3", "1,213"]
    assert lines[-1] == f"9x9 fits nowhere: {BEYOND}prefill and decode of 9x9, up to 8,573 tokens a page"
    assert not any("positions" in line for line in said("fits", "2x3", "--device", "h200"))


@pytest.mark.parametrize(
    ("words", "stages"),
    [
        (("cost", "2x3"), "decode"),
        (("size", "2x3", "--ttft", "500ms", "--tpot", "20ms"), "decode"),
        (("sweep", "--grids", "1x1,2x3"), "decode"),
    ],
)
def test_what_is_beyond_the_positions_is_said_in_one_line(said, words, stages):
    assert not any(line.startswith(BEYOND) for line in said(*words))
    (line,) = [line for line in said(*words, *LONG) if line.startswith(BEYOND)]
    assert line.removeprefix(BEYOND).startswith(f"{stages} of ")
    assert line.endswith("40,903 tokens a page")


def test_vision_alone_has_no_positions(said):
    assert not any("positions" in line for line in said("cost", "30x30", "--stage", "vision"))


def test_a_changed_figure_of_a_device_is_in_its_name(said, answered):
    memory = ("--set", "device.memory_bytes=40000000000")
    name = "NVIDIA H200 with memory_bytes=40000000000"
    assert [device["device"] for device in answered("fits", "2x3", *memory)["devices"]] == [name]
    assert answered("cost", "2x3", *memory)["device"] == name
    assert answered("cost", "2x3", "--set", "device.bandwidth_bytes_per_s=4.8e12")["device"] == "NVIDIA H200"
    assert answered("cost", "2x3", "--set", "device.name=mine", *memory)["device"] == "mine"
    (floors,) = [line for line in said("sweep", "--grids", "1x1", *memory) if line.startswith("floors are for ")]
    assert name in floors


@pytest.mark.parametrize(
    ("ttft", "seconds"), [("500ms", 0.5), ("0.5", 0.5), ("0.5 s", 0.5), ("500s", 500), ("9us", 9e-6)]
)
def test_a_latency_takes_a_unit(answered, ttft, seconds):
    document = answered("size", "1x1", "--ttft", ttft, "--tpot", "20ms", "--device", "h200")
    assert document["ttft_s"] == pytest.approx(seconds)
    assert document["tpot_s"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("ttft", "tpot", "line"),
    [
        ("500", "0.02", "--ttft: 500 seconds are long: write 500ms or 500s"),
        ("0.5", "20", "--tpot: 20 seconds are long: write 20ms or 20s"),
        ("500 m", "1", "--ttft: must be a positive number, got '500 m'; write a time as 500ms or 0.5s"),
        ("ms", "1", "--ttft: must be a positive number, got ''; write a time as 500ms or 0.5s"),
    ],
)
def test_a_latency_that_nobody_means_is_questioned(capsys, ttft, tpot, line):
    with pytest.raises(SystemExit):
        main(("size", "1x1", "--ttft", ttft, "--tpot", tpot))
    assert line in capsys.readouterr().err


def test_a_device_described_by_overrides_is_the_one_compared(answered):
    document = answered("fits", "2x3", "--set", "device.memory_bytes=7000000000")
    assert [(device["device"], device["fits"]) for device in document["devices"]] == [
        ("NVIDIA H200 with memory_bytes=7000000000", False)
    ]


def test_size_is_what_sizing_says(said, answered):
    words = ("size", "2x3,3x3", "--ttft", "0.1", "--tpot", "0.002")
    model, target = load_model(), sizing.Target(0.1, 0.002)
    document = answered(*words)
    assert [sized["grid"] for sized in document["grids"]] == ["2x3", "3x3"]
    for sized, grid in zip(document["grids"], (CropGrid(2, 3), CropGrid(3, 3)), strict=True):
        needed = sizing.requirements(model, Workload(grid), target)
        assert [(n["stage"], n["memory_bytes"]) for n in sized["requirements"]] == [
            (n.stage, n.memory_bytes) for n in needed
        ]
        assert sized["requirements"][1]["bandwidth_bytes_per_s"] == needed[1].bandwidth_bytes_per_s
        batches = sizing.batches(model, Workload(grid), devices().values(), target)
        assert [found["most_batch"] for found in sized["devices"].values()] == list(batches.values())
    lines = said(*words)
    (row,) = [line.split() for line in lines if line.startswith("2x3   rtx-4090")]
    assert row == ["2x3", "rtx-4090", "-", "-", "4", "-", "-"]


def test_a_device_that_misses_the_target_is_a_dash(said):
    assert said("size", "2x3", "--ttft", "0.001", "--tpot", "1", "--device", "l40s")[-1].split() == [
        "2x3",
        "l40s",
        *"-----",
    ]


@pytest.mark.parametrize("words", [("fits", "2x3"), ("size", "2x3", "--ttft", "1s", "--tpot", "20ms")])
def test_a_device_without_a_calibration_has_its_floors_marked_and_the_remedy(said, words):
    lines = said(*words, "--device", "mi300x", "--device", "h100")
    row = [line for line in lines if "mi300x" in line][-2]
    assert re.search("[<>]= ", row)
    assert lines[-1].startswith("mi300x: floors only (<=, >=): AMD Instinct MI300X has no calibration")
    assert "ocrsweep calibrate" in lines[-1]
    assert not any(line.startswith("h100: floors only") for line in lines)


# The pages about it


@pytest.mark.parametrize("page", ["cli.md", "size.md"])
def test_a_page_shows_what_its_commands_print(capsys, tmp_path, monkeypatch, page):
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)  # commands of a page share their files
    drifting.record(tmp_path / "baselines")
    for file in served.DATA.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(revision, "user", lambda folder: "Ada")
    blocks = re.findall(r"^\$ ocrsweep (.*)\n((?:(?!\$ |```).*\n)*)", text, re.M)
    assert len(blocks) > 5
    for command, shown in blocks:
        main(command.split())
        got = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
        assert doctest.OutputChecker().check_output(shown, got, doctest.ELLIPSIS), f"ocrsweep {command} prints\n{got}"


def test_the_page_has_a_section_for_every_command():
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^## `(\w+)`", text, re.M) == list(cli.COMMANDS)
