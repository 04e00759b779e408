"""A fit finds the constants that made its times; files of profiles and calibrations are read, or refused in a line."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.errors import CalibrationError, ProfileError
from pytest_ocrsweep.hardware import calibration_file, profile
from pytest_ocrsweep.hardware.calibration import LIMITS
from pytest_ocrsweep.hardware.calibration_file import packaged
from pytest_ocrsweep.hardware.calibration_points import FITTED, JUDGED
from pytest_ocrsweep.hardware.fit import calibrate, constants, measured
from pytest_ocrsweep.hardware.line_time import Rates, limits_of
from pytest_ocrsweep.hardware.profile import Point, Profile, ProfiledLine, Profiles
from pytest_ocrsweep.hardware.profile_lines import line_work_of, program_of
from pytest_ocrsweep.model.kernels import Pattern
from pytest_ocrsweep.model.stages import point
from pytest_ocrsweep.sweep.config import devices

MODEL = load_model("deepseek-ocr")
H100 = devices()["h100"]
HEADER = '{"schema": 1, "device": "a GPU"}'
TRUE = {name: value * 1.2 for name, value in packaged()[H100.name].values.items()}  # of a GPU that does not exist


def made(where: Point, noise: float = 0.0) -> Profile:
    """A profile whose times are those of TRUE, each line off by a random share."""
    empty = Profile(where.stage, where.attention, where.work, 0.0, ())
    lines = line_work_of(MODEL, empty)
    work = lines.at(point(where.work, MODEL.architecture.decoder))
    times = Rates(TRUE, limits_of(lines.patterns), H100.l2_bytes).times(work)
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
    with pytest.raises(ProfileError, match="line sam/other of vision 1x1 flash is not one of deepseek-ocr; profile it"):
        measured(MODEL, [renamed])


def test_a_line_that_only_some_gpus_run_is_a_part_of_the_attention_that_others_run_without_it() -> None:
    """An A100 pads SAM's bias, as the ledger says; an H100 does not."""
    profile = made(FITTED[3])
    kernels = program_of(MODEL, profile).sequence
    pads = [i for i, kernel in enumerate(kernels) if kernel.pattern is Pattern.ABSORBED]
    assert [kernels[i].path for i in pads] == 2 * ["sam/window/attn/pad_bias"]
    padded = replace(
        profile,
        lines=(*profile.lines, *(ProfiledLine(i, kernels[i].path, 8, 16, 1e5) for i in pads)),
        device_ns=profile.device_ns + 2e5,
    )
    before, after = measured(MODEL, [profile]), measured(MODEL, [padded])
    more = {tuple(LIMITS)[before.limits[i]] for i in np.flatnonzero(after.time_ns - before.time_ns > 5e4)}
    assert more == {Pattern.NARROW}
    assert after.time_ns.sum() == pytest.approx(padded.device_ns)


@pytest.mark.parametrize("name", ["some.jsonl", "some.jsonl.gz"])
def test_profiles_are_read_as_they_were_written(tmp_path: Path, name: str) -> None:
    written = Profiles(
        "a GPU",
        {"torch": "2"},
        (Profile("vision", "flash", FITTED[0].work, 5.0, (ProfiledLine(3, "sam/x", 2, 4, 1.0),)),),
    )
    profile.write(tmp_path / name, written)
    assert profile.read(tmp_path / name) == written


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "is no file of profiles: every line must be a JSON object"),
        (b"[1]\n", "is no file of profiles: every line must be a JSON object"),
        (b"\xff\xfe", "is no file of profiles"),
        (b'{"schema": 7}\n', "has schema 7, not 1; record it anew"),
        (b'{"schema": 1}\n', "names no GPU, but None; record it anew"),
        (b'{"schema": 1, "device": 5}\n', "names no GPU, but 5"),
        (b'{"schema": 1, "device": "x"}\n{"stage": "vision"}\n', "line 2 is no profile: no 'batch'; record it anew"),
        (b'{"schema": "\\u001b"}\n', r"has schema '\\x1b', not 1"),
        (gzip.compress(b'{"schema": 1}', mtime=0)[:-9], "is no file of profiles"),
    ],
    ids=["empty", "list", "binary", "schema", "no GPU", "a number", "point", "escape", "cut"],
)
def test_a_damaged_file_of_profiles_is_one_line(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / ("x.gz" if content[:2] == b"\x1f\x8b" else "x.jsonl")
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=named) as raised:
        profile.read(path)
    assert "\n" not in str(raised.value)


