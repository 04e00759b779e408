"""A stage written out run by run costs what its ledger says, in the order of the reference model."""

from __future__ import annotations

from collections import Counter

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.cost import Cost
from pytest_ocrsweep.model.run_order import Run, runs
from pytest_ocrsweep.model.stages import STAGES, point

MODEL = load_model("deepseek-ocr")
WORKS = [
    Workload(CropGrid(1, 1), new_tokens=1),
    Workload(CropGrid(2, 3), new_tokens=1, batch=3),
    Workload(CropGrid(3, 1), new_tokens=1),
    Workload(CropGrid(1, 1), new_tokens=1, resolution="tiny", batch=2),
]


def written_out(stage: str, work: Workload, attention: str) -> list[Run]:
    program = MODEL.program(stage, work.resolution, bool(work.grid.crops), attention)
    return runs(program.sequence, point(work, MODEL.architecture.decoder))


@pytest.mark.parametrize("work", WORKS, ids=lambda work: f"{work.grid}-{work.batch}-{work.resolution}")
@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("stage", STAGES)
def test_the_runs_of_a_stage_sum_to_its_ledger(stage: str, attention: str, work: Workload) -> None:
    total = Cost()
    for run in written_out(stage, work, attention):
        total += Cost(*run.numbers)
    assert total == MODEL.ledger(stage, work, attention).total()


def test_sams_windowed_and_global_blocks_take_turns() -> None:
    of_blocks = [run.path for run in written_out("vision", WORKS[0], "eager") if run.path.endswith("mlp/lin1")]
    in_sam = [path.split("/")[1] for path in of_blocks if path.startswith("sam")]
    assert [i for i, kind in enumerate(in_sam) if kind == "global"] == list(MODEL.architecture.sam.global_layers)
    assert len(in_sam) == MODEL.architecture.sam.layers


def test_the_dense_layer_runs_before_the_sparse_ones() -> None:
    paths = [run.path for run in written_out("decode", WORKS[0], "flash")]
    assert paths.index("decoder/mlp/gate_proj") < paths.index("decoder/router/logits")
    assert Counter(paths)["decoder/router/logits"] == 11


def test_each_page_is_put_together_by_itself() -> None:
    work = WORKS[1]
    of_pages = [run for run in written_out("vision", work, "flash") if run.path.startswith("projector/")]
    steps = ["global_lines", "place_crops", "crop_lines", "pages"]
    assert [run.path.rpartition("/")[2] for run in of_pages][-4 * work.batch :] == steps * work.batch
    assert len({run.numbers for run in of_pages if run.path.endswith("pages")}) == 1
