"""A project's own models, devices and engines beside ours: found, composed, refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.errors import ConfigError, ConfigFileError
from pytest_ocrsweep.sweep.config import compose, device_of, devices
from pytest_ocrsweep.sweep.search_path import CONF, searched, searching

WORK = Workload(CropGrid(2, 3))
GPU = "defaults: [h200, _self_]\nname: NVIDIA Our GPU\nbandwidth_bytes_per_s: 4e12\ncalibrated_as: NVIDIA H200\n"
MODEL = "defaults: [deepseek-ocr, _self_]\nname: mine\ndecoder: {layers: 6}\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """In a folder whose name Hydra's grammar must not read."""
    folder = tmp_path / "it's, [a] $folder" / "conf"
    files = {
        "model/mine": MODEL,
        "device/our-gpu": GPU,
        "workload/long": "defaults: [default, _self_]\nnew_tokens: 7\n",
    }
    files["engine/faster"] = "defaults: [vllm, _self_]\nname: faster\nmost_crops: 4\n"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_model_of_the_project_costs_what_ours_does_with_the_same_override(conf: Path) -> None:
    mine = load_model("mine", config_dir=conf).ledger("decode", WORK)
    ours = load_model(overrides=["model.decoder.layers=6"]).ledger("decode", WORK)
    assert mine.total() == ours.total()
    assert mine.weight_bytes == ours.weight_bytes


def test_every_group_is_composed_and_ours_stay_as_they_are(conf: Path) -> None:
    ours = compose()
    with searching(conf):
        settings = compose(["workload=long", "engine=faster", "device=our-gpu"])
        assert compose() == ours
        assert compose(["model=deepseek-ocr-tiny", "workload.batch=2"]).model.name == "deepseek-ocr-tiny"
    assert (settings.workload.new_tokens, settings.engine.most_crops) == (7, 4)
    assert settings.device.bandwidth_bytes_per_s == 4e12
    assert searched() is None
    with pytest.raises(ConfigError, match="workload must be one of default: got 'long'"):
        compose(["workload=long"])


def test_a_ledger_knows_the_devices_beside_its_model_afterwards(conf: Path) -> None:
    ledger = load_model("mine", config_dir=str(conf)).ledger("decode", WORK)
    assert ledger.floor("our-gpu").time_ns > ledger.floor("h200").time_ns
    assert ledger.estimate("our-gpu").high_ns > ledger.estimate("h200").high_ns  # scaled, so wide
    with pytest.raises(ConfigError, match="no device is called 'our-gpu'"):
        load_model().ledger("decode", WORK).floor("our-gpu")


def test_the_catalogue_has_the_projects_devices_last_and_by_the_drivers_name(conf: Path) -> None:
    ours = devices()
    with searching(conf):
        assert list(devices()) == [*ours, "our-gpu"]
        assert device_of("NVIDIA Our GPU") == replace(
            ours["h200"], name="NVIDIA Our GPU", bandwidth_bytes_per_s=4e12, calibrated_as="NVIDIA H200"
        )
        changed = compose(["device=our-gpu", "device.bandwidth_bytes_per_s=3e12"]).device
        assert changed.name == "NVIDIA Our GPU with bandwidth_bytes_per_s=3000000000000"
    assert device_of("NVIDIA Our GPU") is None


def test_a_changed_file_is_read_again(conf: Path) -> None:
    with searching(conf):
        assert compose(["model=mine"]).model.decoder.layers == 6
        (conf / "model/mine.yaml").write_text(MODEL.replace("6", "11"))
        assert compose(["model=mine"]).model.decoder.layers == 11


def test_a_calibration_is_found_beside_its_devices_file(conf: Path) -> None:
    (conf / "device/our-gpu.yaml").write_text(GPU + "calibration: ours.json\n")
    (conf / "device/ours.json").touch()
    with searching(conf):
        assert compose(["device=our-gpu"]).device.calibration == str(conf / "device/ours.json")


def test_a_device_with_the_drivers_name_of_another_is_refused(conf: Path) -> None:
    (conf / "device/our-gpu.yaml").write_text(GPU.replace("NVIDIA Our GPU", "NVIDIA H200"))
    with searching(conf), pytest.raises(ConfigFileError, match=r"our-gpu.yaml: the device h200 has the name .* too"):
        devices()


def test_what_is_refused_is_refused_from_python_too(conf: Path) -> None:
    (conf / "device/h200.yaml").write_text(GPU)
    with pytest.raises(ConfigFileError, match=r"h200\.yaml: pytest-ocrsweep has a device of that name"):
        load_model(config_dir=conf)
    with pytest.raises(ConfigFileError, match="is not a folder"):
        load_model(config_dir=conf / "none")
    (conf / "device/h200.yaml").rename(conf / "device/two words.yaml")
    with pytest.raises(ConfigFileError, match="a name has letters, digits"):
        load_model(config_dir=conf)
    (conf.parent / "${x}/model").mkdir(parents=True)
    with pytest.raises(ConfigFileError, match=r"Hydra takes '\$\{' in a path for"):
        load_model(config_dir=conf.parent / "${x}")


def test_a_precision_of_the_project_may_have_products_that_few_engines_run(tmp_path: Path) -> None:
    (tmp_path / "precision").mkdir()
    text = (CONF / "precision" / "fp8-w8a8.yaml").read_text(encoding="utf-8")
    (tmp_path / "precision" / "mine.yaml").write_text(re.sub("(?m)^name: .*", "name: mine", text), encoding="utf-8")
    with searching(tmp_path):
        assert compose(["precision=mine", "engine=vllm", "engine.precisions=[mine]"]).precision.fp8_products
        with pytest.raises(ConfigError, match=r"^transformers is not counted with products of 8-bit floats"):
            compose(["precision=mine"])
