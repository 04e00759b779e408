"""What the configuration holds, takes, and says to what it does not take."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.errors import ConfigError
from pytest_ocrsweep.model.architecture import Architecture, Clip, Decoder, Sam
from pytest_ocrsweep.model.geometry import TILING
from pytest_ocrsweep.sweep import conf_file, config
from pytest_ocrsweep.sweep.config import compose, devices
from pytest_ocrsweep.sweep.rules import validate
from pytest_ocrsweep.sweep.search_path import CONF, searching
from pytest_ocrsweep.sweep.settings import VendorSettings, WorkloadSettings, option_keys

DEEPSEEK_OCR = Architecture(
    name="deepseek-ocr",
    dtype="bf16",
    sam=Sam(768, 12, 12, 3072, 14, (2, 5, 8, 11), 16, 3, 1024, 256, (512, 1024)),
    clip=Clip(1024, 24, 16, 4096, 14, 224, 3),
    decoder=Decoder(
        1280, 12, 1, 10, 10, 6848, 64, 6, 2, 896, 129280, 8192, prefill_experts="grouped_mm",
        decode_experts="batched_mm",
    ),
)  # fmt: skip


def complaint(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    return str(caught.value)


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


CHOSEN = [(), *((f"{group}={name}",) for group in ("model", "workload", "device") for name in choices(group))]


@pytest.mark.parametrize("overrides", [*CHOSEN, ("device=h100", "model=deepseek-ocr-tiny")], ids=" ".join)
def test_files_chosen_without_hydra_are_what_hydra_composes(overrides: tuple[str, ...]) -> None:
    files = config._chosen_files(overrides)
    assert files is not None
    assert config._loaded_groups(files) == config._composed(overrides)


def test_each_of_our_files_is_read_as_omegaconf_reads_it() -> None:
    for file in CONF.rglob("*.yaml"):
        assert conf_file.read(file) == OmegaConf.to_container(OmegaConf.load(file)), file


@pytest.mark.parametrize(
    "text", ["../conf/model=deepseek-ocr", "model=../model/deepseek-ocr", "model=no-such", "vendor=cpu"]
)
def test_what_chooses_no_file_is_hydras_to_judge(text: str) -> None:
    assert config._chosen_files((text,)) is None


def test_the_defaults_are_the_documented_ones() -> None:
    default = compose()
    assert default.model == DEEPSEEK_OCR
    assert default.workload == WorkloadSettings(prompt_tokens=10, new_tokens=100, batch=1, resolution="gundam", pages=1)
    assert default.vendor == VendorSettings(device="cuda", seed=0)
    assert default.workload.on(CropGrid(2, 3)) == Workload(CropGrid(2, 3))


@pytest.mark.parametrize("name", choices("model"))
def test_every_model_composes_under_its_own_name(name: str) -> None:
    assert compose([f"model={name}"]).model.name == name


@pytest.mark.parametrize("name", choices("device"))
def test_every_device_composes_and_names_its_source(name: str) -> None:
    device = compose([f"device={name}"]).device
    assert re.search("data ?sheet|whitepaper", device.source)
    assert device.memory_bytes > device.l2_bytes
    assert devices()[name] == device


def test_a_devices_ceiling_may_be_unmeasured() -> None:
    assert compose(["device=l40s"]).device.measured_tensor_flops_per_s is None
    assert compose(["device.measured_tensor_flops_per_s=null"]).device.measured_tensor_flops_per_s is None
    assert compose(["device.measured_tensor_flops_per_s=7e14"]).device.measured_tensor_flops_per_s == 7e14


def test_the_tiny_model_has_every_kind_of_layer() -> None:
    tiny = compose(["model=deepseek-ocr-tiny"]).model
    assert 0 < len(tiny.sam.global_layers) < tiny.sam.layers
    assert 0 < tiny.decoder.dense_layers < tiny.decoder.layers
    assert tiny.decoder.shared_experts > 0
    assert tiny.decoder.experts_per_token < tiny.decoder.experts


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    changed = compose(["workload.batch=4", "vendor.device=cpu"])
    default = compose()
    assert changed == dataclasses.replace(
        default,
        workload=dataclasses.replace(default.workload, batch=4),
        vendor=dataclasses.replace(default.vendor, device="cpu"),
    )


def test_a_key_outlives_the_choice_of_its_group() -> None:
    model = compose(["model.decoder.expert_width=48", "model=deepseek-ocr-tiny"]).model
    assert (model.name, model.decoder.expert_width) == ("deepseek-ocr-tiny", 48)


def test_the_last_of_two_values_counts() -> None:
    assert compose(["workload.batch=4", "workload.batch=2"]).workload.batch == 2


def test_a_quoted_value_may_hold_commas() -> None:
    assert compose(["device.source='sheet 1, page 2'"]).device.source == "sheet 1, page 2"


def test_lists_become_tuples_and_all_of_it_is_frozen() -> None:
    composed = compose(["model.sam.global_layers=[0,3]"])
    assert composed.model.sam.global_layers == (0, 3)
    assert isinstance(hash(composed), int)
    with pytest.raises(dataclasses.FrozenInstanceError):
        composed.model = None  # type: ignore[misc,assignment]


def test_equal_overrides_are_composed_once() -> None:
    assert compose(["workload.batch=3"]) is compose(("workload.batch=3",))
    assert compose(iter(["workload.batch=3"])) is not compose(["workload.batch=5"])


# override: the whole of what is said to it
COMPLAINTS = {
    "workload.bacth=4": "no option 'workload.bacth'; did you mean 'workload.batch'?",
    "batch=4": "no option 'batch'; did you mean 'workload.batch'?",
    "model.sam={width: 3}": "no option 'model.sam'; did you mean 'model.sam.width'?",
    "zzz=1": "no option 'zzz'; options begin with device, engine, model, precision, vendor, workload",
    "hydra.a=x": "no option 'hydra.a'; options begin with device, engine, model, precision, vendor, workload",
    "model=deepseek-orc": "model must be one of deepseek-ocr, deepseek-ocr-2, deepseek-ocr-2-tiny, deepseek-ocr-tiny, "
    "glm-ocr, glm-ocr-tiny, paddleocr-vl, unlimited-ocr: got 'deepseek-orc'; did you mean 'deepseek-ocr'?",
    "workload={batch: 4}": "workload must be one of default: got {'batch': 4}",
    "batch": "'batch' is not KEY=VALUE, for example workload.batch=4",
    "+a.b=1": "'+a.b=1': options can be changed, not added, removed or moved; write KEY=VALUE",
    "~model": "'~model': options can be changed, not added, removed or moved; write KEY=VALUE",
    "model@a=b": "'model@a=b': options can be changed, not added, removed or moved; write KEY=VALUE",
    "grids=1x2": "no option 'grids'; --ocrsweep-grids (of ocrsweep: --grids) chooses what to sweep",
    "grids=1x2,2x3": "no option 'grids'; --ocrsweep-grids (of ocrsweep: --grids) chooses what to sweep",
    "model.name=[1": "'model.name=[1' cannot be read (no viable alternative at input '[1'); quote the value?",
    "model.name=a,b": "model.name takes one value: quote it if it has commas, got 'model.name=a,b'",
    "model.name=${oc.env:HOME}": "model.name takes the value itself, not an interpolation or a blank: "
    "got 'model.name=${oc.env:HOME}'",
    "model.name=???": "model.name takes the value itself, not an interpolation or a blank: got 'model.name=???'",
    "workload.batch=four": "workload.batch must be a whole number of at least 1, got 'four'",
    "vendor.energy_ms=49": "vendor.energy_ms must be from 50 to 60,000, got 49",
    "vendor.energy_ms=60001": "vendor.energy_ms must be from 50 to 60,000, got 60,001",
    "vendor.energy_ms=half": "vendor.energy_ms must be a whole number of at least 1, got 'half'",
    "workload.batch=0": "workload.batch must be a whole number of at least 1, got 0",
    "workload.batch=1.5": "workload.batch must be a whole number of at least 1, got 1.5",
    "workload.batch=true": "workload.batch must be a whole number of at least 1, got True",
    "workload.batch=null": "workload.batch must be a whole number of at least 1, got None",
    "workload.batch=1000000000000001": "workload.batch must be at most 1,000,000,000,000,000, got 1000000000000001",
    f"workload.batch={'9' * 5000}": f"'workload.batch={'9' * 64}…' cannot be read (Exceeds the limit (4300 digits) for "
    "integer string conversion: value has 5000 digits; use sys.set_int_max_str_digits() to increase the limit); "
    "quote the value?",
    "workload.prompt_tokens=-1": "workload.prompt_tokens must be a whole number of at least 0, got -1",
    "model.decoder.heads=0": "model.decoder.heads must be a whole number of at least 1, got 0",
    "model.name=3": "model.name must be text (quote what reads as a number), got 3",
    "device.bandwidth_bytes_per_s=inf": "device.bandwidth_bytes_per_s must be a positive number, got inf",
    "device.bandwidth_bytes_per_s=1e-300": "device.bandwidth_bytes_per_s must be a number from 1 to 1e+30, got 1e-300",
    "model.sam.global_layers=[a]": "model.sam.global_layers must be a list of whole numbers of at least 0, got ['a']",
    "workload.resolution=huge": "workload.resolution must be one of gundam, tiny, small, base, large, "
    "gundam-m: got 'huge'",
    "model.dtype=bf61": "model.dtype must be one of bf16, fp16: got 'bf61'; did you mean 'bf16'?",
    "model.decoder.prefill_experts=eager": "model.decoder.prefill_experts must be one of grouped_mm, "
    "batched_mm: got 'eager'",
    "model.decoder.decode_experts=eager": "model.decoder.decode_experts must be one of grouped_mm, "
    "batched_mm: got 'eager'",
    "model.sam.width=769": "model.sam.width 769 is not divisible by model.sam.heads 12",
    "model.sam.image_side=1000": "model.sam.image_side 1000 is not divisible by model.sam.patch 16",
    "model.clip.heads=3": "model.clip.width 1024 is not divisible by model.clip.heads 3",
    "model.clip.patch=15": "model.clip.image_side 224 is not divisible by model.clip.patch 15",
    "model.decoder.heads=7": "model.decoder.width 1280 is not divisible by model.decoder.heads 7",
    "model.decoder.kv_heads=5": "model.decoder.kv_heads 5 must equal model.decoder.heads 10: the vendor's eager "
    "attention cannot share keys among queries",
    "model.decoder.width=1270": "model.decoder.width 1270 / model.decoder.heads 10 is odd: rotary embedding "
    "turns pairs",
    "model.decoder.experts_per_token=65": "model.decoder.experts_per_token 65 is more than model.decoder.experts 64",
    "model.decoder.dense_layers=13": "model.decoder.dense_layers 13 is more than model.decoder.layers 12",
    "model.sam.global_layers=[12]": "model.sam.global_layers must be distinct layers from 0 to 11, got [12]",
    "model.sam.global_layers=[2,2]": "model.sam.global_layers must be distinct layers from 0 to 11, got [2, 2]",
    "model.sam.patch=32": "model.sam.patch must be 16, as image tokens are counted, got 32",
    "model.sam.downsample_widths=[]": "model.sam.downsample_widths must be two widths, got []",
    "model.clip.width=512": "model.clip.width 512 must equal the last of model.sam.downsample_widths "
    "[512, 1024]: the encoder reads SAM's features",
    "model.tiling.modes=[gundam,huge]": "model.tiling.modes must be one of gundam, tiny, small, base, large, gundam-m, "
    "native: got 'huge'",
    "model.tiling.crop_sides=[640,0]": "model.tiling needs different modes, and a view side and a crop side for each, "
    "got [6, 6, 2]",
    "model.most_crops=1": "model.most_crops must be at least 2: a page is cut or not, got 1",
    "model.clip=null": "no option 'model.clip'; did you mean 'model.clip.width'?",
    "model.query_encoder=3": "no option 'model.query_encoder'; did you mean 'model.query_encoder.width'?",
    "vendor.device=cdua": "vendor.device must be cpu, cuda or cuda:INDEX, got 'cdua'",
}


@pytest.mark.parametrize("override", COMPLAINTS, ids=lambda override: override[:40])
def test_what_does_not_fit_is_one_line_that_says_what_does(override: str) -> None:
    assert complaint(override) == COMPLAINTS[override]


@pytest.mark.parametrize("bracket", ["[", "{", "{a:"])
def test_brackets_in_brackets_are_refused_however_deep(bracket: str) -> None:
    said = complaint(f"workload.batch={bracket * 3000}")
    assert said.startswith(f"'workload.batch={bracket}")
    assert " cannot be read (" in said
    assert "\n" not in said


def test_two_choices_of_one_group_are_a_contradiction() -> None:
    says = "model is chosen twice: 'deepseek-ocr' and 'deepseek-ocr-tiny'; keep one"
    assert complaint("model=deepseek-ocr", "model=deepseek-ocr-tiny") == says


def test_settings_changed_in_python_can_be_validated_too() -> None:
    default = compose()
    with pytest.raises(ConfigError, match=r"vendor\.device must be cpu, cuda or cuda:INDEX, got 'tpu'"):
        validate(dataclasses.replace(default, vendor=VendorSettings("tpu")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prompt_tokens: 1\nnew_tokens: 1\nbatch: 1\n", "workload.resolution has no value in conf/"),
        (
            "prompt_tokens: 1\nnew_tokens: 1\nbatch: 1\nresolution: base\nbtach: 1\n",
            "no option 'workload.btach'; did you mean 'workload.batch'?",
        ),
    ],
)
def test_a_group_file_has_exactly_the_keys_of_its_schema(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = Path(shutil.copytree(CONF, tmp_path / "conf"))
    (conf / "workload" / "mine.yaml").write_text(text)
    monkeypatch.setattr("pytest_ocrsweep.sweep.config.CONF", conf)
    assert complaint("workload=mine") == says


def test_what_hydra_cannot_compose_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "mine.yaml").write_text("defaults: [no-such]\n")
    with searching(tmp_path):
        says = complaint("workload=mine", "vendor.seed=1")
    assert re.fullmatch(r".*mine\.yaml: Hydra cannot compose 'workload=mine': .*'workload/no-such'.*", says)


@given(st.sampled_from(["", "grids=", "workload.batch=", "model=", *option_keys()]), st.text(max_size=8))
def test_no_text_at_all_makes_more_than_one_line(start: str, rest: str) -> None:
    said = ""
    try:
        compose([start + rest])
    except ConfigError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model.decoder.expert_width=100"], "model.decoder.expert_width must be a multiple of 8"),
        (["model.decoder.width=1300"], "model.decoder.width must be a multiple of 8"),
        (["model.dtype=fp16"], "model.dtype fp16: torch's grouped_mm takes bf16 only"),
        (["model.sam.window=1"], "model.sam.window must be a whole number of at least 2, got 1"),
        (["model.decoder.vocabulary=1"], "model.decoder.vocabulary must be a whole number of at least 2, got 1"),
        (["model.sam.width=12"], "model.sam.width 12 must be more than model.sam.heads 12"),
    ],
)
def test_what_the_reference_model_cannot_run_is_refused(overrides, line):
    with pytest.raises(ConfigError, match=re.escape(line)):
        compose(overrides)


def test_without_grouped_products_their_limits_do_not_hold():
    odd = ["model.dtype=fp16", "model.decoder.expert_width=100", "model.decoder.width=1300"]
    compose([*odd, "model.decoder.prefill_experts=batched_mm"])
    compose([*odd, "model.decoder.dense_layers=12"])


OF_QUERIES = {
    "model.query_encoder.kv_heads=3": "model.query_encoder.heads 14 is not divisible by model.query_encoder.kv_heads 3",
    "model.query_encoder.kv_heads=1": "model.query_encoder.kv_heads must be at least 2 for 14 heads: nobody "
    "has counted one that all share",
    "model.query_encoder.query_sides=[640,1024]": "model.query_encoder.query_sides must be [768, 1024], as the "
    "reference model has them, got [640, 1024]",
    "model.tiling.crop_sides=[640,0]": "model.tiling has views of [640], and model.query_encoder.query_sides has no "
    "queries for them",
    "model.tiling.newlines=true": "model.tiling.newlines must be false: the reference model with queries has none",
    "model.sam.downsample_widths=[512,1024]": "model.query_encoder.width 896 must equal the last of "
    "model.sam.downsample_widths [512, 1024]: the encoder reads SAM's features",
    "workload.resolution=tiny": "workload.resolution must be one of gundam, base: got 'tiny'",
}


@pytest.mark.parametrize("override", OF_QUERIES)
def test_what_does_not_fit_an_encoder_with_queries_is_one_line(override: str) -> None:
    with pytest.raises(ConfigError) as raised:
        compose(["model=deepseek-ocr-2", override])
    assert str(raised.value) == OF_QUERIES[override]


@pytest.mark.parametrize("override", [(), ("workload.batch=4",)])  # files alone, and what Hydra composes
def test_a_workload_is_cut_as_the_model_cuts_it(override: tuple[str, ...]) -> None:
    settings = compose(["model=deepseek-ocr-2", *override])
    assert [settings.workload.on(grid).image_tokens for grid in ("1x1", "1x2", "2x3")] == [257, 545, 1121]
    assert str(settings.grid_of(2480, 3508)) == "3x2"
    assert [settings.grid_of(side, 768).crops > 0 for side in (768, 769)] == [False, True]


def test_the_default_tiling_is_deepseek_ocrs_own() -> None:
    assert compose().model.tiling == TILING == compose(["model=unlimited-ocr"]).model.tiling
