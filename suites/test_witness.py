"""The independent witness: our numbers equal the vendor model's own, counted on the meta device, as integers."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import isqrt

import pytest

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.geometry import RESOLUTIONS
from pytest_ocrsweep.model.layers.moe import EXPERTS
from pytest_ocrsweep.model.stages import STAGES

pytestmark = pytest.mark.usefixtures("vendor")

GRIDS = [*CropGrid.upto(9), CropGrid(10, 10), CropGrid(13, 20), CropGrid(15, 26)]
DEFAULT_MODE = next(iter(RESOLUTIONS))
MODES = [
    Workload(CropGrid(2, 3) if mode.crop_side else CropGrid(1, 1), resolution=name)
    for name, mode in RESOLUTIONS.items()
]
WORKLOADS = {f"{work.resolution}-{work.grid}": work for work in [*map(Workload, GRIDS), *MODES]}
# One page without crops, one with, a huge one, and modes with smaller and larger views: the others take minutes.
FEW = {
    ("gundam-1x1", 1, "flash"),
    ("gundam-2x3", 1, "flash"),
    ("gundam-2x3", 4, "eager"),
    ("gundam-15x26", 1, "flash"),
    ("tiny-1x1", 1, "eager"),
    ("gundam-m-2x3", 1, "flash"),
}
OTHERS = ["gundam-1x1", "gundam-3x1", "gundam-2x3", "gundam-10x10", "large-1x1", "tiny-1x1", "gundam-m-2x3"]
FEW_OTHERS = {
    ("gundam-1x1", 1, "eager"),
    ("gundam-3x1", 4, "flash"),
    ("gundam-2x3", 1, "flash"),
    ("gundam-2x3", 4, "eager"),
    ("gundam-10x10", 1, "flash"),
    ("large-1x1", 1, "eager"),
    ("tiny-1x1", 4, "flash"),
    ("gundam-m-2x3", 1, "eager"),
}
FEW_LAYERS = {  # each model with each attention, and with each way to run experts
    ("deepseek-ocr", "flash", "grouped_mm"),
    ("deepseek-ocr", "eager", "batched_mm"),
    ("deepseek-ocr-tiny", "flash", "batched_mm"),
    ("deepseek-ocr-tiny", "eager", "grouped_mm"),
}


def slow_unless(kept: bool, *values):
    return pytest.param(*values, marks=() if kept else pytest.mark.slow)


@pytest.fixture(scope="session")
def vendor(request):
    """Skips where the vendor's model may not be touched, or is not installed."""
    if request.config.getoption("ocrsweep_analytic_only"):
        pytest.skip("--ocrsweep-analytic-only: the vendor's model is not touched")
    pytest.importorskip("transformers.models.unlimited_ocr", reason="needs the vendor extra: pip install .[vendor]")


def cut(model: Model, work: Workload) -> Workload:
    """The pages as the model cuts them; a mode that it does not have is no case of it.

    For a model that reads pages at their own resolution, a crop stands for as many tiles as its smallest page has.
    """
    tiling = model.architecture.tiling
    native = tiling.resolutions[tiling.modes[0]].native
    if native is not None and work.resolution == DEFAULT_MODE:
        side = isqrt(native.least_tiles - 1) + 1
        grid = CropGrid(work.grid.rows * side, work.grid.columns * side)
        if grid.crops > native.most_tiles:
            pytest.skip(f"{model.name} makes no page of {grid}")
        return replace(work, grid=grid).cut_by(tiling)
    if work.resolution not in tiling.modes:
        pytest.skip(f"{model.name} has no mode {work.resolution}")
    return work.cut_by(tiling)


def with_experts(model: Model, experts: str) -> Model:
    """The same model, its routed experts run the other way in both stages."""
    decoder = replace(model.architecture.decoder, prefill_experts=experts, decode_experts=experts)
    return Model(replace(model.architecture, decoder=decoder))


