"""A snapshot that is damaged, incomplete or of another model is refused with a line for each problem."""

from __future__ import annotations

import json
import re
import shutil

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from safetensors.torch import save_file  # noqa: E402  comes with transformers
from snapshots import HEAD, LAST, LM_HEAD, NORM, TINY, load, write, written_config  # noqa: E402

from pytest_ocrsweep.errors import CheckpointError  # noqa: E402
from pytest_ocrsweep.vendor_model import checkpoint, snapshot_files  # noqa: E402


def refusal(folder) -> list[str]:
    """Its lines; every one of them names a file or folder and what to do."""
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    lines = str(caught.value).splitlines()
    assert all(str(folder) in line for line in lines if not line.startswith("..."))
    return lines


def test_a_missing_tensor_is_named_with_its_shape(snapshot, tensors):
    write(snapshot, {name: tensor for name, tensor in tensors.items() if name != NORM})
    assert refusal(snapshot) == [f"{snapshot}: tensor {NORM} is missing, should be [64]: download the snapshot again"]


def test_an_extra_tensor_is_named_with_its_file(snapshot, tensors):
    write(snapshot, {**tensors, "model.zoom": torch.zeros(3)})
    assert refusal(snapshot) == [
        f"{snapshot / LAST}: tensor model.zoom is F32 [3], should not be there: choose the snapshot of {TINY.name}"
    ]


@pytest.mark.parametrize(
    ("tensor", "stands"),
    [(torch.zeros(64, 512), "F32 [64, 512]"), (torch.zeros(512, 64, dtype=torch.int8), "I8 [512, 64]")],
    ids=["shape", "dtype"],
)
def test_a_tensor_of_another_shape_or_kind_is_named_with_both(snapshot, tensors, tensor, stands):
    write(snapshot, {**tensors, LM_HEAD: tensor})
    assert refusal(snapshot) == [
        f"{snapshot / HEAD}: tensor {LM_HEAD} is {stands}, should be [512, 64] in BF16, F16, F32: "
        f"choose the snapshot of {TINY.name}"
    ]


def test_thousands_of_problems_stay_a_few_lines(snapshot):
    save_file({"weight": torch.zeros(1)}, snapshot / snapshot_files.WEIGHTS)
    *missing, more, extra = refusal(snapshot)
    assert len(missing) == checkpoint.SHOWN
    assert re.fullmatch(r"\.\.\. and \d+ more tensors like this one", more)
    assert "tensor weight is F32 [1], should not be there" in extra


def test_a_truncated_shard_says_where_it_ends_and_should(snapshot):
    shard = snapshot / LAST
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    (line,) = refusal(snapshot)
    assert re.fullmatch(
        rf"{re.escape(str(shard))}: tensor \S+ ends at byte {len(whole):,}, the file at byte {len(whole) - 10:,}: "
        "the file is truncated, download it again",
        line,
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"\x05", b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"{,", b"\xff" * 64, b"version https://git-lfs"],
)
def test_a_damaged_header_is_called_so(snapshot, content):
    (snapshot / LAST).write_bytes(content)
    (line,) = refusal(snapshot)
    assert line.startswith(f"{snapshot / LAST} is damaged, not safetensors (")
    assert line.endswith("): download it again")


@pytest.mark.parametrize("name", [LAST, "../elsewhere.safetensors"])
def test_an_index_that_names_no_file_of_the_snapshot_is_refused(snapshot, name):
    shutil.move(snapshot / LAST, snapshot / name)
    (snapshot / snapshot_files.INDEX).write_text(json.dumps({"weight_map": {NORM: name, LM_HEAD: HEAD}}))
    if name == LAST:
        (snapshot / LAST).unlink()
    assert refusal(snapshot) == [
        f"{snapshot / snapshot_files.INDEX} names {name}, which is no file of {snapshot}: download the snapshot again"
    ]


@pytest.mark.parametrize("content", ["{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_without_a_map_is_refused(snapshot, content):
    (snapshot / snapshot_files.INDEX).write_text(content)
    (line,) = refusal(snapshot)
    assert line.endswith("has no weight_map from tensors to files: download it again")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", None])
def test_pickled_weights_alone_are_refused(snapshot, pickle):
    for file in (HEAD, LAST, snapshot_files.INDEX):
        (snapshot / file).unlink()
    if pickle:
        (snapshot / pickle).write_bytes(b"")
    found = f"only {pickle}, and pickled weights are never loaded" if pickle else "neither"
    assert refusal(snapshot) == [
        f"{snapshot} should hold model.safetensors or model.safetensors.index.json, has {found}: "
        "get its safetensors files"
    ]


def test_each_dimension_that_differs_has_its_line(snapshot):
    config = written_config()
    config["language_config"]["n_routed_experts"] = 64
    config["vision_config"]["width"]["sam_vit_b"]["global_attn_indexes"] = [2, 5]
    del config["vision_config"]["width"]["clip-l-14-224"]["heads"]
    path = snapshot / "config.json"
    path.write_text(json.dumps(config))
    remedy = "choose the model of this snapshot, or the snapshot of this model"
    assert refusal(snapshot) == [
        f"{path}: language_config.n_routed_experts is 64, should be 8 as decoder.experts of {TINY.name}: {remedy}",
        f"{path}: vision_config.width.sam_vit_b.global_attn_indexes is [2, 5], "
        f"should be [1] as sam.global_layers of {TINY.name}: {remedy}",
        f"{path}: vision_config.width.clip-l-14-224.heads is missing, "
        f"should be 2 as clip.heads of {TINY.name}: {remedy}",
    ]


@pytest.mark.parametrize(
    ("content", "stands"),
    [("{", "is not JSON ("), (b"\xff\xfe{", "is not JSON ("), ("[]", "is a JSON list, should be an object")],
)
def test_a_config_that_is_no_json_object_is_refused(snapshot, content, stands):
    (snapshot / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    (line,) = refusal(snapshot)
    assert line.startswith(f"{snapshot / 'config.json'} {stands}")
    assert line.endswith("download it again")


def test_a_snapshot_without_config_is_refused(snapshot):
    (snapshot / "config.json").unlink()
    assert refusal(snapshot) == [
        f"{snapshot / 'config.json'} cannot be read (No such file or directory): a snapshot needs this file"
    ]


def test_what_is_no_folder_is_refused(snapshot):
    remedy = "give the folder of a local snapshot"
    none, file = snapshot / "none", snapshot / "config.json"
    assert refusal(none) == [f"checkpoint {none} does not exist: {remedy}"]
    assert refusal(file) == [f"checkpoint {file} is not a folder: {remedy}"]


def test_weights_that_transformers_would_make_up_are_refused(snapshot, tensors, monkeypatch):
    """Its table, forwards and backwards, should agree; this is what happens the day it does not."""
    write(snapshot, {name: tensor for name, tensor in tensors.items() if name != NORM})
    shapes = dict(checkpoint.expected(TINY))
    del shapes[NORM]
    monkeypatch.setattr(checkpoint, "expected", lambda _: shapes)
    assert refusal(snapshot) == [
        f"{snapshot}: transformers did not load model.language_model.norm.weight: use the release this project names"
    ]


def test_a_shard_without_its_index_is_refused_by_both_names(snapshot):
    for file in (HEAD, snapshot_files.INDEX):
        (snapshot / file).unlink()
    assert refusal(snapshot) == [
        f"{snapshot} holds {LAST} without model.safetensors.index.json, which says where each tensor lies: "
        "download the index as well"
    ]
