"""What others published of this model on vLLM, against plans: each lies where dev/profiles/published.json says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_ocrsweep import Workload, load_model
from pytest_ocrsweep.hardware.plan import Share, plan
from pytest_ocrsweep.sweep.config import devices

ROOT = Path(__file__).parents[2]
RUNS = json.loads((ROOT / "dev" / "profiles" / "published.json").read_text(encoding="utf-8"))
VLLM = load_model(engine="vllm")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['device']}-{run['pages_per_s']}")
def test_a_published_rate_is_in_the_plans_interval_or_below_it_as_recorded(run: dict) -> None:
    work = Workload(run["grid"], new_tokens=run["new_tokens"])
    found = plan(VLLM, [Share(work)], devices()[run["device"]], run["concurrency"]).pages_per_s
    assert (found.low <= run["pages_per_s"] <= found.high) == run["inside"]
    assert run["pages_per_s"] < found.high  # nobody published more than the plan's best
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    assert f"| {run['pages_per_s']:.2f} | {found.value:.2f} | {found.low:.2f} to {found.high:.2f} |" in page


def test_every_run_has_its_source_and_what_is_not_known_of_it() -> None:
    assert len(RUNS) == 5
    assert all(run["source"].startswith("https://") and run["unknown"] for run in RUNS)
