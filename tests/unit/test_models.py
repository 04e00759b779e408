"""Models beside DeepSeek-OCR, without the reference model: columns and ledgers, what is refused, what is said."""

from __future__ import annotations

import random

import pytest

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.errors import ConfigError
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.sweep.grid_sources import DEFAULT, choice, entries
from pytest_ocrsweep.sweep.made_for import SweptFor

MODEL = load_model("deepseek-ocr-2")


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("stage", STAGES)
def test_columns_equal_ledgers(stage, attention):
    pytest.importorskip("numpy", reason="needs the extra [columns]")
    rng = random.Random(2)
    sizes = {name: [rng.randint(1, most) for _ in range(40)] for name, most in (("rows", 4), ("cols", 4), ("batch", 9))}
    sizes |= {
        "prompt_tokens": [rng.randint(0, 900) for _ in range(40)],
        "new_tokens": [rng.randint(1, 300) for _ in range(40)],
    }
    columns = MODEL.sweep(stage, attention=attention, **sizes)
    for i in range(40):
        rows, cols, *others = (
            columns[name][i].item() for name in ("rows", "cols", "prompt_tokens", "new_tokens", "batch")
        )
        ledger = MODEL.ledger(stage, Workload(CropGrid(rows, cols), *others), attention)
        total = ledger.total()
        found = {name: int(columns[name][i]) for name in columns if name not in sizes}
        assert found == {
            "image_tokens": ledger.work.image_tokens,
            "context_tokens": ledger.work.context_tokens,
            "tensor_flops": total.tensor_flops,
            "vector_flops": total.vector_flops,
            "read_bytes": total.read_bytes,
            "write_bytes": total.write_bytes,
            "weight_bytes": ledger.weight_bytes,
            "kv_cache_bytes": ledger.kv_cache_bytes,
            "compulsory_bytes": ledger.compulsory_bytes,
            "peak_activation_bytes": ledger.peak_activation_bytes,
        }


@pytest.mark.parametrize("attention", ATTENTION)
def test_a_floor_leaves_out_what_no_query_needs(attention):
    """By hand, of the last layer: features go in as keys and values alone; of all layers, what the mask hides."""
    e = MODEL.architecture.query_encoder
    ledger = MODEL.ledger("vision", Workload("1x1"), attention)
    n, square = 256, 2 * e.width * e.width
    pairs = 23 * (n * n + n * n + n * (n + 1) // 2) + n * n + n * (n + 1) // 2
    products = 24 * 2 * n * 2 * (2 * e.width * e.width // 7) + (23 * 2 + 1) * n * (
        2 * square + 3 * 2 * e.width * e.mlp_width
    )
    assert ledger.needed("query_encoder").tensor_flops == products + 2 * 2 * e.width * pairs


def test_a_page_of_the_model_is_cut_by_the_model():
    assert MODEL.grid_of(768, 768) == CropGrid(1, 1)
    assert MODEL.grid_of(769, 768) == CropGrid(2, 2)
    assert MODEL.grid_of(20_000, 10) == CropGrid(1, 6)
    assert MODEL.grid_of(5000, 5000, "base") == CropGrid(1, 1)
    with pytest.raises(ValueError, match="unknown resolution 'tiny': choose from gundam, base"):
        MODEL.grid_of(10, 10, "tiny")


def test_a_sweep_without_grids_has_those_of_at_most_six_crops():
    found = [entry.grid for entry in entries(DEFAULT, SweptFor.of(compose(["model=deepseek-ocr-2"])))]
    assert found == CropGrid.upto(6)
    wanted = choice(DEFAULT, "deepseek-ocr-2")  # of recorded points, whose model is known by its name
    assert [wanted(Workload(grid)) for grid in ("1x1", "2x3", "3x3")] == [True, True, False]


@pytest.mark.parametrize("engine", ["vllm", "original"])
def test_another_engine_is_refused(engine):
    with pytest.raises(ConfigError, match=f"nobody has counted deepseek-ocr-2's encoder with queries on {engine}"):
        load_model("deepseek-ocr-2", engine=engine).ledger("vision", Workload("1x1"))


def test_what_nobody_measured_is_refused_or_said():
    for stage, unknown in (("vision", True), ("prefill", True), ("decode", False)):
        ledger = MODEL.ledger(stage, Workload("1x1"))
        estimate = ledger.estimate("h200")
        assert ("nobody calibrated an encoder with queries" in estimate.reasons) is unknown
        if unknown:
            with pytest.raises(ValueError, match="DRAM traffic is not known for an encoder with queries"):
                ledger.dram_bytes("h200")
        else:
            assert ledger.dram_bytes("h200") > 0


def test_a_workload_of_another_model_is_cut_anew():
    other = load_model("deepseek-ocr").ledger("vision", Workload("2x3")).work
    assert (other.image_tokens, MODEL.ledger("vision", other).work.image_tokens) == (893, 1121)
    assert isinstance(MODEL, Model)
