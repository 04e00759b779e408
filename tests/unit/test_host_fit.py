"""A host's constants from measured loads, and plans against the loads that vLLM served on an H200."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path
from runpy import run_path

import pytest

from pytest_ocrsweep import Workload, load_model
from pytest_ocrsweep.errors import PlanError
from pytest_ocrsweep.hardware.devices import Power
from pytest_ocrsweep.hardware.engine_times import render_ns
from pytest_ocrsweep.hardware.host_fit import FITTED, LoadPlan, MeasuredLoad, fitted_host, middle
from pytest_ocrsweep.hardware.plan import Share, plan
from pytest_ocrsweep.sweep.config import devices

ROOT = Path(__file__).parents[2]
SCRIPT = run_path(str(ROOT / "dev" / "profiles" / "served.py"))
VLLM, H200, H100 = load_model(engine="vllm"), devices()["h200"], devices()["h100"]
LOADS = SCRIPT["recorded"](VLLM, H200)
PLANS = LoadPlan.each(VLLM, H200, LOADS)


def test_nine_of_ten_measured_numbers_of_all_machines_lie_in_the_plans_interval() -> None:
    host = VLLM.engine.host
    machines = [SCRIPT["recorded"](VLLM, H200, path) for path in SCRIPT["MACHINES"].values()]
    plans = [found for loads in machines for found in LoadPlan.each(VLLM, H200, loads)]
    off = SCRIPT["errors"](plans + LoadPlan.each(VLLM, H100, SCRIPT["PROBE"]), host)
    assert len(off) == 207
    assert sum(abs(log(each)) <= log(host.spread) for each in off) >= 0.9 * len(off)


def test_plans_from_four_loads_are_near_the_others() -> None:
    four = SCRIPT["from_four"](VLLM, H200, LOADS).host
    off = SCRIPT["errors"]([found for found in PLANS if SCRIPT["names"](found.load) not in SCRIPT["FOUR"]], four)
    errors = [abs(each - 1) for each in off]
    assert len(errors) == 60
    assert sum(errors) / len(errors) < 0.08
    assert sum(error <= 0.15 for error in errors) >= 56


def test_equal_loads_are_one_by_the_medians_of_their_figures() -> None:
    load = replace(LOADS[0], rounds=1, variance=0.0)
    rounds = [replace(load, ttft_ns=ttft_ns, render_ns=None) for ttft_ns in (9e7, 1e7, 5e7)]
    other = replace(load, encoder_graphs=True)
    found, alone = middle([rounds[0], other, *rounds[1:]])
    assert (replace(found, variance=0.0), alone) == (replace(rounds[2], rounds=3), other)
    logs = [log(each.ttft_ns) for each in rounds]
    assert found.variance == pytest.approx(sum((each - sum(logs) / 3) ** 2 for each in logs) / 2 / 3)
    assert fitted_host(VLLM, H200, [found]).host.spread > 2 > fitted_host(VLLM, H200, [rounds[2]]).host.spread
    assert sorted({load.rounds for load in LOADS}) == [6, 11]


def test_the_table_of_the_page_is_what_the_script_prints() -> None:
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    four = SCRIPT["from_four"](VLLM, H200, LOADS).host
    assert "\n".join(SCRIPT["table"](PLANS, four)) in page


@pytest.mark.parametrize("factor", [1.0, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.6, 1.7))])
def test_a_host_is_found_again_from_loads_that_it_served(factor: float) -> None:
    truth = replace(VLLM.engine.host, **{name: factor * getattr(VLLM.engine.host, name) for name in FITTED})
    chosen = [found for found in PLANS if SCRIPT["names"](found.load) in {*SCRIPT["FOUR"], ("1x1", 1, False)}]
    loads = [_served(found, truth) for found in chosen]
    fit = fitted_host(VLLM, H200, loads)
    for name in ("launch_ns", "step_ns", "eager_step_ns"):  # what a page's admission takes is little beside them
        assert getattr(fit.host, name) == pytest.approx(getattr(truth, name), rel=0.2), name
    # Few loads leave constants a little nearer to the engine's own than they are.
    assert all(each == pytest.approx(1, rel=0.1) for load in fit.off for each in load)
    assert fit.host.spread < 1.25


def _served(found: LoadPlan, host: object) -> MeasuredLoad:
    served = found.served(host)
    figures = {"ttft_ns": served.ttft_ns, "tpot_ns": served.tpot_ns, "pages_per_s": 1e9 / served.page_ns}
    return replace(found.load, **figures, variance=0.0)


def test_a_load_of_single_tokens_has_no_time_per_token() -> None:
    load = MeasuredLoad(Workload("1x1", new_tokens=1), 1, 8, False, 30e6, None, 30.0)
    assert [len(off) for off in fitted_host(VLLM, H200, [load]).off] == [2]


def test_rendering_is_scaled_to_what_the_loads_say() -> None:
    planned = render_ns(VLLM, Workload("2x3"))
    loads = [replace(LOADS[0], work=Workload("2x3"), render_ns=planned * factor) for factor in (1.5, 1.2, 4.0)]
    fit = fitted_host(VLLM, H200, loads)
    assert fit.rendering == pytest.approx(1.5)
    assert fit.host.render_crop_ns == pytest.approx(1.5 * VLLM.engine.host.render_crop_ns)
    assert fitted_host(VLLM, H200, [replace(load, render_ns=None) for load in loads]).rendering is None


def test_an_engine_without_a_host_has_nothing_to_fit() -> None:
    with pytest.raises(PlanError, match=r"transformers has no host whose time could be fitted; choose --engine vllm"):
        fitted_host(load_model(), H200, LOADS[:1])


def test_joules_are_those_that_the_board_counted() -> None:
    """Of a page of 3x2, 64 at once: 22.4 J, and 20.2 with encoder graphs."""
    for graphs, joules in ((False, 22.4), (True, 20.2)):
        model = load_model(engine="vllm", overrides=[f"engine.start.encoder_graphs={str(graphs).lower()}"])
        found = plan(model, [Share(Workload("3x2"))], H200, 64).joules_per_page
        assert found.low < joules < found.high
        assert found.value == pytest.approx(joules, rel=0.1)
    assert plan(VLLM, [Share(Workload("3x2"))], H100, 8).joules_per_page is None


def test_a_board_takes_no_more_than_its_cap() -> None:
    power = Power(idle_w=100, running_w=300, fj_per_flop=2000, most_w=700, spread=1.1)
    assert power.joules(10, 4, 0) == 6 * 100 + 4 * 300
    assert power.joules(10, 4, 1e15) == pytest.approx(1800 + 2000)
    assert power.joules(1, 1, 1e18) == 700
