"""Engines: what their switches change of the one ledger, what they leave alone, and what they refuse."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.errors import ConfigError
from pytest_ocrsweep.hardware.estimate_columns import estimates
from pytest_ocrsweep.model.engine import REFERENCE, Engine
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose, devices
from pytest_ocrsweep.sweep.grid_sources import entries
from pytest_ocrsweep.sweep.made_for import SweptFor

OURS, VLLM, ORIGINAL = load_model(), load_model(overrides=["engine=vllm"]), load_model(engine="original")
SWITCHES = [field.name for field in fields(Engine) if field.type == "bool" and not field.metadata]
works = st.builds(
    Workload,
    st.sampled_from(CropGrid.upto(6)),
    prompt_tokens=st.integers(0, 900),
    new_tokens=st.integers(1, 300),
    batch=st.integers(1, 9),
)


def with_switches(**switches: object) -> Model:
    return Model(OURS.architecture, engine=replace(REFERENCE, attentions=("flash",), **switches))  # type: ignore[arg-type]


def test_the_default_engine_is_the_reference() -> None:
    assert compose().engine == REFERENCE
    assert OURS.engine == REFERENCE
    assert load_model(engine="vllm").engine == VLLM.engine
    assert (OURS.recorded_as, VLLM.recorded_as) == ("deepseek-ocr", "deepseek-ocr/vllm")


@given(work=works)
@pytest.mark.parametrize("stage", STAGES)
def test_no_engine_changes_what_every_implementation_needs(stage: str, work: Workload) -> None:
    assert VLLM.ledger(stage, work).needed() == OURS.ledger(stage, work).needed()


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("stage", STAGES)
def test_each_switch_alone_leaves_floors_and_weights_as_they_are(stage: str, switch: str) -> None:
    for work in (Workload("2x3"), Workload("1x1", batch=3)):
        ours, other = (m.ledger(stage, work) for m in (OURS, with_switches(**{switch: True})))
        assert other.needed() == ours.needed()
        assert (other.weight_bytes, other.kv_cache_bytes) == (ours.weight_bytes, ours.kv_cache_bytes)


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_alone_changes_some_stage(switch: str) -> None:
    work = Workload("2x3", batch=2)
    needs: dict[str, object] = {"fused_experts": True} if switch == "grouped_router" else {}
    ours, other = with_switches(**needs), with_switches(**needs, **{switch: True})
    pairs = [(other.ledger(stage, work), ours.ledger(stage, work)) for stage in STAGES]
    assert any(a.lines != b.lines or a.work_of_lines()[0].sum() != b.work_of_lines()[0].sum() for a, b in pairs)


@pytest.mark.parametrize("stage", STAGES)
def test_fused_kernels_move_fewer_bytes_for_the_same_products(stage: str) -> None:
    work = Workload("2x3")
    ours, vllm = OURS.ledger(stage, work).total(), VLLM.ledger(stage, work).total()
    assert vllm.moved_bytes < ours.moved_bytes
    unneeded_logits = 2 * (work.context_tokens - 1) * 1280 * 129280 if stage == "prefill" else 0
    assert vllm.tensor_flops == ours.tensor_flops - unneeded_logits


@given(batch=st.integers(1, 600))
def test_a_step_has_the_rows_of_the_next_captured_batch(batch: int) -> None:
    rows = VLLM.engine.step_rows(batch)
    captured = VLLM.engine.captured_batches
    assert rows == (min(each for each in captured if each >= batch) if batch <= captured[-1] else batch)


def test_a_padded_step_does_the_products_of_its_padding() -> None:
    five, eight = (VLLM.ledger("decode", Workload("2x3", batch=batch)) for batch in (5, 8))
    assert five.total("head") == eight.total("head") * 0 + five.total("head")
    assert five.total("decoder/attn/qkv_proj") == eight.total("decoder/attn/qkv_proj")
    assert five.total("decoder/attn/fused").tensor_flops * 8 == eight.total("decoder/attn/fused").tensor_flops * 5
    assert five.needed().tensor_flops * 8 == eight.needed().tensor_flops * 5


@pytest.mark.parametrize("last_logits", [True, False])
def test_padding_is_never_needed(last_logits: bool) -> None:
    padded = with_switches(captured_batches=(4,), last_logits=last_logits)
    ours, theirs = (m.ledger("decode", Workload("2x3", batch=3)) for m in (OURS, padded))
    assert theirs.needed() == ours.needed()
    assert theirs.compulsory_bytes == ours.compulsory_bytes


@given(work=works)
def test_the_cache_lies_in_whole_blocks(work: Workload) -> None:
    ours, blocks = (m.ledger("decode", work).kv_cache_bytes for m in (OURS, VLLM))
    a_token = 2 * 12 * 1280 * 2
    assert blocks % (16 * a_token * work.batch) == 0
    assert 0 <= blocks - ours < 16 * a_token * work.batch


@given(work=works)
@pytest.mark.parametrize("stage", STAGES)
def test_columns_are_the_ledgers_of_an_engine_too(stage: str, work: Workload) -> None:
    sizes = {name: getattr(work, name) for name in ("batch", "prompt_tokens", "new_tokens")}
    columns = VLLM.sweep(stage, rows=[work.grid.rows], cols=[work.grid.columns], **sizes)
    ledger = VLLM.ledger(stage, work)
    names = ("tensor_flops", "vector_flops", "read_bytes", "write_bytes", "kv_cache_bytes", "peak_activation_bytes")
    assert [int(columns[name][0]) for name in names] == [getattr(ledger, name) for name in names]


def test_columns_of_many_batches_are_padded_one_by_one() -> None:
    batches = [1, 3, 9, 17, 300, 513, 600]
    columns = VLLM.sweep("decode", rows=2, cols=3, batch=batches)
    found = [VLLM.ledger("decode", Workload("2x3", batch=batch)).tensor_flops for batch in batches]
    assert columns["tensor_flops"].tolist() == found


REFUSED = {
    ("vision", Workload("3x3")): "vllm cuts a page into at most 6 crops, and 3x3 has 9: engine.most_crops=9 lifts the "
    "limit",
    ("prefill", Workload("2x3", batch=64)): "vllm prefills at most 16,384 tokens at once, and 64 pages of 2x3 have "
    "57,792: workload.batch=18 fits, engine.most_step_tokens=57792 lifts the limit",
    ("prefill", Workload("1x1", prompt_tokens=17_000)): "vllm prefills at most 16,384 tokens at once, and 1 pages of "
    "1x1 have 17,273: no page fits, engine.most_step_tokens=17273 lifts the limit",
}


@pytest.mark.parametrize("point", REFUSED, ids=str)
def test_what_an_engine_never_runs_is_refused_with_the_setting_that_lifts_it(point: tuple[str, Workload]) -> None:
    stage, work = point
    with pytest.raises(ConfigError) as error:
        VLLM.ledger(stage, work)
    assert str(error.value) == REFUSED[point]
    with pytest.raises(ConfigError):
        VLLM.sweep(
            stage, rows=work.grid.rows, cols=work.grid.columns, batch=work.batch, prompt_tokens=work.prompt_tokens
        )
    lifted = str(error.value).rpartition(" lifts")[0].rpartition(" ")[2]
    load_model(overrides=["engine=vllm", lifted]).ledger(stage, work)


def test_an_engine_with_a_greatest_length_refuses_longer_pages() -> None:
    short = load_model(overrides=["engine=vllm", "engine.most_positions=1000"])
    short.ledger("prefill", Workload("2x3"))
    short.ledger("decode", Workload("2x3", new_tokens=97))  # 1,000 exactly
    with pytest.raises(ConfigError, match=r"vllm takes at most 1,000 positions, and decode of 2x3 needs 1,003"):
        short.ledger("decode", Workload("2x3"))


def test_eager_attention_is_not_had_by_vllm() -> None:
    with pytest.raises(ConfigError, match=r"^vllm has no eager attention: choose from flash$"):
        VLLM.ledger("decode", Workload("2x3"), "eager")


def test_the_default_grids_and_pages_follow_the_engines_limit() -> None:
    swept_for = SweptFor.of(compose(["engine=vllm"]))
    assert [entry.grid for entry in entries("vendor", swept_for)] == CropGrid.upto(6)
    assert (CropGrid.for_image(1920, 1080), CropGrid.for_image(1920, 1080, most_crops=6)) == (
        CropGrid(2, 4),
        CropGrid(1, 2),
    )


def test_a_model_cuts_a_page_as_its_engine_does() -> None:
    assert (OURS.grid_of(1920, 1080), VLLM.grid_of(1920, 1080)) == (CropGrid(2, 4), CropGrid(1, 2))
    assert VLLM.grid_of(1920, 1080, "base") == CropGrid(1, 1)
    with pytest.raises(ValueError, match="unknown resolution"):
        VLLM.grid_of(1920, 1080, "huge")


def test_nobody_has_compared_the_dram_traffic_of_an_engine() -> None:
    with pytest.raises(ValueError, match="DRAM traffic is known for transformers alone, not for vllm"):
        VLLM.ledger("decode", Workload("2x3")).dram_bytes("h100")


WRONG = {
    "engine.fused_qkv=1": "engine.fused_qkv must be true or false, got 1",
    "engine.fused_qkv=true": "engine.attentions must be [flash] for an engine that fuses; else set "
    "engine.fused_qkv=false",
    "engine.attentions=[]": "engine.attentions must be a list of names, got []",
    "engine.attentions=[flush]": "engine.attentions must be of eager, flash: got 'flush'",
    "engine.most_crops=0": "engine.most_crops must be a whole number of at least 1, got 0",
    "engine.host.memory_percent=200": "engine.host.memory_percent must be at most 100, got 200",
    "engine.captured_batches=[4,2]": "engine.captured_batches must be different and in order, got [4, 2]",
    "engine.name=timed": "engine.name is a folder of its baselines: at most 30 small letters, digits, '_' and '-', "
    "and not 'timed', got 'timed'",
    "engine.last_logits=true": "engine.name=transformers has the reference model's switches: give it another name, or "
    "leave out engine.last_logits",
    "engine=vlm": "engine must be one of original, transformers, vllm: got 'vlm'; did you mean 'vllm'?",
}


@pytest.mark.parametrize("override", WRONG)
def test_switches_that_do_not_fit_are_one_line(override: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([override])
    assert str(error.value) == WRONG[override]


@pytest.mark.parametrize("stage", STAGES)
def test_an_engine_that_nobody_calibrated_has_estimates_with_a_wider_interval(stage: str) -> None:
    work = Workload("2x3")
    found, ours = (model.ledger(stage, work).estimate("h100") for model in (VLLM, OURS))
    assert found.time_ns < ours.time_ns
    assert found.high_ns / found.time_ns > ours.high_ns / ours.time_ns
    assert "no kernel of vllm was calibrated" in found.reasons
    columns = VLLM.sweep(stage, rows=2, cols=3, batch=[1, 3])
    many = estimates(VLLM, columns, devices()["h100"])
    one = VLLM.ledger(stage, replace(work, batch=3)).estimate("h100")
    assert (many.time_ns[1], many.low_ns[1], many.high_ns[1]) == (one.time_ns, one.low_ns, one.high_ns)


def test_the_originals_vision_is_what_its_own_file_counts_on_the_meta_device() -> None:
    """deepencoder.py run with torch 2.13: FLOPs, vector FLOPs, bytes read and written, peak."""
    found = {
        ("1x1", 1): (1_139_967_033_344, 8_619_320_640, 5_654_838_536, 4_451_354_760, 459_276_288),
        ("2x3", 1): (3_468_866_060_288, 20_628_113_408, 15_350_310_928, 12_420_922_232, 534_528_000),
        ("2x3", 2): (6_937_732_120_576, 41_256_226_816, 30_700_621_856, 24_841_844_464, 542_618_112),
    }
    for (grid, batch), numbers in found.items():
        ledger = ORIGINAL.ledger("vision", Workload(grid, batch=batch))
        cost = ledger.total()
        counted = (cost.tensor_flops, cost.vector_flops, cost.read_bytes, cost.write_bytes)
        assert (*counted, ledger.peak_activation_bytes) == numbers


def test_the_original_turns_positions_by_a_product_and_copies_no_experts() -> None:
    one = Workload("2x3", new_tokens=1)
    for stage, tokens in (("prefill", one.context_tokens), ("decode", 1)):
        ours, theirs = (m.ledger(stage, one).total().tensor_flops for m in (OURS, ORIGINAL))
        assert theirs - ours == 12 * 2 * 64 * tokens
    assert ORIGINAL.ledger("decode", one).total().moved_bytes == 1_330_403_296
    assert OURS.ledger("decode", one).total().moved_bytes == 2_236_185_280


def test_the_originals_logits_are_its_peak_at_long_prompts() -> None:
    ledger = ORIGINAL.ledger("prefill", Workload("2x3", prompt_tokens=4000))
    assert ledger.peak_path == "logits_to_float"
    assert ledger.peak_activation_bytes > (2 + 4) * ledger.work.context_tokens * 129_280


def test_the_original_has_no_eager_attention() -> None:
    with pytest.raises(ConfigError, match="original has no eager attention: choose from flash"):
        ORIGINAL.ledger("vision", Workload("2x3"), "eager")
