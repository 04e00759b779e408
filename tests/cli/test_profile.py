"""`ocrsweep profile` and `ocrsweep calibrate`: with the tiny model on a CPU, and from profiles of real GPUs."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ocrsweep.cli import main
from pytest_ocrsweep.hardware import calibration_file
from pytest_ocrsweep.hardware.calibration_file import packaged
from pytest_ocrsweep.hardware.profile import read, write

PROFILES = Path(__file__).parents[2] / "dev" / "profiles" / "nvidia-h200-lines.jsonl.gz"
TINY = ("--set", "model=deepseek-ocr-tiny", "--set", "vendor.device=cpu", "--set", "workload.new_tokens=2")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_a_profile_shows_parts_gaps_and_their_sum(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out = printed(capsys, "profile", "1x1", "--stage", "decode", *TINY)
    lines = [line for line in out.splitlines() if line]
    assert "a step of decode 1x1 flash on cpu" in lines[0].replace("\x1b", "")
    assert [line.split()[0] for line in lines[2:]] == ["embed", "decoder", "head", "between"]
    assert all(len(line) <= 80 for line in lines[1:])


def test_a_profile_as_json_holds_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    document = json.loads(printed(capsys, "profile", "1x1", "--stage", "vision", "--json", *TINY))
    (stage,) = document["stages"]
    assert document["gpu"] == "cpu"
    assert {line["path"].split("/")[0] for line in stage["lines"]} == {"sam", "clip", "projector"}
    assert stage["lines"][0].keys() == {"index", "path", "runs", "kernels", "time_ns"}


def test_kept_profiles_are_shown_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "profile", "2x3", "--stage", "prefill", "--from", str(PROFILES))
    lines = [line for line in out.splitlines() if line]
    assert lines[0] == "prefill 2x3 flash on NVIDIA H200: 39.448 ms; 2,931 kernels, each of one of 300 lines"
    shares = [float(line.split()[-5 if "between" not in line else -1]) for line in lines[2:]]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_lines_and_the_gap_of_a_profile_as_json_are_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(printed(capsys, "profile", "1x1", "--stage", "decode", "--json", "--from", str(PROFILES)))
    (stage,) = document["stages"]
    sum_ns = sum(line["time_ns"] for line in stage["lines"]) + stage["gap_ns"]
    assert sum_ns == pytest.approx(stage["device_ns"], abs=len(stage["lines"]))


def test_without_a_gpu_a_profile_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["profile", "1x1"]) == 2
    assert capsys.readouterr().err.startswith("ocrsweep: no GPU")


def test_a_calibration_fitted_again_is_the_packaged_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "own.json"
    assert "nine of ten measured times" in printed(capsys, "calibrate", "--from", str(PROFILES), "--output", str(out))
    own = printed(capsys, "cost", "2x3", "--set", f"device.calibration={out}", "--json")
    packaged = printed(capsys, "cost", "2x3", "--json")
    for mine, theirs in zip(json.loads(own)["stages"], json.loads(packaged)["stages"], strict=True):
        assert mine["estimate"]["time_ns"] == pytest.approx(theirs["estimate"]["time_ns"], rel=1e-3)


def test_a_validation_has_a_row_for_each_split(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(printed(capsys, "calibrate", "--from", str(PROFILES), "--validate", "--json"))
    assert [row["name"] for row in rows] == [
        *(
            f"without {stage} {attention}"
            for stage in ("vision", "prefill", "decode")
            for attention in ("eager", "flash")
        ),
        "batch 1, judged on more",
        "gundam and base, judged on the others",
        "short prompts, judged on long ones",
        "NVIDIA H100 80GB HBM3, and both sheets",
        "calibration, judged on the rest",
    ]
    assert all(row["fitted"] and row["judged"] and 0 < row["mean_error"] <= row["largest_error"] for row in rows)
    assert rows[-1]["mean_error"] < 0.03
    assert rows[-1]["inside"] > 0.85


def test_profiles_without_a_point_of_the_calibration_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    profiles = read(PROFILES)
    write(tmp_path / "some.jsonl", replace(profiles, points=profiles.points[1:]))
    assert main(["calibrate", "--from", str(tmp_path / "some.jsonl")]) == 2
    assert "vision 1x1 flash is not among the profiles; measure it" in capsys.readouterr().err


def test_a_cost_says_the_estimate_its_interval_and_its_terms(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "cost", "2x3", "--stage", "decode", "--device", "h100")
    assert "decode on NVIDIA H100 80GB HBM3, over 100 new tokens:" in out
    assert "ms; nine of ten times" in out
    assert "launches " in out
    none = printed(capsys, "cost", "2x3", "--stage", "decode", "--device", "mi300x")
    assert "estimate      none: AMD Instinct MI300X has no calibration" in none


@pytest.mark.parametrize("command", [["cost", "2x3"], ["fits", "2x3"], ["size", "2x3", "--ttft", "1s", "--tpot", "1s"]])
def test_a_calibration_that_was_asked_for_and_is_none_ends_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "own.json").write_text("{}")
    assert main([*command, "--set", f"device.calibration={tmp_path / 'own.json'}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ocrsweep: '{tmp_path}")
    assert err.endswith("calibrate it: ocrsweep calibrate --output FILE, then --set device.calibration=FILE\n")


def test_a_profile_of_other_lines_than_the_models_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = gzip.decompress(PROFILES.read_bytes()).decode()
    (tmp_path / "other.jsonl").write_text(text.replace('"embed"', '"another"'))
    assert main(["profile", "1x1", "--stage", "decode", "--from", str(tmp_path / "other.jsonl")]) == 2
    assert "line another of decode 1x1 flash is not one of deepseek-ocr; profile it anew" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["model=deepseek-ocr-tiny", "model.decoder.experts=32"])
@pytest.mark.parametrize("command", [("profile", "2x3"), ("calibrate",)])
def test_profiles_of_another_model_are_refused(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], change: str
) -> None:
    assert main([*command, "--from", str(PROFILES), "--set", change]) == 2
    assert "the profiles are of 'deepseek-ocr' with 6671008256 bytes of parameters, not of" in capsys.readouterr().err


def test_without_a_stage_the_profiles_that_are_kept_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "profile", "2x3", "--from", str(PROFILES))
    assert [line.split()[0] for line in out.splitlines() if " on NVIDIA H200: " in line] == ["vision", "prefill"]


def test_a_point_that_is_not_kept_names_those_that_are_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "2x3", "--stage", "decode", "--from", str(PROFILES)]) == 2
    err = capsys.readouterr().err
    assert "has no decode 2x3 flash; it has decode 2x3 eager, decode 2x3 flash prompt 4000, " in err
    assert err.endswith("to measure on this GPU, leave out --from\n")
    assert main(["profile", "7x7", "--from", str(PROFILES)]) == 2
    assert "has no vision 7x7 flash; it has no vision of 7x7;" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--profiles", "x.gz"], "--from and --profiles exclude each other"),
        (["--validate", "--output", "x.json"], "--validate and --output exclude each other"),
        (["--device", "l40s"], "the profiles are of 'NVIDIA H200', not of NVIDIA L40S; leave the device out"),
    ],
)
def test_what_calibrate_cannot_do_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], named: str) -> None:
    assert main(["calibrate", "--from", str(PROFILES), *words]) == 2
    assert named in capsys.readouterr().err


def test_a_gpu_that_is_not_in_the_catalogue_is_calibrated_by_a_sheet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(tmp_path / "some.jsonl", replace(read(PROFILES), device="NVIDIA H300"))
    words = ["calibrate", "--from", str(tmp_path / "some.jsonl"), "--json"]
    assert main(words) == 2
    assert "'NVIDIA H300' is not in the catalogue; give its sheet" in capsys.readouterr().err
    document = json.loads(printed(capsys, *words, "--device", "h200", "--set", "device.bandwidth_bytes_per_s=4.9e12"))
    assert document["device"] == "NVIDIA H300"
    assert document["sheet"]["bandwidth_bytes_per_s"] == 4.9e12


@pytest.mark.parametrize("option", ["--output", "--profiles"])
def test_a_file_that_calibrate_did_not_write_is_not_lost(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    kept = tmp_path / "kept.jsonl.gz"
    content = PROFILES.read_bytes() if option == "--output" else b"notes of mine"
    kept.write_bytes(content)
    source = ["--from", str(kept)] if option == "--output" else []
    assert main(["calibrate", *source, option, str(kept)]) == 2
    assert "and stays as it is: name another one" in capsys.readouterr().err
    assert kept.read_bytes() == content


def test_places_that_cannot_be_written_are_refused_before_minutes_of_measuring(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for words, named in (
        (["--output", str(tmp_path)], "it is not a regular file: name another one"),
        (["--profiles", str(tmp_path / "file" / "x.gz")], "nothing can be written in"),
        (["--output", "one.json", "--profiles", "./one.json"], "--output and --profiles are one file"),
    ):
        assert main(["calibrate", *words]) == 2
        assert named in capsys.readouterr().err


def test_a_calibration_may_be_written_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (out := tmp_path / "own.json").write_text(json.dumps(calibration_file.to_json(packaged()["NVIDIA H200"])))
    assert main(["calibrate", "--from", str(tmp_path / "none.gz"), "--output", str(out)]) == 2
    assert "none.gz' is no file of profiles: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("profile", "2x3"), ("calibrate",)])
@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("engine=vllm", "the lines of vllm are counted, and not measured; leave it out, or choose engine=transformers"),
        ("engine=original", "the lines of original are counted, and not measured;"),
        (
            "precision=fp8",
            "lines with weights in fp8 are counted, and not measured; leave it out, or choose precision=",
        ),
    ],
)
def test_lines_of_the_reference_model_alone_are_measured(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], setting: str, named: str
) -> None:
    for source in ((), ("--from", str(PROFILES))):
        assert main([*command, *source, "--set", setting]) == 2
        assert named in capsys.readouterr().err


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_a_profile_without_all_lines_is_not_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, json_too: list[str]
) -> None:
    profiles = read(PROFILES)
    (found,) = (p for p in profiles.points if p.label == "decode 1x1 flash")
    half = replace(profiles, points=(replace(found, lines=found.lines[:40]),))
    write(tmp_path / "half.jsonl", half)
    assert main(["profile", "1x1", "--stage", "decode", "--from", str(tmp_path / "half.jsonl"), *json_too]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "decode 1x1 flash has no line decoder/norm2/rsqrt; profile it anew" in err
