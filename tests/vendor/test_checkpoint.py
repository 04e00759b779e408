"""A snapshot in DeepSeek-OCR's original layout loads to the bit."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from safetensors.torch import save_file  # noqa: E402  comes with transformers
from snapshots import (  # noqa: E402
    HEAD,
    LAST,
    NORM,
    ORIGINAL_2,
    TINY,
    TINY_2,
    UNUSED,
    load,
    original,
    write,
    written_config_2,
)

from pytest_ocrsweep import CropGrid, Workload, load_model  # noqa: E402
from pytest_ocrsweep.errors import CheckpointError  # noqa: E402
from pytest_ocrsweep.vendor_model import build, checkpoint, forward, snapshot_files  # noqa: E402


def logits(model, attention: str = "flash") -> torch.Tensor:
    work = Workload(CropGrid(1, 1), resolution="tiny")
    torch.manual_seed(1)
    like, tokens = model.lm_head.weight, work.context_tokens
    ids = forward.prompt(work, model.config.image_token_id, like.device)
    mask = forward.causal_mask(tokens, tokens, like) if attention == "eager" else None
    with torch.inference_mode():
        return forward.prefill(model, forward.pages(work, like), ids, torch.arange(tokens)[None], mask).logits


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


def test_a_snapshot_of_deepseek_ocr_2_comes_back_to_the_bit_and_under_its_own_name_alone(tmp_path, snapshot):
    written = build.build(TINY_2, "flash", "grouped_mm", "cpu", seed=3)
    folder = tmp_path / "DeepSeek-OCR-2"
    folder.mkdir()
    write(folder, original(written.state_dict(), ORIGINAL_2), written_config_2())
    loaded = checkpoint.load(folder, TINY_2, "eager", "batched_mm", "cpu")
    found = loaded.model.state_dict()
    assert loaded.unused == ()
    assert all(torch.equal(found[name], tensor) for name, tensor in written.state_dict().items())
    with pytest.raises(CheckpointError, match=r"architectures is \['DeepseekOCR2ForCausalLM'\]"):
        load(folder)
    with pytest.raises(CheckpointError, match=r"architectures is \['DeepseekOCRForCausalLM'\]"):
        checkpoint.load(snapshot, TINY_2, "flash", "grouped_mm", "cpu")


def test_the_original_layout_of_deepseek_ocr_2_has_its_tensors():
    """The keys of `model.qwen2_model`: 24 layers of 12 tensors, the last norm, two tables of queries."""
    shapes = checkpoint.expected(load_model("deepseek-ocr-2").architecture)
    assert sum(name.startswith("model.qwen2_model.") for name in shapes) == 24 * 12 + 1 + 2
    assert shapes["model.qwen2_model.query_768.weight"] == (144, 896)
    assert shapes["model.qwen2_model.query_1024.weight"] == (256, 896)
    assert shapes["model.qwen2_model.model.model.layers.23.self_attn.k_proj.bias"] == (128,)
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 3_389_119_360


def test_a_snapshot_of_a_model_with_a_window_loads_under_its_own_name_alone(snapshot, writer):
    windowed = replace(TINY, name="unlimited-ocr-tiny", decoder=replace(TINY.decoder, window=4))
    with pytest.raises(CheckpointError, match="sliding_window is missing, should be 4 as"):
        checkpoint.load(snapshot, windowed, "flash", "grouped_mm", "cpu")
    config = json.loads((snapshot / "config.json").read_text())
    config |= {"model_type": "unlimited-ocr", "architectures": ["UnlimitedOCRForCausalLM"], "sliding_window": 4}
    (snapshot / "config.json").write_text(json.dumps(config))
    loaded = checkpoint.load(snapshot, windowed, "flash", "grouped_mm", "cpu").model
    assert torch.equal(logits(loaded), logits(writer))  # a prefill has no window
    assert forward.window(loaded) == 4
    with pytest.raises(CheckpointError, match="sliding_window is 4, should be null as"):
        load(snapshot)
