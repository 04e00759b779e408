"""Each operation counts what its kernel does: checked by hand on shapes small enough to count on paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.model import kernels, operations
from pytest_ocrsweep.model.kernels import FLOAT, HALF, INDEX, INT, Kernel
from pytest_ocrsweep.model.parameters import vectors

# 2 rows of 3 wide, 5 out, and so on: primes, so that no two different products come to the same number.


def counts(kernel: Kernel) -> tuple[int, ...]:
    """Tensor FLOPs, vector FLOPs, bytes read, bytes written, parameter bytes."""
    return (
        kernel.tensor_flops,
        kernel.vector_flops,
        kernel.read_bytes,
        kernel.write_bytes,
        kernel.weight_bytes,
    )


KERNELS = {
    "linear": (
        operations.linear("x", 2, 3, 5),
        (2 * 2 * 3 * 5, 2 * 5, (2 * 3 + 3 * 5 + 5) * 2, 2 * 5 * 2, (3 * 5 + 5) * 2),
    ),
    "linear without bias": (
        operations.linear("x", 2, 3, 5, bias=False),
        (2 * 2 * 3 * 5, 0, (2 * 3 + 3 * 5) * 2, 2 * 5 * 2, 3 * 5 * 2),
    ),
    "convolution": (  # 2 images of 3 channels, 7² → 5 channels of 4², a window of 2²
        operations.convolution("x", 2, 3, 5, 2, 7, 4),
        (2 * 2 * 16 * 5 * 3 * 4, 0, (2 * 3 * 49 + 5 * 3 * 4) * 2, 2 * 16 * 5 * 2, 5 * 3 * 4 * 2),
    ),
    "convolution with bias": (
        operations.convolution("x", 2, 3, 5, 2, 7, 4, bias=True),
        (1920 * 2, 2 * 16 * 5, (2 * 3 * 49 + 60 + 5) * 2, 320, (60 + 5) * 2),
    ),
    "matmul": (operations.matmul("x", 7, 2, 3, 5), (2 * 7 * 2 * 3 * 5, 0, 7 * (6 + 15) * 2, 7 * 10 * 2, 0)),
    "matmul in float32": (
        operations.matmul("x", 1, 2, 3, 5, itemsize=FLOAT),
        (60, 0, (6 + 15) * 4, 10 * 4, 0),
    ),
    "elementwise with a tensor": (operations.elementwise("x", "add", 11, also=6), (0, 11, 22 + 6, 22, 0)),
    "elementwise with parameters": (
        operations.elementwise("x", "mul", 11, parameters=vectors(3)),
        (0, 11, 22 + 6, 22, 6),
    ),
    "elementwise in float32": (operations.elementwise("x", "silu", 11, itemsize=FLOAT), (0, 55, 44, 44, 0)),
    "softmax": (operations.softmax("x", 11), (0, 55, 44, 44, 0)),
    "layer norm": (  # also a mean and a deviation a row, in float32
        operations.layer_norm("x", 2, 3),
        (0, 8 * 6, (6 + 2 * 3) * 2, 6 * 2 + 2 * 2 * 4, 2 * 3 * 2),
    ),
    "cast": (operations.cast("x", 11, HALF, FLOAT), (0, 0, 22, 44, 0)),
    "cast of parameters": (
        operations.cast("x", 11, HALF, FLOAT, parameters=vectors(11)),
        (0, 0, 22, 44, 22),
    ),
    "copy": (operations.copy("x", 11), (0, 0, 22, 22, 0)),
    "copy into a larger tensor": (operations.copy("x", 11, into=13), (0, 0, 22, 26, 0)),
    "fused attention": (  # 2 pages of 3 heads: 5 queries, 7 keys, 11 wide
        operations.fused_attention("x", 2, 3, 5, 7, 11, vector=13, bias=17),
        (2 * 2 * 6 * 5 * 7 * 11, 13, 6 * (5 + 7 + 7) * 11 * 2 + 17, 6 * 5 * 11 * 2, 0),
    ),
    "grouped matmul": (  # 2 rows; 3 of 7 experts are reached, 7 are resident, 7 offsets are read
        operations.grouped_matmul("x", 2, 5, 11, 7, 3, 1),
        (2 * 2 * 5 * 11, 0, 2 * 5 * 2 + 7 * INT + 3 * 110, 2 * 11 * 2, 7 * 110),
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_counts_what_paper_counts(name):
    kernel, expected = KERNELS[name]
    assert counts(kernel) == expected
    assert kernel.path == "x"
    assert kernel.times == 1


def test_an_unknown_operation_has_no_made_up_cost():
    with pytest.raises(KeyError, match="tanh"):
        operations.elementwise("x", "tanh", 3)


def test_resident_parameters_need_not_be_those_read():
    gather = kernels.kernel("embed", reads=8, weights=10, resident=1000, writes=10)
    assert counts(gather) == (0, 0, 18, 10, 1000)


def test_of_experts_that_are_resident_those_reached_are_used():
    kernel = operations.grouped_matmul("x", 2, 5, 11, 7, 3, 1)
    assert (kernel.weight_bytes, kernel.used_bytes) == (7 * 110, 3 * 110)


def test_what_a_kernel_is_not_said_to_do_it_does_not():
    assert Kernel("x") == Kernel("x", *[0] * 9, times=1, operands=(), results=(), freed=())


def test_a_cast_may_free_its_source():
    for of_weights in ((), vectors(11)):
        kernel = operations.cast("x", 11, HALF, FLOAT, parameters=of_weights, frees=22)
        assert (kernel.allocates, kernel.frees, kernel.freed) == (512, 512, (22,))


@pytest.mark.parametrize(("tensors", "size"), [(0, 0), (1, 512), (512, 512), ((513, 1), 1536), ((), 0)])
def test_every_tensor_takes_whole_allocations_of_its_own(tensors, size):
    assert kernels.allocated(tensors) == size


def test_a_kernel_allocates_every_tensor_it_writes_and_frees_what_it_is_told():
    kernel = kernels.kernel("x", writes=(100, 600), frees=(1, 1, 1))
    assert (kernel.write_bytes, kernel.allocates, kernel.frees) == (700, 512 + 1024, 3 * 512)


def test_layer_norm_frees_its_statistics_and_more():
    plain, more = operations.layer_norm("x", 2, 3), operations.layer_norm("x", 2, 3, frees=600)
    assert (plain.allocates, plain.frees) == (3 * 512, 2 * 512)
    assert (more.allocates, more.frees) == (3 * 512, 2 * 512 + 1024)
    assert operations.layer_norm("x", 2, 3, frees=(600, 1)).frees == more.frees + 512


def test_bookkeeping_costs_nothing_but_memory():
    for name in ("held", "released"):
        kernel = getattr(kernels, name)(600, INDEX)
        assert kernel.path == name
        assert counts(kernel) == (0, 0, 0, 0, 0)
        assert kernel.allocates + kernel.frees == 1024 + 512


def test_paths_nest():
    inner = kernels.under("mlp", [operations.copy("a", 1), operations.copy("b", 2)])
    assert [kernel.path for kernel in kernels.under("block", inner)] == ["block/mlp/a", "block/mlp/b"]


# Repetition

sequences = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6).map(
    lambda pairs: [Kernel("x", allocates=allocates, frees=frees) for allocates, frees in pairs]
)


def walk(kernels: list[Kernel]) -> tuple[int, int]:
    """The most allocated at once while the kernels run one by one, and what is left."""
    live = most = 0
    for kernel in kernels:
        live += kernel.allocates
        most = max(most, live)
        live -= kernel.frees
    return most, live


@given(sequences, st.integers(0, 5))
def test_a_repeated_sequence_holds_what_its_runs_one_after_another_hold(sequence, times):
    """What a run leaves behind piles up, and so the last run holds the most."""
    left = walk(sequence)[1]
    if left >= 0:
        assert walk(list(kernels.repeated(sequence, times))) == walk(sequence * times)


def test_a_repeated_sequence_lists_each_kernel_once_with_its_runs():
    held, *listed = kernels.repeated([operations.copy("a", 1), operations.copy("b", 2)], 6)
    assert (held.path, held.allocates, counts(held)) == ("held", 5 * 2 * 512, (0,) * 5)
    assert [(kernel.path, kernel.times) for kernel in listed] == [("a", 6), ("b", 6)]
    twice = kernels.repeated(kernels.repeated([operations.copy("a", 1), operations.copy("b", 2)], 2), 3)
    assert [(kernel.path, kernel.times) for kernel in twice if kernel.read_bytes] == [("a", 6), ("b", 6)]


def test_a_sequence_repeated_no_time_costs_nothing():
    assert all(
        counts(kernel) == (0,) * 5 and not kernel.allocates for kernel in kernels.repeated([operations.copy("a", 1)], 0)
    )
