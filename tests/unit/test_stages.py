"""What differs between stages and between attentions, and that it stands in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pytest_ocrsweep
from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES, Latency

MODEL = load_model("deepseek-ocr")
PACKAGE = Path(pytest_ocrsweep.__file__).parent
DEFINED_IN = {"model/stages.py", "model/attention.py"}
# These may know stages by name: what runs one has an entry for each, and a plan says in words what each part of it is.
NAMES_A_STAGE = {
    *("vendor_model/regions.py", "vendor_model/plain_engine.py"),
    *("hardware/plan.py", "cli/one_page.py"),
}


def test_routed_experts_run_one_way_in_a_decode_and_another_in_a_prefill() -> None:
    decoder = MODEL.architecture.decoder
    ways = {name: stage.experts and stage.experts(decoder) for name, stage in STAGES.items()}
    assert ways == {"vision": None, "prefill": "grouped_mm", "decode": "batched_mm"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_experts_if_and_only_if_it_says_how(stage: str) -> None:
    runs = any(path.startswith("decoder/experts/") for path in MODEL.ledger(stage, Workload(CropGrid(1, 1))).paths)
    assert runs == (STAGES[stage].experts is not None)


def test_a_decode_runs_its_kernels_for_each_new_token_and_other_stages_run_theirs_once() -> None:
    assert {name: stage.steps(100) for name, stage in STAGES.items()} == {"vision": 1, "prefill": 1, "decode": 100}
    for name, stage in STAGES.items():
        assert MODEL.ledger(name, Workload(CropGrid(1, 1), new_tokens=7)).steps == stage.steps(7)


def test_a_user_waits_for_prefill_and_for_each_token_and_never_for_vision_alone() -> None:
    assert {name: stage.latency for name, stage in STAGES.items()} == {
        "vision": None,
        "prefill": Latency.TTFT,
        "decode": Latency.TPOT,
    }


def test_attentions_have_transformers_names() -> None:
    assert {name: each.implementation for name, each in ATTENTION.items()} == {"eager": "eager", "flash": "sdpa"}


@pytest.mark.parametrize("attention", ATTENTION)
def test_an_attention_that_is_not_fused_has_scores_in_memory(attention: str) -> None:
    paths = MODEL.ledger("prefill", Workload(CropGrid(1, 1)), attention).paths
    for part in ("sam/global", "clip", "decoder"):
        assert (f"{part}/attn/scores" in paths) != ATTENTION[attention].fused
        assert (f"{part}/attn/fused" in paths) == ATTENTION[attention].fused


def test_no_other_module_compares_with_the_name_of_a_stage_or_attention() -> None:
    """Conditions and tables are found, a default such as `attention="flash"` is allowed."""
    names = "|".join([*STAGES, *ATTENTION])
    knows = re.compile(rf"""[!=]= ["']({names})\b|["']({names})["'](:| in )|\[["']({names})["']\]""")
    knowing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if knows.search(path.read_text(encoding="utf-8"))
    }
    assert knowing == DEFINED_IN | NAMES_A_STAGE
