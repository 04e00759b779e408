"""The dimensions of a DeepSeek-OCR model: every layer takes its sizes from here."""

from __future__ import annotations

from dataclasses import dataclass

from .geometry import TILING, Tiling

DTYPES = ("bf16", "fp16")  # both two bytes; norms, softmax and router run in float32 with either


@dataclass(frozen=True, slots=True)
class Sam:
    """The SAM-B image encoder: windowed and global attention blocks, a neck, two strided convolutions."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    window: int
    global_layers: tuple[int, ...]
    patch: int
    channels: int
    image_side: int  # pixels of the views that the position tables were trained on
    neck_width: int
    downsample_widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """The CLIP-L encoder, which reads SAM's features instead of its own patch embedding."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    patch: int
    image_side: int  # pixels; (image_side / patch)² + 1 trained positions
    channels: int  # of the patch embedding, which is in the checkpoint and never used

    @property
    def unused_patch_embedding(self) -> int:
        """Parameters of the patch embedding: no stage loads them, since SAM's features replace it."""
        return self.width * self.channels * self.patch**2


@dataclass(frozen=True, slots=True)
class QueryEncoder:
    """A decoder as encoder, after SAM: it reads SAM's features and as many learned queries, and gives the queries.

    Features see all features; a query sees them and the queries up to itself. Layers are Qwen2's: grouped queries with
    biases, rotary positions, SwiGLU, RMS norms.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp_width: int
    query_sides: tuple[int, ...]  # pixels of the views that have a table of queries each
    rope_theta: int


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder in the style of DeepSeek-V2: the first `dense_layers` have dense MLPs, the others experts."""

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
    prefill_experts: str  # how prefill runs the routed experts: grouped_mm or batched_mm
    decode_experts: str  # how decode runs them
    window: int | None = None  # new tokens that a step sees, its own included, beside its whole prompt; None: all


@dataclass(frozen=True, slots=True)
class Architecture:
    """All dimensions of a model; `name` is also the name of the folder with its baselines.

    SAM's features go through CLIP, or through an encoder with queries: the other one is None.
    """

    name: str
    dtype: str
    sam: Sam
    clip: Clip | None
    decoder: Decoder
    query_encoder: QueryEncoder | None = None
    tiling: Tiling = TILING
    most_crops: int = 9  # into which its own processor cuts a page
    joins_pages: bool = False  # a prompt may hold several pages, in a mode without crops

    @property
    def with_clip(self) -> Clip:
        """CLIP, of a model that is known to have it."""
        assert self.clip is not None, f"{self.name} has no CLIP"
        return self.clip
