"""The dimensions of a model: every layer takes its sizes from here."""

from __future__ import annotations

from dataclasses import dataclass

from .geometry import TILING, Tiling

ROPE = ("halves", "pairs")
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
class PatchEncoder:
    """A vision transformer over the patches of a page at its own resolution; `merge`² patches become an image token.

    Patches of a page see one another. Queries and keys turn by the patch's row and column.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    patch: int  # pixels
    frames: int  # that a page is repeated as: patches may be made for videos
    channels: int
    norm: str  # rms_norm or layer_norm, before attention, MLP and merger
    head_norms: bool  # queries and keys of each head have an RMS norm of their own
    joined_qkv: bool  # one product for queries, keys and values
    gated_mlp: bool  # down(silu(gate x) · up x), else fc2(gelu(fc1 x))
    position_side: int  # trained positions along a side of a table, which is resized to the page; 0: no table
    merge: int  # patches along a side of an image token
    merger: str  # convolution, then a gated MLP; or mlp, over patches that lie side by side, page by page
    returns_scores: bool  # eager attention's probabilities of all pages live as long as their block
    nested: bool  # the class holds the embedded patches until the last norm, and drops the tables of angles before it

    @property
    def has_table(self) -> bool:
        """Whether positions are learned too."""
        return self.position_side > 0

    @property
    def tile(self) -> int:
        """Pixels along a side of an image token."""
        return self.patch * self.merge

    @property
    def pixels(self) -> int:
        """Elements of a patch."""
        return self.channels * self.frames * self.patch**2


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder whose first `dense_layers` have dense MLPs, and the others experts, if it has some."""

    width: int
    layers: int
    dense_layers: int
    heads: int
    kv_heads: int
    dense_width: int
    experts: int  # 0 of a decoder whose layers are all dense, and so the next three
    experts_per_token: int
    shared_experts: int
    expert_width: int
    vocabulary: int
    max_positions: int
    prefill_experts: str  # how prefill runs the routed experts: grouped_mm or batched_mm
    decode_experts: str  # how decode runs them
    window: int | None = None  # new tokens that a step sees, its own included, beside its whole prompt; None: all
    head_dim: int | None = None  # elements of a head; None: width / heads
    rope: str = "halves"  # which elements of a head turn together: its halves, or pairs of neighbours
    rope_sections: tuple[int, ...] = ()  # angles by time, row and column of a token; empty: all by one position
    joined_gate_up: bool = False  # one product for both halves of a dense MLP
    late_norms: bool = False  # results of attention and MLP are normalised too, before they are added

    @property
    def dim(self) -> int:
        """Elements of a head."""
        return self.head_dim or self.width // self.heads


@dataclass(frozen=True, slots=True)
class Architecture:
    """All dimensions of a model; `name` is also the name of the folder with its baselines.

    SAM's features go through CLIP, or through an encoder with queries: the other one is None. A model that reads
    pages at their own resolution has a patch encoder instead of all three.
    """

    name: str
    dtype: str
    sam: Sam | None
    clip: Clip | None
    decoder: Decoder
    query_encoder: QueryEncoder | None = None
    patch_encoder: PatchEncoder | None = None
    tiling: Tiling = TILING
    most_crops: int = 9  # into which its own processor cuts a page
    joins_pages: bool = False  # a prompt may hold several pages, in a mode without crops

    @property
    def with_sam(self) -> Sam:
        """SAM, of a model that is known to have it."""
        assert self.sam is not None, f"{self.name} has no SAM"
        return self.sam

    @property
    def channels(self) -> int:
        """Channels of a page's pixels, in all frames that it is repeated as."""
        encoder = self.patch_encoder
        return encoder.channels * encoder.frames if encoder else self.with_sam.channels

    @property
    def with_clip(self) -> Clip:
        """CLIP, of a model that is known to have it."""
        assert self.clip is not None, f"{self.name} has no CLIP"
        return self.clip
