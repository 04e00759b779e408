"""Laws that hold for every page and every size of the model: they need no baseline, and catch what baselines freeze.

No test's name or id contains a stage's name, so that `-k decode` selects the sweep of decodes and nothing else.
"""

from __future__ import annotations

from dataclasses import astuple, replace
from math import isqrt

import pytest

from pytest_ocrsweep import Cost, CropGrid, Ledger, Model, Workload
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES


def page(grid: str = "1x1", **workload) -> Workload:
    return Workload(CropGrid.parse(grid), **workload)


PAGES = [
    page(),
    page("1x2", prompt_tokens=0),
    page("3x1", new_tokens=1),
    page("2x3", batch=4),
    page("3x3", prompt_tokens=700, new_tokens=13),
    page("15x26", batch=2),
    page(resolution="tiny"),
    page(resolution="large", batch=3),
    page("2x2", resolution="gundam-m"),
]
# Tables that a call prepares once, however many pages it holds.
SHARED = ("sam/positions/resize", "clip/embeddings/resize", "/rel_pos/table/", "encoder/rope/", "decoder/rope/")


def name(work: Workload) -> str:
    return f"{work.resolution}-{work.grid}-{work.batch}"


every_page = pytest.mark.parametrize("work", PAGES, ids=name, indirect=True)
every_attention = pytest.mark.parametrize("attention", ATTENTION)


@pytest.fixture
def work(request, ocrsweep_model) -> Workload:
    """A page as the model that is swept cuts it; a mode that it does not have is no case of the law."""
    if not (ocrsweep_model.engine.is_reference and ocrsweep_model.precision.is_native):
        pytest.skip(f"these are laws of the reference model's work, not of {ocrsweep_model.title}")
    return cut(ocrsweep_model, request.param)


start = work


def cut(model: Model, work: Workload) -> Workload:
    """The pages as a model cuts them; tiles stand for each crop of one that reads pages at their own resolution."""
    tiling, grid = model.architecture.tiling, work.grid
    native = tiling.resolutions[tiling.modes[0]].native
    if native is not None and work.resolution == page().resolution:
        side = isqrt(native.least_tiles - 1) + 1
        grid = CropGrid(grid.rows * side, grid.columns * side)
    if tiling.own(work.resolution) not in tiling.modes or (native and grid.crops > native.most_tiles):
        pytest.skip(f"{model.name} has no mode {work.resolution}, or no page of {grid}")
    return replace(work, grid=grid).cut_by(tiling)


def of_views(model: Model) -> None:
    """Skips a law of views, whose costs add, for a model whose patches all see one another."""
    if model.architecture.patch_encoder is not None:
        pytest.skip(f"{model.name} looks at a page as a whole")


def counted(ledger: Ledger) -> list[int]:
    """The numbers of a ledger for its whole stage."""
    bytes_held = ledger.weight_bytes, ledger.kv_cache_bytes, ledger.peak_activation_bytes
    return [*astuple(ledger.total()), *bytes_held]


def wider(work: Workload, rows: int = 0, columns: int = 0) -> Workload:
    """The same pages with crops added; a resolution without crops stays as it is."""
    if work.sides.crop_side is None:
        return work
    return replace(work, grid=CropGrid(work.grid.rows + rows, work.grid.columns + columns))


MORE = {  # 256 tokens of two bytes fill whole allocations, so that the allocator's rounding does not matter
    "longer prompt": lambda work: replace(work, prompt_tokens=work.prompt_tokens + 256),
    "longer answer": lambda work: replace(work, new_tokens=work.new_tokens + 256),
    "further page": lambda work: replace(work, batch=work.batch + 1),
    "further row": lambda work: wider(work, rows=1),
    "further column": lambda work: wider(work, columns=1),
}


def together(path: str) -> str:
    """A product that is laid out otherwise for several pages is one line here."""
    return path.partition("/linear/")[0] + "/linear" if "/linear/" in path else path


def added(costs) -> Cost:
    return sum(costs, Cost())


# Crops


@every_attention
@pytest.mark.parametrize("start", [page(), page(batch=3), page(resolution="gundam-m")], ids=name, indirect=True)
def test_every_crop_adds_the_same_flops(ocrsweep_model, start, attention):
    """Tensor FLOPs from the first crop on; vector FLOPs less those of the tables that all crops share."""
    of_views(ocrsweep_model)

    def flops(grid: str) -> tuple[int, int]:
        total = ocrsweep_model.ledger("vision", replace(start, grid=CropGrid.parse(grid)), attention).total()
        return total.tensor_flops, total.vector_flops

    whole, two, three = flops("1x1"), flops("1x2"), flops("1x3")
    tensor, vector = three[0] - two[0], three[1] - two[1]
    tables = two[1] - whole[1] - 2 * vector
    assert tables > 0
    for grid in ("1x2", "2x1", "2x2", "2x3", "9x1", "10x10", "13x20", "15x26"):
        crops = CropGrid.parse(grid).crops
        assert flops(grid) == (whole[0] + crops * tensor, whole[1] + tables + crops * vector), grid


