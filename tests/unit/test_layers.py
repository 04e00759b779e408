"""A stage laid out once over symbols costs what its layers cost when they run on plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from inspect import unwrap
from pathlib import Path

import pytest

from pytest_ocrsweep import Cost, CropGrid, Model, Workload, load_model
from pytest_ocrsweep.baselines import counted
from pytest_ocrsweep.baselines.metrics import exact_names
from pytest_ocrsweep.model import stage_kernels
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.geometry import RESOLUTIONS
from pytest_ocrsweep.model.kernels import Kernel
from pytest_ocrsweep.model.layers import clip, decoder, sam
from pytest_ocrsweep.model.stages import STAGES, point
from pytest_ocrsweep.model.symbolic import Poly

BASELINES = Path(__file__).parents[2] / "baselines"


def page(grid: str = "1x1", **workload) -> Workload:
    return Workload(CropGrid.parse(grid), **workload)


PAGES = [
    page(new_tokens=3),
    page("1x2", prompt_tokens=0, new_tokens=1),
    page("3x1", new_tokens=2),
    page("2x3", batch=4, prompt_tokens=700, new_tokens=5),
    page("15x26", batch=2, new_tokens=2),
    page("2x2", resolution="gundam-m", new_tokens=3),
    page(resolution="tiny", batch=3, new_tokens=2),
    page(resolution="large", new_tokens=1),
]
every_page = pytest.mark.parametrize("work", PAGES, ids=lambda work: f"{work.resolution}-{work.grid}-{work.batch}")
every_attention = pytest.mark.parametrize("attention", ATTENTION)
every_stage = pytest.mark.parametrize("stage", STAGES)


@pytest.fixture(scope="module", params=["deepseek-ocr", "deepseek-ocr-tiny"])
def model(request) -> Model:
    return load_model(request.param)


@pytest.fixture(scope="module")
def real() -> Model:
    return load_model("deepseek-ocr")


def plain(model: Model, stage: str, work: Workload, attention: str) -> list[Kernel]:
    """The kernels of a stage's own generators, run on a workload's numbers in place of the symbols."""
    symbols = {name: size for name, size in vars(stage_kernels).items() if isinstance(size, Poly)}
    with pytest.MonkeyPatch.context() as patch:
        for name, size in symbols.items():
            patch.setattr(stage_kernels, name, size.at(point(work, model.architecture.decoder)))
        patch.setattr(stage_kernels, "vision", unwrap(stage_kernels.vision))  # it keeps those of the symbols
        generator = unwrap(STAGES[stage].kernels)
        return list(generator(model.architecture, work.resolution, work.grid.crops > 0, attention))


def steps(work: Workload) -> Iterator[Workload]:
    """Each of a decode's steps as a decode of one step."""
    for done in range(work.new_tokens):
        yield replace(work, prompt_tokens=work.prompt_tokens + done, new_tokens=1)


def spent(kernels: Iterable[Kernel]) -> Cost:
    return sum((Cost(k.tensor_flops, k.vector_flops, k.read_bytes, k.write_bytes) * k.times for k in kernels), Cost())


def most_live(kernels: Iterable[Kernel]) -> int:
    live = most = 0
    for k in kernels:
        live += k.allocates
        most = max(most, live)
        live -= k.frees
        assert live >= 0, f"{k.path} frees more than is allocated"
    return most


# Symbols against numbers


@every_attention
@every_page
@every_stage
def test_symbols_cost_what_numbers_cost(model, stage, work, attention):
    ledger = model.ledger(stage, work, attention)
    runs = [plain(model, stage, one, attention) for one in (steps(work) if stage == "decode" else [work])]
    assert ledger.total() == spent(k for kernels in runs for k in kernels)
    assert ledger.weight_bytes == sum(k.weight_bytes * k.times for k in runs[-1])
    ran = [k.path for k in runs[-1] if spent([k]) != Cost()]
    assert ran == [line.path for line in ledger.lines if line.cost != Cost()]


@every_attention
@every_page
@every_stage
def test_the_peak_is_the_most_that_is_live_beyond_the_caches_growth(model, stage, work, attention):
    ledger = model.ledger(stage, work, attention)
    keys = {"vision": 0, "prefill": work.context_tokens, "decode": 1}[stage]
    growth = ledger.kv_cache_bytes * keys // (work.context_tokens + (stage == "decode") * work.new_tokens)
    *_, last = steps(work)
    most = most_live(plain(model, stage, last if stage == "decode" else work, attention))
    assert ledger.peak_activation_bytes == most - growth


