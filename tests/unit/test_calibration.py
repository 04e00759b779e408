"""A fit finds the constants that made its times; files of profiles and calibrations are read, or refused in a line."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.errors import CalibrationError, ProfileError
from pytest_ocrsweep.hardware import calibration_file, profile_file
from pytest_ocrsweep.hardware.calibration_file import packaged
from pytest_ocrsweep.hardware.calibration_points import FITTED, JUDGED
from pytest_ocrsweep.hardware.fit import calibrate, constants, measured, of_profile
from pytest_ocrsweep.hardware.line_time import Rates
from pytest_ocrsweep.hardware.profile import Point, Profile, ProfiledLine, Profiles
from pytest_ocrsweep.model.stages import point
from pytest_ocrsweep.sweep.config import devices

MODEL = load_model("deepseek-ocr")
H100 = devices()["h100"]
TRUE = {name: value * 1.2 for name, value in packaged()[H100.name].values.items()}  # of a GPU that does not exist


def made(where: Point, noise: float = 0.0) -> Profile:
    """A profile whose times are those of TRUE, each line off by a random share."""
    empty = Profile(where.stage, where.attention, where.work, 0.0, ())
    lines = of_profile(MODEL, empty)
    work = lines.at(point(where.work))
    times = Rates(TRUE, lines.patterns, H100.l2_bytes).times(work)
    off = np.random.default_rng(0).normal(0, noise, len(lines.index))
    total = (times.launch_ns + times.busy_ns) * np.exp(off)
    rows = zip(lines.index, lines.paths, work.launches, total, strict=True)
    taken = tuple(ProfiledLine(i, path, 1, int(n), float(ns)) for i, path, n, ns in rows if n and ns)
    return replace(empty, device_ns=sum(line.time_ns for line in taken), lines=taken)


def profiles(points: tuple[Point, ...], noise: float = 0.0) -> Profiles:
    return Profiles(H100.name, {"torch": "2.11"}, tuple(made(where, noise) for where in points))


def test_a_fit_finds_the_constants_that_made_its_times() -> None:
    found = constants(measured(MODEL, profiles(FITTED).points), H100)
    for name, value in TRUE.items():
        assert found[name] == pytest.approx(value, rel=0.02), name


def test_noise_of_a_line_is_no_noise_of_a_constant() -> None:
    calibration = calibrate(MODEL, H100, profiles(FITTED, 0.1), profiles(JUDGED, 0.1))
    assert calibration.constants["dram_bytes_per_s"].value == pytest.approx(TRUE["dram_bytes_per_s"], rel=0.1)
    assert all(1 < factor < 1.1 for factor in calibration.spread.values())
    for name, constant in calibration.constants.items():
        assert constant.low <= constant.value <= constant.high, name


def test_a_point_is_not_fitted_and_judged() -> None:
    with pytest.raises(CalibrationError, match="vision 1x1 eager is fitted and judged"):
        calibrate(MODEL, H100, profiles(FITTED[:4]), profiles(FITTED[:3]))


def test_few_points_are_refused() -> None:
    with pytest.raises(CalibrationError, match="2 points to be fitted; profile 3 or more"):
        calibrate(MODEL, H100, profiles(FITTED[:2]), profiles(JUDGED))


def test_a_profile_of_another_model_is_refused() -> None:
    renamed = made(FITTED[0])
    renamed = replace(renamed, lines=(replace(renamed.lines[0], path="sam/other"), *renamed.lines[1:]))
    with pytest.raises(ProfileError, match="vision 1x1 flash has other lines than the model; profile it anew"):
        measured(MODEL, [renamed])


@pytest.mark.parametrize("name", ["some.jsonl", "some.jsonl.gz"])
def test_profiles_are_read_as_they_were_written(tmp_path: Path, name: str) -> None:
    written = Profiles(
        "a GPU",
        {"torch": "2"},
        (Profile("vision", "flash", FITTED[0].work, 5.0, (ProfiledLine(3, "sam/x", 2, 4, 1.0),)),),
    )
    profile_file.write(tmp_path / name, written)
    assert profile_file.read(tmp_path / name) == written


HEADER = b'{"schema": 1, "device": "a GPU", "environment": {}}\n'


def point_with(**changed: object) -> bytes:
    point = profile_file.to_json(
        Profile("vision", "flash", FITTED[0].work, 5.0, (ProfiledLine(3, "sam/x", 2, 4, 1.0),))
    )
    return json.dumps({**point, **changed}).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "is no file of profiles: every line must be a JSON object"),
        (b"[1]\n", "is no file of profiles: every line must be a JSON object"),
        (b"\xff\xfe", "is no file of profiles"),
        (b'{"schema": 7}\n', "has schema 7, not 1; record it anew"),
        (b'{"schema": 1}\n', "line 1 is no profile: no 'device'"),
        (b'{"schema": 1, "device": "x", "environment": [1]}\n', "line 1 is no profile: the header names no device"),
        (HEADER + b'{"stage": "vision"}\n', "line 2 is no profile: no 'batch'"),
        (gzip.compress(HEADER, mtime=0)[:-9], "is no file of profiles"),
        (gzip.compress(HEADER * 99, mtime=0)[:20] + b"\xff" * 30, "is no file of profiles"),
        (b"[" * 100_000, "is no file of profiles"),
        (HEADER + 2 * point_with(), "line 3 is no profile: vision 1x1 flash is there twice"),
        (HEADER + point_with(stage="audio"), "line 2 is no profile: stage 'audio'"),
        (HEADER + point_with(attention=[]), "line 2 is no profile"),
        (HEADER + point_with(device_ns=float("nan")), "device_ns must be at least 1 ns and at most 1e.15, got nan"),
        (HEADER + point_with(device_ns=10**400), "device_ns must be at least 1 ns"),
        (HEADER + point_with(lines=[]), "it has no lines"),
        (HEADER + point_with(lines=[["3", "sam/x", 2, 4, 1]]), "place, runs and kernels must be whole numbers"),
        (HEADER + point_with(lines=[[-3, "sam/x", 2, 4, 1]]), "place, runs and kernels must be whole numbers"),
        (HEADER + point_with(lines=[[3, 5, 2, 4, 1]]), "a line's path must be text, got 5"),
        (HEADER + point_with(lines=[[3, "sam/x", 2, 4, -1]]), "a line's time must be at least 0 ns"),
    ],
    ids=[
        *("empty", "list", "binary", "schema", "headless", "environment", "point", "cut", "corrupt", "deep", "twice"),
        *("stage", "attention", "nan", "huge", "no-lines", "place", "negative", "path", "time"),
    ],
)
def test_a_damaged_file_of_profiles_is_one_line(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / ("x.gz" if content[:2] == b"\x1f\x8b" else "x.jsonl")
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=named) as raised:
        profile_file.read(path)
    assert "\n" not in str(raised.value)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, written = tmp_path / "c.json", packaged()[H100.name]
    path.write_text(json.dumps(calibration_file.to_json(written)))
    read = calibration_file.read(path)
    assert calibration_file.to_json(read) == calibration_file.to_json(written)
    own = replace(H100, name="Some GPU", calibration=str(path))
    assert calibration_file.calibration_of(own).device == "Some GPU"


def constant(value: float):
    return lambda c: c["constants"]["dram_bytes_per_s"].update(value=value)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda c: c.pop("spread"), "no 'spread'"),
        (lambda c: c.update(schema=9), "schema 9, not 1"),
        (lambda c: c["constants"].pop("dram_bytes_per_s"), "its constants are not"),
        (constant(-1), r"dram_bytes_per_s must be a number from 0.001 to 1e\+30, got -1"),
        (constant(float("nan")), "got nan"),
        (constant(True), "got True"),
        (constant(10**400), "got 1000"),
        (constant(1e-320), "got 1e-320"),
        (constant(1.0), "dram_bytes_per_s is outside its interval"),
        (lambda c: c["sheet"].update(tensor_flops_per_s="fast"), "tensor_flops_per_s must be .* got 'fast'"),
        (lambda c: c["spread"].update(decode=0.9), "the spread of decode must be a number from 1 to 1000, got 0.9"),
        (lambda c: c["spread"].pop("decode"), "its spread is not of vision, prefill, decode"),
        (lambda c: c["covers"]["decode flash"].update(batch=0), "it covers 0, which is not a whole number"),
        (lambda c: c["covers"]["decode flash"].update(batch=None), "it covers None, which is not a whole number"),
        (lambda c: c.update(covers=3), "is no calibration"),
    ],
    ids=[
        *("no-spread", "schema", "constants", "negative", "nan", "bool", "huge", "tiny", "outside", "sheet"),
        *("narrow", "stage", "range", "null", "covers"),
    ],
)
def test_a_damaged_calibration_is_one_line_with_its_remedy(tmp_path: Path, damage, named: str) -> None:
    document = calibration_file.to_json(packaged()[H100.name])
    damage(document)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(document))
    with pytest.raises(CalibrationError, match=named) as raised:
        calibration_file.read(path)
    assert "\n" not in str(raised.value)
    assert "ocrsweep calibrate" in str(raised.value)


def test_a_calibration_on_another_sheet_than_its_own_is_scaled_and_says_so(tmp_path: Path) -> None:
    (path := tmp_path / "c.json").write_text(json.dumps(calibration_file.to_json(packaged()[H100.name])))
    work = MODEL.ledger("decode", Workload(CropGrid(2, 3)))
    for device in (devices()["h200"], replace(H100, bandwidth_bytes_per_s=2 * H100.bandwidth_bytes_per_s)):
        expected = work.estimate(replace(device, calibration=str(path)))
        assert expected.time_ns < work.estimate(H100).time_ns
        assert expected.reasons == (f"scaled from {H100.name} by both sheets",)