@every_attention
@pytest.mark.parametrize(
    "work",
    [page("2x1"), page("1x2", batch=3), page("2x5"), page("1x2", resolution="gundam-m")],
    ids=name,
    indirect=True,
)
def test_every_row_of_crops_moves_the_same_bytes(ocrsweep_model, work, attention):
    """Of one column, every row from the second on; of several, every row, since crops side by side need a copy more."""
    of_views(ocrsweep_model)
    costs = [ocrsweep_model.ledger("vision", wider(work, rows), attention).total() for rows in (0, 1, 2, 20)]
    for read_or_write in ("read_bytes", "write_bytes"):
        start, one, two, twenty = (getattr(cost, read_or_write) for cost in costs)
        assert two - one == one - start > 0
        assert twenty - start == 20 * (one - start)


@every_attention
@pytest.mark.parametrize("arranged", [("1x6", "2x3", "3x2", "6x1"), ("2x18", "6x6", "36x1")], ids=["6", "36"])
def test_crops_cost_the_same_wherever_they_lie(ocrsweep_model, arranged, attention):
    works = [cut(ocrsweep_model, page(grid)) for grid in arranged]
    totals = [ocrsweep_model.ledger("vision", work, attention).total() for work in works]
    assert len({(total.tensor_flops, total.vector_flops) for total in totals}) == 1


@every_attention
def test_the_language_model_depends_on_crops_only_through_the_number_of_tokens(ocrsweep_model, attention):
    """Grids with six crops and one without crops, with prompts that make their contexts equally long."""
    grids = ["1x1", "1x6", "2x3", "3x2", "6x1"]
    cuts = [cut(ocrsweep_model, page(grid, batch=2)) for grid in grids]
    works = [replace(work, prompt_tokens=2000 - work.image_tokens) for work in cuts]
    assert {work.context_tokens for work in works} == {2000}
    steps = [counted(ocrsweep_model.ledger("decode", work, attention)) for work in works]
    assert steps == [steps[0]] * len(works)
    prompts = [ocrsweep_model.ledger("prefill", work, attention) for work in works]
    for part in ("embed", "decoder", "head"):
        assert len({ledger.total(part) for ledger in prompts}) == 1, part
    assert len({ledger.total().flops for ledger in prompts[1:]}) == 1


# Pages


@every_attention
@every_page
def test_every_page_of_a_batch_adds_the_same_flops(ocrsweep_model, work, attention):
    """All but the tables, which a call prepares once for all its pages, unless each page has positions of its own."""
    shared = () if ocrsweep_model.architecture.patch_encoder else SHARED
    for stage in STAGES:
        one = ocrsweep_model.ledger(stage, replace(work, batch=1), attention)
        many = ocrsweep_model.ledger(stage, replace(work, batch=5), attention)
        assert many.total().tensor_flops == 5 * one.total().tensor_flops
        for path in dict.fromkeys(map(together, one.paths)):
            pages = 1 if any(table in path for table in shared) else 5
            assert many.total(path).tensor_flops == pages * one.total(path).tensor_flops, path
            assert many.total(path).vector_flops == pages * one.total(path).vector_flops, path


@every_attention
@every_page
def test_more_work_never_costs_less(ocrsweep_model, work, attention):
    """Memory means activations plus KV cache, since a peak excludes what the stage adds to the cache."""

    def grows(stage: str, work: Workload) -> list[int]:
        ledger = ocrsweep_model.ledger(stage, work, attention)
        return [*counted(ledger)[:-1], ledger.peak_activation_bytes + ledger.kv_cache_bytes]

    for stage in STAGES:
        less = grows(stage, work)
        for what, more in MORE.items():
            greater = grows(stage, more(work))
            assert list(map(max, less, greater)) == greater, f"{stage}: a {what}"


# Attention


@every_page
def test_attention_modes_do_the_same_arithmetic(ocrsweep_model, work):
    for stage in STAGES:
        eager, flash = (ocrsweep_model.ledger(stage, work, attention).components for attention in ATTENTION)
        assert list(eager) == list(flash)
        for part in eager:
            assert eager[part].tensor_flops == flash[part].tensor_flops, part
            assert eager[part].vector_flops == flash[part].vector_flops, part


@every_page
def test_flash_never_moves_or_holds_more_than_eager(ocrsweep_model, work):
    for stage in STAGES:
        eager, flash = (ocrsweep_model.ledger(stage, work, attention) for attention in ATTENTION)
        assert flash.total().read_bytes <= eager.total().read_bytes, stage
        assert flash.total().write_bytes <= eager.total().write_bytes, stage
        assert flash.peak_activation_bytes <= eager.peak_activation_bytes, stage
        assert (flash.weight_bytes, flash.kv_cache_bytes) == (eager.weight_bytes, eager.kv_cache_bytes)


# Stages