@every_page
@every_attention
@every_stage
def test_no_size_is_ever_negative(model, stage, work, attention):
    """The search for peaks leans on it, monomial by monomial; a kernel that reads less than nothing is none."""
    ledger = model.ledger(stage, work, attention)
    assert all(value >= 0 for value in ledger._values)
    for line in ledger.lines:
        cost = line.cost
        assert min(cost.tensor_flops, cost.vector_flops, cost.read_bytes, cost.write_bytes, line.weight_bytes) >= 0


def test_a_model_lays_a_stage_out_once_and_is_still_its_architecture_and_nothing_else():
    model, fresh = load_model(), Model(load_model().architecture)
    laid = model.program("decode", "gundam", True, "flash")
    assert model.program("decode", "gundam", True, "flash") is laid
    assert model == fresh
    assert repr(model) == f"Model(architecture={model.architecture!r})"


def test_a_model_that_is_loaded_again_has_its_stages_laid_out():
    laid = load_model().program("decode", "gundam", True, "flash")
    assert load_model(overrides=["workload.batch=4"]).program("decode", "gundam", True, "flash") is laid
    assert load_model(engine="vllm").program("decode", "gundam", True, "flash") is not laid
    assert load_model(overrides=["model.decoder.experts=32"]).program("decode", "gundam", True, "flash") is not laid


# One layer by itself


