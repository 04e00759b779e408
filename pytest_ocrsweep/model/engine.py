"""Engines: what runs a model decides which work it does. An engine is a set of switches over the same layers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Host:
    """What an engine takes beside its kernels, and of a machine: measured, where a number is given."""

    launch_ns: float | None  # to launch one kernel of the vision tower; None: the tower is a graph, which costs nothing
    step_ns: float | None  # between the kernels of one step and those of the next; None: nothing
    render_view_ns: float | None  # of one core, to make the global view of a page; None: not known
    render_crop_ns: float | None  # and each crop
    memory_percent: float  # of a device's memory that it takes
    most_pages: int | None  # that it works on at once
    spread: float  # how many times more or less nine of ten measured times were than its plan
    admission_ns: float | None = None  # to admit a page: to schedule it; None: nothing
    upload_ns_per_mb: float | None = None  # to copy a page's pixels, four bytes each, to the device; None: nothing
    eager_step_ns: float | None = None  # to launch the decoder's kernels in a step that no graph holds; None: nothing


@dataclass(frozen=True, slots=True)
class Start:
    """How a run starts an engine in an interpreter of its own; None leaves the engine's default."""

    weights: str  # random or real
    dtype: str | None  # None: the model's
    encoder_graphs: bool  # the vision tower as CUDA graphs
    enforce_eager: bool  # no CUDA graphs at all
    kv_cache_bytes: int | None


@dataclass(frozen=True, slots=True)
class Engine:
    """The work that an engine does otherwise. To add one, add a file to conf/engine."""

    name: str
    attentions: tuple[str, ...]  # those of ATTENTION that it has
    precisions: tuple[str, ...]  # those of conf/precision that it can run this model in; `any`: it is counted in each
    most_crops: int | None  # into which it cuts a page; None: as many as the model's own processor
    most_positions: int | None  # of a page, new tokens included; None: as many as the model has
    most_step_tokens: int | None  # of all pages together, in one prefill; None: no limit
    captured_batches: tuple[int, ...]  # the rows of a step, or of a prompt in a buffer, are padded to these; (): never
    kv_dtype: str  # of KV_BYTES: how the KV cache stores an element
    kv_block_tokens: int | None  # the KV cache lies in blocks of so many tokens; None: one tensor, copied at each step
    last_logits: bool  # logits of each page's last token alone
    pages_alone: bool  # the pages of a batch go through the vision tower one by one, as in vLLM's loop
    original_sam: bool  # SAM as DeepSeek's own code has it: the bias is a view, the neck's norms are written out
    original_tower: bool = field(
        default=False, kw_only=True
    )  # pages, and crops before the view, as in DeepSeek's own code, which joins CLIP's q, k and v
    original_clip: bool = field(
        default=False, kw_only=True
    )  # CLIP's positions are looked up before they are resized, as in DeepSeek's own code
    padded_bias: bool = field(
        default=False, kw_only=True
    )  # SAM's attention is PyTorch's memory-efficient one, which pads a bias whose rows are not a multiple of 8
    grouped_router: bool = field(
        default=False, kw_only=True
    )  # fused experts are chosen within their best group, in six kernels
    linear_patches: bool = field(default=False, kw_only=True)  # patches are copied side by side, and then a product
    indexed_places: bool = field(
        default=False, kw_only=True
    )  # image tokens are written at indices that the host made, where the prompt's embeddings lie in a buffer
    looped_experts: bool = field(
        default=False, kw_only=True
    )  # one expert after the other, each on its own tokens, with its weights where they lie
    product_rope: bool = field(
        default=False, kw_only=True
    )  # each layer makes its own rotary tables, by a product of frequencies and positions
    keeps_first_keys: bool = field(
        default=False, kw_only=True
    )  # the keys and values of a prompt are the cache: only steps append to it
    float_logits: bool = field(default=False, kw_only=True)  # logits are cast to float32
    captured_views: tuple[int, ...] = field(
        default=(), kw_only=True
    )  # encoder graphs: views are padded to the next of these; (): it has no such graphs
    captured_crops: tuple[int, ...] = field(default=(), kw_only=True)  # and crops
    fp8_products: bool = field(
        default=False, kw_only=True, metadata={"of": "the precision"}
    )  # activations are quantised for the decoder's linear layers, which multiply 8-bit floats
    fused_norms: bool  # a norm and the sums before it are one kernel
    fused_rope: bool  # queries and keys are rotated in one kernel, by a table of all positions
    fused_qkv: bool  # CLIP's and the decoder's queries, keys and values are one product
    fused_gate_up: bool  # the gate and the other half of an MLP are one product, their activation one kernel
    fused_experts: bool  # each product reads the rows and weights of its experts where they lie
    python: str | None  # an interpreter that has it, which a run starts to time it
    folder: str | None  # of the model that it serves then
    url: str | None  # or a server with the OpenAI protocol that runs already
    start: Start
    host: Host

    @property
    def fuses(self) -> list[str]:
        """The switches of what only an engine with fused attention has."""
        return [name for name in FUSED if getattr(self, name)]

    @property
    def quantises(self) -> bool:
        """Whether its layers are counted with products of 8-bit floats too."""
        return self.fused_norms and self.fused_qkv and self.fused_gate_up and self.fused_experts

    @property
    def looks_alone(self) -> bool:
        """Whether pages go through the vision tower one by one."""
        return self.pages_alone or self.original_tower

    @property
    def joins_clip(self) -> bool:
        """Whether CLIP's queries, keys and values are one product."""
        return self.fused_qkv or self.original_tower

    @property
    def pads_prompts(self) -> bool:
        """Whether the rows of a prefill are padded to a captured batch."""
        return self.indexed_places and self.last_logits and bool(self.captured_batches)

    @property
    def caches_as_the_reference(self) -> bool:
        """Whether its KV cache is one tensor for all keys, made anew at each step."""
        return self.kv_block_tokens is None and not self.keeps_first_keys

    @property
    def is_reference(self) -> bool:
        """Whether it is the reference model's forward."""
        return self.name == REFERENCE.name

    @property
    def kv_bytes(self) -> int:
        """Bytes of one element of the KV cache."""
        return KV_BYTES[self.kv_dtype]

    def pages_a_prefill(self, context_tokens: int) -> int | None:
        """The most pages of so many tokens that one prefill takes; None without a limit."""
        return None if self.most_step_tokens is None else self.most_step_tokens // context_tokens

    def step_rows(self, batch: int) -> int:
        """The rows that `batch` of them are padded to: the next captured batch; beyond the last one, none are added."""
        return padded(batch, self.captured_batches)


