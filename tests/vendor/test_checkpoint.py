"""A snapshot in DeepSeek-OCR's original layout loads to the bit, or is refused with a line for each problem."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the vendor model needs the extra [vendor]")

from safetensors.torch import save_file  # noqa: E402  comes with transformers

from pytest_ocrsweep import CropGrid, Workload, load_model  # noqa: E402
from pytest_ocrsweep.vendor_model import build, checkpoint, forward, snapshot_files  # noqa: E402

TINY = load_model("deepseek-ocr-tiny").architecture
HEAD, LAST = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
LM_HEAD, NORM = "lm_head.weight", "model.norm.weight"
UNUSED = "model.vision_model.embeddings.patch_embedding.weight"

# From transformers' names to those of DeepSeek's modules (deepencoder/sam_vary_sdpa.py, clip_sdpa.py), by hand:
# a check on transformers' own table, which is what loads them.
ORIGINAL = (
    (r"\.vision_tower\.sam_encoder\.layers\.(\d+)\.layer_norm", r".sam_model.blocks.\1.norm"),
    (r"\.vision_tower\.sam_encoder\.layers\.", ".sam_model.blocks."),
    (r"\.vision_tower\.sam_encoder\.patch_embed\.projection", ".sam_model.patch_embed.proj"),
    (r"\.vision_tower\.sam_encoder\.neck\.conv1", ".sam_model.neck.0"),
    (r"\.vision_tower\.sam_encoder\.neck\.layer_norm1", ".sam_model.neck.1"),
    (r"\.vision_tower\.sam_encoder\.neck\.conv2", ".sam_model.neck.2"),
    (r"\.vision_tower\.sam_encoder\.neck\.layer_norm2", ".sam_model.neck.3"),
    (r"\.vision_tower\.sam_encoder\.proj\.conv1", ".sam_model.net_2"),
    (r"\.vision_tower\.sam_encoder\.proj\.conv2", ".sam_model.net_3"),
    (r"\.vision_tower\.sam_encoder\.", ".sam_model."),
    (r"\.vision_tower\.vision_encoder\.encoder\.", ".vision_model.transformer."),
    (r"\.vision_tower\.vision_encoder\.", ".vision_model."),
    (r"\.multi_modal_projector\.", ".projector.layers."),
    (r"\.view_separator", ".view_seperator"),
    (r"\.language_model\.", "."),
)


def written_config() -> dict[str, object]:
    """As DeepSeek-OCR's config.json lays it out, with the tiny model's numbers."""
    sam, clip, decoder = TINY.sam, TINY.clip, TINY.decoder
    return {
        "architectures": ["DeepseekOCRForCausalLM"],
        "auto_map": {"AutoModel": "modeling_deepseekocr.DeepseekOCRForCausalLM"},
        "model_type": "deepseek_vl_v2",
        "language_config": {
            "hidden_size": decoder.width,
            "num_hidden_layers": decoder.layers,
            "first_k_dense_replace": decoder.dense_layers,
            "num_attention_heads": decoder.heads,
            "num_key_value_heads": decoder.kv_heads,
            "intermediate_size": decoder.dense_width,
            "moe_intermediate_size": decoder.expert_width,
            "n_routed_experts": decoder.experts,
            "num_experts_per_tok": decoder.experts_per_token,
            "n_shared_experts": decoder.shared_experts,
            "vocab_size": decoder.vocabulary,
            "max_position_embeddings": 8192,
            "use_mla": False,
        },
        "vision_config": {
            "image_size": sam.image_side,
            "mlp_ratio": 3.7362,
            "width": {
                "clip-l-14-224": {
                    "heads": clip.heads,
                    "image_size": clip.image_side,
                    "layers": clip.layers,
                    "patch_size": clip.patch,
                    "width": clip.width,
                },
                "sam_vit_b": {
                    "downsample_channels": list(sam.downsample_widths),
                    "global_attn_indexes": list(sam.global_layers),
                    "heads": sam.heads,
                    "layers": sam.layers,
                    "width": sam.width,
                },
            },
        },
    }


def original(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One tensor an expert and projection, queries, keys and values of CLIP in one, DeepSeek's names."""
    tensors: dict[str, torch.Tensor] = {}
    for source, tensor in state.items():
        name = source
        for ours, theirs in ORIGINAL:
            name = re.sub(ours, theirs, name)
        if name.endswith("experts.gate_up_proj"):
            for expert, both in enumerate(tensor):
                for part, half in zip(("gate_proj", "up_proj"), both.chunk(2), strict=True):
                    tensors[name.replace("gate_up_proj", f"{expert}.{part}.weight")] = half
        elif name.endswith("experts.down_proj"):
            for expert, down in enumerate(tensor):
                tensors[name.replace("down_proj", f"{expert}.down_proj.weight")] = down
        elif ".vision_model." in name and ".q_proj." in name:
            parts = [state[source.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            tensors[name.replace("q_proj", "qkv_proj")] = torch.cat(parts)
        elif ".vision_model." not in name or not re.search(r"\.[kv]_proj\.", name):
            tensors[name] = tensor
    return {name: tensor.clone() for name, tensor in tensors.items()}


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Two shards and their index."""
    names = sorted(tensors)
    shards = {HEAD: names[: len(names) // 2], LAST: names[len(names) // 2 :]}
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, held in shards.items() for name in held}}
    (folder / snapshot_files.INDEX).write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(written_config()))


@pytest.fixture(scope="module")
def writer():
    """A model whose every weight is random, so that no two tensors can be taken for one another."""
    built = build.build(TINY, "flash", "grouped_mm", "cpu")
    generator = torch.Generator().manual_seed(7)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, mean=0.1, std=0.1, generator=generator)
    return built


@pytest.fixture(scope="module")
def tensors(writer) -> dict[str, torch.Tensor]:
    patch = torch.zeros(TINY.clip.width, TINY.clip.channels, TINY.clip.patch, TINY.clip.patch, dtype=torch.bfloat16)
    return {**original(writer.state_dict()), UNUSED: patch}


@pytest.fixture
def snapshot(tmp_path, tensors):
    """Its folder."""
    folder = tmp_path / "DeepSeek-OCR"
    folder.mkdir()
    write(folder, tensors)
    return folder


def load(folder, attention="flash", experts="grouped_mm") -> checkpoint.LoadedCheckpoint:
    return checkpoint.load(folder, TINY, attention, experts, "cpu")


def logits(model, attention: str = "flash") -> torch.Tensor:
    work = Workload(CropGrid(1, 1), resolution="tiny")
    torch.manual_seed(1)
    like, tokens = model.lm_head.weight, work.context_tokens
    ids = forward.prompt(work, model.config.image_token_id, like.device)
    mask = forward.causal_mask(tokens, tokens, like) if attention == "eager" else None
    with torch.inference_mode():
        return forward.prefill(model, forward.pages(work, like), ids, torch.arange(tokens)[None], mask).logits


def refusal(folder) -> list[str]:
    """Its lines; every one of them names a file or folder and what to do."""
    with pytest.raises(snapshot_files.CheckpointError) as caught:
        load(folder)
    lines = str(caught.value).splitlines()
    assert all(str(folder) in line for line in lines if not line.startswith("..."))
    return lines


def test_a_snapshot_gives_the_logits_of_the_model_that_wrote_it(snapshot, writer):
    loaded = load(snapshot)
    assert torch.equal(logits(loaded.model), logits(writer))
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())


def test_every_tensor_comes_back_to_the_bit(snapshot, writer):
    found, written = load(snapshot).model.state_dict(), writer.state_dict()
    assert found.keys() == written.keys()
    assert all(torch.equal(found[name], written[name]) for name in written)
    assert [t.dtype for t in found.values()] == [t.dtype for t in written.values()]


def test_the_loaded_model_has_the_attention_and_experts_asked_for(snapshot):
    built = build.build(TINY, "eager", "batched_mm", "cpu")
    model = load(snapshot, "eager", "batched_mm").model
    built.load_state_dict(model.state_dict())
    assert model.config.text_config._experts_implementation == "batched_mm"
    assert torch.equal(logits(model, "eager"), logits(built, "eager"))


def test_one_file_without_an_index_loads_as_well(snapshot, tensors, writer):
    for file in (HEAD, LAST, snapshot_files.INDEX):
        (snapshot / file).unlink()
    save_file(tensors, snapshot / snapshot_files.WEIGHTS)
    assert torch.equal(logits(load(snapshot).model), logits(writer))


def test_nothing_is_looked_up_on_the_network(snapshot, monkeypatch):
    tried = []

    def refuse(*arguments):
        tried.append(arguments)  # a library may swallow the error
        raise OSError("no network here")

    for way in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, way, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(snapshot)
    assert tried == []


def test_pickles_and_code_beside_the_weights_are_not_touched(snapshot):
    (snapshot / "modeling_deepseekocr.py").write_text("raise AssertionError('remote code was run')")
    (snapshot / "pytorch_model.bin").write_bytes(b"not a pickle")
    (snapshot / "generation_config.json").write_text("not JSON")
    (snapshot / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    load(snapshot)


def test_the_unused_patch_embedding_is_named_and_may_be_absent(snapshot, tensors):
    assert load(snapshot).unused == (UNUSED,)
    write(snapshot, {name: tensor for name, tensor in tensors.items() if name != UNUSED})
    assert load(snapshot).unused == ()


def test_position_ids_are_unused_too(snapshot, tensors):
    buffer = "model.vision_model.embeddings.position_ids"
    write(snapshot, {**tensors, buffer: torch.arange(257)[None]})
    assert load(snapshot).unused == (UNUSED, buffer)


def test_the_original_layout_of_the_whole_model_has_the_published_tensors():
    """DeepSeek-OCR's own index: 2,710 tensors, 293 of CLIP, with the unused patch embedding in both."""
    architecture = load_model("deepseek-ocr").architecture
    shapes = checkpoint.expected(architecture)
    parts = ("model.sam_model.", "model.vision_model.", "model.layers.")
    assert [sum(name.startswith(part) for name in shapes) for part in parts] == [179, 293 - 1, 2231]
    assert len(shapes) == 2710 - 1
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 3_335_504_128


def test_the_layout_written_here_is_the_one_expected(tensors):
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name != UNUSED}
    assert shapes == checkpoint.expected(TINY)


def test_the_digest_tells_weights_apart_and_not_their_files(snapshot, tensors):
    def digest() -> str:
        return snapshot_files.digest(snapshot_files.tensors(snapshot))

    first = digest()
    assert re.fullmatch("[0-9a-f]{64}", first)
    save_file(tensors, snapshot / snapshot_files.WEIGHTS)
    assert digest() == first
    save_file({**tensors, NORM: tensors[NORM] + 1}, snapshot / snapshot_files.WEIGHTS)
    assert digest() != first


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


def test_a_shard_without_its_index_is_refused_by_both_names(snapshot):
    for file in (HEAD, snapshot_files.INDEX):
        (snapshot / file).unlink()
    assert refusal(snapshot) == [
        f"{snapshot} holds {LAST} without model.safetensors.index.json, which says where each tensor lies: "
        "download the index as well"
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