@every_attention
@pytest.mark.parametrize(("resolution", "side"), [("small", 640), ("base", 1024), ("large", 1280)])
def test_encoders_by_themselves_are_the_encoders_of_a_stage(model, resolution, side, attention):
    """Three pages without crops are three images."""
    ledger = model.ledger("vision", page(resolution=resolution, batch=3), attention)
    kernels = sam.encoder(model.architecture.sam, 3, side, 1, attention)
    assert ledger.total("sam") == spent(kernels)
    kernels = clip.encoder(model.architecture.clip, 3, side // 64, 1, attention)
    assert ledger.total("clip") == spent(kernels)


@every_attention
def test_crops_run_through_the_same_encoder_as_pages(model, attention):
    whole, cut, crops = (
        model.ledger("vision", work, attention).total("sam")
        for work in (page(resolution="gundam"), page("2x3"), page(resolution="small", batch=6))
    )
    assert cut == whole + crops


@every_attention
@pytest.mark.parametrize("batch", [1, 4])
def test_the_decoder_by_itself_is_the_decoder_of_a_stage(model, batch, attention):
    sizes, work = model.architecture.decoder, page("2x3", batch=batch, new_tokens=3)
    context, many = work.context_tokens, int(batch > 1)
    prompt = decoder.layers(sizes, batch, context, context, 0, many, attention, sizes.prefill_experts)
    assert model.ledger("prefill", work, attention).total("decoder") == spent(prompt)
    tokens = (
        kernel
        for keys in range(context + 1, context + 4)
        for kernel in decoder.layers(sizes, batch, 1, keys, keys - 1, many, attention, sizes.decode_experts)
    )
    assert model.ledger("decode", work, attention).total("decoder") == spent(tokens)


# The real model's numbers, as committed and from its dimensions by hand


@every_stage
def test_the_layers_count_what_is_committed(real, stage):
    recorded = counted.read(counted.file_of(BASELINES, real.name, stage), real.name, stage)
    assert len(recorded) == 23 * len(ATTENTION)
    for (work, attention), numbers in recorded.items():
        ledger = real.ledger(stage, work, attention)
        parts = (work, ledger.total(), ledger)
        from_parts = {name: getattr(part, name) for part in parts for name in exact_names() if hasattr(part, name)}
        assert from_parts == numbers, f"{work.grid} {attention}"


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_every_parameter_is_counted_once_whatever_the_views_and_pages(real, resolution):
    grid = "2x3" if RESOLUTIONS[resolution].crop_side else "1x1"
    work = page(grid, resolution=resolution, batch=3)
    vision, prefill, decode = (real.ledger(stage, work).weight_bytes for stage in STAGES)
    assert prefill == 2 * 3_335_504_128
    assert vision + decode == prefill


def test_a_decoder_layers_products_are_those_of_its_dimensions(real):
    """2,000 tokens: projections, scores and values, a dense layer, a mixture of 6 + 2 of 896."""
    ledger = real.ledger("prefill", page(prompt_tokens=2000 - page().image_tokens))
    rows = 2000
    assert ledger.total("decoder/attn").tensor_flops == 12 * (4 * 2 * rows * 1280**2 + 4 * rows * rows * 1280)
    assert ledger.total("decoder/mlp").tensor_flops == 3 * 2 * rows * 1280 * 6848
    assert ledger.total("decoder/router").tensor_flops == 11 * 2 * rows * 1280 * 64
    assert ledger.total("decoder/experts").tensor_flops == 11 * 3 * 2 * 6 * rows * 1280 * 896
    assert ledger.total("decoder/shared_experts").tensor_flops == 11 * 3 * 2 * 2 * rows * 1280 * 896
    assert ledger.total("head").tensor_flops == 2 * rows * 1280 * 129_280
    assert ledger.total("embed").tensor_flops == 0


def test_a_global_views_products_are_those_of_its_dimensions(real):
    ledger = real.ledger("vision", page())
    assert ledger.total("sam/patch_embed").tensor_flops == 2 * 64**2 * 768 * 3 * 16**2
    assert ledger.total("sam/window/mlp").tensor_flops == 8 * 2 * 2 * 64**2 * 768 * 3072
    padded = 25 * 14**2  # 64 patches a side take five windows of 14
    assert ledger.total("sam/window/attn/qkv").tensor_flops == 8 * 2 * padded * 768 * 3 * 768
    assert ledger.total("clip").tensor_flops == 24 * (2 * 257 * 12 * 1024**2 + 4 * 257**2 * 1024)
    assert ledger.total("projector").tensor_flops == 2 * 256 * 2048 * 1280


@every_attention
def test_the_least_traffic_is_every_parameter_once_the_pixels_the_cache_and_what_comes_out(real, attention):
    work = page("2x3", batch=2)
    pages, prompt = (real.ledger(stage, work, attention) for stage in ("vision", "prefill"))
    pixels, tokens = 2 * 3 * 2 * (1024**2 + 6 * 640**2), 2 * work.context_tokens
    assert pages.compulsory() == pages.weight_bytes + pixels + 2 * work.image_tokens * 1280 * 2
    assert pages.compulsory("sam") == pages.weights("sam") + pixels
    parameters = prompt.weight_bytes - (129_280 - 1) * 1280 * 2  # of the embedding a row, whatever the tokens are
    ids, logits = tokens * 8, tokens * 129_280 * 2
    assert prompt.compulsory() == parameters + pixels + ids + prompt.kv_cache_bytes + logits


def test_the_experts_that_a_token_reaches_are_those_it_chose(real):
    """A decode step gathers 6 of 64 experts for each page; a prompt of thousands reads every expert once."""
    table = 64 * 3 * 1280 * 896 * 2
    step = real.ledger("decode", page(new_tokens=1, batch=3))
    gathers = (step.total(f"decoder/experts/gather_{part}").write_bytes for part in ("gate_up", "down"))
    assert sum(gathers) == 11 * 3 * table * 6 // 64
    assert step.compulsory("decoder/experts") == 11 * table * 16 // 64  # three pages' picks are of 16.4 experts
    prompt = real.ledger("prefill", page("3x3", prompt_tokens=1000))
    assert prompt.weights("decoder/experts") == 11 * table == step.weights("decoder/experts")
    assert prompt.total("decoder/experts/gate_up").read_bytes > 11 * table * 2 // 3


# Refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encode", page()), "unknown stage 'encode': choose from vision, prefill, decode; did you mean 'decode'\\?"),
        (("decode", page(), "sdpa"), "unknown attention 'sdpa': choose from eager, flash"),
    ],
    ids=["stage", "attention"],
)
def test_an_unknown_choice_names_the_known(model, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        model.ledger(*arguments)


def test_a_path_is_refused_where_the_stage_has_none_of_it(real):
    with pytest.raises(ValueError, match=r"^no line at 'sam': the first parts are embed, decoder, head$"):
        real.ledger("decode", page()).total("sam")
