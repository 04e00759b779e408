"""Tensor FLOPs counted by operator: equal to the analytic ones on the reference model, and never too few in silence."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from snapshots import TINY  # noqa: E402

from pytest_ocrsweep.model.analytic import Model  # noqa: E402
from pytest_ocrsweep.model.geometry import Workload  # noqa: E402
from pytest_ocrsweep.vendor_model import build, operator_count  # noqa: E402
from pytest_ocrsweep.vendor_model.operator_count import COMPILED, NOT_TORCH, OperatorCount, count  # noqa: E402
from pytest_ocrsweep.vendor_model.regions import experts_of, stage_region  # noqa: E402

WORK = Workload("1x1", new_tokens=7, resolution="tiny")
X = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("stage", "attention"), [("vision", "flash"), ("prefill", "flash"), ("decode", "flash"), ("decode", "eager")]
)
def test_the_reference_model_counts_the_analytic_flops_as_it_runs_and_on_the_meta_device(stage, attention):
    built = build.build(TINY, attention, experts_of(TINY.decoder, stage), "cpu")
    with torch.no_grad():
        region = stage_region(built, TINY, stage, WORK, attention, None)
        found = count(region.calls, region.halves, built)
    reference = operator_count.of_reference(TINY, stage, WORK, attention)
    assert found.total == reference.total == Model(TINY).ledger(stage, WORK, attention).total().tensor_flops
    assert found.less(reference) == {}


def test_operators_with_products_are_counted_also_in_inference_mode():
    linear = torch.nn.Linear(4, 3)
    with torch.inference_mode():
        assert count([lambda: torch.relu(linear(X))]).flops == {"addmm": 2 * 4 * 4 * 3}


def test_work_without_products_counts_none_and_no_work_of_torch_is_not_counted():
    assert count([lambda: torch.tanh(X).sum()]).total == 0
    assert count([lambda: sum(range(9))]) == OperatorCount(why=NOT_TORCH)


def test_an_operator_that_may_hold_products_and_has_no_formula_is_named_and_nothing_is_counted():
    found = count([lambda: torch.fft.fft(X @ X)])
    assert (found.total, found.why) == (None, "torch has no FLOP formula for aten._fft_r2c")


def test_compiled_code_is_not_counted_whether_it_is_a_module_or_within_a_call():
    twice = torch.compile(lambda x: x @ x, backend="eager")
    twice(X)
    assert count([lambda: twice(X)]) == OperatorCount(why=COMPILED)
    module = torch.nn.Sequential(torch.compile(torch.nn.Linear(4, 4), backend="eager"))
    assert count([], module=module) == OperatorCount(why=COMPILED)
    assert count([lambda: X @ X]).total == 2 * 4**3


def test_what_differs_from_another_count_is_said_by_operator_the_most_first():
    one, other = OperatorCount({"mm": 10, "bmm": 5, "attention": 1}), OperatorCount({"mm": 7, "addmm": 9, "bmm": 5})
    assert list(one.less(other).items()) == [("addmm", -9), ("mm", 3), ("attention", 1)]
