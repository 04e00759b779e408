"""Weights that are drawn for an engine are like real ones: norms of ones, biases of zeros, the rest normal."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.engines.runner_vllm.model import DEVIATION, draw, weight_bytes

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")


@pytest.fixture(scope="module")
def layers():
    torch.manual_seed(0)
    made = torch.nn.ModuleDict({"norm": torch.nn.LayerNorm(64), "linear": torch.nn.Linear(64, 512)})
    made.register_parameter("newline", torch.nn.Parameter(torch.ones(4096)))
    with torch.no_grad():
        for name, weights in made.named_parameters():
            draw(name, weights)
    return made


def test_a_norm_has_ones_and_a_bias_has_zeros(layers) -> None:
    assert layers["norm"].weight.unique().tolist() == [1]
    assert layers["norm"].bias.unique().tolist() == layers["linear"].bias.unique().tolist() == [0]


@pytest.mark.parametrize("name", ["linear.weight", "newline"])
def test_all_else_is_normal(name: str, layers) -> None:
    weights = layers.get_parameter(name)
    assert weights.std().item() == pytest.approx(DEVIATION, rel=0.05)
    assert abs(weights.mean().item()) < 0.1 * DEVIATION


def test_the_bytes_of_weights_are_those_of_all_parameters(layers) -> None:
    assert weight_bytes(layers) == 4 * (64 + 64 + 64 * 512 + 512 + 4096)