@pytest.mark.parametrize(
    ("name", "attention", "experts"),
    [
        slow_unless(case in FEW_LAYERS, *case)
        for case in product(["deepseek-ocr", "deepseek-ocr-tiny"], ATTENTION, EXPERTS)
    ],
)
def test_every_layer_type_counts_what_the_vendors_does(name, attention, experts):
    from pytest_ocrsweep.vendor_model import witness
    from pytest_ocrsweep.vendor_model.layer_calls import layer_calls

    model = with_experts(load_model(name), experts).architecture
    seen = set()
    for layer in layer_calls(model, attention, experts):
        ours, theirs = witness.analytic(layer.kernels), witness.counted(layer.call, model.decoder.experts_per_token)
        assert dict(zip(witness.NUMBERS, ours, strict=True)) == dict(zip(witness.NUMBERS, theirs, strict=True)), (
            layer.name
        )
        seen.add(type(layer.module).__name__)
    assert len(seen) >= 20, sorted(seen)


@pytest.mark.parametrize(
    ("name", "batch", "attention"),
    [slow_unless(case in FEW, *case) for case in product(WORKLOADS, (1, 4), ATTENTION)],
)
def test_every_stage_counts_what_flopcountermode_does(ocrsweep_model, name, batch, attention):
    from pytest_ocrsweep.vendor_model.stage_calls import StageCall, steps_flops

    work = cut(ocrsweep_model, replace(WORKLOADS[name], batch=batch))
    vision = None
    for experts in EXPERTS:
        model = with_experts(ocrsweep_model, experts)

        def counted(stage, model=model.architecture, experts=experts):
            return StageCall(model, stage, work, attention, experts).tensor_flops()

        vision = counted("vision") if vision is None else vision  # no expert has a part in it
        theirs = {
            "vision": vision,
            "prefill": vision + counted("language"),  # as one call: the next test
            "decode": steps_flops(model.architecture, "decode", work, attention, experts),
        }
        assert {stage: model.ledger(stage, work, attention).total().tensor_flops for stage in STAGES} == theirs


@pytest.mark.parametrize(
    ("name", "batch", "attention"),
    [slow_unless(case in FEW_OTHERS, *case) for case in product(OTHERS, (1, 4), ATTENTION)],
)
def test_vector_flops_bytes_and_peak_equal_the_dispatchers(ocrsweep_model, name, batch, attention):
    from pytest_ocrsweep.vendor_model import witness

    work = cut(ocrsweep_model, replace(WORKLOADS[name], batch=batch))
    for stage in STAGES:
        assert witness.other_differences(ocrsweep_model, stage, work, attention) == [0, 0, 0, 0], stage


@pytest.mark.parametrize("attention", [pytest.param("eager", marks=pytest.mark.slow), "flash"])
@pytest.mark.parametrize(
    "work",
    [
        Workload(CropGrid(2, 3), prompt_tokens=2000),
        Workload(CropGrid(1, 1), prompt_tokens=3001, batch=3, resolution="tiny"),
        Workload(CropGrid(1, 7), prompt_tokens=3003, batch=2),
    ],
    ids=lambda work: f"{work.resolution}-{work.grid}-{work.prompt_tokens}",
)
def test_the_peak_of_a_long_prompt_is_the_heads_and_equals_the_dispatchers(ocrsweep_model, work, attention):
    """The head runs when all that only the decoder needed is freed. `flash` on an H100: 757,706,240 for the first."""
    from pytest_ocrsweep.vendor_model import witness

    work = cut(ocrsweep_model, work)
    assert witness.other_differences(ocrsweep_model, "prefill", work, attention) == [0, 0, 0, 0]
    if attention == "flash" and (work.sides.crop_side or 0) < 768:  # SAM needs more for larger crops
        assert ocrsweep_model.ledger("prefill", work, attention).peak_path == "head"


# Below, at and above a window of 128 new tokens.
WINDOWED = {
    "2x3": Workload(CropGrid(2, 3)),
    "1x1": Workload(CropGrid(1, 1)),
    "6x4": Workload(CropGrid(6, 4)),
    "32x1": Workload(CropGrid(32, 1)),
    "3 pages": Workload(CropGrid(1, 1), resolution="base", pages=3),
    "20 pages": Workload(CropGrid(1, 1), resolution="base", pages=20),
}


