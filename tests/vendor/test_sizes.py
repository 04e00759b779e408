"""The sizes of the default model are those that the reference model's own configuration has."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.model.architecture import Clip, Decoder, Sam
from pytest_ocrsweep.sweep.config import compose


def test_the_sizes_are_the_vendors_defaults() -> None:
    pytest.importorskip("transformers", minversion="5.23")
    from transformers.models.unlimited_ocr.configuration_unlimited_ocr import (
        UnlimitedOcrSamVisionConfig,
        UnlimitedOcrTextConfig,
        UnlimitedOcrVisionEncoderConfig,
    )

    s, c, d = UnlimitedOcrSamVisionConfig(), UnlimitedOcrVisionEncoderConfig(), UnlimitedOcrTextConfig()
    model = compose().model
    assert model.sam == Sam(
        s.hidden_size, s.num_hidden_layers, s.num_attention_heads, s.mlp_dim, s.window_size,
        tuple(s.global_attn_indexes), s.patch_size, s.num_channels, s.image_size, s.output_channels,
        tuple(s.downsample_channels),
    )  # fmt: skip
    assert model.clip == Clip(
        c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.intermediate_size, c.patch_size,
        c.image_size, c.num_channels,
    )  # fmt: skip
    assert model.decoder == Decoder(
        d.hidden_size, d.num_hidden_layers, d.mlp_layer_types.count("dense"), d.num_attention_heads,
        d.num_key_value_heads, d.intermediate_size, d.n_routed_experts, d.num_experts_per_tok,
        d.n_shared_experts, d.moe_intermediate_size, d.vocab_size, 8192,  # as in DeepSeek-OCR's own
        prefill_experts="grouped_mm", decode_experts="batched_mm",
    )  # fmt: skip
