"""The reference model as it is built on a CPU: weights, dtype, attention and experts."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep import load_model  # noqa: E402
from pytest_ocrsweep.vendor_model import build  # noqa: E402

TINY = load_model("deepseek-ocr-tiny").architecture


def built(attention: str = "flash", experts: str = "grouped_mm", seed: int = 0):
    return build.build(TINY, attention, experts, "cpu", seed)


@pytest.fixture
def model():
    return built()


def test_a_seed_gives_the_same_weights_every_time(model):
    again = built("eager", "batched_mm").state_dict()
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_another_seed_gives_other_weights(model):
    other = dict(built(seed=1).named_parameters())
    same = [name for name, parameter in model.named_parameters() if torch.equal(parameter, other[name])]
    assert same
    assert all("norm" in name and name.endswith("weight") for name in same)


def test_every_parameter_is_random_but_the_norms_weights_which_are_one(model):
    """What is left as it was allocated is none of these; zeros a GPU runs faster."""
    for name, parameter in model.named_parameters():
        values = parameter.double()
        if "norm" in name and name.endswith("weight"):
            assert torch.equal(parameter, torch.ones_like(parameter)), name
        else:
            error = 0.02 * 5 / (2 * values.numel()) ** 0.5
            assert values.std().item() == pytest.approx(0.02, abs=error), name
            assert abs(values.mean().item()) < 0.02 * 5 / values.numel() ** 0.5, name


def test_everything_is_in_the_models_dtype_and_nothing_is_left_undefined(model):
    half = build.build(replace(TINY, dtype="fp16"), "flash", "grouped_mm", "cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_it_is_for_inference(model):
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_attention_and_experts_are_those_asked_for():
    model = built("eager", "batched_mm")
    assert model.config.text_config._attn_implementation == "eager"
    assert model.config.text_config._experts_implementation == "batched_mm"
    assert built("flash").config.text_config._attn_implementation == "sdpa"
    assert build.use(model, "grouped_mm").config.text_config._experts_implementation == "grouped_mm"