@pytest.mark.parametrize(
    ("name", "batch", "attention"),
    [slow_unless(case == ("1x1", 4, "flash"), *case) for case in product(WINDOWED, (1, 4), ATTENTION)],
)
def test_unlimited_ocr_counts_what_its_own_code_does(name, batch, attention):
    """Every number of every stage; of a decode, of single steps and of all."""
    from pytest_ocrsweep.vendor_model import witness
    from pytest_ocrsweep.vendor_model.stage_calls import stage_flops

    model, work = load_model("unlimited-ocr"), replace(WINDOWED[name], batch=batch)
    for stage in ("vision", "prefill"):
        theirs = stage_flops(model.architecture, stage, work, attention)
        assert model.ledger(stage, work, attention).total().tensor_flops == theirs
        assert witness.other_differences(model, stage, work, attention) == [0, 0, 0, 0], stage
    for steps in (1, 100, 127, 128, 129, 500):
        all_steps = replace(work, new_tokens=steps)
        theirs = stage_flops(model.architecture, "decode", all_steps, attention)
        assert model.ledger("decode", all_steps, attention).total().tensor_flops == theirs
        assert witness.other_differences(model, "decode", work, attention, steps) == [0, 0, 0, 0], steps


def test_several_pages_in_a_prompt_count_what_its_own_code_does():
    from pytest_ocrsweep.vendor_model import witness

    model = load_model("unlimited-ocr")
    for stage in STAGES:
        assert witness.other_differences(model, stage, WINDOWED["3 pages"], "flash") == [0, 0, 0, 0], stage


@pytest.mark.slow
@pytest.mark.parametrize("attention", ATTENTION)
def test_unlimited_ocr_counts_what_its_own_code_does_at_every_grid_of_its_sweep(attention):
    from pytest_ocrsweep.sweep.config import compose
    from pytest_ocrsweep.sweep.grid_sources import entries
    from pytest_ocrsweep.sweep.made_for import SweptFor
    from pytest_ocrsweep.vendor_model import witness

    model = load_model("unlimited-ocr")
    for entry in entries("vendor", SweptFor.of(compose(["model=unlimited-ocr"]))):
        for stage in STAGES:
            work = Workload(entry.grid)
            assert witness.other_differences(model, stage, work, attention, 1) == [0, 0, 0, 0], (stage, entry.grid)


@pytest.mark.parametrize("batch", [1, 4])
def test_the_cache_of_unlimited_ocr_is_what_its_own_code_stores(batch):
    from pytest_ocrsweep.vendor_model import build, forward

    model = load_model("unlimited-ocr")
    built = build.on_meta(model.architecture, "flash", "grouped_mm")
    for steps in (1, 100, 127, 128, 129, 500):
        work = Workload(CropGrid(2, 3), batch=batch, new_tokens=steps)
        cache = forward.filled_cache(built, batch, work.context_tokens, steps)
        theirs = sum(t.numel() * t.element_size() for layer in cache.layers for t in forward.stored(layer))
        assert model.ledger("decode", work).kv_cache_bytes == theirs
    assert sum(p.numel() for p in built.parameters()) == 3_335_504_128


def test_steps_taken_one_after_the_other_cost_what_each_is_priced():
    """A real sequence on one cache, beyond a window of 4: the other tests make the cache of each step anew."""
    import torch

    from pytest_ocrsweep.vendor_model import build, dispatch_count, forward

    model, work = load_model("deepseek-ocr-tiny", overrides=["model.decoder.window=4"]), Workload("1x1")
    decoder = model.architecture.decoder
    built = build.use(build.build(model.architecture, "flash", decoder.decode_experts, "meta"), decoder.decode_experts)
    past, ids = forward.filled_cache(built, 1, work.context_tokens), torch.zeros(1, 1, dtype=torch.long, device="meta")
    priced = [model.ledger("decode", replace(work, new_tokens=n)) for n in range(1, 12)]
    before = (0, 0, 0)
    for ledger in priced:
        with dispatch_count.counting(decoder.experts_per_token) as counter:
            forward.decode_step(built, ids, ids, past, None)
        total = ledger.total()
        now = (total.vector_flops, total.read_bytes, total.write_bytes)
        counts = counter.counts
        assert (counts.vector_flops, counts.read_bytes, counts.write_bytes) == tuple(
            one - other for one, other in zip(now, before, strict=True)
        )
        stored = sum(t.numel() * t.element_size() for layer in past.layers for t in forward.stored(layer))
        assert stored == ledger.kv_cache_bytes
        before = now


