"""On the meta device a layout that is known already is that of torch's own rule, in memory of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")

from pytest_ocrsweep.vendor_model.compat import DispatchMode  # noqa: E402
from pytest_ocrsweep.vendor_model.meta_layouts import Layout, MetaLayouts  # noqa: E402

META = {"device": "meta"}


class Run(DispatchMode):
    """The operations that reach torch."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def run(self, func, args, kwargs):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **kwargs)


def operations_run(call: Callable[[], object]) -> list[str]:
    with Run() as run, MetaLayouts():
        call()
    return [name for name in run.names if name != "empty_strided"]


def layouts_of(*outputs: torch.Tensor) -> list[Layout]:
    return list(map(Layout.of, outputs))


CALLS = {
    "broadcast": lambda a: [a + a[0]],
    "transposed": lambda a: [a.t() * a.t()],
    "several outputs": lambda a: list(torch.native_layer_norm(a, (6,), None, None, 1e-5)),
    "product": lambda a: [a @ a.t()],
    "copy": lambda a: [a.to(torch.float32)],
    "list": lambda a: [torch.cat([a, a.t().reshape(4, 6)])],
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_known_layout_is_torchs_own(call):
    a = torch.empty(4, 6, dtype=torch.bfloat16, **META)
    expected = layouts_of(*call(a))
    with MetaLayouts():
        assert layouts_of(*call(a)) == expected
        again = call(a)
    assert layouts_of(*again) == expected
    assert all(tensor.is_meta for tensor in again)


def test_an_operation_on_equal_layouts_is_worked_out_once():
    a, b = torch.empty(3, 4, **META), torch.empty(3, 4, **META)
    assert operations_run(lambda: (a + a, b + b, a + b)) == ["add"]


@pytest.mark.parametrize(
    "others",
    [
        lambda a: (a + 1, a + 1.0, a + True),
        lambda a: (a + 1, a.float() + 1),
        lambda a: (a.sum(0), a.sum(1)),
        lambda a: (a.clone(), a.t().clone()),
        lambda a: (a.sum(0), a.sum(0, dtype=torch.float64)),
    ],
    ids=["type of a number", "dtype", "argument", "strides", "keyword"],
)
def test_operations_that_differ_in_anything_are_each_worked_out(others):
    a = torch.empty(5, 5, dtype=torch.int32, **META)
    expected = layouts_of(*others(a))
    with MetaLayouts():
        assert layouts_of(*others(a)) == expected


def test_each_output_has_memory_of_its_own():
    a = torch.empty(3, 4, **META)
    with MetaLayouts():
        first, second = a + a, a + a
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata
    assert second.untyped_storage().nbytes() == 3 * 4 * 4


def test_views_and_writes_keep_the_memory_of_their_argument():
    a = torch.empty(3, 4, **META)
    with MetaLayouts():
        for _ in range(2):
            assert a.t().untyped_storage()._cdata == a.untyped_storage()._cdata
            assert a.add_(1) is a


def test_values_on_another_device_are_computed():
    with MetaLayouts():
        assert [(torch.tensor([value]) + 1).item() for value in (1, 2)] == [2, 3]
