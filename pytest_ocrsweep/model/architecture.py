"""The dimensions of a DeepSeek-OCR model: the only place where a layer's size can come from."""

from __future__ import annotations

from dataclasses import dataclass

DTYPES = ("bf16", "fp16")  # both two bytes; the vendor keeps norms, softmax and router in float32 itself


@dataclass(frozen=True, slots=True)
class Sam:
    """SAM-B image encoder: windowed and global attention blocks, a neck, two strided convolutions."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    window: int
    global_layers: tuple[int, ...]
    patch: int
    channels: int
    image_side: int  # pixels; the position tables were trained at this size
    neck_width: int
    downsample_widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """CLIP-L encoder, fed by SAM's features in place of its own patch embedding."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    patch: int
    image_side: int  # pixels; (image_side / patch)² + 1 trained positions
    channels: int  # of the patch embedding that the checkpoint holds and nothing uses

    @property
    def unused_patch_embedding(self) -> int:
        """Parameters of that patch embedding: resident in no stage, since SAM's features take its place."""
        return self.width * self.channels * self.patch**2


@dataclass(frozen=True, slots=True)
class Decoder:
    """DeepSeek-V2 style decoder: `dense_layers` dense MLPs first, mixtures of experts after."""

    width: int
    layers: int
    dense_layers: int
    heads: int
    kv_heads: int
    dense_width: int
    experts: int
    experts_per_token: int
    shared_experts: int
    expert_width: int
    vocabulary: int
    max_positions: int
    prefill_experts: str  # how the vendor runs the routed experts: grouped_mm or batched_mm
    decode_experts: str

    def experts_at(self, stage: str) -> str:
        """How they run at a stage."""
        return self.decode_experts if stage == "decode" else self.prefill_experts


@dataclass(frozen=True, slots=True)
class Architecture:
    """A whole model; `name` is the folder of its baselines."""

    name: str
    dtype: str
    sam: Sam
    clip: Clip
    decoder: Decoder