@pytest.mark.parametrize("count", [7, pytest.param(100, marks=pytest.mark.slow)])
def test_single_token_steps_add_up_to_ours(ocrsweep_model, count):
    from pytest_ocrsweep.vendor_model.stage_calls import StageCall

    model, work = ocrsweep_model.architecture, cut(ocrsweep_model, Workload(CropGrid(2, 3), new_tokens=count))
    steps = [StageCall(model, "decode", work, "flash", model.decoder.decode_experts, i) for i in range(1, count + 1)]
    assert sum(step.tensor_flops() for step in steps) == ocrsweep_model.ledger("decode", work).total().tensor_flops


def test_weights_equal_the_vendors_parameters_part_by_part(ocrsweep_model):
    from pytest_ocrsweep.vendor_model import build

    built = build.on_meta(ocrsweep_model.architecture, "flash", "grouped_mm")
    ledger = ocrsweep_model.ledger("prefill", cut(ocrsweep_model, Workload(CropGrid(2, 3))))
    assert ledger.weight_bytes == sum(p.numel() * p.element_size() for p in built.parameters())
    if ocrsweep_model.architecture.patch_encoder is not None:
        pytest.skip("the whole is equal; its encoder and merger share a module")
    tower, text = built.model.vision_tower, built.model.language_model
    own = [*built.model.multi_modal_projector.parameters(), *built.model.parameters(recurse=False)]
    encoders = {"sam": [*tower.sam_encoder.parameters()]}
    rest = {id(parameter) for parameter in encoders["sam"]}
    second = "clip" if ocrsweep_model.architecture.clip else "query_encoder"  # with its queries, which the tower holds
    encoders[second] = [parameter for parameter in tower.parameters() if id(parameter) not in rest]
    theirs = {
        **encoders,
        "projector": own,
        "embed": text.embed_tokens.parameters(),
        "decoder": [*text.layers.parameters(), *text.norm.parameters()],
        "head": built.lm_head.parameters(),
    }
    parts = {part: sum(p.numel() * p.element_size() for p in parameters) for part, parameters in theirs.items()}
    assert {part: ledger.weights(part) for part in parts} == parts
    assert ledger.weight_bytes == sum(parts.values())


def test_the_unused_patch_embedding_is_all_that_a_checkpoint_holds_more():
    model = load_model("deepseek-ocr")
    weights = model.ledger("prefill", Workload(CropGrid(1, 1))).weight_bytes // 2
    assert model.architecture.clip.unused_patch_embedding == 602_112
    assert weights + model.architecture.clip.unused_patch_embedding == 3_336_106_240


@pytest.mark.parametrize("batch", [1, 4])
def test_the_kv_cache_equals_the_vendors_tensors(ocrsweep_model, batch):
    from pytest_ocrsweep.vendor_model import build, forward

    work = cut(ocrsweep_model, Workload(CropGrid(2, 3), batch=batch))
    built = build.on_meta(ocrsweep_model.architecture, "flash", "grouped_mm")
    for stage, steps in (("prefill", 0), ("decode", work.new_tokens)):
        cache = forward.filled_cache(built, batch, work.context_tokens, steps)
        theirs = sum(t.numel() * t.element_size() for layer in cache.layers for t in forward.stored(layer))
        assert ocrsweep_model.ledger(stage, work).kv_cache_bytes == theirs


def test_an_operation_that_multiplies_and_has_no_formula_is_refused_by_name():
    import torch

    from pytest_ocrsweep.vendor_model import dispatch_count

    a = torch.empty(4, 4, device="meta")
    with pytest.raises(dispatch_count.Uncounted, match=r"aten\.linalg_matrix_exp"):
        dispatch_count.tensor_flops(lambda: torch.linalg.matrix_exp(a))
