"""A program's ledger equals its kernels walked one by one in plain numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import Cost, CropGrid, Ledger, Workload
from pytest_ocrsweep.model.kernels import Kernel
from pytest_ocrsweep.model.program import Program
from pytest_ocrsweep.model.symbolic import Poly, Size, poly, round_up, symbol

WORK = Workload(CropGrid(1, 1))
PATHS = ("sam/attn/q", "sam/attn", "sam/attn2", "sam", "head")
ROWS, BATCH, KEYS = symbol("rows"), symbol("batch"), symbol("keys")
numbers = st.integers(0, 2**40)
costs = st.builds(Cost, numbers, numbers, numbers, numbers)


def ledger(kernels: Iterable[Kernel], point: dict[str, int], before: Size = 0, after: Size = 0, steps: bool = False):
    program = Program(kernels, after, after - before, steps=steps)
    return Ledger("vision", WORK, "flash", program, point, program.values(point), None, "transformers")


# Costs


@given(costs, costs, costs, st.integers(0, 9))
def test_costs_add_and_repeat(a, b, c, times):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Cost() == a
    assert a * times == times * a == sum([a] * times, Cost())
    for field in fields(Cost):
        assert getattr(a + b, field.name) == getattr(a, field.name) + getattr(b, field.name)


def test_a_cost_sums_its_flops_and_its_bytes():
    cost = Cost(tensor_flops=1, vector_flops=20, read_bytes=300, write_bytes=4000)
    assert (cost.flops, cost.moved_bytes) == (21, 4300)


def test_a_cost_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Cost().read_bytes = 1


# Programs


@dataclass(frozen=True)
class Point:
    rows: int
    batch: int

    @property
    def symbols(self) -> dict[str, int]:
        return {"rows": self.rows, "batch": self.batch}

    def at(self, size: Size) -> int:
        return poly(size).at(self.symbols)


points = st.builds(Point, st.integers(0, 30), st.integers(1, 8))
sizes: st.SearchStrategy[Poly] = st.builds(
    lambda a, b, c, d: a * ROWS * BATCH + b * ROWS + c + round_up(d * ROWS + b, 512), *[st.integers(0, 700)] * 4
)
COSTS = ("tensor_flops", "vector_flops", "read_bytes", "write_bytes")
FIELDS = (*COSTS, "weight_bytes", "used_bytes", "io_bytes", "allocates", "frees")
kernels = st.tuples(st.sampled_from(PATHS), st.integers(1, 4), *[sizes] * len(FIELDS)).map(
    lambda drawn: Kernel(drawn[0], times=drawn[1], **dict(zip(FIELDS, drawn[2:], strict=True)))
)


def spent(kernels: Iterable[Kernel], point: Point) -> Cost:
    return sum(
        (
            Cost(*map(point.at, (k.tensor_flops, k.vector_flops, k.read_bytes, k.write_bytes))) * k.times
            for k in kernels
        ),
        Cost(),
    )


@given(st.lists(kernels, min_size=1, max_size=5), points, st.sampled_from(["", "sam", "sam/attn", "sam/attn/q"]))
def test_every_number_of_a_part_is_the_sum_of_its_lines(kernels, point, path):
    kernels.append(Kernel("sam/attn/q", tensor_flops=1))
    found = ledger(kernels, point.symbols)
    within = [k for k in kernels if not path or k.path == path or k.path.startswith(f"{path}/")]
    assert found.total(path) == spent(within, point)
    assert found.weights(path) == sum(point.at(k.weight_bytes) * k.times for k in within)
    assert found.compulsory(path) == sum(point.at(k.used_bytes + k.io_bytes) * k.times for k in within)
    ran = [k for k in kernels if spent([k], Point(7, 7)) != Cost()]
    lines = [(k.path, spent([k], point), k.times, point.at(k.weight_bytes) * k.times) for k in ran]
    assert [(line.path, line.cost, line.times, line.weight_bytes) for line in found.lines] == lines
    assert found.paths == tuple(dict.fromkeys(k.path for k in ran))
    assert (found.weight_bytes, found.compulsory_bytes) == (found.weights(), found.compulsory())
    for part, cost in found.components.items():
        assert cost == spent([k for k in kernels if k.path.split("/")[0] == part], point)


@given(
    st.lists(st.tuples(sizes, sizes, st.integers(0, 99)), min_size=1, max_size=4), points, st.lists(numbers, min_size=1)
)
def test_a_sum_over_steps_is_the_sum_of_ledgers_of_a_step(drawn, point, steps):
    """Sizes may grow with the keys; the weights and the peak are those of the last step."""
    kernels = [
        Kernel("a", 1, vector_flops=a + c * KEYS, read_bytes=b * KEYS, write_bytes=c, used_bytes=a, weight_bytes=b)
        for a, b, c in drawn
    ]
    at = point.symbols
    total = ledger(kernels, {**at, "keys": steps[-1], "steps": len(steps), "all_keys": sum(steps)}, steps=True)
    each = [ledger(kernels, {**at, "keys": keys}) for keys in steps]
    assert total.total() == sum((one.total() for one in each), Cost())
    assert total.compulsory() == sum(one.compulsory() for one in each)
    assert total.weight_bytes == each[-1].weight_bytes


@given(st.lists(kernels, min_size=1, max_size=8), points, st.integers(0, 5000))
def test_the_peak_is_the_most_allocated_at_any_kernel_less_the_caches_growth(kernels, point, growth):
    live, peaks = -point.at(growth * ROWS), {}
    for i, k in enumerate(kernels):
        live += point.at(k.allocates)
        peaks[i] = live
        live -= point.at(k.frees)
    found = ledger(kernels, point.symbols, before=3 * BATCH, after=3 * BATCH + growth * ROWS)
    assert found.peak_activation_bytes == max(peaks.values())
    assert found.peak_path in {kernels[i].path for i, peak in peaks.items() if peak == max(peaks.values())}
    assert found.kv_cache_bytes == point.at(3 * BATCH + growth * ROWS)


def test_the_peak_may_lie_elsewhere_at_another_workload():
    """Neither of two tensors is the larger at every workload: which one is, the workload decides."""
    program = Program(
        [
            Kernel("rows", write_bytes=1, allocates=100 * ROWS, frees=100 * ROWS),
            Kernel("batch", write_bytes=1, allocates=300 * BATCH, frees=300 * BATCH),
        ],
        0,
        0,
        steps=False,
    )
    points = [{"rows": rows, "batch": 1} for rows in (2, 4)]
    found = {
        at["rows"]: Ledger("vision", WORK, "flash", program, at, program.values(at), None, "transformers")
        for at in points
    }
    assert (found[2].peak_activation_bytes, found[2].peak_path) == (300, "batch")
    assert (found[4].peak_activation_bytes, found[4].peak_path) == (400, "rows")


def test_a_kernel_that_only_frees_is_no_line():
    found = ledger([Kernel("a", read_bytes=1, allocates=5), Kernel("released", frees=5)], {})
    assert [line.path for line in found.lines] == ["a"]


def test_a_steps_costs_are_summed_over_the_steps_and_its_weights_are_not():
    kernel = Kernel("a", tensor_flops=2 * KEYS, read_bytes=7, weight_bytes=11, allocates=KEYS, times=3)
    keys = [5, 6, 7, 8]
    point = {"keys": keys[-1], "steps": len(keys), "all_keys": sum(keys)}
    found = ledger([kernel], point, before=KEYS - 1, after=KEYS, steps=True)
    assert found.total() == Cost(tensor_flops=3 * 2 * sum(keys), read_bytes=3 * 7 * len(keys))
    assert found.weight_bytes == 3 * 11
    assert (found.kv_cache_bytes, found.peak_activation_bytes) == (8, 8 - 1)


def test_a_step_whose_sum_is_not_exact_is_refused():
    with pytest.raises(ValueError, match="is not affine in keys"):
        Program([Kernel("a", tensor_flops=KEYS * KEYS)], 0, 0, steps=True)


# Paths

SAM = [Kernel(path, read_bytes=10**i) for i, path in enumerate(("sam/attn/q", "sam/attn2/q", "sam/mlp", "head"))]


@pytest.mark.parametrize(
    ("path", "read"),
    [("", 1111), ("sam", 111), ("sam/attn", 1), ("sam/attn/q", 1), ("sam/attn2", 10), ("head", 1000)],
)
def test_a_path_holds_what_lies_under_it(path, read):
    assert ledger(SAM, {}).total(path).read_bytes == read


@pytest.mark.parametrize("path", ["sam/att", "am", "sam/", "/", "sam/attn/q/x"])
def test_an_unknown_path_is_refused_with_the_first_parts_there_are(path):
    message = rf"^no line at '{path}': the first parts are sam, head$"
    with pytest.raises(ValueError, match=message):
        ledger(SAM, {}).total(path)
    with pytest.raises(ValueError, match=message):
        ledger(SAM, {}).weights(path)


def test_lines_and_components_keep_the_order_they_run_in():
    found = ledger(SAM, {})
    assert [line.path for line in found.lines] == [kernel.path for kernel in SAM]
    assert list(found.components) == ["sam", "head"]


def test_a_ledger_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ledger(SAM, {}).stage = "prefill"