@every_attention
@every_page
def test_the_prompt_costs_its_pages_and_the_rest(ocrsweep_model, work, attention):
    """A prefill runs every kernel of the vision stage, at the same cost."""
    pages = ocrsweep_model.ledger("vision", work, attention)
    prompt = ocrsweep_model.ledger("prefill", work, attention)
    encoders = [part for part in pages.components if part != "projector"]
    projector = () if ocrsweep_model.architecture.patch_encoder else ("projector/linear", "projector/pages")
    for part in (*encoders, *projector):
        assert prompt.total(part) == pages.total(part), part
    shared = set(pages.lines)
    own = [line for line in prompt.lines if line not in shared]
    assert prompt.total() == pages.total() + added(line.cost for line in own)
    assert {line.path.split("/")[0] for line in own} == {"embed", "projector", "decoder", "head"}


@every_attention
@every_page
def test_generated_tokens_cost_the_sum_of_their_steps(ocrsweep_model, work, attention):
    if ocrsweep_model.architecture.decoder.window:
        pytest.skip("a step after the window is full costs no more than the last: tests of the window have its law")
    steps = (replace(work, prompt_tokens=work.prompt_tokens + step, new_tokens=1) for step in range(work.new_tokens))
    total = ocrsweep_model.ledger("decode", work, attention).total()
    assert total == added(ocrsweep_model.ledger("decode", step, attention).total() for step in steps)


@every_page
def test_a_step_attends_to_all_before_it_and_itself(ocrsweep_model, work):
    decoder = ocrsweep_model.architecture.decoder
    ledger = ocrsweep_model.ledger("decode", replace(work, new_tokens=1))
    key = 4 * decoder.layers * decoder.heads * decoder.dim * work.batch  # a score and a value, two FLOPs a multiply-add
    assert ledger.total("decoder/attn/fused").tensor_flops == key * (work.context_tokens + 1)


@every_attention
@every_page
def test_every_step_reads_the_active_weights(ocrsweep_model, work, attention):
    """One token uses all weights but those of experts that it does not choose, and one row of the embedding table."""
    decoder = ocrsweep_model.architecture.decoder
    ledger = ocrsweep_model.ledger("decode", work, attention)
    row = ledger.weights("embed") // decoder.vocabulary
    experts = ledger.weights("decoder/experts") if decoder.experts else 0
    chosen = experts * decoder.experts_per_token // max(decoder.experts, 1)
    resting = ledger.weights("embed") + experts
    active = ledger.weight_bytes - resting + row + chosen
    assert 0 < active < ledger.weight_bytes
    assert ledger.total().read_bytes >= work.new_tokens * active


@every_page
def test_the_cache_holds_keys_and_values_of_every_token(ocrsweep_model, work):
    decoder = ocrsweep_model.architecture.decoder
    token = 2 * decoder.layers * decoder.kv_heads * decoder.dim * 2  # keys and values, two bytes each
    held = {"vision": 0, "prefill": work.context_tokens, "decode": work.context_tokens + work.new_tokens}
    for stage, tokens in held.items():
        assert ocrsweep_model.ledger(stage, work).kv_cache_bytes == token * work.batch * tokens


@every_page
def test_pages_and_steps_share_no_weights_and_the_prompt_needs_both(ocrsweep_model, work):
    """All pages and all their crops use the same weights."""
    weights = {stage: ocrsweep_model.ledger(stage, work).weight_bytes for stage in STAGES}
    assert weights == {
        stage: ocrsweep_model.ledger(stage, cut(ocrsweep_model, page())).weight_bytes for stage in STAGES
    }
    assert weights["prefill"] == weights["vision"] + weights["decode"]


# Ledgers


@every_attention
@every_page
def test_totals_equal_the_sum_of_their_parts(ocrsweep_model, work, attention):
    for stage in STAGES:
        ledger = ocrsweep_model.ledger(stage, work, attention)
        lines = ledger.lines
        assert ledger.total() == added(line.cost for line in lines)
        assert ledger.total() == added(ledger.components.values())
        assert ledger.weight_bytes == sum(map(ledger.weights, ledger.components))
        assert ledger.weight_bytes == sum(line.weight_bytes for line in lines)
        for part in {line.path.rpartition("/")[0] for line in lines} - {""}:
            within = [line for line in lines if line.path.startswith(f"{part}/")]
            assert ledger.total(part) == added(line.cost for line in within), part
        assert ledger.peak_path in {line.path for line in lines}


def test_ledgers_depend_on_no_other_ledger(ocrsweep_model):
    """One model prices every workload in any order, and the ledgers that it gave out do not change."""
    works = [cut(ocrsweep_model, work) for work in PAGES[:5]]
    calls = [(stage, work, attention) for work in works for stage in STAGES for attention in ATTENTION]
    given = [ocrsweep_model.ledger(*call) for call in calls]
    first = [counted(ledger) for ledger in given]
    fresh = Model(ocrsweep_model.architecture)
    backwards = [counted(fresh.ledger(*call)) for call in reversed(calls)]
    assert backwards[::-1] == first
    assert [counted(ledger) for ledger in given] == first