def padded(count: int, captured: Sequence[int]) -> int:
    """The smallest of the captured sizes, which are in order, that holds so many; beyond the last one, as many.

    None are padded to none.
    """
    place = bisect_left(captured, count)
    return captured[place] if place < len(captured) and count else count


ANY = "any"
KV_BYTES = {"half": 2, "fp8": 1}
FUSED = (
    "fused_norms",
    "fused_rope",
    "fused_qkv",
    "fused_gate_up",
    "fused_experts",
    "original_sam",
    "original_tower",
    "original_clip",
    "padded_bias",
    "grouped_router",
    "linear_patches",
    "indexed_places",
    "looped_experts",
    "product_rope",
    "keeps_first_keys",
    "float_logits",
)
REFERENCE = Engine(
    name="transformers",
    attentions=("eager", "flash"),
    precisions=(ANY,),
    most_crops=None,
    most_positions=None,
    most_step_tokens=None,
    captured_batches=(),
    kv_dtype="half",
    kv_block_tokens=None,
    last_logits=False,
    pages_alone=False,
    original_sam=False,
    fused_norms=False,
    fused_rope=False,
    fused_qkv=False,
    fused_gate_up=False,
    fused_experts=False,
    python=None,
    folder=None,
    url=None,
    start=Start(weights="random", dtype=None, encoder_graphs=False, enforce_eager=False, kv_cache_bytes=None),
    host=Host(
        launch_ns=None,
        step_ns=None,
        render_view_ns=None,
        render_crop_ns=None,
        memory_percent=100.0,
        most_pages=None,
        spread=1.0,
    ),
)