ENTRY = {
    "stage": "vision",
    "grid": "1x1",
    "attention": "flash",
    "batch": 1,
    "resolution": "gundam",
    "prompt_tokens": 10,
    "new_tokens": 100,
    "device_ns": 9000,
    "lines": [[0, "sam/patch_embed", 1, 2, 5000]],
}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"stage": "x\x1b"}, r"no stage 'x\\x1b' with 'flash' attention is known"),
        ({"attention": ["flash"]}, "line 2 is no profile"),
        ({"device_ns": float("nan")}, "nan is no time of 1 to"),
        ({"device_ns": 10**20}, "is no time of 1 to"),
        ({"lines": [[0, "a\x1b", 1, 2, 5]]}, "is no path of a line"),
        ({"lines": [[-1, "a", 1, 2, 5]]}, "-1 is no count"),
        ({"lines": [[0, "a", 1, 2, -5]]}, "-5 is no time of 0 to"),
        ({"lines": [[0, "a", 1, 2]]}, "line 2 is no profile"),
    ],
    ids=["stage", "attention", "nan", "day", "path", "index", "negative", "short"],
)
def test_a_profile_with_a_value_that_no_gpu_gives_is_one_line(tmp_path: Path, changed, named: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f"{HEADER}\n{json.dumps(ENTRY | changed)}\n")
    with pytest.raises(ProfileError, match=named) as raised:
        profile.read(path)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([], "vision 1x1 flash has no line sam/patch_embed; profile it anew"),
        ([[0, "sam/patch_embed", 1, 2, 5]], "vision 1x1 flash has no line sam/positions/add; profile it anew"),
        (2 * [[0, "sam/patch_embed", 1, 2, 5]], "line sam/patch_embed is twice in vision 1x1 flash; profile it anew"),
        ([[9999, "sam/patch_embed", 1, 2, 5]], "line sam/patch_embed of vision 1x1 flash is not one of deepseek-ocr"),
        ([[0, "sam/other", 1, 2, 5]], "line sam/other of vision 1x1 flash is not one of deepseek-ocr; profile it"),
    ],
    ids=["none", "one", "twice", "no such line", "another path"],
)
def test_a_profile_of_other_lines_than_the_models_is_not_fitted(tmp_path: Path, lines, named: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f"{HEADER}\n{json.dumps(ENTRY | {'lines': lines})}\n")
    with pytest.raises(ProfileError, match=named):
        measured(MODEL, profile.read(path).points)


def test_a_profile_whose_lines_took_no_time_is_not_fitted() -> None:
    still = made(FITTED[0])
    still = replace(still, device_ns=5.0, lines=tuple(replace(line, time_ns=0.0) for line in still.lines))
    with pytest.raises(CalibrationError, match="no line of vision 1x1 flash took any time; profile it anew"):
        measured(MODEL, [still])


def test_a_point_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([HEADER, json.dumps(ENTRY), json.dumps(ENTRY | {"device_ns": 1})]))
    with pytest.raises(ProfileError, match="line 3 is no profile: vision 1x1 flash is there twice; record it anew"):
        profile.read(path)


def test_a_pipe_is_neither_profiles_nor_a_calibration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ProfileError, match="not a regular file"):
        profile.read(tmp_path / "pipe")
    with pytest.raises(CalibrationError, match="not a regular file"):
        calibration_file.read(tmp_path / "pipe")


def test_a_calibration_of_another_gpu_is_scaled_by_both_sheets(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(calibration_file.to_json(packaged()[H100.name])))
    own = replace(H100, name="Some GPU", bandwidth_bytes_per_s=2 * H100.bandwidth_bytes_per_s, calibration=str(path))
    found = calibration_file.calibration_of(own)
    assert found.scaled_from == H100.name
    rate = "dram_bytes_per_s"
    assert found.constants[rate].value == pytest.approx(2 * packaged()[H100.name].constants[rate].value)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, written = tmp_path / "c.json", packaged()[H100.name]
    path.write_text(json.dumps(calibration_file.to_json(written)))
    read = calibration_file.read(path)
    assert calibration_file.to_json(read) == calibration_file.to_json(written)
    own = replace(H100, name="Some GPU", calibration=str(path))
    assert calibration_file.calibration_of(own).device == "Some GPU"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda c: c.pop("spread"), "no 'spread'"),
        (lambda c: c.update(schema=9), "schema 9, not 1"),
        (lambda c: c["constants"].pop("dram_bytes_per_s"), "its constants are not"),
        (lambda c: c["constants"]["dram_bytes_per_s"].update(value=-1), "-1 is not a number from 0.001 to 1e"),
        (lambda c: c["constants"]["dram_bytes_per_s"].update(value=float("nan")), "nan is not a number from"),
        (lambda c: c["sheet"].update(tensor_flops_per_s="fast"), "'fast' is not a number from"),
        (lambda c: c.update(covers=3), "is no calibration"),
        (lambda c: c.update(spread={}), "its spread is not of vision, prefill, decode"),
        (lambda c: c.update(spread={"vison": 1.1}), "its spread is not of vision, prefill, decode"),
        (lambda c: c["spread"].update(decode=0.5), "0.5 is not a number from 1 to"),
        (lambda c: c["spread"].update(decode=1e9), "1000000000.0 is not a number from 1 to 20"),
        (lambda c: c["covers"]["vision flash"].update(batch="many"), "'many' is not a whole number"),
        (lambda c: c["covers"]["vision flash"].update(tokens=0), "0 is not a number from 1 to"),
        (lambda c: c["constants"]["dram_bytes_per_s"].update(value=1e300), "is not a number from"),
        (lambda c: c["constants"]["dram_bytes_per_s"].update(low=9e12, high=9e12), "is not within its interval"),
        (
            lambda c: c["constants"]["dram_bytes_per_s"].update(unit="GB/s"),
            "dram_bytes_per_s is in 'GB/s', and not in B/s",
        ),
        (
            lambda c: c["constants"]["dram_bytes_per_s"].update(value=2779, low=2637, high=2930),
            "dram_bytes_per_s is 2779 B/s, 9.2e-10 times what its sheet suggests",
        ),
        (lambda c: c["sheet"].update(vector_flops_per_s=67e15), "is .* times what its sheet suggests"),
        (lambda c: c.update(device=None), "its device is None, and not a name"),
    ],
    ids=[
        "spread",
        "schema",
        "constants",
        "negative",
        "nan",
        "sheet",
        "covers",
        "empty",
        "typo",
        "below",
        "wide",
        "range",
        "none",
        "huge",
        "interval",
        "unit",
        "gigabytes",
        "another sheet",
        "nameless",
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


@pytest.mark.parametrize("name", packaged())
def test_the_packages_calibrations_are_read_as_a_users(name: str) -> None:
    document = calibration_file.to_json(packaged()[name])
    assert calibration_file.to_json(calibration_file.from_json(document)) == document


def test_a_kin_without_a_calibration_is_named_with_those_that_have_one() -> None:
    own = replace(H100, name="Some GPU", calibrated_as="h100")
    named = "Some GPU has no calibration, and 'h100' has none either: .*NVIDIA H200.* have one; calibrate it"
    with pytest.raises(CalibrationError, match=named):
        calibration_file.calibration_of(own)


def test_a_calibration_of_before_these_were_in_its_file_is_read(tmp_path: Path) -> None:
    document = calibration_file.to_json(packaged()[H100.name])
    del document["sheet"]["l2_bytes"]
    for reach in document["covers"].values():
        reach["context_tokens"] = reach.pop("tokens")
        del reach["weight_bytes"]
    (path := tmp_path / "c.json").write_text(json.dumps(document))
    device = replace(H100, calibration=str(path))
    for stage in ("vision", "prefill", "decode"):
        ledger = MODEL.ledger(stage, Workload(CropGrid(2, 3)))
        assert ledger.estimate(device) == ledger.estimate(H100)


def test_a_stage_that_was_not_judged_has_the_widest_spread() -> None:
    calibration = replace(packaged()[H100.name], spread={"vision": 1.02, "prefill": 1.05})
    assert [calibration.spread_of(stage) for stage in ("vision", "prefill", "decode")] == [1.02, 1.05, 1.05]
